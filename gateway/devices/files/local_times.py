"""Wall-clock times of an export, which have no zone, and the names of its records.

The hour that exists twice when the clocks go back stands twice in a file that runs forward: once time steps back by an
hour at most, the second passage has begun. Which of the two is meant where a file does not run forward cannot be known;
the first is taken, as for every wall clock.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo

from gateway.devices.files.shape import DateOrder
from gateway.devices.passerelle_fields import Refused

__all__ = ["RecordNames", "WallClock", "date_order_of", "parse_local"]

_NUMERIC = re.compile(r"([0-9]{1,4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,4})[ T]+(.+)", re.ASCII)
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]{1,9})?)?(?:\s*([AaPp])\.?[Mm]\.?)?", re.ASCII)
_HIGHEST_MONTH = 12
_YEAR_DIGITS = 4
_ONE_PASSAGE = timedelta(hours=1)


def date_order_of(texts: Iterable[str]) -> DateOrder | None:
    """Whether the day or the month comes first in dates such as 28-02-2026; None: no date of the file tells."""
    seen_dmy = seen_mdy = False
    for text in texts:
        match = _NUMERIC.match(text)
        if match is None or len(match[1]) == _YEAR_DIGITS:
            continue
        seen_dmy = seen_dmy or int(match[1]) > _HIGHEST_MONTH
        seen_mdy = seen_mdy or int(match[2]) > _HIGHEST_MONTH
    if seen_dmy and seen_mdy:
        raise Refused("some dates begin with the day and others with the month")
    return "dmy" if seen_dmy else "mdy" if seen_mdy else None


def parse_local(text: str, order: DateOrder) -> datetime | None:
    """A wall-clock time such as `2026-02-28T15:20:31`, `28-02-2026 15:20` or `02/28/2026 3:20 PM`; None: it is none."""
    match = _NUMERIC.fullmatch(text.strip())
    clock = None if match is None else _CLOCK.fullmatch(match[4].strip())
    if match is None or clock is None:
        return None
    first, second, third = match[1], match[2], match[3]
    if len(first) == _YEAR_DIGITS:
        year, month, day = first, second, third
    elif len(third) == _YEAR_DIGITS:
        year, (day, month) = third, (first, second) if order == "dmy" else (second, first)
    else:
        return None
    hour = int(clock[1])
    if clock[4] is not None:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if clock[4] in "pP" else 0)
    try:
        return datetime(int(year), int(month), int(day), hour, int(clock[2]), int(clock[3] or 0))  # noqa: DTZ001 - a wall clock
    except ValueError:
        return None


class WallClock:
    """Follows the times of one device through a file that runs forward."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._latest: datetime | None = None

    def place(self, time: datetime) -> datetime:
        """`time`, marked as a second passage (`fold=1`) where such an hour is and the file has stepped back in it."""
        if self._latest is not None and timedelta() < self._latest - time <= _ONE_PASSAGE and self._exists_twice(time):
            return time.replace(fold=1)
        if self._latest is None or time > self._latest:
            self._latest = time
        return time

    def _exists_twice(self, time: datetime) -> bool:
        first, second = (time.replace(fold=fold, tzinfo=self._zone).utcoffset() for fold in (0, 1))
        return first is not None and second is not None and first > second


class RecordNames:
    """Names for rows that have none: what they say, and their place among rows that say the same."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def name(self, kind: str, time: datetime, said: str) -> str:
        """Such as `scan@2026-02-28T15:20:00=112`, with `#2` for the second one; printable ASCII, stable for a file."""
        passage = "b" if time.fold else ""
        text = re.sub(r"[^!-~]", "_", f"{kind}@{time.replace(fold=0).isoformat()}{passage}={said}")[:100]
        self._seen[text] += 1
        return text if self._seen[text] == 1 else f"{text}#{self._seen[text]}"
