"""Date Time: a wall clock, or None where there is none."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.date_time import parse_date_time, write_date_time
from gateway.errors import MalformedFrame


def test_worked_example() -> None:
    """The octets are year (little-endian), month, day, hour, minute, second."""
    assert datetime(2025, 2, 3, 4, 5, 6) == parse_date_time(bytes.fromhex("e9070203040506"))  # noqa: DTZ001


@pytest.mark.parametrize(
    "octets",
    [
        "00000203040506",  # year unknown
        "e9070003040506",  # month unknown
        "e9070200040506",  # day unknown
        "00000000000000",
        "2d060203040506",  # 1581
        "10270101000000",  # 10000
        "e907021d000000",  # 29 February 2025
        "e907021f000000",
        "e9070d01000000",
        "e9070203180000",  # hour 24
        "e90702030b3c00",
        "e90702030b0b3c",
        "ffffffffffffff",
    ],
)
def test_unknown_and_impossible_dates_are_none(octets: str) -> None:
    """A date that is not known or does not exist is no error and no date."""
    assert parse_date_time(bytes.fromhex(octets)) is None


def test_leap_day_exists() -> None:
    """29 February is a date in a leap year."""
    assert datetime(2024, 2, 29) == parse_date_time(bytes.fromhex("e807021d000000"))  # noqa: DTZ001


@given(st.binary(max_size=10))
def test_any_octets(octets: bytes) -> None:
    """Seven octets always give a date or None, any other number is malformed."""
    if len(octets) == 7:
        found = parse_date_time(octets)
        assert found is None or found.tzinfo is None
    else:
        with pytest.raises(MalformedFrame):
            parse_date_time(octets)


@given(st.datetimes(min_value=datetime(1582, 1, 1)))  # noqa: DTZ001
def test_round_trip(wall: datetime) -> None:
    """Every wall clock that can be written is read back to the second."""
    assert wall.replace(microsecond=0) == parse_date_time(write_date_time(wall))
