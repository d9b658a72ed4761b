"""The board: its TCP port, one client at a time, and what each message of the API does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aioesphomeapi import api_pb2 as pb
from bumble.device import Advertisement
from bumble.hci import Address
from google.protobuf.message import Message

from gateway.sandbox._bleak import CentralBleakClient
from gateway.sandbox._central import bluetooth_address
from gateway.sandbox.esphome_proxy.links import BoardError, Links
from gateway.sandbox.esphome_proxy.wire import ClearWire, NoiseWire, Wire, WireError
from gateway.sandbox.radio import Errands, VirtualAir

__all__ = ["VirtualProxy"]

_PASSIVE, _ACTIVE, _CACHING, _PAIRING, _CLEARING, _RAW, _MODE = (1 << bit for bit in range(7))
_ALL = _PASSIVE | _ACTIVE | _CACHING | _PAIRING | _CLEARING | _RAW | _MODE
_ADDRESS = "F2:F1:F2:F3:F4:01"
_PAIR, _UNPAIR, _CONNECT, _DISCONNECT, _CLEAR = 2, 3, (4, 5), 1, 6
_NUMBERS: dict[type[Message], int] = {
    pb.HelloRequest: 1, pb.HelloResponse: 2, pb.AuthenticationRequest: 3, pb.AuthenticationResponse: 4,
    pb.DisconnectRequest: 5, pb.DisconnectResponse: 6, pb.PingRequest: 7, pb.PingResponse: 8,
    pb.DeviceInfoRequest: 9, pb.DeviceInfoResponse: 10, pb.SubscribeBluetoothLEAdvertisementsRequest: 66,
    pb.BluetoothDeviceRequest: 68, pb.BluetoothDeviceConnectionResponse: 69, pb.BluetoothGATTGetServicesRequest: 70,
    pb.BluetoothGATTGetServicesResponse: 71, pb.BluetoothGATTGetServicesDoneResponse: 72,
    pb.BluetoothGATTReadRequest: 73, pb.BluetoothGATTReadResponse: 74, pb.BluetoothGATTWriteRequest: 75,
    pb.BluetoothGATTReadDescriptorRequest: 76, pb.BluetoothGATTWriteDescriptorRequest: 77,
    pb.BluetoothGATTNotifyRequest: 78, pb.BluetoothGATTNotifyDataResponse: 79,
    pb.SubscribeBluetoothConnectionsFreeRequest: 80, pb.BluetoothConnectionsFreeResponse: 81,
    pb.BluetoothGATTErrorResponse: 82, pb.BluetoothGATTWriteResponse: 83, pb.BluetoothGATTNotifyResponse: 84,
    pb.BluetoothDevicePairingResponse: 85, pb.BluetoothDeviceUnpairingResponse: 86,
    pb.UnsubscribeBluetoothLEAdvertisementsRequest: 87, pb.BluetoothDeviceClearCacheResponse: 88,
    pb.BluetoothLERawAdvertisementsResponse: 93, pb.BluetoothScannerStateResponse: 126,
    pb.BluetoothScannerSetModeRequest: 127,
}  # fmt: skip
_TYPES = {number: kind for kind, number in _NUMBERS.items()}


class VirtualProxy:
    """A board on `air`.

    Args:
        key: encryption key (base64 of 32 octets); None: no encryption.
        slots: connections at once.
        rssi_dbm: how strongly it hears everybody.
        features: bits of the API's BluetoothProxyFeature.

    Attributes:
        port: where it listens; stays over restarts.
        connections: how many clients have come so far.
        asked: types of the requests that came, in order.
        deaf_to: how many wishes to be told packets are passed over, as if another client were served.
        was_cut: set once `cut_after` has struck.
    """

    def __init__(
        self,
        air: VirtualAir,
        name: str = "kitchen",
        *,
        key: str | None = None,
        slots: int = 3,
        rssi_dbm: int = -60,
        features: int = _ALL,
        address: str = _ADDRESS,
    ) -> None:
        self.port = 0
        self.connections = 0
        self.asked: list[str] = []
        self.deaf_to = 0
        self._name = name
        self._key = key
        self._rssi = rssi_dbm
        self._features = features
        self._address = address
        self._central = air.central(address)
        backend = type("BoardClient", (CentralBleakClient,), {"central": self._central})
        self._links = Links(backend, slots, self._down)
        self._server: asyncio.Server | None = None
        self._errands = Errands()
        self._wire: Wire | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._wants_slots = False
        self._frames_left: int | None = None
        self.was_cut = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self._central.close()

    async def start(self) -> None:
        """Take clients; may be called again after `stop()`, and listens on the same port then."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut_after(self, frames: int) -> None:
        """Lose power after that many notifications have been passed on; then `stop()` and `start()` make it whole."""
        self._frames_left = frames

    async def stop(self) -> None:
        """As when the plug is pulled: the client's connection and every link end. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        if self._writer is not None:
            self._writer.transport.abort()
        await self._errands.close()
        await self._let_go()
        if server is not None:
            await server.wait_closed()

    async def _let_go(self) -> None:
        """What a board does when its client has gone."""
        self._wire = self._writer = None
        self._wants_slots = False
        await self._central.stop_listening(self._heard)
        await self._links.close()

    # --- the client ---------------------------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._errands.start(self._serve(reader, writer), name="proxy.client")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        wire = ClearWire(reader, writer) if self._key is None else NoiseWire(reader, writer, self._key, self._name)
        self._writer, self._wire = writer, wire
        try:
            await wire.greet()
            while True:
                number, octets = await wire.read()
                if (kind := _TYPES.get(number)) is not None:
                    request = kind.FromString(octets)
                    self.asked.append(kind.__name__)
                    if not await self._obey(request):
                        break
        except (WireError, EOFError, OSError):
            pass  # the next client is welcome
        finally:
            if self._writer is writer:
                await self._let_go()
            writer.close()

    def _say(self, message: Message) -> None:
        if self._wire is not None:
            self._wire.write(_NUMBERS[type(message)], message.SerializeToString())

    async def _obey(self, request: Any) -> bool:
        """Whether the conversation goes on. Requests for devices run beside each other, as on the board."""
        match request:
            case pb.HelloRequest():
                self._say(pb.HelloResponse(api_version_major=1, api_version_minor=10, name=self._name))
            case pb.AuthenticationRequest():
                self._say(pb.AuthenticationResponse())
            case pb.PingRequest():
                self._say(pb.PingResponse())
            case pb.DisconnectRequest():
                self._say(pb.DisconnectResponse())
                return False
            case pb.DeviceInfoRequest():
                self._say(
                    pb.DeviceInfoResponse(
                        name=self._name,
                        mac_address=self._address,
                        bluetooth_mac_address=self._address,
                        esphome_version="2025.9.0",
                        bluetooth_proxy_feature_flags=self._features,
                        api_encryption_supported=self._key is not None,
                    )
                )
            case pb.SubscribeBluetoothLEAdvertisementsRequest() if self.deaf_to > 0:
                self.deaf_to -= 1
            case pb.SubscribeBluetoothLEAdvertisementsRequest():
                await self._central.listen(self._heard)
                self._say(pb.BluetoothScannerStateResponse(state=2, mode=1, configured_mode=1))
            case pb.UnsubscribeBluetoothLEAdvertisementsRequest():
                await self._central.stop_listening(self._heard)
            case pb.SubscribeBluetoothConnectionsFreeRequest():
                self._wants_slots = True
                self._tell_slots()
            case pb.BluetoothDeviceRequest():
                self._errands.start(self._device(request), name="proxy.device")
            case pb.BluetoothGATTGetServicesRequest():
                self._errands.start(self._services(request), name="proxy.services")
            case _ if (work := self._gatt(request)) is not None:
                self._errands.start(self._guarded(request, work), name="proxy.gatt")
        return True

    def _heard(self, advertisement: Advertisement) -> None:
        is_public = advertisement.address.address_type == Address.PUBLIC_DEVICE_ADDRESS
        packet = pb.BluetoothLERawAdvertisement(
            address=int(bluetooth_address(advertisement.address).replace(":", ""), 16),
            rssi=self._rssi,
            address_type=0 if is_public else 1,
            data=bytes(advertisement.data),
        )
        self._say(pb.BluetoothLERawAdvertisementsResponse(advertisements=[packet]))

    # --- devices ------------------------------------------------------------------------------------------------

    def _tell_slots(self) -> None:
        if self._wants_slots:
            used = self._links.devices
            limit = self._links.limit
            self._say(pb.BluetoothConnectionsFreeResponse(free=limit - len(used), limit=limit, allocated=used))

    def _down(self, number: int) -> None:
        self._say(pb.BluetoothDeviceConnectionResponse(address=number, connected=False))
        self._tell_slots()

    async def _device(self, request: pb.BluetoothDeviceRequest) -> None:
        number, kind = request.address, int(request.request_type)
        try:
            if kind in _CONNECT:
                work = asyncio.ensure_future(self._links.connect(number, request.address_type))
                self._tell_slots()
                mtu = await work
                self._say(pb.BluetoothDeviceConnectionResponse(address=number, connected=True, mtu=mtu))
            elif kind == _DISCONNECT:
                was_there = number in self._links.devices
                await self._links.disconnect(number)
                if not was_there:
                    self._down(number)
            elif kind == _PAIR:
                error = await self._links.pair(number)
                self._say(pb.BluetoothDevicePairingResponse(address=number, paired=not error, error=error))
            elif kind == _UNPAIR:
                await self._links.unpair(number)
                self._say(pb.BluetoothDeviceUnpairingResponse(address=number, success=True))
            elif kind == _CLEAR:
                self._say(pb.BluetoothDeviceClearCacheResponse(address=number, success=True))
        except BoardError as error:
            self._say(pb.BluetoothDeviceConnectionResponse(address=number, connected=False, error=error.code))
            self._tell_slots()

    async def _services(self, request: pb.BluetoothGATTGetServicesRequest) -> None:
        try:
            services = self._links.services(request.address)
        except BoardError as error:
            self._say(pb.BluetoothGATTErrorResponse(address=request.address, error=error.code))
            return
        for service in services:
            self._say(pb.BluetoothGATTGetServicesResponse(address=request.address, services=[service]))
        self._say(pb.BluetoothGATTGetServicesDoneResponse(address=request.address))

    async def _guarded(self, request: Any, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except BoardError as error:
            self._say(pb.BluetoothGATTErrorResponse(address=request.address, handle=request.handle, error=error.code))

    def _gatt(self, request: Any) -> Callable[[], Awaitable[None]] | None:
        number, handle, links = getattr(request, "address", 0), getattr(request, "handle", 0), self._links

        async def read() -> None:
            data = await links.read(number, handle)
            self._say(pb.BluetoothGATTReadResponse(address=number, handle=handle, data=data))

        async def read_descriptor() -> None:
            data = await links.read_descriptor(number, handle)
            self._say(pb.BluetoothGATTReadResponse(address=number, handle=handle, data=data))

        async def write() -> None:
            await links.write(number, handle, request.data, response=request.response)
            if request.response:
                self._say(pb.BluetoothGATTWriteResponse(address=number, handle=handle))

        async def write_descriptor() -> None:
            owner = links.descriptor_owner(number, handle)
            if owner is None:
                raise BoardError(0x03)  # write not permitted
            await links.subscribe(number, owner, lambda data: self._notified(number, owner, data))
            self._say(pb.BluetoothGATTWriteResponse(address=number, handle=handle))

        async def notify() -> None:
            self._say(pb.BluetoothGATTNotifyResponse(address=number, handle=handle))

        return {
            pb.BluetoothGATTReadRequest: read,
            pb.BluetoothGATTReadDescriptorRequest: read_descriptor,
            pb.BluetoothGATTWriteRequest: write,
            pb.BluetoothGATTWriteDescriptorRequest: write_descriptor,
            pb.BluetoothGATTNotifyRequest: notify,
        }.get(type(request))

    def _notified(self, number: int, handle: int, data: bytes) -> None:
        if self._frames_left is not None:
            if self._frames_left == 0:
                self._frames_left = None
                self._lose_power()
                return
            self._frames_left -= 1
        self._say(pb.BluetoothGATTNotifyDataResponse(address=number, handle=handle, data=data))

    def _lose_power(self) -> None:
        self._wire = None
        if self._server is not None:
            self._server.close()
        if self._writer is not None:
            self._writer.close()  # what was passed on still arrives
        self.was_cut.set()
