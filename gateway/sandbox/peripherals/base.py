"""What every virtual device shares: power, advertising, bonding, one link at a time, sending."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bumble.att import ATT_Handle_Value_Indication, Attribute, AttributeValue
from bumble.controller import Controller
from bumble.core import UUID, BaseBumbleError
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR, Characteristic, Descriptor, Service
from bumble.gatt_server import Server
from bumble.hci import Address, HCI_Error
from bumble.keys import MemoryKeyStore
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport.common import Transport

from gateway.sandbox._central import Label, is_random_static, make_device, withdraw
from gateway.sandbox.peripherals.clock import DeviceClock
from gateway.sandbox.peripherals.common_services import (
    advertising_data,
    battery,
    bond_management,
    current_time,
    device_information,
)
from gateway.sandbox.radio import Errands, VirtualAir

__all__ = [
    "ATT_CCCD_IMPROPERLY_CONFIGURED",
    "ATT_INVALID_LENGTH",
    "ATT_PROCEDURE_IN_PROGRESS",
    "VirtualPeripheral",
]

ATT_INVALID_LENGTH = 0x0D
ATT_CCCD_IMPROPERLY_CONFIGURED = 0xFD
ATT_PROCEDURE_IN_PROGRESS = 0xFE
_ATT_TIMEOUT_S = 30
_PASSKEYS = 1_000_000
_NOTIFY = Characteristic.Properties.NOTIFY
_INDICATE = Characteristic.Properties.INDICATE
_PERMISSIONS = Attribute.Permissions

_Write = Callable[[Connection, bytes], None]
_Read = Callable[[Connection], bytes]


class VirtualPeripheral(abc.ABC):
    """A device that advertises, bonds, and lets itself be read; one client at a time.

    Attributes:
        address, name, serial: as given.
        manufacturer, model, firmware, hardware, software, battery_percent: as read from 180A and 180F; set before
            `start()`.
        bond_feature: bits of 2AA5, of which bit 4 (forget who asks, over LE) is obeyed; None: no service 181E.
        advertising_interval_ms: set before `start()`.
        max_mtu: largest ATT MTU it agrees to, 23..517; set before `start()`.
        log: control point and clock writes as they came: (16-bit UUID as `2a52`, value).
        delegate: who answers on the device's side when a bond is made; None: its passkey, or nobody (Just Works).
        stays_awake: whether it advertises again after a link ends.
        wakes_at_start: False: it is switched on asleep, until somebody uses it.
        connections: how many links it has had.
    """

    manufacturer = "Passerelle Virtual Devices"
    model = "VD-1"
    firmware = "1.0"
    advertising_interval_ms = 50
    hardware = "A"
    software = "1.0.0"
    bond_feature: int | None = None

    def __init__(
        self,
        air: VirtualAir,
        address: str,
        name: str,
        serial: str,
        *,
        passkey: int | None = None,
        secure: bool = True,
    ) -> None:
        """Make the device, powered off.

        Args:
            air: where it lives.
            address: random static, `AA:BB:CC:DD:EE:FF` with the two highest bits set (first octet C0..FF).
            name: local name, at most 29 octets less what the service UUIDs need.
            passkey: six digits on its display, 0..999999; None: Just Works.
            secure: False: nothing needs a bond (quick tests).

        Raises:
            ValueError: not such an address.
        """
        if not is_random_static(address):
            raise ValueError(f"{address} is not a random static address (C0:... to FF:...)")
        self.address = address
        self.name = name
        self.serial = serial
        self.battery_percent = 90
        self.max_mtu = 517
        self.log: list[tuple[str, bytes]] = []
        self.delegate: PairingDelegate | None = None
        self.stays_awake = True
        self.wakes_at_start = True
        self.connections = 0
        self._air = air
        self._passkey = passkey
        self._lies_about_passkey = False
        self._secure = secure
        self._keystore = MemoryKeyStore()
        self._device: Device | None = None
        self._controller: Controller | Transport | None = None
        self._connection: Connection | None = None
        self._link_lost: asyncio.Future[None]
        self._is_awake = False
        self._is_leaving = False
        self._connected = asyncio.Event()
        self._disconnected = asyncio.Event()
        self._disconnected.set()
        self._radio_lock = asyncio.Lock()
        self._indicating = asyncio.Lock()
        self._procedures = Errands()
        self._housekeeping = Errands()

    # What a device kind adds

    @abc.abstractmethod
    def services(self) -> list[Service]:
        """The services of this kind of device; called at each `start()`."""

    @property
    @abc.abstractmethod
    def advertised(self) -> Sequence[int]:
        """16-bit UUIDs in the advertisement."""

    @abc.abstractmethod
    def link_ended(self) -> None:
        """The client has gone; nothing that a running procedure still wants to send goes out."""

    def contact_begins(self) -> None:
        """A client has connected."""
        self.connections += 1

    async def contact_ended(self) -> None:
        """The client has gone: be heard again, if awake."""
        await self._advertise()

    @property
    def _shown_passkey(self) -> int | None:
        if self._passkey is None or not self._lies_about_passkey:
            return self._passkey
        return (self._passkey + 1) % _PASSKEYS

    # Power

    async def start(self) -> None:
        """Power on, and wake if `wakes_at_start`. Must be called inside the running loop that will use it."""
        if self._device is not None:
            return
        config = DeviceConfiguration(
            name=self.name,
            address=Address(self.address, Address.RANDOM_DEVICE_ADDRESS),
            advertising_interval_min=self.advertising_interval_ms,
            advertising_interval_max=self.advertising_interval_ms,
        )
        self._controller = self._air.controller(self.name)
        device = make_device(self._controller, config, self._keystore)
        device.pairing_config_factory = lambda _connection: PairingConfig(
            sc=True,
            mitm=self._passkey is not None or self.delegate is not None,
            bonding=True,
            delegate=self.delegate or Label(self._shown_passkey),
        )
        device.advertising_data = self._advertising_data()
        device.gatt_server.max_mtu = self.max_mtu
        self._device = device
        device.add_services([*self.services(), *self._bonds(), device_information(self), self._battery()])
        device.on(device.EVENT_CONNECTION, self._on_connection)
        await device.power_on()
        self._air.settle(self)
        if self.wakes_at_start:
            await self.wake()

    async def stop(self) -> None:
        """Disconnect, power off, leave the air. Idempotent; bonds and memory stay, `start()` may follow."""
        device, controller = self._device, self._controller
        if device is None or controller is None:
            return
        self._is_awake = False
        try:
            await self.drop_link()
            await self._procedures.close()
            await self._housekeeping.close()
        finally:
            async with self._radio_lock:
                self._device = None
                await device.stop_advertising()
            await device.power_off()
            withdraw(controller)
            self._air.leave(self)

    async def wake(self) -> None:
        """Advertise until `sleep()`; while a link is up, once it has ended."""
        self._is_awake = True
        await self._advertise()

    async def sleep(self) -> None:
        """Stop advertising; an open link stays."""
        self._is_awake = False
        async with self._radio_lock:
            if self._device is not None:
                await self._device.stop_advertising()

    async def _advertise(self) -> None:
        async with self._radio_lock:
            device = self._device
            if device is not None and self._is_awake and self._connection is None and not device.is_advertising:
                await device.start_advertising(auto_restart=False)

    async def drop_link(self) -> None:
        """End the link from the device's side, if there is one; what was sent before still arrives."""
        if (connection := self._connection) is not None:
            self._is_leaving = True
            await self.flush()
            try:
                await connection.disconnect()
            except (BaseBumbleError, HCI_Error):
                await self._disconnected.wait()  # the other end was quicker

    async def forget_bonds(self) -> None:
        """Lose the keys, as after a battery change."""
        for name, _ in await self._keystore.get_all():
            await self._keystore.delete(name)

    @property
    def is_connected(self) -> bool:
        """Whether a client is connected."""
        return self._connection is not None

    @property
    def payload_octets(self) -> int:
        """The most that one notification can carry on the present link."""
        return (self._connection.att_mtu if self._connection is not None else 23) - 3

    @property
    def is_bonded(self) -> bool:
        """Whether it keeps keys of a client."""
        return bool(self._keystore.all_keys)

    async def wait_connected(self) -> None:
        """Until a client is connected."""
        await self._connected.wait()

    async def wait_disconnected(self) -> None:
        """Until no client is connected."""
        await self._disconnected.wait()

    async def wait_at_rest(self) -> None:
        """Until no client is connected and what follows a contact has been done."""
        await self._disconnected.wait()
        await self._housekeeping.finished()

    def _on_connection(self, connection: Connection) -> None:
        self._procedures.cancel()  # leftovers of the link before
        self._link_lost = asyncio.get_running_loop().create_future()
        self._connection = connection
        connection.on(connection.EVENT_DISCONNECTION, self._on_disconnection)
        self._disconnected.clear()
        self.contact_begins()
        self._connected.set()

    def leave_soon(self) -> None:
        """End the link, if there is still one, in the background; nothing more is sent on it from now on."""
        if self._connection is None:
            return
        self._is_leaving = True
        self._housekeeping.start(self.drop_link(), name=f"{self.name}.drop_link")

    def _on_disconnection(self, _reason: int) -> None:
        self._connection = None
        self._is_leaving = False
        self._link_lost.set_result(None)
        self._connected.clear()
        self._disconnected.set()
        self._is_awake = self._is_awake and self.stays_awake
        self.link_ended()
        self._housekeeping.start(self.contact_ended(), name=f"{self.name}.contact_ended")

    # Building blocks for device kinds

    def characteristic(
        self,
        uuid: int | str,
        properties: Characteristic.Properties,
        value: bytes = b"",
        *,
        read: _Read | None = None,
        write: _Write | None = None,
        is_public: bool = False,
    ) -> Characteristic[bytes]:
        """A characteristic that needs the bond this device asks for, unless `is_public`. `uuid`: 16 bits, or full text.

        Writes through `write` are logged before they are obeyed; either function may raise ATT_Error.
        """
        permissions = _PERMISSIONS.READABLE | _PERMISSIONS.WRITEABLE
        if self._secure and not is_public:
            permissions |= _PERMISSIONS.READ_REQUIRES_ENCRYPTION | _PERMISSIONS.WRITE_REQUIRES_ENCRYPTION
            if self._passkey is not None:
                permissions |= _PERMISSIONS.READ_REQUIRES_AUTHENTICATION | _PERMISSIONS.WRITE_REQUIRES_AUTHENTICATION
        content: bytes | AttributeValue[bytes] = value
        if read is not None or write is not None:
            content = AttributeValue(read=read or (lambda _: value), write=self._logged(uuid, write))
        made: Characteristic[bytes] = Characteristic(
            UUID.from_16_bits(uuid) if isinstance(uuid, int) else UUID(uuid), properties, permissions, content
        )
        if self._device is not None and properties & (_NOTIFY | _INDICATE):
            server = self._device.gatt_server
            made.descriptors = [
                Descriptor(
                    GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR,
                    permissions,
                    server.make_descriptor_value(made),
                )
            ]
        return made

    def _logged(self, uuid: int | str, write: _Write | None) -> _Write:
        def logged(connection: Connection, value: bytes) -> None:
            self.log.append((f"{uuid:04x}" if isinstance(uuid, int) else uuid, bytes(value)))
            if write is not None:
                write(connection, bytes(value))

        return logged

    def current_time(self, clock: DeviceClock) -> Service:
        """Current Time Service 1805 with a settable 2A2B."""
        return current_time(self, clock)

    def _battery(self) -> Service:
        """180F; a stand-in for an odd device may answer in its own way."""
        return battery(self)

    def _bonds(self) -> list[Service]:
        """Bond Management 181E, where `bond_feature` says so."""
        bits = self.bond_feature
        return [] if bits is None else [bond_management(self, bits, self._forget_soon)]

    def _forget_soon(self) -> None:
        self._housekeeping.start(self._forget_and_leave(), name=f"{self.name}.forget")

    async def _forget_and_leave(self) -> None:
        await self.forget_bonds()
        await self.drop_link()

    def _advertising_data(self) -> bytes:
        return advertising_data(self.name, self.advertised)

    def procedure(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work` in the background; it must end by itself once `send` returns False."""
        return self._procedures.start(work, name=f"{self.name}.{name}")

    def is_subscribed(self, characteristic: Characteristic[bytes]) -> bool:
        """Whether the client has switched on notifications or indications of `characteristic`."""
        if self._device is None or self._connection is None:
            return False
        state = self._device.gatt_server.subscribers.get(self._connection, {}).get(characteristic.handle, b"\x00\x00")
        return bool(state[0] & 0x03)

    async def send(self, characteristic: Characteristic[bytes], value: bytes) -> bool:
        """Notify or indicate `value` to the client; for an indication, wait until it is confirmed.

        Returns whether it went out: False when nobody is connected or subscribed, or the link is being closed.
        """
        device, connection = self._device, self._connection
        if device is None or connection is None or self._is_leaving or not self.is_subscribed(characteristic):
            return False
        if characteristic.properties & _INDICATE:
            return await self._indicate(device.gatt_server, connection, characteristic, value)
        await device.notify_subscriber(connection, characteristic, value)
        return self._connection is connection

    async def _indicate(
        self, server: Server, connection: Connection, characteristic: Characteristic[bytes], value: bytes
    ) -> bool:
        """Whether the client confirmed; decided by what arrived, even when the link ended in the same instant.

        bumble's own call would wait out its timeout when the link is lost.
        """
        async with self._indicating:
            if self._connection is not connection or self._is_leaving:
                return False
            confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            server.pending_confirmations[connection] = confirmed
            indication = ATT_Handle_Value_Indication(attribute_handle=characteristic.handle, attribute_value=value)
            server.send_gatt_pdu(connection, bytes(indication))
            try:
                await asyncio.wait(
                    {confirmed, self._link_lost}, timeout=_ATT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                server.pending_confirmations.pop(connection, None)
            return confirmed.done()

    async def flush(self) -> None:
        """Until everything sent so far has left the device."""
        device, connection = self._device, self._connection
        if device is None or connection is None:
            return
        queue = device.host.get_data_packet_queue(connection.handle)
        if queue is not None and queue.pending:
            await queue.drain(connection.handle)
