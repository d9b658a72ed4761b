"""A device's clock is set only where its owner allows it, and what it recorded before stays where it belongs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
import structlog
from bluetooth_kit import NOW, PARIS, FrozenClock, MemoryIntake, make_device, make_source, running

from gateway.adapters.sources.bluetooth.material import Material
from gateway.devices.drivers import GENERIC_DRIVERS, Permissions
from gateway.devices.glucose import ConcentrationUnit, GlucoseMeasurement
from gateway.devices.procedures import ClockChange, Frame, GlucoseRecord, Keep, ScaleUser
from gateway.devices.procedures.clock_setting import CLOCK_FACT
from gateway.devices.quirks import ClockAccess, Quirks
from gateway.model import DeviceId, DeviceKind, TimeQuality
from gateway.sandbox.peripherals import VirtualMeter, VirtualScale
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records import MeterRecord, WeighIn

METER, SCALE = "C0:FF:EE:00:00:01", "C0:FF:EE:00:00:04"
DEVICE = DeviceId("device-1")
WALL = NOW.astimezone(PARIS).replace(tzinfo=None)
ALLOWED = Permissions(set_clock=True)
BEHIND = timedelta(hours=1, minutes=7)
DATE_TIME_METERS = tuple(replace(driver, quirks=Quirks(clock=ClockAccess.DATE_TIME)) for driver in GENERIC_DRIVERS)


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


def slow() -> datetime:
    return WALL - BEHIND


def meter_with(air: VirtualAir, *, has_date_time: bool = False, behind: timedelta = BEHIND) -> VirtualMeter:
    record = MeterRecord(1, WALL - behind - timedelta(minutes=30), Decimal(100))
    meter = VirtualMeter(air, METER, "meter", "S-1", [record], clock=lambda: WALL - behind, secure=False)
    meter.stays_awake = False
    meter.has_date_time = has_date_time
    return meter


@pytest.mark.parametrize("has_date_time", [False, True])
async def test_e2_clock_is_set_after_its_error_is_durable(air: VirtualAir, has_date_time: bool) -> None:
    """Records, then the error as a fact, then the clock; records of before are corrected, those of after are right."""
    meter = meter_with(air, has_date_time=has_date_time)
    await meter.start()
    intake = MemoryIntake()
    device = make_device(METER, DeviceKind.GLUCOSE_METER)
    drivers = DATE_TIME_METERS if has_date_time else GENERIC_DRIVERS
    source = make_source(air, device, permissions=ALLOWED, drivers=drivers, revisit_s=0)
    with structlog.testing.capture_logs() as lines:
        async with running(source, intake):
            await meter.wait_connected()
            await meter.wait_disconnected()
            assert WALL == meter.device_time
            after = await meter.measure(Decimal(120))
            await intake.until(lambda: len(intake.readings) == 2)
    clock = "2a08" if has_date_time else "2a2b"
    written = [value for char, value in meter.log if char == clock]
    assert 1 == len(written)
    assert has_date_time or 2 == written[0][9]  # adjust reason: external reference
    first, second, *_ = intake.batches
    assert (1, 0) == (len(first.readings), len(second.readings))
    (fact,) = second.checkpoints
    assert (CLOCK_FACT, {"set_to": WALL.isoformat(), "offset_s": 4020}) == (fact.name, dict(fact.state))
    by_key = {reading.record_key: reading for reading in intake.readings.values()}
    before, later = (reading for _, reading in sorted(by_key.items()))
    assert (NOW - timedelta(minutes=30), TimeQuality.CORRECTED) == (before.effective_at, before.time_quality)
    assert (NOW, TimeQuality.DEVICE) == (later.effective_at, later.time_quality)
    assert after.base_time == slow()
    assert [4020] == [line["off_by_s"] for line in lines if line["event"] == "bluetooth.clock_set"]


@pytest.mark.parametrize(
    ("permissions", "is_trusted", "behind"),
    [
        (Permissions(), True, BEHIND),
        (ALLOWED, False, BEHIND),
        (ALLOWED, True, timedelta(seconds=10)),
    ],
)
async def test_clock_is_left_alone(
    air: VirtualAir, permissions: Permissions, is_trusted: bool, behind: timedelta
) -> None:
    """Without permission, with a clock of our own that may be wrong, and where ten seconds are all it is off."""
    meter = meter_with(air, behind=behind)
    await meter.start()
    intake = MemoryIntake()
    clock = FrozenClock(is_trusted=is_trusted)
    source = make_source(air, make_device(METER, DeviceKind.GLUCOSE_METER), permissions=permissions, clock=clock)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 1)
        await meter.wait_disconnected()
    assert [] == [char for char, _ in meter.log if char in {"2a2b", "2a08"}]


async def test_clock_that_keeps_its_own_time_is_reported(air: VirtualAir) -> None:
    """It accepts what is written and shows something else: read back, and not believed."""
    meter = meter_with(air)
    meter.clock.is_stubborn = True
    await meter.start()
    intake = MemoryIntake()
    with structlog.testing.capture_logs() as lines:
        async with running(make_source(air, make_device(METER, DeviceKind.GLUCOSE_METER), permissions=ALLOWED), intake):
            await meter.wait_connected()
            await meter.wait_disconnected()
    assert ["the clock does not show the time it was given"] == [
        line["detail"] for line in lines if line["event"] == "bluetooth.clock_not_set"
    ]


async def test_scale_is_set_before_the_consent_and_its_memory_is_corrected(air: VirtualAir) -> None:
    """What the scale had stamped by its wrong clock is placed by the error that was measured before."""
    scale = VirtualScale(air, SCALE, "scale", "S-3", users={1: 4711}, clock=slow, secure=False)
    scale.stays_awake = False
    await scale.weigh(WeighIn(Decimal("71.25"), user=1, time_stamp=slow() - timedelta(minutes=10)))
    await scale.start()
    intake = MemoryIntake()
    source = make_source(
        air,
        make_device(SCALE, DeviceKind.SCALE),
        scale_users={DEVICE: ScaleUser(1, 4711)},
        permissions=ALLOWED,
    )
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 1)
        await scale.wait_disconnected()
    assert ["2a2b", "2a9f"] == [char for char, _ in scale.log]
    assert WALL == scale.device_time
    assert CLOCK_FACT == intake.batches[0].checkpoints[0].name
    assert {"user_index": 1, "change_increment": 0} == dict(intake.checkpoints[DEVICE, "scale.user_data"].state)
    (reading,) = intake.readings.values()
    assert (NOW - timedelta(minutes=10), TimeQuality.CORRECTED) == (reading.effective_at, reading.time_quality)


@pytest.mark.parametrize(
    ("offset_now", "at", "expected"),
    [
        (timedelta(), WALL - 2 * BEHIND, NOW - BEHIND),
        (timedelta(), WALL + timedelta(minutes=5), NOW + timedelta(minutes=5)),
        (timedelta(hours=3), WALL - 2 * BEHIND, NOW - 2 * BEHIND + timedelta(hours=3)),
    ],
)
def test_records_of_before_are_corrected_at_later_contacts_too(
    offset_now: timedelta, at: datetime, expected: datetime
) -> None:
    """By the error that held when they were made; not once the clock has been moved again by somebody else."""
    material = Material(DEVICE, PARIS, offset_now, ClockChange(WALL, BEHIND))
    measurement = GlucoseMeasurement(1, at, 0, False, Decimal("0.001"), ConcentrationUnit.KG_L, "capillary", "finger")
    record = GlucoseRecord(measurement, None, (Frame("2a18", b""),), current_offset_min=0)
    (reading,) = material.batch(Keep((record,)), NOW + timedelta(hours=4)).readings
    assert expected == reading.effective_at
