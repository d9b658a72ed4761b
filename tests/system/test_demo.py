"""The main job, started as a newcomer starts it: real broker, Bluetooth link, store, health space, page."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.clock import SystemClock
from gateway.model import DepartureState, Metric, PersonId

pytestmark = pytest.mark.timeout(180)
_READY_S, _FACTS_S = 40.0, 60.0
_FACTS = (
    "received   Lecteur de glycémie (bluetooth)",
    "received   Capteur de glucose (bluetooth)",
    "received   Pèse-personne Bluetooth (bluetooth)",
    "received   Pèse-personne MQTT (mqtt)",
    "asks       who was on the scale?",
    "summarised Camille",
    "everything that Camille agreed to",
)


class Demo:
    """A running demonstration and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def hear(self, what: str, within_s: float) -> str:
        """The first line, past or future, that holds `what`."""
        assert self.process.stdout is not None
        for line in self.lines:
            if what in line:
                return line
        async with asyncio.timeout(within_s):
            while raw := await self.process.stdout.readline():
                self.lines.append(raw.decode().rstrip())
                if what in self.lines[-1]:
                    return self.lines[-1]
        raise AssertionError(f"the demonstration ended without {what!r}:\n" + "\n".join(self.lines))

    async def url(self) -> str:
        """Address of the page, once it is ready."""
        found = re.search(r"http://\S+", await self.hear("ready", _READY_S))
        assert found is not None
        return found[0]

    async def facts(self) -> None:
        """Wait until everything that a newcomer should see has been said."""
        for fact in _FACTS:
            await self.hear(fact, _FACTS_S)

    async def stop(self) -> int:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            rest, _ = await self.process.communicate()
        assert self.process.returncode is not None
        assert "Stopped. Everything is kept" in rest.decode()
        return self.process.returncode


@asynccontextmanager
async def running_demo(folder: Path) -> AsyncIterator[Demo]:
    """Start it on a free port; kill it if the test leaves it running."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "demo", "--data", str(folder), "--port", "0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield Demo(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def keys_and_counts(folder: Path) -> tuple[list[str], int, int]:
    """Every stored key, how many departures are done, how many observations the space holds."""
    keys: list[str] = []
    async with SqliteStore.open(folder / "passerelle.db", clock=SystemClock()) as store:
        async for chunk in store.readings.export():
            keys += [item.reading.key for item in chunk]
        done = (await store.registry.departure_counts()).get(DepartureState.DONE, 0)
        assert await store.registry.verify_audit() is None
        lonely = await store.readings.readings(person_id=PersonId("dominique"), metrics=[Metric.BODY_MASS])
        assert len(lonely) > 5, "Dominique's weigh-ins stay at home, but they are kept"
        assert not await store.registry.departures(person_id=PersonId("dominique"))
    stored = [json.loads(line) for line in (folder / "space.jsonl").read_text(encoding="utf-8").splitlines()]
    held = sum(1 for line in stored if "Observation" in json.dumps(line)[:200])
    return keys, done, held


async def test_a_newcomer_sees_every_device_a_summary_and_what_was_accepted(tmp_path: Path) -> None:
    """From ready to everything sent, then Ctrl-C, then a second start that continues."""
    folder = tmp_path / "demo"
    async with running_demo(folder) as demo, aiohttp.ClientSession() as session:
        url = await demo.url()
        await demo.facts()
        async with session.get(url, headers={"Accept-Language": "fr"}) as answer:
            page = await answer.text()
            assert 200 == answer.status
        for words in (
            "Camille",
            "Dominique",
            "Lecteur de glycémie",
            "accepté",
            "14 derniers jours",
            "GMI",
            "1 pesée attend",
        ):
            assert words in page
        assert 0 == await demo.stop()
    first_keys, first_done, first_held = await keys_and_counts(folder)
    assert len(first_keys) == len(set(first_keys))
    assert first_done > 40

    async with running_demo(folder) as demo:
        await demo.hear("Continuing", _READY_S)
        await demo.url()
        await demo.facts()
        assert 0 == await demo.stop()
    keys, done, held = await keys_and_counts(folder)
    assert len(keys) == len(set(keys))
    assert set(first_keys) <= set(keys)
    assert done >= first_done
    assert held - first_held == done - first_done, "each departure is one observation, none was sent again"
