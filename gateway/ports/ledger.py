"""When the gateway could not hear, and why: kept so that a hole in a series can be explained later."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from gateway.model import Outage, OutageReason

__all__ = ["Ledger"]


class Ledger(Protocol):
    """Outages and the last sign of life. Every instant is aware, UTC, by the gateway's clock."""

    async def alive(self, at: datetime) -> None:
        """The gateway lives at `at`. The last word counts, an earlier instant too: the clock was set back."""
        ...

    async def last_alive(self) -> datetime | None:
        """The last sign of life; None: there was none yet."""
        ...

    async def begin(self, subject: str, reason: OutageReason, at: datetime, detail: str = "") -> None:
        """An outage begins. While one of that subject and reason is open this changes nothing."""
        ...

    async def end(self, subject: str | None, reason: OutageReason | None, at: datetime) -> int:
        """Whatever is open of that subject and reason (None: of any) ends at `at`; returns how many did."""
        ...

    async def record(self, outage: Outage) -> None:
        """A whole outage at once. Repeating it changes nothing."""
        ...

    async def outages(self, *, start: datetime | None = None, end: datetime | None = None) -> list[Outage]:
        """Outages that overlap start..end (None: without limit), by beginning."""
        ...
