"""What nearly every device has beside what it measures: an advertisement, who it is, battery, clock, bonds.

Device Information 180A, Battery 180F, Current Time 1805, Bond Management 181E.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from bumble.att import ATT_Error
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection
from bumble.gatt import Characteristic, Service

from gateway.sandbox.frames import encode_current_time, encode_system_id
from gateway.sandbox.frames_device import (
    encode_battery_status,
    encode_bond_feature,
    encode_certifications,
    encode_pnp_id,
)
from gateway.sandbox.peripherals.clock import DeviceClock

__all__ = [
    "Identified",
    "advertising_data",
    "battery",
    "bond_management",
    "current_time",
    "device_information",
]

_FORGET_ME_LE, _CAN_FORGET_ME_LE, _BOND_OP_NOT_SUPPORTED = 0x03, 0x10, 0x80
_ADVERTISING_OCTETS = 31
_GENERAL_DISCOVERABLE = 0x06
_READ = Characteristic.Properties.READ
_WRITE = Characteristic.Properties.WRITE


class Identified(Protocol):
    """A device as these services see it; the texts are those of 180A."""

    address: str
    serial: str
    manufacturer: str
    model: str
    firmware: str
    hardware: str
    software: str
    battery_percent: int

    def characteristic(
        self,
        uuid: int | str,
        properties: Characteristic.Properties,
        value: bytes = b"",
        *,
        read: Callable[[Connection], bytes] | None = None,
        write: Callable[[Connection, bytes], None] | None = None,
        is_public: bool = False,
    ) -> Characteristic[bytes]:
        """See `VirtualPeripheral.characteristic`."""
        ...


def advertising_data(name: str, services: Sequence[int]) -> bytes:
    """Flags, the 16-bit UUIDs `services`, and `name`.

    Raises:
        ValueError: it does not fit into the 31 octets.
    """
    uuids = b"".join(uuid.to_bytes(2, "little") for uuid in services)
    structures = [
        (AdvertisingData.FLAGS, bytes((_GENERAL_DISCOVERABLE,))),
        (AdvertisingData.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS, uuids),
        (AdvertisingData.COMPLETE_LOCAL_NAME, name.encode()),
    ]
    data = bytes(AdvertisingData(structures))
    if len(data) > _ADVERTISING_OCTETS:
        raise ValueError(f"{name!r} is too long a name for an advertisement with {len(services)} services")
    return data


def device_information(device: Identified) -> Service:
    """Device Information 180A, which needs no bond."""
    texts = (
        (0x2A29, device.manufacturer),
        (0x2A24, device.model),
        (0x2A25, device.serial),
        (0x2A26, device.firmware),
        (0x2A27, device.hardware),
        (0x2A28, device.software),
    )
    values = [(uuid, text.encode()) for uuid, text in texts] + [
        (0x2A23, encode_system_id(device.address)),
        (0x2A50, encode_pnp_id(1, 0xFFFF, 1, 0x0100)),
        (0x2A2A, encode_certifications([(254, 1, b"\0\0")])),
    ]
    return Service(
        UUID.from_16_bits(0x180A), [device.characteristic(uuid, _READ, v, is_public=True) for uuid, v in values]
    )


def battery(device: Identified) -> Service:
    """Battery 180F with level and status, which needs no bond."""
    level = device.characteristic(
        0x2A19, _READ, read=lambda _connection: bytes((device.battery_percent,)), is_public=True
    )
    status = device.characteristic(
        0x2BED, _READ, read=lambda _connection: encode_battery_status(device.battery_percent), is_public=True
    )
    return Service(UUID.from_16_bits(0x180F), [level, status])


def current_time(device: Identified, clock: DeviceClock) -> Service:
    """Current Time Service 1805 with a settable 2A2B."""
    made = device.characteristic(
        0x2A2B,
        _READ | _WRITE,
        read=lambda _connection: encode_current_time(clock.now()),
        write=lambda _connection, value: clock.set_by(value),
    )
    return Service(UUID.from_16_bits(0x1805), [made])


def bond_management(device: Identified, bits: int, forget: Callable[[], None]) -> Service:
    """Bond Management 181E with the feature `bits`: `forget` is called for "forget me, over LE", where bit 4 is set."""

    def obey(_connection: Connection, value: bytes) -> None:
        if value != bytes((_FORGET_ME_LE,)) or not bits & _CAN_FORGET_ME_LE:
            raise ATT_Error(_BOND_OP_NOT_SUPPORTED)
        forget()

    feature = device.characteristic(0x2AA5, _READ, encode_bond_feature(bits))
    control = device.characteristic(0x2AA4, _WRITE, write=obey)
    return Service(UUID.from_16_bits(0x181E), [control, feature])
