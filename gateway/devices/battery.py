"""Battery Service (180F).

Source: Bluetooth Battery Service 1.1; GATT Specification Supplement, Battery Level (2A19), Battery Level Status (2BED).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.devices._reader import FrameReader

__all__ = ["BatteryStatus", "parse_battery_level", "parse_battery_level_status"]

_FULL = 100
_CONNECTED: Final[Mapping[int, bool]] = {0: False, 1: True}
_CHARGES: Final[Mapping[int, str]] = {1: "charging", 2: "discharging_active", 3: "discharging_inactive"}
_LEVELS: Final[Mapping[int, str]] = {1: "good", 2: "low", 3: "critical"}
_FAULTS: Final = ("battery", "external_power", "other")
_SERVICE: Final[Mapping[int, bool]] = {0: False, 1: True}


@dataclass(frozen=True, slots=True)
class BatteryStatus:
    """2BED. None: the device does not know, or did not say.

    Attributes:
        is_present: a battery is in.
        is_wired, is_wireless: an external source of power is connected.
        charge_state: `charging`, `discharging_active`, `discharging_inactive`.
        charge_level: `good`, `low`, `critical`.
        charging_faults: of `battery`, `external_power`, `other`, those that are reported.
        identifier: which battery.
        percent: 0..100.
        needs_service: it should be looked after.
        is_faulty: the battery itself reports a fault.
    """

    is_present: bool
    is_wired: bool | None
    is_wireless: bool | None
    charge_state: str | None
    charge_level: str | None
    charging_faults: tuple[str, ...]
    identifier: int | None = None
    percent: int | None = None
    needs_service: bool | None = None
    is_faulty: bool | None = None


def parse_battery_level(frame: bytes) -> int | None:
    """Decode Battery Level (2A19): percent, 0..100; None for a value that is no percentage.

    Raises:
        MalformedFrame: not 1 octet.
    """
    reader = FrameReader(frame, "Battery Level")
    level = reader.u8()
    reader.finish()
    return level if level <= _FULL else None


def parse_battery_level_status(frame: bytes) -> BatteryStatus:
    """Decode Battery Level Status (2BED): flags u8, power state u16, then [identifier u16], [level u8], [status u8].

    Raises:
        MalformedFrame: fewer or more octets than the flags announce.
    """
    reader = FrameReader(frame, "Battery Level Status")
    flags, power = reader.u8(), reader.u16()
    identifier = reader.u16() if flags & 0x01 else None
    level = reader.u8() if flags & 0x02 else None
    more = reader.u8() if flags & 0x04 else None
    reader.finish()
    return BatteryStatus(
        is_present=bool(power & 0x01),
        is_wired=_CONNECTED.get(power >> 1 & 0x03),
        is_wireless=_CONNECTED.get(power >> 3 & 0x03),
        charge_state=_CHARGES.get(power >> 5 & 0x03),
        charge_level=_LEVELS.get(power >> 7 & 0x03),
        charging_faults=tuple(name for bit, name in enumerate(_FAULTS, start=12) if power >> bit & 1),
        identifier=identifier,
        percent=level if level is not None and level <= _FULL else None,
        needs_service=None if more is None else _SERVICE.get(more & 0x03),
        is_faulty=None if more is None else bool(more & 0x04),
    )
