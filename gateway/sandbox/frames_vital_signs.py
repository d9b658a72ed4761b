"""Encoders for the frames of cuffs, belts, thermometers and oximeters, written independently of the decoders.

All frames are little-endian. A value that a field cannot hold exactly raises ValueError. Source: GATT Specification
Supplement; IEEE 11073-20601 for FLOAT.
"""

from __future__ import annotations

from decimal import Decimal

from gateway.model import Unit
from gateway.sandbox.frames import encode_date_time, encode_sfloat
from gateway.sandbox.records import SfloatSpecial
from gateway.sandbox.records_vital_signs import CuffReading, HeartBeat, OximetrySample, SpotCheck, Temperature

__all__ = [
    "encode_blood_pressure",
    "encode_continuous_oximetry",
    "encode_cuff_pressure",
    "encode_float32",
    "encode_heart_rate",
    "encode_plx_features",
    "encode_spot_check",
    "encode_temperature",
]

_SPECIALS_32 = {
    SfloatSpecial.NAN: 0x007FFFFF,
    SfloatSpecial.NRES: 0x00800000,
    SfloatSpecial.POS_INF: 0x007FFFFE,
    SfloatSpecial.NEG_INF: 0x00800002,
    SfloatSpecial.RESERVED: 0x00800001,
}
_HIGHEST_MANTISSA = 0x7FFFFD


def encode_float32(value: Decimal | SfloatSpecial | None) -> bytes:
    """One FLOAT, 4 octets; None is NaN, and a special value the one of the same name.

    Raises:
        ValueError: the value has no exact FLOAT.
    """
    if value is None or isinstance(value, SfloatSpecial):
        return _SPECIALS_32[SfloatSpecial.NAN if value is None else value].to_bytes(4, "little")
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError("a FLOAT that is no number is None here")  # noqa: TRY004
    mantissa = int("".join(map(str, digits))) * (-1 if sign else 1)
    if abs(mantissa) > _HIGHEST_MANTISSA or not -128 <= exponent <= 127:
        raise ValueError("no exact FLOAT for this value")
    return mantissa.to_bytes(3, "little", signed=True) + exponent.to_bytes(1, "little", signed=True)


def _sfloat(value: Decimal | SfloatSpecial | None) -> bytes:
    return encode_sfloat(SfloatSpecial.NAN if value is None else value)


def encode_blood_pressure(reading: CuffReading) -> bytes:
    """Blood Pressure Measurement 2A35."""
    flags, tail = _around(reading)
    return bytes((flags,)) + b"".join(map(_sfloat, (reading.systolic, reading.diastolic, reading.mean))) + tail


def encode_cuff_pressure(reading: CuffReading) -> bytes:
    """Intermediate Cuff Pressure 2A36 with `reading.systolic` as the pressure in the cuff."""
    flags, tail = _around(reading)
    return bytes((flags,)) + _sfloat(reading.systolic) + 2 * encode_sfloat(SfloatSpecial.NAN) + tail


def _around(reading: CuffReading) -> tuple[int, bytes]:
    flags, tail = 1 if reading.unit is Unit.KPA else 0, b""
    if reading.time_stamp is not None:
        flags |= 0x02
        tail += encode_date_time(reading.time_stamp)
    if reading.pulse_per_min is not None:
        flags |= 0x04
        tail += encode_sfloat(reading.pulse_per_min)
    if reading.user is not None:
        flags |= 0x08
        tail += bytes((reading.user,))
    if reading.status is not None:
        flags |= 0x10
        tail += reading.status.to_bytes(2, "little")
    return flags, tail


def encode_heart_rate(beat: HeartBeat) -> bytes:
    """Heart Rate Measurement 2A37."""
    is_wide = beat.rate_per_min > 0xFF
    flags = 0x01 if is_wide else 0
    if beat.has_contact is not None:
        flags |= 0x06 if beat.has_contact else 0x04
    tail = beat.rate_per_min.to_bytes(2 if is_wide else 1, "little")
    if beat.energy_kj is not None:
        flags |= 0x08
        tail += beat.energy_kj.to_bytes(2, "little")
    if beat.rr_intervals_1024:
        flags |= 0x10
        tail += b"".join(ticks.to_bytes(2, "little") for ticks in beat.rr_intervals_1024)
    return bytes((flags,)) + tail


def encode_temperature(temperature: Temperature) -> bytes:
    """Temperature Measurement 2A1C, and Intermediate Temperature 2A1E, which is laid out alike."""
    flags, tail = 1 if temperature.unit is Unit.FAHRENHEIT else 0, b""
    if temperature.time_stamp is not None:
        flags |= 0x02
        tail += encode_date_time(temperature.time_stamp)
    if temperature.site is not None:
        flags |= 0x04
        tail += bytes((temperature.site,))
    return bytes((flags,)) + encode_float32(temperature.temperature) + tail


def encode_spot_check(check: SpotCheck, *, from_memory: bool = False) -> bytes:
    """PLX Spot-Check Measurement 2A5E; `from_memory` sets the status bit "data from measurement storage"."""
    flags, tail = 0x10 if check.is_clock_unset else 0, b""
    if check.time_stamp is not None:
        flags |= 0x01
        tail += encode_date_time(check.time_stamp)
    status = check.measurement_status
    if status is not None and from_memory:
        status |= 0x0200
    present, rest = _plx_rest(status, check.device_status, check.amplitude_percent)
    head = _sfloat(check.saturation_percent) + _sfloat(check.pulse_per_min)
    return bytes((flags | present << 1,)) + head + tail + rest


def encode_continuous_oximetry(sample: OximetrySample) -> bytes:
    """PLX Continuous Measurement 2A5F."""
    flags, tail = 0, _sfloat(sample.saturation_percent) + _sfloat(sample.pulse_per_min)
    for bit, pair in ((0x01, sample.fast), (0x02, sample.slow)):
        if pair is not None:
            flags |= bit
            tail += encode_sfloat(pair[0]) + encode_sfloat(pair[1])
    present, rest = _plx_rest(sample.measurement_status, sample.device_status, sample.amplitude_percent)
    return bytes((flags | present << 2,)) + tail + rest


def _plx_rest(measurement: int | None, device: int | None, amplitude: Decimal | None) -> tuple[int, bytes]:
    """What ends both measurements: which of the three fields are there (bits 0, 1, 2), and their octets."""
    present, octets = 0, b""
    if measurement is not None:
        present |= 1
        octets += measurement.to_bytes(2, "little")
    if device is not None:
        present |= 2
        octets += device.to_bytes(3, "little")
    if amplitude is not None:
        present |= 4
        octets += encode_sfloat(amplitude)
    return present, octets


def encode_plx_features(
    features: int, measurement_status: int | None = None, device_status: int | None = None
) -> bytes:
    """PLX Features 2A60; bits 0 and 1 are set where the supported status bits are given."""
    word = features & ~0x0003 | (measurement_status is not None) | (device_status is not None) << 1
    support = b"" if measurement_status is None else measurement_status.to_bytes(2, "little")
    support += b"" if device_status is None else device_status.to_bytes(3, "little")
    return word.to_bytes(2, "little") + support
