"""Who looks again at what was set aside, and at a log: every source of the configuration with its own decoder.

Like `app`, a place that knows adapters. A source that keeps raw payloads registers its redecoder here.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo

from gateway.adapters.sources.bluetooth.redecode import BluetoothRedecoder
from gateway.adapters.sources.mqtt.redecode import MqttRedecoder
from gateway.adapters.sources.mqtt.single import SingleDecoder
from gateway.adapters.sources.nightscout.redecode import CHANNEL, NightscoutRedecoder
from gateway.clock import EARLIEST_NOW
from gateway.model import DeviceId, SourceKind
from gateway.ports import Addresses, Intake
from gateway.replaying import Redecoders
from gateway.settings import Settings

__all__ = ["mqtt_decoder", "redecoders_of"]


def redecoders_of(
    settings: Settings, intake: Intake, zone_of: Callable[[DeviceId], tzinfo], addresses: Addresses
) -> Redecoders:
    """A redecoder for each source, whether it is switched on now or was once.

    Args:
        intake: what was known before.
        zone_of: zone of a device's owner.
        addresses: which device has which Bluetooth address.
    """
    redecoders = Redecoders()
    mqtt = MqttRedecoder(mqtt_decoder(settings, zone_of, addresses), intake, EARLIEST_NOW)
    redecoders.register(SourceKind.MQTT, mqtt)
    redecoders.register(SourceKind.BLUETOOTH, BluetoothRedecoder(intake, zone_of, EARLIEST_NOW))
    redecoders.register(SourceKind.HTTP, NightscoutRedecoder(zone_of, EARLIEST_NOW), CHANNEL)
    return redecoders


def mqtt_decoder(settings: Settings, zone_of: Callable[[DeviceId], tzinfo], addresses: Addresses) -> SingleDecoder:
    """The decoder that the MQTT source of this configuration uses."""
    return SingleDecoder(settings.mqtt, zone_of, addresses)
