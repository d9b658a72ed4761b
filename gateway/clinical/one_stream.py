"""One stream of a metric out of several devices that tell the same.

A sensor is often heard twice: over Bluetooth by the gateway and through a phone's app, or by two apps. What each of
them tells is stored as it came, seconds to minutes apart. Of readings of different devices that lie within 150 s of
each other, the one of the preferred device is shown, counted, answered to followers and considered for leaving. 150 s
is half of the usual five minutes: two copies of one reading are never further apart than the sensor's next one.

Preferred is the device that comes first in the person's own order, then the one that is nearer to the sensor:
Bluetooth, HTTP, MQTT, files; then by the device's id. Two readings of one device are never taken for each other, and
where the preferred device has a hole the others fill it.

Two real sensors on one body, while one replaces the other, are treated alike: one of them at each instant, chosen by
the same order. Which of them is nearer to the truth nobody knows here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from gateway.model import DeviceId, Reading, SourceKind, StoredReading

__all__ = ["NEAR", "is_hidden", "one_stream", "one_stream_of_stored", "source_rank"]

NEAR = timedelta(seconds=150)
_NEARNESS = (SourceKind.BLUETOOTH, SourceKind.HTTP, SourceKind.MQTT, SourceKind.FILE, SourceKind.SIMULATED)
_RANK = {kind: number for number, kind in enumerate(_NEARNESS)}

T = TypeVar("T")


def source_rank(reading: Reading, first: Sequence[DeviceId] = ()) -> tuple[int, int, str]:
    """Sorts readings of several devices: the preferred one is smallest.

    Args:
        first: the person's own order of devices, the preferred one first; others come after them.
    """
    place = first.index(reading.device_id) if reading.device_id in first else len(first)
    return place, _RANK[reading.provenance.source], reading.device_id


def one_stream(readings: Iterable[Reading], first: Sequence[DeviceId] = ()) -> list[Reading]:
    """The readings that count, by instant.

    Args:
        readings: results (`is_result`) of one metric of one person, each identity once, in any order.
        first: as for `source_rank`.
    """
    return _one_stream(readings, lambda reading: reading, first)


def one_stream_of_stored(stored: Iterable[StoredReading], first: Sequence[DeviceId] = ()) -> list[StoredReading]:
    """The same for readings as the store gives them."""
    return _one_stream(stored, lambda item: item.reading, first)


def is_hidden(reading: Reading, shown: Sequence[Reading]) -> bool:
    """Whether a reading that is no result (a sensor's code) lies within `NEAR` of what another device tells.

    Args:
        shown: what `one_stream` gave.
    """
    return not _is_alone(reading, [(each.effective_at, each.device_id) for each in shown])


def _one_stream(items: Iterable[T], reading_of: Callable[[T], Reading], first: Sequence[DeviceId]) -> list[T]:
    by_source: dict[tuple[DeviceId, SourceKind], list[T]] = {}
    for item in items:
        reading = reading_of(item)
        by_source.setdefault((reading.device_id, reading.provenance.source), []).append(item)
    sources = sorted(by_source.values(), key=lambda group: source_rank(reading_of(group[0]), first))
    kept: list[tuple[datetime, DeviceId]] = []
    chosen: list[T] = []
    for group in sources:
        added = [item for item in group if not kept or _is_alone(reading_of(item), kept)]
        chosen += added
        if group is not sources[-1]:
            kept += [(reading_of(item).effective_at, reading_of(item).device_id) for item in added]
            kept.sort()
    chosen.sort(key=lambda item: (reading_of(item).effective_at, reading_of(item).key))
    return chosen


def _is_alone(reading: Reading, kept: Sequence[tuple[datetime, DeviceId]]) -> bool:
    """Whether no other device has a kept reading within `NEAR`; `kept` by instant."""
    latest = reading.effective_at + NEAR
    for place in range(bisect_left(kept, (reading.effective_at - NEAR,)), len(kept)):
        at, device_id = kept[place]
        if at > latest:
            return True
        if device_id != reading.device_id:
            return False
    return True
