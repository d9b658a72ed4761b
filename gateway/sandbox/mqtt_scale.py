"""A scale that speaks our MQTT format, for trying the gateway and for tests."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from decimal import Decimal

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from gateway.errors import TransientError
from gateway.model import DeviceId

__all__ = ["MqttScale", "weigh_in"]

_TIMEOUT_S = 10.0


def weigh_in(record: str, measured_at: datetime, mass_kg: Decimal, *, impedance_ohm: Decimal | None = None) -> bytes:
    """One weigh-in as our JSON; the decimals are written exactly.

    Args:
        record: the scale's own name for it.
        measured_at: aware.
        mass_kg: as the scale shows it.
        impedance_ohm: if the scale has electrodes.
    """
    measurements = [{"metric": "body_mass", "value": str(mass_kg), "unit": "kg"}]
    if impedance_ohm is not None:
        measurements.append({"metric": "impedance", "value": str(impedance_ohm), "unit": "Ohm"})
    document = {
        "schema": "passerelle.reading/1",
        "record": record,
        "time": measured_at.isoformat(timespec="seconds"),
        "measurements": measurements,
        "context": {"weigh_in": record},
    }
    return json.dumps(document, separators=(",", ":")).encode()


class MqttScale:
    """Publishes weigh-ins with QoS 1 and knows when the broker has them. `async with` connects and says goodbye."""

    def __init__(
        self,
        device_id: DeviceId,
        *,
        host: str,
        port: int,
        username: str | None = None,
        password: str | None = None,
        topic_root: str = "gateway",
        is_mqtt5: bool = False,
    ) -> None:
        self.reading_topic = f"{topic_root}/{device_id}/reading"
        self.status_topic = f"{topic_root}/{device_id}/status"
        self._address = host, port
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=str(device_id),
            protocol=MQTTProtocolVersion.MQTTv5 if is_mqtt5 else MQTTProtocolVersion.MQTTv311,
        )
        if username is not None:
            self._client.username_pw_set(username, password)
        self._client.will_set(self.status_topic, b"offline", qos=1, retain=True)

    async def __aenter__(self) -> MqttScale:
        """Connect and publish `online`. Raises TransientError when the broker cannot be reached."""
        try:
            await asyncio.to_thread(self._client.connect, *self._address)
        except OSError as error:
            raise TransientError(f"no broker at {self._address[0]}:{self._address[1]}") from error
        self._client.loop_start()
        await self.publish(self.status_topic, b"online", retain=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Publish `offline` and disconnect."""
        try:
            await self.publish(self.status_topic, b"offline", retain=True)
        finally:
            self._client.disconnect()
            await asyncio.to_thread(self._client.loop_stop)

    async def weigh(
        self, record: str, measured_at: datetime, mass_kg: Decimal, *, impedance_ohm: Decimal | None = None
    ) -> None:
        """Publish one weigh-in; returns when the broker has acknowledged it."""
        await self.publish(self.reading_topic, weigh_in(record, measured_at, mass_kg, impedance_ohm=impedance_ohm))

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish anything; returns when the broker has acknowledged it.

        Raises:
            TransientError: not acknowledged within ten seconds.
        """
        info = self._client.publish(topic, payload, qos=qos, retain=retain)
        await asyncio.to_thread(_wait, info)


def _wait(info: MQTTMessageInfo) -> None:
    if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
        raise TransientError("the message could not be queued")
    try:
        info.wait_for_publish(_TIMEOUT_S)
    except (RuntimeError, ValueError) as error:
        raise TransientError("the message could not be published") from error
    if not info.is_published():
        raise TransientError("the broker has not acknowledged the message")
