"""Scales that only broadcast, over the air and through the real source."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import pytest
from bluetooth_kit import NOW, PARIS, FrozenClock, MemoryIntake, make_device, running

from gateway.adapters.sources.bluetooth import BluetoothSource
from gateway.adapters.sources.bluetooth.material import Material
from gateway.devices.advert import Advert
from gateway.devices.drivers import Driver, load_drivers
from gateway.listening import Listening
from gateway.model import DeviceId, DeviceKind, Metric, SourceKind, TimeQuality
from gateway.normalise.broadcast import FAR_FROM_LAST, UNAUTHENTICATED
from gateway.sandbox.broadcast_frames import encode_bthome_mass, encode_mi_scale
from gateway.sandbox.peripherals import VirtualBroadcaster
from gateway.sandbox.radio import VirtualAir
from gateway.settings import BluetoothSettings

OURS, THEIRS = "C0:FF:EE:00:00:11", "C0:FF:EE:00:00:12"
STAMP = NOW.astimezone(PARIS).replace(tzinfo=None)
ALICE, BOB = Decimal("64.35"), Decimal("81.2")
DRIVER = next(driver for driver in load_drivers() if driver.name == "xiaomi.scale")


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


def make_source(air: VirtualAir, kind: DeviceKind = DeviceKind.SCALE) -> BluetoothSource:
    return BluetoothSource(
        BluetoothSettings(enabled=True, connect_timeout_s=5.0, retry_s=0.05, revisit_s=0.05),
        [make_device(OURS, kind)],
        zone_of=lambda _device_id: PARIS,
        clock=FrozenClock(),
        drivers=load_drivers(),
        scanner_backend=air.scanner_backend,
        client_backend=air.client_backend,
    )


async def scale_on(air: VirtualAir, address: str = OURS, service: int = 0x181D) -> VirtualBroadcaster:
    scale = VirtualBroadcaster(air, address, "MI_SCALE", service)
    await scale.start()
    return scale


async def test_scale_of_a_neighbour_is_not_recorded(air: VirtualAir) -> None:
    """The same model beside ours: only the enrolled address is heard."""
    ours, theirs = await scale_on(air), await scale_on(air, THEIRS)
    intake = MemoryIntake()
    async with running(make_source(air), intake):
        await theirs.weigh(BOB, STAMP)
        await ours.weigh(ALICE, STAMP)
        await intake.until(lambda: len(intake.readings) == 1)
        await theirs.weigh(BOB, STAMP + timedelta(minutes=1))
        await ours.weigh(ALICE + 1, STAMP + timedelta(minutes=2))
        await intake.until(lambda: len(intake.readings) == 2)
    assert {ALICE, ALICE + 1} == {reading.value for reading in intake.readings.values()}


async def test_weigh_in_is_read_end_to_end(air: VirtualAir) -> None:
    """Weight and impedance of one weigh-in, marked, with payload, checkpoint and instant."""
    scale = await scale_on(air, service=0x181B)
    intake = MemoryIntake()
    async with running(make_source(air, DeviceKind.BODY_COMPOSITION_ANALYSER), intake):
        await scale.weigh(ALICE, STAMP - timedelta(seconds=20), impedance_ohm=487)
        await intake.until(lambda: len(intake.readings) == 2)
    by_metric = {reading.metric: reading for reading in intake.readings.values()}
    mass, impedance = by_metric[Metric.BODY_MASS], by_metric[Metric.IMPEDANCE]
    assert (ALICE, Decimal(487)) == (mass.value, impedance.value)
    assert mass.context.weigh_in == impedance.context.weigh_in
    assert (NOW - timedelta(seconds=20), TimeQuality.DEVICE) == (mass.effective_at, mass.time_quality)
    assert (UNAUTHENTICATED,) == mass.context.status
    assert (SourceKind.BLUETOOTH, "broadcast.scale") == (mass.provenance.source, mass.provenance.decoder)
    assert {"adv.181b"} == {frame.channel for frame in intake.frames}
    assert [(DeviceId("device-1"), "broadcast.scale")] == list(intake.checkpoints)
    assert intake.sightings


async def test_clock_that_was_never_set_gives_the_time_of_reception(air: VirtualAir) -> None:
    """1970: the instant is when it was heard, and the repeat after a restart is no second reading."""
    scale = await scale_on(air)
    intake = MemoryIntake()
    stamp = STAMP.replace(year=1970, month=1, day=1)
    async with running(make_source(air), intake):
        await scale.weigh(ALICE, stamp)
        await intake.until(lambda: len(intake.readings) == 1)
    async with running(make_source(air), intake):
        await scale.tell_each([encode_mi_scale(ALICE, stamp, is_removed=True)])
        await scale.weigh(BOB, stamp + timedelta(minutes=5))
        await intake.until(lambda: any(reading.value == BOB for reading in intake.readings.values()))
    readings = sorted(intake.readings.values(), key=lambda reading: reading.value or 0)
    assert [ALICE, BOB] == [reading.value for reading in readings]
    assert {(NOW, TimeQuality.RECEIVED)} == {(r.effective_at, r.time_quality) for r in readings}
    assert (FAR_FROM_LAST, UNAUTHENTICATED) == readings[1].context.status


async def test_long_name_of_a_scale_is_shortened(air: VirtualAir) -> None:
    """What does not fit beside the payload is left out, never the payload."""
    scale = VirtualBroadcaster(air, OURS, "a name of 20 octets.", 0x181B)
    await scale.start()
    intake = MemoryIntake()
    async with running(make_source(air, DeviceKind.BODY_COMPOSITION_ANALYSER), intake):
        await scale.weigh(ALICE, STAMP, impedance_ohm=487)
        await intake.until(lambda: len(intake.readings) == 2)


async def test_bthome_scale_is_heard(air: VirtualAir) -> None:
    """Each packet number is one weigh-in."""
    scale = await scale_on(air, service=0xFCD2)
    intake = MemoryIntake()
    async with running(make_source(air), intake):
        await scale.tell_each([encode_bthome_mass(ALICE, 7), encode_bthome_mass(ALICE, 7), encode_bthome_mass(BOB, 8)])
        await intake.until(lambda: len(intake.batches) == 2)
    assert [ALICE, BOB] == [batch.readings[0].value for batch in intake.batches]


async def test_spoofed_weights_are_marked_and_limited(air: VirtualAir) -> None:
    """Somebody sends plausible weights under the enrolled address: ten at most, each marked, then one note of it."""
    spoof = await scale_on(air)
    intake = MemoryIntake()
    async with running(make_source(air), intake):
        for number in range(14):
            await spoof.tell_each([encode_mi_scale(ALICE + number, STAMP + timedelta(seconds=number))])
        await intake.until(lambda: len(intake.quarantined) == 1)
        await spoof.tell_each([encode_mi_scale(BOB, STAMP + timedelta(seconds=60))])
    assert 10 == len(intake.readings)
    assert all(UNAUTHENTICATED in reading.context.status for reading in intake.readings.values())


async def test_weigh_in_waits_for_the_store(air: VirtualAir) -> None:
    """A scale says it once: the batch is offered until it is taken."""
    scale = await scale_on(air)
    intake = MemoryIntake(is_down=True)
    async with running(make_source(air), intake):
        await scale.weigh(ALICE, STAMP)
        await intake.until(lambda: intake.submissions >= 2)
        intake.is_down = False
        await intake.until(lambda: len(intake.readings) == 1)


def test_queue_is_bounded_and_repeats_cost_nothing() -> None:
    """The callback never raises and never grows: identical packets are passed over, what is too much is counted."""
    listening = Listening(
        DeviceId("d"), {SourceKind.BLUETOOTH: Material(DeviceId("d"), PARIS)}, clock=FrozenClock(), retry_s=1.0
    )
    same = Advert(service_data={"181d": encode_mi_scale(ALICE, STAMP)})
    for _ in range(1000):
        listening.hear(DRIVER, same)
    assert 0 == listening.dropped
    for number in range(200):
        listening.hear(DRIVER, Advert(service_data={"181d": encode_mi_scale(ALICE + number, STAMP)}))
    assert 199 - 63 == listening.dropped
    assert isinstance(DRIVER, Driver)
