"""A virtual device that nobody connects to: it only tells everybody its service data, which may change meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from bumble.core import AdvertisingData
from bumble.device import Device, DeviceConfiguration
from bumble.hci import Address
from bumble.keys import MemoryKeyStore

from gateway.sandbox._central import is_random_static, make_device, withdraw
from gateway.sandbox.broadcast_frames import encode_mi_body_composition, encode_mi_scale
from gateway.sandbox.radio import VirtualAir

__all__ = ["VirtualBroadcaster", "xiaomi_weigh_in"]

_INTERVAL_MS = 20
_FLAGS = bytes((0x06,))
_ADVERTISING_OCTETS, _OVERHEAD_OCTETS = 31, 9
"""Flags, and what stands before service data and name."""


class VirtualBroadcaster:
    """Advertises `name` and the service data that it was last given, again and again.

    Attributes:
        address, name, service: as given.
        payload: what it tells now; None: it is silent.
    """

    def __init__(self, air: VirtualAir, address: str, name: str, service: int) -> None:
        """Make the device, powered off.

        Args:
            air: where it lives.
            address: random static, `AA:BB:CC:DD:EE:FF` with the two highest bits set (first octet C0..FF).
            name: local name; as much of it is told as fits beside the payload, 9 octets beside the longest.
            service: 16-bit UUID of its service data.

        Raises:
            ValueError: not such an address.
        """
        if not is_random_static(address):
            raise ValueError(f"{address} is not a random static address (C0:... to FF:...)")
        self.address = address
        self.name = name
        self.service = service
        self.payload: bytes | None = None
        self._air = air
        self._device: Device | None = None
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Power on, silent."""
        if self._device is not None:
            return
        config = DeviceConfiguration(
            name=self.name,
            address=Address(self.address, Address.RANDOM_DEVICE_ADDRESS),
            advertising_interval_min=_INTERVAL_MS,
            advertising_interval_max=_INTERVAL_MS,
        )
        self._controller = self._air.controller(self.name)
        self._device = make_device(self._controller, config, MemoryKeyStore())
        await self._device.power_on()
        self._air.settle(self)

    async def stop(self) -> None:
        """Power off, leave the air. Idempotent."""
        async with self._lock:
            device, self._device = self._device, None
            if device is None:
                return
            await device.stop_advertising()
            await device.power_off()
            withdraw(self._controller)
            self._air.leave(self)

    async def tell(self, payload: bytes) -> None:
        """Advertise `payload` from now on."""
        async with self._lock:
            device = self._device
            if device is None:
                return
            await device.stop_advertising()
            self.payload = payload
            uuid = self.service.to_bytes(2, "little")
            room, name = _ADVERTISING_OCTETS - _OVERHEAD_OCTETS - len(payload), self.name.encode()
            how = AdvertisingData.COMPLETE_LOCAL_NAME if len(name) <= room else AdvertisingData.SHORTENED_LOCAL_NAME
            told = [(AdvertisingData.FLAGS, _FLAGS), (AdvertisingData.SERVICE_DATA_16_BIT_UUID, uuid + payload)]
            if room > 0:
                told.append((how, name[:room]))
            device.advertising_data = bytes(AdvertisingData(told))
            await device.start_advertising(auto_restart=False)

    async def tell_each(self, payloads: Iterable[bytes], *, pause_s: float = 0.06) -> None:
        """One after the other, each for `pause_s`: long enough to be heard, as a scale changes its payload."""
        for payload in payloads:
            await self.tell(payload)
            await asyncio.sleep(pause_s)

    async def weigh(self, mass_kg: Decimal, stamp: datetime | None, *, impedance_ohm: int | None = None) -> None:
        """A whole weigh-in of a Xiaomi scale."""
        await self.tell_each(xiaomi_weigh_in(self.service, mass_kg, stamp, impedance_ohm))


def xiaomi_weigh_in(
    service: int, mass_kg: Decimal, stamp: datetime | None, impedance_ohm: int | None = None
) -> list[bytes]:
    """What a Xiaomi scale tells of a weigh-in: unsettled, settled, the impedance if it is 0x181B, load removed."""
    if service == 0x181D:
        return [
            encode_mi_scale(mass_kg / 2, stamp, is_stable=False),
            encode_mi_scale(mass_kg, stamp),
            encode_mi_scale(mass_kg, stamp, is_removed=True),
        ]
    return [
        encode_mi_body_composition(mass_kg / 2, stamp, is_stable=False),
        encode_mi_body_composition(mass_kg, stamp),
        encode_mi_body_composition(mass_kg, stamp, impedance_ohm=impedance_ohm),
        encode_mi_body_composition(mass_kg, stamp, impedance_ohm=impedance_ohm, is_removed=True),
    ]
