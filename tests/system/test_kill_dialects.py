"""The gateway's process is killed while it takes in what neither names itself nor says when it was made."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from gateway.adapters.sources.mqtt import MqttSource
from gateway.adapters.stores.sqlite import SqliteStore
from gateway.changes import Changes
from gateway.clock import SystemClock
from gateway.intake import StoreIntake
from gateway.model import Batch, Checkpoint, CommitReceipt, DeviceId, Metric
from gateway.ports import DeviceSighting
from gateway.sandbox.broker import Broker, run_mosquitto
from gateway.settings import load_settings

LIVES = 4
WEIGH_INS = 5
SCALE = DeviceId("scale")
CONFIGURATION = """\
[store]
path = "passerelle.db"
[web]
enabled = false
[mqtt]
enabled = true
host = "127.0.0.1"
port = {port}
tls = false
[[mqtt.dialects]]
dialect = "esphome_miscale"
device = "scale"
topics = ["bathroom/sensor/+/state"]
[[devices]]
id = "scale"
kind = "body_composition_analyser"
name = "Balance"
"""


class Marked:
    """The doorway of the last life; says when the marker, published after everything else, is durable."""

    def __init__(self, inner: StoreIntake) -> None:
        self._inner = inner
        self.is_marked = asyncio.Event()

    async def submit(self, batch: Batch) -> CommitReceipt:
        receipt = await self._inner.submit(batch)
        if any(reading.device_id == "marker" for reading in batch.readings):
            self.is_marked.set()
        return receipt

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        return await self._inner.checkpoint(device_id, name)

    async def sighted(self, sighting: DeviceSighting) -> None:
        await self._inner.sighted(sighting)


def weigh_in(number: int) -> tuple[str, str]:
    """Weight and impedance of one weigh-in, unlike those of any other."""
    return f"{60 + Decimal(number) / 20:.2f}", str(400 + number)


def publish(broker: Broker, messages: list[tuple[str, str]]) -> None:
    """Publish with QoS 1, one after the other."""
    client = Client(CallbackAPIVersion.VERSION2, "node")
    client.connect(broker.host, broker.port)
    client.loop_start()
    for topic, payload in messages:
        client.publish(topic, payload, 1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def told(numbers: range) -> list[tuple[str, str]]:
    """Every weigh-in as a node tells it: weight, impedance, and both once more."""
    messages = []
    for number in numbers:
        kg, ohm = weigh_in(number)
        node = "bathroom/sensor/scale_"
        messages += [(f"{node}weight/state", kg), (f"{node}impedance/state", ohm)] * 2
    return messages


async def test_kill_at_any_moment_tells_each_weigh_in_once(tmp_path: Path) -> None:
    """Whatever a `kill -9` interrupts, each weigh-in is stored exactly once, and its impedance under the same name."""
    moment = random.Random(7)
    async with run_mosquitto(tmp_path / "broker") as broker:
        path = tmp_path / "hub.toml"
        path.write_text(CONFIGURATION.format(port=broker.port), encoding="utf-8")
        for life in range(LIVES):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "run", "--config", str(path)),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            try:
                assert process.stdout is not None
                async with asyncio.timeout(30):
                    async for line in process.stdout:
                        if b"mqtt.connected" in line:
                            break
                numbers = range(life * WEIGH_INS, (life + 1) * WEIGH_INS)
                talking = asyncio.create_task(asyncio.to_thread(publish, broker, told(numbers)))
                await asyncio.sleep(moment.uniform(0.0, 0.15))  # any moment will do
            finally:
                process.kill()
                await process.wait()
            await talking
        settings = load_settings(path)
        async with SqliteStore.open(settings.store.path, clock=SystemClock()) as store:
            intake = Marked(StoreIntake(store.readings, store.registry, Changes()))
            source = MqttSource(settings.mqtt, clock=SystemClock(), zone_of=lambda _: ZoneInfo("Europe/Paris"))
            run = asyncio.create_task(source.run(intake))
            await source.connected()
            marker = '{"record":"end","measurements":[{"metric":"body_mass","value":70,"unit":"kg"}]}'
            await asyncio.to_thread(publish, broker, [("gateway/marker/reading", marker)])
            async with asyncio.timeout(30):
                await intake.is_marked.wait()
            run.cancel()
            await asyncio.wait([run])
            readings = [each.reading for each in await store.readings.readings(device_id=SCALE)]
            aside = await store.readings.quarantined()
    count = LIVES * WEIGH_INS
    expected = [(Decimal(kg), Decimal(ohm)) for kg, ohm in map(weigh_in, range(count))]
    by_metric = {metric: [r for r in readings if r.metric is metric] for metric in (Metric.BODY_MASS, Metric.IMPEDANCE)}
    assert Counter(kg for kg, _ in expected) == Counter(r.value for r in by_metric[Metric.BODY_MASS])
    assert Counter(ohm for _, ohm in expected) == Counter(r.value for r in by_metric[Metric.IMPEDANCE])
    masses = {r.record_key: r.value for r in by_metric[Metric.BODY_MASS]}
    pairs = {(masses[r.record_key], r.value) for r in by_metric[Metric.IMPEDANCE] if r.record_key in masses}
    assert set() == pairs - set(expected)
    assert [] == aside
