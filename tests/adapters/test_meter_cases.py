"""D8 to D12 and E9 over a virtual link into a real store: which result is which, whatever a meter's counter does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from bluetooth_kit import NOW, PARIS, FrozenClock, make_device, make_source, until_state

from gateway.adapters.sources.bluetooth import BluetoothSource, LinkState
from gateway.adapters.stores.sqlite import SqliteStore
from gateway.changes import Changes
from gateway.intake import StoreIntake
from gateway.model import (
    Batch,
    Checkpoint,
    CommitReceipt,
    Device,
    DeviceId,
    DeviceKind,
    Person,
    PersonId,
    Reading,
)
from gateway.ports import DeviceSighting
from gateway.sandbox.peripherals import VirtualMeter
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records import MeterRecord
from gateway.summaries import Summaries

METER = "C0:FF:EE:00:00:01"
DEVICE, ADA = DeviceId("device-1"), PersonId("ada")
WALL = NOW.astimezone(PARIS).replace(tzinfo=None)
_PATIENCE_S = 60.0


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


def made(number: int, *, ago: timedelta, value: int = 100) -> MeterRecord:
    """Test `number`, made `ago`."""
    return MeterRecord(number, WALL - ago, Decimal(value))


@dataclass
class Home:
    """A store behind the doorway, and the source before it; counts what went through."""

    store: SqliteStore
    intake: StoreIntake
    changes: Changes
    batches: int = 0
    frames: int = 0
    _stirred: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def submit(self, batch: Batch) -> CommitReceipt:
        receipt = await self.intake.submit(batch)
        self.batches += 1
        self.frames += sum(frame.channel == "2a18" for frame in batch.frames)
        async with self._stirred:
            self._stirred.notify_all()
        return receipt

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        return await self.intake.checkpoint(device_id, name)

    async def sighted(self, sighting: DeviceSighting) -> None:
        await self.intake.sighted(sighting)

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE_S), self._stirred:
            await self._stirred.wait_for(is_so)

    async def readings(self) -> list[Reading]:
        """By epoch and number."""
        found = [stored.reading for stored in await self.store.readings.readings()]
        return sorted(found, key=lambda reading: (reading.epoch, int(reading.record_key.partition("@")[0])))


@asynccontextmanager
async def home(folder: Path, source: BluetoothSource) -> AsyncIterator[Home]:
    """The source at work for the length of the block."""
    changes = Changes()
    async with SqliteStore.open(folder / "p.db", clock=FrozenClock()) as store:
        meter = Device(DEVICE, DeviceKind.GLUCOSE_METER, "Meter", person_id=ADA)
        await store.registry.declare([Person(ADA, "Ada", PARIS)], [meter])
        intake = StoreIntake(store.readings, store.registry, changes, zone_of=lambda _: PARIS)
        at_home = Home(store, intake, changes)
        task = asyncio.create_task(source.run(at_home), name="source")
        try:
            yield at_home
        finally:
            task.cancel()
            await asyncio.wait([task])


async def meter_of(air: VirtualAir, *memory: MeterRecord) -> VirtualMeter:
    meter = VirtualMeter(air, METER, "meter", "S-1", memory, clock=lambda: WALL, secure=False)
    meter.stays_awake = False
    return meter


def source_on(air: VirtualAir) -> BluetoothSource:
    return make_source(air, make_device(METER, DeviceKind.GLUCOSE_METER), revisit_s=0)


async def test_d8_and_d9_a_reset_that_keeps_the_memory(air: VirtualAir, tmp_path: Path) -> None:
    """Old results under new numbers stay one reading each, with both frames; the new result is new, in a new epoch."""
    old = [made(n, ago=timedelta(days=5 - n, seconds=n), value=90 + n) for n in (1, 2, 3)]
    meter = await meter_of(air, *(replace(record, sequence=record.sequence + 40) for record in old))
    await meter.start()
    async with home(tmp_path, source_on(air)) as house:
        await house.until(lambda: house.frames == 3)
        await meter.wait_disconnected()
        meter.records = [*old, made(4, ago=timedelta(minutes=5), value=140)]
        await meter.wake()
        await house.until(lambda: house.frames == 7)
        found = await house.readings()
    assert ["0 91", "0 92", "0 93", "1 140"] == [f"{reading.epoch} {reading.value}" for reading in found]


async def test_d9_and_d10_seconds_cut_off_and_twins(air: VirtualAir, tmp_path: Path) -> None:
    """Told again with the seconds cut off it is the same; two tests of equal value in one minute are two."""
    base = WALL.replace(second=0) - timedelta(hours=3)
    twins = [
        MeterRecord(7, base + timedelta(seconds=12), Decimal(120)),
        MeterRecord(8, base + timedelta(seconds=47), Decimal(120)),
    ]
    meter = await meter_of(air, *twins)
    await meter.start()
    async with home(tmp_path, source_on(air)) as house:
        await house.until(lambda: house.frames == 2)
        await meter.wait_disconnected()
        cut = [MeterRecord(n, base, Decimal(120)) for n in (1, 2)]
        meter.records = [*cut, made(3, ago=timedelta(minutes=5))]
        await meter.wake()
        await house.until(lambda: house.frames == 5)
        found = await house.readings()
    assert [(0, 12), (0, 47), (1, 0)] == [
        (reading.epoch, reading.device_time.second) for reading in found if reading.device_time is not None
    ]


@pytest.mark.parametrize("unknown", [set(), {4}, {1}])
async def test_d11_answers_without_records(air: VirtualAir, tmp_path: Path, unknown: set[int]) -> None:
    """An empty meter is a success; one that cannot count is read; one that can report nothing is told apart."""
    meter = await meter_of(air, *([] if not unknown else [made(1, ago=timedelta(hours=1))]))
    meter.unsupported = {*meter.unsupported, *unknown}
    await meter.start()
    source = source_on(air)
    async with home(tmp_path, source) as house:
        if unknown == {4}:
            await house.until(lambda: house.frames == 1)
        await meter.wait_connected()
        await until_state(source, LinkState.FAILED if unknown == {1} else LinkState.ASLEEP)
        assert (1 if unknown == {4} else 0) == len(await house.readings())


async def test_d12_what_a_full_memory_lost_is_declared(air: VirtualAir, tmp_path: Path) -> None:
    """Ten places, 25 tests: the numbers and times around what nobody will read are a fact."""
    everything = [made(n, ago=timedelta(hours=30 - n)) for n in range(1, 26)]
    meter = await meter_of(air, *everything[:5])
    meter.capacity = 10
    await meter.start()
    async with home(tmp_path, source_on(air)) as house:
        await house.until(lambda: house.frames == 5)
        await meter.wait_disconnected()
        meter.records = everything[15:]
        await meter.wake()
        await house.until(lambda: house.frames == 15)
        await meter.wait_disconnected()
        facts = {fact.name: fact.state for fact in await house.store.readings.facts(DEVICE)}
    gap = facts["glucose.gap.0.6"]
    assert (6, 15, 10) == (gap["first"], gap["last"], gap["count"])
    around = [everything[number].base_time for number in (4, 15)]
    assert [at.isoformat() for at in around if at is not None] == [gap["after"], gap["before"]]


async def test_e9_three_months_at_once(air: VirtualAir, tmp_path: Path) -> None:
    """1,000 records: each once, and who follows is told a few times, not thousands."""
    everything = [made(n, ago=timedelta(hours=2 * (1001 - n)), value=60 + n % 200) for n in range(1, 1001)]
    meter = await meter_of(air, *everything)
    told = 0

    def computed() -> None:
        nonlocal told
        told += 1

    async with home(tmp_path, source_on(air)) as house:
        store = house.store.readings
        summaries = Summaries(store, FrozenClock(), {ADA: Person(ADA, "Ada", PARIS)})
        with house.changes.follow() as changed:
            follower = asyncio.create_task(summaries.run(changed, computed))
            await meter.start()
            await house.until(lambda: house.frames == 1000)
            await meter.wait_disconnected()
            async with asyncio.timeout(_PATIENCE_S):
                while await store.dirty_days():
                    await summaries.refresh()
            follower.cancel()
            await asyncio.wait([follower])
        assert 1000 == len(await house.readings())
        assert house.batches < 60
    assert told <= 60
