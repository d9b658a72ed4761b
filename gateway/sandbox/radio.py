"""A patch of air in this process: virtual devices on one side, bleak's own classes on the other.

async with VirtualAir() as air:
    meter = VirtualMeter(air, "C0:FF:EE:00:00:01", "meter", "0042", records, clock=wall_clock, passkey=123456)
    await meter.start()
    air.passkeys[meter.address] = 123456
    device = await BleakScanner.find_device_by_name("meter", backend=air.scanner_backend)
    async with BleakClient(device, pair=True, backend=air.client_backend) as client:
        ...
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Protocol, Self

from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import BaseBleakScanner
from bumble import ll
from bumble.controller import Controller
from bumble.hci import Address, HCI_ErrorCode
from bumble.keys import MemoryKeyStore
from bumble.link import LocalLink
from bumble.transport.common import Transport

from gateway.sandbox._bleak import CentralBleakClient, CentralBleakScanner
from gateway.sandbox._central import AdapterController, Central, widen, withdraw
from gateway.sandbox.bonds import VirtualBonds

__all__ = ["Errands", "Resident", "VirtualAir"]

_SETTLED_S: Final = 0.1
"""Nothing that was sent on the air takes as long."""


class Resident(Protocol):
    """A device that lives on the air and must be stopped with it."""

    async def stop(self) -> None:
        """Leave the air. Idempotent."""
        ...


class Errands:
    """Background work of one owner whose start and stop are separate calls, where a TaskGroup cannot be entered.

    Tasks are kept, named and cancelled together; a failure is raised by `close()`.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run `work` until it ends or `cancel()`."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failures.append(failure)

    async def finished(self) -> None:
        """Until nothing runs; failures are for `close()`."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def cancel(self) -> None:
        """Ask everything that runs to end."""
        for task in tuple(self._tasks):
            task.cancel()

    async def close(self) -> None:
        """Cancel, wait, and raise the first failure if there was one."""
        self.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        failures, self._failures = self._failures, []
        if failures:
            raise failures[0]


class VirtualAir:
    """One place where virtual devices and bleak hear each other.

    `BleakScanner(callback, backend=air.scanner_backend)`, `BleakClient(device, pair=True, backend=air.client_backend)`.

    Attributes:
        scanner_backend, client_backend: what to give to bleak's `backend=`.
        bonds: the central side's keys, for people who pair by hand.
        passkeys: what a person would type, by address `AA:BB:CC:DD:EE:FF`; without an entry pairing is Just Works.
    """

    scanner_backend: type[BaseBleakScanner]
    client_backend: type[BaseBleakClient]
    bonds: VirtualBonds
    passkeys: dict[str, int]

    def __init__(self, *, link: LocalLink | None = None) -> None:
        self.passkeys = {}
        self._link = link or LocalLink()  # type: ignore[no-untyped-call]
        self._residents: list[Resident] = []
        self._central = central = Central(self._adapter, MemoryKeyStore(), self.passkeys)
        self.bonds = VirtualBonds(central)
        self.scanner_backend = type("VirtualAirScanner", (CentralBleakScanner,), {"central": central})
        self.client_backend = type("VirtualAirClient", (CentralBleakClient,), {"central": central})

    def _adapter(self) -> Controller:
        return widen(AdapterController("central", link=self._link))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def central(self, address: str) -> Central:
        """Another adapter on this air; whoever asks for it closes it. `address`: random static."""
        return Central(self._adapter, MemoryKeyStore(), {}, address)

    def controller(self, name: str) -> Controller | Transport:
        """A new controller on this air, for one virtual device."""
        return widen(Controller(name, link=self._link))

    def admit(self, transport: Transport) -> Controller:
        """An adapter on this air whose host is another process, at the other end of `transport`."""
        return widen(
            AdapterController("adapter", host_source=transport.source, host_sink=transport.sink, link=self._link)
        )

    def dismiss(self, adapter: Controller) -> None:
        """The host of `adapter` has died: its links end as if it had gone out of reach."""
        for connection in tuple(adapter.le_connections.values()):
            ending = ll.TerminateInd(HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)
            self._link.send_ll_control_pdu(connection.self_address, connection.peer_address, ending)
        withdraw(adapter)
        own = {adapter.random_address, adapter.public_address}
        asyncio.get_running_loop().call_later(_SETTLED_S, self._sever, own)

    def _sever(self, own: set[Address]) -> None:
        """End what devices still take for links to an adapter that has gone: a packet may have been under way."""
        for controller in self._link.controllers:
            for connection in tuple(controller.le_connections.values()):
                if connection.peer_address in own:
                    controller.on_le_disconnected(connection, HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)

    def settle(self, resident: Resident) -> None:
        """`resident` lives here from now on; `close()` stops it."""
        if resident not in self._residents:
            self._residents.append(resident)

    def leave(self, resident: Resident) -> None:
        """`resident` has stopped. Idempotent."""
        if resident in self._residents:
            self._residents.remove(resident)

    async def forget_bonds(self) -> None:
        """Lose every key of the central side, as a reinstalled hub does."""
        await self._central.forget()

    async def calm(self) -> None:
        """Stop every device on this air."""
        while self._residents:
            await self._residents.pop().stop()

    async def close(self) -> None:
        """Stop every device on this air, then the central side. Idempotent."""
        try:
            await self.calm()
        finally:
            await self._central.close()
