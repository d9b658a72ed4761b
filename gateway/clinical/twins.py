"""Finger-sticks that two sources tell: a meter over Bluetooth, and the app to which the person read it out.

Two readings are twins when they are of different devices, lie within 150 s of each other, say the same (the same whole
mg/dL, give or take one for a value that went through mmol/L, or the same bound), and each is the other's nearest such
reading. Two equal results of one meter are two results; the copy of each has its own nearest.

Both stay stored. The one of the preferred device (`one_stream.source_rank`) is shown and leaves.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from gateway.clinical.one_stream import NEAR, is_hidden, one_stream_of_stored, source_rank
from gateway.model import DeviceId, Metric, Reading, StoredReading

__all__ = ["Twins", "one_result_each", "preferred", "told_once"]

_SAME_MG_DL = 1


class Twins:
    """The finger-sticks of one person over some time, to be asked which of them tell the same."""

    def __init__(self, stored: Iterable[StoredReading]) -> None:
        """Only results (`is_result`) of one metric count; others are passed over."""
        self._ordered = sorted(
            (item for item in stored if item.reading.is_result),
            key=lambda item: (item.reading.effective_at, item.reading.key),
        )
        self._instants = [item.reading.effective_at for item in self._ordered]

    def __iter__(self) -> Iterator[StoredReading]:
        """The results, by instant."""
        return iter(self._ordered)

    def of(self, stored: StoredReading) -> list[StoredReading]:
        """`stored` and its twins, one per other device at most, in order of commit: the first one first."""
        if not stored.reading.is_result:
            return [stored]
        found = [stored]
        for nearest in _nearest_by_device(stored.reading, self._near(stored.reading)).values():
            back = _nearest_by_device(nearest.reading, self._near(nearest.reading)).get(stored.reading.device_id)
            if back is not None and back.reading.key == stored.reading.key:
                found.append(nearest)
        return sorted(found, key=lambda item: item.row_id)

    def neighbours(self, stored: StoredReading) -> list[StoredReading]:
        """Results of other devices within 150 s of `stored`, whatever they say."""
        return [item for item in self._near(stored.reading) if item.reading.device_id != stored.reading.device_id]

    def _near(self, reading: Reading) -> Iterable[StoredReading]:
        for place in range(bisect_left(self._instants, reading.effective_at - NEAR), len(self._ordered)):
            if self._instants[place] > reading.effective_at + NEAR:
                return
            yield self._ordered[place]


def preferred(twins: Iterable[StoredReading], first: Sequence[DeviceId] = ()) -> StoredReading:
    """The one of the preferred device."""
    return min(twins, key=lambda twin: source_rank(twin.reading, first))


def one_result_each(readings: Iterable[Reading], first: Sequence[DeviceId] = ()) -> list[Reading]:
    """The results that are shown, by instant: of twins the one of the preferred device."""
    twins = Twins(StoredReading(reading, None, number, None) for number, reading in enumerate(readings))
    return [item.reading for item in twins if preferred(twins.of(item), first).reading.key == item.reading.key]


def told_once(stored: Iterable[StoredReading], first: Sequence[DeviceId] = ()) -> set[int]:
    """Row ids of one person's glucose as followers are told it: of what several devices tell, once.

    A sensor's reading that is no result (a code) is told where no other device tells a result near it.

    Args:
        stored: sensor readings and finger-sticks of one person; those within 150 s of the ends may be decided wrongly
            where what lies beyond is missing.
        first: the person's own order, see `source_rank`.
    """
    items = list(stored)
    sensor = [item for item in items if item.reading.metric is Metric.GLUCOSE_INTERSTITIAL]
    shown = one_stream_of_stored((item for item in sensor if item.reading.is_result), first)
    told = {item.row_id for item in shown}
    results = [item.reading for item in shown]
    told |= {i.row_id for i in sensor if not i.reading.is_result and not is_hidden(i.reading, results)}
    twins = Twins(item for item in items if item.reading.metric is Metric.GLUCOSE_CAPILLARY)
    return told | {item.row_id for item in twins if preferred(twins.of(item), first).row_id == item.row_id}


def _nearest_by_device(reading: Reading, others: Iterable[StoredReading]) -> dict[DeviceId, StoredReading]:
    """Per other device, its reading that says the same and lies nearest; of two equally near the earlier."""
    nearest: dict[DeviceId, StoredReading] = {}
    for other in others:
        device_id = other.reading.device_id
        if device_id == reading.device_id or not _is_same(reading, other.reading):
            continue
        best = nearest.get(device_id)
        if best is None or _apart(reading, other) < _apart(reading, best):
            nearest[device_id] = other
    return nearest


def _apart(reading: Reading, other: StoredReading) -> float:
    return abs((other.reading.effective_at - reading.effective_at).total_seconds())


def _is_same(one: Reading, other: Reading) -> bool:
    if one.value is None or other.value is None:
        return one.bound is not None and other.bound is not None and one.bound.kind is other.bound.kind
    return abs(round(one.value) - round(other.value)) <= _SAME_MG_DL
