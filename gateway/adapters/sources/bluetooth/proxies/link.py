"""The connection to one proxy: found, lost and found again like an adapter (`radio.parts.AdapterControl`).

Source: ESPHome native API, `api.proto` of aioesphomeapi (MIT).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

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
            self._unsubscribe = self.api.subscribe_bluetooth_le_raw_advertisements(self._heard)

    def stop_listening(self, listener: Listener) -> None:
        """Idempotent. Raises APIConnectionError."""
        self._listeners.discard(listener)
        if not self._listeners and self._unsubscribe is not None:
            unsubscribe, self._unsubscribe = self._unsubscribe, None
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
    """

    def __init__(self, name: str, host: str, port: int, key: str | None) -> None:
        self.name = name
        self.session: ProxySession | None = None
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
            yield session
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
