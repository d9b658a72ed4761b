"""Pairing by hand: stands in until the gateway's own pairing is there."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dbus_fast.annotations import DBusObjectPath, DBusUInt32
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_method
from guest_kit import Person, until

from gateway.adapters.sources.bluetooth.bluez.bus import Bluez, BluezRefused

__all__ = ["Bonds", "bonding"]


class _Agent(ServiceInterface):
    def __init__(self) -> None:
        super().__init__("org.bluez.Agent1")
        self.person: Person | None = None

    @dbus_method(name="Release")
    def release(self) -> None:
        """Nothing."""

    @dbus_method(name="RequestPasskey")
    async def request_passkey(self, device: DBusObjectPath) -> DBusUInt32:
        """Digits."""
        if self.person is None:
            raise DBusError("org.bluez.Error.Rejected", "nobody")
        return await self.person.passkey()

    @dbus_method(name="RequestAuthorization")
    def request_authorization(self, device: DBusObjectPath) -> None:
        """Just Works."""
        if self.person is None or not self.person.allows_unproven():
            raise DBusError("org.bluez.Error.Rejected", "nobody")

    @dbus_method(name="RequestConfirmation")
    def request_confirmation(self, device: DBusObjectPath, passkey: DBusUInt32) -> None:
        """Just Works."""
        if self.person is None or not self.person.allows_unproven():
            raise DBusError("org.bluez.Error.Rejected", "nobody")

    @dbus_method(name="Cancel")
    def cancel(self) -> None:
        """Nothing."""


class Bonds:
    """As gateway.ports.Bonds."""

    def __init__(self, bluez: Bluez, agent: _Agent) -> None:
        self._bluez = bluez
        self._agent = agent

    async def bond(self, address: str, person: Person) -> None:
        """Pair."""
        wanted = "dev_" + address.replace(":", "_")
        paths: list[str] = []

        async def is_there() -> bool:
            paths.extend(path for path in await self._bluez.objects() if path.endswith(wanted))
            return bool(paths)

        await until(self._bluez, is_there)
        self._agent.person = person
        done = False
        try:
            await self._bluez.call(paths[0], "org.bluez.Device1", "Pair", timeout_s=60)
            done = True
        finally:
            if not done:
                with contextlib.suppress(BluezRefused):
                    await self._bluez.call(paths[0], "org.bluez.Device1", "CancelPairing")
            await self._bluez.call(paths[0], "org.bluez.Device1", "Disconnect")
            self._agent.person = None


@asynccontextmanager
async def bonding() -> AsyncIterator[Bonds]:
    """Our agent, registered."""
    async with Bluez.connect() as bluez:
        agent = _Agent()
        bluez.export("/test/agent", agent)
        await bluez.call(
            "/org/bluez", "org.bluez.AgentManager1", "RegisterAgent", "os", "/test/agent", "KeyboardDisplay"
        )
        await bluez.call("/org/bluez", "org.bluez.AgentManager1", "RequestDefaultAgent", "o", "/test/agent")
        yield Bonds(bluez, agent)
