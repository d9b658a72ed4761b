"""Which summary period is due."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.departures.periods import PERIOD_DAYS, due_last_day, first_day_of, local_midnight

TODAY = date(2026, 3, 20)


@pytest.mark.parametrize(
    ("previous", "due"),
    [
        (None, date(2026, 3, 19)),
        (date(2026, 3, 5), date(2026, 3, 19)),
        (date(2026, 3, 6), None),
        (date(2026, 3, 19), None),
        (date(2026, 4, 1), None),
        (date(2025, 1, 1), date(2026, 3, 19)),
    ],
)
def test_new_period_after_fourteen_days(previous: date | None, due: date | None) -> None:
    """A period is due when all of it lies after the previous one."""
    assert due == due_last_day(TODAY, previous)


@given(st.lists(st.integers(min_value=0, max_value=9), max_size=120))
def test_periods_never_overlap(steps: list[int]) -> None:
    """On whatever days somebody looks, the periods that are found due are disjoint."""
    today, previous = TODAY, None
    for step in steps:
        today += timedelta(days=step)
        due = due_last_day(today, previous)
        if due is not None:
            assert previous is None or first_day_of(due) > previous
            assert (due - first_day_of(due)).days + 1 == PERIOD_DAYS
            previous = due


def test_midnight_follows_the_zone() -> None:
    """A day begins at the person's midnight, also where clocks change that day."""
    paris = ZoneInfo("Europe/Paris")
    assert datetime(2026, 3, 28, 23, tzinfo=UTC) == local_midnight(date(2026, 3, 29), paris)
    assert datetime(2026, 3, 29, 22, tzinfo=UTC) == local_midnight(date(2026, 3, 30), paris)
