"""Several radios as one: what any of them hears, how each is, and which of them should take a device."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from gateway.adapters.sources.bluetooth.radio.manager import RadioManager
from gateway.adapters.sources.bluetooth.radio.neighbourhood import FRESH_S, Heard
from gateway.model import Neighbour, RadioReport
from gateway.ports import Clock
from gateway.supervisor import supervise

__all__ = ["Ensemble"]

_BETTER_DB: Final = 6
_FAINTEST_DBM: Final = -127


class Ensemble:
    """The radios of one hub.

    Args:
        make: makes the managers, given what each should call when its report has changed.
    """

    def __init__(self, clock: Clock, make: Callable[[Callable[[], None]], Sequence[RadioManager]]) -> None:
        self._clock = clock
        self._changed = asyncio.Event()
        self._managers = tuple(make(self._on_change))

    @property
    def is_scanning(self) -> bool:
        """Whether a radio is listening now."""
        return any(manager.is_scanning for manager in self._managers)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Each radio by itself; in the order of the settings, since the name of one may be an address."""
        for number, manager in enumerate(self._managers, 1):
            name = f"bluetooth.radio.{number}"
            tasks.create_task(supervise(name, manager.run), name=name)

    def reports(self) -> tuple[RadioReport, ...]:
        """Every radio, now."""
        return tuple(manager.report() for manager in self._managers)

    async def changed(self) -> None:
        """Return at the next change of a report."""
        await self._changed.wait()

    def _on_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def neighbours(self) -> dict[str, Neighbour]:
        """Devices heard in the last minutes, by address, as the radio tells it that hears each best."""
        best: dict[str, Neighbour] = {}
        for manager in self._managers:
            for neighbour in manager.neighbourhood.neighbours():
                known = best.get(neighbour.address)
                if known is None or _strength(neighbour.rssi_dbm) > _strength(known.rssi_dbm):
                    best[neighbour.address] = neighbour
        return best

    def best(self, address: str) -> tuple[RadioManager, Heard] | None:
        """The radio that has the keys of this device, or hears it best; None: nobody hears it."""
        found = [
            (manager, heard) for manager in self._managers if (heard := manager.neighbourhood.find(address.upper()))
        ]
        return max(found, key=lambda one: (one[1].is_bonded, _strength(one[1].rssi_dbm)), default=None)

    async def end_leftovers(self, address: str) -> None:
        """End links to this device (upper case) that nobody here has made."""
        for manager in self._managers:
            await manager.end_leftovers(address)

    def should_take(
        self, manager: RadioManager, address: str, heard: Heard, *, bonded_with: str | None, unreached_by: str | None
    ) -> bool:
        """Whether no other radio should take a device that `manager` has heard: one that has its keys, or hears it
        clearly better and has a slot.

        Args:
            bonded_with: name of the radio that has its keys.
            unreached_by: name of the radio that has just failed to reach it, and gives way to any other that hears it:
                it may be unable to connect.
        """
        now_s = self._clock.monotonic()
        for other in self._managers:
            if other is manager or not other.is_scanning:
                continue
            if bonded_with == other.radio.name:
                return False
            there = other.neighbourhood.find(address)
            if there is None or now_s - there.last_s > FRESH_S or other.turns.is_full:
                continue
            if bonded_with == manager.radio.name or unreached_by == other.radio.name:
                continue
            if unreached_by == manager.radio.name:
                return False
            if _strength(there.rssi_dbm) > _strength(heard.rssi_dbm) + _BETTER_DB:
                return False
        return True


def _strength(rssi_dbm: int | None) -> int:
    return _FAINTEST_DBM if rssi_dbm is None else rssi_dbm
