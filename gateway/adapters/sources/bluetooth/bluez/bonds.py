"""Bonds on a BlueZ adapter: our agent kept registered, devices paired and forgotten over D-Bus.

Source: BlueZ `doc/org.bluez.Device.rst` (Pair, CancelPairing), `doc/org.bluez.Adapter.rst` (RemoveDevice).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from typing import Any, Final

import structlog

from gateway.adapters.sources.bluetooth.bluez.agent import Agent
from gateway.adapters.sources.bluetooth.bluez.bus import Bluez, BluezRefused, BusUnavailable
from gateway.errors import PairingFailed
from gateway.model import PairingFailure
from gateway.ports import PairingQuestions

__all__ = ["BluezBonds"]

_DEVICE: Final = "org.bluez.Device1"
_ADAPTER: Final = "org.bluez.Adapter1"
_PAIR_S: Final = 150.0
_READY_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 60.0
_REASONS: Final = {
    "AuthenticationFailed": PairingFailure.REFUSED,
    "AuthenticationRejected": PairingFailure.REFUSED,
    "AuthenticationCanceled": PairingFailure.REFUSED,
    "AuthenticationTimeout": PairingFailure.UNREACHABLE,
    "ConnectionAttemptFailed": PairingFailure.UNREACHABLE,
    "DoesNotExist": PairingFailure.NOT_HEARD,
    "NotReady": PairingFailure.NO_BLUETOOTH,
}
log = structlog.get_logger()


class BluezBonds:
    """Implements `gateway.ports.Bonds`; discovery must run meanwhile, or BlueZ knows no new device.

    Args:
        adapters: names such as `hci0`, or the adapters' addresses; none: whichever has heard the device.
        bus_address: of another bus than the system's (tests).
        retry_s: first pause after the bus or bluetoothd went away; doubles up to a minute.
    """

    def __init__(self, *, adapters: Collection[str] = (), bus_address: str | None = None, retry_s: float = 1.0) -> None:
        self._adapters = frozenset(adapter.upper() for adapter in adapters)
        self._bus_address = bus_address
        self._retry_s = retry_s
        self._agent = Agent()
        self._bluez: Bluez | None = None
        self._ready = asyncio.Event()
        self._stirred = asyncio.Event()
        self._owner_changed = asyncio.Event()
        self._pairing: tuple[str, PairingQuestions] | None = None

    # --- the agent ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the agent registered, over restarts of bluetoothd and of the bus."""
        pause_s, was_up = self._retry_s, True
        while True:
            try:
                async with Bluez.connect(self._bus_address) as bluez:
                    await bluez.listen(self._on_signal)
                    pause_s, was_up = self._retry_s, True
                    await self._stay_registered(bluez)
            except (BusUnavailable, BluezRefused) as error:
                if was_up:
                    log.warning("bluetooth.agent_lost", error=type(error).__name__)
                was_up = False
            finally:
                self._ready.clear()
                self._bluez = None
                self._stir()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _stay_registered(self, bluez: Bluez) -> None:
        lost = asyncio.ensure_future(bluez.wait_lost())
        try:
            while bluez.is_connected and not lost.done():
                self._owner_changed.clear()
                if await bluez.has_owner():
                    await self._register(bluez)
                    self._bluez = bluez
                    self._ready.set()
                await self._owner_changes(lost)
                self._ready.clear()
        finally:
            lost.cancel()

    async def _register(self, bluez: Bluez) -> None:
        try:
            await self._agent.register(bluez)
        except BluezRefused as error:
            if not error.name.endswith(".AlreadyExists"):
                raise
            await self._agent.claim(bluez)
        log.info("bluetooth.agent_registered")

    async def _owner_changes(self, lost: asyncio.Future[None]) -> None:
        """Until bluetoothd came or went, dropped the agent, or the bus is gone."""

        async def changed() -> None:
            await self._owner_changed.wait()

        waiting = asyncio.ensure_future(changed())
        try:
            await asyncio.wait({waiting, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    def _on_signal(self, path: str, _interface: str, member: str, body: tuple[Any, ...]) -> None:
        if member == "NameOwnerChanged":
            self._owner_changed.set()
        if self._pairing is not None and member == "PropertiesChanged":
            its_path, questions = self._pairing
            if path == its_path and body[0] == _DEVICE and body[1].get("Connected"):
                questions.connected()
        self._stir()

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = asyncio.Event()

    async def wait_ready(self) -> None:
        """Until the agent is registered."""
        await self._ready.wait()

    async def _connection(self) -> Bluez:
        try:
            async with asyncio.timeout(_READY_S):
                await self._ready.wait()
        except TimeoutError as error:
            raise PairingFailed(PairingFailure.NO_BLUETOOTH) from error
        if self._bluez is None:
            raise PairingFailed(PairingFailure.NO_BLUETOOTH)
        return self._bluez

    # --- bonds --------------------------------------------------------------------------------------------------

    async def bond(self, address: str, questions: PairingQuestions) -> None:
        """See `Bonds.bond`; waits until BlueZ knows the device."""
        bluez = await self._connection()
        try:
            await self._agent.claim(bluez)
            path, device = await self._find(bluez, address)
            if device.get("Paired"):
                await self._remove(bluez, path, device)
                path, _ = await self._find(bluez, address)
            elif device.get("Connected"):
                # a link that a contact has just given back may still be failing for want of a bond; that would be ours
                await _quietly(bluez.call(path, _DEVICE, "Disconnect", timeout_s=_READY_S))
                path, _ = await self._find(bluez, address)
            await self._pair(bluez, path, questions)
        except BluezRefused as error:
            raise PairingFailed(_reason(error)) from error
        except BusUnavailable as error:
            raise PairingFailed(PairingFailure.NO_BLUETOOTH) from error

    async def _pair(self, bluez: Bluez, path: str, questions: PairingQuestions) -> None:
        is_done = False
        self._pairing = (path, questions)
        try:
            with self._agent.answering(path, questions):
                await bluez.call(path, _DEVICE, "Pair", timeout_s=_PAIR_S)
            is_done = True
        finally:
            self._pairing = None
            await self._let_go(bluez, path, is_done=is_done)

    async def _let_go(self, bluez: Bluez, path: str, *, is_done: bool) -> None:
        """Leave neither a pairing nor a link behind, and after a failure no key either."""
        if not is_done:
            await _quietly(bluez.call(path, _DEVICE, "CancelPairing", timeout_s=_READY_S))
        await _quietly(bluez.call(path, _DEVICE, "Disconnect", timeout_s=_READY_S))
        if not is_done:
            await _quietly(self._drop_half_bond(bluez, path))

    async def _drop_half_bond(self, bluez: Bluez, path: str) -> None:
        if await bluez.get(path, _DEVICE, "Paired"):
            await self._remove(bluez, path, {"Adapter": path.rpartition("/")[0]})

    async def unbond(self, address: str) -> bool:
        """See `Bonds.unbond`: BlueZ's RemoveDevice on every adapter that has keys."""
        bluez = await self._connection()
        try:
            known = [entry for entry in await self._known(bluez, address) if entry[1].get("Paired")]
            for path, device in known:
                await self._remove(bluez, path, device)
        except (BluezRefused, BusUnavailable) as error:
            raise PairingFailed(PairingFailure.NO_BLUETOOTH) from error
        return bool(known)

    async def bonded(self) -> frozenset[str]:
        """See `Bonds.bonded`."""
        if self._bluez is None or not self._ready.is_set():
            return frozenset()
        try:
            objects = await self._bluez.objects()
        except (BluezRefused, BusUnavailable):
            return frozenset()
        devices = [found[_DEVICE] for found in objects.values() if _DEVICE in found]
        return frozenset(str(device["Address"]).upper() for device in devices if device.get("Paired"))

    async def _remove(self, bluez: Bluez, path: str, device: dict[str, Any]) -> None:
        adapter = str(device.get("Adapter") or path.rpartition("/")[0])
        await bluez.call(adapter, _ADAPTER, "RemoveDevice", "o", path)

    async def _find(self, bluez: Bluez, address: str) -> tuple[str, dict[str, Any]]:
        """The device, strongest adapter first; waits for it as long as the caller allows."""
        while True:
            stirred = self._stirred
            if known := await self._known(bluez, address):
                return max(known, key=lambda entry: entry[1].get("RSSI", -999))
            if not bluez.is_connected:
                raise BusUnavailable("the bus has gone")
            await stirred.wait()

    async def _known(self, bluez: Bluez, address: str) -> list[tuple[str, dict[str, Any]]]:
        objects = await bluez.objects()
        found = []
        for path, interfaces in objects.items():
            device = interfaces.get(_DEVICE)
            if device is None or str(device.get("Address", "")).upper() != address.upper():
                continue
            adapter = str(device.get("Adapter") or path.rpartition("/")[0])
            own = objects.get(adapter, {}).get(_ADAPTER, {})
            names = {adapter.rpartition("/")[2].upper(), str(own.get("Address", "")).upper()}
            if not self._adapters or names & self._adapters:
                found.append((path, dict(device)))
        return found


def _reason(error: BluezRefused) -> PairingFailure:
    return _REASONS.get(error.name.rpartition(".")[2], PairingFailure.UNREACHABLE)


async def _quietly(step: Awaitable[object]) -> None:
    """Carry out a step of tidying up that BlueZ may refuse because there is nothing left to tidy."""
    try:
        await step
    except (BluezRefused, BusUnavailable) as error:
        log.debug("bluetooth.tidying_refused", error=type(error).__name__)
