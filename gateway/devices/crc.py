"""The E2E-CRC of the continuous glucose monitoring service, and its unreflected sister that OneTouch meters use.

Source: Bluetooth Continuous Glucose Monitoring Service 1.0, E2E-CRC; catalogued as CRC-16/MCRF4XX. The other one is
catalogued as CRC-16/CCITT-FALSE.
"""

from __future__ import annotations

from gateway.errors import MalformedFrame

__all__ = ["append_crc", "crc16_ccitt_false", "crc16_mcrf4xx", "strip_crc"]


def _entry(octet: int) -> int:
    for _ in range(8):
        octet = (octet >> 1) ^ 0x8408 if octet & 1 else octet >> 1
    return octet


_TABLE = tuple(_entry(octet) for octet in range(256))


def crc16_mcrf4xx(data: bytes) -> int:
    """Reflected CCITT polynomial (0x8408), seed 0xFFFF, no final exclusive-or; 0x6F91 over ASCII `123456789`."""
    crc = 0xFFFF
    for octet in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ octet) & 0xFF]
    return crc


def crc16_ccitt_false(data: bytes) -> int:
    """CCITT polynomial (0x1021), seed 0xFFFF, not reflected, no final exclusive-or; 0x29B1 over ASCII `123456789`."""
    crc = 0xFFFF
    for octet in data:
        crc ^= octet << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def append_crc(data: bytes) -> bytes:
    """`data` followed by its CRC, little-endian."""
    return data + crc16_mcrf4xx(data).to_bytes(2, "little")


def strip_crc(frame: bytes, what: str) -> bytes:
    """`frame` without its last two octets, once they are found to be the CRC of the others.

    Raises:
        MalformedFrame: too short, or the CRC does not fit; `what` names the characteristic in the message.
    """
    if len(frame) < 2:
        raise MalformedFrame(f"{what}: no room for a CRC")
    body = bytes(frame[:-2])
    if crc16_mcrf4xx(body) != int.from_bytes(frame[-2:], "little"):
        raise MalformedFrame(f"{what}: CRC mismatch")
    return body
