"""Weight Scale Service (181D): what a connected scale measured and what it says it can do.

Source: Bluetooth Weight Scale Service 1.0; GATT Specification Supplement, Weight Measurement (2A9D), Weight Scale
Feature (2A9E).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gateway.devices._reader import FrameReader
from gateway.devices.date_time import DATE_TIME_OCTETS, parse_date_time
from gateway.model import Unit

__all__ = [
    "HEIGHT_STEP_INCH",
    "HEIGHT_STEP_M",
    "MASS_STEP_KG",
    "MASS_STEP_LB",
    "UNKNOWN_USER",
    "UNSUCCESSFUL",
    "Resolution",
    "WeightMeasurement",
    "WeightScaleFeature",
    "height_resolution",
    "mass_resolution",
    "parse_weight_measurement",
    "parse_weight_scale_feature",
]

UNSUCCESSFUL = 0xFFFF
"""Raw weight or body fat of a measurement that failed."""
UNKNOWN_USER = 0xFF
MASS_STEP_KG = Decimal("0.005")
MASS_STEP_LB = Decimal("0.01")
HEIGHT_STEP_M = Decimal("0.001")
HEIGHT_STEP_INCH = Decimal("0.1")
_BMI_STEP = Decimal("0.1")

_IMPERIAL = 1 << 0
_TIME_STAMP = 1 << 1
_USER = 1 << 2
_BMI_AND_HEIGHT = 1 << 3
_RESERVED = 0xF0

# resolution code -> finest step shown, (metric, imperial)
_MASS_RESOLUTIONS = {
    1: ("0.5", "1"),
    2: ("0.2", "0.5"),
    3: ("0.1", "0.2"),
    4: ("0.05", "0.1"),
    5: ("0.02", "0.05"),
    6: ("0.01", "0.02"),
    7: ("0.005", "0.01"),
}
_HEIGHT_RESOLUTIONS = {1: ("0.01", "1"), 2: ("0.005", "0.5"), 3: ("0.001", "0.1")}


@dataclass(frozen=True, slots=True)
class Resolution:
    """The finest step that a scale shows, in kg and lb for masses, in m and in for heights. Never scales a value."""

    metric: Decimal
    imperial: Decimal


@dataclass(frozen=True, slots=True)
class WeightMeasurement:
    """One indication of 2A9D.

    Attributes:
        weight: in `weight_unit`, exact; None when the scale says that the measurement failed.
        weight_unit: kg or lb, as sent.
        raw_weight: the word on the wire, 0..0xFFFF (0xFFFF: failed).
        time_stamp: the scale's own local clock, naive; None when not sent, unknown or impossible.
        user_index: 0..254; None when not sent or unknown (255).
        bmi_kg_m2: body mass index, computed by the scale; None when not sent.
        height: in `height_unit`, from the user's profile on the scale; None when not sent.
        height_unit: m or in, as sent.
        reserved_flags: flag bits 4-7, ignored but kept.
    """

    weight: Decimal | None
    weight_unit: Unit
    raw_weight: int
    time_stamp: datetime | None = None
    user_index: int | None = None
    bmi_kg_m2: Decimal | None = None
    height: Decimal | None = None
    height_unit: Unit = Unit.M
    reserved_flags: int = 0


@dataclass(frozen=True, slots=True)
class WeightScaleFeature:
    """2A9E: what the scale can send.

    Attributes:
        has_time_stamp, has_multiple_users, has_bmi: fields that measurements may carry.
        mass_resolution, height_resolution: for display; None when not specified or reserved.
        raw: the 32-bit word.
    """

    has_time_stamp: bool
    has_multiple_users: bool
    has_bmi: bool
    mass_resolution: Resolution | None
    height_resolution: Resolution | None
    raw: int


def mass_resolution(code: int) -> Resolution | None:
    """The mass resolution behind a 4-bit code; None for 0 (not specified) and for reserved codes."""
    return _resolution(_MASS_RESOLUTIONS, code)


def height_resolution(code: int) -> Resolution | None:
    """The height resolution behind a 3-bit code; None for 0 (not specified) and for reserved codes."""
    return _resolution(_HEIGHT_RESOLUTIONS, code)


def parse_weight_measurement(frame: bytes) -> WeightMeasurement:
    """Decode Weight Measurement (2A9D).

    Args:
        frame: flags u8, weight u16, then as flagged: time stamp (7), user index u8, BMI u16 with height u16. Exactly
            as long as the flags say: 3 to 15 octets, little-endian.

    Raises:
        MalformedFrame: any other length.
    """
    reader = FrameReader(frame, "Weight Measurement")
    flags = reader.u8()
    is_imperial = bool(flags & _IMPERIAL)
    raw_weight = reader.u16()
    time_stamp = parse_date_time(reader.bytes(DATE_TIME_OCTETS)) if flags & _TIME_STAMP else None
    user = reader.u8() if flags & _USER else UNKNOWN_USER
    bmi, height = None, None
    if flags & _BMI_AND_HEIGHT:
        bmi = reader.u16() * _BMI_STEP
        height = reader.u16() * (HEIGHT_STEP_INCH if is_imperial else HEIGHT_STEP_M)
    reader.finish()
    step = MASS_STEP_LB if is_imperial else MASS_STEP_KG
    return WeightMeasurement(
        weight=None if raw_weight == UNSUCCESSFUL else raw_weight * step,
        weight_unit=Unit.LB if is_imperial else Unit.KG,
        raw_weight=raw_weight,
        time_stamp=time_stamp,
        user_index=None if user == UNKNOWN_USER else user,
        bmi_kg_m2=bmi,
        height=height,
        height_unit=Unit.INCH if is_imperial else Unit.M,
        reserved_flags=flags & _RESERVED,
    )


def parse_weight_scale_feature(frame: bytes) -> WeightScaleFeature:
    """Decode Weight Scale Feature (2A9E).

    Args:
        frame: 4 octets, little-endian: bit 0 time stamp, 1 several users, 2 BMI, 3-6 weight and 7-9 height resolution.

    Raises:
        MalformedFrame: not 4 octets.
    """
    reader = FrameReader(frame, "Weight Scale Feature")
    word = reader.u32()
    reader.finish()
    return WeightScaleFeature(
        has_time_stamp=bool(word & 1),
        has_multiple_users=bool(word & 2),
        has_bmi=bool(word & 4),
        mass_resolution=mass_resolution(word >> 3 & 0xF),
        height_resolution=height_resolution(word >> 7 & 0x7),
        raw=word,
    )


def _resolution(table: dict[int, tuple[str, str]], code: int) -> Resolution | None:
    entry = table.get(code)
    return None if entry is None else Resolution(Decimal(entry[0]), Decimal(entry[1]))
