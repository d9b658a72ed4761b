"""The adapter of a radio, over BlueZ: found by its address wherever it comes back, watched, switched, reset.

A name such as hci0 is what the kernel happened to count; it is resolved once to the adapter's address, and the address
is followed from then on.

Source: BlueZ `doc/org.bluez.Adapter.rst` (Address, Powered, PowerState).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from gateway.adapters.sources.bluetooth.bluez.bus import Bluez, BluezRefused, BusUnavailable, Objects
from gateway.adapters.sources.bluetooth.radio.parts import AdapterAbsent, AdapterBlocked, RungFailed

__all__ = ["BluezAdapter", "BluezSession"]

_ADAPTER: Final = "org.bluez.Adapter1"
_DEVICE: Final = "org.bluez.Device1"
_OBJECTS: Final = "org.freedesktop.DBus.ObjectManager"
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_NOBODY: Final = "org.freedesktop.DBus.Error.ServiceUnknown"
_DENIED: Final = frozenset({"org.freedesktop.DBus.Error.AccessDenied", "org.bluez.Error.NotAuthorized"})
_BLOCKED: Final = "org.bluez.Error.Blocked"
_CALL_S: Final = 10.0
_OFF_S: Final = 1.0
log = structlog.get_logger()


class BluezAdapter:
    """Implements `AdapterControl`.

    Args:
        wanted: address or hciN; None: the first that is there.
        bus_address: of another bus than the system's (tests).

    Attributes:
        address: of the adapter that is followed; None until it was found.
    """

    def __init__(self, wanted: str | None, *, bus_address: str | None = None) -> None:
        self._name = wanted if wanted is not None and ":" not in wanted else None
        self._bus_address = bus_address
        self.address: str | None = wanted if wanted is not None and ":" in wanted else None

    @asynccontextmanager
    async def attach(self) -> AsyncIterator[BluezSession]:
        """The adapter, found and switched on, for the length of the block.

        Entering raises AdapterAbsent or AdapterBlocked.
        """
        try:
            async with Bluez.connect(self._bus_address) as bluez:
                session = await self._found(bluez)
                yield session
        except BusUnavailable as error:
            word = error.reason.lower()
            if "permission" in word or "denied" in word:
                raise AdapterBlocked("permission") from error
            raise AdapterAbsent("no_bus") from error

    async def _found(self, bluez: Bluez) -> BluezSession:
        try:
            session = BluezSession(bluez)
            await bluez.listen(session.on_signal)
            path, properties = self._chosen(await bluez.objects())
            self.address = str(properties.get("Address", "")).upper() or None
            session.begin(path, self.address)
            if not properties.get("Powered", False):
                if properties.get("PowerState") == "off-blocked":
                    raise AdapterBlocked("rfkill")
                await bluez.set(path, _ADAPTER, "Powered", "b", True)
        except BluezRefused as error:
            if error.name in _DENIED:
                raise AdapterBlocked("permission") from error
            if error.name == _NOBODY:
                raise AdapterAbsent("no_service") from error
            if error.name == _BLOCKED:
                raise AdapterBlocked("rfkill") from error
            raise AdapterBlocked("powered_off") from error
        return session

    def _chosen(self, objects: Objects) -> tuple[str, Mapping[str, Any]]:
        found = {path: there[_ADAPTER] for path, there in sorted(objects.items()) if _ADAPTER in there}
        for path, properties in found.items():
            if self.address is not None:
                is_wanted = str(properties.get("Address", "")).upper() == self.address
            else:
                is_wanted = self._name is None or path.rpartition("/")[2] == self._name
            if is_wanted:
                return path, properties
        raise AdapterAbsent("no_adapter")


class BluezSession:
    """Implements `AdapterSession`."""

    def __init__(self, bluez: Bluez) -> None:
        self._bluez = bluez
        self._path = ""
        self._removed: set[str] = set()
        self._is_cycling = False
        self._lost = asyncio.Event()
        self._reason = ""
        self.adapter: str | None = None
        self.address: str | None = None

    def begin(self, path: str, address: str | None) -> None:
        """The adapter is at this object path now."""
        self._path, self.address = path, address
        self.adapter = path.rpartition("/")[2]
        if path in self._removed:  # between the answer that named it and now
            self._lose("removed")
        self._removed.clear()

    def on_signal(self, path: str, interface: str, member: str, body: tuple[Any, ...]) -> None:
        """Every signal of BlueZ, and the coming and going of its service."""
        if member == "NameOwnerChanged":
            self._lose("service_gone")
        elif interface == _OBJECTS and member == "InterfacesRemoved":
            if len(body) == 2 and _ADAPTER in body[1]:
                if not self._path:
                    self._removed.add(body[0])
                elif body[0] == self._path:
                    self._lose("removed")
        elif interface == _PROPERTIES and member == "PropertiesChanged" and path == self._path:
            is_off = len(body) > 1 and body[0] == _ADAPTER and body[1].get("Powered") is False
            if is_off and not self._is_cycling:
                self._lose("powered_off")

    def _lose(self, reason: str) -> None:
        if not self._lost.is_set():
            self._reason = reason
            self._lost.set()

    async def wait_lost(self) -> str:
        """`removed`, `powered_off`, `service_gone` or `bus_gone`."""
        bus = asyncio.create_task(self._bluez.wait_lost())
        adapter = asyncio.create_task(self._lost.wait())
        try:
            await asyncio.wait([bus, adapter], return_when=asyncio.FIRST_COMPLETED)
            return self._reason if self._lost.is_set() else "bus_gone"
        finally:
            bus.cancel()
            adapter.cancel()

    async def end_links(self, is_wanted: Callable[[str], bool], *, calling_too: bool = False) -> int:
        """See `AdapterSession.end_links`. What BlueZ refuses is left as it is."""
        ended = 0
        try:
            for path, interfaces in (await self._bluez.objects()).items():
                device = interfaces.get(_DEVICE)
                if device is None or not path.startswith(f"{self._path}/"):
                    continue
                if (device.get("Connected") or calling_too) and is_wanted(str(device.get("Address", "")).upper()):
                    ended += await self._disconnect(path)
        except (BluezRefused, BusUnavailable) as error:
            log.warning("bluetooth.leftover_kept", radio=self.adapter, error=type(error).__name__)
        return ended

    async def _disconnect(self, path: str) -> bool:
        try:
            await self._bluez.call(path, _DEVICE, "Disconnect")
        except BluezRefused as error:
            if not error.name.endswith(".NotConnected"):
                raise
            return False
        return True

    async def power_cycle(self) -> None:
        """Off, a second, and on. Raises RungFailed."""
        self._is_cycling = True
        try:
            await self._switch(is_on=False)
            await asyncio.sleep(_OFF_S)
            await self._switch(is_on=True)
        finally:
            self._is_cycling = False

    async def _switch(self, *, is_on: bool) -> None:
        try:
            async with asyncio.timeout(_CALL_S):
                await self._bluez.set(self._path, _ADAPTER, "Powered", "b", is_on)
        except (BluezRefused, BusUnavailable, TimeoutError) as error:
            name = error.name if isinstance(error, BluezRefused) else type(error).__name__
            raise RungFailed(f"switching it {'on' if is_on else 'off'} failed ({name})") from error

    async def reset(self) -> None:
        """Through the library `bluetooth-auto-recovery` (extra `radio-recovery`): management socket, then USB.

        It needs the capability CAP_NET_ADMIN, and for USB the right to write to the device. Raises RungFailed.
        """
        try:
            from bluetooth_auto_recovery import recover_adapter
        except ImportError as error:
            raise RungFailed("the extra radio-recovery is not installed") from error
        number = (self.adapter or "").removeprefix("hci")
        if not number.isdigit() or self.address is None:
            raise RungFailed("the adapter has no number")
        logging.getLogger(recover_adapter.__module__.partition(".")[0]).setLevel(
            logging.CRITICAL
        )  # it writes addresses
        self._is_cycling = True
        try:
            has_recovered = await recover_adapter(int(number), self.address, gone_silent=True)
        except (OSError, EOFError) as error:
            raise RungFailed(f"no right to reset it ({type(error).__name__})") from error
        finally:
            self._is_cycling = False
        if not has_recovered:
            raise RungFailed("the reset did not bring it back, or there is no right to reset it (CAP_NET_ADMIN)")
