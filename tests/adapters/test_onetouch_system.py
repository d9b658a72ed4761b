"""A virtual OneTouch meter over the air, read by the real source."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from bluetooth_kit import NOW, PARIS, FrozenClock, MemoryIntake, make_device, running

from gateway.adapters.sources.bluetooth import BluetoothSource
from gateway.devices.drivers import load_drivers
from gateway.model import Absent, BoundKind, DeviceKind, TimeQuality
from gateway.sandbox.peripherals import OneTouchTest, VirtualOneTouch
from gateway.sandbox.radio import VirtualAir
from gateway.settings import BluetoothSettings

METER = "C0:FF:EE:00:00:07"
WALL = NOW.astimezone(PARIS).replace(tzinfo=None)
COUNT = 12


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


def made(count: int, *, first: int = 1) -> list[OneTouchTest]:
    return [
        OneTouchTest(WALL - timedelta(days=1) + timedelta(minutes=number), 80 + number)
        for number in range(first, first + count)
    ]


async def make_meter(
    air: VirtualAir, memory: list[OneTouchTest], *, behind: timedelta = timedelta(), passkey: int | None = None
) -> VirtualOneTouch:
    def clock() -> datetime:
        return WALL - behind

    meter = VirtualOneTouch(air, METER, "OneTouch A1B2", "S-7", memory, clock=clock, passkey=passkey)
    if passkey is not None:
        air.passkeys[METER] = passkey
    await meter.start()
    return meter


def make_source(air: VirtualAir) -> BluetoothSource:
    settings = BluetoothSettings(
        enabled=True, connect_timeout_s=5.0, procedure_timeout_s=5.0, quiet_s=0.1, retry_s=0.05, revisit_s=0.05
    )
    return BluetoothSource(
        settings,
        [make_device(METER, DeviceKind.GLUCOSE_METER)],
        zone_of=lambda _device_id: PARIS,
        clock=FrozenClock(),
        drivers=load_drivers(),
        scanner_backend=air.scanner_backend,
        client_backend=air.client_backend,
    )


def numbers(intake: MemoryIntake) -> list[int]:
    return sorted(int(reading.record_key.split("@")[0]) for reading in intake.readings.values())


@pytest.mark.parametrize("records", range(1, COUNT + 1))
async def test_link_lost_at_every_record(air: VirtualAir, records: int) -> None:
    """The meter drops the link after that many records: every record arrives, once, and the watermark holds all."""
    meter = await make_meter(air, made(COUNT))
    meter.disconnect_after(records)
    intake = MemoryIntake()
    async with running(make_source(air), intake):
        await intake.until(lambda: len(intake.readings) == COUNT and _done(intake) == COUNT)
    assert list(range(1, COUNT + 1)) == numbers(intake)
    assert COUNT == sum(len(batch.readings) for batch in intake.batches)


async def test_meter_is_paired_and_read_end_to_end(air: VirtualAir) -> None:
    """With six digits; value, instant, identity, battery; control solution, LO and no reading are told apart."""
    memory = [
        OneTouchTest(WALL - timedelta(hours=5), 111),
        OneTouchTest(WALL - timedelta(hours=4), 112, is_control_solution=True),
        OneTouchTest(WALL - timedelta(hours=3), 0),
        OneTouchTest(WALL - timedelta(hours=2), 601),
    ]
    meter = await make_meter(air, memory, behind=timedelta(), passkey=123456)
    intake = MemoryIntake()
    async with running(make_source(air), intake):
        await intake.until(lambda: len(intake.readings) == 4)
        await meter.wait_disconnected()
    by_number = {int(reading.record_key.split("@")[0]): reading for reading in intake.readings.values()}
    assert (Decimal(111), NOW - timedelta(hours=5), TimeQuality.DEVICE, "onetouch") == (
        by_number[1].value,
        by_number[1].effective_at,
        by_number[1].time_quality,
        by_number[1].provenance.decoder,
    )
    assert [False, True, False, False] == [by_number[n].context.is_control_solution for n in range(1, 5)]
    assert (None, Absent.NOT_INCLUDED) == (by_number[3].value, by_number[3].absent)
    bound = by_number[4].bound
    assert bound is not None
    assert BoundKind.ABOVE is bound.kind
    assert meter.is_bonded
    assert ("S-7", 90) == (intake.sightings[0].serial, intake.sightings[0].battery_percent)


async def test_wrong_clock_is_corrected(air: VirtualAir) -> None:
    """The clock that the meter told in the contact corrects the instant; its own time is kept."""
    await make_meter(air, [OneTouchTest(WALL - timedelta(hours=3), 100)], behind=timedelta(hours=2))
    intake = MemoryIntake()
    async with running(make_source(air), intake):
        await intake.until(lambda: len(intake.readings) == 1)
    (reading,) = intake.readings.values()
    assert (NOW - timedelta(hours=1), TimeQuality.CORRECTED) == (reading.effective_at, reading.time_quality)
    assert WALL - timedelta(hours=3) == reading.device_time


@pytest.mark.parametrize("packet_octets", [5, 12])
async def test_frames_in_pieces_sent_twice(air: VirtualAir, packet_octets: int) -> None:
    """Each piece is acknowledged before the next one comes; repeated frames are no further records."""
    meter = await make_meter(air, made(4))
    meter.packet_octets, meter.repeats = packet_octets, True
    intake = MemoryIntake()
    async with running(make_source(air), intake):
        await intake.until(lambda: _done(intake) == 4)
    assert [1, 2, 3, 4] == numbers(intake)
    assert {81, 82, 83, 84} == {reading.value for reading in intake.readings.values()}


async def test_unanswered_request_is_written_again(air: VirtualAir) -> None:
    """After two seconds."""
    meter = await make_meter(air, made(2))
    meter.deaf_for = 1
    intake = MemoryIntake()
    async with running(make_source(air), intake):
        await intake.until(lambda: len(intake.readings) == 2)
    assert 1 == meter.connections


async def test_next_visit_reads_what_is_new(air: VirtualAir) -> None:
    """The second visit asks for the witness and the new record only."""
    meter = await make_meter(air, made(3))
    intake = MemoryIntake()
    async with running(make_source(air), intake):
        await intake.until(lambda: _done(intake) == 3)
        meter.add(made(1, first=4)[0])
        await intake.until(lambda: _done(intake) == 4)
    assert [1, 2, 3, 4] == numbers(intake)
    assert 4 == sum(len(batch.readings) for batch in intake.batches)


def _done(intake: MemoryIntake) -> object:
    (checkpoint,) = intake.checkpoints.values() or (None,)
    return None if checkpoint is None else checkpoint.state["done"]
