"""Descriptions of what a device says about itself, its clock, its users and its bonds."""

from __future__ import annotations

from collections.abc import Callable

from gateway.devices._describe_common import Description, number, word
from gateway.devices.battery import parse_battery_level_status
from gateway.devices.bond_management import BondOp, parse_bond_control_point, parse_bond_feature
from gateway.devices.current_time import parse_reference_time_information
from gateway.devices.device_information import parse_certifications, parse_text
from gateway.devices.user_profile import (
    parse_age,
    parse_birth_date,
    parse_gender,
    parse_height_cm,
    parse_registered_user,
    parse_user_list_segment,
    parse_user_weight_kg,
)

__all__ = ["FACTS"]


def _reference_time(frame: bytes) -> Description:
    reference = parse_reference_time_information(frame)
    return {
        "source": reference.source,
        "accuracy_s": None if reference.accuracy_s is None else number(reference.accuracy_s),
        "hours_since_update": reference.hours_since_update,
    }


def _certifications(frame: bytes) -> Description:
    return {
        "certifications": [
            {"body": entry.body, "structure": entry.structure, "data": entry.data.hex()}
            for entry in parse_certifications(frame)
        ]
    }


def _battery_status(frame: bytes) -> Description:
    status = parse_battery_level_status(frame)
    out: Description = {
        "is_present": status.is_present,
        "is_wired": status.is_wired,
        "is_wireless": status.is_wireless,
        "charge_state": status.charge_state,
        "charge_level": status.charge_level,
        "charging_faults": list(status.charging_faults),
    }
    for name, value in (
        ("identifier", status.identifier),
        ("battery_percent", status.percent),
        ("needs_service", status.needs_service),
        ("is_faulty", status.is_faulty),
    ):
        if value is not None:
            out[name] = value
    return out


def _bond_feature(frame: bytes) -> Description:
    return {"features": list(parse_bond_feature(frame).features)}


def _bond_request(frame: bytes) -> Description:
    request = parse_bond_control_point(frame)
    return {
        "request": word(BondOp, request.op_code),
        "request_code": request.op_code,
        "has_authorization_code": request.has_code,
    }


def _birth_date(frame: bytes) -> Description:
    born = parse_birth_date(frame)
    whole = born.whole
    return {
        "date_of_birth": None if whole is None else whole.isoformat(),
        "year": born.year,
        "month": born.month,
        "day": born.day,
    }


def _gender(frame: bytes) -> Description:
    gender = parse_gender(frame)
    return {"gender": None if gender is None else gender.name.lower()}


def _height(frame: bytes) -> Description:
    return {"height_cm": parse_height_cm(frame)}


def _user_weight(frame: bytes) -> Description:
    mass_kg = parse_user_weight_kg(frame)
    return {"mass_kg": None if mass_kg is None else number(mass_kg)}


def _age(frame: bytes) -> Description:
    return {"age_a": parse_age(frame)}


def _registered_user(frame: bytes) -> Description:
    segment = parse_user_list_segment(frame)
    out: Description = {"is_first": segment.is_first, "is_last": segment.is_last, "counter": segment.counter}
    if segment.is_first and segment.is_last:
        user = parse_registered_user(segment.body)
        out |= {"user_index": user.index, "user_name": user.name, "is_name_cut": user.is_name_cut}
    else:
        out["part"] = segment.body.hex()
    return out


def _text(name: str) -> Callable[[bytes], Description]:
    return lambda frame: {name: parse_text(frame)}


FACTS: dict[str, tuple[str, Callable[[bytes], Description]]] = {
    "2a14": ("Reference Time Information", _reference_time),
    "2a2a": ("IEEE 11073-20601 Regulatory Certification Data List", _certifications),
    "2a80": ("Age", _age),
    "2a85": ("Date of Birth", _birth_date),
    "2a8a": ("First Name", _text("first_name")),
    "2a8c": ("Gender", _gender),
    "2a8e": ("Height", _height),
    "2a90": ("Last Name", _text("last_name")),
    "2a98": ("Weight", _user_weight),
    "2aa4": ("Bond Management Control Point", _bond_request),
    "2aa5": ("Bond Management Feature", _bond_feature),
    "2b37": ("Registered User", _registered_user),
    "2bed": ("Battery Level Status", _battery_status),
}
"""Short UUID -> SIG name and describer."""
