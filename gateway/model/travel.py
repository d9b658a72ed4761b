"""The zone of a person who travels: one that changes from instant to instant, like the rules of any zone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

__all__ = ["Itinerary", "Leg", "zone_of_text", "zone_text"]

_EVER = datetime.min.replace(tzinfo=UTC)


class Leg(NamedTuple):
    """From `begins_at` (aware) on, the person lives by `zone`."""

    begins_at: datetime
    zone: ZoneInfo


class Itinerary(tzinfo):
    """Home, and the zones lived in since. A wall clock that exists twice or not at all is told as in any zone: PEP 495.

    Args:
        home: before the first leg.
        legs: each lasts until the next one begins; coming home is a leg too.
    """

    def __init__(self, home: ZoneInfo, legs: Sequence[Leg]) -> None:
        ordered = sorted(Leg(leg.begins_at.astimezone(UTC), leg.zone) for leg in legs)
        self._legs = (Leg(_EVER, home), *ordered)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itinerary) and self._legs == other._legs

    def __hash__(self) -> int:
        return hash(self._legs)

    def __reduce__(self) -> tuple[object, ...]:
        return Itinerary, (self._legs[0].zone, self._legs[1:])

    @property
    def home(self) -> ZoneInfo:
        """Where the person lives."""
        return self._legs[0].zone

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Without home."""
        return self._legs[1:]

    def fromutc(self, dt: datetime) -> datetime:
        """`dt`, whose fields are UTC, on the wall clock of the zone lived in then."""
        instant = dt.replace(tzinfo=UTC)
        leg = next(leg for leg in reversed(self._legs) if leg.begins_at <= instant)
        wall = instant.astimezone(leg.zone).replace(tzinfo=None)
        is_second = wall - instant.replace(tzinfo=None) != self._offset(wall.replace(fold=0))
        return wall.replace(tzinfo=self, fold=int(is_second))

    def utcoffset(self, dt: datetime | None) -> timedelta:
        """Of the wall clock `dt`; of no clock at all: none is meant, and home's standard answer is zero."""
        return timedelta() if dt is None else self._offset(dt.replace(tzinfo=None))

    def dst(self, dt: datetime | None) -> timedelta | None:
        """Not told: what is summer time there is nobody's question here."""
        return None

    def tzname(self, dt: datetime | None) -> str | None:
        """The name of the leg's zone at that wall clock."""
        return None if dt is None else self._leg(dt.replace(tzinfo=None)).zone.tzname(dt)

    def _offset(self, wall: datetime) -> timedelta:
        offset = self._leg(wall).zone.utcoffset(wall)
        return offset if offset is not None else timedelta()

    def _leg(self, wall: datetime) -> Leg:
        """Whose wall clock it is: of two the earlier (fold 0) or the later, in a jump forward the one before it."""
        fitting = [
            leg
            for leg, ends_at in zip(self._legs, [*(leg.begins_at for leg in self._legs[1:]), None], strict=True)
            if self._holds(leg, ends_at, wall)
        ]
        if fitting:
            return fitting[0] if wall.fold == 0 else fitting[-1]
        begun = [n for n, leg in enumerate(self._legs) if _instant(wall, leg.begins_at, leg.zone) >= leg.begins_at]
        number = begun[-1] if begun else 0
        return self._legs[number if wall.fold == 0 else min(number + 1, len(self._legs) - 1)]

    @staticmethod
    def _holds(leg: Leg, ends_at: datetime | None, wall: datetime) -> bool:
        instant = _instant(wall, leg.begins_at, leg.zone)
        return leg.begins_at <= instant and (ends_at is None or instant < ends_at)


def _instant(wall: datetime, otherwise: datetime, zone: ZoneInfo) -> datetime:
    try:
        return wall.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        return otherwise


def zone_text(zone: tzinfo) -> str:
    """A zone as one line; the inverse of `zone_of_text`."""
    if isinstance(zone, Itinerary):
        return ";".join([zone.home.key, *(f"{leg.begins_at.isoformat()}={leg.zone.key}" for leg in zone.legs)])
    return zone.key if isinstance(zone, ZoneInfo) else "UTC"


def zone_of_text(text: str) -> ZoneInfo | Itinerary:
    """The zone that `zone_text` wrote."""
    home, *legs = text.split(";")
    if not legs:
        return ZoneInfo(home)
    parts = [leg.partition("=") for leg in legs]
    return Itinerary(ZoneInfo(home), [Leg(datetime.fromisoformat(at), ZoneInfo(key)) for at, _, key in parts])
