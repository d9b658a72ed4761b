"""E6 and E7: a hub that wakes without knowing the time, and one whose clock is set while it works."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sqlite3
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import structlog
from clock_kit import ADA, NOW, SCALE, FakeMachine, at_work
from structlog.testing import capture_logs

from gateway.app import Running, run_gateway
from gateway.clock import EARLIEST_NOW, LinuxMachine
from gateway.hub_clock import Found, HubClock, Lost, Stepped
from gateway.model import (
    Consent,
    DataType,
    DepartureDraft,
    DestinationId,
    Device,
    DeviceKind,
    TimeConfidence,
    TimeMethod,
    TimeQuality,
)
from gateway.ports import KeptDocument
from gateway.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
ASLEEP = datetime(1970, 1, 1, tzinfo=UTC)
MES = DestinationId("mes")
_PATIENCE_S = 30.0
_OPEN = [10_000_000, None, None, False]


@pytest.fixture(autouse=True)
def every_line() -> None:
    """Whatever an earlier test made of the log."""
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("change", "is_trusted"),
    [
        ({}, False),
        ({"synchronised": True}, True),
        ({"battery": NOW + timedelta(seconds=40)}, True),
        ({"battery": datetime(2000, 1, 1, tzinfo=UTC)}, False),
        ({"battery": NOW - timedelta(days=3)}, False),
        ({"wall": ASLEEP, "synchronised": True}, False),
        ({"wall": EARLIEST_NOW - timedelta(minutes=1), "battery": EARLIEST_NOW}, False),
    ],
)
def test_e6_what_makes_a_clock_believed(change: dict[str, object], is_trusted: bool) -> None:
    """The kernel's word, or a battery clock that agrees; nothing makes a clock before 2026 believed."""
    machine = replace(FakeMachine(NOW), **change)  # type: ignore[arg-type]
    assert is_trusted == HubClock(machine).is_trusted


@pytest.mark.parametrize(("wall", "is_trusted"), [(NOW, True), (ASLEEP, False)])
def test_e6_a_person_says_that_the_clock_is_right(wall: datetime, is_trusted: bool) -> None:
    """`clock = "trusted"` needs no evidence, and yet no machine is in 1970."""
    assert is_trusted == HubClock(FakeMachine(wall), is_believed=True).is_trusted


async def test_e6_receptions_are_repaired_once_the_time_is_known(tmp_path: Path) -> None:
    """Weighed in 1970, as far as the hub knew: unknown, in order of arrival, and right to the second afterwards."""
    machine = FakeMachine(ASLEEP)
    async with at_work(tmp_path, machine) as hub:
        await hub.weigh(1, "70.0")
        machine.uptime_s += 90
        await hub.weigh(2, "70.2")
        waiting = [stored.reading for stored in await hub.stored()]
        assert [TimeQuality.UNKNOWN] * 2 == [reading.time_quality for reading in waiting]
        assert timedelta(seconds=90) == waiting[1].received_at - waiting[0].received_at
        assert waiting[0].received_at > EARLIEST_NOW
        await hub.summaries.refresh()
        assert await hub.summaries.weight(ADA) is None
        registry = hub.store.registry
        await registry.plan([], [stored.row_id for stored in await registry.unplanned()], NOW)
        assert await registry.unplanned() == []

        machine.uptime_s += 30
        machine.set_to(NOW)
        with capture_logs() as lines:
            event = await hub.keeper.look()
        assert isinstance(event, Found)
        assert ["clock.found", "clock.history_repaired"] == [line["event"] for line in lines]
        assert (2, 2) == (lines[-1]["readings"], lines[-1]["placed"])
        repaired = [stored.reading for stored in await hub.stored()]
        assert [NOW - timedelta(seconds=120), NOW - timedelta(seconds=30)] == [r.effective_at for r in repaired]
        assert [r.effective_at for r in repaired] == [r.received_at for r in repaired]
        assert {(TimeQuality.RECEIVED, TimeMethod.RECEPTION_REPAIRED, 120)} == {
            (r.time_quality, r.time_method, r.utc_offset_min) for r in repaired
        }
        raw = await hub.store.readings.raw((await hub.stored())[0].raw_id or 0)
        assert raw is not None
        assert NOW - timedelta(seconds=120) == raw.received_at
        (fact,) = await hub.store.readings.facts(SCALE)
        assert ("clock.repaired", 2) == (fact.name, fact.state["readings"])
        assert hub.changed == 1
        assert repaired == [stored.reading for stored in await registry.unplanned()]
        await hub.summaries.refresh()
        trend = await hub.summaries.weight(ADA)
        assert trend is not None

        machine.uptime_s += 5
        assert await hub.keeper.look() is None
        await hub.weigh(3, "70.4")
    async with at_work(tmp_path, machine) as hub:
        assert [*repaired, NOW + timedelta(seconds=5)] == [
            *(stored.reading for stored in (await hub.stored())[:2]),
            (await hub.stored())[2].reading.effective_at,
        ]


async def test_e6_what_hangs_on_a_reception_is_repaired_with_it(tmp_path: Path) -> None:
    """Since when a shared scale is known, and when a document came: by the right clock, like the reception itself."""
    machine = FakeMachine(ASLEEP)
    async with at_work(tmp_path, machine) as hub:
        scale = Device(SCALE, DeviceKind.SCALE, "Scale", is_by_evidence=True, candidates=(ADA,))
        await hub.store.registry.declare([], [scale])
        await hub.weigh(1, "70.0")
        told = hub.clock.now()
        document = KeptDocument(ADA, SCALE, "treatments", "1", "{}", NOW - timedelta(days=1), told, told)
        undated = replace(document, identifier="2", dated_at=told)
        await hub.store.documents.keep([document, undated], most=10)
        machine.uptime_s += 60
        machine.set_to(NOW)
        await hub.keeper.look()
        minute_ago = NOW - timedelta(seconds=60)
        (stored,) = await hub.stored()
        (waiting,) = await hub.store.attributions.waiting()
        assert [minute_ago] * 2 == [stored.reading.received_at, waiting.acquainted_at]
        moved = replace(document, received_at=minute_ago, modified_at=minute_ago)
        assert moved == await hub.store.documents.document(ADA, "treatments", "1")
        moved = replace(moved, identifier="2", dated_at=minute_ago)
        assert moved == await hub.store.documents.document(ADA, "treatments", "2")


async def test_e6_a_process_that_starts_again_in_the_same_boot_goes_on(tmp_path: Path) -> None:
    """What two processes received before the network came is in order and repaired together."""
    machine = FakeMachine(ASLEEP)
    async with at_work(tmp_path, machine) as hub:
        await hub.weigh(1, "70.0")
    machine.uptime_s += 60
    machine.wall += timedelta(days=400)  # somebody's wrong guess changes nothing
    async with at_work(tmp_path, machine) as hub:
        await hub.weigh(2, "70.2")
    machine.uptime_s += 60
    machine.set_to(NOW)
    async with at_work(tmp_path, machine) as hub:
        assert hub.clock.is_trusted
        assert [NOW - timedelta(seconds=120), NOW - timedelta(seconds=60)] == [
            stored.reading.effective_at for stored in await hub.stored()
        ]


async def test_e6_a_clock_ahead_is_repaired_without_touching_later_readings(tmp_path: Path) -> None:
    """The hub thought it was an hour later: what it receives afterwards, at the very instants it told, stays."""
    machine = FakeMachine(NOW + timedelta(hours=1))
    async with at_work(tmp_path, machine) as hub:
        await hub.weigh(1, "70.0")
        machine.uptime_s += 60
        machine.set_to(NOW)
        await hub.keeper.look()
        machine.uptime_s += 3_600
        await hub.weigh(2, "70.2")
        at = [stored.reading.effective_at for stored in await hub.stored()]
        assert [NOW - timedelta(seconds=60), NOW + timedelta(hours=1)] == at
    async with at_work(tmp_path, machine) as hub:
        assert at == [stored.reading.effective_at for stored in await hub.stored()]


async def test_e6_a_boot_that_never_knew_stays_unknown(tmp_path: Path) -> None:
    """Switched off before the network came: nobody can say when it was; that is told, and the next boot comes later."""
    async with at_work(tmp_path, FakeMachine(ASLEEP)) as hub:
        await hub.weigh(1, "70.0")
        first = (await hub.stored())[0].reading
    with capture_logs() as lines:
        async with at_work(tmp_path, FakeMachine(ASLEEP, boot="boot-2")) as hub:
            await hub.weigh(2, "70.2")
            both = [stored.reading for stored in await hub.stored()]
    assert "clock.boot_never_knew_the_time" in [line["event"] for line in lines]
    assert first == both[0]
    assert both[0].received_at < both[1].received_at
    assert [TimeQuality.UNKNOWN] * 2 == [reading.time_quality for reading in both]


async def test_e6_a_device_time_that_nobody_could_doubt_is_doubted_afterwards(tmp_path: Path) -> None:
    """A scale that said 2027 was believed while the hub knew no better; a scale that said this morning stays so."""
    machine = FakeMachine(ASLEEP)
    async with at_work(tmp_path, machine) as hub:
        await hub.weigh(1, "70.0", device_time=datetime(2027, 6, 1, 8))  # noqa: DTZ001
        await hub.weigh(2, "70.2", device_time=datetime(2026, 6, 1, 8))  # noqa: DTZ001
        machine.set_to(NOW)
        await hub.keeper.look()
        later, morning = [stored.reading for stored in await hub.stored()]
        assert (TimeQuality.UNKNOWN, NOW) == (later.time_quality, later.effective_at)
        assert (TimeQuality.DEVICE, datetime(2026, 6, 1, 6, tzinfo=UTC)) == (morning.time_quality, morning.effective_at)


async def test_e6_floor_of_an_earlier_run(tmp_path: Path) -> None:
    """A battery clock that has stepped back behind what was noted while sure is not believed; the network is."""
    machine = FakeMachine(NOW, synchronised=True)
    async with at_work(tmp_path, machine) as hub:
        assert hub.clock.is_trusted
    earlier = NOW - timedelta(days=2)
    stepped = FakeMachine(earlier, boot="boot-2", battery=earlier)
    async with at_work(tmp_path, stepped) as hub:
        assert not hub.clock.is_trusted
        assert hub.clock.now() > NOW
        stepped.set_to(earlier)
        assert isinstance(await hub.keeper.look(), Found)
        assert hub.clock.is_trusted


async def test_e6_kill_between_the_time_being_found_and_the_repair(tmp_path: Path) -> None:
    """A `kill -9` after the error is durable and before history is repaired: the next process repairs it, once."""
    state = tmp_path / "machine.json"
    state.write_text(json.dumps({"wall": ASLEEP.isoformat(), "uptime_s": 10.0}))

    async def child(word: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "tests" / "clock_child.py"), str(tmp_path), word),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    victim = await child("collect")
    assert victim.stdout is not None
    assert victim.stdin is not None
    async with asyncio.timeout(_PATIENCE_S):
        assert b"stored\n" == await victim.stdout.readline()
        partial = state.with_suffix(".new")
        partial.write_text(json.dumps({"wall": NOW.isoformat(), "uptime_s": 70.0, "synchronised": True}))
        partial.replace(state)
        victim.stdin.write(b"now\n")
        assert b"found\n" == await victim.stdout.readline()
    victim.send_signal(signal.SIGKILL)
    await victim.wait()
    spell = _spell(tmp_path)
    assert spell is not None
    assert spell[4] is False
    for _ in range(2):
        second = await child("finish")
        async with asyncio.timeout(_PATIENCE_S):
            output, _ = await second.communicate()
        assert 0 == second.returncode
        assert ["2026-06-01T10:00:10+00:00 received reception_repaired"] == output.decode().splitlines()


def _spell(folder: Path) -> list[object] | None:
    connection = sqlite3.connect(folder / "passerelle.db")
    try:
        row = connection.execute("SELECT state FROM clock_session WHERE boot_id = 'boot-1'").fetchone()
    finally:
        connection.close()
    return None if row is None else json.loads(row[0]).get("spell")


async def test_e6_a_whole_gateway_waits_for_the_time_and_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`gateway run` keeps looking: soon after the network has set the clock it is believed, and that is durable."""
    machine = FakeMachine(ASLEEP)
    monkeypatch.setattr("gateway.hub_clock.LinuxMachine", lambda: machine)
    configured = Settings.model_validate({"store": {"path": tmp_path / "passerelle.db"}, "web": {"enabled": False}})
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_gateway(configured, started=ready.set_result))
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await ready
            assert _spell(tmp_path) == [round((EARLIEST_NOW - ASLEEP).total_seconds()) * 10**6 - 9_999_999, *_OPEN]
            machine.set_to(NOW)
            for wait_s in itertools.repeat(0.05):
                if (_spell(tmp_path) or [None] * 5)[4]:
                    break
                await asyncio.sleep(wait_s)
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_e7_two_hours_back_lose_no_schedule(tmp_path: Path) -> None:
    """What was to be tried in a minute is tried in a minute, what is leased is held no longer, and readings go on."""
    machine = FakeMachine(NOW, synchronised=True)
    async with at_work(tmp_path, machine) as hub:
        registry = hub.store.registry
        await registry.grant(Consent(ADA, DataType.WEIGHT, MES, NOW - timedelta(days=9), NOW - timedelta(days=9)))
        for name, wait_s in (("leased", 0), ("waiting", 60)):
            draft = DepartureDraft(name, ADA, DataType.WEIGHT, MES, "weight", NOW, "{}")
            at = hub.clock.now()
            await registry.plan([draft], (), at, not_before=at + timedelta(seconds=wait_s))
        assert ["leased"] == [row.draft.identity for row in await registry.lease(MES, hub.clock.now(), lease_s=120)]
        machine.set_to(NOW - timedelta(hours=2))
        event = await hub.keeper.look()
        assert isinstance(event, Stepped)
        assert abs(event.step + timedelta(hours=2, seconds=10)) < timedelta(seconds=1)
        assert hub.clock.is_trusted
        assert await registry.lease(MES, hub.clock.now(), lease_s=120) == []
        machine.uptime_s += 61
        assert ["waiting"] == [row.draft.identity for row in await registry.lease(MES, hub.clock.now(), lease_s=120)]
        machine.uptime_s += 60
        expired = await registry.lease(MES, hub.clock.now(), lease_s=120)
        assert [("leased", "unknown")] == [(row.draft.identity, row.state.value) for row in expired]
        await hub.weigh(1, "70.0")
        (stored,) = await hub.stored()
        assert hub.clock.now() == stored.reading.effective_at
        assert stored.reading.time_method is TimeMethod.RECEPTION


async def test_e7_a_battery_clock_that_jumps_back_is_no_longer_believed(tmp_path: Path) -> None:
    """Nothing vouches for it: what it receives from then on keeps its order, and waits for the network."""
    machine = FakeMachine(NOW, battery=NOW)
    async with at_work(tmp_path, machine) as hub:
        await hub.weigh(1, "70.0")
        machine.uptime_s += 60
        machine.set_to(NOW - timedelta(hours=2), synchronised=False)
        assert isinstance(await hub.keeper.look(), Lost)
        await hub.weigh(2, "70.2")
        first, second = [stored.reading for stored in await hub.stored()]
        assert first.received_at < second.received_at
        assert TimeQuality.UNKNOWN is second.time_quality
        machine.uptime_s += 60
        machine.set_to(NOW + timedelta(minutes=2))
        assert isinstance(await hub.keeper.look(), Found)
        first, second = [stored.reading for stored in await hub.stored()]
        assert NOW + timedelta(minutes=1) == second.effective_at
        assert TimeMethod.RECEPTION is first.time_method


def test_every_method_has_a_confidence() -> None:
    """Only neighbours are an estimate, and only nothing is nothing."""
    low = {method for method in TimeMethod if method.confidence is TimeConfidence.LOW}
    none = {method for method in TimeMethod if method.confidence is TimeConfidence.NONE}
    assert ({TimeMethod.NEIGHBOURS}, {TimeMethod.NOTHING}) == (low, none)


def test_this_machine_can_be_asked(tmp_path: Path) -> None:
    """The real readers answer, without any right, and a battery clock is read where the kernel has one."""
    machine = LinuxMachine()
    assert isinstance(machine.is_synchronised(), bool)
    assert machine.boot_id() == machine.boot_id()
    assert 0 < machine.boot_us() < machine.wall_us()
    clock = tmp_path / "sys" / "class" / "rtc" / "rtc0"
    assert LinuxMachine(tmp_path).battery_clock() is None
    clock.mkdir(parents=True)
    (clock / "since_epoch").write_text("1780308000\n")
    assert datetime(2026, 6, 1, 10, tzinfo=UTC) == LinuxMachine(tmp_path).battery_clock()
    assert Decimal(0) <= Decimal(machine.monotonic())
