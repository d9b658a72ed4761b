from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from jsonschema import Draft202012Validator

from gateway.adapters.sources.mqtt import MqttSource
from gateway.clock import SystemClock
from gateway.model import CATALOGUE, Batch, Checkpoint, CommitReceipt, Context, DeviceId, QuarantineReason
from gateway.ports import DeviceSighting
from gateway.sandbox.broker import Broker, run_mosquitto
from gateway.settings import MqttSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "mqtt.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(block.replace("\\\n", " ")) for block in re.findall(r"```sh\n(mosquitto_pub .*?)```", PAGE, re.DOTALL)
]
PAYLOADS = [command[command.index("-m") + 1] for command in COMMANDS if "-r" not in command]


class Heard:
    """An intake that remembers what it was given."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.sightings: list[DeviceSighting] = []
        self.changed = asyncio.Condition()

    async def submit(self, batch: Batch) -> CommitReceipt:
        self.batches.append(batch)
        async with self.changed:
            self.changed.notify_all()
        return CommitReceipt(added=len(batch.readings))

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        return None

    async def sighted(self, sighting: DeviceSighting) -> None:
        self.sightings.append(sighting)
        async with self.changed:
            self.changed.notify_all()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with run_mosquitto(tmp_path) as running:
        yield running


async def test_every_command_of_the_page_works(broker: Broker) -> None:
    """Each mosquitto_pub line of the page, typed as it stands, is taken by the gateway without a complaint."""
    settings = MqttSettings(enabled=True, host=broker.host, port=broker.port, tls=False)
    source = MqttSource(settings, clock=SystemClock(), zone_of=lambda _: ZoneInfo("Europe/Paris"))
    heard = Heard()
    expected = sum(len(record["measurements"]) for payload in PAYLOADS for record in as_list(payload))
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        run = tasks.create_task(source.run(heard))
        await source.connected()
        for command in COMMANDS:
            process = await asyncio.create_subprocess_exec(*command, "-p", str(broker.port))
            assert 0 == await process.wait()
        async with heard.changed:
            await heard.changed.wait_for(
                lambda: (
                    sum(len(batch.readings) for batch in heard.batches) >= expected
                    and any(sighting.battery_percent == 64 for sighting in heard.sightings)
                )
            )
        run.cancel()
    assert ((), expected) == (
        tuple(aside for batch in heard.batches for aside in batch.quarantined),
        sum(len(batch.readings) for batch in heard.batches),
    )


def as_list(payload: str) -> list[dict[str, list[object]]]:
    document = json.loads(payload)
    return document if isinstance(document, list) else [document]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_examples_fit_the_schema(payload: str) -> None:
    """The examples of the page are valid by the published schema, which is itself valid."""
    schema = json.loads((ROOT / "docs" / "mqtt-reading.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(payload))


def test_every_metric_and_unit_is_listed() -> None:
    """The table of metrics holds every metric of the catalogue with the units that it takes."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    for metric, info in CATALOGUE.items():
        (row,) = [row for row in rows if f"`{metric.value}`" in row]
        assert [unit.value for unit in info.units] == re.findall(r"`([^`]+)`", row.split("|")[2])


def test_every_context_field_and_reason_is_named() -> None:
    """No field of the context and no reason of the quarantine is missing from the page."""
    names = [*Context.__slots__, *(reason.value for reason in QuarantineReason)]
    assert [] == [name for name in names if f"`{name}`" not in PAGE]
