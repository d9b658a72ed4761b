"""Everything that can go wrong with a device, one fault after the other, read by the real source.

What the device measured must be there once, whatever happened on the way; or the state says what a person must do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from bluetooth_kit import NOW, PARIS, MemoryIntake, make_device, make_source, running, until_state

from gateway.adapters.sources.bluetooth import BluetoothSource, LinkState
from gateway.devices.procedures.glucose_watermark import GLUCOSE_CHECKPOINT
from gateway.model import BoundKind, DeviceKind, Meal, QuarantineReason, Reading, TimeQuality
from gateway.sandbox.peripherals import VirtualCgm, VirtualMeter, VirtualScale
from gateway.sandbox.peripherals.faults import parse_faults
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records import CgmSample, MeterContext, MeterRecord, WeighIn

METER, CGM, SCALE = "C0:FF:EE:00:00:01", "C0:FF:EE:00:00:03", "C0:FF:EE:00:00:04"
WALL = NOW.astimezone(PARIS).replace(tzinfo=None)
SMALL = 6
"""Records of the small meter; every third has a context, so that eight notifications make the whole."""


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


def wall() -> datetime:
    return WALL


def records(count: int, first: int = 1, *, until: datetime = WALL) -> list[MeterRecord]:
    """A minute apart, the last one an hour ago; the number after 65535 is 0."""
    return [
        MeterRecord(
            (first + place) & 0xFFFF,
            until - timedelta(hours=1, minutes=count - place),
            Decimal(80 + place),
            context=MeterContext(meal=1) if place % 3 == 1 else None,
        )
        for place in range(count)
    ]


async def make_meter(
    air: VirtualAir, memory: list[MeterRecord], faults: str, *, passkey: int | None = None, secure: bool = False
) -> VirtualMeter:
    meter = VirtualMeter(air, METER, "meter", "S-1", memory, clock=wall, passkey=passkey, secure=secure)
    meter.obey(parse_faults(faults))
    await meter.start()
    return meter


def meter_source(
    air: VirtualAir, *, retry_s: float = 0.02, revisit_s: float = 0.02, procedure_timeout_s: float = 0.3
) -> BluetoothSource:
    """One that comes back at once, and gives up soon."""
    device = make_device(METER, DeviceKind.GLUCOSE_METER)
    return make_source(air, device, retry_s=retry_s, revisit_s=revisit_s, procedure_timeout_s=procedure_timeout_s)


def numbers(intake: MemoryIntake) -> list[int]:
    """Record numbers of every reading, by device time."""
    found = sorted(intake.readings.values(), key=lambda r: (r.epoch, r.device_time or datetime.min))  # noqa: DTZ901
    return [number(reading) for reading in found]


def number(reading: Reading) -> int:
    return int(reading.record_key.partition("@")[0])


def is_settled(intake: MemoryIntake, count: int, newest: int) -> bool:
    """`count` readings are there and the watermark stands at the newest: nothing is asked for again."""
    (state,) = [c.state for c in intake.checkpoints.values() if c.name == GLUCOSE_CHECKPOINT] or [{}]
    return len(intake.readings) == count and state.get("sequence") == newest


# --- a meter: every record, once ------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", range(1, SMALL + 1))
@pytest.mark.parametrize("more", ["", ",context=late", ",order=newest", ",order=shuffled", ",duplicate", ",mtu=23"])
async def test_link_dropped_after_every_single_record(air: VirtualAir, frame: int, more: str) -> None:
    """Wherever the link breaks, and however the meter tells its records: the attempts together give all, once."""
    meter = await make_meter(air, records(SMALL), f"drop@{frame}{more}")
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        await intake.until(lambda: is_settled(intake, SMALL, SMALL))
    assert list(range(1, SMALL + 1)) == numbers(intake)
    assert meter.connections >= (2 if frame < SMALL else 1)
    assert [] == intake.quarantined


@pytest.mark.parametrize("seed", range(1, 6))
async def test_link_dropped_again_and_again(air: VirtualAir, seed: int) -> None:
    """A meter that seldom manages three records in a contact is read nevertheless."""
    meter = await make_meter(air, records(SMALL), f"drop=0.4,seed={seed}")
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        await intake.until(lambda: len(intake.readings) == SMALL)
    assert list(range(1, SMALL + 1)) == numbers(intake)
    assert meter.connections >= 2


WHOLE_IN_THE_END = {
    "nothing": "",
    "silent from the start": "silent,contacts=1",
    "silent after the second": "silent@2,contacts=1",
    "silent after the last": "silent@6,contacts=1",
    "smallest packets": "mtu=23",
    "usual packets": "mtu=247",
    "each twice": "duplicate",
    "one in two twice": "duplicate=0.5",
    "newest first": "order=newest",
    "any order": "order=shuffled",
    "any order, other chance": "order=shuffled,seed=2",
    "late contexts": "context=late",
    "no contexts": "context=never",
    "no answer": "answer=never,contacts=1",
    "answer before the last": "answer=early",
    "answer: nothing found": "answer=6,contacts=1",
    "answer: not completed": "answer=8,contacts=1",
    "answer: a code nobody knows": "answer=200,contacts=1",
    "busy once": "busy=1",
    "busy for long": "busy=7",
    "slow": "slow=0.05",
    "damaged once": "corrupt@2,contacts=1",
    "the first damaged": "corrupt@1,contacts=1",
    "the last damaged": "corrupt@6,contacts=1",
    "everything at once": "drop@2,duplicate=0.3,order=shuffled,context=late,answer=early,busy=2,mtu=23,contacts=3",
}


@pytest.mark.parametrize("faults", WHOLE_IN_THE_END.values(), ids=WHOLE_IN_THE_END.keys())
async def test_every_record_is_there_once(air: VirtualAir, faults: str) -> None:
    """Nothing missing, nothing twice, and the watermark at the newest record."""
    await make_meter(air, records(SMALL), faults)
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        await intake.until(lambda: is_settled(intake, SMALL, SMALL))
    assert list(range(1, SMALL + 1)) == numbers(intake)
    assert {Decimal(80 + place) for place in range(SMALL)} == {r.value for r in intake.readings.values()}
    assert {TimeQuality.DEVICE} == {r.time_quality for r in intake.readings.values()}


@pytest.mark.parametrize(
    ("faults", "meals"),
    [("", [2, 5]), ("context=late", [2, 5]), ("context=late,drop@6", [2, 5]), ("context=never", [])],
)
async def test_context_belongs_to_its_record(air: VirtualAir, faults: str, meals: list[int]) -> None:
    """A context that comes after the answer is still joined to its record; one that never comes holds nothing up."""
    await make_meter(air, records(SMALL), faults)
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        await intake.until(lambda: is_settled(intake, SMALL, SMALL))
    marked = [r for r in intake.readings.values() if r.context.meal is Meal.PREPRANDIAL]
    assert meals == sorted(number(reading) for reading in marked)


@pytest.mark.parametrize(
    ("faults", "detail"),
    [("silent", "silent"), ("answer=never", "silent"), ("answer=8", "retry_later"), ("busy=60000", "retry_later")],
)
async def test_meter_that_stays_difficult_is_shown(air: VirtualAir, faults: str, detail: str) -> None:
    """A contact that fails has a name that people can see, and the link is given back."""
    meter = await make_meter(air, records(SMALL), faults)
    intake, source = MemoryIntake(), meter_source(air, retry_s=60)
    async with running(source, intake):
        await until_state(source, LinkState.FAILED)
        await meter.wait_disconnected()
    assert detail == source.states()[0].detail
    assert 1 == meter.connections


async def test_damaged_frame_is_kept_as_it_came(air: VirtualAir) -> None:
    """What cannot be understood goes into quarantine with its octets; the others become readings."""
    await make_meter(air, records(SMALL), "corrupt@2,contacts=1")
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        await intake.until(lambda: is_settled(intake, SMALL, SMALL))
    assert {QuarantineReason.MALFORMED} == {entry.reason for entry in intake.quarantined}


# --- a meter: memory and counter ------------------------------------------------------------------------------------


async def test_d12_memory_of_ten_records_that_wraps(air: VirtualAir) -> None:
    """What the meter still has is read; what it lost between two contacts is lost, and nothing comes twice."""
    everything = records(37)
    meter = await make_meter(air, everything[:12], "memory=10")
    meter.stays_awake = False
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        await intake.until(lambda: is_settled(intake, 10, 12))
        await meter.wait_disconnected()
        meter.records += everything[12:15]
        await meter.wake()
        await intake.until(lambda: is_settled(intake, 13, 15))
        await meter.wait_disconnected()
        meter.records += everything[15:]
        await meter.wake()
        await intake.until(lambda: is_settled(intake, 23, 37))
    assert [*range(3, 16), *range(28, 38)] == numbers(intake)
    assert {0} == {reading.epoch for reading in intake.readings.values()}


@pytest.mark.parametrize("read_before", range(1, 8))
@pytest.mark.parametrize("faults", ["", "memory=8", "drop@9"])
async def test_d8_counter_that_wraps_at_65535(air: VirtualAir, read_before: int, faults: str) -> None:
    """After 65535 comes 0, once each, whether the wrap falls into a contact or between two.

    It is the same life of the counter, unless the last record that was read has been overwritten in the same moment as
    the counter wrapped: then nothing in the meter tells a wrap from a reset, and a new epoch loses nothing.
    """
    everything = records(12, 65532)
    meter = await make_meter(air, everything[:read_before], faults)
    meter.stays_awake = False
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        await intake.until(lambda: len(intake.readings) == read_before)
        await meter.wait_disconnected()
        meter.records += everything[read_before:][:8]
        expected = len(meter.records)
        meter.stays_awake = True
        await meter.wake()
        await intake.until(lambda: len(intake.readings) == expected)
    assert [record.sequence for record in everything[:expected]] == numbers(intake)
    is_undecidable = (faults, read_before) == ("memory=8", 4)
    assert {0, 1} if is_undecidable else {0} == {reading.epoch for reading in intake.readings.values()}


async def test_d8_counter_that_begins_again(air: VirtualAir) -> None:
    """After a repair record 1 is another record 1."""
    meter = await make_meter(air, records(3), "reset-counter@1")
    meter.stays_awake = False
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        await intake.until(lambda: len(intake.readings) == 3)
        await meter.wait_disconnected()
        await meter.wait_at_rest()
        for record in records(2, until=WALL + timedelta(minutes=50)):
            await meter.add_record(record)
        await intake.until(lambda: len(intake.readings) == 5)
    assert [1, 2, 3, 1, 2] == numbers(intake)
    assert [0, 0, 0, 1, 1] == sorted(reading.epoch for reading in intake.readings.values())


# --- a meter: clock, bond, values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("says", ["1970-01-01", "2000-01-01T00:00", "2025-01-01T12:00"])
async def test_e1_clock_that_was_reset(air: VirtualAir, says: str) -> None:
    """A meter whose battery was changed: its own time is kept, the instant comes from the offset at contact."""
    meter = await make_meter(air, [], f"clock={says}")
    assert datetime.fromisoformat(says) == meter.device_time
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        record = await meter.measure(Decimal(101))
        await intake.until(lambda: len(intake.readings) == 1)
    (reading,) = intake.readings.values()
    assert (TimeQuality.CORRECTED, NOW) == (reading.time_quality, reading.effective_at)
    assert record.base_time == reading.device_time == datetime.fromisoformat(says)


async def test_display_with_other_digits_than_the_label(air: VirtualAir) -> None:
    """One attempt; then a person must act."""
    air.passkeys[METER] = 123456
    meter = await make_meter(air, records(SMALL), "wrong-passkey", passkey=123456, secure=True)
    intake, source = MemoryIntake(), meter_source(air, revisit_s=60, procedure_timeout_s=5)
    async with running(source, intake):
        await until_state(source, LinkState.NEEDS_PAIRING)
        await meter.wait_disconnected()
    assert (1, {}, False) == (meter.connections, intake.readings, meter.is_bonded)


@pytest.mark.parametrize("contacts", [1, 2])
async def test_meter_that_loses_its_keys(air: VirtualAir, contacts: int) -> None:
    """What was read before is kept; from then on the state says that pairing is needed."""
    air.passkeys[METER] = 123456
    meter = await make_meter(air, records(SMALL), f"forget-bond@{contacts}", passkey=123456, secure=True)
    intake, source = MemoryIntake(), meter_source(air, procedure_timeout_s=5)
    async with running(source, intake):
        await intake.until(lambda: is_settled(intake, SMALL, SMALL))
        await until_state(source, LinkState.NEEDS_PAIRING)
    assert contacts + 1 <= meter.connections
    assert list(range(1, SMALL + 1)) == numbers(intake)


async def test_records_without_a_number(air: VirtualAir) -> None:
    """Not a number is no reading and says why; above and below the range are readings with a bound."""
    await make_meter(air, records(SMALL), "nan@1,nres@2,hi@3,lo@4")
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        await intake.until(lambda: is_settled(intake, len(intake.readings), SMALL))
    by_number = {number(reading): reading for reading in intake.readings.values()}
    bounds = {n: reading.bound.kind for n, reading in by_number.items() if reading.bound is not None}
    assert {3: BoundKind.ABOVE, 4: BoundKind.BELOW} == bounds
    assert {5, 6} == {n for n, reading in by_number.items() if reading.value is not None}
    assert all(by_number[n].absent is not None for n in (1, 2) if n in by_number)


# --- sensor and scale -----------------------------------------------------------------------------------------------


def samples(count: int) -> list[CgmSample]:
    return [CgmSample(5 * place, Decimal(90 + place)) for place in range(1, count + 1)]


@pytest.mark.parametrize(
    "faults", [*(f"drop@{frame}" for frame in range(1, 6)), "mtu=23", "mtu=247", "duplicate", "silent@2,contacts=1"]
)
async def test_sensor_gives_every_value_once(air: VirtualAir, faults: str) -> None:
    """The memory in four small packets, and a live value after it, whatever happens to the link."""
    start = datetime(2025, 6, 1, 10, 0, tzinfo=UTC)
    cgm = VirtualCgm(air, CGM, "sensor", "S-2", samples(8), session_start=start, zone=PARIS, secure=False)
    cgm.obey(parse_faults(f"mtu=23,{faults}"))
    await cgm.start()
    intake = MemoryIntake()
    source = make_source(air, make_device(CGM, DeviceKind.CGM), retry_s=0.02, procedure_timeout_s=0.3)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 8)
        await cgm.add_sample(CgmSample(45, Decimal(120)))
        await intake.until(lambda: len(intake.readings) == 9)
    at = sorted(reading.effective_at for reading in intake.readings.values())
    assert [start + timedelta(minutes=5 * place) for place in range(1, 10)] == at


@pytest.mark.parametrize("faults", ["corrupt@2", "corrupt@1", "corrupt@4"])
async def test_damage_is_found_by_the_sensors_crc(air: VirtualAir, faults: str) -> None:
    """A flipped bit never becomes a value: quarantine, and the record is asked for again."""
    start = datetime(2025, 6, 1, 10, 0, tzinfo=UTC)
    cgm = VirtualCgm(air, CGM, "sensor", "S-2", samples(8), session_start=start, zone=PARIS, secure=False)
    cgm.obey(parse_faults(f"mtu=23,{faults},contacts=1"))
    await cgm.start()
    intake = MemoryIntake()
    source = make_source(air, make_device(CGM, DeviceKind.CGM), retry_s=0.02, procedure_timeout_s=0.3)
    async with running(source, intake):
        await intake.until(lambda: bool(intake.quarantined))
    assert {QuarantineReason.MALFORMED} == {entry.reason for entry in intake.quarantined}
    truth = {start + timedelta(minutes=sample.offset_min): sample.glucose_mg_dl for sample in samples(8)}
    assert all(truth[reading.effective_at] == reading.value for reading in intake.readings.values())


@pytest.mark.parametrize("faults", ["", "unconfirmed@1", "unconfirmed@2", "drop@1", "drop@2", "duplicate", "mtu=23"])
async def test_weigh_in_is_stored_once(air: VirtualAir, faults: str) -> None:
    """A scale that tells a weigh-in again because it missed the confirmation makes no second reading of it."""
    scale = VirtualScale(air, SCALE, "scale", "S-3", clock=wall, secure=False)
    scale.obey(parse_faults(faults))
    for place in range(2):
        at = WALL - timedelta(minutes=30 - place)
        await scale.weigh(WeighIn(Decimal("71.25") + place, time_stamp=at, fat_percent=Decimal("25.1")))
    await scale.start()
    intake = MemoryIntake()
    source = make_source(air, make_device(SCALE, DeviceKind.SCALE), retry_s=0.02)
    async with running(source, intake):
        async with asyncio.timeout(10):
            while scale.stored:
                await intake.until(lambda: True)
                await asyncio.sleep(0.01)
        await intake.until(lambda: len(intake.readings) >= 4)
    assert 4 == len(intake.readings)
    assert 4 == len({(reading.effective_at, reading.metric) for reading in intake.readings.values()})
