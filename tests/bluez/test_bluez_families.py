"""Other families than meters and sensors through a real BlueZ: what only broadcasts, a cuff, a maker's own protocol."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from bluetooth_kit import MemoryIntake, make_device, running
from bonding import bonding
from guest_kit import WALL, Person, kernel_source, numbers

from gateway.devices.drivers import load_drivers
from gateway.model import DeviceKind, Metric
from gateway.normalise.broadcast import UNAUTHENTICATED
from gateway.sandbox.broadcast_frames import encode_mi_body_composition, encode_mi_scale
from gateway.sandbox.peripherals import (
    CuffReading,
    OneTouchTest,
    VirtualBloodPressureMonitor,
    VirtualBroadcaster,
    VirtualOneTouch,
)
from gateway.sandbox.vhci import KernelAir

pytest_plugins = ("guest_fixtures",)
pytestmark = pytest.mark.bluez

SCALE = "C0:FF:EE:00:00:04"
CUFF = "C0:FF:EE:00:00:05"
ONETOUCH = "C0:FF:EE:00:00:07"
PASSKEY = 123456
PAUSE_S = 0.5
"""A scale repeats each payload for about that long."""


async def test_scale_that_only_broadcasts_is_stored(air: KernelAir) -> None:
    """A weigh-in said three times, one of them with the load removed, is one reading; the next one is the second."""
    scale = VirtualBroadcaster(air, SCALE, "MI_SCALE", 0x181D)
    await scale.start()
    intake, source = MemoryIntake(), kernel_source(make_device(SCALE, DeviceKind.SCALE), drivers=load_drivers())
    first, second = (WALL - timedelta(minutes=minutes) for minutes in (9, 2))
    mass, more = Decimal("64.35"), Decimal("64.85")
    settled, removed = encode_mi_scale(mass, first), encode_mi_scale(mass, first, is_removed=True)
    unsettled = encode_mi_scale(mass / 2, first, is_stable=False)
    async with running(source, intake):
        await scale.tell(settled)
        await intake.until(lambda: len(intake.readings) == 1)
        await scale.tell_each([removed, settled, removed, unsettled], pause_s=PAUSE_S)
        await scale.tell(encode_mi_scale(more, second))
        await intake.until(lambda: len(intake.readings) == 2)
    assert [mass, more] == [reading.value for batch in intake.batches for reading in batch.readings]
    assert {(UNAUTHENTICATED,)} == {reading.context.status for reading in intake.readings.values()}


async def test_impedance_comes_with_its_weight(air: KernelAir) -> None:
    """A body composition scale says the weight, then the impedance, then that nobody stands on it: one weigh-in."""
    scale = VirtualBroadcaster(air, SCALE, "MIBFS", 0x181B)
    await scale.start()
    device = make_device(SCALE, DeviceKind.BODY_COMPOSITION_ANALYSER)
    intake, source = MemoryIntake(), kernel_source(device, drivers=load_drivers())
    mass, stamp = Decimal("64.35"), WALL - timedelta(seconds=20)
    said = [
        encode_mi_body_composition(mass, stamp),
        encode_mi_body_composition(mass, stamp, impedance_ohm=487),
        encode_mi_body_composition(mass, stamp, impedance_ohm=487, is_removed=True),
    ]
    async with running(source, intake):
        for payload in said:
            await scale.tell_each([payload], pause_s=PAUSE_S)
        await intake.until(lambda: len(intake.readings) == 2)
    found = {reading.metric: reading for reading in intake.readings.values()}
    assert {Metric.BODY_MASS: mass, Metric.IMPEDANCE: Decimal(487)} == {m: found[m].value for m in found}
    assert 1 == len({reading.context.weigh_in for reading in found.values()})
    assert 2 == sum(len(batch.readings) for batch in intake.batches)


async def test_cuff_is_read(air: KernelAir) -> None:
    """Stored blood pressures come as indications, each confirmed; a later one comes at the next visit, once."""
    cuff = VirtualBloodPressureMonitor(air, CUFF, "cuff", "S-5", clock=lambda: WALL, secure=False)
    cuff.stays_awake = False
    await cuff.start()
    intake, source = MemoryIntake(), kernel_source(make_device(CUFF, DeviceKind.BLOOD_PRESSURE_MONITOR))
    stamps = [WALL - timedelta(hours=hours) for hours in (3, 2, 1)]
    measured = [
        CuffReading(Decimal(120 + n), Decimal(80 + n), Decimal(93 + n), time_stamp=stamp, pulse_per_min=Decimal(60 + n))
        for n, stamp in enumerate(stamps)
    ]
    async with running(source, intake):
        for reading in measured[:2]:
            await cuff.measure(reading)
        await intake.until(lambda: len(systolic(intake)) == 2)
        await cuff.wait_disconnected()
        await cuff.measure(measured[2])
        await intake.until(lambda: len(systolic(intake)) == 3)
    assert [Decimal(120), Decimal(121), Decimal(122)] == systolic(intake)


def systolic(intake: MemoryIntake) -> list[Decimal | None]:
    """The systolic pressures that were handed in, in that order and as often as they were."""
    return [
        reading.value
        for batch in intake.batches
        for reading in batch.readings
        if reading.metric is Metric.BLOOD_PRESSURE_SYSTOLIC
    ]


async def test_onetouch_is_read(air: KernelAir) -> None:
    """The protocol of the maker, over its own service and a bond: twelve tests, once."""
    tests = [OneTouchTest(WALL - timedelta(days=1) + timedelta(minutes=number), 80 + number) for number in range(12)]
    meter = VirtualOneTouch(air, ONETOUCH, "OneTouch A1B2", "S-7", tests, clock=lambda: WALL, passkey=PASSKEY)
    await meter.start()
    device = make_device(ONETOUCH, DeviceKind.GLUCOSE_METER)
    intake, source = MemoryIntake(), kernel_source(device, drivers=load_drivers())
    async with bonding() as bonds:
        async with running(kernel_source(make_device(SCALE, DeviceKind.SCALE)), MemoryIntake()):
            await bonds.bond(ONETOUCH, Person(PASSKEY))
        async with running(source, intake):
            await intake.until(lambda: len(intake.readings) == 12)
            await meter.wait_disconnected()
    assert list(range(1, 13)) == sorted(numbers(intake))
