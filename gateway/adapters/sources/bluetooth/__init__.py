"""Bluetooth Low Energy as a source of readings."""

from gateway.adapters.sources.bluetooth.source import BluetoothSource
from gateway.adapters.sources.bluetooth.states import DeviceState, LinkState

__all__ = ["BluetoothSource", "DeviceState", "LinkState"]
