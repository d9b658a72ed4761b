"""The Date Time structure that most health characteristics carry.

Source: Bluetooth GATT Specification Supplement, Date Time (characteristic 2A08).
"""

from __future__ import annotations

from datetime import datetime

from gateway.errors import MalformedFrame

__all__ = ["DATE_TIME_OCTETS", "parse_date_time", "write_date_time"]

DATE_TIME_OCTETS = 7


def parse_date_time(octets: bytes) -> datetime | None:
    """The wall clock of a device: naive, in whatever zone its user lives by.

    Args:
        octets: exactly 7: year u16, month u8, day u8, hour u8, minute u8, second u8; little-endian.

    Returns:
        None when year, month or day is 0 (unknown) or the date does not exist (31 February, hour 24, year 1581).

    Raises:
        MalformedFrame: not 7 octets.
    """
    if len(octets) != DATE_TIME_OCTETS:
        raise MalformedFrame(f"Date Time has {DATE_TIME_OCTETS} octets, got {len(octets)}")
    year = int.from_bytes(octets[:2], "little")
    month, day, hour, minute, second = octets[2:]
    if year < 1582:
        return None
    try:
        return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 -- the device says no zone
    except ValueError:
        return None


def write_date_time(wall: datetime) -> bytes:
    """The 7 octets for `wall`; its zone, if any, and its microseconds are left out."""
    return wall.year.to_bytes(2, "little") + bytes((wall.month, wall.day, wall.hour, wall.minute, wall.second))
