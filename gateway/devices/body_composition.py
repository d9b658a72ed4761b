"""Body Composition Service (181B): fat, muscle, water, impedance, and the joining of split measurements.

Source: Bluetooth Body Composition Service 1.0; GATT Specification Supplement, Body Composition Measurement (2A9C),
Body Composition Feature (2A9B).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from gateway.devices._reader import FrameReader
from gateway.devices.date_time import DATE_TIME_OCTETS, parse_date_time
from gateway.devices.weight_scale import (
    HEIGHT_STEP_INCH,
    HEIGHT_STEP_M,
    MASS_STEP_KG,
    MASS_STEP_LB,
    UNKNOWN_USER,
    UNSUCCESSFUL,
    Resolution,
    height_resolution,
    mass_resolution,
)
from gateway.model import Unit

__all__ = [
    "BodyCompositionFeature",
    "BodyCompositionMeasurement",
    "PacketMerger",
    "parse_body_composition_feature",
    "parse_body_composition_measurement",
]

_TENTH = Decimal("0.1")
_ONE = Decimal(1)

_IMPERIAL = 1 << 0
_TIME_STAMP = 1 << 1
_USER = 1 << 2
_BASAL_METABOLISM = 1 << 3
_MUSCLE_PERCENT = 1 << 4
_MUSCLE_MASS = 1 << 5
_FAT_FREE_MASS = 1 << 6
_SOFT_LEAN_MASS = 1 << 7
_BODY_WATER_MASS = 1 << 8
_IMPEDANCE = 1 << 9
_WEIGHT = 1 << 10
_HEIGHT = 1 << 11
_MULTIPLE_PACKETS = 1 << 12
_RESERVED = 0xE000

_ONCE_PER_MEASUREMENT = (
    "basal_metabolism_kj",
    "muscle_percent",
    "muscle_mass",
    "fat_free_mass",
    "soft_lean_mass",
    "body_water_mass",
    "impedance_ohm",
    "raw_weight",
    "height",
)


@dataclass(frozen=True, slots=True)
class BodyCompositionMeasurement:
    """One indication of 2A9C, or several joined by `PacketMerger`.

    A field is None when it was not sent; a word of 0xFFFF in a field counts as not sent.

    Attributes:
        body_fat_percent: None when the scale says that the measurement failed (0xFFFF).
        mass_unit: kg or lb: unit of every mass here, weight included.
        height_unit: m or in.
        time_stamp: the scale's own local clock, naive; None when not sent, unknown or impossible.
        user_index: 0..254; None when not sent or unknown (255).
        basal_metabolism_kj: kilojoules a day.
        muscle_percent: share of the body weight.
        muscle_mass, fat_free_mass, soft_lean_mass, body_water_mass: in `mass_unit`.
        impedance_ohm: measured.
        weight: in `mass_unit`; None when not sent or failed.
        raw_weight: the word of the weight on the wire, None when not sent; the same word that 2A9D carries.
        height: in `height_unit`.
        is_multiple_packet: one part of a measurement that did not fit into one indication.
        reserved_flags: flag bits 13-15, ignored but kept.
    """

    body_fat_percent: Decimal | None
    mass_unit: Unit
    height_unit: Unit
    time_stamp: datetime | None = None
    user_index: int | None = None
    basal_metabolism_kj: Decimal | None = None
    muscle_percent: Decimal | None = None
    muscle_mass: Decimal | None = None
    fat_free_mass: Decimal | None = None
    soft_lean_mass: Decimal | None = None
    body_water_mass: Decimal | None = None
    impedance_ohm: Decimal | None = None
    weight: Decimal | None = None
    raw_weight: int | None = None
    height: Decimal | None = None
    is_multiple_packet: bool = False
    reserved_flags: int = 0


@dataclass(frozen=True, slots=True)
class BodyCompositionFeature:
    """2A9B: what the analyser can send.

    Attributes:
        supported: snake_case names of the supported fields, in the order of their bits.
        mass_resolution, height_resolution: for display only, never a factor; None when not specified or reserved.
        raw: the 32-bit word.
    """

    supported: tuple[str, ...]
    mass_resolution: Resolution | None
    height_resolution: Resolution | None
    raw: int


_FEATURES = (
    "time_stamp",
    "multiple_users",
    "basal_metabolism",
    "muscle_percentage",
    "muscle_mass",
    "fat_free_mass",
    "soft_lean_mass",
    "body_water_mass",
    "impedance",
    "weight",
    "height",
)


def parse_body_composition_measurement(frame: bytes) -> BodyCompositionMeasurement:
    """Decode Body Composition Measurement (2A9C).

    Args:
        frame: flags u16, body fat u16, then the flagged fields in the order of their bits; 4 to 30 octets,
            little-endian, exactly as long as the flags say.

    Raises:
        MalformedFrame: any other length.
    """
    reader = FrameReader(frame, "Body Composition Measurement")
    flags = reader.u16()
    is_imperial = bool(flags & _IMPERIAL)
    mass_step = MASS_STEP_LB if is_imperial else MASS_STEP_KG

    def word(bit: int) -> int | None:
        return reader.u16() if flags & bit else None

    fat = reader.u16()
    time_stamp = parse_date_time(reader.bytes(DATE_TIME_OCTETS)) if flags & _TIME_STAMP else None
    user = reader.u8() if flags & _USER else UNKNOWN_USER
    basal_metabolism = word(_BASAL_METABOLISM)
    muscle_percent = word(_MUSCLE_PERCENT)
    muscle_mass = word(_MUSCLE_MASS)
    fat_free_mass = word(_FAT_FREE_MASS)
    soft_lean_mass = word(_SOFT_LEAN_MASS)
    body_water_mass = word(_BODY_WATER_MASS)
    impedance = word(_IMPEDANCE)
    raw_weight = word(_WEIGHT)
    height = word(_HEIGHT)
    reader.finish()
    return BodyCompositionMeasurement(
        body_fat_percent=_scaled(fat, _TENTH),
        mass_unit=Unit.LB if is_imperial else Unit.KG,
        height_unit=Unit.INCH if is_imperial else Unit.M,
        time_stamp=time_stamp,
        user_index=None if user == UNKNOWN_USER else user,
        basal_metabolism_kj=_scaled(basal_metabolism, _ONE),
        muscle_percent=_scaled(muscle_percent, _TENTH),
        muscle_mass=_scaled(muscle_mass, mass_step),
        fat_free_mass=_scaled(fat_free_mass, mass_step),
        soft_lean_mass=_scaled(soft_lean_mass, mass_step),
        body_water_mass=_scaled(body_water_mass, mass_step),
        impedance_ohm=_scaled(impedance, _TENTH),
        weight=_scaled(raw_weight, mass_step),
        raw_weight=raw_weight,
        height=_scaled(height, HEIGHT_STEP_INCH if is_imperial else HEIGHT_STEP_M),
        is_multiple_packet=bool(flags & _MULTIPLE_PACKETS),
        reserved_flags=flags & _RESERVED,
    )


def parse_body_composition_feature(frame: bytes) -> BodyCompositionFeature:
    """Decode Body Composition Feature (2A9B).

    Args:
        frame: 4 octets, little-endian: bits 0-10 fields, 11-14 mass resolution, 15-17 height resolution.

    Raises:
        MalformedFrame: not 4 octets.
    """
    reader = FrameReader(frame, "Body Composition Feature")
    word = reader.u32()
    reader.finish()
    return BodyCompositionFeature(
        supported=tuple(name for bit, name in enumerate(_FEATURES) if word >> bit & 1),
        mass_resolution=mass_resolution(word >> 11 & 0xF),
        height_resolution=height_resolution(word >> 15 & 0x7),
        raw=word,
    )


@dataclass(slots=True)
class PacketMerger:
    """Joins the indications of one connection that belong to one measurement (flag bit 12).

    A group ends when a packet brings a field that is known already, another time stamp, user or unit system, when a
    measurement in one packet comes in between, or with `close()` (the caller's timer, or the end of the connection).
    Repeated time stamps and users do not end a group; of several body-fat values the first valid one counts.
    """

    _group: BodyCompositionMeasurement | None = None

    @property
    def is_open(self) -> bool:
        """Whether a group waits for more packets."""
        return self._group is not None

    def add(self, packet: BodyCompositionMeasurement) -> tuple[BodyCompositionMeasurement, ...]:
        """Take the next packet; returns the measurements that are complete by it (0, 1 or 2), oldest first."""
        if not packet.is_multiple_packet:
            closed = self.close()
            return (packet,) if closed is None else (closed, packet)
        if self._group is None:
            self._group = packet
            return ()
        if _belongs(self._group, packet):
            self._group = _joined(self._group, packet)
            return ()
        complete, self._group = self._group, packet
        return (complete,)

    def close(self) -> BodyCompositionMeasurement | None:
        """End the open group and return it; None when there is none."""
        complete, self._group = self._group, None
        return complete


def _scaled(raw: int | None, step: Decimal) -> Decimal | None:
    return None if raw is None or raw == UNSUCCESSFUL else raw * step


def _belongs(group: BodyCompositionMeasurement, packet: BodyCompositionMeasurement) -> bool:
    if group.mass_unit is not packet.mass_unit:
        return False
    for name in ("time_stamp", "user_index"):
        before, now = getattr(group, name), getattr(packet, name)
        if before is not None and now is not None and before != now:
            return False
    return not any(
        getattr(group, name) is not None and getattr(packet, name) is not None for name in _ONCE_PER_MEASUREMENT
    )


def _joined(group: BodyCompositionMeasurement, packet: BodyCompositionMeasurement) -> BodyCompositionMeasurement:
    names = ("body_fat_percent", "time_stamp", "user_index", "weight", *_ONCE_PER_MEASUREMENT)
    added = {name: getattr(packet, name) for name in names if getattr(group, name) is None}
    return replace(group, **added, reserved_flags=group.reserved_flags | packet.reserved_flags)
