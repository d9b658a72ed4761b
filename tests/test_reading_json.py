"""Readings as JSON lines: exact there and back, strict on the way in."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Implausible, MalformedFrame
from gateway.model import (
    Absent,
    Bound,
    BoundKind,
    Context,
    DeviceId,
    Meal,
    Metric,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    TimeQuality,
    Unit,
)
from gateway.reading_json import dump_reading, parse_reading, parse_readings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LINE: dict[str, Any] = {
    "device": "scale",
    "record": "1",
    "metric": "body_mass",
    "value": 70.25,
    "unit": "kg",
    "effective_at": "2026-03-01T07:00:00+01:00",
}
_MISSING = object()

identifiers = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
instants = st.datetimes(datetime(1900, 1, 2), datetime(2999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
numbers = st.decimals(-9999, 9999, places=3)
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


def _line(**changes: object) -> str:
    return json.dumps({name: value for name, value in (LINE | changes).items() if value is not _MISSING})


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    """Anything that a device can say around a value."""
    return Context(
        meal=draw(st.none() | st.sampled_from(Meal)),
        carbohydrate_g=draw(st.none() | numbers),
        exercise_duration_s=draw(st.none() | st.integers(0, 65535)),
        tester=draw(st.none() | words),
        is_control_solution=draw(st.booleans()),
        trend_mg_dl_min=draw(st.none() | numbers),
        status=tuple(draw(st.lists(words, max_size=3))),
        user_index=draw(st.none() | st.integers(0, 254)),
        note=draw(st.none() | words),
    )


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    """Any reading that the gateway can hold."""
    metric = draw(st.sampled_from(Metric))
    value, bound, absent = None, None, None
    match draw(st.sampled_from(("value", "bound", "absent"))):
        case "value":
            value = draw(st.decimals(metric.info.lowest, metric.info.highest, places=draw(st.integers(0, 6))))
        case "bound":
            bound = Bound(draw(st.sampled_from(BoundKind)), draw(st.none() | numbers))
        case _:
            absent = draw(st.sampled_from(Absent))
    original = draw(st.booleans())
    return Reading(
        device_id=DeviceId(draw(identifiers)),
        epoch=draw(st.integers(0, 2**31 - 1)),
        record_key=draw(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128)),
        metric=metric,
        value=value,
        bound=bound,
        absent=absent,
        original_value=draw(numbers) if original else None,
        original_unit=draw(st.sampled_from(Unit)) if original else None,
        context=draw(contexts()),
        device_time=draw(st.none() | st.datetimes()),
        effective_at=draw(instants),
        utc_offset_min=draw(st.integers(-840, 840)),
        time_quality=draw(st.sampled_from(TimeQuality)),
        received_at=draw(instants),
        provenance=Provenance(draw(st.sampled_from(SourceKind)), draw(identifiers), draw(st.booleans())),
    )


@given(readings(), st.none() | identifiers.map(PersonId))
def test_there_and_back(reading: Reading, person_id: PersonId | None) -> None:
    """A reading written as a line and read again is the same reading, digit for digit."""
    line = dump_reading(reading, person_id)
    again, person = parse_reading(line, received_at=NOW)
    assert (reading, person_id) == (again, person)
    assert line == dump_reading(again, person)
    assert "\n" not in line


def test_the_least_that_a_line_holds() -> None:
    """Six fields make a reading; what is missing gets the stated defaults."""
    reading, person_id = parse_reading(_line(), received_at=NOW)
    expected = Reading(
        device_id=DeviceId("scale"),
        epoch=0,
        record_key="1",
        metric=Metric.BODY_MASS,
        value=Decimal("70.25"),
        effective_at=datetime(2026, 3, 1, 6, 0, tzinfo=UTC),
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=NOW,
        provenance=Provenance(SourceKind.FILE, "reading_lines"),
    )
    assert (expected, None) == (reading, person_id)


@pytest.mark.parametrize("digits", ["70", "70.0", "70.10", "70.00000000001", "7E+1", "6.1"])
def test_digits_survive(digits: str) -> None:
    """The number on the line is the number in the reading: never a binary fraction nearby."""
    metric, unit = ("body_mass", "kg") if digits != "6.1" else ("glucose_capillary", "mmol/L")
    line = _line(value=0, metric=metric, unit=unit).replace('"value": 0', f'"value": {digits}')
    reading, _ = parse_reading(line, received_at=NOW)
    if digits == "6.1":
        assert (Decimal("6.1"), Decimal("109.895099")) == (reading.original_value, reading.value)
    else:
        assert Decimal(digits).as_tuple() == reading.value.as_tuple() if reading.value is not None else None


@pytest.mark.parametrize(
    ("metric", "value", "unit", "canonical", "original"),
    [
        ("body_mass", 154.32, "lb", "69.9983745384", (Decimal("154.32"), Unit.LB)),
        ("glucose_capillary", 1.05, "g/L", "105", (Decimal("1.05"), Unit.G_L)),
        ("glucose_capillary", 105, "mg/dL", "105", (None, None)),
    ],
)
def test_units_are_converted_and_remembered(
    metric: str, value: float, unit: str, canonical: str, original: tuple[Decimal | None, Unit | None]
) -> None:
    """A value in another unit becomes canonical and keeps what was said; a canonical one claims no original."""
    reading, _ = parse_reading(_line(metric=metric, value=value, unit=unit), received_at=NOW)
    assert (Decimal(canonical), original) == (reading.value, (reading.original_value, reading.original_unit))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"device": _MISSING}, "device"),
        ({"device": "../x"}, "device"),
        ({"record": ""}, "record"),
        ({"record": "a b"}, "record"),
        ({"record": "é"}, "record"),
        ({"record": "x" * 129}, "record"),
        ({"metric": "mood"}, "metric"),
        ({"value": "heavy"}, "value"),
        ({"value": True}, "value"),
        ({"value": _MISSING}, "line"),
        ({"unit": _MISSING}, "line"),
        ({"absent": "reserved"}, "line"),
        ({"unit": "stone"}, "unit"),
        ({"epoch": -1}, "epoch"),
        ({"epoch": 2**31}, "epoch"),
        ({"effective_at": "2026-03-01T07:00:00"}, "effective_at"),
        ({"effective_at": "2026-02-30T07:00:00Z"}, "effective_at"),
        ({"effective_at": "0001-01-01T00:00:00+14:00"}, "effective_at"),
        ({"effective_at": "9999-12-31T23:59:59Z"}, "effective_at"),
        ({"received_at": "9999-12-31T23:59:59-12:00"}, "received_at"),
        ({"device_time": "2026-03-01T07:00:00Z"}, "device_time"),
        ({"utc_offset_min": 841}, "utc_offset_min"),
        ({"context": {"mood": "fine"}}, "context.mood"),
        ({"context": {"user_index": 255}}, "context.user_index"),
        ({"context": {"note": "n" * 201}}, "context.note"),
        ({"context": {"exercise_duration_s": 2**70}}, "context.exercise_duration_s"),
        ({"context": {"exercise_intensity_percent": 101}}, "context.exercise_intensity_percent"),
        ({"context": {"note": "\ud800"}}, "context.note"),
        ({"provenance": {"source": "telepathy"}}, "provenance.source"),
        ({"person": "Camille"}, "person"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_line_is_named(changes: dict[str, object], where: str) -> None:
    """A line that is not exactly right is refused with the name of its field."""
    with pytest.raises(MalformedFrame) as caught:
        parse_reading(_line(**changes), received_at=NOW)
    assert where == str(caught.value).split(":")[0]


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\x00",
        "",
        "null",
        "[]",
        "7",
        "{",
        '"text"',
        "[" * 60_000,
        '{"a":' * 10_000,
        '{"value":NaN}',
        '{"value":-Infinity}',
        _line().replace("70.25", "NaN"),
        _line().replace("70.25", "Infinity"),
        _line().replace("70.25", '"NaN"'),
        _line().replace("70.25", "1e400"),
        _line().replace("70.25", "9" * 5000),
        _line().replace("70.25", "1e9999999999999999999"),
        _line().replace("70.25", "1e-9999999999999999999"),
        " " * 65_537,
    ],
)
def test_what_is_no_line(line: str | bytes) -> None:
    """Garbage, numbers that are none, endless numbers and bottomless nesting are all just malformed."""
    with pytest.raises(MalformedFrame):
        parse_reading(line, received_at=NOW)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_parse_or_are_malformed(line: str | bytes) -> None:
    """No line can make the parser raise anything else."""
    with contextlib.suppress(MalformedFrame, Implausible):
        parse_reading(line, received_at=NOW)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
_FIELDS = [
    "device", "epoch", "record", "metric", "value", "unit", "bound", "absent", "original", "context", "device_time",
    "effective_at", "utc_offset_min", "time_quality", "received_at", "provenance", "person",
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(_FIELDS), _JSON, max_size=3))
def test_any_field_content_parses_or_is_malformed(changes: dict[str, object]) -> None:
    """Right names with any content give a usable reading or a named fault."""
    with contextlib.suppress(MalformedFrame, Implausible):
        reading, _ = parse_reading(json.dumps(LINE | changes), received_at=NOW)
        assert timedelta(days=2) > abs(reading.local_time - reading.effective_at.replace(tzinfo=None))
        assert reading == parse_reading(dump_reading(reading), received_at=NOW)[0]


def test_an_implausible_value_is_refused_without_showing_it() -> None:
    """A weight of two tons is refused, and no message repeats a value."""
    with pytest.raises(Implausible) as caught:
        parse_reading(_line(value=2222), received_at=NOW)
    assert "2222" not in str(caught.value)
    with pytest.raises(MalformedFrame) as malformed:
        parse_reading(_line(value="secret-value"), received_at=NOW)
    assert "secret" not in str(malformed.value)


def test_one_bad_line_stops_nobody() -> None:
    """Bad lines are reported with their number, blank ones passed over, all others read."""
    lines = [_line(), "", "{", _line(record="2", person="camille"), _line(value=2222)]
    found = list(parse_readings(lines, received_at=NOW))
    assert [1, 3, 4, 5] == [item[0] for item in found]
    assert [3, 2, 3, 2] == [len(item) for item in found]
    assert PersonId("camille") == found[2][-1]
