"""Descriptions of the scale, user, clock, information and battery characteristics, and of Xiaomi service data."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from gateway.devices._describe_common import Description, iso, number, put_height, put_mass, word
from gateway.devices.battery import parse_battery_level
from gateway.devices.body_composition import parse_body_composition_feature, parse_body_composition_measurement
from gateway.devices.current_time import AdjustReason, parse_current_time, parse_local_time_information
from gateway.devices.date_time import parse_date_time
from gateway.devices.device_information import parse_pnp_id, parse_system_id, parse_text
from gateway.devices.user_data import (
    UserControlPointOp,
    UserControlPointResult,
    parse_database_change_increment,
    parse_user_control_point_response,
    parse_user_index,
)
from gateway.devices.weight_scale import Resolution, parse_weight_measurement, parse_weight_scale_feature
from gateway.devices.xiaomi_scale import MiScaleMeasurement, parse_mi_body_composition, parse_mi_scale_v1
from gateway.model import Absent

__all__ = ["OTHERS", "SERVICE_DATA"]

Describer = Callable[[bytes], Description]

_TICK_S = Decimal("0.00390625")  # 1/256 second


def _weight(frame: bytes) -> Description:
    measurement = parse_weight_measurement(frame)
    out: Description = {}
    if measurement.weight is None:
        out["not_available"] = Absent.UNSUCCESSFUL.value
    put_mass(out, "mass", measurement.weight, measurement.weight_unit)
    out["time_stamp"] = iso(measurement.time_stamp)
    out["user_index"] = measurement.user_index
    _put(out, "bmi_kg_m2", measurement.bmi_kg_m2)
    put_height(out, measurement.height, measurement.height_unit)
    if measurement.reserved_flags:
        out["reserved_flags"] = measurement.reserved_flags
    return out


def _weight_feature(frame: bytes) -> Description:
    feature = parse_weight_scale_feature(frame)
    supported = {"time_stamp": feature.has_time_stamp, "multiple_users": feature.has_multiple_users}
    supported["bmi"] = feature.has_bmi
    names = [name for name, is_there in supported.items() if is_there]
    return {"features": names} | _resolutions(feature.mass_resolution, feature.height_resolution)


def _body_composition(frame: bytes) -> Description:
    measurement = parse_body_composition_measurement(frame)
    unit = measurement.mass_unit
    out: Description = {}
    if measurement.body_fat_percent is None:
        out["not_available"] = Absent.UNSUCCESSFUL.value
    _put(out, "body_fat_percent", measurement.body_fat_percent)
    out["time_stamp"] = iso(measurement.time_stamp)
    out["user_index"] = measurement.user_index
    _put(out, "basal_metabolism_kj", measurement.basal_metabolism_kj)
    _put(out, "muscle_percent", measurement.muscle_percent)
    put_mass(out, "muscle_mass", measurement.muscle_mass, unit)
    put_mass(out, "fat_free_mass", measurement.fat_free_mass, unit)
    put_mass(out, "soft_lean_mass", measurement.soft_lean_mass, unit)
    put_mass(out, "body_water_mass", measurement.body_water_mass, unit)
    _put(out, "impedance_ohm", measurement.impedance_ohm)
    put_mass(out, "mass", measurement.weight, unit)
    put_height(out, measurement.height, measurement.height_unit)
    out["is_multiple_packet"] = measurement.is_multiple_packet
    if measurement.reserved_flags:
        out["reserved_flags"] = measurement.reserved_flags
    return out


def _body_composition_feature(frame: bytes) -> Description:
    feature = parse_body_composition_feature(frame)
    resolutions = _resolutions(feature.mass_resolution, feature.height_resolution)
    return {"features": list(feature.supported)} | resolutions


def _resolutions(mass: Resolution | None, height: Resolution | None) -> Description:
    out: Description = {}
    if mass is not None:
        out |= {"mass_resolution_kg": number(mass.metric), "mass_resolution_lb": number(mass.imperial)}
    if height is not None:
        out |= {"height_resolution_m": number(height.metric), "height_resolution_in": number(height.imperial)}
    return out


def _user_control_point(frame: bytes) -> Description:
    response = parse_user_control_point_response(frame)
    out: Description = {
        "request": word(UserControlPointOp, response.request),
        "request_code": response.request,
        "result": word(UserControlPointResult, response.code),
        "result_code": response.code,
    }
    if response.user_index is not None:
        out["user_index"] = response.user_index
    if response.user_count is not None:
        out["user_count"] = response.user_count
    return out


def _database_change_increment(frame: bytes) -> Description:
    return {"database_change_increment": parse_database_change_increment(frame)}


def _user_index(frame: bytes) -> Description:
    return {"user_index": parse_user_index(frame)}


def _date_time(frame: bytes) -> Description:
    return {"date_time": iso(parse_date_time(frame))}


def _current_time(frame: bytes) -> Description:
    current = parse_current_time(frame)
    reasons = [reason.name.lower() for reason in AdjustReason if reason & current.adjust_reason and reason.name]
    return {
        "local_time": iso(current.local),
        "fraction_s": number(current.fractions_256 * _TICK_S),
        "day_of_week": current.day_of_week,
        "adjust_reason": reasons,
    }


def _local_time_information(frame: bytes) -> Description:
    information = parse_local_time_information(frame)
    return {
        "time_zone_min": information.time_zone_min,
        "dst_offset_min": information.dst_offset_min,
        "utc_offset_min": information.utc_offset_min,
    }


def _battery(frame: bytes) -> Description:
    return {"battery_percent": parse_battery_level(frame)}


def _system_id(frame: bytes) -> Description:
    return {"system_id": parse_system_id(frame)}


def _pnp_id(frame: bytes) -> Description:
    pnp = parse_pnp_id(frame)
    return {
        "vendor_source": pnp.vendor_source,
        "vendor_id": pnp.vendor_id,
        "product_id": pnp.product_id,
        "product_version": pnp.product_version,
    }


def _text(name: str) -> Describer:
    return lambda frame: {name: parse_text(frame)}


def _mi(parse: Callable[[bytes], MiScaleMeasurement]) -> Describer:
    def describe(service_data: bytes) -> Description:
        measurement = parse(service_data)
        out: Description = {}
        put_mass(out, "mass", measurement.weight, measurement.weight_unit)
        out["time_stamp"] = iso(measurement.time_stamp)
        _put(out, "impedance_ohm", measurement.impedance_ohm)
        out["is_stable"] = measurement.is_stable
        out["is_removed"] = measurement.is_removed
        return out

    return describe


def _put(out: Description, name: str, value: Decimal | None) -> None:
    if value is not None:
        out[name] = number(value)


OTHERS: dict[str, tuple[str, Describer]] = {
    "2a08": ("Date Time", _date_time),
    "2a0f": ("Local Time Information", _local_time_information),
    "2a19": ("Battery Level", _battery),
    "2a23": ("System ID", _system_id),
    "2a24": ("Model Number String", _text("model")),
    "2a25": ("Serial Number String", _text("serial")),
    "2a26": ("Firmware Revision String", _text("firmware")),
    "2a27": ("Hardware Revision String", _text("hardware")),
    "2a28": ("Software Revision String", _text("software")),
    "2a29": ("Manufacturer Name String", _text("manufacturer")),
    "2a2b": ("Current Time", _current_time),
    "2a50": ("PnP ID", _pnp_id),
    "2a99": ("Database Change Increment", _database_change_increment),
    "2a9a": ("User Index", _user_index),
    "2a9b": ("Body Composition Feature", _body_composition_feature),
    "2a9c": ("Body Composition Measurement", _body_composition),
    "2a9d": ("Weight Measurement", _weight),
    "2a9e": ("Weight Scale Feature", _weight_feature),
    "2a9f": ("User Control Point", _user_control_point),
}
"""Short UUID -> SIG name and describer."""

SERVICE_DATA: dict[str, tuple[str, Describer]] = {
    "181b": ("Mi Body Composition Scale", _mi(parse_mi_body_composition)),
    "181d": ("Mi Smart Scale", _mi(parse_mi_scale_v1)),
}
"""Short UUID of the service data -> device family and describer."""
