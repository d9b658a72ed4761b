"""Exports of other programs: each fixture is written after the documented format of its program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.files import FORMATS, FileContents, FileFormat, FileOptions, recognise, to_text
from gateway.devices.passerelle_fields import Refused
from gateway.model import BoundKind, DeviceKind, Metric, Unit
from gateway.normalise.reported import ReportedRecord

FIXTURES = Path(__file__).parents[2] / "fixtures" / "files"
PARIS = ZoneInfo("Europe/Paris")
NAMED = {
    "libreview.csv": "libreview",
    "libreview-fr-mmol.csv": "libreview",
    "clarity.csv": "clarity",
    "tidepool.json": "tidepool",
    "glooko-cgm.csv": "glooko",
    "glooko-bg.csv": "glooko",
    "nightscout.json": "nightscout",
    "openscale2.csv": "openscale",
    "openscale3.csv": "openscale",
    "withings-weight.csv": "withings",
    "withings-bp.csv": "withings",
    "withings-fr.csv": "withings",
}


def text_of(name: str) -> str:
    return to_text((FIXTURES / name).read_bytes())


def contents(name: str, **options: object) -> FileContents:
    file_format = recognise(text_of(name))
    assert file_format is not None
    return file_format.parse(text_of(name), FileOptions(zone=PARIS, **options))  # type: ignore[arg-type]


def records(found: FileContents) -> list[ReportedRecord]:
    return [record for row in found.rows for record in row.records]


def said(found: FileContents) -> list[tuple[Metric, Decimal | None, Unit | None]]:
    return [(m.metric, m.number, m.unit) for record in records(found) for m in record.measurements]


def problems(found: FileContents) -> list[tuple[int, str]]:
    return [(row.line, row.problem.detail) for row in found.rows if row.problem is not None]


def local(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(fold=fold)


def test_every_fixture_has_its_test() -> None:
    """A fixture without an expectation does not stay unnoticed."""
    assert set(NAMED) == {path.name for path in FIXTURES.iterdir()}


@pytest.mark.parametrize("name", sorted(NAMED))
def test_each_file_is_recognised_by_one_format_only(name: str) -> None:
    """No two formats claim the same file."""
    text = text_of(name)
    assert [NAMED[name]] == [each.name for each in FORMATS if each.recognises(text)]


def test_libreview() -> None:
    """Historic values and scans are the sensor's, strips capillary; the rest is counted; an empty cell is told."""
    found = contents("libreview.csv")
    assert [
        (Metric.GLUCOSE_INTERSTITIAL, Decimal(131), Unit.MG_DL),
        (Metric.GLUCOSE_INTERSTITIAL, Decimal(128), Unit.MG_DL),
        (Metric.GLUCOSE_INTERSTITIAL, Decimal(122), Unit.MG_DL),
        (Metric.GLUCOSE_INTERSTITIAL, Decimal(119), Unit.MG_DL),
        (Metric.GLUCOSE_INTERSTITIAL, Decimal(110), Unit.MG_DL),
        (Metric.GLUCOSE_INTERSTITIAL, Decimal(104), Unit.MG_DL),
        (Metric.GLUCOSE_INTERSTITIAL, None, None),
        (Metric.GLUCOSE_CAPILLARY, Decimal(101), Unit.MG_DL),
    ] == said(found)
    assert [BoundKind.BELOW] == [m.bound for r in records(found) for m in r.measurements if m.bound]
    assert {"ketone": 1, "insulin": 1, "food": 1, "note": 1} == found.ignored
    assert [(15, "its historic glucose is no number")] == problems(found)
    assert {("JGMN218-T0123", DeviceKind.CGM, "FreeStyle Libre 2")} == {row.source for row in found.rows}


def test_libreview_tells_the_two_passages_of_the_hour_that_exists_twice() -> None:
    """26 October 2025, Paris: time steps back inside the hour, so that what follows is its second passage."""
    times = [record.time for record in records(contents("libreview.csv"))][:5]
    assert [
        local("2025-10-26T01:50"),
        local("2025-10-26T02:05"),
        local("2025-10-26T02:50"),
        local("2025-10-26T02:05", fold=1),
        local("2025-10-26T03:05"),
    ] == times
    assert [0, 0, 0, 1, 0] == [time.fold for time in times if time is not None]


def test_libreview_in_french_and_millimoles_needs_to_be_told_which_number_is_the_month() -> None:
    """No date of this file is above 12: it is refused rather than guessed, and read once a person has said it."""
    with pytest.raises(Refused, match="--date-order"):
        contents("libreview-fr-mmol.csv")
    found = contents("libreview-fr-mmol.csv", date_order="mdy")
    assert [Decimal("5.4"), Decimal("5.6")] == [number for _, number, _ in said(found)]
    assert {Unit.MMOL_L} == {unit for _, _, unit in said(found)}
    assert [local("2026-03-04T08:00"), local("2026-03-04T08:15")] == [record.time for record in records(found)]


def test_clarity() -> None:
    """EGV rows and typed-in finger-sticks, words beyond the range; the transmitter's seconds are the name."""
    found = contents("clarity.csv")
    assert [Decimal(112), None, None, Decimal(98), Decimal(101)] == [number for _, number, _ in said(found)]
    bounds = [m.bound for record in records(found) for m in record.measurements]
    assert [None, BoundKind.BELOW, BoundKind.ABOVE, None, None] == bounds
    assert ["egv-6415123", "egv-6415423", "egv-6415723", "egv-6416023", "calibration-6416070"] == [
        record.record_key for record in records(found)
    ]
    assert Decimal("-1.2") == records(found)[3].context.trend_mg_dl_min
    assert Metric.GLUCOSE_CAPILLARY is said(found)[4][0]
    assert [(13, "its glucose is no number")] == problems(found)
    assert {"firstname": 1, "lastname": 1, "device": 1, "alert": 1, "insulin": 1, "carbs": 1} == found.ignored


def test_tidepool() -> None:
    """What was mg/dL at the meter becomes the whole number it was; an instant without a zone is refused."""
    found = contents("tidepool.json")
    assert [
        (Metric.GLUCOSE_INTERSTITIAL, Decimal(100), Unit.MG_DL),
        (Metric.GLUCOSE_INTERSTITIAL, None, None),
        (Metric.GLUCOSE_CAPILLARY, Decimal("6.1"), Unit.MMOL_L),
        (Metric.GLUCOSE_CAPILLARY, Decimal("6.4"), Unit.MMOL_L),
    ] == said(found)
    assert [(), (), (), ("typed_in",)] == [record.context.status for record in records(found)]
    assert {"bloodKetone": 1, "upload": 1} == found.ignored
    assert [(7, "time has no zone")] == problems(found)


@pytest.mark.parametrize("name", ["tidepool.json", "nightscout.json"])
def test_a_record_of_json_is_archived_as_the_json_it_was(name: str) -> None:
    """The raw row can be read again, numbers to the last digit, also of a row that gave nothing."""
    whole = json.loads(text_of(name), parse_float=Decimal)
    for row in contents(name).rows:
        assert whole[row.line - 1] == json.loads(row.raw, parse_float=Decimal)


def test_glooko() -> None:
    """Newest first is turned round; the unit is the title's; AM and PM are understood."""
    sensor = contents("glooko-cgm.csv")
    assert [local("2026-01-01T08:00"), local("2026-01-01T08:05")] == [record.time for record in records(sensor)]
    assert [Decimal("120.0"), Decimal("124.0")] == [number for _, number, _ in said(sensor)]
    meter = contents("glooko-bg.csv")
    assert [local("2026-01-12T13:30"), local("2026-01-13T12:00")] == [record.time for record in records(meter)]
    assert [None, Decimal("7.2")] == [number for _, number, _ in said(meter)]
    assert [(), ("typed_in",)] == [record.context.status for record in records(meter)]


def test_nightscout() -> None:
    """Entries as the HTTP intake reads them; a calibration is counted, a date in seconds refused."""
    found = contents("nightscout.json")
    assert [Decimal(131), Decimal(128)] == [number for _, number, _ in said(found)]
    assert {"calibration": 1} == found.ignored
    assert [4] == [line for line, _ in problems(found)]


@pytest.mark.parametrize("name", ["openscale2.csv", "openscale3.csv"])
def test_openscale(name: str) -> None:
    """What the scale measured and what the app's formula made of it are kept apart; 0 is "not measured"."""
    found = contents(name)
    first = [record for record in records(found) if record.record_key.startswith("weighin@2026-02-28T07:12")]
    measured, derived = first
    assert {Metric.BODY_MASS: Decimal("71.5"), Metric.WAIST_CIRCUMFERENCE: Decimal("88.0")}.items() <= {
        m.metric: m.number for m in measured.measurements
    }.items()
    assert {
        Metric.BODY_FAT_PERCENTAGE: Decimal("21.4"),
        Metric.BODY_WATER_PERCENTAGE: Decimal("55.3"),
        Metric.MUSCLE_PERCENTAGE: Decimal("41.0"),
        Metric.FAT_FREE_MASS: Decimal("56.2"),
        Metric.BONE_MASS: Decimal("3.1"),
        Metric.VISCERAL_FAT_RATING: Decimal("7.0"),
    }.items() <= {m.metric: m.number for m in derived.measurements}.items()
    assert (False, True) == (measured.context.is_device_derived, derived.context.is_device_derived)
    assert measured.context.weigh_in == derived.context.weigh_in == measured.record_key


def test_openscale_without_a_time_is_told() -> None:
    """A day is no time: such a row is set aside, and none is invented."""
    assert [(3, "its time is none")] == problems(contents("openscale3.csv"))


def test_openscale_in_pounds_must_be_told() -> None:
    """Version 3 does not name its unit: a person does."""
    found = contents("openscale3.csv", mass_unit=Unit.LB)
    assert (Metric.BODY_MASS, Decimal("71.5"), Unit.LB) in said(found)


def test_withings() -> None:
    """Weight, masses as masses, both pressures; a pulse without pressures is kept; French titles and commas."""
    weights = said(contents("withings-weight.csv"))
    assert (Metric.BODY_MASS, Decimal("84.2"), Unit.KG) == weights[0]
    assert (Metric.BODY_FAT_MASS, Decimal("16.4"), Unit.KG) in weights
    assert 6 == len(weights)
    assert [
        (Metric.HEART_RATE, Decimal(58), Unit.PER_MIN),
        (Metric.BLOOD_PRESSURE_SYSTOLIC, Decimal(121), Unit.MMHG),
        (Metric.BLOOD_PRESSURE_DIASTOLIC, Decimal(77), Unit.MMHG),
        (Metric.HEART_RATE, Decimal(61), Unit.PER_MIN),
    ] == said(contents("withings-bp.csv"))
    french = contents("withings-fr.csv")
    assert [(Metric.BODY_MASS, Decimal("185.6"), Unit.LB), (Metric.BODY_FAT_MASS, Decimal("36.2"), Unit.LB)] == said(
        french
    )
    assert local("2026-02-28T07:30") == records(french)[0].time


@pytest.mark.parametrize("name", sorted(NAMED))
def test_names_do_not_depend_on_what_else_is_in_the_file(name: str) -> None:
    """A later export that holds more gives the same rows the same names: the first half of the rows, alone."""
    options = {"date_order": "mdy"} if name in ("libreview-fr-mmol.csv", "glooko-bg.csv") else {}
    if name == "libreview.csv":
        options = {"date_order": "dmy"}
    if name.endswith(".json"):
        return
    whole = contents(name, **options)
    lines = text_of(name).splitlines(keepends=True)
    head = next(i for i, line in enumerate(lines) if len(line.split(",")) + len(line.split(";")) > 3)
    for kept in range(head + 2, len(lines) + 1):
        part = FORMATS[[each.name for each in FORMATS].index(NAMED[name])].parse(
            "".join(lines[:kept]),
            FileOptions(zone=PARIS, **options),  # type: ignore[arg-type]
        )
        assert {(r.record_key, r.time) for r in records(part)} <= {(r.record_key, r.time) for r in records(whole)}


def formats() -> Sequence[FileFormat]:
    return FORMATS


@given(st.sampled_from(formats()), st.binary(max_size=400), st.sampled_from(sorted(NAMED)), st.integers(0, 4000))
def test_any_file_is_read_or_refused(file_format: FileFormat, noise: bytes, name: str, cut: int) -> None:
    """Whatever stands in a file, the answer is its contents or `Refused`."""
    whole = (FIXTURES / name).read_bytes()
    for content in (noise, whole[:cut] + noise + whole[cut:], whole[:cut]):
        try:
            text = to_text(content)
            file_format.recognises(text)
            found = file_format.parse(text, FileOptions(zone=PARIS, date_order="dmy"))
        except Refused:
            continue
        assert all((row.records == ()) is (row.problem is not None) for row in found.rows)
