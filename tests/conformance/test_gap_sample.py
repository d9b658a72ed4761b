"""Holes that somebody else has put into three virtual people's sensor data, against the holes that we list.

PASSERELLE_CLINICAL_DATA names a folder with `cgm.csv` and `injected.json`.
"""

from __future__ import annotations

import csv
import json
import os
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.normalise.gaps import GapReason, Seen, gaps_of_series

pytestmark = pytest.mark.conformance

_STEP = timedelta(minutes=5)
_FEWEST = 3


@pytest.fixture(scope="module")
def data() -> Path:
    """The folder with the sample."""
    given = os.environ.get("PASSERELLE_CLINICAL_DATA")
    if not given:
        pytest.skip("PASSERELLE_CLINICAL_DATA is not set: name the folder of the clinical sample to run this test")
    folder = Path(given)
    for name in ("cgm.csv", "injected.json"):
        if not (folder / name).is_file():
            pytest.fail(f"PASSERELLE_CLINICAL_DATA: there is no {name} in {folder}")
    return folder


def _records(folder: Path, patient: str) -> dict[str, dict[int, datetime]]:
    """First time stamp of each (sensor, number)."""
    records: dict[str, dict[int, datetime]] = {}
    with (folder / "cgm.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["patient"] == patient:
                own = records.setdefault(row["sensor"], {})
                own.setdefault(int(row["seq"]), datetime.fromisoformat(row["time_utc"]))
    return records


def _injected(folder: Path, patient: str) -> list[tuple[datetime, datetime]]:
    holes = []
    for item in json.loads((folder / "injected.json").read_text(encoding="utf-8")):
        if item["patient"] != patient:
            continue
        match item["kind"]:
            case "sensor_change":
                end = datetime.fromisoformat(item["first_reading_utc"])
                holes.append((end - timedelta(minutes=item["hole_min"]), end))
            case "long_hole":
                start = datetime.fromisoformat(item["start_utc"])
                holes.append((start, start + timedelta(minutes=item["minutes"])))
            case "sensor_lost":
                start = datetime.fromisoformat(item["start_utc"])
                holes.append((start, start + timedelta(days=item["days"])))
    return [(start, end) for start, end in holes if end - start > timedelta(minutes=15)]


@pytest.mark.parametrize("patient", ["P1", "P2", "P3"])
def test_every_injected_hole_is_listed_and_no_other(data: Path, patient: str) -> None:
    """Our list, made of instants alone, is the list that the sensors' own numbers make; it has every injected hole."""
    records = _records(data, patient)
    found = gaps_of_series(Seen(instant, sensor) for sensor, own in records.items() for instant in own.values())
    listed = {(gap.start, gap.end) for gap in found}

    by_numbers = {
        (own[before], own[after])
        for own in records.values()
        for before, after in pairwise(sorted(own))
        if after - before - 1 >= _FEWEST
    }
    worn = sorted(records.values(), key=lambda own: min(own.values()))
    changes = {(max(old.values()), min(new.values())) for old, new in pairwise(worn)}
    changes = {(start, end) for start, end in changes if end - start > (_FEWEST + 0.5) * _STEP}
    assert by_numbers | changes == listed
    assert changes == {(gap.start, gap.end) for gap in found if gap.reason is GapReason.BETWEEN_SENSORS}

    injected = _injected(data, patient)
    assert len(injected) > 5
    slack = 2 * _STEP
    missed = [
        (start, end)
        for start, end in injected
        if not any(left <= start + slack and right >= end - slack for left, right in listed)
    ]
    assert [] == missed
