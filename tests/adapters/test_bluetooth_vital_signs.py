"""The Bluetooth source against virtual cuffs, belts, thermometers and oximeters, through bleak's own classes."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from bluetooth_kit import NOW, PARIS, FrozenClock, MemoryIntake, make_device, make_source, running, until_state

from gateway.adapters.sources.bluetooth import LinkState
from gateway.devices.drivers import Permissions
from gateway.model import Absent, DeviceKind, Metric, QuarantineReason, Reading, TimeQuality, Unit
from gateway.sandbox.peripherals import (
    CuffReading,
    HeartBeat,
    OximetrySample,
    SpotCheck,
    Temperature,
    VirtualBloodPressureMonitor,
    VirtualHeartRateBelt,
    VirtualOximeter,
    VirtualThermometer,
)
from gateway.sandbox.radio import VirtualAir

CUFF, BELT, THERMOMETER, OXIMETER = (f"C0:FF:EE:00:00:{number}" for number in (41, 42, 43, 44))
WALL = NOW.astimezone(PARIS).replace(tzinfo=None)
VALIDATED, EARLY = 0x0080, 0x0040


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


def wall() -> datetime:
    return WALL


class HandClock(FrozenClock):
    """A wall clock that is moved by hand.

    Attributes:
        passed: since the beginning.
    """

    def __init__(self) -> None:
        super().__init__()
        self.passed = timedelta()

    def now(self) -> datetime:
        return NOW + self.passed


def pressures(count: int) -> list[CuffReading]:
    return [
        CuffReading(
            Decimal(120 + number),
            Decimal(80),
            Decimal(93),
            time_stamp=WALL - timedelta(hours=count - number),
            pulse_per_min=Decimal(70),
            user=1,
        )
        for number in range(count)
    ]


def of(intake: MemoryIntake, metric: Metric) -> list[Reading]:
    return sorted(
        (reading for reading in intake.readings.values() if reading.metric is metric), key=lambda r: r.effective_at
    )


def told(intake: MemoryIntake, metric: Metric) -> int:
    """How often a reading of this metric was handed in, repeated or not."""
    return sum(reading.metric is metric for batch in intake.batches for reading in batch.readings)


# --- cuff -----------------------------------------------------------------------------------------------------------


async def make_cuff(
    air: VirtualAir, *memory: CuffReading, secure: bool = False, behind_h: int = 0
) -> VirtualBloodPressureMonitor:
    cuff = VirtualBloodPressureMonitor(
        air, CUFF, "cuff", "B-1", clock=lambda: WALL - timedelta(hours=behind_h), secure=secure
    )
    cuff.stays_awake = False
    await cuff.start()
    for reading in memory:
        await cuff.measure(reading)
    return cuff


@pytest.mark.parametrize("hangs_up", [False, True])
async def test_cuff_is_read_end_to_end(air: VirtualAir, hangs_up: bool) -> None:
    """Everything stored arrives over a bond: pressures, mean, pulse, user, status, payloads; then it is let go."""
    cuff = await make_cuff(air, *pressures(2), secure=True)
    cuff.hangs_up = hangs_up
    await cuff.measure(
        CuffReading(Decimal("16.0"), Decimal("10.7"), unit=Unit.KPA, time_stamp=WALL, user=255, status=0x0006)
    )
    intake, source = MemoryIntake(), make_source(air, make_device(CUFF, DeviceKind.BLOOD_PRESSURE_MONITOR))
    async with running(source, intake):
        await intake.until(lambda: len(of(intake, Metric.BLOOD_PRESSURE_SYSTOLIC)) == 3)
        await cuff.wait_disconnected()
        await until_state(source, LinkState.ASLEEP)
    assert 0 == cuff.stored_count
    systolic = of(intake, Metric.BLOOD_PRESSURE_SYSTOLIC)
    assert [Decimal(120), Decimal(121), Decimal(16) * Decimal("7.50061683")] == [r.value for r in systolic]
    assert [1, 1, None] == [r.context.user_index for r in systolic]
    assert ("cuff_too_loose", "irregular_pulse") == systolic[2].context.status
    assert [NOW - timedelta(hours=2), NOW - timedelta(hours=1), NOW] == [r.effective_at for r in systolic]
    first = [r for r in intake.readings.values() if r.record_key == systolic[0].record_key]
    assert {
        Metric.BLOOD_PRESSURE_SYSTOLIC: Decimal(120),
        Metric.BLOOD_PRESSURE_DIASTOLIC: Decimal(80),
        Metric.BLOOD_PRESSURE_MEAN: Decimal(93),
        Metric.HEART_RATE: Decimal(70),
    } == {reading.metric: reading.value for reading in first}
    assert ["2a35"] * 3 == [frame.channel for frame in intake.frames]
    assert "B-1" == intake.sightings[0].serial


@pytest.mark.parametrize("frames", range(1, 6))
async def test_cuff_that_drops_the_link_loses_and_repeats_nothing(air: VirtualAir, frames: int) -> None:
    """After every number of confirmed indications: what was confirmed is stored, the rest comes with the next link."""
    cuff = await make_cuff(air, *pressures(5))
    cuff.stays_awake = True
    cuff.disconnect_after(frames)
    intake = MemoryIntake()
    async with running(make_source(air, make_device(CUFF, DeviceKind.BLOOD_PRESSURE_MONITOR)), intake):
        await intake.until(lambda: len(of(intake, Metric.BLOOD_PRESSURE_SYSTOLIC)) == 5)
    assert [Decimal(120 + n) for n in range(5)] == [r.value for r in of(intake, Metric.BLOOD_PRESSURE_SYSTOLIC)]
    assert 5 == told(intake, Metric.BLOOD_PRESSURE_SYSTOLIC)


async def test_wrong_clock_of_a_cuff_is_corrected(air: VirtualAir) -> None:
    """A cuff three hours behind: its own time stays, the instant is moved by what was measured at contact."""
    stamp = WALL - timedelta(hours=3, minutes=20)
    await make_cuff(air, CuffReading(Decimal(120), Decimal(80), time_stamp=stamp), behind_h=3)
    intake = MemoryIntake()
    async with running(make_source(air, make_device(CUFF, DeviceKind.BLOOD_PRESSURE_MONITOR)), intake):
        await intake.until(lambda: len(intake.readings) == 2)
    for reading in intake.readings.values():
        assert (TimeQuality.CORRECTED, NOW - timedelta(minutes=20)) == (reading.time_quality, reading.effective_at)
        assert stamp == reading.device_time


async def test_clock_of_a_cuff_is_set_where_allowed(air: VirtualAir) -> None:
    """After its measurements are told; one from before that comes later is corrected by the error of then."""
    stamp = WALL - timedelta(hours=3, minutes=20)
    cuff = await make_cuff(air, CuffReading(Decimal(120), Decimal(80), time_stamp=stamp), behind_h=3)
    intake = MemoryIntake()
    source = make_source(
        air,
        make_device(CUFF, DeviceKind.BLOOD_PRESSURE_MONITOR),
        permissions=Permissions(set_clock=True),
        revisit_s=0,
    )
    async with running(source, intake):
        await cuff.wait_connected()
        await cuff.wait_disconnected()
        assert WALL == cuff.clock.now()
        await cuff.measure(CuffReading(Decimal(130), Decimal(85), time_stamp=stamp + timedelta(minutes=5)))
        await cuff.measure(CuffReading(Decimal(140), Decimal(90), time_stamp=WALL))
        await intake.until(lambda: len(of(intake, Metric.BLOOD_PRESSURE_SYSTOLIC)) == 3)
    assert [
        (Decimal(120), NOW - timedelta(minutes=20), TimeQuality.CORRECTED),
        (Decimal(130), NOW - timedelta(minutes=15), TimeQuality.CORRECTED),
        (Decimal(140), NOW, TimeQuality.DEVICE),
    ] == [(r.value, r.effective_at, r.time_quality) for r in of(intake, Metric.BLOOD_PRESSURE_SYSTOLIC)]
    assert ["2a2b"] == [char for char, _ in cuff.log]


async def test_blood_pressure_is_held_until_the_store_is_back(air: VirtualAir) -> None:
    """A cuff forgets what was confirmed: the measurement is not dropped while the store is down."""
    cuff = await make_cuff(air, *pressures(1))
    intake = MemoryIntake(is_down=True)
    async with running(make_source(air, make_device(CUFF, DeviceKind.BLOOD_PRESSURE_MONITOR)), intake):
        await intake.until(lambda: intake.submissions >= 2)
        assert 0 == cuff.stored_count
        intake.is_down = False
        await intake.until(lambda: len(intake.readings) == 4)


async def test_cuff_that_is_still_inflating_is_not_listened_to(air: VirtualAir) -> None:
    """The pressure in the cuff is no result: nobody subscribes to it."""
    cuff = await make_cuff(air, *pressures(1))
    intake = MemoryIntake()
    source = make_source(air, make_device(CUFF, DeviceKind.BLOOD_PRESSURE_MONITOR), quiet_s=5.0)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 4)
        assert not await cuff.inflate(CuffReading(Decimal(160), None))


async def test_failed_and_malformed_measurements_are_kept_as_what_they_are(air: VirtualAir) -> None:
    """A measurement that failed is an absent value, a frame with an octet missing goes into quarantine."""
    cuff = await make_cuff(air)
    cuff.corrupt_next()
    await cuff.measure(pressures(1)[0])
    await cuff.measure(CuffReading(None, None, None, time_stamp=WALL))
    intake = MemoryIntake()
    async with running(make_source(air, make_device(CUFF, DeviceKind.BLOOD_PRESSURE_MONITOR)), intake):
        await intake.until(lambda: len(intake.readings) == 2)
    assert {Absent.UNSUCCESSFUL} == {reading.absent for reading in intake.readings.values()}
    assert [QuarantineReason.MALFORMED] == [entry.reason for entry in intake.quarantined]


# --- thermometer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [None, *range(1, 4)])
async def test_thermometer_is_read_wherever_the_link_drops(air: VirtualAir, frames: int | None) -> None:
    """Stored temperatures once each, in Celsius, with the site that the thermometer always measures at."""
    thermometer = VirtualThermometer(air, THERMOMETER, "thermometer", "T-1", clock=wall, site=6, secure=False)
    thermometer.disconnect_after(frames)
    await thermometer.start()
    for number in range(3):
        await thermometer.measure(
            Temperature(Decimal(986 + number).scaleb(-1), Unit.FAHRENHEIT, WALL - timedelta(hours=3 - number))
        )
    intake = MemoryIntake()
    async with running(make_source(air, make_device(THERMOMETER, DeviceKind.THERMOMETER)), intake):
        await intake.until(lambda: len(intake.readings) == 3)
    temperatures = of(intake, Metric.BODY_TEMPERATURE)
    assert [Decimal("98.6"), Decimal("98.7"), Decimal("98.8")] == [r.original_value for r in temperatures]
    assert Decimal(37) == temperatures[0].value
    assert {"mouth"} == {r.context.sample_location for r in temperatures}
    assert 3 == told(intake, Metric.BODY_TEMPERATURE)


async def test_temperature_without_a_time_is_of_now(air: VirtualAir) -> None:
    """A thermometer without a clock tells what it measures at once."""
    thermometer = VirtualThermometer(air, THERMOMETER, "thermometer", "T-1", clock=wall, secure=False)
    await thermometer.start()
    await thermometer.measure(Temperature(Decimal("37.2"), site=3))
    intake = MemoryIntake()
    async with running(make_source(air, make_device(THERMOMETER, DeviceKind.THERMOMETER)), intake):
        await intake.until(lambda: len(intake.readings) == 1)
    (reading,) = intake.readings.values()
    assert (TimeQuality.RECEIVED, NOW, "ear") == (
        reading.time_quality,
        reading.effective_at,
        reading.context.sample_location,
    )


# --- belt -----------------------------------------------------------------------------------------------------------


def make_belt(air: VirtualAir, *rates: int, has_contact: bool = True) -> VirtualHeartRateBelt:
    belt = VirtualHeartRateBelt(air, BELT, "belt", "H-1", [HeartBeat(rate, has_contact) for rate in rates])
    belt.period_s = 0
    belt.hangs_up = True
    belt.stays_awake = False
    return belt


async def test_belt_gives_one_sample_of_each_interval(air: VirtualAir) -> None:
    """Of a stream one sample an interval stays, each with its own payload and instant, the last interval included."""
    clock = HandClock()

    def beats() -> Iterator[HeartBeat]:
        for second in range(40):
            clock.passed = timedelta(seconds=second)
            yield HeartBeat(60 + second, has_contact=True)

    belt = make_belt(air)
    belt.beat(beats())
    belt.period_s = 0.01
    await belt.start()
    intake = MemoryIntake()
    source = make_source(air, make_device(BELT, DeviceKind.HEART_RATE_MONITOR), clock=clock, live_interval_s=10.0)
    async with running(source, intake):
        await belt.wait_connected()
        await belt.wait_disconnected()
        await until_state(source, LinkState.ASLEEP)
    rates = of(intake, Metric.HEART_RATE)
    assert len(rates) in {3, 4}
    assert len(rates) == len(intake.frames)
    assert {TimeQuality.RECEIVED} == {reading.time_quality for reading in rates}
    assert {"chest"} == {reading.context.sample_location for reading in rates}
    for reading, frame in zip(rates, intake.frames, strict=True):
        assert reading.value == frame.payload[1]
        assert reading.effective_at == frame.received_at == reading.received_at


@pytest.mark.parametrize("frames", [1, 4, 9])
async def test_belt_out_of_range_is_taken_up_again(air: VirtualAir, frames: int) -> None:
    """With interval 0 every sample stays, once, but the one that the belt said into a link that was ending."""
    belt = make_belt(air, *range(60, 70))
    belt.stays_awake, belt.hangs_up = True, False
    belt.disconnect_after(frames)
    await belt.start()
    intake = MemoryIntake()
    source = make_source(
        air,
        make_device(BELT, DeviceKind.HEART_RATE_MONITOR),
        live_interval_s=0.0,
        procedure_timeout_s=0.5,
    )
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 9)
    heard = {Decimal(rate) for rate in range(60, 70)} - {Decimal(60 + frames)}
    assert heard == {reading.value for reading in of(intake, Metric.HEART_RATE)}


async def test_belt_that_holds_the_only_link_makes_room(air: VirtualAir) -> None:
    """A cuff that wakes is read in between, and the belt again after it."""
    belt = make_belt(air)
    belt.beat(HeartBeat(30 + number % 200, has_contact=True) for number in itertools.count())
    belt.stays_awake, belt.hangs_up, belt.period_s = True, False, 0.02
    await belt.start()
    intake = MemoryIntake()
    devices = (
        make_device(BELT, DeviceKind.HEART_RATE_MONITOR, "belt"),
        make_device(CUFF, DeviceKind.BLOOD_PRESSURE_MONITOR, "cuff"),
    )
    async with running(make_source(air, *devices, live_interval_s=0.0, connections=1), intake):
        await intake.until(lambda: bool(of(intake, Metric.HEART_RATE)))
        await make_cuff(air, *pressures(1))
        await intake.until(lambda: bool(of(intake, Metric.BLOOD_PRESSURE_SYSTOLIC)))
        heard = told(intake, Metric.HEART_RATE)
        await intake.until(lambda: belt.connections > 1 and told(intake, Metric.HEART_RATE) > heard)


async def test_belt_that_nobody_wears_says_nothing(air: VirtualAir) -> None:
    """Without contact to the skin no number is kept, and silence ends the contact well."""
    belt = make_belt(air, 80, 81, has_contact=False)
    belt.hangs_up = False
    await belt.start()
    intake = MemoryIntake()
    source = make_source(air, make_device(BELT, DeviceKind.HEART_RATE_MONITOR), procedure_timeout_s=0.3)
    async with running(source, intake):
        await belt.wait_connected()
        await belt.wait_disconnected()
        await until_state(source, LinkState.ASLEEP)
    assert {} == intake.readings
    assert [] == intake.frames


async def test_rest_of_a_stream_waits_for_the_store(air: VirtualAir) -> None:
    """What was open at the end of the link is not dropped while the store is down."""
    belt = make_belt(air, 70, 72, 74)
    await belt.start()
    intake = MemoryIntake(is_down=True)
    async with running(make_source(air, make_device(BELT, DeviceKind.HEART_RATE_MONITOR)), intake):
        await intake.until(lambda: intake.submissions >= 2)
        intake.is_down = False
        await intake.until(lambda: len(intake.readings) == 1)
    assert [Decimal(72)] == [reading.value for reading in intake.readings.values()]


# --- oximeter -------------------------------------------------------------------------------------------------------


def checks(first: int, last: int) -> list[SpotCheck]:
    return [
        SpotCheck(
            Decimal(90 + number % 10),
            Decimal(60 + number),
            time_stamp=WALL - timedelta(hours=30 - number),
            measurement_status=VALIDATED,
        )
        for number in range(first, last + 1)
    ]


async def make_oximeter(air: VirtualAir, *memory: SpotCheck, has_memory: bool = True) -> VirtualOximeter:
    oximeter = VirtualOximeter(
        air, OXIMETER, "oximeter", "O-1", memory, clock=wall, has_memory=has_memory, secure=False
    )
    oximeter.stays_awake, oximeter.period_s = False, 0
    await oximeter.start()
    return oximeter


async def test_stored_spot_checks_are_fetched_once(air: VirtualAir) -> None:
    """The whole memory comes at each visit, for the service knows no other request; what is known is not kept again."""
    oximeter = await make_oximeter(air, *checks(1, 3))
    intake, source = MemoryIntake(), make_source(air, make_device(OXIMETER, DeviceKind.PULSE_OXIMETER))
    async with running(source, intake):
        await intake.until(lambda: len(intake.checkpoints) == 1)
        await oximeter.wait_disconnected()
        oximeter.records.extend(checks(4, 4))
        await oximeter.wake()
        await intake.until(lambda: len(of(intake, Metric.OXYGEN_SATURATION)) == 4)
        await oximeter.wait_disconnected()
    assert [Decimal(91), Decimal(92), Decimal(93), Decimal(94)] == [
        r.value for r in of(intake, Metric.OXYGEN_SATURATION)
    ]
    assert [Decimal(61), Decimal(62), Decimal(63), Decimal(64)] == [r.value for r in of(intake, Metric.HEART_RATE)]
    assert 4 == told(intake, Metric.OXYGEN_SATURATION) == len(intake.frames)
    assert {b"\x01\x01"} == {value for char, value in oximeter.log if char == "2a52"}


@pytest.mark.parametrize("frames", range(1, 6))
async def test_oximeter_that_drops_the_link_loses_and_repeats_nothing(air: VirtualAir, frames: int) -> None:
    """After every number of records: the union of the visits is the memory, and none is kept twice."""
    oximeter = await make_oximeter(air, *checks(1, 5))
    oximeter.stays_awake = True
    oximeter.disconnect_after(frames)
    intake = MemoryIntake()
    async with running(make_source(air, make_device(OXIMETER, DeviceKind.PULSE_OXIMETER)), intake):
        await intake.until(lambda: len(of(intake, Metric.OXYGEN_SATURATION)) == 5)
    assert 5 == told(intake, Metric.OXYGEN_SATURATION)


async def test_spot_check_of_now_is_the_one_in_the_memory(air: VirtualAir) -> None:
    """Told live and later from the memory, a spot check is one reading."""
    oximeter = await make_oximeter(air, *checks(1, 1))
    intake = MemoryIntake()
    source = make_source(air, make_device(OXIMETER, DeviceKind.PULSE_OXIMETER), quiet_s=2.0)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 2)
        assert await oximeter.check(checks(2, 2)[0])
        await oximeter.wait_disconnected()
        await intake.until(lambda: len(intake.checkpoints) == 1)
        await oximeter.wake()
        await intake.until(lambda: len(intake.sightings) == 2)
        await oximeter.wait_disconnected()
    assert 2 == oximeter.connections
    assert [Decimal(91), Decimal(92)] == [r.value for r in of(intake, Metric.OXYGEN_SATURATION)]
    assert 2 == told(intake, Metric.OXYGEN_SATURATION)


async def test_stream_of_an_oximeter_is_thinned(air: VirtualAir) -> None:
    """Settling samples do not count; of each interval the middle saturation stays, with the pulse sent beside it."""
    oximeter = await make_oximeter(air, has_memory=False)
    oximeter.hangs_up = True
    oximeter.stream(
        [
            OximetrySample(None, None, measurement_status=EARLY),
            OximetrySample(Decimal(85), Decimal(99), measurement_status=EARLY),
            *(OximetrySample(Decimal(95 + n), Decimal(70 + n), measurement_status=VALIDATED) for n in (0, 2, 1, 3, 4)),
        ]
    )
    intake = MemoryIntake()
    source = make_source(air, make_device(OXIMETER, DeviceKind.PULSE_OXIMETER))
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 2)
        await oximeter.wait_disconnected()
    by_metric = {reading.metric: reading for reading in intake.readings.values()}
    assert (Decimal(97), Decimal(72)) == (
        by_metric[Metric.OXYGEN_SATURATION].value,
        by_metric[Metric.HEART_RATE].value,
    )
    assert 1 == len(intake.frames)
    assert [] == [char for char, _ in oximeter.log if char == "2a52"]
