"""Descriptions of the glucose and CGM characteristics and of the record access control point."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from gateway.devices._describe_common import Description, iso, number, put_sfloat, sfloat_words, word
from gateway.devices.cgm import (
    CgmRecord,
    parse_cgm_feature,
    parse_cgm_measurement,
    parse_cgm_status,
    parse_session_run_time,
    parse_session_start_time,
)
from gateway.devices.cgm_ops import (
    AlertKind,
    AlertLevel,
    Calibration,
    CgmOpsResponse,
    CgmOpsResponseCode,
    CgmOpsResult,
    CommunicationInterval,
    parse_cgm_ops_response,
)
from gateway.devices.glucose import (
    ConcentrationUnit,
    GlucoseMeasurement,
    MedicationUnit,
    parse_glucose_feature,
    parse_glucose_measurement,
    parse_glucose_measurement_context,
)
from gateway.devices.ieee11073 import SfloatSpecial
from gateway.devices.racp import RacpCount, RacpOpCode, RacpResponseCode, parse_racp_response
from gateway.errors import MalformedFrame
from gateway.model import BoundKind, Unit, convert

__all__ = ["CGM", "GLUCOSE"]

_T = TypeVar("_T")
_RATES = frozenset({AlertKind.RATE_OF_DECREASE, AlertKind.RATE_OF_INCREASE})


def _measurement(frame: bytes) -> Description:
    record = parse_glucose_measurement(frame)
    out: Description = {
        "sequence_number": record.sequence,
        "base_time": iso(record.base_time),
        "time_offset_min": record.time_offset_min,
        "user_facing_time": iso(record.user_time),
    }
    _put_concentration(out, record)
    _put_bound(out, record.status)
    if record.sample_type is not None:
        out["sample_type"] = record.sample_type
        out["sample_location"] = record.sample_location
        out["is_control_solution"] = record.is_control_solution
    out["status"] = list(record.status)
    out["context_follows"] = record.has_context
    return out


def _put_concentration(out: Description, record: GlucoseMeasurement) -> None:
    if isinstance(record.concentration, SfloatSpecial):
        kind, reason = sfloat_words(record.concentration)
        out[kind] = reason
        return
    everyday = record.everyday_concentration
    if record.concentration is None or everyday is None:
        return
    value, unit = everyday
    name = "glucose_kg_l" if record.unit is ConcentrationUnit.KG_L else "glucose_mol_l"
    out[name] = number(record.concentration)
    if unit is Unit.MMOL_L:
        out["glucose_mmol_l"] = number(value)
    out["glucose_mg_dl"] = number(convert(value, unit, Unit.MG_DL))


def _put_bound(out: Description, status: tuple[str, ...]) -> None:
    if "result_above_device_range" in status:
        out["bound"] = BoundKind.ABOVE.value
    elif "result_below_device_range" in status:
        out["bound"] = BoundKind.BELOW.value


def _context(frame: bytes) -> Description:
    context = parse_glucose_measurement_context(frame)
    out: Description = {"sequence_number": context.sequence}
    for name, value in (
        ("carbohydrate", context.carbohydrate_kind),
        ("meal", context.meal),
        ("tester", context.tester),
        ("health", context.health),
        ("exercise_duration_s", context.exercise_duration_s),
        ("exercise_intensity_percent", context.exercise_intensity_percent),
        ("medication", context.medication_kind),
        ("extended_flags", context.extended_flags),
    ):
        if value is not None:
            out[name] = value
    if context.is_exercise_overrun:
        out["exercise_duration_s"] = None
        out["exercise_duration_s_bound"] = BoundKind.ABOVE.value
    put_sfloat(out, "carbohydrate_g", context.carbohydrate_kg, factor=1000)
    if context.medication_unit is MedicationUnit.KG:
        put_sfloat(out, "medication_mg", context.medication_amount, factor=1_000_000)
    else:
        put_sfloat(out, "medication_ml", context.medication_amount, factor=1000)
    put_sfloat(out, "hba1c_percent", context.hba1c_percent)
    return out


def _feature(frame: bytes) -> Description:
    feature = parse_glucose_feature(frame)
    return {"features": list(feature.features), "detectable_status": list(feature.detectable_status)}


def _racp(frame: bytes) -> Description:
    answer = parse_racp_response(frame)
    if isinstance(answer, RacpCount):
        kind = "combined_report_response" if answer.is_combined else "number_of_records"
        return {"response": kind, "count": answer.count}
    return {
        "response": "response_code",
        "request": word(RacpOpCode, answer.request),
        "request_code": answer.request,
        "result": word(RacpResponseCode, answer.code),
        "result_code": int(answer.code),
    }


def _detected(parse: Callable[[bool], _T], has_crc: bool | None) -> tuple[_T, bool]:
    """Parse as told, or by the CRC where it fits and without one where not."""
    if has_crc is not None:
        return parse(has_crc), has_crc
    try:
        return parse(True), True
    except MalformedFrame:
        return parse(False), False


def _cgm_measurement(frame: bytes, has_crc: bool | None) -> Description:
    records, has_crc = _detected(lambda crc: parse_cgm_measurement(frame, has_crc=crc), has_crc)
    return {"has_crc": has_crc, "records": [_cgm_record(record) for record in records]}


def _cgm_record(record: CgmRecord) -> Description:
    out: Description = {"time_offset_min": record.time_offset_min}
    if isinstance(record.glucose_mg_dl, Decimal):
        out["glucose_mg_dl"] = number(record.glucose_mg_dl)
    else:
        kind, reason = sfloat_words(record.glucose_mg_dl)
        out[kind] = reason
    _put_bound(out, record.status)
    put_sfloat(out, "trend_mg_dl_min", record.trend_mg_dl_min)
    put_sfloat(out, "quality_percent", record.quality_percent)
    out["status"] = list(record.status)
    return out


def _cgm_feature(frame: bytes, _has_crc: bool | None) -> Description:
    feature = parse_cgm_feature(frame)
    return {
        "has_crc": feature.has_crc,
        "features": list(feature.features),
        "sample_type": feature.sample_type,
        "sample_location": feature.sample_location,
    }


def _cgm_status(frame: bytes, has_crc: bool | None) -> Description:
    status, has_crc = _detected(lambda crc: parse_cgm_status(frame, has_crc=crc), has_crc)
    return {"has_crc": has_crc, "time_offset_min": status.time_offset_min, "status": list(status.status)}


def _session_start(frame: bytes, has_crc: bool | None) -> Description:
    start, has_crc = _detected(lambda crc: parse_session_start_time(frame, has_crc=crc), has_crc)
    return {
        "has_crc": has_crc,
        "is_set": start.is_set,
        "local_time": iso(start.local_time),
        "time_zone_min": start.zone_offset_min,
        "dst_offset_min": start.dst_offset_min,
        "session_start": iso(start.start),
    }


def _session_run_time(frame: bytes, has_crc: bool | None) -> Description:
    hours, has_crc = _detected(lambda crc: parse_session_run_time(frame, has_crc=crc), has_crc)
    return {"has_crc": has_crc, "run_time_h": hours}


def _cgm_ops(frame: bytes, has_crc: bool | None) -> Description:
    response, has_crc = _detected(lambda crc: parse_cgm_ops_response(frame, has_crc=crc), has_crc)
    return {"has_crc": has_crc, **_cgm_ops_words(response)}


def _cgm_ops_words(response: CgmOpsResponse) -> Description:
    if isinstance(response, CommunicationInterval):
        return {
            "response": "communication_interval",
            "interval_min": response.interval_min,
            "is_off": response.is_off,
            "is_fastest": response.is_fastest,
        }
    if isinstance(response, Calibration):
        out: Description = {"response": "calibration", "record_number": response.record_number}
        put_sfloat(out, "glucose_mg_dl", response.glucose_mg_dl)
        return out | {
            "time_offset_min": response.time_offset_min,
            "sample_type": response.sample_type,
            "sample_location": response.sample_location,
            "next_calibration_min": response.next_calibration_min,
            "status": list(response.status),
        }
    if isinstance(response, AlertLevel):
        out = {"response": "alert_level", "alert": response.kind.value}
        put_sfloat(out, "level_mg_dl_min" if response.kind in _RATES else "level_mg_dl", response.level)
        return out
    return _cgm_ops_result(response)


def _cgm_ops_result(response: CgmOpsResult) -> Description:
    return {
        "response": "response_code",
        "request_code": response.request,
        "result": word(CgmOpsResponseCode, response.code),
        "result_code": int(response.code),
    }


GLUCOSE: dict[str, tuple[str, Callable[[bytes], Description]]] = {
    "2a18": ("Glucose Measurement", _measurement),
    "2a34": ("Glucose Measurement Context", _context),
    "2a51": ("Glucose Feature", _feature),
    "2a52": ("Record Access Control Point", _racp),
}
"""Short UUID -> SIG name and describer."""

CGM: dict[str, tuple[str, Callable[[bytes, bool | None], Description]]] = {
    "2aa7": ("CGM Measurement", _cgm_measurement),
    "2aa8": ("CGM Feature", _cgm_feature),
    "2aa9": ("CGM Status", _cgm_status),
    "2aaa": ("CGM Session Start Time", _session_start),
    "2aab": ("CGM Session Run Time", _session_run_time),
    "2aac": ("CGM Specific Ops Control Point", _cgm_ops),
}
"""The same for frames that may carry an E2E-CRC: True, False, or None to find out."""
