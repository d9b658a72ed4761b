"""Which intervals of a series are missing, and why.

A sensor measures at a steady pace: two results that lie further apart than one and a half steps have a hole between
them. A hole is cut where the evidence changes, and each piece has the reason with the strongest evidence; what nothing
explains is `unknown`. A device without a pace that numbers its records (a meter, a scale with a counter) shows its
holes in the numbers.

Nothing is estimated: a hole is a statement about instants, never about values.
"""

from __future__ import annotations

import enum
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

from gateway.model import Outage, OutageReason

__all__ = [
    "LEAST_GAP",
    "WARM_UP",
    "Gap",
    "GapReason",
    "Numbered",
    "Seen",
    "Session",
    "cadence_of",
    "gaps_of_numbers",
    "gaps_of_series",
    "record_number",
]

LEAST_GAP: Final = timedelta(minutes=15)
"""What is missing less is a single loss, and is not listed."""

WARM_UP: Final = timedelta(hours=2)
"""The longest warm-up of the sensors on the market; a sensor that says nothing for longer has another reason."""

_PACES: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 3, 5, 10, 15))
_PACE_TOLERANCE: Final = 0.2
_FEWEST: Final = 3
"""Fewer steps show no pace, and fewer numbers no numbering."""
_NUMBER: Final = re.compile(r"(\d{1,9})(?:@.*)?")


class GapReason(enum.StrEnum):
    """Why something is missing; the strongest evidence first."""

    MEMORY_WRAPPED = "memory_wrapped"
    """The meter itself no longer has the records."""
    WARM_UP = "warm_up"
    """The sensor's session had begun, and it did not measure yet."""
    GATEWAY_OFF = "gateway_off"
    STORE_UNAVAILABLE = "store_unavailable"
    RADIO_OFF = "radio_off"
    RADIO_DEAF = "radio_deaf"
    BROKER_SESSION_LOST = "broker_session_lost"
    BROKER_AWAY = "broker_away"
    BETWEEN_SENSORS = "between_sensors"
    DEVICE_OFFLINE = "device_offline"
    UNKNOWN = "unknown"


_ORDER: Final = {reason: place for place, reason in enumerate(GapReason)}
_OF_OUTAGE: Final = {reason: GapReason(reason.value) for reason in OutageReason}


class Seen(NamedTuple):
    """One result of a series.

    Attributes:
        at: aware, UTC.
        sensor: which sensor, or which session of one: another text is another sensor.
    """

    at: datetime
    sensor: str


class Session(NamedTuple):
    """When the session of a sensor began, aware, UTC."""

    sensor: str
    began_at: datetime


class Numbered(NamedTuple):
    """One record of a device that numbers them: its number, and when it was measured, aware, UTC."""

    number: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Gap:
    """An interval in which results are missing.

    Attributes:
        start, end: aware, UTC: the last result before and the first after, or where the reason changes in between.
        reason: with the strongest evidence.
        detail: more about it, without values; may be empty.
        expected: how many results belong between `start` and `end`.
        missing: how many of them are not there.
        is_open: nothing has come since; `end` is the end of the search.
        also: other reasons that hold for this interval too, by evidence.
    """

    start: datetime
    end: datetime
    reason: GapReason
    detail: str
    expected: int
    missing: int
    is_open: bool = False
    also: tuple[GapReason, ...] = ()


class _Cause(NamedTuple):
    start: datetime
    end: datetime
    reason: GapReason
    detail: str


def cadence_of(instants: Sequence[datetime]) -> timedelta | None:
    """The pace of a sensor (1, 3, 5, 10 or 15 minutes), from the median step of ascending instants; None: it has none.

    A step below ten seconds is the same result heard twice.
    """
    steps = [
        (after - before).total_seconds()
        for before, after in pairwise(instants)
        if after - before >= timedelta(seconds=10)
    ]
    if len(steps) < _FEWEST:
        return None
    step = median(steps)
    pace = min(_PACES, key=lambda each: abs(each.total_seconds() - step))
    return pace if abs(step - pace.total_seconds()) <= _PACE_TOLERANCE * pace.total_seconds() else None


def gaps_of_series(
    series: Iterable[Seen],
    *,
    cadence: timedelta | None = None,
    outages: Sequence[Outage] = (),
    sessions: Sequence[Session] = (),
    until: datetime | None = None,
    least: timedelta = LEAST_GAP,
) -> tuple[Gap, ...]:
    """The holes of one person's sensor results, in time order.

    Args:
        series: in any order, repetitions allowed.
        cadence: the pace of every sensor; None: each sensor's own is found from its results, and what has none has no
            holes.
        outages: those that concern this series; one that is still open lasts until the end.
        sessions: where the start of a sensor's session is known, its first `WARM_UP` explain themselves.
        until: also the hole after the last result, up to this instant.
        least: a hole is listed when that much is missing: three results of a sensor with one each five minutes.
    """
    seen = sorted(set(series))
    if len(seen) < 2:
        return ()
    paces = _paces(seen, cadence)
    causes = [
        _Cause(outage.began_at, outage.ended_at or until or seen[-1].at, _OF_OUTAGE[outage.reason], outage.detail)
        for outage in outages
    ]
    began = {session.sensor: session.began_at for session in sessions}
    found: list[Gap] = []
    for before, after in pairwise(seen):
        pace = paces.get(before.sensor) or paces.get(after.sensor)
        if pace is None:
            continue
        own = _of_change(before, after, began) if before.sensor != after.sensor else []
        found += _gaps_between(before.at, after.at, pace, [*causes, *own], least)
    last = seen[-1]
    if until is not None and (pace := paces.get(last.sensor)) is not None:
        found += _gaps_between(last.at, until, pace, causes, least, is_open=True)
    return tuple(found)


def _paces(seen: Sequence[Seen], cadence: timedelta | None) -> Mapping[str, timedelta]:
    by_sensor: dict[str, list[datetime]] = {}
    for each in seen:
        by_sensor.setdefault(each.sensor, []).append(each.at)
    if cadence is not None:
        return dict.fromkeys(by_sensor, cadence)
    found = {sensor: cadence_of(instants) for sensor, instants in by_sensor.items()}
    return {sensor: pace for sensor, pace in found.items() if pace is not None}


def _of_change(before: Seen, after: Seen, began: Mapping[str, datetime]) -> list[_Cause]:
    """A hole at the change of sensors: nobody wore one until the next began, which then warmed up."""
    start = began.get(after.sensor)
    if start is None or not before.at <= start <= after.at:
        return [_Cause(before.at, after.at, GapReason.BETWEEN_SENSORS, "")]
    warm = min(start + WARM_UP, after.at)
    return [
        _Cause(before.at, start, GapReason.BETWEEN_SENSORS, ""),
        _Cause(start, warm, GapReason.WARM_UP, ""),
    ]


def _gaps_between(
    start: datetime,
    end: datetime,
    pace: timedelta,
    causes: Sequence[_Cause],
    least: timedelta,
    *,
    is_open: bool = False,
) -> list[Gap]:
    missing = round((end - start) / pace) - 1
    if missing < 1 or missing * pace < least:
        return []
    concerned = [cause for cause in causes if cause.start < end and cause.end > start]
    pieces = _pieces(start, end, pace, concerned)
    found = []
    for left, right in pairwise(pieces):
        here = sorted(
            (cause for cause in concerned if _explains(cause, left, right)),
            key=lambda cause: (_ORDER[cause.reason], cause.start),
        )
        reasons = tuple(dict.fromkeys(cause.reason for cause in here)) or (GapReason.UNKNOWN,)
        found.append((left, right, reasons, here[0].detail if here else ""))
    joined = _joined(found)
    slots = _slots([piece[:2] for piece in joined], start, pace, missing)
    return [
        Gap(left, right, reasons[0], detail, count, count, is_open and right == end, reasons[1:])
        for (left, right, reasons, detail), count in zip(joined, slots, strict=True)
    ]


_Piece = tuple[datetime, datetime, tuple[GapReason, ...], str]


def _pieces(start: datetime, end: datetime, pace: timedelta, causes: Sequence[_Cause]) -> list[datetime]:
    """Where to cut: at the edges of the causes, unless the edge is within one step of an end of the hole.

    A result belongs to an instant, so that an outage that begins one step before or after a hole explains it whole.
    """
    edges = {edge for cause in causes for edge in (cause.start, cause.end) if start < edge < end}
    inner = sorted(edge for edge in edges if edge - start >= pace and end - edge >= pace)
    cuts = [start]
    for edge in inner:
        if edge - cuts[-1] >= pace:
            cuts.append(edge)
    return [*cuts, end]


def _explains(cause: _Cause, left: datetime, right: datetime) -> bool:
    """Whether `cause` holds for most of the piece; its edges lie within a step of the piece's, or outside."""
    return 2 * (min(cause.end, right) - max(cause.start, left)) >= right - left


def _joined(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Neighbours with the same reason are one."""
    joined: list[_Piece] = []
    for left, right, reasons, detail in pieces:
        if joined and joined[-1][2] == reasons:
            joined[-1] = (joined[-1][0], right, reasons, joined[-1][3] or detail)
        else:
            joined.append((left, right, reasons, detail))
    return joined


def _slots(intervals: Sequence[tuple[datetime, datetime]], start: datetime, pace: timedelta, missing: int) -> list[int]:
    """How many of the `missing` results, one a step after `start`, lie in each interval."""
    ends = [right for _, right in intervals[:-1]]
    counts = [0] * len(intervals)
    for step in range(1, missing + 1):
        counts[bisect_left(ends, start + step * pace)] += 1
    return counts


def record_number(record_key: str) -> int | None:
    """The number that a record key begins with (`17`, `17@2026-03-20T07:00:00`); None: it is not a number."""
    match = _NUMBER.fullmatch(record_key)
    return None if match is None else int(match[1])


def gaps_of_numbers(
    records: Iterable[Numbered], *, outages: Sequence[Outage] = (), lost: Iterable[tuple[int, int, str]] = ()
) -> tuple[Gap, ...]:
    """The holes in the numbers of one device and one life of its counter, by number.

    Numbers that do not grow with time are no numbering, and have no holes.

    Args:
        records: in any order, repetitions allowed.
        outages: those that concern this device. Here they are a hint only: what a device stores it can still tell, so
            that an outage explains a hole when it overlaps it at all.
        lost: first and last number, and the sentence, of what the device says it has overwritten.
    """
    instants: dict[int, datetime] = {}
    for record in records:
        instants[record.number] = min(record.at, instants.get(record.number, record.at))
    numbers = sorted(instants)
    if len(numbers) < _FEWEST or any(instants[after] < instants[before] for before, after in pairwise(numbers)):
        return ()
    overwritten = tuple(lost)
    found = []
    for before, after in pairwise(numbers):
        count = after - before - 1
        if not count:
            continue
        start, end = instants[before], instants[after]
        which = f"record {before + 1}" if count == 1 else f"records {before + 1} to {after - 1}"
        reasons = [
            _OF_OUTAGE[outage.reason]
            for outage in outages
            if outage.began_at < end and (outage.ended_at is None or outage.ended_at > start)
        ]
        if any(first <= after - 1 and last >= before + 1 for first, last, _ in overwritten):
            reasons.append(GapReason.MEMORY_WRAPPED)
        ranked = sorted(set(reasons), key=lambda reason: _ORDER[reason]) or [GapReason.UNKNOWN]
        found.append(Gap(start, end, ranked[0], which, count, count, also=tuple(ranked[1:])))
    return tuple(found)
