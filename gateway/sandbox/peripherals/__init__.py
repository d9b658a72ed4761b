"""Virtual devices."""

from gateway.sandbox.peripherals.broadcaster import VirtualBroadcaster
from gateway.sandbox.peripherals.cgm import CgmSample, VirtualCgm
from gateway.sandbox.peripherals.meter import MeterContext, MeterRecord, VirtualMeter
from gateway.sandbox.peripherals.onetouch import OneTouchTest, VirtualOneTouch
from gateway.sandbox.peripherals.scale import VirtualScale, WeighIn

__all__ = [
    "CgmSample",
    "MeterContext",
    "MeterRecord",
    "OneTouchTest",
    "VirtualBroadcaster",
    "VirtualCgm",
    "VirtualMeter",
    "VirtualOneTouch",
    "VirtualScale",
    "WeighIn",
]
