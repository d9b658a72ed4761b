"""Our figures against worked answers that somebody else computed.

PASSERELLE_CLINICAL_DATA names a folder with `cgm.csv`, `weights.csv` and `sample-metrics.json`: three virtual people
with late blocks, repeats, corrections, sensor changes and both changes of clocks.
"""

from __future__ import annotations

import csv
import json
import os
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.clinical.glucose import glucose_day, glucose_period
from gateway.clinical.weight import weight_day, weight_trend
from gateway.model import (
    Bound,
    BoundKind,
    DeviceId,
    GlucosePeriod,
    Metric,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    TimeQuality,
    Unit,
)
from gateway.normalise.quantity import to_canonical

pytestmark = pytest.mark.conformance

PARIS = ZoneInfo("Europe/Paris")
FAR = datetime(2030, 1, 1, tzinfo=UTC)
_BOUNDS = {"LOW": BoundKind.BELOW, "HIGH": BoundKind.ABOVE}
_HIGHEST = {"P1": Decimal(400), "P2": Decimal(500), "P3": Decimal(400)}
_LOWEST = Decimal(40)


@pytest.fixture(scope="module")
def data() -> Path:
    """The folder with the sample."""
    given = os.environ.get("PASSERELLE_CLINICAL_DATA")
    if not given:
        pytest.skip("PASSERELLE_CLINICAL_DATA is not set: name the folder of the clinical sample to run this test")
    folder = Path(given)
    for name in ("cgm.csv", "weights.csv", "sample-metrics.json"):
        if not (folder / name).is_file():
            pytest.fail(f"PASSERELLE_CLINICAL_DATA: there is no {name} in {folder}")
    return folder


def _reading(row: dict[str, str], metric: Metric, key: str, device: str, **changes: Any) -> Reading:
    at = datetime.fromisoformat(row["time_utc"]).astimezone(UTC)
    return Reading(
        device_id=DeviceId(device.lower()),
        epoch=0,
        record_key=key,
        metric=metric,
        effective_at=at,
        utc_offset_min=int(row["utc_offset_min"]),
        time_quality=TimeQuality.DEVICE,
        received_at=at,
        provenance=Provenance(SourceKind.FILE, "sample"),
        **changes,
    )


def _sensor_readings(folder: Path, person: str, first: date, last: date) -> list[Reading]:
    """Each (sensor, seq) once: its first time stamp with its last value received; FAULT rows are no results."""
    found: dict[tuple[str, str], Reading] = {}
    with (folder / "cgm.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["patient"] != person or row["flag"] == "FAULT":
                continue
            day = (datetime.fromisoformat(row["time_utc"]) + timedelta(minutes=int(row["utc_offset_min"]))).date()
            if not first <= day <= last:
                continue
            identity = (row["sensor"], row["seq"])
            known = found.get(identity)
            if known is not None:
                row["time_utc"] = known.effective_at.isoformat()
            if (kind := _BOUNDS.get(row["flag"])) is not None:
                limit = _LOWEST if kind is BoundKind.BELOW else _HIGHEST[person]
                result: dict[str, Any] = {"bound": Bound(kind, limit)}
            else:
                result = {"value": Decimal(row["mgdl"])}
            found[identity] = _reading(row, Metric.GLUCOSE_INTERSTITIAL, row["seq"], row["sensor"], **result)
    return list(found.values())


def _fortnight(folder: Path, person: str, first: date, last: date) -> GlucosePeriod:
    readings = _sensor_readings(folder, person, first, last)
    days = [
        glucose_day(PersonId(person), first + timedelta(days=n), readings, PARIS)
        for n in range((last - first).days + 1)
    ]
    return glucose_period(PersonId(person), days, first, last, PARIS, now=FAR)


@pytest.mark.parametrize("person", ["P1", "P2", "P3"])
def test_each_fortnight_to_the_printed_digits(data: Path, person: str) -> None:
    """Every figure that we compute equals the worked answer in all digits that it prints."""
    text = (data / "sample-metrics.json").read_text(encoding="utf-8")
    answers = json.loads(text, parse_float=Decimal)["patients"][person]["fortnight"]
    first, last = (date.fromisoformat(day) for day in answers["window_local_dates"])
    period = _fortnight(data, person, first, last)
    ours = {
        "n": period.count,
        "mean": period.mean_mg_dl,
        "sd": period.sd_mg_dl,
        "cv": period.cv_percent,
        "gmi_pct": period.gmi_percent,
        "tbr_lt54": period.very_low_percent,
        "tbr_54_69": period.low_percent,
        "tir_70_180": period.in_range_percent,
        "tar_181_250": period.high_percent,
        "tar_gt250": period.very_high_percent,
        "active_pct_window": period.sensor_active_percent,
        "clipped_low": period.clipped_low,
        "clipped_high": period.clipped_high,
    }
    decimals = {name: Decimal("0.0001") for name in ours} | {"active_pct_window": Decimal("0.01")}
    printed = {
        name: value.quantize(decimals[name], rounding=ROUND_HALF_EVEN) if isinstance(value, Decimal) else value
        for name, value in ours.items()
    }
    assert {name: answers[name] for name in ours} == printed
    assert period.is_sufficient


def test_weights_of_the_sample(data: Path) -> None:
    """Whoever weighs himself in pounds, with a suitcase or a clock at 1970 still has one sound trend."""
    readings: dict[str, Reading] = {}
    with (data / "weights.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["patient"] != "P2" or row["time_utc"].startswith("1970"):
                continue
            unit = Unit(row["unit"])
            value = to_canonical(Metric.BODY_MASS, Decimal(row["value"]), unit)
            readings[row["time_utc"]] = _reading(row, Metric.BODY_MASS, row["time_utc"], row["scale"], value=value)
    days = sorted({reading.local_day for reading in readings.values()})
    counted = [found for day in days if (found := weight_day(PersonId("p2"), day, readings.values())) is not None]
    trend = weight_trend(PersonId("p2"), counted)
    assert trend is not None
    last_month = [float(day.mass_kg) for day in counted if (trend.last_day - day.local_day).days < 28]
    assert min(last_month) < float(trend.trend_kg) < max(last_month)
    assert Decimal(20) < min(day.mass_kg for day in counted)
    assert trend.weekly_change_kg is not None
    assert abs(trend.weekly_change_kg) < 3
