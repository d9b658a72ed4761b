"""Current Time Service (1805): the clock of a device, read and set.

Source: Bluetooth Current Time Service 1.1; GATT Specification Supplement, Current Time (2A2B), Local Time Information
(2A0F), Reference Time Information (2A14).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gateway.devices._reader import FrameReader
from gateway.devices.date_time import DATE_TIME_OCTETS, parse_date_time, write_date_time

__all__ = [
    "AdjustReason",
    "CurrentTime",
    "LocalTimeInformation",
    "ReferenceTimeInformation",
    "build_current_time",
    "parse_current_time",
    "parse_local_time_information",
    "parse_reference_time_information",
]

_EARLIEST_YEAR = 1582
_ZONE_QUARTERS = range(-48, 57)
_DST_OFFSETS_MIN = {0: 0, 2: 30, 4: 60, 8: 120}
_TIME_SOURCES = {
    1: "network_time_protocol",
    2: "gps",
    3: "radio_time_signal",
    4: "manual",
    5: "atomic_clock",
    6: "cellular_network",
    7: "not_synchronized",
}
_ACCURACY_STEP_S = Decimal("0.125")
_LAST_ACCURACY = 253
_LONG_AGO = 255


class AdjustReason(enum.IntFlag):
    """Why a clock was set."""

    NONE = 0
    MANUAL = 1
    EXTERNAL_REFERENCE = 2
    TIME_ZONE_CHANGE = 4
    DST_CHANGE = 8


@dataclass(frozen=True, slots=True)
class CurrentTime:
    """2A2B.

    Attributes:
        local: the device's wall clock to the second, naive; None when unknown or impossible.
        fractions_256: 1/256 of a second on top, 0..255.
        day_of_week: 1 Monday .. 7 Sunday; None when unknown or reserved.
        adjust_reason: why it was last set; reserved bits are dropped.
    """

    local: datetime | None
    fractions_256: int
    day_of_week: int | None
    adjust_reason: AdjustReason


@dataclass(frozen=True, slots=True)
class LocalTimeInformation:
    """2A0F.

    Attributes:
        time_zone_min: standard offset from UTC, minutes east, -720..840; None when unknown or reserved.
        dst_offset_min: summer time on top, minutes; None when unknown or reserved.
    """

    time_zone_min: int | None
    dst_offset_min: int | None

    @property
    def utc_offset_min(self) -> int | None:
        """Total offset, minutes east; None when either part is unknown."""
        if self.time_zone_min is None or self.dst_offset_min is None:
            return None
        return self.time_zone_min + self.dst_offset_min


@dataclass(frozen=True, slots=True)
class ReferenceTimeInformation:
    """2A14: where a device's clock got its time from.

    Attributes:
        source: `network_time_protocol`, `gps`, `radio_time_signal`, `manual`, `atomic_clock`, `cellular_network`,
            `not_synchronized`; None when unknown or reserved.
        accuracy_s: drift at most, seconds; None when unknown or more than the field can say.
        hours_since_update: whole hours; None when 255 days or more, or impossible.
    """

    source: str | None
    accuracy_s: Decimal | None
    hours_since_update: int | None


def parse_current_time(frame: bytes) -> CurrentTime:
    """Decode Current Time (2A2B).

    Args:
        frame: 10 octets: Date Time (7), day of week u8, fractions u8, adjust reason u8.

    Raises:
        MalformedFrame: not 10 octets.
    """
    reader = FrameReader(frame, "Current Time")
    local = parse_date_time(reader.bytes(DATE_TIME_OCTETS))
    day_of_week, fractions, reason = reader.u8(), reader.u8(), reader.u8()
    reader.finish()
    return CurrentTime(
        local=local,
        fractions_256=fractions,
        day_of_week=day_of_week if 1 <= day_of_week <= 7 else None,
        adjust_reason=AdjustReason(reason & 0x0F),
    )


def parse_local_time_information(frame: bytes) -> LocalTimeInformation:
    """Decode Local Time Information (2A0F).

    Args:
        frame: 2 octets: time zone s8 in quarters of an hour (-128 unknown), DST offset u8 (0, 2, 4, 8; 255 unknown).

    Raises:
        MalformedFrame: not 2 octets.
    """
    reader = FrameReader(frame, "Local Time Information")
    quarters, dst = reader.s8(), reader.u8()
    reader.finish()
    return LocalTimeInformation(
        time_zone_min=quarters * 15 if quarters in _ZONE_QUARTERS else None,
        dst_offset_min=_DST_OFFSETS_MIN.get(dst),
    )


def parse_reference_time_information(frame: bytes) -> ReferenceTimeInformation:
    """Decode Reference Time Information (2A14).

    Args:
        frame: 4 octets: source u8, accuracy u8 x 1/8 s (254 out of range, 255 unknown), days u8, hours u8 (0..23) since
            the last update; 255 in both: 255 days or more.

    Raises:
        MalformedFrame: not 4 octets.
    """
    reader = FrameReader(frame, "Reference Time Information")
    source, accuracy, days, hours = reader.u8(), reader.u8(), reader.u8(), reader.u8()
    reader.finish()
    return ReferenceTimeInformation(
        source=_TIME_SOURCES.get(source),
        accuracy_s=accuracy * _ACCURACY_STEP_S if accuracy <= _LAST_ACCURACY else None,
        hours_since_update=days * 24 + hours if days < _LONG_AGO and hours < 24 else None,
    )


def build_current_time(local: datetime, reason: AdjustReason = AdjustReason.EXTERNAL_REFERENCE) -> bytes:
    """The 10 octets that set a device's clock.

    Args:
        local: the person's wall clock, naive, year 1582 or later.
        reason: why it is set.

    Raises:
        ValueError: `local` has a zone, or a year that the format cannot carry.
    """
    if local.tzinfo is not None:
        raise ValueError("a device clock is set to naive local time")
    if local.year < _EARLIEST_YEAR:
        raise ValueError(f"Current Time begins in {_EARLIEST_YEAR}")
    fractions = local.microsecond * 256 // 1_000_000
    return write_date_time(local) + bytes((local.isoweekday(), fractions, reason))
