"""Sends what the outbox holds: one lane per destination, woken by new rows, by the next row due and by a timer."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
from collections.abc import Callable, Sequence

import structlog

from gateway.departures.lane import Lane, Route
from gateway.departures.policy import DispatchPolicy
from gateway.errors import StoreUnavailable
from gateway.ports import Clock, Registry
from gateway.supervisor import supervise

__all__ = ["Dispatcher", "Route"]

_log = structlog.get_logger()


class Dispatcher:
    """Runs every destination's lane under a supervisor of its own; a destination that fails stops no other.

    Nothing that fails transiently is ever dropped; what may have been applied is read back before it is repeated. A
    stop in the middle of a sending leaves a lease that runs out, which makes the row unknown.
    """

    def __init__(
        self,
        registry: Registry,
        routes: Sequence[Route],
        clock: Clock,
        *,
        chance: random.Random,
        policy: DispatchPolicy | None = None,
        on_settled: Callable[[], None] | None = None,
    ) -> None:
        """`on_settled` is called after each row whose state changed."""
        self._policy = policy or DispatchPolicy()
        self._lanes = [
            (
                Lane(registry, route, clock, chance=chance, policy=self._policy, on_settled=on_settled),
                asyncio.Event(),
            )
            for route in routes
        ]
        self._names = [str(route.space.destination_id) for route in routes]

    def wake(self) -> None:
        """There may be new rows: look now. To be called from the event loop."""
        for _, event in self._lanes:
            event.set()

    async def run(self) -> None:
        """Send for ever; returns at once without destinations."""
        async with asyncio.TaskGroup() as tasks:
            for name, (lane, event) in zip(self._names, self._lanes, strict=True):
                worker = f"departures.{name}"
                tasks.create_task(supervise(worker, functools.partial(self._serve, name, lane, event)), name=worker)

    async def drain(self) -> int:
        """Handle every row that is due now, lane after lane; returns how many. Raises StoreUnavailable."""
        handled = 0
        for lane, _ in self._lanes:
            handled += await lane.drain()
        return handled

    async def _serve(self, name: str, lane: Lane, event: asyncio.Event) -> None:
        store_is_down = False
        while True:
            event.clear()
            pause_s = self._policy.poll_s
            try:
                await lane.drain()
                pause_s = await lane.idle_s()
            except StoreUnavailable:
                if not store_is_down:
                    _log.error("departures.store_lost", destination=name)
                store_is_down = True
            else:
                if store_is_down:
                    _log.info("departures.store_found", destination=name)
                store_is_down = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await event.wait()
