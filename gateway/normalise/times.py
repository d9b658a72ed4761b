"""From a device's own clock to an instant with a quality.

Rules: a measured offset above one minute corrects the device's clock, it never rewrites `device_time`. A device time
that is impossible, or cannot be true (before 2005, or more than ten minutes after reception), leaves the instant
unknown for a stored record and takes the time of reception for a live one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from gateway.model import TimeQuality

__all__ = ["CLOCK_TOLERANCE", "FUTURE_TOLERANCE", "Placed", "place_device_time", "place_instant", "place_reception"]

CLOCK_TOLERANCE = timedelta(minutes=1)
FUTURE_TOLERANCE = timedelta(minutes=10)
_EARLIEST = datetime(2005, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Placed:
    """An instant on the common time scale.

    Attributes:
        effective_at: aware, UTC.
        utc_offset_min: offset of the person's zone at that instant, minutes east.
        quality: how it was found.
    """

    effective_at: datetime
    utc_offset_min: int
    quality: TimeQuality


def _offset_min(instant: datetime, zone: tzinfo) -> int:
    offset = instant.astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)


def place_reception(received_at: datetime, zone: tzinfo, *, is_live: bool) -> Placed:
    """For a record without a usable time: reception when it was measured just now, else unknown."""
    quality = TimeQuality.RECEIVED if is_live else TimeQuality.UNKNOWN
    return Placed(received_at, _offset_min(received_at, zone), quality)


def place_instant(instant: datetime, received_at: datetime, zone: tzinfo, *, is_live: bool = False) -> Placed:
    """For a source that knows the instant itself (aware `instant`), such as ours over MQTT."""
    try:
        utc = instant.astimezone(UTC)
    except OverflowError:
        return place_reception(received_at, zone, is_live=is_live)
    if not _EARLIEST <= utc <= received_at + FUTURE_TOLERANCE:
        return place_reception(received_at, zone, is_live=is_live)
    return Placed(utc, _offset_min(utc, zone), TimeQuality.DEVICE)


def place_device_time(
    device_time: datetime | None,
    received_at: datetime,
    zone: tzinfo,
    *,
    clock_offset: timedelta | None = None,
    is_live: bool = False,
) -> Placed:
    """For a device with a local clock and no zone.

    Args:
        device_time: naive wall clock of the device, or None when it has none or sent an impossible date.
        received_at: aware, UTC.
        zone: the owner's zone. In the hour that exists twice the first passage is taken; a wall clock in the hour that
            does not exist is moved forward, as the standard library's zone rules do.
        clock_offset: our local time minus the device's, measured at contact; None: not measured.
        is_live: the record was made at this contact.
    """
    if device_time is None:
        return place_reception(received_at, zone, is_live=is_live)
    corrected = clock_offset is not None and abs(clock_offset) > CLOCK_TOLERANCE
    try:
        wall = device_time + clock_offset if corrected and clock_offset is not None else device_time
        utc = wall.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        return place_reception(received_at, zone, is_live=is_live)
    if not _EARLIEST <= utc <= received_at + FUTURE_TOLERANCE:
        return place_reception(received_at, zone, is_live=is_live)
    return Placed(utc, _offset_min(utc, zone), TimeQuality.CORRECTED if corrected else TimeQuality.DEVICE)
