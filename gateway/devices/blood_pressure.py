"""Blood Pressure Service (1810): what a cuff measured and what it says it can detect.

Source: Bluetooth Blood Pressure Service 1.1; GATT Specification Supplement, Blood Pressure Measurement (2A35),
Intermediate Cuff Pressure (2A36), Blood Pressure Feature (2A49).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from gateway.devices._bits import names_of
from gateway.devices._reader import FrameReader
from gateway.devices.date_time import DATE_TIME_OCTETS, parse_date_time
from gateway.devices.ieee11073 import SfloatSpecial, parse_sfloat
from gateway.model import Unit

__all__ = [
    "BLOOD_PRESSURE_STATUS",
    "BloodPressureFeature",
    "BloodPressureMeasurement",
    "CuffPressure",
    "parse_blood_pressure_feature",
    "parse_blood_pressure_measurement",
    "parse_intermediate_cuff_pressure",
]

_KPA: Final = 1 << 0
_TIME_STAMP: Final = 1 << 1
_PULSE: Final = 1 << 2
_USER: Final = 1 << 3
_STATUS: Final = 1 << 4
_RESERVED: Final = 0xE0
_UNKNOWN_USER: Final = 0xFF

# bits 3 and 4 are one number: the pulse rate against the range that the cuff can measure at
_STATUS_BITS: Final = {0: "body_movement", 1: "cuff_too_loose", 2: "irregular_pulse", 5: "improper_position"}
_PULSE_RANGES: Final = {1: "pulse_rate_above_range", 2: "pulse_rate_below_range"}
BLOOD_PRESSURE_STATUS: Final = tuple(sorted((*_STATUS_BITS.values(), *_PULSE_RANGES.values())))
"""Every word that a status can hold."""
_FEATURES: Final = {
    0: "body_movement_detection",
    1: "cuff_fit_detection",
    2: "irregular_pulse_detection",
    3: "pulse_rate_range_detection",
    4: "measurement_position_detection",
    5: "multiple_bonds",
    6: "e2e_crc",
    7: "user_data",
    8: "user_facing_time",
}


@dataclass(frozen=True, slots=True)
class _Around:
    """What both measuring characteristics hold after their pressures."""

    time_stamp: datetime | None
    is_time_sent: bool
    pulse_per_min: Decimal | SfloatSpecial | None
    user_index: int | None
    status: tuple[str, ...]
    reserved_status: int
    reserved_flags: int


@dataclass(frozen=True, slots=True)
class BloodPressureMeasurement:
    """One indication of 2A35.

    Attributes:
        systolic, diastolic, mean: in `unit`, exact; a special where the cuff sent no number.
        unit: mmHg or kPa, as sent.
        raw: the three words on the wire, in that order, each 0..0xFFFF.
        time_stamp: the cuff's own local clock, naive; None when not sent, unknown or impossible.
        is_time_sent: whether a time stamp was sent, readable or not.
        pulse_per_min: None when not sent.
        user_index: 0..254; None when not sent or unknown (255).
        status: words of `BLOOD_PRESSURE_STATUS`, sorted; empty when not sent.
        reserved_status: status bits without a meaning, and a pulse range code of 3 (bits 3 and 4).
        reserved_flags: flag bits 5-7, ignored but kept.
    """

    systolic: Decimal | SfloatSpecial
    diastolic: Decimal | SfloatSpecial
    mean: Decimal | SfloatSpecial
    unit: Unit
    raw: tuple[int, int, int]
    time_stamp: datetime | None = None
    is_time_sent: bool = False
    pulse_per_min: Decimal | SfloatSpecial | None = None
    user_index: int | None = None
    status: tuple[str, ...] = ()
    reserved_status: int = 0
    reserved_flags: int = 0

    @property
    def is_unsuccessful(self) -> bool:
        """Whether the cuff says that the measurement failed: none of the three pressures is a number."""
        return all(pressure is SfloatSpecial.NAN for pressure in (self.systolic, self.diastolic, self.mean))


@dataclass(frozen=True, slots=True)
class CuffPressure:
    """One notification of 2A36: how far the cuff is inflated while it measures. Not a result.

    Attributes:
        pressure: in `unit`.
        others as in `BloodPressureMeasurement`.
    """

    pressure: Decimal | SfloatSpecial
    unit: Unit
    time_stamp: datetime | None = None
    pulse_per_min: Decimal | SfloatSpecial | None = None
    user_index: int | None = None
    status: tuple[str, ...] = ()
    reserved_status: int = 0
    reserved_flags: int = 0


@dataclass(frozen=True, slots=True)
class BloodPressureFeature:
    """2A49: which status words the cuff can ever send, and what else it has.

    Attributes:
        supported: snake_case names, in the order of the bits.
        raw: the 16-bit word.
    """

    supported: tuple[str, ...]
    raw: int


def parse_blood_pressure_measurement(frame: bytes) -> BloodPressureMeasurement:
    """Decode Blood Pressure Measurement (2A35).

    Args:
        frame: flags u8, systolic, diastolic and mean arterial pressure SFLOAT, then as flagged: time stamp (7), pulse
            rate SFLOAT, user u8, status u16. Exactly as long as the flags say: 7 to 19 octets, little-endian.

    Raises:
        MalformedFrame: any other length.
    """
    reader = FrameReader(frame, "Blood Pressure Measurement")
    flags = reader.u8()
    raw = (reader.u16(), reader.u16(), reader.u16())
    around = _parse_around(reader, flags)
    systolic, diastolic, mean = (parse_sfloat(word) for word in raw)
    return BloodPressureMeasurement(
        systolic=systolic,
        diastolic=diastolic,
        mean=mean,
        unit=_unit(flags),
        raw=raw,
        time_stamp=around.time_stamp,
        is_time_sent=around.is_time_sent,
        pulse_per_min=around.pulse_per_min,
        user_index=around.user_index,
        status=around.status,
        reserved_status=around.reserved_status,
        reserved_flags=around.reserved_flags,
    )


def parse_intermediate_cuff_pressure(frame: bytes) -> CuffPressure:
    """Decode Intermediate Cuff Pressure (2A36).

    Args:
        frame: laid out as 2A35; the pressure stands in the place of the systolic one, the other two places are unused.

    Raises:
        MalformedFrame: not as long as its flags say.
    """
    reader = FrameReader(frame, "Intermediate Cuff Pressure")
    flags = reader.u8()
    pressure = parse_sfloat(reader.u16())
    reader.bytes(4)
    around = _parse_around(reader, flags)
    return CuffPressure(
        pressure=pressure,
        unit=_unit(flags),
        time_stamp=around.time_stamp,
        pulse_per_min=around.pulse_per_min,
        user_index=around.user_index,
        status=around.status,
        reserved_status=around.reserved_status,
        reserved_flags=around.reserved_flags,
    )


def parse_blood_pressure_feature(frame: bytes) -> BloodPressureFeature:
    """Decode Blood Pressure Feature (2A49).

    Args:
        frame: 2 octets, little-endian.

    Raises:
        MalformedFrame: not 2 octets.
    """
    reader = FrameReader(frame, "Blood Pressure Feature")
    word = reader.u16()
    reader.finish()
    return BloodPressureFeature(names_of(word, _FEATURES), word)


def _unit(flags: int) -> Unit:
    return Unit.KPA if flags & _KPA else Unit.MMHG


def _parse_around(reader: FrameReader, flags: int) -> _Around:
    time_stamp = parse_date_time(reader.bytes(DATE_TIME_OCTETS)) if flags & _TIME_STAMP else None
    pulse = parse_sfloat(reader.u16()) if flags & _PULSE else None
    user = reader.u8() if flags & _USER else _UNKNOWN_USER
    word = reader.u16() if flags & _STATUS else 0
    reader.finish()
    pulse_range = word >> 3 & 3
    words = [*names_of(word, _STATUS_BITS), *(name for code, name in _PULSE_RANGES.items() if code == pulse_range)]
    meant = sum(1 << bit for bit in _STATUS_BITS) | (0 if pulse_range == 3 else 0b11000)
    return _Around(
        time_stamp=time_stamp,
        is_time_sent=bool(flags & _TIME_STAMP),
        pulse_per_min=pulse,
        user_index=None if user == _UNKNOWN_USER else user,
        status=tuple(sorted(words)),
        reserved_status=word & ~meant & 0xFFFF,
        reserved_flags=flags & _RESERVED,
    )
