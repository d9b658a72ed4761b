"""The machine's clock, and when it may be believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.clock import EARLIEST_NOW, SystemClock


@pytest.mark.parametrize(
    ("now", "is_trusted"),
    [
        (datetime(1970, 1, 1, 0, 0, 40, tzinfo=UTC), False),
        (EARLIEST_NOW - timedelta(seconds=1), False),
        (EARLIEST_NOW, True),
    ],
)
def test_clock_before_the_release_is_not_trusted(now: datetime, is_trusted: bool) -> None:
    """A board that has not been told the time yet says so."""

    class Stopped(SystemClock):
        def now(self) -> datetime:
            return now

    assert is_trusted == Stopped().is_trusted
