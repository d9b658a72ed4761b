"""Battery Service (180F). Source: Bluetooth Battery Service 1.1, Battery Level (2A19)."""

from __future__ import annotations

from gateway.devices._reader import FrameReader

__all__ = ["parse_battery_level"]

_FULL = 100


def parse_battery_level(frame: bytes) -> int | None:
    """Decode Battery Level (2A19): percent, 0..100; None for a value that is no percentage.

    Raises:
        MalformedFrame: not 1 octet.
    """
    reader = FrameReader(frame, "Battery Level")
    level = reader.u8()
    reader.finish()
    return level if level <= _FULL else None
