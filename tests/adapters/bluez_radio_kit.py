"""A stand-in for bluetoothd's adapters on a private bus: devices on the air, signals, and the errors of a stuck BlueZ.

What it has not: GATT. A connection ends in the error that the test has chosen, or waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

__all__ = ["FakeAdapter", "FakeBluez", "fake_bluez"]

_ADAPTER = "org.bluez.Adapter1"
_DEVICE = "org.bluez.Device1"
_OBJECTS = "org.freedesktop.DBus.ObjectManager"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_TICK_S = 0.02


@dataclass
class FakeAdapter:
    """One adapter.

    Attributes:
        errors: (name, text) to answer, by member; `Powered` for switching it.
        is_deaf: discovery runs and nothing is told.
        cure: the call that ends both: a member, `Powered=True` or `Powered=False`; None: nothing does.
        is_blocked: kept off by rfkill.
        devices: addresses on the air.
        identities: what a bonded device's private address on the air stands for.
        linked: addresses that it has a link to, whoever made it.
        takes_monitors: a passive scan is accepted, and then nothing is heard.
    """

    name: str
    address: str
    errors: dict[str, tuple[str, str]] = field(default_factory=dict)
    is_deaf: bool = False
    cure: str | None = None
    is_powered: bool = True
    is_blocked: bool = False
    is_discovering: bool = False
    devices: list[str] = field(default_factory=list)
    identities: dict[str, str] = field(default_factory=dict)
    takes_monitors: bool = False
    linked: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"/org/bluez/{self.name}"

    def properties(self) -> dict[str, Variant]:
        return {
            "Address": Variant("s", self.address),
            "Powered": Variant("b", self.is_powered),
            "PowerState": Variant("s", "off-blocked" if self.is_blocked else "on" if self.is_powered else "off"),
            "Roles": Variant("as", ["central"]),
        }

    def device_path(self, address: str) -> str:
        return f"{self.path}/dev_{address.replace(':', '_')}"

    def device(self, address: str) -> dict[str, Variant]:
        return {
            "Address": Variant("s", self.identities.get(address, address)),
            "Adapter": Variant("o", self.path),
            "Alias": Variant("s", "meter"),
            "Name": Variant("s", "meter"),
            "RSSI": Variant("n", -60),
            "UUIDs": Variant("as", ["00001808-0000-1000-8000-00805f9b34fb"]),
            "Paired": Variant("b", False),
            "Connected": Variant("b", False),
        }


class FakeBluez:
    """Holds the name org.bluez while it runs.

    Attributes:
        adapters: by hciN.
        calls: `hci0.StartDiscovery`, `hci0.Powered=False`, `hci0.Connect`... in order.
    """

    def __init__(self, address: str, *adapters: FakeAdapter) -> None:
        self._address = address
        self._bus: MessageBus | None = None
        self._air: asyncio.Task[None] | None = None
        self._called = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self.adapters = {adapter.name: adapter for adapter in adapters}
        self.calls: list[str] = []

    async def start(self) -> None:
        """Take the name; every adapter is there."""
        bus = await MessageBus(bus_address=self._address, bus_type=BusType.SYSTEM).connect()
        bus.add_message_handler(self._handle)
        self._bus = bus
        await bus.request_name("org.bluez")
        self._air = asyncio.create_task(self._advertise(), name="air")

    async def stop(self) -> None:
        """Gone without a word, as with kill -9. Idempotent."""
        air, self._air = self._air, None
        bus, self._bus = self._bus, None
        if air is not None and bus is not None:
            air.cancel()
            await asyncio.wait([air])
            bus.disconnect()
            for adapter in self.adapters.values():
                adapter.is_discovering = False

    async def until_called(self, call: str, times: int = 1) -> None:
        """Wait until `call` was made so often."""
        await self.until(lambda: self.calls.count(call) >= times)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until `is_so`, looked at after every call."""
        async with asyncio.timeout(15), self._called:
            await self._called.wait_for(is_so)

    def unplug(self, name: str) -> FakeAdapter:
        """Take an adapter away."""
        adapter = self.adapters.pop(name)
        self._signal("/", _OBJECTS, "InterfacesRemoved", "oas", [adapter.path, [_ADAPTER]])
        return adapter

    def plug(self, adapter: FakeAdapter) -> None:
        """Bring an adapter."""
        self.adapters[adapter.name] = adapter
        body = [adapter.path, {_ADAPTER: adapter.properties()}]
        self._signal("/", _OBJECTS, "InterfacesAdded", "oa{sa{sv}}", body)

    def _signal(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        if self._bus is not None:
            self._bus.send(Message.new_signal(path, interface, member, signature, body))

    async def _advertise(self) -> None:
        """Every device on the air of a discovering adapter is told again and again."""
        while True:
            await asyncio.sleep(_TICK_S)
            for adapter in self.adapters.values():
                if adapter.is_discovering and not adapter.is_deaf:
                    for address in adapter.devices:
                        body = [adapter.device_path(address), {_DEVICE: adapter.device(address)}]
                        self._signal("/", _OBJECTS, "InterfacesAdded", "oa{sa{sv}}", body)

    def _handle(self, message: Message) -> Message | bool | None:
        if message.message_type is not MessageType.METHOD_CALL or message.interface == "org.freedesktop.DBus.Peer":
            return None
        if message.member == "GetManagedObjects":
            objects: dict[str, dict[str, dict[str, Variant]]] = {}
            for adapter in self.adapters.values():
                objects[adapter.path] = {_ADAPTER: adapter.properties()}
                for linked in adapter.linked:
                    objects[adapter.device_path(linked)] = {
                        _DEVICE: adapter.device(linked) | {"Connected": Variant("b", True)}
                    }
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [objects])
        name = (message.path or "").split("/")[3]
        adapter_or_none = self.adapters.get(name)
        if adapter_or_none is None:
            return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownObject", "no such object")
        return self._answer(message, adapter_or_none)

    def _answer(self, message: Message, adapter: FakeAdapter) -> Message:
        member = message.member or ""
        switch = None
        if member == "Set":
            member, switch = "Powered", message.body[2].value
        call = member if switch is None else f"Powered={switch}"
        self._note(f"{adapter.name}.{call}")
        if call == adapter.cure:
            adapter.errors.clear()
            adapter.is_deaf = False
        if member in adapter.errors:
            return Message.new_error(message, *adapter.errors[member])
        if switch is not None:
            if switch and adapter.is_blocked:
                return Message.new_error(message, "org.bluez.Error.Blocked", "Blocked through rfkill")
            self.power(adapter, is_on=switch)
        elif member == "StartDiscovery":
            adapter.is_discovering = True
        elif member == "StopDiscovery":
            adapter.is_discovering = False
        elif member == "Connect":
            return Message.new_error(message, "org.bluez.Error.Failed", "le-connection-unknown")
        elif adapter.takes_monitors and member in {"RegisterMonitor", "UnregisterMonitor"}:
            pass  # as where the kernel refuses what BlueZ has taken
        elif member not in {"SetDiscoveryFilter", "Disconnect"}:
            return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", "no such method")
        return Message.new_method_return(message)

    def power(self, adapter: FakeAdapter, *, is_on: bool) -> None:
        """Switch it, as anybody may."""
        adapter.is_powered = is_on
        adapter.is_discovering = adapter.is_discovering and is_on
        body = [_ADAPTER, {"Powered": Variant("b", is_on)}, []]
        self._signal(adapter.path, _PROPERTIES, "PropertiesChanged", "sa{sv}as", body)

    def _note(self, call: str) -> None:
        self.calls.append(call)
        task = asyncio.get_running_loop().create_task(self._stir())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stir(self) -> None:
        async with self._called:
            self._called.notify_all()


@asynccontextmanager
async def fake_bluez(address: str, *adapters: FakeAdapter) -> AsyncIterator[FakeBluez]:
    """A bluetoothd with these adapters for the length of the block."""
    bluez = FakeBluez(address, *adapters)
    await bluez.start()
    try:
        yield bluez
    finally:
        await bluez.stop()
