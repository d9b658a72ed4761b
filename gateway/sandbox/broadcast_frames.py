"""What scales that only broadcast put into their advertisements; written independently of the decoders.

All little-endian. Sources: the published open-source drivers of Xiaomi scales; the BTHome project's format, version 2.
"""

from __future__ import annotations

import struct
from datetime import datetime
from decimal import Decimal

from gateway.sandbox.frames import encode_date_time

__all__ = ["encode_bthome_mass", "encode_mi_body_composition", "encode_mi_scale"]


def encode_mi_scale(
    mass_kg: Decimal, stamp: datetime | None, *, is_stable: bool = True, is_removed: bool = False
) -> bytes:
    """Service data 181D, 10 octets, in steps of 5 g."""
    control = is_stable << 5 | is_removed << 7
    return struct.pack("<BH", control, int(mass_kg * 200)) + encode_date_time(stamp)


def encode_mi_body_composition(
    mass_kg: Decimal,
    stamp: datetime | None,
    *,
    impedance_ohm: int | None = None,
    is_stable: bool = True,
    is_removed: bool = False,
) -> bytes:
    """Service data 181B, 13 octets; without an impedance the word that such a scale sends while it has none."""
    control = (impedance_ohm is not None) << 1 | is_stable << 5 | is_removed << 7
    impedance = 0xFFFE if impedance_ohm is None else impedance_ohm
    return bytes((0x02, control)) + encode_date_time(stamp) + struct.pack("<HH", impedance, int(mass_kg * 200))


def encode_bthome_mass(mass_kg: Decimal, packet_id: int | None = None, *, battery_percent: int | None = None) -> bytes:
    """Service data FCD2 of a device without a key: packet number, battery and mass in steps of 10 g."""
    objects = b"" if packet_id is None else bytes((0x00, packet_id % 256))
    if battery_percent is not None:
        objects += bytes((0x01, battery_percent))
    return b"\x44" + objects + b"\x06" + int(mass_kg * 100).to_bytes(2, "little")
