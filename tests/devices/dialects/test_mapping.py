"""Mappings: numbers, units, times and names where the configuration says that they stand."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from dialect_kit import message, messages, numbers, only_record, only_untimed

from gateway.devices.dialects.mapping import MappedValue, Mapping, TimeFormat, mapping_dialect, path_parts
from gateway.devices.dialects.shape import Dialect, Said
from gateway.model import Metric, QuarantineReason, Unit

WEIGHT = mapping_dialect(Mapping("house/bathroom/weight", (MappedValue(Metric.BODY_MASS, unit=Unit.KG),)))
CUFF = mapping_dialect(
    Mapping(
        "cuff/reading",
        (
            MappedValue(Metric.BLOOD_PRESSURE_SYSTOLIC, "data.0.sys", Unit.MMHG),
            MappedValue(Metric.BLOOD_PRESSURE_DIASTOLIC, "data.0.dia", Unit.MMHG),
            MappedValue(Metric.HEART_RATE, "data.0.pulse", Unit.PER_MIN),
        ),
        time_path="at",
        time_format="epoch_s",
        record_path="n",
        user_path="who",
    )
)


def timed(time_format: TimeFormat) -> Dialect:
    """A weight with a time."""
    return mapping_dialect(
        Mapping("a", (MappedValue(Metric.BODY_MASS, "w", Unit.KG),), time_path="t", time_format=time_format)
    )


def test_several_values_of_one_message() -> None:
    """Paths go into objects and arrays; `null` was not measured; time, name and hint come along."""
    *_, cuff = messages("mapping/home.jsonl")
    record = only_record(CUFF.decode(cuff))
    assert {Metric.BLOOD_PRESSURE_SYSTOLIC: "121 mmHg", Metric.BLOOD_PRESSURE_DIASTOLIC: "79 mmHg"} == numbers(
        record.measurements
    )
    assert datetime(2026, 3, 1, 6, 12, 5, tzinfo=UTC) == record.time
    assert ("118", "Ada") == (record.record_key, record.context.user_name)


@pytest.mark.parametrize(
    ("payload", "number"),
    [(b"71.3", "71.3"), (b" 71,3\n", "71.3"), (b'"71,3"', "71.3"), (b"71", "71"), (b"7.13e1", "71.3"), (b"-1", "-1")],
)
def test_a_bare_number(payload: bytes, number: str) -> None:
    """A JSON number, a text, and the comma of half of Europe; exact."""
    (one,) = only_untimed(WEIGHT.decode(message("house/bathroom/weight", payload))).measurements
    assert Decimal(number) == one.number


@pytest.mark.parametrize(
    "payload",
    [
        b"unknown",
        b"unavailable",
        b"nan",
        b"NaN",
        b"true",
        b"null",
        b"71.3 kg",
        b"1.234,5",
        b"1,234.5",
        b"",
        b"{}",
        b"\xff",
    ],
)
def test_what_is_no_number_is_set_aside(payload: bytes) -> None:
    """Words of Home Assistant, booleans, units and thousands are not guessed at; an empty payload says nothing."""
    said = WEIGHT.decode(message("house/bathroom/weight", payload))
    assert Said(problems=said.problems) == said
    assert ([QuarantineReason.MALFORMED] if payload else []) == [problem.reason for problem in said.problems]


@pytest.mark.parametrize(
    ("time_format", "sent", "time"),
    [
        ("iso", "2026-03-01T07:12:05+01:00", datetime(2026, 3, 1, 6, 12, 5, tzinfo=UTC)),
        ("iso", "2026-03-01 07:12", datetime(2026, 3, 1, 7, 12)),  # noqa: DTZ001 -- a wall clock
        ("local", "2026-03-01T07:12:05+00:00", datetime(2026, 3, 1, 7, 12, 5)),  # noqa: DTZ001 -- a wall clock
        ("epoch_s", 1772345525, datetime(2026, 3, 1, 6, 12, 5, tzinfo=UTC)),
        ("epoch_s", "1772345525.5", datetime(2026, 3, 1, 6, 12, 5, 500_000, tzinfo=UTC)),
        ("epoch_ms", 1772345525250, datetime(2026, 3, 1, 6, 12, 5, 250_000, tzinfo=UTC)),
    ],
)
def test_times(time_format: TimeFormat, sent: object, time: datetime) -> None:
    """An instant where there is one, the device's wall clock where there is none; it names the record."""
    record = only_record(timed(time_format).decode(message("a", {"w": 71, "t": sent})))
    assert time == record.time
    assert record.record_key.startswith("t2026-03-01T0")


@pytest.mark.parametrize(
    ("time_format", "sent"),
    [
        ("iso", None),
        ("iso", 1772345525),
        ("iso", "2026-02-30T07:12"),
        ("iso", "07:12"),
        ("epoch_s", 1772345525250),
        ("epoch_s", -1),
        ("epoch_s", True),
        ("epoch_ms", "soon"),
        ("local", "2026-03-01T25:12"),
    ],
)
def test_a_time_that_is_none_is_not_replaced_by_another(time_format: TimeFormat, sent: object) -> None:
    """The message is set aside: a guess would put the reading on the wrong day."""
    (problem,) = timed(time_format).decode(message("a", {"w": 71, "t": sent})).problems
    assert QuarantineReason.MALFORMED is problem.reason


def test_the_unit_may_stand_in_the_message() -> None:
    """By the words that programs use; one that does not measure it is refused."""
    dialect = mapping_dialect(Mapping("a", (MappedValue(Metric.BODY_MASS, "w", unit_path="u"),), is_partial=True))
    untimed = only_untimed(dialect.decode(message("a", {"w": 157.3, "u": " LBS "})))
    assert ({Metric.BODY_MASS: "157.3 lb"}, True) == (numbers(untimed.measurements), untimed.is_partial)
    for unit in ("st", "%", 3, None):
        (problem,) = dialect.decode(message("a", {"w": 157.3, "u": unit})).problems
        assert QuarantineReason.UNSUPPORTED is problem.reason


def test_a_message_with_nothing_of_what_was_said_is_shown() -> None:
    """A mistyped path is seen in the quarantine, not by a year of silence."""
    dialect = mapping_dialect(Mapping("a", (MappedValue(Metric.BODY_MASS, "w.1", Unit.KG),)))
    for payload in ({"w": [71]}, {"w": {"0": 71}}, {"w": [71, None]}, {"weight": 71}, [71]):
        (problem,) = dialect.decode(message("a", payload)).problems
        assert QuarantineReason.UNSUPPORTED is problem.reason


@pytest.mark.parametrize("name", [None, "", "two words", "é", 1.5, [], "x" * 129])
def test_a_record_without_its_name_is_set_aside(name: object) -> None:
    """Where a name is promised, none is made up."""
    (problem,) = CUFF.decode(message("cuff/reading", {"data": [{"sys": 120}], "at": 1772345525, "n": name})).problems
    assert QuarantineReason.MALFORMED is problem.reason


@pytest.mark.parametrize(("sent", "name"), [(118, "118"), ("118", "118"), (118.0, "118"), ("a/7#x", "a/7#x")])
def test_names_of_records(sent: object, name: str) -> None:
    """A whole number is one name, however it is written."""
    assert (
        name
        == only_record(CUFF.decode(message("cuff", {"data": [{"sys": 120}], "at": 1772345525, "n": sent}))).record_key
    )


def test_paths() -> None:
    """Dotted, without empty steps."""
    assert () == path_parts("")
    assert ("a", "0", "b") == path_parts("a.0.b")
    for path in (".", "a.", ".a", "a..b"):
        with pytest.raises(ValueError, match="empty step"):
            path_parts(path)
