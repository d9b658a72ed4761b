"""The place of records whose clock cannot be believed, from the records before and after them.

A meter numbers its records, so their order is known when their clocks are not: after an empty battery it starts again
in 2000, and the person sets it days later. What can be said then:

* a stretch of records stamped before its clock was set back, whose stamps fit between its neighbours, is placed by its
  own stamps: the offset measured at the contact belongs to the clock after that;
* any other stretch between two records whose time is known lies between them. Inside it the distances are kept as the
  clock told them; the stretch is put in the middle of the room there is. That is an estimate;
* without a record on both sides nothing is said.

The result depends on what is known only, not on the order in which it came: what was concluded from a part of the
records is concluded again from all of them. A conclusion is known by its quality and method together; no contact gives
both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise

from gateway.model import Reading, TimeMethod, TimeQuality
from gateway.normalise.times import offset_min, place_device_time

__all__ = ["Gap", "is_concluded", "is_unplaced", "sequence_of", "settled"]

_TIME_FAULT = "time_fault"
_BY_OWN_STAMPS = frozenset({TimeMethod.CLOCK_UNCHECKED, TimeMethod.CLOCK_AMBIGUOUS})


@dataclass(frozen=True, slots=True)
class Gap:
    """Where in a life of the counter records have no known time; a record with a number in between may tell more.

    Attributes:
        epoch: the life.
        after, before: numbers of the records with a known time around it; None: there is none yet.
    """

    epoch: int
    after: int | None
    before: int | None

    def holds(self, epoch: int, sequence: int) -> bool:
        """Whether a record of that number lies in it."""
        is_after = self.after is None or sequence > self.after
        return epoch == self.epoch and is_after and (self.before is None or sequence < self.before)


def sequence_of(reading: Reading) -> int | None:
    """The meter's own number of the record; None where its numbers name nothing."""
    number, at, _ = reading.record_key.partition("@")
    return int(number) if at and number.isascii() and number.isdigit() else None


def is_concluded(quality: TimeQuality, method: TimeMethod | None) -> bool:
    """Whether an instant of that quality and method was concluded here, from the records around."""
    is_stamped = quality is TimeQuality.CORRECTED and method in _BY_OWN_STAMPS
    return is_stamped or method is TimeMethod.NEIGHBOURS


def is_unplaced(reading: Reading) -> bool:
    """Whether nobody has said when it was measured; a conclusion is nobody's word."""
    quality = reading.time_quality
    return quality is TimeQuality.UNKNOWN or is_concluded(quality, reading.time_method)


def settled(readings: Iterable[Reading], zone: tzinfo) -> tuple[dict[Reading, Reading], tuple[Gap, ...]]:
    """The unplaced ones of `readings` that get another place, each with its new self, and where unplaced ones remain.

    Args:
        readings: everything that one meter has told of one metric, in any order.
        zone: its owner's.
    """
    lives: dict[int, list[tuple[int, Reading]]] = {}
    for reading in readings:
        if (sequence := sequence_of(reading)) is not None:
            lives.setdefault(reading.epoch, []).append((sequence, reading))
    moved: dict[Reading, Reading] = {}
    gaps: list[Gap] = []
    for epoch, life in lives.items():
        if not any(is_unplaced(reading) for _, reading in life):
            continue
        life.sort(key=lambda numbered: (numbered[0], numbered[1].received_at, numbered[1].record_key))
        numbers = [sequence for sequence, _ in life]
        old = [reading for _, reading in life]
        new = _by_own_stamps([_as_told(reading, zone) for reading in old], zone)
        for start, end in _runs(new, _is_unknown):
            lower = new[start - 1] if start else None
            upper = new[end] if end < len(new) else None
            new[start:end] = _between(new[start:end], lower, upper, zone)
        for start, end in _runs(new, is_unplaced):
            gaps.append(Gap(epoch, numbers[start - 1] if start else None, numbers[end] if end < len(new) else None))
        moved |= {before: after for before, after in zip(old, new, strict=True) if before != after}
    return moved, tuple(gaps)


def _as_told(reading: Reading, zone: tzinfo) -> Reading:
    """It without what was concluded about it before."""
    if not is_unplaced(reading):
        return reading
    received_at = reading.received_at
    method = reading.time_method if _is_unknown(reading) else TimeMethod.NOTHING
    return _placed(reading, received_at, offset_min(received_at, zone), TimeQuality.UNKNOWN, method)


def _is_unknown(reading: Reading) -> bool:
    return reading.time_quality is TimeQuality.UNKNOWN


def _runs(life: Sequence[Reading], holds: Callable[[Reading], bool]) -> list[tuple[int, int]]:
    """Begin and end of each stretch for which it holds."""
    runs: list[tuple[int, int]] = []
    for at, reading in enumerate(life):
        if holds(reading):
            runs.append((runs.pop()[0] if runs and runs[-1][1] == at else at, at + 1))
    return runs


def _by_own_stamps(life: Sequence[Reading], zone: tzinfo) -> list[Reading]:
    """Stretches before a clock was set back, placed by their own stamps where these fit between the neighbours."""
    new = list(life)
    end = len(new)
    while end > 0:
        start = end - 1
        while start > 0 and _runs_on(new[start - 1], new[start]):
            start -= 1
        was_set_back = end < len(new) and _is_before(new[end], new[end - 1])
        if was_set_back and all(_is_unknown(reading) for reading in new[start:end]):
            candidates = [_stamped(reading, zone) for reading in new[start:end]]
            around = [*new[max(0, start - 1) : start], *candidates, *new[end : end + 1]]
            instants = [r.effective_at for r in around if r is not None and not _is_unknown(r)]
            if all(candidates) and instants == sorted(instants):
                new[start:end] = [reading for reading in candidates if reading is not None]
        end = start
    return new


def _runs_on(one: Reading, following: Reading) -> bool:
    """Whether the same clock may have stamped both, in this order, and both are unplaced."""
    a, b = one.device_time, following.device_time
    return _is_unknown(one) and _is_unknown(following) and a is not None and b is not None and a <= b


def _is_before(one: Reading, other: Reading) -> bool:
    a, b = one.device_time, other.device_time
    return a is not None and b is not None and a < b


def _stamped(reading: Reading, zone: tzinfo) -> Reading | None:
    if reading.device_time is None or _TIME_FAULT in reading.context.status:
        return None
    placed = place_device_time(reading.device_time, reading.received_at, zone)
    if placed.quality is TimeQuality.UNKNOWN:
        return None
    return _placed(reading, *placed._replace(quality=TimeQuality.CORRECTED))


def _between(
    stretch: Sequence[Reading], lower: Reading | None, upper: Reading | None, zone: tzinfo
) -> Sequence[Reading]:
    """Estimates where both neighbours are there and in order; else nobody knows."""
    if lower is None or upper is None or lower.effective_at > upper.effective_at:
        return stretch
    room = upper.effective_at - lower.effective_at
    steps = [_step(one, following) for one, following in pairwise(stretch)]
    shapes = sum((step for step in steps if step is not None), timedelta())
    if shapes > room:  # they contradict their neighbours
        steps, shapes = [None] * len(steps), timedelta()
    share = (room - shapes) / (steps.count(None) + 2)
    at, placed = lower.effective_at + share, []
    for reading, step in zip(stretch, [*steps, timedelta()], strict=True):
        instant = at.replace(microsecond=0)
        instant = max(instant, lower.effective_at)
        placed.append(
            _placed(reading, instant, offset_min(instant, zone), TimeQuality.CORRECTED, TimeMethod.NEIGHBOURS)
        )
        at += share if step is None else step
    return placed


def _step(one: Reading, following: Reading) -> timedelta | None:
    """What the clock says of the time between both; None where it was set in between, or there is none."""
    a, b = one.device_time, following.device_time
    return b - a if a is not None and b is not None and a <= b else None


def _placed(
    reading: Reading, instant: datetime, utc_offset_min: int, quality: TimeQuality, method: TimeMethod | None
) -> Reading:
    return replace(
        reading, effective_at=instant, utc_offset_min=utc_offset_min, time_quality=quality, time_method=method
    )
