"""Pulse Oximeter Service (1822): oxygen saturation with its pulse rate, as a spot check or as a stream.

Source: Bluetooth Pulse Oximeter Service 1.0.1; GATT Specification Supplement, PLX Spot-Check Measurement (2A5E), PLX
Continuous Measurement (2A5F), PLX Features (2A60).
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

__all__ = [
    "DEVICE_AND_SENSOR_STATUS",
    "MEASUREMENT_STATUS",
    "OximetryPair",
    "PlxContinuousMeasurement",
    "PlxFeatures",
    "PlxSpotCheck",
    "parse_plx_continuous_measurement",
    "parse_plx_features",
    "parse_plx_spot_check",
]

MEASUREMENT_STATUS: Final = {
    5: "measurement_ongoing",
    6: "early_estimated_data",
    7: "validated_data",
    8: "fully_qualified_data",
    9: "data_from_storage",
    10: "demonstration_data",
    11: "testing_data",
    12: "calibration_ongoing",
    13: "measurement_unavailable",
    14: "questionable_measurement",
    15: "invalid_measurement",
}
"""Bit -> word; bits 0-4 are reserved."""
DEVICE_AND_SENSOR_STATUS: Final = {
    0: "extended_display_update",
    1: "equipment_malfunction",
    2: "signal_processing_irregularity",
    3: "inadequate_signal",
    4: "poor_signal",
    5: "low_perfusion",
    6: "erratic_signal",
    7: "nonpulsatile_signal",
    8: "questionable_pulse",
    9: "signal_analysis_ongoing",
    10: "sensor_interference",
    11: "sensor_unconnected_to_user",
    12: "unknown_sensor",
    13: "sensor_displaced",
    14: "sensor_malfunction",
    15: "sensor_disconnected",
}
"""Bit -> word; bits 16-23 are reserved."""
_FEATURES: Final = {
    0: "measurement_status",
    1: "device_and_sensor_status",
    2: "spot_check_storage",
    3: "spot_check_time_stamp",
    4: "fast_values",
    5: "slow_values",
    6: "pulse_amplitude_index",
    7: "multiple_bonds",
}
_MEASUREMENT_RESERVED: Final = 0x001F
_DEVICE_RESERVED: Final = 0xFF0000


@dataclass(frozen=True, slots=True)
class OximetryPair:
    """A saturation and the pulse rate that goes with it; specials while the sensor settles.

    Attributes:
        saturation_percent, pulse_per_min: exact.
        raw: both words on the wire, in that order, 0..0xFFFF.
    """

    saturation_percent: Decimal | SfloatSpecial
    pulse_per_min: Decimal | SfloatSpecial
    raw: tuple[int, int]


@dataclass(frozen=True, slots=True)
class PlxSpotCheck:
    """One indication of 2A5E.

    Attributes:
        values: the result.
        time_stamp: the oximeter's own local clock, naive; None when not sent, unknown or impossible.
        is_time_sent: whether a time stamp was sent, readable or not.
        is_clock_unset: the oximeter says that nobody has set its clock, so that the time stamp counts from anywhere.
        measurement_status: words of `MEASUREMENT_STATUS` in the order of the bits; None when not sent.
        device_status: words of `DEVICE_AND_SENSOR_STATUS` likewise; None when not sent.
        pulse_amplitude_percent: strength of the pulse; None when not sent.
        reserved_status: reserved bits that were set: of the measurement status, and of the device status shifted by 16.
        reserved_flags: flag bits 5-7, ignored but kept.
    """

    values: OximetryPair
    time_stamp: datetime | None = None
    is_time_sent: bool = False
    is_clock_unset: bool = False
    measurement_status: tuple[str, ...] | None = None
    device_status: tuple[str, ...] | None = None
    pulse_amplitude_percent: Decimal | SfloatSpecial | None = None
    reserved_status: int = 0
    reserved_flags: int = 0


@dataclass(frozen=True, slots=True)
class PlxContinuousMeasurement:
    """One notification of 2A5F.

    Attributes:
        values: as averaged normally.
        fast, slow: averaged over less and over more time; None when not sent.
        others as in `PlxSpotCheck`.
    """

    values: OximetryPair
    fast: OximetryPair | None = None
    slow: OximetryPair | None = None
    measurement_status: tuple[str, ...] | None = None
    device_status: tuple[str, ...] | None = None
    pulse_amplitude_percent: Decimal | SfloatSpecial | None = None
    reserved_status: int = 0
    reserved_flags: int = 0


@dataclass(frozen=True, slots=True)
class PlxFeatures:
    """2A60: what the oximeter can send.

    Attributes:
        supported: snake_case names, in the order of the bits.
        measurement_status: words that its measurement status can ever hold; None when it has no such field.
        device_status: likewise of its device and sensor status.
        raw: the first 16-bit word.
    """

    supported: tuple[str, ...]
    measurement_status: tuple[str, ...] | None
    device_status: tuple[str, ...] | None
    raw: int


def parse_plx_spot_check(frame: bytes) -> PlxSpotCheck:
    """Decode PLX Spot-Check Measurement (2A5E).

    Args:
        frame: flags u8, saturation SFLOAT, pulse rate SFLOAT, then as flagged: time stamp (7), measurement status u16,
            device and sensor status u24, pulse amplitude index SFLOAT. Exactly as long as the flags say: 5 to 19
            octets, little-endian.

    Raises:
        MalformedFrame: any other length.
    """
    reader = FrameReader(frame, "PLX Spot-Check Measurement")
    flags = reader.u8()
    values = _pair(reader)
    time_stamp = parse_date_time(reader.bytes(DATE_TIME_OCTETS)) if flags & 1 else None
    status = _Status.of(reader, has_measurement=bool(flags & 2), has_device=bool(flags & 4))
    amplitude = parse_sfloat(reader.u16()) if flags & 8 else None
    reader.finish()
    return PlxSpotCheck(
        values=values,
        time_stamp=time_stamp,
        is_time_sent=bool(flags & 1),
        is_clock_unset=bool(flags & 16),
        measurement_status=status.measurement,
        device_status=status.device,
        pulse_amplitude_percent=amplitude,
        reserved_status=status.reserved,
        reserved_flags=flags & 0xE0,
    )


def parse_plx_continuous_measurement(frame: bytes) -> PlxContinuousMeasurement:
    """Decode PLX Continuous Measurement (2A5F).

    Args:
        frame: flags u8, saturation SFLOAT, pulse rate SFLOAT, then as flagged: the fast pair, the slow pair (each two
            SFLOAT), measurement status u16, device and sensor status u24, pulse amplitude index SFLOAT. Exactly as
            long as the flags say: 5 to 20 octets, little-endian.

    Raises:
        MalformedFrame: any other length.
    """
    reader = FrameReader(frame, "PLX Continuous Measurement")
    flags = reader.u8()
    values = _pair(reader)
    fast = _pair(reader) if flags & 1 else None
    slow = _pair(reader) if flags & 2 else None
    status = _Status.of(reader, has_measurement=bool(flags & 4), has_device=bool(flags & 8))
    amplitude = parse_sfloat(reader.u16()) if flags & 16 else None
    reader.finish()
    return PlxContinuousMeasurement(
        values=values,
        fast=fast,
        slow=slow,
        measurement_status=status.measurement,
        device_status=status.device,
        pulse_amplitude_percent=amplitude,
        reserved_status=status.reserved,
        reserved_flags=flags & 0xE0,
    )


def parse_plx_features(frame: bytes) -> PlxFeatures:
    """Decode PLX Features (2A60).

    Args:
        frame: features u16, then as they say: measurement status support u16, device and sensor status support u24.

    Raises:
        MalformedFrame: any other length.
    """
    reader = FrameReader(frame, "PLX Features")
    word = reader.u16()
    status = _Status.of(reader, has_measurement=bool(word & 1), has_device=bool(word & 2))
    reader.finish()
    return PlxFeatures(names_of(word, _FEATURES), status.measurement, status.device, word)


@dataclass(frozen=True, slots=True)
class _Status:
    measurement: tuple[str, ...] | None
    device: tuple[str, ...] | None
    reserved: int

    @classmethod
    def of(cls, reader: FrameReader, *, has_measurement: bool, has_device: bool) -> _Status:
        measurement = reader.u16() if has_measurement else 0
        device = reader.u24() if has_device else 0
        return cls(
            names_of(measurement, MEASUREMENT_STATUS) if has_measurement else None,
            names_of(device, DEVICE_AND_SENSOR_STATUS) if has_device else None,
            measurement & _MEASUREMENT_RESERVED | (device & _DEVICE_RESERVED) << 16,
        )


def _pair(reader: FrameReader) -> OximetryPair:
    raw = (reader.u16(), reader.u16())
    return OximetryPair(parse_sfloat(raw[0]), parse_sfloat(raw[1]), raw)
