"""Somebody who was weighed often is not any more, while another seems to be weighed too often.

After an amputation, a birth, months of illness a person may come back to the scale with a mass that is exactly another
person's. The mass then says nothing; that one person stays away and the other steps on twice does.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Final

from gateway.attribution.model import Candidate, WeighIn

__all__ = ["is_one_missing_while_another_repeats"]

_DAY_S: Final = 86400.0
_FEWEST: Final = 5
_RECENT: Final = 20
_MISSING_DAYS: Final = 6.0
_MISSING_INTERVALS: Final = 5
_SAME_STEP_S: Final = 180
_REPEAT_S: Final = 20 * 3600
_REMEMBERED_DAYS: Final = 5.0


def is_one_missing_while_another_repeats(weigh_in: WeighIn, best: Candidate, others: Sequence[Candidate]) -> bool:
    """Whether the weigh-in may be that of somebody who has not been seen for long, though it fits `best`.

    True when one of `others`, weighed five times or more before, has stayed away for five of their usual intervals and
    at least six days, and in the last five days of it `best` was weighed twice within twenty hours, now included.
    Stepping on again within three minutes is no second time.
    """
    since = [_last_seen_days(weigh_in, each) for each in others]
    absent = [days for days in since if days is not None]
    if not absent:
        return False
    reach = min(_REMEMBERED_DAYS, max(absent))
    times = [-(weigh_in.at - past.at).total_seconds() for past in best.history]
    recent = [*sorted(each for each in times if -reach * _DAY_S <= each <= 0), 0.0]
    return any(_SAME_STEP_S < later - earlier < _REPEAT_S for earlier, later in itertools.pairwise(recent))


def _last_seen_days(weigh_in: WeighIn, candidate: Candidate) -> float | None:
    """Days since the last weigh-in of somebody who should have been weighed meanwhile; None when nobody is missed."""
    days = sorted((weigh_in.at - past.at).total_seconds() / _DAY_S for past in candidate.history)
    if len(days) < _FEWEST or days[0] < _MISSING_DAYS:
        return None
    intervals = [later - earlier for earlier, later in itertools.pairwise(days[:_RECENT])]
    return days[0] if days[0] >= _MISSING_INTERVALS * statistics.median(intervals) else None
