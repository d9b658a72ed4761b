"""One result of a meter that comes twice under different names.

A record is named by the life of its counter, its number and its time. A meter that was reset and kept its memory sends
old results again under new numbers; another way out of the same meter may cut the seconds off; and a meter whose
numbers name nothing may have been read by its numbers before that was known of its family. Two tests that happened to
give the same value in one minute are two results all the same, so the rule is narrow:

* in another life of the counter, or where only one of both is named by its number: same value and same time, to the
  second, or to the minute where one has no seconds. One result stands for one of each other life, not for several;
* in the same life: same value and same second, and not second 0, where meters without seconds put all of them.

A record that is told again under its own name goes on to the store, which takes the newest word. One that says nothing
this time, because the context that would decide it has stayed away, is no word: it would take back what was told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeAlias

from gateway.model import Metric, Reading, ReadingKey
from gateway.normalise.glucose import CONTEXT_MISSING

__all__ = ["REPEATABLE", "is_same_result", "without_repeats"]

_Life: TypeAlias = tuple[int, bool]
REPEATABLE = frozenset({Metric.GLUCOSE_CAPILLARY})


def is_same_result(one: Reading, other: Reading) -> bool:
    """Whether both are one result under two names; False for two sightings of one name."""
    if one.key == other.key or (one.device_id, one.metric) != (other.device_id, other.metric):
        return False
    if one.absent is not None or (one.value, one.bound, one.absent) != (other.value, other.bound, other.absent):
        return False
    a, b = one.device_time, other.device_time
    if a is None or b is None:
        return False
    if _life(one) == _life(other):
        return a == b and a.second != 0
    return a == b or (_minute(a) == _minute(b) and 0 in (a.second, b.second))


def without_repeats(new: Sequence[Reading], known: Iterable[Reading]) -> tuple[Reading, ...]:
    """Those of `new` that are no result of `known`, nor of another one of `new` that comes before; in their order.

    Nor is one that is undecided while its name is known.
    """
    seen: dict[datetime, list[Reading]] = defaultdict(list)
    dropped: dict[datetime, list[Reading]] = defaultdict(list)
    names = set()
    spent: set[tuple[ReadingKey, _Life]] = set()
    for reading in known:
        names.add(reading.key)
        if reading.device_time is not None:
            seen[_minute(reading.device_time)].append(reading)
    kept = []
    for reading in new:
        at = None if reading.device_time is None else _minute(reading.device_time)
        if reading.key in names and CONTEXT_MISSING in reading.context.status:
            continue
        if at is None or reading.metric not in REPEATABLE or reading.key in names:
            kept.append(reading)
            continue
        life = _life(reading)
        alike = [other for other in seen[at] if is_same_result(reading, other)]
        abroad = [other for other in alike if _life(other) != life and (other.key, life) not in spent]
        if any(_life(other) == life and is_same_result(reading, other) for other in (*alike, *dropped[at])):
            dropped[at].append(reading)
        elif abroad:
            spent.add((abroad[0].key, life))
            dropped[at].append(reading)
        else:
            seen[at].append(reading)
            kept.append(reading)
    return tuple(kept)


def _life(reading: Reading) -> _Life:
    """Of the counter, and whether its numbers name the records."""
    return reading.epoch, "@" in reading.record_key


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
