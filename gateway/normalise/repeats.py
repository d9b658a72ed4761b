"""One result of a meter that comes twice under different names.

A record is named by the life of its counter, its number and its time. A meter that was reset and kept its memory sends
old results again under new numbers; another way out of the same meter may cut the seconds off. Two tests that happened
to give the same value in one minute are two results all the same, so the rule is narrow:

* in another life of the counter: same value and same time, to the second, or to the minute where one has no seconds;
* in the same life: same value and same second, and not second 0, where meters without seconds put all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from gateway.model import Metric, Reading

__all__ = ["REPEATABLE", "is_same_result", "without_repeats"]

REPEATABLE = frozenset({Metric.GLUCOSE_CAPILLARY})


def is_same_result(one: Reading, other: Reading) -> bool:
    """Whether both are one result under two names; False for two sightings of one name."""
    if one.key == other.key or (one.device_id, one.metric) != (other.device_id, other.metric):
        return False
    if one.value is None or (one.value, one.bound, one.absent) != (other.value, other.bound, other.absent):
        return False
    a, b = one.device_time, other.device_time
    if a is None or b is None:
        return False
    if one.epoch == other.epoch:
        return a == b and a.second != 0
    return a == b or (_minute(a) == _minute(b) and 0 in (a.second, b.second))


def without_repeats(new: Sequence[Reading], known: Iterable[Reading]) -> tuple[Reading, ...]:
    """Those of `new` that are no result of `known`, nor of another one of `new` that comes before; in their order."""
    seen: dict[datetime, list[Reading]] = defaultdict(list)
    names = set()
    for reading in known:
        names.add(reading.key)
        if reading.device_time is not None:
            seen[_minute(reading.device_time)].append(reading)
    kept = []
    for reading in new:
        at = None if reading.device_time is None else _minute(reading.device_time)
        may_repeat = reading.metric in REPEATABLE and at is not None and reading.key not in names
        if may_repeat and at is not None:
            if any(is_same_result(reading, other) for other in seen[at]):
                continue
            seen[at].append(reading)
        kept.append(reading)
    return tuple(kept)


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
