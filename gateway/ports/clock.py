"""Time, injected."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Protocol

from gateway.model import ClockSession, DeviceId, RepairedHistory

__all__ = ["Clock", "ClockLog"]


class Clock(Protocol):
    """Time, injected."""

    def now(self) -> datetime:
        """Current instant, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    @property
    def is_trusted(self) -> bool:
        """False while the machine's clock cannot be right: no device clock is then measured against it, or set."""
        ...


class ClockLog(Protocol):
    """What is durable about the gateway's own clock, and the repair of what was received by a wrong one."""

    async def sessions(self) -> list[ClockSession]:
        """What is kept of every boot, by its name."""
        ...

    async def keep(self, session: ClockSession) -> None:
        """Replace what is kept of that boot. A spell that ends here covers what is stored until now."""
        ...

    async def floor(self) -> datetime | None:
        """The newest instant noted while the clock was believed."""
        ...

    async def note(self, instant: datetime) -> None:
        """Replace that instant."""
        ...

    async def newest_reception(self) -> datetime | None:
        """When the newest payload or reading was received; None: the store is empty."""
        ...

    async def repair(self, boot_id: str, zone_of: Callable[[DeviceId], tzinfo]) -> RepairedHistory | None:
        """Move everything received during that boot's spell by the error of the clock; None: nothing waits for it.

        One transaction, which marks the spell as repaired: never twice, whatever is interrupted.
        """
        ...

    async def shift_schedule(self, step: timedelta) -> int:
        """After the clock was set by `step`: leases keep their length, and where it was set back, what waits to be
        tried is tried no later than it would have been. Returns how many rows moved.

        Set forward, what waits falls due early, which costs nothing.
        """
        ...
