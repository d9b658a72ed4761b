"""A driver of another package: the Acme Feather, an invented scale that only broadcasts.

Its manufacturer data, under the company identifier 0xFFFF that is reserved for tests, are five octets, little-endian:
`A5 | packet number u8 | flags u8 | mass u16`. Flag bit 0: the weight has settled. Bit 1: pounds. The mass is in steps
of 0.01 of the unit. Each weigh-in has a new packet number and is repeated for as long as somebody stands there.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from gateway.devices.advert import Advert
from gateway.devices.drivers import Driver
from gateway.devices.procedures.requests import BroadcastWeight, Frame, Keep, Mark, Spoiled
from gateway.model import DeviceKind, Unit

__all__ = ["DRIVER", "FeatherScale"]

COMPANY = 0xFFFF
MAGIC = 0xA5
CHECKPOINT = "acme.feather"


def is_feather(advert: Advert) -> bool:
    """At most one driver may claim an advertisement: say no to whatever is not surely yours."""
    return advert.manufacturer_data.get(COMPANY, b"")[:1] == bytes((MAGIC,))


class FeatherScale:
    """Implements `gateway.devices.procedures.requests.Listener`: no radio, no clock, no exception.

    Args:
        state: the last checkpoint that was stored together with a weigh-in, or None.
    """

    def __init__(self, state: Mapping[str, str | int | bool | None] | None = None) -> None:
        self._told = (state or {}).get("packet")

    @property
    def wait_s(self) -> float | None:
        """Nothing is waited for."""
        return None

    def on_silence(self) -> list[Keep]:
        """Nothing is waited for."""
        return []

    def on_advert(self, advert: Advert, heard_at: datetime) -> list[Keep]:
        """One advertisement, heard at `heard_at` (aware, UTC)."""
        payload = advert.manufacturer_data.get(COMPANY, b"")
        frame = Frame(f"adv.{COMPANY:04x}", payload)
        try:
            _, packet, flags, raw_mass = struct.unpack("<BBBH", payload)
        except struct.error:
            return [Keep(spoiled=(Spoiled(frame, "not five octets"),), is_told_once=True)]
        if not flags & 1 or packet == self._told:
            return []
        self._told = packet
        record = BroadcastWeight(
            weigh_in=f"rx-{heard_at.isoformat()}",
            mass=raw_mass * Decimal("0.01"),
            unit=Unit.LB if flags & 2 else Unit.KG,
            raw_weight=raw_mass,
            impedance_ohm=None,
            time_stamp=None,
            frames=(frame,),
        )
        return [Keep((record,), mark=Mark(CHECKPOINT, {"packet": packet}), is_told_once=True)]


DRIVER = Driver(
    name="acme.feather",
    kinds=frozenset({DeviceKind.SCALE}),
    services=(),
    matches=is_feather,
    listen=FeatherScale,
    checkpoint=CHECKPOINT,
    title="Acme Feather",
)
