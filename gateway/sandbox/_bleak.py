"""bleak's backend classes over the virtual air, so that code written for bleak runs unchanged without a radio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from bleak.args import SizedBuffer
from bleak.assigned_numbers import gatt_char_props_to_strs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, AdvertisementDataCallback, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDeviceNotFoundError, BleakError, BleakGATTProtocolError
from bumble.att import ATT_Error
from bumble.core import UUID, AdvertisingData, BaseBumbleError
from bumble.device import Advertisement, Connection, Peer
from bumble.gatt_client import CharacteristicProxy, DescriptorProxy
from bumble.hci import Address, HCI_Error

from gateway.sandbox._central import Central, bluetooth_address

__all__ = ["CentralBleakClient", "CentralBleakScanner", "advertisement_data", "uuid_text"]

_T = TypeVar("_T")
_ATT_HEADER = 3
_MTU = 517
_UUID_SIZES = {
    AdvertisingData.Type.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    AdvertisingData.Type.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS: 2,
    AdvertisingData.Type.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
    AdvertisingData.Type.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS: 16,
}
_SERVICE_DATA_SIZES = {
    AdvertisingData.Type.SERVICE_DATA_16_BIT_UUID: 2,
    AdvertisingData.Type.SERVICE_DATA_128_BIT_UUID: 16,
}
_NAMES = (AdvertisingData.Type.COMPLETE_LOCAL_NAME, AdvertisingData.Type.SHORTENED_LOCAL_NAME)


def uuid_text(uuid: UUID) -> str:
    """The 128-bit form in lower case, as bleak writes it."""
    octets = uuid.to_bytes(force_128=True)[::-1].hex()
    return "-".join((octets[:8], octets[8:12], octets[12:16], octets[16:20], octets[20:]))


def advertisement_data(advertisement: Advertisement) -> AdvertisementData:
    """What bleak reports for one advertisement."""
    name: str | None = None
    manufacturer: dict[int, bytes] = {}
    service_data: dict[str, bytes] = {}
    uuids: list[str] = []
    for kind, raw in advertisement.data.ad_structures:
        if kind in _NAMES:
            name = raw.decode("utf-8", "replace")
        elif kind == AdvertisingData.Type.MANUFACTURER_SPECIFIC_DATA and len(raw) >= 2:
            manufacturer[int.from_bytes(raw[:2], "little")] = raw[2:]
        elif (size := _SERVICE_DATA_SIZES.get(AdvertisingData.Type(kind))) is not None and len(raw) >= size:
            service_data[uuid_text(UUID.from_bytes(raw[:size]))] = raw[size:]
        elif (size := _UUID_SIZES.get(AdvertisingData.Type(kind))) is not None:
            uuids += [uuid_text(UUID.from_bytes(raw[i : i + size])) for i in range(0, len(raw) - size + 1, size)]
    power = advertisement.tx_power
    return AdvertisementData(
        local_name=name,
        manufacturer_data=manufacturer,
        service_data=service_data,
        service_uuids=list(dict.fromkeys(uuids)),
        tx_power=None if power == Advertisement.TX_POWER_NOT_AVAILABLE else power,
        rssi=advertisement.rssi,
        platform_data=(),
    )


class CentralBleakScanner(BaseBleakScanner):
    """Scanner on the `central` of its subclass."""

    central: Central

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: str,
        **_kwargs: Any,
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self.scanning_mode = scanning_mode

    async def start(self) -> None:
        self.seen_devices = {}
        await self.central.listen(self._heard)

    async def stop(self) -> None:
        await self.central.stop_listening(self._heard)

    def _heard(self, advertisement: Advertisement) -> None:
        data = advertisement_data(advertisement)
        if not self.is_allowed_uuid(data.service_uuids):
            return
        address = bluetooth_address(advertisement.address)
        details = {"address": advertisement.address}
        device = self.create_or_update_device(address, address, data.local_name, details, data)
        self.call_detection_callbacks(device, data)


class CentralBleakClient(BaseBleakClient):
    """Client on the `central` of its subclass."""

    central: Central

    def __init__(
        self,
        address_or_ble_device: BLEDevice | str,
        *,
        disconnected_callback: Callable[[], None] | None,
        timeout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(address_or_ble_device, disconnected_callback=disconnected_callback, timeout=timeout, **kwargs)
        self._name: str | None = None
        self._was_heard = isinstance(address_or_ble_device, BLEDevice)
        self._target = Address(self.address, Address.RANDOM_DEVICE_ADDRESS)
        if isinstance(address_or_ble_device, BLEDevice):
            self._name = address_or_ble_device.name
            if isinstance(address_or_ble_device.details, dict):
                self._target = address_or_ble_device.details.get("address", self._target)
        self._connection: Connection | None = None
        self._subscribers: dict[int, Callable[[bytes], None]] = {}

    @property
    def name(self) -> str:
        return self._name or self.address

    @property
    def mtu_size(self) -> int:
        return self._live().att_mtu

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    def _live(self) -> Connection:
        if self._connection is None:
            raise BleakError("Not connected")
        return self._connection

    async def connect(self, pair: bool, **kwargs: Any) -> None:
        """Raises TimeoutError (a device that was heard) or BleakDeviceNotFoundError; a failure leaves no link."""
        if self._connection is not None or await self.central.is_linked(self._target):
            raise BleakError("already connected")
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self.central.connect(self._target)
                connection.on(connection.EVENT_DISCONNECTION, self._lost)
                self._connection = connection
                try:
                    await self._set_up(connection, pair)
                finally:
                    if self.services is None:
                        await self.disconnect()
        except TimeoutError as error:
            if self._was_heard:
                raise
            raise BleakDeviceNotFoundError(self.address, "nothing was heard from this address") from error

    async def _set_up(self, connection: Connection, pair: bool) -> None:
        if await self.central.is_bonded(connection):
            await self._guard(connection.encrypt())
        elif pair:
            await self.pair()
        peer = Peer(connection)
        await self._guard(peer.request_mtu(_MTU))
        self.services = await self._guard(self._discover(peer))

    async def _discover(self, peer: Peer) -> BleakGATTServiceCollection:
        found = BleakGATTServiceCollection()
        for service in await peer.discover_services():
            bleak_service = BleakGATTService(service, service.handle, uuid_text(service.uuid))
            found.add_service(bleak_service)
            for proxy in await service.discover_characteristics():
                characteristic = BleakGATTCharacteristic(
                    proxy,
                    proxy.handle,
                    uuid_text(proxy.uuid),
                    list(gatt_char_props_to_strs(proxy.properties)),
                    lambda: self.mtu_size - _ATT_HEADER,
                    bleak_service,
                )
                found.add_characteristic(characteristic)
                if proxy.end_group_handle == proxy.handle:
                    proxy.descriptors_discovered = True
                    continue
                for descriptor in await proxy.discover_descriptors():
                    found.add_descriptor(
                        BleakGATTDescriptor(descriptor, descriptor.handle, uuid_text(descriptor.type), characteristic)
                    )
        return found

    def _lost(self, _reason: int) -> None:
        was_ready = self.services is not None
        self._connection = None
        self.services = None
        self._subscribers.clear()
        if was_ready and self._disconnected_callback is not None:
            self._disconnected_callback()

    async def disconnect(self) -> None:
        if (connection := self._connection) is not None:
            try:
                await connection.disconnect()
            except BaseBumbleError as error:
                if self.is_connected:
                    raise BleakError("the link could not be closed") from error

    async def pair(self, *args: Any, **kwargs: Any) -> None:
        connection = self._live()
        if not await self.central.is_bonded(connection):
            await self._guard(connection.pair())

    async def unpair(self) -> None:
        await self.central.forget(self.address)

    async def _guard(self, operation: Coroutine[Any, Any, _T]) -> _T:
        """Run `operation` while the link lasts; whatever goes wrong becomes one of bleak's errors."""
        if (connection := self._connection) is None:
            operation.close()
            raise BleakError("Not connected")
        try:
            return await connection.cancel_on_disconnection(operation)
        except ATT_Error as error:
            raise BleakGATTProtocolError(error.error_code) from error
        except (BaseBumbleError, HCI_Error, TimeoutError) as error:
            raise BleakError(f"{type(error).__name__}: {error}") from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self.is_connected or (task is not None and task.cancelling()):
                raise
            raise BleakError("the device disconnected") from error

    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, *, use_cached: bool = False, **kwargs: Any
    ) -> bytearray:
        proxy = cast("CharacteristicProxy[bytes]", characteristic.obj)
        return bytearray(await self._guard(proxy.read_value()))

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, *, use_cached: bool = False, **kwargs: Any
    ) -> bytearray:
        proxy = cast("DescriptorProxy", descriptor.obj)
        return bytearray(await self._guard(proxy.read_value()))

    async def write_gatt_char(self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool) -> None:
        proxy = cast("CharacteristicProxy[bytes]", characteristic.obj)
        await self._guard(proxy.write_value(bytes(data), with_response=response))

    async def write_gatt_descriptor(self, descriptor: BleakGATTDescriptor, data: SizedBuffer) -> None:
        proxy = cast("DescriptorProxy", descriptor.obj)
        await self._guard(proxy.write_value(bytes(data), with_response=True))

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **kwargs: Any
    ) -> None:
        """As BlueZ does, an indication is confirmed whether or not `callback` has run or raises."""
        loop = asyncio.get_running_loop()

        def deliver(value: bytes) -> None:
            loop.call_soon(callback, bytearray(value))

        proxy = cast("CharacteristicProxy[bytes]", characteristic.obj)
        self._subscribers[characteristic.handle] = deliver
        await self._guard(proxy.subscribe(deliver))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        proxy = cast("CharacteristicProxy[bytes]", characteristic.obj)
        await self._guard(proxy.unsubscribe(self._subscribers.pop(characteristic.handle, None)))
