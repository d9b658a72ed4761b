"""The one place that reads the machine's clock; everything else is given a `Clock`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

__all__ = ["EARLIEST_NOW", "SystemClock"]

EARLIEST_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""No machine that runs this program can honestly be earlier: a board without a battery starts in 1970 or at its image's
date, until the network has told it the time."""


class SystemClock:
    """The machine's wall clock and its monotonic clock."""

    def now(self) -> datetime:
        """Current instant, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary start."""
        return time.monotonic()

    @property
    def is_trusted(self) -> bool:
        """False while the wall clock says a time before `EARLIEST_NOW`."""
        return self.now() >= EARLIEST_NOW
