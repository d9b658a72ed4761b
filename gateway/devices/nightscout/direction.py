"""The arrow of a sensor in Nightscout's words.

Thresholds are those of Dexcom's user guides and of this gateway's own page: steady up to 1 mg/dL per minute, slanting
up to 2, straight up to 3, double beyond. xDrip+ draws its double arrow from 3.5 (`BgReading.slopeName`); a word that
was sent is never replaced by one of ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

from gateway.model import DeviceId, Reading, ReadingKey

__all__ = [
    "DIRECTIONS",
    "LOOKED_BACK",
    "Change",
    "arrow_of",
    "changes",
    "delta_between",
    "direction_between",
    "direction_of_number",
]

# the numbers 1 to 9 of Dexcom's Share interface, in their order
_BY_NUMBER = (
    "DoubleUp",
    "SingleUp",
    "FortyFiveUp",
    "Flat",
    "FortyFiveDown",
    "SingleDown",
    "DoubleDown",
    "NOT COMPUTABLE",
    "RATE OUT OF RANGE",
)
DIRECTIONS = ("NONE", "TripleUp", *_BY_NUMBER, "TripleDown")
_SHORTEST = timedelta(minutes=2, seconds=30)
LOOKED_BACK = timedelta(minutes=15, seconds=30)


def arrow_of(trend_mg_dl_min: Decimal | None) -> str:
    """Direction for a rate of change in mg/dL per minute; `NONE` when it is not known."""
    if trend_mg_dl_min is None:
        return "NONE"
    size = abs(trend_mg_dl_min)
    side = "Up" if trend_mg_dl_min > 0 else "Down"
    for limit, word in ((3, "Double"), (2, "Single"), (1, "FortyFive")):
        if size > limit:
            return word + side
    return "Flat"


def direction_of_number(number: int) -> str:
    """Direction for the number that Dexcom's Share and its bridges send as `trend`; `NONE` for any other."""
    return _BY_NUMBER[number - 1] if 1 <= number <= len(_BY_NUMBER) else "NONE"


class Change(NamedTuple):
    """What followers are told beside a value: mg/dL in five minutes, and the arrow for it."""

    delta: int | Decimal
    direction: str


def delta_between(earlier: Reading, later: Reading) -> int | Decimal | None:
    """Change in mg/dL, stretched to five minutes as xDrip+ tells it, to two decimals.

    None where they are less than 2.5 minutes apart (noise counts for more than change) or more than 15.5 (a reading
    every quarter of an hour is the slowest cadence of a sensor), are of two devices, or one of them is no number.
    """
    step = later.effective_at - earlier.effective_at
    if earlier.device_id != later.device_id or not _SHORTEST <= step <= LOOKED_BACK:
        return None
    if earlier.value is None or later.value is None:
        return None
    delta = round((later.value - earlier.value) * 300 / Decimal(step // timedelta(seconds=1)), 2)
    return int(delta) if delta == int(delta) else delta.normalize()


def direction_between(earlier: Reading, later: Reading) -> str:
    """Direction from two neighbours of one sensor, for a source that sends neither word nor rate; `NONE` where
    `delta_between` gives nothing."""
    delta = delta_between(earlier, later)
    return arrow_of(None if delta is None else Decimal(delta) / 5)


def changes(readings: Iterable[Reading]) -> dict[ReadingKey, Change]:
    """The change of each sensor reading against the nearest older one of its device that tells it.

    Args:
        readings: of one metric, oldest first; those of `LOOKED_BACK` before the first one that matters among them.
    """
    older: dict[DeviceId, list[Reading]] = {}
    found: dict[ReadingKey, Change] = {}
    for reading in readings:
        known = older.setdefault(reading.device_id, [])
        for earlier in reversed(known):
            if (delta := delta_between(earlier, reading)) is not None:
                found[reading.key] = Change(delta, direction_between(earlier, reading))
                break
            if reading.effective_at - earlier.effective_at > LOOKED_BACK:
                break
        known.append(reading)
    return found
