"""Frames as a scale would build them, written independently of the decoders."""

from __future__ import annotations

import struct
from datetime import datetime

__all__ = ["STAMP", "STAMP_OCTETS", "body_composition", "date_time", "mi_body_composition", "mi_scale", "weight"]

STAMP = datetime(2025, 2, 3, 4, 5, 6)  # noqa: DTZ001 -- a device's own clock has no zone
STAMP_OCTETS = bytes.fromhex("e9070203040506")


def date_time(wall: datetime) -> bytes:
    """The 7 octets of a Date Time."""
    return struct.pack("<HBBBBB", wall.year, wall.month, wall.day, wall.hour, wall.minute, wall.second)


def weight(
    raw_weight: int,
    *,
    is_imperial: bool = False,
    time_stamp: bytes | None = None,
    user: int | None = None,
    bmi_and_height: tuple[int, int] | None = None,
    reserved: int = 0,
) -> bytes:
    """Weight Measurement (2A9D) from raw words."""
    flags = (
        is_imperial | (time_stamp is not None) << 1 | (user is not None) << 2 | (bmi_and_height is not None) << 3
    ) | reserved
    frame = struct.pack("<BH", flags, raw_weight)
    if time_stamp is not None:
        frame += time_stamp
    if user is not None:
        frame += bytes((user,))
    if bmi_and_height is not None:
        frame += struct.pack("<HH", *bmi_and_height)
    return frame


def body_composition(
    raw_fat: int,
    words: dict[int, int] | None = None,
    *,
    is_imperial: bool = False,
    time_stamp: bytes | None = None,
    user: int | None = None,
    is_multiple: bool = False,
    reserved: int = 0,
) -> bytes:
    """Body Composition Measurement (2A9C); `words` maps flag bit 3..11 to a raw word."""
    words = words or {}
    flags = (
        is_imperial
        | (time_stamp is not None) << 1
        | (user is not None) << 2
        | sum(1 << bit for bit in words)
        | is_multiple << 12
        | reserved
    )
    frame = struct.pack("<HH", flags, raw_fat)
    if time_stamp is not None:
        frame += time_stamp
    if user is not None:
        frame += bytes((user,))
    for bit in sorted(words):
        frame += struct.pack("<H", words[bit])
    return frame


def mi_scale(control: int, raw_weight: int, time_stamp: bytes = STAMP_OCTETS) -> bytes:
    """Service data 181D of the first Xiaomi scale."""
    return struct.pack("<BH", control, raw_weight) + time_stamp


def mi_body_composition(
    unit: int, control: int, raw_impedance: int, raw_weight: int, time_stamp: bytes = STAMP_OCTETS
) -> bytes:
    """Service data 181B of the Xiaomi body composition scale."""
    return bytes((unit, control)) + time_stamp + struct.pack("<HH", raw_impedance, raw_weight)
