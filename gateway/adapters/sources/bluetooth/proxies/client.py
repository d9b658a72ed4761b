"""bleak's client over a proxy: a device in another room, connected through the board that hears it.

Source: ESPHome `bluetooth_proxy` (connections of version 3: the board forgets the services it has told, so that
descriptors are written by us); esp_gatt_status_t of ESP-IDF, whose lower values are those of ATT.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
from aioesphomeapi import BluetoothProxyFeature
from aioesphomeapi.core import (
    APIConnectionError,
    BluetoothConnectionDroppedError,
    BluetoothGATTAPIError,
    TimeoutAPIError,
)
from bleak.args import SizedBuffer
from bleak.assigned_numbers import gatt_char_props_to_strs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError, BleakGATTProtocolError

from gateway.adapters.sources.bluetooth.proxies.link import Proxy, ProxySession
from gateway.adapters.sources.bluetooth.proxies.scanner import address_number

__all__ = ["ONLY_JUST_WORKS", "ProxyClient"]

ONLY_JUST_WORKS: Final = "a proxy pairs without a code only: a device with a code needs the hub's own adapter"
_CCCD: Final = "00002902-0000-1000-8000-00805f9b34fb"
_NOTIFY, _INDICATE = b"\x01\x00", b"\x02\x00"
_DEFAULT_MTU: Final = 23
_ATT_HEADER: Final = 3
_LINK_GONE: Final = -1
_ESP_ERROR: Final = 0x85
_LAST_OF_ATT: Final = 0x13
_FIRST_OF_APPLICATION, _LAST_OF_APPLICATION = 0x80, 0x9F
_FIRST_OF_PROFILES: Final = 0xFC
log = structlog.get_logger()
_SLOT_S: Final = 2.0
_NO_SLOT: Final = "no connection slot is free on the proxy"


def _is_att(code: int) -> bool:
    """Whether the number can have come from the device; 0x85 is what the board says when it does not know."""
    return (
        0 < code <= _LAST_OF_ATT
        or (_FIRST_OF_APPLICATION <= code <= _LAST_OF_APPLICATION and code != _ESP_ERROR)
        or _FIRST_OF_PROFILES <= code <= 0xFF
    )


class ProxyClient(BaseBleakClient):
    """Client on the `proxy` of its subclass; made of the BLEDevice that this proxy's scanner has found."""

    proxy: Proxy

    def __init__(self, address_or_ble_device: BLEDevice | str, **kwargs: Any) -> None:
        super().__init__(address_or_ble_device, **kwargs)
        details = address_or_ble_device.details if isinstance(address_or_ble_device, BLEDevice) else None
        self._kind = int(details.get("address_type", 0)) if isinstance(details, dict) else 0
        self._label = address_or_ble_device.name if isinstance(address_or_ble_device, BLEDevice) else None
        self._number = address_number(self.address)
        self._session: ProxySession | None = None
        self._mtu = _DEFAULT_MTU
        self._forget: list[Callable[[], None]] = []

    @property
    def name(self) -> str:
        return self._label or self.address

    @property
    def mtu_size(self) -> int:
        return self._mtu

    @property
    def is_connected(self) -> bool:
        return self._session is not None

    def _live(self) -> ProxySession:
        if self._session is None:
            raise BleakError("Not connected")
        return self._session

    @contextmanager
    def _in_bleaks_words(self) -> Iterator[None]:
        """The library's errors as bleak's; one that says that the link is gone ends it here too."""
        try:
            yield
        except TimeoutAPIError as error:
            raise TimeoutError("the proxy did not answer in time") from error
        except BluetoothConnectionDroppedError as error:
            self._lost()
            raise BleakError("the device disconnected") from error
        except BluetoothGATTAPIError as error:
            code = int(error.error.error)
            if _is_att(code):
                raise BleakGATTProtocolError(code) from error
            if code == _LINK_GONE:
                self._lost()
            raise BleakError(f"the proxy failed with {code}") from error
        except APIConnectionError as error:
            raise BleakError("the proxy is offline") from error

    # --- the link -----------------------------------------------------------------------------------------------

    async def connect(self, pair: bool, **kwargs: Any) -> None:
        """Raises BleakError or TimeoutError; a failure leaves no link behind."""
        session = self.proxy.session
        if session is None:
            raise BleakError("the proxy is offline")
        if not session.can_connect:
            raise BleakError("the proxy does not connect: its bluetooth_proxy needs active: true")
        try:
            async with asyncio.timeout(_SLOT_S):
                has_slot = await session.has_slot()
        except TimeoutError:
            has_slot = False
        if not has_slot:
            raise BleakError(_NO_SLOT)
        try:
            with self._in_bleaks_words():
                await self._link(session)
                if pair:
                    await self._pair()
                await self._discover(session)
        except BaseException:
            self._abandon(session)
            raise

    async def _link(self, session: ProxySession) -> None:
        linked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def lost_on_the_way() -> None:
            if not linked.done():
                linked.set_exception(BleakError("the proxy is offline"))
            self._lost()

        def changed(is_connected: bool, mtu: int, error: int) -> None:
            if linked.done():
                if not is_connected:
                    self._lost()
            elif is_connected and not error:
                linked.set_result(mtu)
            elif not error:  # refused before it was tried: somebody was quicker
                linked.set_exception(BleakError(_NO_SLOT))
            else:
                linked.set_exception(BleakError(f"the proxy could not connect ({error})"))

        self._forget.append(session.on_lost(lost_on_the_way))
        try:
            self._forget.append(
                await session.api.bluetooth_device_connect(
                    self._number,
                    changed,
                    timeout=self._timeout,
                    feature_flags=session.features,
                    has_cache=False,
                    address_type=self._kind,
                )
            )
            self._mtu = max(_DEFAULT_MTU, await linked)
        finally:
            if linked.done() and not linked.cancelled():
                linked.exception()  # somebody has looked: an earlier error says more
            else:
                linked.cancel()
        self._session = session

    def _abandon(self, session: ProxySession) -> None:
        """Give up an attempt without waiting for anything."""
        self._end()
        try:
            session.api.bluetooth_device_disconnect_no_wait(self._number)
        except APIConnectionError:
            return  # without us the proxy ends its links by itself

    def _end(self) -> bool:
        """Forget the link; whether there was one."""
        was_connected, self._session = self._session is not None, None
        forget, self._forget = self._forget, []
        for one in forget:
            one()
        return was_connected

    def _lost(self) -> None:
        was_ready = self.services is not None
        if self._end() and was_ready and self._disconnected_callback is not None:
            self._disconnected_callback()
        self.services = None

    async def disconnect(self) -> None:
        session = self._session
        if session is None:
            return
        try:
            with self._in_bleaks_words():
                await session.api.bluetooth_device_disconnect(self._number)
        finally:
            self._lost()

    async def pair(self, *args: Any, **kwargs: Any) -> None:
        """Just Works. Raises BleakError where the device wants more, or the firmware cannot."""
        with self._in_bleaks_words():
            await self._pair()

    async def _pair(self) -> None:
        session = self._live()
        if not session.features & BluetoothProxyFeature.PAIRING:
            raise BleakError("the proxy's firmware cannot pair; ESPHome 2024.3 or later can")
        answer = await session.api.bluetooth_device_pair(self._number)
        if not answer.paired:
            if not self.proxy.has_failed_to_pair:
                self.proxy.has_failed_to_pair = True
                log.warning("bluetooth.proxy_pairing_failed", radio=self.proxy.name, hint=ONLY_JUST_WORKS)
            raise BleakError(f"pairing failed ({answer.error}); {ONLY_JUST_WORKS}")

    async def unpair(self) -> None:
        with self._in_bleaks_words():
            answer = await self._live().api.bluetooth_device_unpair(self._number)
        if not answer.success:
            raise BleakError(f"the proxy could not forget the keys ({answer.error})")

    # --- GATT ---------------------------------------------------------------------------------------------------

    async def _discover(self, session: ProxySession) -> None:
        found = BleakGATTServiceCollection()
        told = await session.api.bluetooth_gatt_get_services(self._number)
        for service in told.services:
            ours = BleakGATTService(service, service.handle, service.uuid)
            found.add_service(ours)
            for char in service.characteristics:
                characteristic = BleakGATTCharacteristic(
                    char,
                    char.handle,
                    char.uuid,
                    list(gatt_char_props_to_strs(char.properties)),
                    lambda: self._mtu - _ATT_HEADER,
                    ours,
                )
                found.add_characteristic(characteristic)
                for descriptor in char.descriptors:
                    found.add_descriptor(
                        BleakGATTDescriptor(descriptor, descriptor.handle, descriptor.uuid, characteristic)
                    )
        self._live()  # the link may have gone meanwhile
        self.services = found

    async def read_gatt_char(self, characteristic: BleakGATTCharacteristic, **kwargs: Any) -> bytearray:
        with self._in_bleaks_words():
            return bytearray(await self._live().api.bluetooth_gatt_read(self._number, characteristic.handle))

    async def read_gatt_descriptor(self, descriptor: BleakGATTDescriptor, **kwargs: Any) -> bytearray:
        with self._in_bleaks_words():
            return bytearray(await self._live().api.bluetooth_gatt_read_descriptor(self._number, descriptor.handle))

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool) -> None:
        with self._in_bleaks_words():
            await self._live().api.bluetooth_gatt_write(self._number, characteristic.handle, bytes(data), response)

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: SizedBuffer) -> None:
        with self._in_bleaks_words():
            await self._live().api.bluetooth_gatt_write_descriptor(self._number, descriptor.handle, bytes(data))

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **kwargs: Any
    ) -> None:
        """Everything of one device comes over one connection, so the order across characteristics is kept."""
        api = self._live().api
        descriptor = characteristic.get_descriptor(_CCCD)
        if descriptor is None:
            raise BleakError("the characteristic has no descriptor to subscribe with")
        with self._in_bleaks_words():
            _, forget = await api.bluetooth_gatt_start_notify(
                self._number, characteristic.handle, lambda _handle, data: callback(data)
            )
            self._forget.append(forget)
            value = _NOTIFY if "notify" in characteristic.properties else _INDICATE
            await api.bluetooth_gatt_write_descriptor(self._number, descriptor.handle, value)

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        with self._in_bleaks_words():
            self._live().api.bluetooth_gatt_stop_notify(self._number, characteristic.handle)
