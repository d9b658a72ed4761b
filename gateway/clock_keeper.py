"""Keeps the hub's clock honest: looks at it, remembers what it knows, and repairs history once when the time is found.

In this order, so that a crash between two steps costs nothing: the clock is believed again; the error is made durable;
what was received by the wrong clock and is still on its way gets a few seconds to be stored; history is repaired, in
one transaction that also marks it as done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from typing import Final

import structlog

from gateway.errors import StoreUnavailable
from gateway.hub_clock import Found, HubClock, Lost, Stepped
from gateway.model import ClockSession, DeviceId
from gateway.ports import ClockLog

__all__ = ["ClockKeeper", "KeeperPolicy"]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class KeeperPolicy:
    """The keeper's rhythm, seconds: looks at the clock, time for what is on its way, notes of the newest instant."""

    look_s: float = 1.0
    grace_s: float = 5.0
    note_s: float = 600.0


_USUAL: Final = KeeperPolicy()


class ClockKeeper:
    """One per process. `begin` once before anything is collected, then `run`.

    Args:
        zone_of: the zone of a device's owner.
        on_change: called after history was repaired or the schedule moved: what follows readings looks again.
    """

    def __init__(
        self,
        clock: HubClock,
        log: ClockLog,
        zone_of: Callable[[DeviceId], tzinfo],
        *,
        on_change: Callable[[], None],
        policy: KeeperPolicy = _USUAL,
    ) -> None:
        self._clock = clock
        self._records = log
        self._zone_of = zone_of
        self._on_change = on_change
        self._policy = policy
        self._kept: ClockSession | None = None
        self._noted_s: float | None = None
        self._stepped = timedelta()

    async def begin(self) -> None:
        """Take up what earlier processes knew, and finish what they began. Raises StoreUnavailable."""
        boot_id = self._clock.session.boot_id
        for session in await self._records.sessions():
            spell = session.spell
            if spell is not None and spell.waits:
                await self._repair(session.boot_id)
            elif spell is not None and spell.ended_us is None and session.boot_id != boot_id:
                _log.warning("clock.boot_never_knew_the_time", first=spell.first.isoformat(timespec="seconds"))
        self._kept = next((s for s in await self._records.sessions() if s.boot_id == boot_id), None)
        self._clock.begin(self._kept, await self._records.floor(), await self._records.newest_reception())
        await self._keep()
        if not self._clock.is_trusted:
            _log.warning("clock.not_trusted")
        await self.look(grace_s=0.0)

    async def run(self) -> None:
        """Look at the clock for ever."""
        while True:
            try:
                await self.look(grace_s=self._policy.grace_s)
            except StoreUnavailable:
                _log.warning("clock.not_noted")
            await asyncio.sleep(self._policy.look_s)

    async def look(self, *, grace_s: float = 0.0) -> Found | Lost | Stepped | None:
        """Look once and do what follows from it. Raises StoreUnavailable: it is done at the next look.

        Args:
            grace_s: how long what was received by the wrong clock may still be on its way to the store.
        """
        await self._finish(grace_s)  # what the store refused last time; a new spell takes the place of the old one
        event = self._clock.look()
        match event:
            case Found(step):
                _log.info("clock.found", step_s=round(step.total_seconds(), 1))
            case Lost():
                _log.warning("clock.lost")
            case Stepped(step):
                self._stepped += step
                _log.warning("clock.stepped", step_s=round(step.total_seconds(), 1))
        await self._finish(grace_s)
        await self._note(is_due=event is not None)
        return event

    async def _finish(self, grace_s: float) -> None:
        """Make durable what is known, and do what it asks for."""
        await self._keep()
        session = self._clock.session
        if session.spell is not None and session.spell.waits:
            await asyncio.sleep(grace_s)
            await self._repair(session.boot_id)
        if self._stepped:
            moved = await self._records.shift_schedule(self._stepped)
            self._stepped = timedelta()
            _log.info("clock.schedule_moved", rows=moved)
            self._on_change()

    async def _keep(self) -> None:
        if self._clock.session != self._kept:
            session = self._clock.session
            await self._records.keep(session)
            self._kept = session

    async def _repair(self, boot_id: str) -> None:
        done = await self._records.repair(boot_id, self._zone_of)
        if boot_id == self._clock.session.boot_id:
            self._clock.repaired()
            self._kept = self._clock.session
        if done is not None:
            _log.warning("clock.history_repaired", readings=done.readings, placed=done.placed, payloads=done.payloads)
            self._on_change()

    async def _note(self, *, is_due: bool) -> None:
        now_s = self._clock.monotonic()
        if is_due or self._noted_s is None or now_s - self._noted_s >= self._policy.note_s:
            instant = self._clock.note()
            if instant is not None:
                await self._records.note(instant)
            self._noted_s = now_s
