from __future__ import annotations

import asyncio
import re
import shlex
import tomllib
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from test_mqtt_doc import Heard

from gateway.adapters.sources.mqtt import MqttSource
from gateway.addresses import AddressBook
from gateway.clock import SystemClock
from gateway.devices.dialects import DIALECTS
from gateway.model import Device, DeviceId, Enrolment, Metric
from gateway.sandbox.broker import run_mosquitto
from gateway.settings import load_settings

ROOT = Path(__file__).parents[2]
PAGES = {"theengs": "theengs", "esphome": "esphome_miscale", "home-assistant": "ha_statestream"}
SCALE = DeviceId("bathroom-scale")


class NobodyPaired:
    """A house where everything stands in the file."""

    async def enrol(self, enrolment: Enrolment) -> None:
        raise NotImplementedError

    async def withdraw_device(self, device_id: DeviceId, at: object) -> bool:
        raise NotImplementedError

    async def enrolments(self) -> list[Enrolment]:
        return []


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / "sources" / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def written(folder: Path, page: str, port: int) -> Path:
    """The configuration that the page shows, with a broker of the test's and somebody to own the scale."""
    first = blocks(page, "toml")[0]
    path = folder / "hub.toml"
    broker = f'[mqtt]\nenabled = true\nhost = "127.0.0.1"\nport = {port}\ntls = false\n'
    path.write_text(f'{broker}\n{first}\n[[people]]\nid = "camille"\nname = "Camille"\n', encoding="utf-8")
    return path


@pytest.mark.parametrize("page", PAGES)
async def test_the_set_up_of_the_page_works(tmp_path: Path, page: str) -> None:
    """With the configuration of the page, its commands give one weigh-in of one scale, with weight and impedance."""
    heard, clock = Heard(), SystemClock()
    async with run_mosquitto(tmp_path) as broker:
        settings = load_settings(written(tmp_path, page, broker.port))
        _, devices = settings.household()
        book = AddressBook(devices, NobodyPaired(), clock)
        source = MqttSource(settings.mqtt, clock=clock, zone_of=lambda _: ZoneInfo("Europe/Paris"), addresses=book)
        commands = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            run = tasks.create_task(source.run(heard))
            await source.connected()
            for command in commands:
                process = await asyncio.create_subprocess_exec(*shlex.split(command), "-p", str(broker.port))
                assert 0 == await process.wait()
            async with heard.changed:
                await heard.changed.wait_for(lambda: sum(len(batch.readings) for batch in heard.batches) >= 2)
            run.cancel()
    readings = [reading for batch in heard.batches for reading in batch.readings]
    assert {Metric.BODY_MASS, Metric.IMPEDANCE} == {reading.metric for reading in readings}
    assert ({SCALE}, 1) == (
        {reading.device_id for reading in readings},
        len({reading.context.weigh_in for reading in readings}),
    )
    assert () == tuple(aside for batch in heard.batches for aside in batch.quarantined)


@pytest.mark.parametrize("page", PAGES)
def test_the_page_names_the_dialect_and_its_rights(page: str) -> None:
    """Each page names its dialect; the lines for the broker are those that the shipped rights hold as remarks."""
    text = (ROOT / "docs" / "sources" / f"{page}.md").read_text(encoding="utf-8")
    shipped = (ROOT / "config" / "mosquitto.acl").read_text(encoding="utf-8")
    assert f"| dialect | `{PAGES[page]}` |" in text
    lines = [
        line for block in blocks(page, "text") for line in block.splitlines() if line and line != "user passerelle"
    ]
    assert [] == [line for line in lines if f"# {line}\n" not in shipped]


def test_every_dialect_is_in_the_table() -> None:
    """The page about MQTT lists every dialect with its default topics."""
    page = (ROOT / "docs" / "mqtt.md").read_text(encoding="utf-8")
    for dialect in DIALECTS:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| [`{dialect.name}`]")]
        assert [] == [topic for topic in dialect.topics if f"`{topic}`" not in row]


def test_the_example_configuration_is_sound(tmp_path: Path) -> None:
    """The remarks about dialects in the example configuration, taken in, are a lawful configuration."""
    example = (ROOT / "config" / "hub.toml").read_text(encoding="utf-8")
    start, end = example.index("# [[mqtt.dialects]]"), example.index("# --- the people")
    lines = [line.removeprefix("# ").removeprefix("#") for line in example[start:end].splitlines()]
    text = "\n".join(lines)
    devices = {each["device"] for each in tomllib.loads(text)["mqtt"]["dialects"] if "device" in each}
    named = "".join(f'[[devices]]\nid = "{each}"\nkind = "scale"\nname = "x"\n' for each in sorted(devices))
    path = tmp_path / "hub.toml"
    path.write_text(f"{text}\n{named}", encoding="utf-8")
    assert 3 == len(load_settings(path).mqtt.dialects)


async def test_an_enrolled_device_is_found(tmp_path: Path) -> None:
    """The address book knows the devices of the file at once, and no others."""
    device = Device(
        SCALE, load_settings(written(tmp_path, "theengs", 1)).devices[0].kind, "x", address="5C:CA:D3:70:D4:A2"
    )
    book = AddressBook([device], NobodyPaired(), SystemClock())
    assert (SCALE, None) == (await book.device_of("5c:ca:d3:70:d4:a2"), await book.device_of("0C:1C:B1:00:00:02"))
    assert ("5C:CA:D3:70:D4:A2", None) == (await book.address_of(SCALE), await book.address_of(DeviceId("x")))
