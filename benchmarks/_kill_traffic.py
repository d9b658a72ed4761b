"""The traffic of `kill_loop.py`: a scale that publishes without pause, and what the broker still holds at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _kill_child import SCALE, scale_message
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

__all__ = ["PUBLISH_PER_S", "Publisher", "begin_session", "goodbye_was_read", "left_in_broker"]

TOPIC = f"gateway/{SCALE}/reading"
SUBSCRIBED = ("gateway/+/reading", "gateway/+/status")
"""What the gateway itself asks for: another filter would overlap, and the broker would send everything twice."""
SESSION = "passerelle"
PUBLISH_PER_S = 60
_PATIENCE_S = 120.0


def _mqtt_client(port: int, client_id: str, *, keeps_session: bool) -> Client:
    client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(200)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    if keeps_session:
        properties.SessionExpiryInterval = 86_400
    client.connect("127.0.0.1", port, clean_start=not keeps_session, properties=properties)
    return client


def begin_session(port: int) -> None:
    """As after a first run of the gateway: from now on the broker keeps what comes for it."""
    client = _mqtt_client(port, SESSION, keeps_session=True)
    subscribed: list[bool] = []
    client.on_subscribe = lambda *_: subscribed.append(True)
    client.loop(0.2)
    client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in SUBSCRIBED])
    while not subscribed:
        client.loop(0.2)
    client.disconnect()


async def goodbye_was_read(folder: Path) -> bool:
    """Wait until the broker has taken note of the gateway's DISCONNECT, and so of every PUBACK before it.

    A broker that saves at every change may be behind; who takes the session over too early throws those PUBACKs away.
    """
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        log = await asyncio.to_thread((folder / "mosquitto.out").read_text)
        if log.rfind(f"Client {SESSION} disconnected") > log.rfind(f" as {SESSION} "):
            return True
        await asyncio.sleep(0.05)
    return False


def left_in_broker(port: int) -> int:
    """How many messages the broker still holds for the gateway: what comes before a last one of our own."""
    held: list[MQTTMessage] = []
    client = _mqtt_client(port, SESSION, keeps_session=True)
    client.on_message = lambda _client, _userdata, message: held.append(message)
    client.publish(TOPIC, b"end", qos=1)
    until = time.monotonic() + _PATIENCE_S
    while (not held or held[-1].payload != b"end") and time.monotonic() < until:
        client.loop(0.2)
    client.disconnect()
    return len(held) - 1


class Publisher:
    """Publishes weigh-ins 1, 2, 3... at a steady rate from a thread of its own."""

    def __init__(self, port: int) -> None:
        self._client = _mqtt_client(port, "publisher", keeps_session=False)
        self._began = time.monotonic()
        self.published = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep the connection served."""
        self._client.loop_start()
        try:
            yield
        finally:
            self._client.disconnect()
            self._client.loop_stop()

    async def go_on(self) -> None:
        """Publish what is due, for ever."""
        while True:
            for _ in range(int((time.monotonic() - self._began) * PUBLISH_PER_S) - self.published):
                self.publish()
            await asyncio.sleep(0.02)

    def publish(self) -> None:
        """The next weigh-in."""
        self.published += 1
        self._client.publish(TOPIC, scale_message(self.published), qos=1)

    async def settle(self) -> None:
        """Until the broker has all of them."""
        await asyncio.to_thread(self._client.publish(TOPIC + "/none", b"", qos=1).wait_for_publish, 60)
