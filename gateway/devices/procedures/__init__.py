"""Conversations with Bluetooth devices as state machines without I/O."""

from gateway.devices.procedures.bond_removal import BondRemoval
from gateway.devices.procedures.broadcast_scale import BthomeScale, MiScale
from gateway.devices.procedures.cgm_session import CgmSession
from gateway.devices.procedures.clock_setting import ClockChange, ClockSetting
from gateway.devices.procedures.device_facts import DeviceFacts, Facts
from gateway.devices.procedures.glucose_dump import GlucoseDump
from gateway.devices.procedures.glucose_fetch import GlucoseFetch
from gateway.devices.procedures.onetouch_fetch import OneTouchFetch
from gateway.devices.procedures.oximeter_session import OximeterSession
from gateway.devices.procedures.requests import (
    ATT_NOT_FOUND,
    BroadcastWeight,
    CgmSample,
    Close,
    CompositionSample,
    Frame,
    GlucoseRecord,
    Keep,
    KeyedListener,
    Listener,
    Mark,
    Outcome,
    Patience,
    Procedure,
    Read,
    Record,
    Request,
    Spoiled,
    Subscribe,
    VitalMeasurement,
    VitalSample,
    WeightSample,
    Write,
    merged,
)
from gateway.devices.procedures.scale_session import ScaleSession, ScaleUser
from gateway.devices.procedures.sealed_scale import SealedBthomeScale, SealedMiScale
from gateway.devices.procedures.user_registration import UserList, UserProfile, UserRegistration
from gateway.devices.procedures.vital_session import BloodPressureSession, HeartRateSession, ThermometerSession

__all__ = [
    "ATT_NOT_FOUND",
    "BloodPressureSession",
    "BondRemoval",
    "BroadcastWeight",
    "BthomeScale",
    "CgmSample",
    "CgmSession",
    "ClockChange",
    "ClockSetting",
    "Close",
    "CompositionSample",
    "DeviceFacts",
    "Facts",
    "Frame",
    "GlucoseDump",
    "GlucoseFetch",
    "GlucoseRecord",
    "HeartRateSession",
    "Keep",
    "KeyedListener",
    "Listener",
    "Mark",
    "MiScale",
    "OneTouchFetch",
    "Outcome",
    "OximeterSession",
    "Patience",
    "Procedure",
    "Read",
    "Record",
    "Request",
    "ScaleSession",
    "ScaleUser",
    "SealedBthomeScale",
    "SealedMiScale",
    "Spoiled",
    "Subscribe",
    "ThermometerSession",
    "UserList",
    "UserProfile",
    "UserRegistration",
    "VitalMeasurement",
    "VitalSample",
    "WeightSample",
    "Write",
    "merged",
]
