"""What scales put, encrypted, into their advertisements; written independently of the decoders.

CCM is built here from the block cipher alone, so that a mistake in how the decoders use it would show.

Sources: RFC 3610 (CCM); Xiaomi's MiBeacon protocol, version 5; the BTHome project's format, version 2, encryption.
"""

from __future__ import annotations

import struct
from datetime import datetime
from decimal import Decimal

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

__all__ = ["encode_s200", "encode_s400", "encode_sealed_bthome", "seal"]

_BLOCK, _TAG = 16, 4


def seal(key: bytes, nonce: bytes, plain: bytes, associated: bytes = b"") -> tuple[bytes, bytes]:
    """AES-CCM with a tag of four octets: ciphertext and tag. `associated`: shorter than 2**16-2**8 octets."""
    cipher = Cipher(AES(key), ECB()).encryptor()  # noqa: S305 - the block cipher that CCM is made of
    width = 15 - len(nonce)
    flags = (0x40 if associated else 0) | (_TAG - 2) // 2 << 3 | width - 1
    blocks = bytes((flags,)) + nonce + len(plain).to_bytes(width, "big")
    if associated:
        blocks += _padded(len(associated).to_bytes(2, "big") + associated)
    blocks += _padded(plain)
    mac = bytes(_BLOCK)
    for at in range(0, len(blocks), _BLOCK):
        mac = cipher.update(_xor(mac, blocks[at : at + _BLOCK]))
    streams = [
        cipher.update(bytes((width - 1,)) + nonce + number.to_bytes(width, "big"))
        for number in range(1 + -(-len(plain) // _BLOCK))
    ]
    return _xor(plain, b"".join(streams[1:])), _xor(mac[:_TAG], streams[0])


def encode_s400(
    key: bytes,
    address: str,
    counter: int,
    at: datetime,
    *,
    mass_kg: Decimal | None = None,
    heart_rate_per_min: int | None = None,
    impedance_ohm: Decimal | None = None,
    product: int = 0x3BD5,
    profile: int = 1,
) -> bytes:
    """Service data FE95 of a Xiaomi S400; everything left out is sent as nothing.

    Args:
        counter: 0..2**32-1.
        at: aware; the scale's clock.
        impedance_ohm: at 50 kHz beside a mass, at 250 kHz without one.
    """
    word = int((mass_kg or 0) * 10) | int((impedance_ohm or 0) * 10) << 18
    if heart_rate_per_min is not None:
        word |= heart_rate_per_min - 50 << 11
    return _mibeacon(key, address, counter, product, 0x6E16, struct.pack("<BII", profile, word, int(at.timestamp())))


def encode_s200(
    key: bytes, address: str, counter: int, at: datetime, mass_kg: Decimal, *, product: int = 0x4C04
) -> bytes:
    """Service data FE95 of a Xiaomi S200; arguments as for `encode_s400`."""
    value = struct.pack("<BII", 1, int(mass_kg * 100), int(at.timestamp()))
    return _mibeacon(key, address, counter, product, 0x4E16, value)


def encode_sealed_bthome(
    key: bytes, address: str, counter: int, mass_kg: Decimal, packet_id: int | None = None
) -> bytes:
    """Service data FCD2 of an encrypted device: packet number and mass in steps of 10 g."""
    information = b"\x45"
    objects = (b"" if packet_id is None else bytes((0x00, packet_id % 256))) + b"\x06"
    objects += int(mass_kg * 100).to_bytes(2, "little")
    count = counter.to_bytes(4, "little")
    ciphertext, tag = seal(key, _octets(address) + b"\xd2\xfc" + information + count, objects)
    return information + ciphertext + count + tag


def _mibeacon(key: bytes, address: str, counter: int, product: int, kind: int, value: bytes) -> bytes:
    """Version 5, encrypted, with an object, without the address."""
    number = counter.to_bytes(4, "little")
    head = product.to_bytes(2, "little") + number[:1]
    objects = struct.pack("<HB", kind, len(value)) + value
    ciphertext, tag = seal(key, _octets(address)[::-1] + head + number[1:], objects, b"\x11")
    return b"\x48\x59" + head + ciphertext + number[1:] + tag


def _octets(address: str) -> bytes:
    return bytes.fromhex(address.replace(":", ""))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=False))
