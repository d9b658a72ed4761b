"""When a virtual device is used: `every=60s`, `every=5min`, `at=07:00,12:00`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final

__all__ = ["Schedule", "ScheduleError", "parse_schedule"]

_EVERY: Final = re.compile(r"every=(\d{1,6})(s|min|h)")
_SECONDS: Final = {"s": 1, "min": 60, "h": 3600}


class ScheduleError(ValueError):
    """A text that is no schedule; the message says what would be one."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One of the two.

    Attributes:
        every: this long after the time before.
        at: at these times of day, ascending.
    """

    every: timedelta | None = None
    at: tuple[time, ...] = ()

    def after(self, local_time: datetime) -> Iterator[datetime]:
        """The times after `local_time`, naive like it, for ever."""
        if self.every is not None:
            while True:
                local_time += self.every
                yield local_time
        day = local_time.date()
        while True:
            yield from (due for each in self.at if (due := datetime.combine(day, each)) > local_time)
            day += timedelta(days=1)


def parse_schedule(text: str) -> Schedule:
    """A schedule of its text.

    Raises:
        ScheduleError: neither `every=` nor `at=`, or times that are none.
    """
    if (match := _EVERY.fullmatch(text)) is not None and int(match[1]) > 0:
        return Schedule(every=timedelta(seconds=int(match[1]) * _SECONDS[match[2]]))
    if text.startswith("at="):
        try:
            times = sorted({time.fromisoformat(piece) for piece in text[3:].split(",")})
        except ValueError:
            times = []
        if times and all(each.tzinfo is None for each in times):
            return Schedule(at=tuple(times))
    raise ScheduleError(f"{text!r} is no schedule; write every=60s, every=5min, every=2h or at=07:00,12:00")
