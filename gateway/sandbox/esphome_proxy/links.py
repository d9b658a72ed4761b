"""The board's links to devices: what the API asks for, done on the virtual air.

Errors are numbers as the board reports them: the device's ATT error where there is one, -1 when the link is gone.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from aioesphomeapi import api_pb2 as pb
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.service import BleakGATTServiceCollection
from bleak.exc import BleakError, BleakGATTProtocolError
from bumble.gatt_client import CharacteristicProxy
from bumble.hci import Address

__all__ = ["BoardError", "Links", "address_text"]

_CONNECT_S = 10.0
_LINK_GONE = -1
_INVALID_HANDLE = 0x01
_NO_SLOT = 0  # the board says that it is not connected, without an error
_CANNOT_ESTABLISH = 0x3E
_PAIRING_FAILED = 0x61
_CCCD = 0x2902
T = TypeVar("T")


class BoardError(Exception):
    """What the board answers instead. `code`: see the module."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


def address_text(number: int) -> str:
    """`AA:BB:CC:DD:EE:FF`."""
    digits = f"{number:012X}"
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


class Links:
    """At most `limit` devices.

    Args:
        backend: bleak's client on the board's own adapter.
        on_down: told the number (address) of a device whose link has gone.
    """

    def __init__(self, backend: type[BaseBleakClient], limit: int, on_down: Callable[[int], None]) -> None:
        self.limit = limit
        self._backend = backend
        self._on_down = on_down
        self._clients: dict[int, BaseBleakClient] = {}

    @property
    def devices(self) -> list[int]:
        """Those that hold a slot."""
        return list(self._clients)

    async def connect(self, number: int, address_type: int) -> int:
        """The MTU. Raises BoardError."""
        if number in self._clients or len(self._clients) >= self.limit:
            raise BoardError(_NO_SLOT)
        text = address_text(number)
        kind = Address.PUBLIC_DEVICE_ADDRESS if address_type == 0 else Address.RANDOM_DEVICE_ADDRESS
        device = BLEDevice(text, None, {"address": Address(text, kind)})
        client = self._backend(device, disconnected_callback=lambda: self._down(number), timeout=_CONNECT_S)
        self._clients[number] = client
        try:
            await client.connect(pair=False)
        except (BleakError, TimeoutError) as error:
            self._clients.pop(number, None)
            raise BoardError(_CANNOT_ESTABLISH) from error
        return client.mtu_size

    def _down(self, number: int) -> None:
        if self._clients.pop(number, None) is not None:
            self._on_down(number)

    async def disconnect(self, number: int) -> None:
        """Idempotent; `on_down` is called."""
        client = self._clients.get(number)
        if client is not None:
            await client.disconnect()
        self._down(number)

    async def close(self) -> None:
        """End every link."""
        for number in self.devices:
            await self.disconnect(number)

    async def pair(self, number: int) -> int:
        """0, or why not."""
        try:
            await self._client(number).pair()
        except BleakError:
            return _PAIRING_FAILED
        return 0

    async def unpair(self, number: int) -> None:
        """Forget the keys."""
        await self._client(number).unpair()

    def services(self, number: int) -> list[pb.BluetoothGATTService]:
        """As they were found when the link was made."""
        return [
            pb.BluetoothGATTService(
                uuid=_halves(service.uuid),
                handle=service.handle,
                characteristics=[
                    pb.BluetoothGATTCharacteristic(
                        uuid=_halves(char.uuid),
                        handle=char.handle,
                        properties=int(cast("CharacteristicProxy[bytes]", char.obj).properties),
                        descriptors=[
                            pb.BluetoothGATTDescriptor(uuid=_halves(one.uuid), handle=one.handle)
                            for one in char.descriptors
                        ],
                    )
                    for char in service.characteristics
                ],
            )
            for service in self._tree(number)
        ]

    async def read(self, number: int, handle: int) -> bytes:
        """A characteristic's value. Raises BoardError."""
        return bytes(await self._attempt(number, handle, lambda client, char: client.read_gatt_char(char)))

    async def read_descriptor(self, number: int, handle: int) -> bytes:
        """A descriptor's value. Raises BoardError."""
        descriptor = self._tree(number).get_descriptor(handle)
        if descriptor is None:
            raise BoardError(_INVALID_HANDLE)
        try:
            return bytes(await self._client(number).read_gatt_descriptor(descriptor))
        except BleakError as error:
            raise BoardError(_code(error)) from error

    async def write(self, number: int, handle: int, data: bytes, *, response: bool) -> None:
        """Raises BoardError."""
        await self._attempt(number, handle, lambda client, char: client.write_gatt_char(char, data, response))

    async def subscribe(self, number: int, handle: int, heard: Callable[[bytes], None]) -> None:
        """What a board does in two steps, of which the second (the descriptor) is asked for by the client: both.

        Raises BoardError.
        """
        await self._attempt(
            number, handle, lambda client, char: client.start_notify(char, lambda data: heard(bytes(data)))
        )

    def descriptor_owner(self, number: int, handle: int) -> int | None:
        """The characteristic whose subscription this descriptor is; None: it is another descriptor."""
        descriptor = self._tree(number).get_descriptor(handle)
        if descriptor is None or uuid.UUID(descriptor.uuid).fields[0] != _CCCD:
            return None
        return descriptor.characteristic_handle

    async def _attempt(
        self, number: int, handle: int, operation: Callable[[BaseBleakClient, BleakGATTCharacteristic], Awaitable[T]]
    ) -> T:
        client = self._client(number)
        characteristic = self._tree(number).get_characteristic(handle)
        if characteristic is None:
            raise BoardError(_INVALID_HANDLE)
        try:
            return await operation(client, characteristic)
        except BleakError as error:
            raise BoardError(_code(error)) from error

    def _tree(self, number: int) -> BleakGATTServiceCollection:
        services = self._client(number).services
        if services is None:
            raise BoardError(_LINK_GONE)
        return services

    def _client(self, number: int) -> BaseBleakClient:
        client = self._clients.get(number)
        if client is None:
            raise BoardError(_LINK_GONE)
        return client


def _halves(text: str) -> list[int]:
    """A UUID as the API sends it: two numbers of 64 bits."""
    whole = uuid.UUID(text).int
    return [whole >> 64, whole & 0xFFFF_FFFF_FFFF_FFFF]


def _code(error: BleakError) -> int:
    return int(error.code) if isinstance(error, BleakGATTProtocolError) else _LINK_GONE
