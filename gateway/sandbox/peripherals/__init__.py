"""Virtual devices."""

from gateway.sandbox.peripherals.cgm import CgmSample, VirtualCgm
from gateway.sandbox.peripherals.meter import MeterContext, MeterRecord, VirtualMeter
from gateway.sandbox.peripherals.scale import VirtualScale, WeighIn

__all__ = ["CgmSample", "MeterContext", "MeterRecord", "VirtualCgm", "VirtualMeter", "VirtualScale", "WeighIn"]
