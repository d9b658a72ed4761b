"""The arrow of a sensor in Nightscout's words.

Thresholds are those of Dexcom's user guides and of this gateway's own page: steady up to 1 mg/dL per minute, slanting
up to 2, straight up to 3, double beyond. xDrip+ draws its double arrow from 3.5 (`BgReading.slopeName`); a word that
was sent is never replaced by one of ours.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from gateway.model import Reading

__all__ = ["DIRECTIONS", "arrow_of", "direction_between", "direction_of_number"]

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
_SHORTEST, _LONGEST = timedelta(minutes=2, seconds=30), timedelta(minutes=15, seconds=30)


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


def direction_between(earlier: Reading, later: Reading) -> str:
    """Direction from two neighbours of one sensor, for a source that sends neither word nor rate.

    `NONE` where they are less than 2.5 minutes apart (noise counts for more than change) or more than 15.5 (a reading
    every quarter of an hour is the slowest cadence of a sensor), are of two devices, or one of them is no number.
    """
    step = later.effective_at - earlier.effective_at
    if earlier.device_id != later.device_id or not _SHORTEST <= step <= _LONGEST:
        return "NONE"
    if earlier.value is None or later.value is None:
        return "NONE"
    return arrow_of((later.value - earlier.value) * 60 / Decimal(step // timedelta(seconds=1)))
