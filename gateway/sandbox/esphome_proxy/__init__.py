"""A virtual ESP32 with ESPHome's `bluetooth_proxy`: the native API on a TCP port, a virtual air behind it."""

from gateway.sandbox.esphome_proxy.proxy import VirtualProxy

__all__ = ["VirtualProxy"]
