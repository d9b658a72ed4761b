"""Encrypted scales over the air: through the real source, over restarts, without a key and with the wrong one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import pytest
from bluetooth_kit import NOW, PARIS, FrozenClock, MemoryIntake, make_device, running, until_state

from gateway.adapters.sources.bluetooth import BluetoothSource, LinkState
from gateway.devices.drivers import load_drivers
from gateway.devices.procedures.sealed_scale import KEY_DOES_NOT_FIT, PLAYED_AGAIN
from gateway.model import DeviceId, DeviceKind, Metric, TimeQuality
from gateway.sandbox.peripherals import VirtualBroadcaster
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.sealed_frames import encode_s400, encode_sealed_bthome
from gateway.settings import BluetoothSettings

OURS = "C0:FF:EE:00:00:11"
SCALE = DeviceId("device-1")
KEY, WRONG = bytes(range(16)), bytes(range(1, 17))
ALICE, BOB = Decimal("64.3"), Decimal("81.2")


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


def make_source(air: VirtualAir, key: bytes | None = KEY) -> BluetoothSource:
    return BluetoothSource(
        BluetoothSettings(enabled=True, connect_timeout_s=5.0, retry_s=0.05, revisit_s=0.05),
        [make_device(OURS, DeviceKind.BODY_COMPOSITION_ANALYSER)],
        zone_of=lambda _device_id: PARIS,
        clock=FrozenClock(),
        drivers=load_drivers(),
        keys={} if key is None else {SCALE: key},
        scanner_backend=air.scanner_backend,
        client_backend=air.client_backend,
    )


async def scale_on(air: VirtualAir, service: int = 0xFE95) -> VirtualBroadcaster:
    scale = VirtualBroadcaster(air, OURS, "MJTZC01YM", service)
    await scale.start()
    return scale


def weigh_in(counter: int, minutes: int = 0, mass: Decimal = ALICE) -> list[bytes]:
    """The packets of an S400, the last one of nobody."""
    at = NOW + timedelta(minutes=minutes, seconds=-20)
    return [
        encode_s400(KEY, OURS, counter, at, mass_kg=mass, heart_rate_per_min=72, impedance_ohm=Decimal("512.3")),
        encode_s400(KEY, OURS, counter + 1, at, impedance_ohm=Decimal("470.1")),
        encode_s400(KEY, OURS, counter + 2, at),
    ]


async def test_weigh_in_of_an_s400_is_read_end_to_end(air: VirtualAir) -> None:
    """Four readings of one weigh-in at the scale's own time, none of them marked as unproven, with the raw packets."""
    scale, intake = await scale_on(air), MemoryIntake()
    async with running(make_source(air), intake):
        await scale.tell_each(weigh_in(10))
        await intake.until(lambda: len(intake.readings) == 4)
    readings = {reading.metric: reading for reading in intake.readings.values()}
    assert {
        Metric.BODY_MASS: ALICE,
        Metric.HEART_RATE: Decimal(72),
        Metric.IMPEDANCE: Decimal("512.3"),
        Metric.IMPEDANCE_250_KHZ: Decimal("470.1"),
    } == {metric: reading.value for metric, reading in readings.items()}
    assert 1 == len({reading.context.weigh_in for reading in readings.values()})
    assert {((), "1")} == {(each.context.status, each.context.user_name) for each in readings.values()}
    assert {(NOW - timedelta(seconds=20), TimeQuality.DEVICE)} == {
        (reading.effective_at, reading.time_quality) for reading in readings.values()
    }
    assert {"adv.fe95"} == {frame.channel for frame in intake.frames}
    assert {"broadcast.sealed_scale"} == {reading.provenance.decoder for reading in readings.values()}


async def test_packet_played_again_after_a_restart_is_seen(air: VirtualAir) -> None:
    """The counter is durable with the reading: what was recorded on the air gives nothing, and is set aside once."""
    scale, intake = await scale_on(air), MemoryIntake()
    async with running(make_source(air), intake):
        await scale.tell_each([*weigh_in(10), *weigh_in(13, 1, BOB)])
        await intake.until(lambda: len(intake.readings) == 8)
    async with running(make_source(air), intake):
        await scale.tell_each(weigh_in(10))
        await intake.until(lambda: len(intake.quarantined) == 1)
        await scale.tell_each(weigh_in(16, 2))
        await intake.until(lambda: len(intake.readings) == 12)
    assert [PLAYED_AGAIN] == [entry.detail for entry in intake.quarantined]
    assert 6 == sum(len(batch.readings) > 0 for batch in intake.batches)


async def test_wrong_key_is_told_in_one_sentence(air: VirtualAir) -> None:
    """Nothing is read; the device's state says why until a packet opens."""
    scale, intake = await scale_on(air), MemoryIntake()
    source = make_source(air, WRONG)
    async with running(source, intake):
        await scale.tell_each([*weigh_in(10), *weigh_in(13)])
        await intake.until(lambda: len(intake.quarantined) == 1)
        await scale.tell_each(weigh_in(16))
        await until_state(source, LinkState.FAILED)
        assert KEY_DOES_NOT_FIT == source.states()[0].detail
    assert ({}, [KEY_DOES_NOT_FIT]) == (intake.readings, [entry.detail for entry in intake.quarantined])


async def test_without_a_key_the_reason_is_shown(air: VirtualAir) -> None:
    """As for a device that cannot be read: nothing is kept, and the neighbour says what is missing."""
    scale, intake = await scale_on(air), MemoryIntake()
    source = make_source(air, None)
    async with running(source, intake):
        await scale.tell_each(weigh_in(10))
        (near,) = source.neighbours()
        assert ("xiaomi.needs_key", SCALE) == (near.not_read, near.device_id)
    assert [] == intake.batches
    assert not source.has_key(SCALE)


async def test_encrypted_bthome_scale_is_heard(air: VirtualAir) -> None:
    """Each packet number is one weigh-in; one in the clear under the address of a device with a key is nobody's."""
    scale, intake = await scale_on(air, 0xFCD2), MemoryIntake()
    async with running(make_source(air), intake):
        packets = ((5, ALICE, 1), (6, ALICE, 1), (7, BOB, 2))
        await scale.tell_each([encode_sealed_bthome(KEY, OURS, *packet) for packet in packets])
        await intake.until(lambda: len(intake.readings) == 2)
    assert {ALICE, BOB} == {reading.value for reading in intake.readings.values()}
    assert {()} == {reading.context.status for reading in intake.readings.values()}
