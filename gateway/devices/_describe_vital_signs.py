"""Descriptions of the characteristics of cuffs, heart rate belts, thermometers and pulse oximeters."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from gateway.devices._describe_common import Description, iso, number, put_sfloat
from gateway.devices.blood_pressure import (
    BloodPressureMeasurement,
    CuffPressure,
    parse_blood_pressure_feature,
    parse_blood_pressure_measurement,
    parse_intermediate_cuff_pressure,
)
from gateway.devices.heart_rate import (
    RR_TICK_S,
    SensorContact,
    parse_body_sensor_location,
    parse_heart_rate_measurement,
)
from gateway.devices.ieee11073 import FloatSpecial, SfloatSpecial
from gateway.devices.pulse_oximeter import (
    OximetryPair,
    PlxContinuousMeasurement,
    PlxSpotCheck,
    parse_plx_continuous_measurement,
    parse_plx_features,
    parse_plx_spot_check,
)
from gateway.devices.thermometer import (
    TemperatureMeasurement,
    parse_intermediate_temperature,
    parse_measurement_interval,
    parse_temperature_measurement,
    parse_temperature_type,
)
from gateway.model import Absent, Unit, convert

__all__ = ["VITAL_SIGNS"]

Describer = Callable[[bytes], Description]
_MILLISECONDS: Final = 1000


def _blood_pressure(frame: bytes) -> Description:
    measurement = parse_blood_pressure_measurement(frame)
    out: Description = {}
    if measurement.is_unsuccessful:
        out["not_available"] = Absent.UNSUCCESSFUL.value
    else:
        for name in ("systolic", "diastolic", "mean"):
            _put_pressure(out, name, getattr(measurement, name), measurement.unit)
    return out | _around(measurement)


def _cuff_pressure(frame: bytes) -> Description:
    measurement = parse_intermediate_cuff_pressure(frame)
    out: Description = {}
    _put_pressure(out, "cuff_pressure", measurement.pressure, measurement.unit)
    return out | _around(measurement)


def _around(measurement: BloodPressureMeasurement | CuffPressure) -> Description:
    out: Description = {"time_stamp": iso(measurement.time_stamp)}
    put_sfloat(out, "pulse_per_min", measurement.pulse_per_min)
    out["user_index"] = measurement.user_index
    out["status"] = list(measurement.status)
    if measurement.reserved_status:
        out["reserved_status"] = measurement.reserved_status
    if measurement.reserved_flags:
        out["reserved_flags"] = measurement.reserved_flags
    return out


def _put_pressure(out: Description, name: str, value: Decimal | SfloatSpecial, unit: Unit) -> None:
    """`<name>_mmhg`, exact, and `<name>_kpa` when it was sent so."""
    if not isinstance(value, Decimal):
        put_sfloat(out, f"{name}_mmhg", value)
        return
    out[f"{name}_mmhg"] = number(convert(value, unit, Unit.MMHG))
    if unit is Unit.KPA:
        out[f"{name}_kpa"] = number(value)


def _blood_pressure_feature(frame: bytes) -> Description:
    return {"features": list(parse_blood_pressure_feature(frame).supported)}


def _heart_rate(frame: bytes) -> Description:
    measurement = parse_heart_rate_measurement(frame)
    out: Description = {"heart_rate_per_min": measurement.heart_rate_per_min}
    if measurement.contact is not SensorContact.NOT_SUPPORTED:
        out["has_skin_contact"] = measurement.contact is SensorContact.DETECTED
    if measurement.energy_kj is not None:
        out["energy_kj"] = measurement.energy_kj
    if measurement.rr_intervals_1024:
        ticks_ms = RR_TICK_S * _MILLISECONDS
        out["rr_intervals_ms"] = [number(ticks * ticks_ms) for ticks in measurement.rr_intervals_1024]
    if measurement.reserved_flags:
        out["reserved_flags"] = measurement.reserved_flags
    return out


def _sensor_location(frame: bytes) -> Description:
    return {"body_sensor_location": parse_body_sensor_location(frame)}


def _temperature(parse: Callable[[bytes], TemperatureMeasurement]) -> Describer:
    def describe(frame: bytes) -> Description:
        measurement = parse(frame)
        out: Description = {}
        value = measurement.temperature
        if isinstance(value, FloatSpecial):
            put_sfloat(out, "temperature_c", SfloatSpecial[value.name])
        else:
            out["temperature_c"] = number(convert(value, measurement.unit, Unit.CELSIUS))
            if measurement.unit is Unit.FAHRENHEIT:
                out["temperature_f"] = number(value)
        out["time_stamp"] = iso(measurement.time_stamp)
        out["site"] = measurement.site
        if measurement.reserved_flags:
            out["reserved_flags"] = measurement.reserved_flags
        return out

    return describe


def _temperature_type(frame: bytes) -> Description:
    return {"site": parse_temperature_type(frame)}


def _measurement_interval(frame: bytes) -> Description:
    return {"interval_s": parse_measurement_interval(frame)}


def _spot_check(frame: bytes) -> Description:
    check = parse_plx_spot_check(frame)
    out: Description = {}
    _put_pair(out, "", check.values)
    out["time_stamp"] = iso(check.time_stamp)
    out["is_clock_unset"] = check.is_clock_unset
    return out | _plx_status(check)


def _continuous(frame: bytes) -> Description:
    measurement = parse_plx_continuous_measurement(frame)
    out: Description = {}
    _put_pair(out, "", measurement.values)
    for prefix, pair in (("fast_", measurement.fast), ("slow_", measurement.slow)):
        if pair is not None:
            _put_pair(out, prefix, pair)
    return out | _plx_status(measurement)


def _put_pair(out: Description, prefix: str, pair: OximetryPair) -> None:
    put_sfloat(out, f"{prefix}saturation_percent", pair.saturation_percent)
    put_sfloat(out, f"{prefix}pulse_per_min", pair.pulse_per_min)


def _plx_status(measurement: PlxSpotCheck | PlxContinuousMeasurement) -> Description:
    out: Description = {}
    if measurement.measurement_status is not None:
        out["measurement_status"] = list(measurement.measurement_status)
    if measurement.device_status is not None:
        out["device_status"] = list(measurement.device_status)
    put_sfloat(out, "pulse_amplitude_percent", measurement.pulse_amplitude_percent)
    if measurement.reserved_status:
        out["reserved_status"] = measurement.reserved_status
    if measurement.reserved_flags:
        out["reserved_flags"] = measurement.reserved_flags
    return out


def _plx_features(frame: bytes) -> Description:
    features = parse_plx_features(frame)
    out: Description = {"features": list(features.supported)}
    if features.measurement_status is not None:
        out["measurement_status_support"] = list(features.measurement_status)
    if features.device_status is not None:
        out["device_status_support"] = list(features.device_status)
    return out


VITAL_SIGNS: dict[str, tuple[str, Describer]] = {
    "2a1c": ("Temperature Measurement", _temperature(parse_temperature_measurement)),
    "2a1d": ("Temperature Type", _temperature_type),
    "2a1e": ("Intermediate Temperature", _temperature(parse_intermediate_temperature)),
    "2a21": ("Measurement Interval", _measurement_interval),
    "2a35": ("Blood Pressure Measurement", _blood_pressure),
    "2a36": ("Intermediate Cuff Pressure", _cuff_pressure),
    "2a37": ("Heart Rate Measurement", _heart_rate),
    "2a38": ("Body Sensor Location", _sensor_location),
    "2a49": ("Blood Pressure Feature", _blood_pressure_feature),
    "2a5e": ("PLX Spot-Check Measurement", _spot_check),
    "2a5f": ("PLX Continuous Measurement", _continuous),
    "2a60": ("PLX Features", _plx_features),
}
"""Short UUID -> SIG name and describer."""
