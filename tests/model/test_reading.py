"""`Reading`: one result, one time scale, one identity."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import (
    Absent,
    Bound,
    BoundKind,
    Context,
    DeviceId,
    Metric,
    Provenance,
    Reading,
    SourceKind,
    TimeQuality,
    is_identifier,
)

AT = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
WEIGHT = Reading(
    device_id=DeviceId("scale"),
    epoch=0,
    record_key="2026-03-29T00:30:00#1",
    metric=Metric.BODY_MASS,
    value=Decimal("70.25"),
    effective_at=AT,
    utc_offset_min=60,
    time_quality=TimeQuality.DEVICE,
    received_at=AT,
    provenance=Provenance(SourceKind.BLUETOOTH, "gatt.2a9d"),
)


def test_the_key_is_what_the_device_said() -> None:
    """The identity is device, epoch, record and metric; neither value nor time of reception changes it."""
    later = replace(WEIGHT, value=Decimal(71), received_at=AT + timedelta(days=1), frame=3)
    assert "scale/0/2026-03-29T00:30:00#1/body_mass" == WEIGHT.key
    assert WEIGHT.key == later.key


@pytest.mark.parametrize(
    ("value", "bound", "absent"),
    [
        (None, None, None),
        (Decimal(1), Bound(BoundKind.BELOW), None),
        (Decimal(1), None, Absent.UNSUCCESSFUL),
        (None, Bound(BoundKind.ABOVE), Absent.RESERVED),
        (Decimal(1), Bound(BoundKind.ABOVE), Absent.RESERVED),
    ],
)
def test_exactly_one_result(value: Decimal | None, bound: Bound | None, absent: Absent | None) -> None:
    """A reading with no result, or with two, cannot exist."""
    with pytest.raises(ValueError, match="exactly one"):
        replace(WEIGHT, value=value, bound=bound, absent=absent)


@pytest.mark.parametrize("field", ["effective_at", "received_at"])
def test_instants_are_utc(field: str) -> None:
    """An instant in another zone, or in none, is refused although it may name the same moment."""
    for instant in (AT.astimezone(timezone(timedelta(hours=1))), AT.replace(tzinfo=None)):
        with pytest.raises(ValueError, match="UTC"):
            replace(WEIGHT, **{field: instant})  # type: ignore[arg-type]


def test_the_local_day_is_the_persons() -> None:
    """Half past midnight in Paris belongs to the day that has begun there, not to the UTC day."""
    assert (date(2026, 3, 29), datetime(2026, 3, 29, 0, 30)) == (WEIGHT.local_day, WEIGHT.local_time)  # noqa: DTZ001


@given(st.integers(-14 * 60, 14 * 60))
def test_local_time_is_utc_plus_offset(offset_min: int) -> None:
    """The wall clock is the instant moved by the offset, for every offset that exists."""
    reading = replace(WEIGHT, utc_offset_min=offset_min)
    assert AT.astimezone(timezone(timedelta(minutes=offset_min))).replace(tzinfo=None) == reading.local_time


def test_what_counts_as_a_result() -> None:
    """Values and bounds count; absent numbers, control solutions and unknown times do not."""
    bound = replace(WEIGHT, value=None, bound=Bound(BoundKind.ABOVE, Decimal(180)))
    absent = replace(WEIGHT, value=None, absent=Absent.UNSUCCESSFUL)
    control = replace(WEIGHT, context=Context(is_control_solution=True))
    unknown = replace(WEIGHT, time_quality=TimeQuality.UNKNOWN)
    received = replace(WEIGHT, time_quality=TimeQuality.RECEIVED)
    assert [True, True, True, False, False, False] == [
        reading.is_result for reading in (WEIGHT, bound, received, absent, control, unknown)
    ]


def test_the_frame_is_not_part_of_equality() -> None:
    """Where the raw payload lies in a batch does not make two readings different."""
    assert replace(WEIGHT, frame=1) == replace(WEIGHT, frame=2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("camille", True),
        ("bathroom-scale_2", True),
        ("0", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("-a", False),
        ("Camille", False),
        ("a/b", False),
        ("a+b", False),
        ("a#", False),
        ("é", False),
        ("a\n", False),
        ("..", False),
    ],
)
def test_identifiers_are_safe_everywhere(text: str, expected: bool) -> None:
    """What may name a person or device is safe as topic level, file name and part of a URL."""
    assert expected is is_identifier(text)
