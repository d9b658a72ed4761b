"""Current Time Service: the clock of a device, read and set."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from encoders_scale import STAMP, STAMP_OCTETS
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.current_time import (
    AdjustReason,
    CurrentTime,
    LocalTimeInformation,
    build_current_time,
    parse_current_time,
    parse_local_time_information,
)
from gateway.errors import MalformedFrame


def test_current_time() -> None:
    """Each field is decoded; reserved bits of the reason are dropped."""
    expected = CurrentTime(STAMP, 128, 1, AdjustReason.MANUAL | AdjustReason.DST_CHANGE)
    assert expected == parse_current_time(STAMP_OCTETS + bytes((1, 128, 0xF9)))


@pytest.mark.parametrize(("octet", "expected"), [(0, None), (1, 1), (7, 7), (8, None), (255, None)])
def test_day_of_week(octet: int, expected: int | None) -> None:
    """A day that is not Monday to Sunday is unknown."""
    assert expected == parse_current_time(STAMP_OCTETS + bytes((octet, 0, 0))).day_of_week


def test_unset_clock() -> None:
    """A clock that was never set has no time."""
    assert parse_current_time(bytes(10)).local is None


@given(
    st.datetimes(min_value=datetime(1582, 1, 1)),  # noqa: DTZ001 -- a device's own clock has no zone
    st.sampled_from([AdjustReason.MANUAL, AdjustReason.EXTERNAL_REFERENCE, AdjustReason.TIME_ZONE_CHANGE]),
)
def test_set_then_read(wall: datetime, reason: AdjustReason) -> None:
    """What is written is what a device gives back."""
    read = parse_current_time(build_current_time(wall, reason))
    expected = CurrentTime(wall.replace(microsecond=0), wall.microsecond * 256 // 1_000_000, wall.isoweekday(), reason)
    assert expected == read


def test_worked_write() -> None:
    """3 February 2025 is a Monday, set from an external reference."""
    assert STAMP_OCTETS + bytes((1, 0, 2)) == build_current_time(STAMP)


@pytest.mark.parametrize("wall", [STAMP.replace(tzinfo=UTC), STAMP.replace(year=1500)])
def test_unwritable_times(wall: datetime) -> None:
    """A zone or a year outside the format is a mistake of the caller."""
    with pytest.raises(ValueError):
        build_current_time(wall)


@pytest.mark.parametrize(
    ("frame", "expected", "total"),
    [
        ("0404", LocalTimeInformation(60, 60), 120),
        ("d000", LocalTimeInformation(-720, 0), -720),
        ("3802", LocalTimeInformation(840, 30), 870),
        ("1608", LocalTimeInformation(330, 120), 450),
        ("8000", LocalTimeInformation(None, 0), None),
        ("04ff", LocalTimeInformation(60, None), None),
        ("3903", LocalTimeInformation(None, None), None),
    ],
)
def test_local_time_information(frame: str, expected: LocalTimeInformation, total: int | None) -> None:
    """Quarter hours and summer time become minutes; unknown and reserved codes stay unknown."""
    information = parse_local_time_information(bytes.fromhex(frame))
    assert expected == information
    assert total == information.utc_offset_min


@given(st.binary(max_size=16))
def test_any_frame_parses_or_is_malformed(frame: bytes) -> None:
    """No byte string makes a parser raise anything else."""
    with contextlib.suppress(MalformedFrame):
        parse_current_time(frame)
    with contextlib.suppress(MalformedFrame):
        parse_local_time_information(frame)
