"""The standard services of virtual devices, end to end: every fault of a meter, sensors that end, users and bonds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import bleak
import pytest
import structlog
from bleak import BleakScanner
from bluetooth_kit import (
    NOW,
    PARIS,
    FrozenClock,
    MemoryIntake,
    make_device,
    make_source,
    running,
    until_state,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.adapters.sources.bluetooth import BluetoothSource, LinkState
from gateway.adapters.sources.bluetooth.material import Material
from gateway.adapters.sources.bluetooth.radio.turns import Turn, Turns
from gateway.adapters.sources.bluetooth.session import LinkSession, Mailbox
from gateway.devices.drivers import Permissions
from gateway.devices.procedures import (
    BondRemoval,
    Close,
    GlucoseFetch,
    Outcome,
    Procedure,
    UserList,
    UserProfile,
    UserRegistration,
)
from gateway.devices.user_profile import Gender, RegisteredUser
from gateway.model import DeviceId, DeviceKind
from gateway.ports import Clock
from gateway.sandbox.peripherals import VirtualCgm, VirtualMeter, VirtualScale
from gateway.sandbox.peripherals.base import VirtualPeripheral
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records import CgmSample, MeterRecord
from gateway.settings import BluetoothSettings

METER, CGM, SCALE = "C0:FF:EE:00:00:01", "C0:FF:EE:00:00:03", "C0:FF:EE:00:00:04"
DEVICE = DeviceId("device-1")
WALL = NOW.astimezone(PARIS).replace(tzinfo=None)
START = datetime(2025, 6, 1, 10, 0, tzinfo=UTC)


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


def wall() -> datetime:
    return WALL


def records(first: int, last: int) -> list[MeterRecord]:
    """Numbered modulo 65536, a minute apart."""
    return [
        MeterRecord(number % 65536, WALL - timedelta(days=2) + timedelta(minutes=number - first), Decimal(100))
        for number in range(first, last + 1)
    ]


def sequences(intake: MemoryIntake) -> list[int]:
    return sorted(int(reading.record_key.split("@")[0]) for reading in intake.readings.values())


def make_meter(air: VirtualAir, memory: list[MeterRecord]) -> VirtualMeter:
    return VirtualMeter(air, METER, "meter", "S-1", memory, clock=wall, secure=False)


def source_of(air: VirtualAir, **options: float) -> BluetoothSource:
    return make_source(air, make_device(METER, DeviceKind.GLUCOSE_METER), **options)  # type: ignore[arg-type]


async def carry_out(
    air: VirtualAir,
    device: VirtualPeripheral,
    procedure: Procedure,
    *,
    bonds: bool = False,
    intake: MemoryIntake | None = None,
    clock: Clock | None = None,
) -> Close:
    """`procedure` over a link of its own."""
    found = await BleakScanner.find_device_by_address(device.address, timeout=20, backend=air.scanner_backend)
    assert found is not None
    mailbox = Mailbox()
    client = bleak.BleakClient(found, disconnected_callback=lambda _: mailbox.lose(), backend=air.client_backend)
    limits = BluetoothSettings(procedure_timeout_s=5, quiet_s=0.2)
    async with client:
        session = LinkSession(
            client,
            mailbox,
            services=(),
            material=Material(DEVICE, PARIS),
            intake=intake or MemoryIntake(),
            clock=clock or FrozenClock(),
            settings=limits,
            turn=Turn("device"),
            turns=Turns(FrozenClock(), 1, random.Random(1)),
        )
        assert not bonds or await session.pair()
        return await session.run(procedure)


# --- meter ----------------------------------------------------------------------------------------------------------


class Babbler(VirtualMeter):
    """Says its records again and again, and never that it has done so."""

    async def _report(self, records: Sequence[MeterRecord]) -> None:
        while self.is_connected:
            await super()._report(records)
            await asyncio.sleep(0)  # notifications alone never let anybody else run


class Leaping(FrozenClock):
    """Whoever looks at it finds that a minute has passed."""

    def __init__(self) -> None:
        super().__init__()
        self._passed_s = 0.0

    def monotonic(self) -> float:
        self._passed_s += 60.0
        return self._passed_s


async def test_meter_that_never_ends_is_left(air: VirtualAir) -> None:
    """It holds a slot that others need: after half an hour the link ends, and what came is kept with its watermark."""
    meter = Babbler(air, METER, "meter", "S-1", records(1, 3), clock=wall, secure=False)
    await meter.start()
    intake = MemoryIntake()
    closed = await carry_out(air, meter, GlucoseFetch(), intake=intake, clock=Leaping())
    assert Close(Outcome.RETRY_LATER, "it comes to no end") == closed
    assert [1, 2, 3] == sequences(intake)
    assert 3 == intake.checkpoints[DEVICE, "glucose.records"].state["sequence"]


@pytest.mark.parametrize("mtu", [23, 247])
@pytest.mark.parametrize("drop_at", range(1, 9))
async def test_drop_at_every_record(air: VirtualAir, mtu: int, drop_at: int) -> None:
    """Wherever the link breaks and however small its packets: the union of the attempts is every record, once."""
    meter = make_meter(air, records(1, 8))
    meter.max_mtu = mtu
    await meter.start()
    meter.disconnect_after(drop_at)
    intake = MemoryIntake()
    async with running(source_of(air, revisit_s=60.0), intake):
        await intake.until(lambda: len(intake.readings) == 8)
    assert list(range(1, 9)) == sequences(intake)


async def test_silent_meter_is_aborted_and_its_watermark_stays(air: VirtualAir) -> None:
    """The abort is written, the contact ends as silent, and the next one asks from the same place."""
    meter = make_meter(air, records(1, 3))
    await meter.start()
    intake, source = MemoryIntake(), source_of(air, procedure_timeout_s=0.3)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 3)
        await meter.wait_disconnected()
        watermark = intake.checkpoints[DEVICE, "glucose.records"]
        meter.silent = True
        meter.log.clear()
        await meter.add_record(records(1, 4)[-1])
        await until_state(source, LinkState.FAILED)
        assert ("2a52", b"\x03\x00") in meter.log
        assert watermark == intake.checkpoints[DEVICE, "glucose.records"]
        meter.silent = False
        await intake.until(lambda: len(intake.readings) == 4)


async def test_ten_record_memory_that_went_round_is_told(air: VirtualAir) -> None:
    """While the gateway was away the meter overwrote what nobody had read: a fact, a state, and the rest is read."""
    meter = make_meter(air, records(1, 10))
    meter.capacity = 10
    await meter.start()
    intake, source = MemoryIntake(), source_of(air)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 10)
        await meter.wait_disconnected()
    for record in records(1, 35)[10:]:
        await meter.add_record(record)
    source = source_of(air, revisit_s=60.0)
    with structlog.testing.capture_logs() as lines:
        async with running(source, intake):
            await intake.until(lambda: len(intake.readings) == 20)
            await until_state(source, LinkState.ASLEEP)
            detail = source.states()[0].detail
    assert 1 == sum(line["event"] == "bluetooth.fact" for line in lines)
    assert "records 11 to 25 are lost" in (detail or "")
    fact = intake.checkpoints[DEVICE, "glucose.gap.0.11"]
    assert (11, 25, 15) == (fact.state["first"], fact.state["last"], fact.state["count"])
    assert [*range(1, 11), *range(26, 36)] == sequences(intake)


async def test_counter_that_wraps_goes_on(air: VirtualAir) -> None:
    """Record 65535 is followed by record 0, in the same life of the counter."""
    meter = make_meter(air, records(65530, 65535))
    await meter.start()
    intake = MemoryIntake()
    async with running(source_of(air), intake):
        await intake.until(lambda: len(intake.readings) == 6)
        await meter.wait_disconnected()
        for record in records(65530, 65538)[6:]:
            await meter.add_record(record)
        await intake.until(lambda: len(intake.readings) == 9)
    assert [0, 1, 2, *range(65530, 65536)] == sequences(intake)
    assert {0} == {reading.epoch for reading in intake.readings.values()}


@pytest.mark.parametrize("unsupported", [{4}, {4, 7}, {7}])
async def test_meter_without_some_requests_is_read(air: VirtualAir, unsupported: set[int]) -> None:
    """Count refused: the combined report; that refused too: the plain one."""
    meter = make_meter(air, records(1, 12))
    meter.unsupported = unsupported
    await meter.start()
    intake = MemoryIntake()
    async with running(source_of(air), intake):
        await intake.until(lambda: len(intake.readings) == 12)
    asked = [value[0] for char, value in meter.log if char == "2a52"]
    assert {4} | ({7} if 4 in unsupported else set()) <= set(asked)


async def test_busy_meter_is_read_later(air: VirtualAir) -> None:
    """Response code 10: not now."""
    meter = make_meter(air, records(1, 3))
    meter.busy = 1
    await meter.start()
    intake, source = MemoryIntake(), source_of(air)
    async with running(source, intake):
        await until_state(source, LinkState.FAILED)
        assert "retry_later" == source.states()[0].detail
        await intake.until(lambda: len(intake.readings) == 3)


async def test_system_id_reaches_the_gateway(air: VirtualAir) -> None:
    """The EUI-64 made from the address, as health spaces name a device."""
    meter = make_meter(air, records(1, 1))
    await meter.start()
    intake = MemoryIntake()
    async with running(source_of(air), intake):
        await intake.until(lambda: len(intake.readings) == 1)
    assert "C0FFEEFFFE000001" == intake.sightings[0].system_id


# --- sensor ---------------------------------------------------------------------------------------------------------


def sensor_of(air: VirtualAir, crc: bool = True) -> VirtualCgm:
    samples = [CgmSample(offset, Decimal(100)) for offset in (5, 10)]
    return VirtualCgm(air, CGM, "sensor", "S-2", samples, session_start=START, zone=PARIS, crc=crc, secure=False)


async def test_ended_sensor_is_told_and_left_until_a_new_one_begins(air: VirtualAir) -> None:
    """Its last records are read, people are told, it is not connected again and again; a new session needs no help."""
    sensor = sensor_of(air)
    sensor.is_stopped = True
    await sensor.start()
    intake, source = MemoryIntake(), make_source(air, make_device(CGM, DeviceKind.CGM), revisit_s=0.05)
    async with running(source, intake):
        await until_state(source, LinkState.SESSION_ENDED)
        assert "the session was stopped" == source.states()[0].detail
        assert 2 == len(intake.readings)
        connections = sensor.connections
        assert 1 == connections
        await sensor.new_session(START + timedelta(hours=20))
        await sensor.add_sample(CgmSample(5, Decimal(110)))
        await intake.until(lambda: len(intake.readings) == 3)
    assert "the session was stopped" == intake.checkpoints[DEVICE, "cgm.ended"].state["why"]


@pytest.mark.parametrize("crc", [True, False])
@pytest.mark.parametrize("interval_min", [None, 1])
async def test_settings_of_a_sensor_are_facts(air: VirtualAir, crc: bool, interval_min: int | None) -> None:
    """Levels and calibrations are read; the interval is set only where the configuration says so."""
    sensor = sensor_of(air, crc)
    sensor.calibrations = [Decimal(110), Decimal(120)]
    await sensor.start()
    intake = MemoryIntake()
    permissions = Permissions(cgm_interval_min=interval_min)
    async with running(make_source(air, make_device(CGM, DeviceKind.CGM), permissions=permissions), intake):
        await intake.until(lambda: (DEVICE, "cgm.settings") in intake.checkpoints)
    levels = intake.checkpoints[DEVICE, "cgm.settings"].state
    assert ("250", "54", 5) == (levels["patient_high"], levels["hypo"], levels["interval_min"])
    assert interval_min == levels.get("interval_set_to_min")
    assert (interval_min or 5) == sensor.interval_min
    calibration = intake.checkpoints[DEVICE, "cgm.calibration"].state
    assert (1, "120", 2) == (calibration["record_number"], calibration["glucose_mg_dl"], calibration["read"])
    assert {0x01, 0x02, 0x05, 0x08, 0x0B, 0x0E, 0x11, 0x14, 0x17} >= {v[0] for c, v in sensor.log if c == "2aac"}


# --- users ----------------------------------------------------------------------------------------------------------


async def test_person_becomes_a_user_of_a_scale(air: VirtualAir) -> None:
    """Registered, consented, described; the scale is told that its data changed, once."""
    scale = VirtualScale(air, SCALE, "scale", "S-3", users={0: 1}, clock=wall, secure=False)
    await scale.start()
    profile = UserProfile(date(1970, 2, 3), Gender.FEMALE, 168)
    registration = UserRegistration(4711, profile)
    assert Close(Outcome.COMPLETE) == await carry_out(air, scale, registration)
    assert (1, ()) == (registration.user_index, registration.refused)
    assert {0: 1, 1: 4711} == scale.users
    assert {
        (1, 0x2A85): bytes.fromhex("b2070203"),
        (1, 0x2A8C): b"\x01",
        (1, 0x2A8E): b"\xa8\x00",
    } == scale.profiles
    assert [b"\x01\0\0\0"] == [value for char, value in scale.log if char == "2a99"]


async def test_users_of_a_scale_are_listed(air: VirtualAir) -> None:
    """With their names, long ones in several pieces."""
    scale = VirtualScale(air, SCALE, "scale", "S-3", users={0: 1, 7: 2}, clock=wall, secure=False)
    scale.names = {7: "Marguerite Élisabeth de la Vallée"}
    await scale.start()
    listing = UserList()
    assert Close(Outcome.COMPLETE) == await carry_out(air, scale, listing)
    assert (RegisteredUser(0), RegisteredUser(7, "Marguerite Élisabeth de la Vallée")) == listing.users


# --- bonds ----------------------------------------------------------------------------------------------------------


async def test_device_forgets_its_bond_when_asked(air: VirtualAir) -> None:
    """Only the bond of whoever asks, over LE; the device hangs up over it."""
    scale = VirtualScale(air, SCALE, "scale", "S-3", clock=wall)
    scale.bond_feature = 0x10
    await scale.start()
    removal = BondRemoval()
    assert Close(Outcome.COMPLETE) == await carry_out(air, scale, removal, bonds=True)
    assert removal.is_forgotten
    assert not scale.is_bonded
    assert [("2aa4", b"\x03")] == scale.log


@pytest.mark.parametrize(
    ("feature", "detail"),
    [
        (None, "attribute error 0x0a on 2aa5"),
        (0x000400, "it cannot forget one bond"),
        (0x020820, "it wants its maker's code to forget a bond"),
    ],
)
async def test_device_that_cannot_forget_keeps_its_bond(air: VirtualAir, feature: int | None, detail: str) -> None:
    """Nothing is written, least of all a request that ends the bonds of others."""
    scale = VirtualScale(air, SCALE, "scale", "S-3", clock=wall)
    scale.bond_feature = feature
    await scale.start()
    assert Close(Outcome.REFUSED, detail) == await carry_out(air, scale, BondRemoval(), bonds=True)
    assert scale.is_bonded
    assert [] == scale.log


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(words=st.lists(st.tuples(st.sampled_from(["2a9f", "2b37", "2a99", "2aa5", "2a2b"]), st.binary(max_size=24))))
def test_no_octets_make_these_procedures_raise(words: list[tuple[str, bytes]]) -> None:
    """Whatever a device says, in whatever order."""
    procedures: list[Procedure] = [UserList(), UserRegistration(1, UserProfile(height_cm=170)), BondRemoval()]
    for procedure in procedures:
        procedure.start()
        for char, data in words:
            procedure.on_notify(char, data)
            procedure.on_read(char, data)
        procedure.on_silence()
        procedure.on_link_lost()
        assert procedure.is_done
