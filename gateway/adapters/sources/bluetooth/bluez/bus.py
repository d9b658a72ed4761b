"""The D-Bus connection to BlueZ: calls, objects, signals. What fails is said as one of two errors.

Source: D-Bus Specification; BlueZ `doc/*-api.txt` (org.bluez.Adapter1, Device1, AgentManager1, Agent1).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError, DBusError, InvalidAddressError
from dbus_fast.service import ServiceInterface

from gateway.errors import GatewayError, TransientError

__all__ = ["BLUEZ", "Bluez", "BluezRefused", "BusUnavailable", "HelloRefused", "Signal"]

BLUEZ: Final = "org.bluez"
_CALL_S: Final = 25.0
_OBJECTS: Final = "org.freedesktop.DBus.ObjectManager"
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_DBUS: Final = "org.freedesktop.DBus"

Objects = Mapping[str, Mapping[str, Mapping[str, Any]]]
Signal = Callable[[str, str, str, tuple[Any, ...]], None]
"""Called with object path, interface, member, body (variants unwrapped)."""


class BusUnavailable(TransientError):
    """The bus cannot be reached, or was lost. `reason`: the operating system's or the bus's words."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"D-Bus is not available: {reason}")
        self.reason = reason


class HelloRefused(BusUnavailable):
    """The bus let us in and refused the first call, as AppArmor makes it do; `reason`: the bus's words."""


class BluezRefused(GatewayError):
    """BlueZ answered with an error.

    Attributes:
        name: D-Bus error name such as `org.bluez.Error.InProgress`.
        text: its words.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


class Bluez:
    """One connection to the bus that BlueZ is on."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus

    @classmethod
    @asynccontextmanager
    async def connect(cls, address: str | None = None) -> AsyncIterator[Bluez]:
        """Connect for the length of the block; `address`: of another bus than the system's (tests).

        Raises:
            BusUnavailable: no socket, no permission, or no bus behind it.
            HelloRefused: a policy keeps us from it.
        """
        try:
            async with asyncio.timeout(_CALL_S):
                bus = await MessageBus(bus_address=address, bus_type=BusType.SYSTEM).connect()
        except (OSError, EOFError, TimeoutError, DBusError, AuthError, InvalidAddressError) as error:
            raise BusUnavailable(str(error) or type(error).__name__) from error
        try:
            if not (bus.unique_name or "").startswith(":"):  # dbus-fast takes a refusal's words for our name
                raise HelloRefused(bus.unique_name or "no name was given")
            yield cls(bus)
        finally:
            bus.disconnect()

    @property
    def is_connected(self) -> bool:
        """Whether the bus is still there, as far as is known."""
        return self._bus.connected

    async def wait_lost(self) -> None:
        """Return when the bus has gone."""
        try:
            # shielded: who stops waiting would cancel the one future that the bus has for everybody
            await asyncio.shield(self._bus.wait_for_disconnect())  # type: ignore[no-untyped-call]
        except (OSError, EOFError):
            return

    def export(self, path: str, interface: ServiceInterface) -> None:
        """Offer an object of ours to others."""
        self._bus.export(path, interface)

    def unexport(self, path: str) -> None:
        """Withdraw it."""
        self._bus.unexport(path)

    async def call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *body: object,
        destination: str = BLUEZ,
        timeout_s: float = _CALL_S,
    ) -> list[Any]:
        """Call a method; its answer with variants unwrapped.

        Raises:
            BluezRefused: answered with an error; `org.freedesktop.DBus.Error.ServiceUnknown` when nobody is there.
            BusUnavailable: no answer, or no bus.
        """
        message = Message(
            destination=destination, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        if not self._bus.connected:
            raise BusUnavailable("the connection has ended")
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._bus.call(message)
        except (OSError, EOFError, TimeoutError) as error:
            raise BusUnavailable(str(error) or type(error).__name__) from error
        if answer is None:
            raise BusUnavailable("no answer")
        if answer.message_type is MessageType.ERROR:
            text = str(answer.body[0]) if answer.body else ""
            raise BluezRefused(answer.error_name or "", text)
        return [_plain(value) for value in answer.body]

    async def objects(self) -> Objects:
        """Everything that BlueZ knows: path -> interface -> property -> value."""
        (found,) = await self.call("/", _OBJECTS, "GetManagedObjects")
        known: Objects = found
        return known

    async def set(self, path: str, interface: str, name: str, signature: str, value: object) -> None:
        """Set a property; raises as `call`."""
        await self.call(path, _PROPERTIES, "Set", "ssv", interface, name, Variant(signature, value))

    async def get(self, path: str, interface: str, name: str) -> Any:
        """Read a property; raises as `call`."""
        (value,) = await self.call(path, _PROPERTIES, "Get", "ss", interface, name)
        return value

    async def has_owner(self, name: str = BLUEZ) -> bool:
        """Whether a program holds this bus name: for BlueZ, whether bluetoothd runs."""
        (answer,) = await self.call("/org/freedesktop/DBus", _DBUS, "NameHasOwner", "s", name, destination=_DBUS)
        return bool(answer)

    async def listen(self, callback: Signal) -> None:
        """From now on, tell `callback` every signal of BlueZ, and when bluetoothd comes or goes (NameOwnerChanged).

        The callback must be short and must not raise.
        """

        def received(message: Message) -> None:
            if message.message_type is MessageType.SIGNAL and message.member is not None:
                body = tuple(_plain(value) for value in message.body)
                callback(message.path or "", message.interface or "", message.member, body)

        self._bus.add_message_handler(received)
        for rule in (
            f"type='signal',sender='{BLUEZ}'",
            f"type='signal',sender='{_DBUS}',interface='{_DBUS}',member='NameOwnerChanged',arg0='{BLUEZ}'",
        ):
            await self.call("/org/freedesktop/DBus", _DBUS, "AddMatch", "s", rule, destination=_DBUS)


def _plain(value: Any) -> Any:
    if isinstance(value, Variant):
        return _plain(value.value)
    if isinstance(value, dict):
        return {key: _plain(content) for key, content in value.items()}
    if isinstance(value, list):
        return [_plain(content) for content in value]
    return value
