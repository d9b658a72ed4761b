"""The virtual device lab: kinds of devices by name, each with a life that follows from a seed.

`KINDS` is where a new kind is entered: one line, a function from an air and a `Plan` to a `Specimen`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.model import DeviceKind
from gateway.sandbox._central import is_random_static
from gateway.sandbox.lab_glucose import MeterLife, OneTouchLife, SensorLife
from gateway.sandbox.lab_plan import Kind, LabClock, Plan, Specimen
from gateway.sandbox.lab_scales import BthomeLife, MiBodyCompositionLife, MiScaleLife, ScaleLife
from gateway.sandbox.lab_vital_signs import BeltLife, CuffLife, OximeterLife, ThermometerLife
from gateway.sandbox.peripherals.fault_needs import Part

__all__ = ["KINDS", "Kind", "LabClock", "Plan", "Specimen", "is_random_static"]

_LINKED: Final = frozenset({Part.LINK, Part.BOND})
_REMEMBERING: Final = _LINKED | {Part.CLOCK, Part.MEMORY}
_TELLING: Final = _REMEMBERING | {Part.DELIVERY}
_REPORTING: Final = _REMEMBERING | {Part.CONTROL_POINT, Part.SPECIAL_VALUES}

KINDS: Final[Mapping[str, Kind]] = {
    "glucose-meter": Kind(
        "a blood glucose meter with a memory",
        DeviceKind.GLUCOSE_METER,
        MeterLife,
        _REPORTING | {Part.CONTEXT, Part.NUMBERS},
    ),
    "onetouch-meter": Kind(
        "a blood glucose meter with the protocol of OneTouch",
        DeviceKind.GLUCOSE_METER,
        OneTouchLife,
        _REMEMBERING,
        first_year=2001,  # it counts from 2000, and has measured for a year at most
    ),
    "cgm": Kind("a continuous glucose sensor", DeviceKind.CGM, SensorLife, _REPORTING),
    "scale": Kind("a body composition scale for one person", DeviceKind.BODY_COMPOSITION_ANALYSER, ScaleLife, _TELLING),
    "mi-scale": Kind("a Xiaomi scale, which only broadcasts", DeviceKind.SCALE, MiScaleLife, frozenset({Part.CLOCK})),
    "mi-body-composition": Kind(
        "a Xiaomi scale with impedance, which only broadcasts",
        DeviceKind.BODY_COMPOSITION_ANALYSER,
        MiBodyCompositionLife,
        frozenset({Part.CLOCK}),
    ),
    "bthome-scale": Kind("a BTHome scale, which only broadcasts", DeviceKind.SCALE, BthomeLife, frozenset()),
    "blood-pressure-monitor": Kind(
        "a blood pressure monitor for the arm",
        DeviceKind.BLOOD_PRESSURE_MONITOR,
        CuffLife,
        _TELLING | {Part.SPECIAL_VALUES},
        sleeps=True,
    ),
    "thermometer": Kind(
        "a thermometer for the mouth",
        DeviceKind.THERMOMETER,
        ThermometerLife,
        _TELLING | {Part.SPECIAL_VALUES},
        sleeps=True,
    ),
    "pulse-oximeter": Kind(
        "a pulse oximeter with a memory of spot checks", DeviceKind.PULSE_OXIMETER, OximeterLife, _REPORTING
    ),
    "heart-rate-belt": Kind(
        "a heart rate belt, worn for a minute", DeviceKind.HEART_RATE_MONITOR, BeltLife, _LINKED, sleeps=True
    ),
}
"""What `gateway simulate` can be, by name."""
