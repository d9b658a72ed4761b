"""Virtual devices beyond this process: on a real controller, or on an air whose listening side is another process.

a dongle:   a bumble host here, its controller in the dongle       `HciAir`
processes:  an adapter here for each client of a socket            `HciDoor`, and in the client `DistantCentral`
a kernel:   see `vhci`
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import usb1  # type: ignore[import-untyped]
from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import BaseBleakScanner
from bumble.controller import Controller
from bumble.core import BaseBumbleError
from bumble.keys import JsonKeyStore
from bumble.transport import open_transport
from bumble.transport.common import StreamPacketSink, StreamPacketSource, Transport

from gateway.errors import GatewayError
from gateway.sandbox._bleak import CentralBleakClient, CentralBleakScanner
from gateway.sandbox._central import Central
from gateway.sandbox.radio import VirtualAir

__all__ = ["DistantCentral", "HciAir", "HciDoor", "TransportUnusable", "opened_transport"]


class TransportUnusable(GatewayError):
    """A transport cannot be opened; the message says which and why."""


@asynccontextmanager
async def opened_transport(spec: str) -> AsyncIterator[Transport]:
    """One of bumble's HCI transports, such as `usb:0`, `hci-socket:0`, `serial:/dev/ttyACM0`, `unix:/run/hci`.

    Raises:
        TransportUnusable: it is not known or cannot be opened.
    """
    if spec.startswith("hci-socket") and not hasattr(socket, "AF_BLUETOOTH"):
        raise TransportUnusable(f"the transport {spec!r} cannot be used: this Python was built without Bluetooth")
    try:
        transport = await open_transport(spec)
    except (BaseBumbleError, usb1.USBError, OSError, ValueError, ImportError) as error:
        reason = str(error) or type(error).__name__
        raise TransportUnusable(f"the transport {spec!r} cannot be used: {reason}") from error
    try:
        yield transport
    finally:
        await transport.close()


class HciAir(VirtualAir):
    """Real air, reached through one controller: one virtual device can live here, and nothing listens on our side."""

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._transport = transport
        self._tenant: str | None = None

    def controller(self, name: str) -> Controller | Transport:
        """The one controller that there is.

        Raises:
            ValueError: another device has it.
        """
        if self._tenant not in (None, name):
            raise ValueError("one controller carries one virtual device")
        self._tenant = name
        return self._transport


class _Caller(StreamPacketSource):
    """One client of a door: its host there, its adapter here."""

    def __init__(self, air: VirtualAir) -> None:
        super().__init__()
        self._air = air
        self._adapter: Controller | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sink = StreamPacketSink(cast("asyncio.WriteTransport", transport))
        self._adapter = self._air.admit(Transport(self, sink))

    def connection_lost(self, _error: Exception | None) -> None:
        if (adapter := self._adapter) is not None:
            self._adapter = None
            self._air.dismiss(adapter)


class HciDoor:
    """A UNIX socket through which other processes use the virtual air, each with an adapter of its own.

    A client that dies is as if its adapter had been pulled out: devices see a lost link, and keep everything else.
    """

    def __init__(self, air: VirtualAir, path: Path) -> None:
        self._air = air
        self._path = path

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Let clients in for the length of the block."""
        server = await asyncio.get_running_loop().create_unix_server(lambda: _Caller(self._air), str(self._path))
        try:
            yield
        finally:
            server.close()
            self._path.unlink(missing_ok=True)


class DistantCentral:
    """bleak's own classes over an adapter at the other end of a transport, with bonds in a file.

    Attributes:
        scanner_backend, client_backend: what to give to bleak's `backend=`.
    """

    scanner_backend: type[BaseBleakScanner]
    client_backend: type[BaseBleakClient]

    def __init__(self, transport: Transport, bonds: Path, passkeys: Mapping[str, int]) -> None:
        self._central = central = Central(lambda: transport, JsonKeyStore("hub", str(bonds)), passkeys)
        self.scanner_backend = type("DistantScanner", (CentralBleakScanner,), {"central": central})
        self.client_backend = type("DistantClient", (CentralBleakClient,), {"central": central})

    async def forget(self, address: str) -> None:
        """Lose the bond with `address`, as `unpair` does."""
        await self._central.forget(address)

    async def close(self) -> None:
        """Drop every link and stop listening. Idempotent."""
        await self._central.close()
