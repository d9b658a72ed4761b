"""BTHome v2: what home-made and ESP devices put into the service data FCD2 of their advertisements.

    device information u8 (bit 0 encrypted, bit 2 sends when something happens, bits 5-7 version)
    | objects: identifier u8, value of a length that the identifier fixes; identifiers ascend
    encrypted: device information u8 | sealed objects | counter u32 | tag 4

The nonce of a sealed packet is the address, the service FCD2 as on the air, device information and counter.

An identifier that is not known ends the reading, because the length of its value is not known either.

Source: the BTHome project's published format, version 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gateway.devices._reader import FrameReader
from gateway.devices.sealed import TAG_OCTETS, Lock, opened
from gateway.errors import MalformedFrame
from gateway.model import Unit

__all__ = [
    "BTHOME_SERVICE",
    "BthomePacket",
    "SealedBthome",
    "is_bthome_encrypted",
    "open_bthome",
    "parse_bthome",
    "parse_sealed_bthome",
]

BTHOME_SERVICE: Final = "fcd2"
_ENCRYPTED, _TRIGGERED, _VERSION = 0x01, 0x04, 2
_PACKET_ID, _BATTERY, _MASS_KG, _MASS_LB, _VOLTAGE = 0x00, 0x01, 0x06, 0x07, 0x0C
_TEXT, _RAW = 0x53, 0x54
_SERVICE_ON_AIR: Final = b"\xd2\xfc"
_COUNTER_OCTETS: Final = 4
_STEP = Decimal("0.01")
_LENGTHS: Final = (
    dict.fromkeys((0x00, 0x01, 0x09, 0x2E, 0x2F, 0x46, 0x57, 0x58, 0x59, 0x60, 0x3A, 0x64), 1)
    | dict.fromkeys(range(0x0F, 0x12), 1)
    | dict.fromkeys(range(0x15, 0x2E), 1)
    | dict.fromkeys((0x02, 0x03, 0x06, 0x07, 0x08, 0x0C, 0x0D, 0x0E, 0x12, 0x13, 0x14, 0x3C, 0x3D, 0x3F, 0x40, 0x41), 2)
    | dict.fromkeys((0x43, 0x44, 0x45, 0x47, 0x48, 0x49, 0x4A, 0x51, 0x52, 0x56, 0x5A, 0x5D, 0x5E, 0x5F, 0x61, 0xF0), 2)
    | dict.fromkeys((0x04, 0x05, 0x0A, 0x0B, 0x42, 0x4B, 0xF2), 3)
    | dict.fromkeys((0x3E, 0x4C, 0x4D, 0x4E, 0x4F, 0x50, 0x55, 0x5B, 0x5C, 0x62, 0x63, 0xF1), 4)
)


@dataclass(frozen=True, slots=True)
class BthomePacket:
    """One advertisement.

    Attributes:
        is_triggered: it speaks when something happens, not at intervals.
        packet_id: 0..255, another one for each new content; None: it counts nothing.
        battery_percent: 0..100; None when not sent, or above 100.
        mass: in `mass_unit`, exact; None: none was sent.
        mass_unit: kg or lb.
        raw_mass: the word on the air; None likewise.
        voltage_v: None: not sent.
        unread: octets after the first identifier that is not known.
    """

    is_triggered: bool
    packet_id: int | None = None
    battery_percent: int | None = None
    mass: Decimal | None = None
    mass_unit: Unit = Unit.KG
    raw_mass: int | None = None
    voltage_v: Decimal | None = None
    unread: int = 0


def is_bthome_encrypted(service_data: bytes) -> bool:
    """Whether the device needs a key to be understood."""
    return bool(service_data) and bool(service_data[0] & _ENCRYPTED)


def parse_bthome(service_data: bytes) -> BthomePacket:
    """Decode the service data FCD2 of an unencrypted device.

    Of several objects with one identifier the first counts.

    Raises:
        MalformedFrame: empty, another version, encrypted, or an object that ends too early.
    """
    reader = FrameReader(service_data, "BTHome")
    information = reader.u8()
    if information >> 5 != _VERSION:
        raise MalformedFrame("BTHome: not version 2")
    if information & _ENCRYPTED:
        raise MalformedFrame("BTHome: encrypted, needs a key")
    return _packet(reader, is_triggered=bool(information & _TRIGGERED))


@dataclass(frozen=True, slots=True)
class SealedBthome:
    """An encrypted packet, still sealed.

    Attributes:
        information: device information, as sent.
        counter: 0..2**32-1, goes up with each packet.
        sealed: the encrypted objects and their tag.
    """

    information: int
    counter: int
    sealed: bytes


def parse_sealed_bthome(service_data: bytes) -> SealedBthome:
    """Take an encrypted packet apart, without its key.

    Raises:
        MalformedFrame: empty, another version, in the clear, or too short to hold anything.
    """
    reader = FrameReader(service_data, "BTHome")
    information = reader.u8()
    if information >> 5 != _VERSION:
        raise MalformedFrame("BTHome: not version 2")
    if not information & _ENCRYPTED:
        raise MalformedFrame("BTHome: in the clear, although the device has a key")
    ciphertext = reader.bytes(reader.remaining - _COUNTER_OCTETS - TAG_OCTETS)
    counter = reader.u32()
    return SealedBthome(information, counter, ciphertext + reader.bytes(TAG_OCTETS))


def open_bthome(packet: SealedBthome, lock: Lock) -> BthomePacket | None:
    """The content of an encrypted packet; None: the key does not fit.

    Raises:
        MalformedFrame: it opens, and an object in it ends too early.
    """
    nonce = lock.octets + _SERVICE_ON_AIR + bytes((packet.information,)) + packet.counter.to_bytes(4, "little")
    objects = opened(lock, nonce, packet.sealed)
    if objects is None:
        return None
    return _packet(FrameReader(objects, "BTHome"), is_triggered=bool(packet.information & _TRIGGERED))


def _packet(reader: FrameReader, *, is_triggered: bool) -> BthomePacket:
    objects: dict[int, int] = {}
    unread = 0
    while reader.remaining:
        identifier = reader.u8()
        if identifier in (_TEXT, _RAW):
            reader.bytes(reader.u8())
            continue
        length = _LENGTHS.get(identifier)
        if length is None:
            unread = 1 + reader.remaining
            break
        objects.setdefault(identifier, int.from_bytes(reader.bytes(length), "little"))
    battery = objects.get(_BATTERY)
    raw_kg, raw_lb = objects.get(_MASS_KG), objects.get(_MASS_LB)
    raw_mass = raw_lb if raw_kg is None else raw_kg
    millivolts = objects.get(_VOLTAGE)
    return BthomePacket(
        is_triggered=is_triggered,
        packet_id=objects.get(_PACKET_ID),
        battery_percent=battery if battery is not None and battery <= 100 else None,
        mass=None if raw_mass is None else raw_mass * _STEP,
        mass_unit=Unit.LB if raw_kg is None and raw_lb is not None else Unit.KG,
        raw_mass=raw_mass,
        voltage_v=None if millivolts is None else Decimal(millivolts).scaleb(-3),
        unread=unread,
    )
