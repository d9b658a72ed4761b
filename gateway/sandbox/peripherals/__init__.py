"""Virtual devices."""

from gateway.sandbox.peripherals.blood_pressure import CuffReading, VirtualBloodPressureMonitor
from gateway.sandbox.peripherals.broadcaster import VirtualBroadcaster
from gateway.sandbox.peripherals.cgm import CgmSample, VirtualCgm
from gateway.sandbox.peripherals.heart_rate import HeartBeat, VirtualHeartRateBelt
from gateway.sandbox.peripherals.meter import MeterContext, MeterRecord, VirtualMeter
from gateway.sandbox.peripherals.onetouch import OneTouchTest, VirtualOneTouch
from gateway.sandbox.peripherals.oximeter import OximetrySample, SpotCheck, VirtualOximeter
from gateway.sandbox.peripherals.scale import VirtualScale, WeighIn
from gateway.sandbox.peripherals.thermometer import Temperature, VirtualThermometer

__all__ = [
    "CgmSample",
    "CuffReading",
    "HeartBeat",
    "MeterContext",
    "MeterRecord",
    "OneTouchTest",
    "OximetrySample",
    "SpotCheck",
    "Temperature",
    "VirtualBloodPressureMonitor",
    "VirtualBroadcaster",
    "VirtualCgm",
    "VirtualHeartRateBelt",
    "VirtualMeter",
    "VirtualOneTouch",
    "VirtualOximeter",
    "VirtualScale",
    "VirtualThermometer",
    "WeighIn",
]
