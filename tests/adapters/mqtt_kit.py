"""What the MQTT tests share: a clock that stands, an intake that remembers, settings for a test broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.adapters.sources.mqtt import MqttSource
from gateway.adapters.sources.mqtt.dialects import AdvertSink
from gateway.errors import StoreUnavailable
from gateway.model import Batch, Checkpoint, CommitReceipt, DeviceId, Quarantined, Reading
from gateway.ports import Addresses, DeviceSighting, Intake
from gateway.sandbox.broker import Broker
from gateway.settings import MqttSettings

__all__ = [
    "KnownAddresses",
    "Line",
    "MemoryIntake",
    "StillClock",
    "captured",
    "mqtt_settings",
    "play",
    "reading_json",
    "running",
    "secret_file",
]

FIXTURES = Path(__file__).parents[1] / "fixtures" / "mqtt"


class StillClock:
    """Time moves when the test says so."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    @property
    def is_trusted(self) -> bool:
        return True


class MemoryIntake:
    """Keeps readings by key, as a store would; commits can be held up or refused."""

    def __init__(self) -> None:
        self.readings: dict[str, Reading] = {}
        self.quarantined: list[Quarantined] = []
        self.sightings: list[DeviceSighting] = []
        self.batches: list[Batch] = []
        self.checkpoints: dict[tuple[DeviceId, str], Checkpoint] = {}
        self.offered = 0
        self.asked = 0
        self.is_away = False
        self.gate = asyncio.Event()
        self.gate.set()
        self._changed = asyncio.Condition()

    async def submit(self, batch: Batch) -> CommitReceipt:
        self.offered += len(batch.readings)
        await self._tell()
        await self.gate.wait()
        if self.is_away:
            raise StoreUnavailable("away")
        self.batches.append(batch)
        added = 0
        for reading in batch.readings:
            added += reading.key not in self.readings
            self.readings[reading.key] = reading
        self.quarantined += batch.quarantined
        for checkpoint in batch.checkpoints:
            self.checkpoints[checkpoint.device_id, checkpoint.name] = checkpoint
        await self._tell()
        return CommitReceipt(added=added, known=len(batch.readings) - added, quarantined=len(batch.quarantined))

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        self.asked += 1
        await self._tell()
        if self.is_away:
            raise StoreUnavailable("away")
        return self.checkpoints.get((device_id, name))

    async def sighted(self, sighting: DeviceSighting) -> None:
        self.sightings.append(sighting)
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(
        self, *, readings: int = 0, quarantined: int = 0, sightings: int = 0, offered: int = 0, asked: int = 0
    ) -> None:
        """Wait until there are at least so many."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(
                lambda: (
                    len(self.readings) >= readings
                    and len(self.quarantined) >= quarantined
                    and len(self.sightings) >= sightings
                    and self.offered >= offered
                    and self.asked >= asked
                )
            )

    @property
    def records(self) -> set[str]:
        """Record keys of what was stored."""
        return {reading.record_key for reading in self.readings.values()}


class KnownAddresses:
    """Which device has which address, as the test says; may change while the source runs."""

    def __init__(self, **addresses: str) -> None:
        self.by_device = {DeviceId(name.replace("_", "-")): address for name, address in addresses.items()}

    async def device_of(self, address: str) -> DeviceId | None:
        return next((device for device, each in self.by_device.items() if each == address), None)

    async def address_of(self, device_id: DeviceId) -> str | None:
        return self.by_device.get(device_id)


class Line(NamedTuple):
    """One line of a captured log."""

    topic: str
    payload: bytes
    retain: bool = False
    qos: int = 1


def captured(name: str) -> list[Line]:
    """The lines of a fixture, `<dialect>/<file>` without its ending."""
    rows = [json.loads(line) for line in (FIXTURES / f"{name}.json").read_text(encoding="utf-8").splitlines()]
    return [Line(row["topic"], row["payload"].encode(), row["retain"], row["qos"]) for row in rows]


async def play(broker: Broker, lines: Iterable[Line], *, username: str | None = None, password: str = "") -> None:
    """Publish lines as they were captured, in their order; returns when the broker has them."""
    await asyncio.to_thread(_play, broker, list(lines), username, password)


def _play(broker: Broker, lines: list[Line], username: str | None, password: str) -> None:
    client = Client(CallbackAPIVersion.VERSION2, username or "player", protocol=MQTTProtocolVersion.MQTTv311)
    if username is not None:
        client.username_pw_set(username, password)
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        for line in lines:
            client.publish(line.topic, line.payload, line.qos, line.retain)
        client.publish("elsewhere", b"", 1).wait_for_publish(10)
    finally:
        client.disconnect()
        client.loop_stop()


def mqtt_settings(broker: Broker, **changes: Any) -> MqttSettings:
    """Settings for a broker of the test."""
    return MqttSettings.model_validate(
        {"enabled": True, "host": "127.0.0.1", "port": broker.port, "tls": False} | changes
    )


def reading_json(record: str, **changes: object) -> bytes:
    """A weigh-in in our format."""
    document: dict[str, object] = {
        "record": record,
        "time": "2026-03-01T07:12:00+01:00",
        "measurements": [{"metric": "body_mass", "value": 71.35, "unit": "kg"}],
    }
    return json.dumps(document | changes).encode()


def secret_file(path: Path, text: str) -> Path:
    """A file with mode 0600."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


@contextlib.asynccontextmanager
async def running(
    settings: MqttSettings,
    intake: Intake,
    *,
    clock: StillClock | None = None,
    wait: bool = True,
    addresses: Addresses | None = None,
    on_advert: AdvertSink | None = None,
) -> AsyncIterator[MqttSource]:
    """A source at work, connected; cancelled at the end as the gateway does it."""
    source = MqttSource(
        settings,
        clock=clock or StillClock(),
        zone_of=lambda _: ZoneInfo("Europe/Paris"),
        addresses=addresses,
        on_advert=on_advert,
    )
    task = asyncio.create_task(source.run(intake))
    try:
        if wait:
            async with asyncio.timeout(20):
                await source.connected()
        yield source
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
