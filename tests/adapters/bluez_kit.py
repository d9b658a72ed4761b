"""A stand-in for bluetoothd: one adapter, one device, and a `Pair` that asks the agent as BlueZ does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusError

__all__ = ["DEVICE_ADDRESS", "DEVICE_PATH", "OTHER_PATH", "FakeBluez", "fake_bluez"]

ADAPTER_PATH = "/org/bluez/hci0"
DEVICE_ADDRESS = "C0:FF:EE:00:00:61"
DEVICE_PATH = f"{ADAPTER_PATH}/dev_C0_FF_EE_00_00_61"
OTHER_PATH = f"{ADAPTER_PATH}/dev_C0_FF_EE_00_00_62"
Script = Callable[["FakeBluez"], Awaitable[None]]


class FakeBluez:
    """Answers the calls that our side makes; keeps what it was told.

    Attributes:
        calls: members called, in order; those that ask for everything are left out.
        agents: (sender, path, capability) of registered agents.
        defaults: paths given the default role, in order.
        is_paired, is_known: the device's.
        pairing: what `Pair` does before it succeeds; may raise DBusError.
    """

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self.calls: list[str] = []
        self.agents: list[tuple[str, str, str]] = []
        self.defaults: list[str] = []
        self.is_paired = False
        self.is_known = True
        self.pairing: Script | None = None
        self._pairing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until `is_so`, looked at whenever something was called."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(is_so)

    async def ask_agent(self, member: str, signature: str, *body: object, path: str = DEVICE_PATH) -> Any:
        """What the registered agent answers. Raises DBusError as it does."""
        sender, agent_path, _ = self.agents[-1]
        answer = await self._bus.call(
            Message(
                destination=sender,
                path=agent_path,
                interface="org.bluez.Agent1",
                member=member,
                signature="o" + signature if member not in {"Cancel", "Release"} else "",
                body=[path, *body] if member not in {"Cancel", "Release"} else [],
            )
        )
        assert answer is not None
        if answer.message_type is MessageType.ERROR:
            raise DBusError(answer.error_name or "", str(answer.body[0]))
        return answer.body[0] if answer.body else None

    def announce_connected(self) -> None:
        """`Connected` of the device became true."""
        self._bus.send(
            Message.new_signal(
                DEVICE_PATH,
                "org.freedesktop.DBus.Properties",
                "PropertiesChanged",
                "sa{sv}as",
                ["org.bluez.Device1", {"Connected": Variant("b", True)}, []],
            )
        )

    def appear(self) -> None:
        """The device is discovered."""
        self.is_known = True
        self._bus.send(
            Message.new_signal(
                "/",
                "org.freedesktop.DBus.ObjectManager",
                "InterfacesAdded",
                "oa{sa{sv}}",
                [DEVICE_PATH, {"org.bluez.Device1": {"Address": Variant("s", DEVICE_ADDRESS)}}],
            )
        )

    def handle(self, message: Message) -> Message | bool | None:
        """One message from the bus."""
        if message.message_type is not MessageType.METHOD_CALL or message.interface == "org.freedesktop.DBus.Peer":
            return None
        task = asyncio.get_running_loop().create_task(self._serve(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _serve(self, message: Message) -> None:
        member = message.member or ""
        try:
            reply = await self._answer(member, message)
        except DBusError as error:
            reply = Message.new_error(message, error.type, error.text)
        except asyncio.CancelledError:
            reply = Message.new_error(message, "org.bluez.Error.AuthenticationCanceled", "cancelled")
        if member != "GetManagedObjects":
            self.calls.append(member)
        self._bus.send(reply)
        async with self._changed:
            self._changed.notify_all()

    async def _answer(self, member: str, message: Message) -> Message:
        match member:
            case "GetManagedObjects":
                return Message.new_method_return(message, "a{oa{sa{sv}}}", [self._objects()])
            case "RegisterAgent":
                self.agents.append((message.sender or "", message.body[0], message.body[1]))
            case "RequestDefaultAgent":
                self.defaults.append(message.body[0])
            case "Pair":
                self._pairing = asyncio.current_task()
                self.announce_connected()
                if self.pairing is not None:
                    await self.pairing(self)
                self.is_paired = True
            case "CancelPairing":
                if self._pairing is None or self._pairing.done():
                    raise DBusError("org.bluez.Error.DoesNotExist", "no pairing")
                self._pairing.cancel()
            case "RemoveDevice":
                self.is_paired = self.is_known = False
            case "Get":
                return Message.new_method_return(message, "v", [Variant("b", self.is_paired)])
        return Message.new_method_return(message)

    def _objects(self) -> dict[str, Any]:
        objects: dict[str, Any] = {
            ADAPTER_PATH: {"org.bluez.Adapter1": {"Address": Variant("s", "F0:F1:F2:F3:F4:F5")}},
        }
        if self.is_known:
            objects[DEVICE_PATH] = {
                "org.bluez.Device1": {
                    "Address": Variant("s", DEVICE_ADDRESS),
                    "Adapter": Variant("o", ADAPTER_PATH),
                    "Paired": Variant("b", self.is_paired),
                    "RSSI": Variant("n", -60),
                }
            }
        return objects


@asynccontextmanager
async def fake_bluez(address: str) -> AsyncIterator[FakeBluez]:
    """bluetoothd's place on the bus at `address`, for the length of the block."""
    bus = await MessageBus(bus_address=address).connect()
    fake = FakeBluez(bus)
    bus.add_message_handler(fake.handle)
    await bus.request_name("org.bluez")
    try:
        yield fake
    finally:
        bus.disconnect()
