"""The connection to one proxy: found, lost and found again like an adapter (`radio.parts.AdapterControl`).

Source: ESPHome native API, `api.proto` of aioesphomeapi (MIT).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog
from aioesphomeapi import APIVersion, BluetoothProxyFeature, BluetoothScannerMode
from aioesphomeapi.api_pb2 import BluetoothLERawAdvertisement
from aioesphomeapi.client import APIClient
from aioesphomeapi.core import (
    APIConnectionError,
    EncryptionHelloAPIError,
    EncryptionPlaintextAPIError,
    InvalidAuthAPIError,
    InvalidEncryptionKeyAPIError,
    RequiresEncryptionAPIError,
)

from gateway.adapters.sources.bluetooth.radio.parts import AdapterAbsent, AdapterBlocked, RungFailed

__all__ = ["Listener", "Proxy", "ProxySession"]

Listener = Callable[[BluetoothLERawAdvertisement], None]
_CONNECT_S: Final = 20.0
_HANG_UP_S: Final = 3.0
_ABOUT_KEYS: Final = (
    EncryptionHelloAPIError,
    EncryptionPlaintextAPIError,
    InvalidAuthAPIError,
    InvalidEncryptionKeyAPIError,
    RequiresEncryptionAPIError,
)
_NEEDED: Final = BluetoothProxyFeature.RAW_ADVERTISEMENTS
_INSIST_S: Final = [10.0, 30.0, 60.0]
"""A board tells its packets to one client, and passes over another's wish without a word. After a crash of ours that
client is ourselves of before, which the board forgets in a minute or two."""
log = structlog.get_logger()


class ProxySession:
    """One connection to the proxy, from its start to its loss; implements `AdapterSession`.

    Attributes:
        api: the library's client.
        features: what the proxy's firmware can do.
        free: connections that it has left; None: it has not said yet.
    """

    def __init__(self, name: str, api: APIClient) -> None:
        self.api = api
        self.features = BluetoothProxyFeature(0)
        self.free: int | None = None
        self._name = name
        self._address: str | None = None
        self._lost = asyncio.Event()
        self._slots_known = asyncio.Event()
        self._on_lost: set[Callable[[], None]] = set()
        self._listeners: set[Listener] = set()
        self._listens = asyncio.Event()
        self._is_served = asyncio.Event()
        self._unsubscribe: Callable[[], None] | None = None

    # --- AdapterSession -----------------------------------------------------------------------------------------

    @property
    def adapter(self) -> str | None:
        """The proxy's name in the configuration."""
        return self._name

    @property
    def address(self) -> str | None:
        """Of the board's own radio."""
        return self._address

    async def wait_lost(self) -> str:
        """Return when the connection has gone."""
        await self._lost.wait()
        return "proxy_offline"

    async def end_links(self, is_wanted: Callable[[str], bool], *, calling_too: bool = False) -> int:
        """None: the proxy ends its links itself when their owner's connection to it has gone."""
        return 0

    async def power_cycle(self) -> None:
        """Raises RungFailed: the API has no such request."""
        raise RungFailed("a proxy's radio cannot be switched from here")

    async def reset(self) -> None:
        """Hang up: the proxy ends its links and starts its scan anew when we come back."""
        self.api.force_disconnect()
        self.lose()

    # --- for the scanner and the clients ------------------------------------------------------------------------

    async def begin(self) -> None:
        """What the proxy can do, and from now on how many connections it has left.

        Raises:
            AdapterBlocked: its firmware is too old, or has no Bluetooth.
        """
        info = await self.api.device_info()
        version = self.api.api_version or APIVersion()
        self.features = BluetoothProxyFeature(info.bluetooth_proxy_feature_flags_compat(version))
        self._address = (info.bluetooth_mac_address or info.mac_address or "").upper() or None
        if not self.features & _NEEDED:
            raise AdapterBlocked("proxy_firmware")
        if self.can_connect:
            self.api.subscribe_bluetooth_connections_free(self._count)
        if self.features & BluetoothProxyFeature.FEATURE_STATE_AND_MODE:
            self.api.subscribe_bluetooth_scanner_state(lambda _state: self._is_served.set())

    async def insist(self) -> None:
        """Ask for packets again for as long as the board says nothing of its scan, which only its one client hears."""
        attempt = 0
        while self.features & BluetoothProxyFeature.FEATURE_STATE_AND_MODE and not self._is_served.is_set():
            await self._listens.wait()
            try:
                async with asyncio.timeout(_INSIST_S[min(attempt, len(_INSIST_S) - 1)]):
                    await self._is_served.wait()
            except TimeoutError:
                attempt += 1
                if attempt == len(_INSIST_S):
                    log.warning("bluetooth.proxy_serves_another", radio=self._name)
                try:
                    if self._listens.is_set():
                        self._ask()
                except APIConnectionError:
                    return

    def _ask(self) -> None:
        self._unsubscribe = self.api.subscribe_bluetooth_le_raw_advertisements(self._heard)

    def _count(self, free: int, _limit: int, _allocated: list[int]) -> None:
        self.free = free
        self._slots_known.set()

    @property
    def can_connect(self) -> bool:
        """Whether the proxy connects at all (`active: true`)."""
        wanted = BluetoothProxyFeature.ACTIVE_CONNECTIONS | BluetoothProxyFeature.REMOTE_CACHING
        return self.features & wanted == wanted

    async def has_slot(self) -> bool:
        """Whether a connection is left."""
        await self._slots_known.wait()
        return bool(self.free)

    def listen(self, listener: Listener, *, is_passive: bool) -> None:
        """Tell `listener` every packet. Raises APIConnectionError."""
        self._listeners.add(listener)
        if self.features & BluetoothProxyFeature.FEATURE_STATE_AND_MODE:
            self.api.bluetooth_scanner_set_mode(
                BluetoothScannerMode.PASSIVE if is_passive else BluetoothScannerMode.ACTIVE
            )
        if self._unsubscribe is None:
            self._ask()
            self._listens.set()

    def stop_listening(self, listener: Listener) -> None:
        """Idempotent. Raises APIConnectionError."""
        self._listeners.discard(listener)
        if not self._listeners and self._unsubscribe is not None:
            unsubscribe, self._unsubscribe = self._unsubscribe, None
            self._listens.clear()
            if not self._lost.is_set():
                unsubscribe()

    def _heard(self, packets: object) -> None:
        for packet in packets.advertisements:  # type: ignore[attr-defined]  # a protobuf message without types
            for listener in tuple(self._listeners):
                listener(packet)

    def on_lost(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when the connection is lost; returns what takes it back."""
        self._on_lost.add(callback)
        return lambda: self._on_lost.discard(callback)

    def lose(self) -> None:
        """The connection has gone. Idempotent."""
        if not self._lost.is_set():
            self._lost.set()
            for callback in tuple(self._on_lost):
                callback()


class Proxy:
    """One proxy; implements `AdapterControl`.

    Args:
        name: from the configuration.
        host, port: where its native API listens.
        key: its encryption key (base64); None: it has none.

    Attributes:
        session: the connection that is up; None: there is none.
        has_failed_to_pair: that was said in the log once.
    """

    def __init__(self, name: str, host: str, port: int, key: str | None) -> None:
        self.name = name
        self.session: ProxySession | None = None
        self.has_failed_to_pair = False
        self._host = host
        self._port = port
        self._key = key

    @asynccontextmanager
    async def attach(self) -> AsyncIterator[ProxySession]:
        """A connection for the length of the block.

        Raises:
            AdapterAbsent: `proxy_offline`.
            AdapterBlocked: `proxy_key` (none, or another one, fits), `proxy_firmware`.
        """
        api = APIClient(self._host, self._port, None, client_info="passerelle", noise_psk=self._key)
        session = ProxySession(self.name, api)

        async def stopped(_is_expected: bool) -> None:
            session.lose()

        try:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    await api.connect(on_stop=stopped, login=True, log_errors=False)
                    await session.begin()
            except _ABOUT_KEYS as error:
                raise AdapterBlocked("proxy_key") from error
            except (APIConnectionError, OSError, TimeoutError) as error:
                raise AdapterAbsent("proxy_offline") from error
            self.session = session
            insisting = asyncio.create_task(session.insist(), name=f"bluetooth.proxy.{self.name}")
            try:
                yield session
            finally:
                insisting.cancel()
                await asyncio.wait([insisting])
        finally:
            self.session = None
            session.lose()
            await self._hang_up(api)

    @staticmethod
    async def _hang_up(api: APIClient) -> None:
        try:
            async with asyncio.timeout(_HANG_UP_S):
                await api.disconnect()
        except (APIConnectionError, OSError, TimeoutError):
            api.force_disconnect()
