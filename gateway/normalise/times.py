"""From a device's own clock to an instant with a quality.

A device clock has no zone. One that agrees with ours (to a minute) is read as its owner's wall clock: whoever sets it
by hand follows daylight saving, and so do phones that set it. The price: where the zone's offset at the record differs
from that at the contact, a clock that is never changed for summer would be read an hour off, and nothing tells the two
apart; the hour that exists twice is taken for its first passage.

A clock that was off by a constant follows nothing: it ran on, and what was measured at the contact holds for every
record in its memory. Its times are read with the zone's offset at the contact, then moved by the measured difference,
so that a change of our clocks in between does not move them. `device_time` itself is never rewritten.

A device time that is impossible, or cannot be true (before 2005, or more than ten minutes after reception), leaves the
instant unknown for a stored record and takes the time of reception for a live one. While the gateway's own clock cannot
be trusted, only the limits that do not depend on it count; a live record is then unknown too, but by the method
`RECEPTION`: once it is known how wrong our clock was, its instant is known as well.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from gateway.model import TimeMethod, TimeQuality

__all__ = [
    "CLOCK_TOLERANCE",
    "FUTURE_TOLERANCE",
    "Placed",
    "is_ambiguous",
    "offset_min",
    "place_corrected",
    "place_device_time",
    "place_instant",
    "place_reception",
]

CLOCK_TOLERANCE = timedelta(minutes=1)
FUTURE_TOLERANCE = timedelta(minutes=10)
_EARLIEST = datetime(2005, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""Where nothing else bounds it: no device that is read today will still measure then."""


class Placed(NamedTuple):
    """An instant on the common time scale.

    Attributes:
        effective_at: aware, UTC.
        utc_offset_min: offset of the person's zone at that instant, minutes east.
        quality: how it was found.
        method: by which evidence.
    """

    effective_at: datetime
    utc_offset_min: int
    quality: TimeQuality
    method: TimeMethod


def place_reception(received_at: datetime, zone: tzinfo, *, is_live: bool, clock_is_trusted: bool = True) -> Placed:
    """For a record without a usable time: reception when it was measured just now by a clock that is right, else
    unknown."""
    quality = TimeQuality.RECEIVED if is_live and clock_is_trusted else TimeQuality.UNKNOWN
    method = TimeMethod.RECEPTION if is_live else TimeMethod.NOTHING
    return Placed(received_at, offset_min(received_at, zone), quality, method)


def place_instant(
    instant: datetime,
    received_at: datetime,
    zone: tzinfo,
    *,
    is_live: bool = False,
    clock_is_trusted: bool = True,
) -> Placed:
    """For a source that knows the instant itself (aware `instant`), such as ours over MQTT."""
    latest = received_at + FUTURE_TOLERANCE if clock_is_trusted else _LATEST
    try:
        utc = instant.astimezone(UTC)
    except OverflowError:
        utc = datetime.max.replace(tzinfo=UTC)
    if not _EARLIEST <= utc <= latest:
        return place_reception(received_at, zone, is_live=is_live, clock_is_trusted=clock_is_trusted)
    return Placed(utc, offset_min(utc, zone), TimeQuality.DEVICE, TimeMethod.SOURCE_INSTANT)


def place_device_time(
    device_time: datetime | None,
    received_at: datetime,
    zone: tzinfo,
    *,
    clock_offset: timedelta | None = None,
    is_live: bool = False,
    clock_is_trusted: bool = True,
) -> Placed:
    """For a device with a local clock and no zone; corrected where the measured offset is above the tolerance.

    Args:
        device_time: naive wall clock of the device, or None when it has none or sent an impossible date.
        received_at: aware, UTC.
        zone: the owner's zone. In the hour that exists twice the first passage is taken; a wall clock in the hour that
            does not exist is moved forward, as the standard library's zone rules do.
        clock_offset: our local time minus the device's, measured at contact; None: not measured.
        is_live: the record was made at this contact.
        clock_is_trusted: whether `received_at` can be right.
    """
    if device_time is None:
        return place_reception(received_at, zone, is_live=is_live, clock_is_trusted=clock_is_trusted)
    if clock_offset is not None and abs(clock_offset) > CLOCK_TOLERANCE:
        return place_corrected(device_time, received_at, zone, clock_offset, is_live=is_live)
    try:
        utc = device_time.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        return place_reception(received_at, zone, is_live=is_live, clock_is_trusted=clock_is_trusted)
    placed = place_instant(utc, received_at, zone, is_live=is_live, clock_is_trusted=clock_is_trusted)
    if placed.quality is not TimeQuality.DEVICE:
        return placed
    if is_ambiguous(device_time, zone):
        return placed._replace(method=TimeMethod.CLOCK_AMBIGUOUS)
    is_checked = clock_offset is not None and clock_is_trusted
    return placed._replace(method=TimeMethod.CLOCK_CHECKED if is_checked else TimeMethod.CLOCK_UNCHECKED)


def is_ambiguous(device_time: datetime, zone: tzinfo) -> bool:
    """Whether that wall clock (naive) exists twice in `zone`, or not at all: the two readings of it differ."""
    first, second = (device_time.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    return first != second


def place_corrected(
    device_time: datetime, received_at: datetime, zone: tzinfo, clock_offset: timedelta, *, is_live: bool = False
) -> Placed:
    """For a local clock that ran on unchanged until the contact, at which it was `clock_offset` behind ours.

    Args:
        device_time: naive, by that clock.
        received_at: aware, UTC: the contact, whose zone offset holds for the clock at all times.
        zone: the owner's zone.
        clock_offset: our local time minus the device's; below the tolerance it is the noise of whole seconds and is
            left out, so that reading the record again gives the same instant.
        is_live: the record was made at this contact.
    """
    moved = clock_offset if abs(clock_offset) > CLOCK_TOLERANCE else timedelta()
    at_contact = received_at.astimezone(zone).utcoffset() or timedelta()
    try:
        utc = (device_time.replace(tzinfo=UTC) - at_contact) + moved
    except OverflowError:
        return place_reception(received_at, zone, is_live=is_live)
    placed = place_instant(utc, received_at, zone, is_live=is_live)
    if placed.quality is not TimeQuality.DEVICE:
        return placed
    return placed._replace(quality=TimeQuality.CORRECTED, method=TimeMethod.OFFSET_MEASURED)


def offset_min(instant: datetime, zone: tzinfo) -> int:
    """Offset of `zone` at `instant`, aware; minutes east."""
    offset = instant.astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)
