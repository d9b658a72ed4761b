"""Readings over MQTT: our own JSON, from a broker beside us."""

from gateway.adapters.sources.mqtt.source import MqttCounters, MqttSource

__all__ = ["MqttCounters", "MqttSource"]
