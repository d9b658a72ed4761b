"""Encoders for what a virtual device says about itself, its users and its bonds; independent of the decoders.

Source: GATT Specification Supplement; User Data Service 1.1; Bond Management Service 1.0; IEEE 11073-20601 for 2A2A.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

from gateway.sandbox.frames import append_crc, encode_local_time, encode_sfloat

__all__ = [
    "encode_alert_level",
    "encode_battery_status",
    "encode_birth_date",
    "encode_bond_feature",
    "encode_calibration",
    "encode_certifications",
    "encode_interval",
    "encode_local_time_information",
    "encode_ops_response",
    "encode_pnp_id",
    "encode_reference_time",
    "encode_registered_user",
]


def encode_pnp_id(source: int, vendor: int, product: int, version: int) -> bytes:
    """PnP ID 2A50; `source` 1 Bluetooth SIG, 2 USB forum."""
    return bytes((source,)) + b"".join(number.to_bytes(2, "little") for number in (vendor, product, version))


def encode_certifications(entries: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Regulatory certification list 2A2A, big-endian, of (body, structure, data)."""
    body = b"".join(bytes((who, how)) + len(data).to_bytes(2, "big") + data for who, how, data in entries)
    return len(entries).to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


def encode_battery_status(percent: int, *, charging: bool = False, level: int = 1) -> bytes:
    """Battery Level Status 2BED with the level in it; `level` 1 good, 2 low, 3 critical."""
    state = 1 if charging else 2
    power = 0x0001 | (0x0002 if charging else 0) | state << 5 | level << 7
    return b"\x02" + power.to_bytes(2, "little") + bytes((percent,))


def encode_local_time_information(at: datetime) -> bytes:
    """Local Time Information 2A0F of an aware instant."""
    return encode_local_time(at)


def encode_reference_time(source: int, accuracy_eighths: int, days: int, hours: int) -> bytes:
    """Reference Time Information 2A14; accuracy in 1/8 s."""
    return bytes((source, accuracy_eighths, days, hours))


def encode_birth_date(born: date) -> bytes:
    """Date of Birth 2A85."""
    return born.year.to_bytes(2, "little") + bytes((born.month, born.day))


def encode_bond_feature(bits: int) -> bytes:
    """Bond Management Feature 2AA5."""
    return bits.to_bytes(3, "little")


def encode_registered_user(index: int, name: str | None, *, room: int = 20) -> list[bytes]:
    """Registered User 2B37: one segment, or several where `room` octets do not hold it."""
    body = bytes((0 if name is None else 1, index)) + (b"" if name is None else name.encode())
    pieces = [body[at : at + room - 1] for at in range(0, len(body), room - 1)]
    last = len(pieces) - 1
    return [bytes(((place == 0) | (place == last) << 1 | (place % 64) << 2,)) + p for place, p in enumerate(pieces)]


def encode_interval(interval_min: int, *, crc: bool) -> bytes:
    """Answer to "get communication interval" at 2AAC."""
    return _ops(bytes((0x03, interval_min)), crc=crc)


def encode_alert_level(request: int, level: Decimal, *, crc: bool) -> bytes:
    """Answer to the request of an alert level at 2AAC: the next op code, and the level."""
    return _ops(bytes((request + 1,)) + encode_sfloat(level), crc=crc)


def encode_calibration(number: int, glucose_mg_dl: Decimal, offset_min: int, *, crc: bool) -> bytes:
    """Answer to "get calibration" at 2AAC: a finger-stick (capillary whole blood), none planned after it."""
    operand = encode_sfloat(glucose_mg_dl) + offset_min.to_bytes(2, "little") + b"\x11\xff\xff"
    return _ops(b"\x06" + operand + number.to_bytes(2, "little") + b"\x00", crc=crc)


def encode_ops_response(request: int, code: int, *, crc: bool) -> bytes:
    """How a procedure of 2AAC ended."""
    return _ops(bytes((0x1C, request, code)), crc=crc)


def _ops(frame: bytes, *, crc: bool) -> bytes:
    return append_crc(frame) if crc else frame
