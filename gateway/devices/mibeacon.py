"""MiBeacon 4 and 5: what newer Xiaomi scales put, encrypted, into the service data FE95 of their advertisements.

    frame control u16 | product u16 | frame counter u8 | [address 6] | [capability 1 or 2]
    | sealed objects | extended counter 3 | tag 4

    object: type u16 | length u8 | value
    6E16 (S400): profile u8 | word u32 | time u32; word: bits 0-10 mass in 0.1 kg, 11-17 heart rate less 50,
        18-31 impedance in 0.1 ohm
    4E16 (S200): profile u8 | mass u32 in 0.01 kg | time u32

Frame control: bit 3 encrypted, 4 address, 5 capability, 6 objects, 7 mesh, 12-15 version. The nonce is the address,
last octet first, product, frame counter and extended counter; the octet 11 is authenticated beside the payload. Frame
counter and extended counter are one number of 32 bits: the extended one counts the overflows of the other.

A weigh-in of an S400 is two packets with one time: mass, heart rate and the impedance at 50 kHz, then the impedance at
250 kHz without a mass. All zero: nobody stands there any more.

Sources: Xiaomi's MiBeacon protocol for Bluetooth access devices; the objects as the packages xiaomi-ble 1.21 and
openScale read them, with captured frames of both scales in their public tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from gateway.devices._reader import FrameReader
from gateway.devices.sealed import TAG_OCTETS, Lock, opened
from gateway.errors import MalformedFrame

__all__ = [
    "MIBEACON_SERVICE",
    "S200_PRODUCTS",
    "S400_PRODUCTS",
    "MiBeacon",
    "MiWeighIn",
    "is_mibeacon_scale",
    "open_mibeacon",
    "parse_mi_weigh_in",
    "parse_mibeacon",
]

MIBEACON_SERVICE: Final = "fe95"
S400_PRODUCTS: Final = frozenset({0x30D9, 0x3BD5, 0x48CF, 0x4FC2, 0x4B05})
"""MJTZC01YM and MJTZC03YM."""
S200_PRODUCTS: Final = frozenset({0x45C9, 0x4C04, 0x4DCB})
"""MJTZC02YM."""
_ENCRYPTED, _ADDRESS, _CAPABILITY, _OBJECTS, _MESH = 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7
_HAS_IO: Final = 0x20
_ASSOCIATED: Final = b"\x11"
_EXTENDED: Final = 3
_S400, _S200 = 0x6E16, 0x4E16
_NO_MASS: Final = 0x7FF
_NO_RATE: Final = 0x7F
_RATE_BASE: Final = 50
_HECTOGRAM, _DECAGRAM, _DECIOHM = Decimal("0.1"), Decimal("0.01"), Decimal("0.1")


@dataclass(frozen=True, slots=True)
class MiBeacon:
    """One frame, still sealed.

    Attributes:
        product: which model.
        counter: 0..2**32-1, never twice under one key; None: there is nothing sealed in it.
        head: product and frame counter as sent, part of the nonce.
        tail: extended counter as sent, likewise.
        sealed: the encrypted objects and their tag; empty: an idle frame, or one in the clear.
    """

    product: int
    counter: int | None
    head: bytes
    tail: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class MiWeighIn:
    """What one packet says of a weigh-in.

    Attributes:
        profile: the user slot in the scale's app, 0..255.
        mass_kg: exact; None: none in this packet.
        raw_mass: the number on the air; None likewise.
        heart_rate_per_min: 51..176; None: not measured.
        impedance_50_khz_ohm, impedance_250_khz_ohm: exact; None: not in this packet.
        stamp: the scale's clock, aware, UTC; the same in all packets of one weigh-in.
    """

    profile: int
    mass_kg: Decimal | None
    raw_mass: int | None
    heart_rate_per_min: int | None
    impedance_50_khz_ohm: Decimal | None
    impedance_250_khz_ohm: Decimal | None
    stamp: datetime

    @property
    def is_empty(self) -> bool:
        """Nobody stands there."""
        return self.mass_kg is None and self.heart_rate_per_min is None and not self._has_impedance

    @property
    def _has_impedance(self) -> bool:
        return self.impedance_50_khz_ohm is not None or self.impedance_250_khz_ohm is not None


def is_mibeacon_scale(service_data: bytes) -> bool:
    """Whether the service data FE95 is of a scale that we can read with its key; by its product alone."""
    return int.from_bytes(service_data[2:4], "little") in S400_PRODUCTS | S200_PRODUCTS and len(service_data) >= 5


def parse_mibeacon(service_data: bytes) -> MiBeacon:
    """Take a frame apart, without its key.

    Raises:
        MalformedFrame: it ends too early, is of a mesh device, or of a version before 4 whose seal proves nothing.
    """
    reader = FrameReader(service_data, "MiBeacon")
    control = reader.u16()
    head = reader.bytes(3)
    product = int.from_bytes(head[:2], "little")
    if not control & _ENCRYPTED or not control & _OBJECTS:
        return MiBeacon(product, None, head, b"", b"")
    if control & _MESH:
        raise MalformedFrame("MiBeacon: of a mesh device")
    if control >> 12 < 4:
        raise MalformedFrame("MiBeacon: older than version 4, its seal proves nothing")
    if control & _ADDRESS:
        reader.bytes(6)
    if control & _CAPABILITY and reader.u8() & _HAS_IO:
        reader.u8()
    ciphertext = reader.bytes(reader.remaining - _EXTENDED - TAG_OCTETS)
    tail, tag = reader.bytes(_EXTENDED), reader.bytes(TAG_OCTETS)
    return MiBeacon(product, int.from_bytes(head[2:] + tail, "little"), head, tail, ciphertext + tag)


def open_mibeacon(frame: MiBeacon, lock: Lock) -> bytes | None:
    """The objects in a frame; None: the key does not fit, or there is nothing sealed.

    The address of the lock counts, not one in the frame: a frame of another device does not open.
    """
    return opened(lock, lock.octets[::-1] + frame.head + frame.tail, frame.sealed, _ASSOCIATED)


def parse_mi_weigh_in(objects: bytes) -> MiWeighIn | None:
    """The weigh-in among the objects of an opened frame; None: they speak of something else.

    Raises:
        MalformedFrame: an object that ends too early, or a weigh-in of another length.
    """
    reader = FrameReader(objects, "MiBeacon object")
    while reader.remaining:
        kind, length = reader.u16(), reader.u8()
        value = FrameReader(reader.bytes(length), "MiBeacon weigh-in")
        if kind not in (_S400, _S200):
            continue
        profile, word, seconds = value.u8(), value.u32(), value.u32()
        value.finish()
        stamp = datetime.fromtimestamp(seconds, UTC)
        return _of_s400(profile, word, stamp) if kind == _S400 else _of_s200(profile, word, stamp)
    return None


def _of_s400(profile: int, word: int, stamp: datetime) -> MiWeighIn:
    mass, rate, impedance = word & 0x7FF, word >> 11 & 0x7F, word >> 18
    has_mass, has_rate = mass not in (0, _NO_MASS), rate not in (0, _NO_RATE)
    ohms = impedance * _DECIOHM if impedance else None
    is_second = not has_mass and not has_rate
    return MiWeighIn(
        profile,
        mass * _HECTOGRAM if has_mass else None,
        mass if has_mass else None,
        rate + _RATE_BASE if has_rate else None,
        None if is_second else ohms,
        ohms if is_second else None,
        stamp,
    )


def _of_s200(profile: int, word: int, stamp: datetime) -> MiWeighIn:
    has_mass = word != 0
    return MiWeighIn(
        profile, word * _DECAGRAM if has_mass else None, word if has_mass else None, None, None, None, stamp
    )
