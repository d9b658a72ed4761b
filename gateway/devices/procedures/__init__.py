"""Conversations with Bluetooth devices as state machines without I/O."""

from gateway.devices.procedures.bond_removal import BondRemoval
from gateway.devices.procedures.broadcast_scale import BthomeScale, MiScale
from gateway.devices.procedures.cgm_session import CgmSession
from gateway.devices.procedures.clock_setting import ClockChange, ClockSetting
from gateway.devices.procedures.device_facts import DeviceFacts, Facts
from gateway.devices.procedures.glucose_dump import GlucoseDump
from gateway.devices.procedures.glucose_fetch import GlucoseFetch
from gateway.devices.procedures.onetouch_fetch import OneTouchFetch
from gateway.devices.procedures.requests import (
    ATT_NOT_FOUND,
    BroadcastWeight,
    CgmSample,
    Close,
    CompositionSample,
    Frame,
    GlucoseRecord,
    Keep,
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
    WeightSample,
    Write,
    merged,
)
from gateway.devices.procedures.scale_session import ScaleSession, ScaleUser
from gateway.devices.procedures.user_registration import UserList, UserProfile, UserRegistration

__all__ = [
    "ATT_NOT_FOUND",
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
    "Keep",
    "Listener",
    "Mark",
    "MiScale",
    "OneTouchFetch",
    "Outcome",
    "Patience",
    "Procedure",
    "Read",
    "Record",
    "Request",
    "ScaleSession",
    "ScaleUser",
    "Spoiled",
    "Subscribe",
    "UserList",
    "UserProfile",
    "UserRegistration",
    "WeightSample",
    "Write",
    "merged",
]
