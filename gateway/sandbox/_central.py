"""The listening side of the virtual air: one adapter, as a hub has one, shared by every scanner and client.

With it, what both sides need from bumble: hosts, controllers, and who answers when a bond is made.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping

from bumble import hci
from bumble.controller import Controller
from bumble.core import ConnectionError as LinkError
from bumble.device import Advertisement, Connection, Device, DeviceConfiguration
from bumble.keys import KeyStore
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport.common import Transport

__all__ = [
    "AdapterController",
    "Central",
    "Label",
    "bluetooth_address",
    "is_random_static",
    "make_device",
    "widen",
    "withdraw",
]

_ADDRESS = "F0:F1:F2:F3:F4:F5"
_EVENT_ADVERTISEMENT = "advertisement"
_ACL_OCTETS = 251
_CANCEL_S = 0.1
_RANDOM_STATIC = re.compile(r"[C-F][0-9A-F](:[0-9A-F]{2}){5}")


def bluetooth_address(address: hci.Address) -> str:
    """`AA:BB:CC:DD:EE:FF`, without bumble's mark for public addresses."""
    return str(address)[:17].upper()


def is_random_static(address: str) -> bool:
    """Whether `AA:BB:CC:DD:EE:FF` has its two highest bits set, as a random static address must."""
    return _RANDOM_STATIC.fullmatch(address) is not None


def widen(controller: Controller) -> Controller:
    """Let `controller` carry 251 octets in a packet instead of 27: fewer fragments, the same order."""
    controller.le_acl_data_packet_length = _ACL_OCTETS
    return controller


def make_device(controller: Controller | Transport, config: DeviceConfiguration, keystore: KeyStore) -> Device:
    """A bumble host on `controller`, here or at the other end of a transport, keeping its bonds in `keystore`."""
    if isinstance(controller, Transport):
        device = Device.from_config_with_hci(config, controller.source, controller.sink)
    else:
        device = Device.from_config_with_hci(config, controller, controller)
    device.keystore = keystore
    return device


def withdraw(controller: Controller | Transport) -> None:
    """Take `controller` off its link, if it is on one here; nothing is heard from it any more. Idempotent."""
    if isinstance(controller, Controller) and controller in controller.link.controllers:
        controller.link.remove_controller(controller)


class AdapterController(Controller):
    """The controller of a listening side.

    bumble's controller acknowledges a cancelled connection attempt and goes on with it; this one stops."""

    def on_hci_le_create_connection_cancel_command(
        self, _command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        if (pending := self.pending_le_connection) is not None:
            self.pending_le_connection = None
            self.send_hci_packet(
                hci.HCI_LE_Connection_Complete_Event(
                    status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                    connection_handle=0,
                    role=hci.Role.CENTRAL,
                    peer_address_type=pending.peer_address_type,
                    peer_address=pending.peer_address,
                    connection_interval=0,
                    peripheral_latency=0,
                    supervision_timeout=0,
                    central_clock_accuracy=0,
                )
            )
        return super().on_hci_le_create_connection_cancel_command(_command)


class _Typist(PairingDelegate):
    """Somebody at a keyboard who types what `passkeys` holds for that address."""

    def __init__(self, passkeys: Mapping[str, int], address: str) -> None:
        super().__init__(PairingDelegate.KEYBOARD_INPUT_ONLY)
        self._passkeys = passkeys
        self._address = address

    async def get_number(self) -> int | None:
        return self._passkeys.get(self._address)


class Label(PairingDelegate):
    """The six digits on a device's display; a device that has them refuses to bond without them."""

    def __init__(self, passkey: int | None) -> None:
        super().__init__(PairingDelegate.NO_OUTPUT_NO_INPUT if passkey is None else PairingDelegate.DISPLAY_OUTPUT_ONLY)
        self._passkey = passkey

    async def generate_passkey(self) -> int:
        return self._passkey or 0

    async def confirm(self, auto: bool = False) -> bool:
        return self._passkey is None


class Central:
    """The adapter. Powered on by its first use, inside the running loop.

    Attributes:
        askers: who answers while a person pairs the device of that address `AA:BB:CC:DD:EE:FF`; before the typists.
    """

    def __init__(
        self,
        adapter: Callable[[], Controller | Transport],
        keystore: KeyStore,
        passkeys: Mapping[str, int],
        address: str = _ADDRESS,
    ) -> None:
        """Make it, powered off.

        Args:
            adapter: its controller, made or reached when it is powered on.
            keystore: where its bonds are kept.
            passkeys: what a person would type, by address.
            address: its own, random static.
        """
        self._adapter = adapter
        self._address = address
        self._passkeys = passkeys
        self._keystore = keystore
        self._device: Device | None = None
        self._controller: Controller | Transport | None = None
        self._powering = asyncio.Lock()
        self._scanning = asyncio.Lock()
        self._connecting = asyncio.Lock()
        self._listeners: set[Callable[[Advertisement], None]] = set()
        self.askers: dict[str, PairingDelegate] = {}

    async def device(self) -> Device:
        """The bumble device, powered on."""
        async with self._powering:
            if self._device is None:
                self._controller = self._adapter()
                config = DeviceConfiguration(name="central", address=hci.Address(self._address))
                device = make_device(self._controller, config, self._keystore)
                device.pairing_config_factory = self._pairing_config
                await device.power_on()
                device.on(_EVENT_ADVERTISEMENT, self._heard)
                self._device = device
            return self._device

    def _pairing_config(self, connection: Connection) -> PairingConfig:
        address = bluetooth_address(connection.peer_address)
        if (asked := self.askers.get(address)) is not None:
            return PairingConfig(sc=True, mitm=True, bonding=True, delegate=asked)
        if address not in self._passkeys:
            return PairingConfig(sc=True, mitm=False, bonding=True)
        return PairingConfig(sc=True, mitm=True, bonding=True, delegate=_Typist(self._passkeys, address))

    def _heard(self, advertisement: Advertisement) -> None:
        for listener in tuple(self._listeners):
            listener(advertisement)

    async def listen(self, listener: Callable[[Advertisement], None]) -> None:
        """Call `listener` for every advertisement from now on."""
        device = await self.device()
        async with self._scanning:
            self._listeners.add(listener)
            if not device.is_scanning:
                await device.start_scanning(active=False, filter_duplicates=False)

    async def stop_listening(self, listener: Callable[[Advertisement], None]) -> None:
        """Idempotent; the radio rests when nobody listens."""
        async with self._scanning:
            self._listeners.discard(listener)
            if self._device is not None and not self._listeners and self._device.is_scanning:
                await self._device.stop_scanning()

    async def connect(self, address: hci.Address) -> Connection:
        """A new link to `address`; waits for its next advertisement, for as long as the caller allows.

        Cancelling leaves neither an attempt nor a link behind. One attempt at a time: others wait.
        """
        device = await self.device()
        async with self._connecting:
            # cancelled in the instant of success, bumble would leave a link that nobody knows: its call ends by itself
            attempt = asyncio.ensure_future(device.connect(address, timeout=None))
            try:
                return await asyncio.shield(attempt)
            except asyncio.CancelledError:
                while not attempt.done():
                    await device.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command())
                    await asyncio.wait([attempt], timeout=_CANCEL_S)
                if not attempt.cancelled():
                    attempt.exception()  # seen: that it was cancelled is what was wanted
                for link in self._links_to(device, address):
                    await link.disconnect()
                raise

    @staticmethod
    def _links_to(device: Device, address: hci.Address) -> list[Connection]:
        wanted = bluetooth_address(address)
        return [link for link in device.connections.values() if bluetooth_address(link.peer_address) == wanted]

    async def is_linked(self, address: hci.Address) -> bool:
        """Whether a link to `address` is up."""
        return bool(self._links_to(await self.device(), address))

    async def is_bonded(self, connection: Connection) -> bool:
        """Whether keys are held for the other end."""
        return await self._keystore.get(str(connection.peer_address)) is not None

    async def bonded(self) -> frozenset[str]:
        """Addresses of which keys are held."""
        return frozenset(name[:17].upper() for name, _ in await self._keystore.get_all())

    async def forget(self, address: str | None = None) -> None:
        """Lose the bond with `address` `AA:BB:CC:DD:EE:FF`; None: every bond."""
        for name, _ in await self._keystore.get_all():
            if address is None or name[:17].upper() == address.upper():
                await self._keystore.delete(name)

    async def close(self) -> None:
        """Drop every link, stop listening, power off. Idempotent; the next use powers on again."""
        device, controller = self._device, self._controller
        self._device = self._controller = None
        self._listeners.clear()
        if device is None or controller is None:
            return
        for link in tuple(device.connections.values()):
            try:
                await link.disconnect()
            except LinkError:
                continue  # the other end was quicker
        if device.is_scanning:
            await device.stop_scanning()
        await device.power_off()
        withdraw(controller)
