"""The Bluetooth source against virtual devices, through bleak's own classes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
import structlog
from bleak.exc import BleakError
from bluetooth_kit import NOW, PARIS, FrozenClock, MemoryIntake, make_device, make_source, running, until_state
from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, Service

from gateway.adapters.sources.bluetooth import BluetoothSource, LinkState
from gateway.devices.drivers import Permissions
from gateway.devices.procedures import ScaleUser
from gateway.model import DeviceId, DeviceKind, Meal, Metric, QuarantineReason, SourceKind, TimeQuality
from gateway.sandbox.peripherals import VirtualCgm, VirtualMeter, VirtualScale
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records import CgmSample, MeterContext, MeterRecord, WeighIn

METER = "C0:FF:EE:00:00:01"
OTHER = "C0:FF:EE:00:00:02"
CGM = "C0:FF:EE:00:00:03"
SCALE = "C0:FF:EE:00:00:04"
DEVICE = DeviceId("device-1")
WALL = NOW.astimezone(PARIS).replace(tzinfo=None)


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


def wall() -> datetime:
    return WALL


def records(first: int, last: int) -> list[MeterRecord]:
    return [
        MeterRecord(number, WALL - timedelta(days=2) + timedelta(minutes=number), Decimal(80 + number % 100))
        for number in range(first, last + 1)
    ]


async def make_meter(
    air: VirtualAir,
    memory: list[MeterRecord],
    *,
    address: str = METER,
    clock: Callable[[], datetime] = wall,
    passkey: int | None = None,
    secure: bool = False,
    stays_awake: bool = False,
) -> VirtualMeter:
    meter = VirtualMeter(air, address, "meter", "S-1", memory, clock=clock, passkey=passkey, secure=secure)
    meter.stays_awake = stays_awake
    await meter.start()
    return meter


def meter_source(air: VirtualAir, **options: Any) -> BluetoothSource:
    return make_source(air, make_device(METER, DeviceKind.GLUCOSE_METER), **options)


def sequences(intake: MemoryIntake) -> list[int]:
    return sorted(int(reading.record_key.split("@")[0]) for reading in intake.readings.values())


# --- meter ----------------------------------------------------------------------------------------------------------


async def test_meter_is_read_end_to_end(air: VirtualAir) -> None:
    """Records with their context, payloads, identity, battery and checkpoint arrive, and the meter is let go."""
    memory = records(1, 3)
    memory[1] = MeterRecord(2, memory[1].base_time, Decimal(111), context=MeterContext(meal=1))
    meter, intake, source = await make_meter(air, memory, secure=True), MemoryIntake(), meter_source(air)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 3)
        await meter.wait_disconnected()
        await until_state(source, LinkState.ASLEEP)
    (second,) = (r for r in intake.readings.values() if r.record_key.startswith("2@"))
    assert (Decimal(111), Metric.GLUCOSE_CAPILLARY, Meal.PREPRANDIAL) == (
        second.value,
        second.metric,
        second.context.meal,
    )
    assert (TimeQuality.DEVICE, NOW, SourceKind.BLUETOOTH) == (
        second.time_quality,
        second.received_at,
        second.provenance.source,
    )
    (batch,) = intake.batches
    assert 4 == len(batch.frames)
    assert second.frame is not None
    assert "2a18" == batch.frames[second.frame].channel
    assert {"epoch": 0, "sequence": 3} == {
        name: value for name, value in batch.checkpoints[0].state.items() if name != "base_time"
    }
    (sighting,) = intake.sightings
    assert ("S-1", 90, NOW) == (sighting.serial, sighting.battery_percent, sighting.heard_at)
    assert sighting.system_id is not None


async def test_second_visit_fetches_only_what_is_new(air: VirtualAir) -> None:
    """A meter that wakes again is asked from the watermark on."""
    meter, intake, source = await make_meter(air, records(1, 3)), MemoryIntake(), meter_source(air)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 3)
        await meter.wait_disconnected()
        meter.log.clear()
        await meter.add_record(records(4, 4)[0])
        await intake.until(lambda: len(intake.readings) == 4)
        await meter.wait_disconnected()
    assert ("2a52", b"\x01\x03\x01\x04\x00") in meter.log
    assert ("2a52", b"\x01\x01") not in meter.log


async def test_d8_counter_reset_opens_an_epoch(air: VirtualAir) -> None:
    """After a repair the meter counts from 1 again; its new records are not taken for old ones."""
    meter, intake, source = await make_meter(air, records(1, 3)), MemoryIntake(), meter_source(air)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 3)
        await meter.wait_disconnected()
        meter.reset_counter()
        await meter.add_record(MeterRecord(1, WALL - timedelta(hours=1), Decimal(99)))
        await intake.until(lambda: len(intake.readings) == 4)
    assert [0, 0, 0, 1] == sorted(reading.epoch for reading in intake.readings.values())


@pytest.mark.parametrize("frames", [1, 7, 20])
async def test_link_lost_midway_is_taken_up_again(air: VirtualAir, frames: int) -> None:
    """What came is kept, the rest is fetched at the next advertisement: every record, once."""
    meter = await make_meter(air, records(1, 20), stays_awake=True)
    meter.disconnect_after(frames)
    intake, source = MemoryIntake(), meter_source(air, revisit_s=60)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 20)
    assert list(range(1, 21)) == sequences(intake)
    assert meter.connections >= (2 if frames < 20 else 1)


async def test_e2_wrong_clock_is_corrected_by_the_offset_at_contact(air: VirtualAir) -> None:
    """A meter two hours behind: its own time is kept, the instant is corrected."""

    def slow() -> datetime:
        return WALL - timedelta(hours=2)

    record = MeterRecord(1, slow() - timedelta(minutes=30), Decimal(100))
    await make_meter(air, [record], clock=slow)
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        await intake.until(lambda: len(intake.readings) == 1)
    (reading,) = intake.readings.values()
    assert TimeQuality.CORRECTED == reading.time_quality
    assert NOW - timedelta(minutes=30) == reading.effective_at
    assert record.base_time == reading.device_time


async def test_malformed_frame_is_quarantined_with_its_octets(air: VirtualAir) -> None:
    """One damaged frame stops nobody: it is set aside and the record is asked for again."""
    meter = await make_meter(air, records(1, 4))
    meter.corrupt_next()
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        await intake.until(lambda: len(intake.readings) == 4)
        await meter.wait_disconnected()
    (entry,) = intake.quarantined
    assert QuarantineReason.MALFORMED == entry.reason
    assert entry.frame in intake.frames
    assert [1, 2, 3, 4] == sequences(intake)


async def test_nothing_is_acknowledged_while_the_store_is_down(air: VirtualAir) -> None:
    """No further request and no watermark; once the store is back, everything is there."""
    meter = await make_meter(air, records(1, 3))
    intake, source = MemoryIntake(is_down=True), meter_source(air)
    async with running(source, intake):
        await intake.until(lambda: intake.submissions == 1)
        await meter.wait_disconnected()
        await until_state(source, LinkState.FAILED)
        assert "not_kept" == source.states()[0].detail
        assert {} == intake.checkpoints
        assert ("2a52", b"\x01\x01") == meter.log[-1]
        intake.is_down = False
        await meter.wake()
        await intake.until(lambda: len(intake.readings) == 3)
    assert ("2a52", b"\x01\x01") == meter.log[-1]


async def test_mute_meter_does_not_hold_up_another(air: VirtualAir) -> None:
    """Each device has its own task: one that never answers costs the others nothing."""
    mute = await make_meter(air, records(1, 3))
    mute.silent = True
    await make_meter(air, records(1, 2), address=OTHER)
    devices = (
        make_device(METER, DeviceKind.GLUCOSE_METER),
        make_device(OTHER, DeviceKind.GLUCOSE_METER, "device-2"),
    )
    intake, source = MemoryIntake(), make_source(air, *devices, procedure_timeout_s=60)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 2)
        assert LinkState.READING == source.states()[0].state


async def test_mute_meter_is_given_up(air: VirtualAir) -> None:
    """Silence ends the contact after the procedure's time limit, and people can see it."""
    meter = await make_meter(air, records(1, 3))
    meter.silent = True
    intake, source = MemoryIntake(), meter_source(air, procedure_timeout_s=0.3)
    async with running(source, intake):
        await meter.wait_connected()
        await until_state(source, LinkState.FAILED)
    assert "silent" == source.states()[0].detail
    assert {} == intake.readings


async def test_only_configured_addresses_are_connected(air: VirtualAir) -> None:
    """A neighbour's meter of the same model is left alone."""
    neighbour = await make_meter(air, records(1, 3), address=OTHER, stays_awake=True)
    await make_meter(air, records(1, 1))
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        await intake.until(lambda: len(intake.readings) == 1)
    assert 0 == neighbour.connections


# --- bonds ----------------------------------------------------------------------------------------------------------


async def test_passkey_meter_is_paired_when_it_refuses(air: VirtualAir) -> None:
    """A device that wants a bond gets one, with the digits that a person types."""
    air.passkeys[METER] = 123456
    meter = await make_meter(air, records(1, 2), passkey=123456, secure=True)
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        await intake.until(lambda: len(intake.readings) == 2)
    assert meter.is_bonded


class ShyMeter(VirtualMeter):
    """Hangs up in the middle of Device Information unless the link is encrypted."""

    def _battery(self) -> Service:
        async def read(connection: Connection) -> bytes:
            if not connection.is_encrypted:
                self.leave_soon()
                await self.wait_disconnected()
            return bytes((90,))

        level = self.characteristic(0x2A19, Characteristic.Properties.READ, read=cast("Any", read), is_public=True)
        return Service(UUID.from_16_bits(0x180F), [level])


async def test_meter_that_hangs_up_during_device_information_is_paired_next_time(air: VirtualAir) -> None:
    """Some meters throw out who is not bonded before anything can be refused: pair first at the next contact."""
    meter = ShyMeter(air, METER, "meter", "S-1", records(1, 2), clock=wall, secure=False)
    await meter.start()
    intake = MemoryIntake()
    async with running(meter_source(air), intake):
        await intake.until(lambda: len(intake.readings) == 2)
    assert (True, 2) == (meter.is_bonded, meter.connections)


async def test_wrong_passkey_needs_a_person(air: VirtualAir) -> None:
    """Pairing that fails ends in its own state, without a storm of attempts."""
    air.passkeys[METER] = 111111
    meter = await make_meter(air, records(1, 2), passkey=123456, secure=True, stays_awake=True)
    intake, source = MemoryIntake(), meter_source(air, revisit_s=60)
    async with running(source, intake):
        await until_state(source, LinkState.NEEDS_PAIRING)
        await meter.wait_disconnected()
    assert 1 == meter.connections
    assert {} == intake.readings


async def test_bond_lost_by_the_meter_needs_a_person(air: VirtualAir) -> None:
    """A meter that forgot its keys (battery change) is shown as such and not removed silently."""
    meter = await make_meter(air, records(1, 2), secure=True)
    intake, source = MemoryIntake(), meter_source(air)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 2)
        await meter.wait_disconnected()
        await meter.forget_bonds()
        await meter.wake()
        await until_state(source, LinkState.NEEDS_PAIRING)


# --- sensor ---------------------------------------------------------------------------------------------------------


async def test_sensor_is_caught_up_and_followed(air: VirtualAir) -> None:
    """The memory first, then each live value as it comes; after a break, what was missed."""
    start = datetime(2025, 6, 1, 10, 0, tzinfo=UTC)
    samples = [CgmSample(offset, Decimal(90 + offset % 60)) for offset in range(5, 305, 5)]
    cgm = VirtualCgm(air, CGM, "sensor", "S-2", samples, session_start=start, zone=PARIS, secure=False)
    await cgm.start()
    intake, source = MemoryIntake(), make_source(air, make_device(CGM, DeviceKind.CGM))
    async with running(source, intake):
        await intake.until(lambda: len(intake.checkpoints) == 1)
        assert 60 == len(intake.readings)
        await cgm.add_sample(CgmSample(305, Decimal(123)))
        await intake.until(lambda: len(intake.readings) == 61)
        assert LinkState.READING == source.states()[0].state
        await cgm.sleep()
        await cgm.drop_link()
        cgm.log.clear()
        await cgm.add_sample(CgmSample(310, Decimal(124)))
        await intake.until(lambda: len(intake.readings) == 62)
    assert [("2a52", b"\x01\x03\x01\x32\x01")] == cgm.log
    newest = max(intake.readings.values(), key=lambda reading: reading.effective_at)
    assert (Decimal(124), Metric.GLUCOSE_INTERSTITIAL) == (newest.value, newest.metric)
    assert start + timedelta(minutes=310) == newest.effective_at


async def test_sensor_without_time_is_told_it_once(air: VirtualAir) -> None:
    """The person's local time, zone and daylight saving, from our clock."""
    cgm = VirtualCgm(
        air, CGM, "sensor", "S-2", [CgmSample(5, Decimal(100))], session_start=None, zone=PARIS, secure=False
    )
    await cgm.start()
    intake = MemoryIntake()
    async with running(make_source(air, make_device(CGM, DeviceKind.CGM)), intake):
        await intake.until(lambda: len(intake.checkpoints) == 1)
    assert 1 == sum(1 for char, _ in cgm.log if char == "2aaa")


async def test_untrusted_clock_is_kept_to_ourselves(air: VirtualAir) -> None:
    """While our clock cannot be right, a sensor that asks for the time is left for later, without a word."""
    cgm = VirtualCgm(
        air, CGM, "sensor", "S-2", [CgmSample(5, Decimal(100))], session_start=None, zone=PARIS, secure=False
    )
    await cgm.start()
    intake = MemoryIntake()
    source = make_source(air, make_device(CGM, DeviceKind.CGM), clock=FrozenClock(is_trusted=False))
    async with running(source, intake):
        await until_state(source, LinkState.FAILED)
        await cgm.wait_disconnected()
    assert "retry_later" == source.states()[0].detail
    assert [] == [char for char, _ in cgm.log if char == "2aaa"]
    assert {} == intake.readings


async def test_link_that_died_unnoticed_is_noticed(air: VirtualAir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sensor that says nothing for long is looked after: a link that is gone without a word is given up."""
    monkeypatch.setattr("gateway.adapters.sources.bluetooth.session._LONG_S", 0.05)
    working = air.client_backend

    class Deaf(working):  # type: ignore[misc, valid-type]
        died = False

        @property
        def is_connected(self) -> bool:
            return not Deaf.died and super().is_connected

    air.client_backend = Deaf
    start = datetime(2025, 6, 1, 10, 0, tzinfo=UTC)
    cgm = VirtualCgm(
        air, CGM, "sensor", "S-2", [CgmSample(5, Decimal(100))], session_start=start, zone=PARIS, secure=False
    )
    await cgm.start()
    intake, source = MemoryIntake(), make_source(air, make_device(CGM, DeviceKind.CGM), retry_s=60)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 1)
        assert LinkState.READING == source.states()[0].state
        Deaf.died = True
        await until_state(source, LinkState.ASLEEP)


# --- scale ----------------------------------------------------------------------------------------------------------


def weigh_in(user: int | None = 1) -> WeighIn:
    return WeighIn(
        Decimal("71.25"),
        user=user,
        time_stamp=WALL - timedelta(minutes=1),
        fat_percent=Decimal("25.1"),
        impedance_ohm=Decimal("498.0"),
    )


async def make_scale(air: VirtualAir, users: dict[int, int] | None = None) -> VirtualScale:
    scale = VirtualScale(air, SCALE, "scale", "S-3", users=users, clock=wall, secure=False)
    scale.stays_awake = False
    return scale


async def test_scale_with_users_is_read_with_consent(air: VirtualAir) -> None:
    """Consent, then weight and composition of one weigh-in, sharing its key."""
    scale = await make_scale(air, {1: 4711})
    await scale.start()
    await scale.weigh(weigh_in())
    intake = MemoryIntake()
    source = make_source(
        air,
        make_device(SCALE, DeviceKind.SCALE),
        scale_users={DEVICE: ScaleUser(1, 4711)},
        permissions=Permissions(set_clock=True),
    )
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 3)
        await scale.wait_disconnected()
    by_metric = {reading.metric: reading for reading in intake.readings.values()}
    assert {Metric.BODY_MASS, Metric.BODY_FAT_PERCENTAGE, Metric.IMPEDANCE} == by_metric.keys()
    assert Decimal("71.25") == by_metric[Metric.BODY_MASS].value
    assert 1 == len({reading.context.weigh_in for reading in by_metric.values()})
    assert ["2a9f"] == [char for char, _ in scale.log]  # its clock is right, and so left alone
    assert () == scale.stored


async def test_clock_of_a_scale_is_left_alone_by_default(air: VirtualAir) -> None:
    """Without permission nothing is written to a scale that has no users."""
    scale = await make_scale(air)
    await scale.start()
    await scale.weigh(weigh_in(None))
    intake = MemoryIntake()
    async with running(make_source(air, make_device(SCALE, DeviceKind.SCALE)), intake):
        await intake.until(lambda: len(intake.readings) == 3)
        await scale.wait_disconnected()
    assert [] == scale.log


async def test_untrusted_clock_is_never_given_to_a_scale(air: VirtualAir) -> None:
    """Even with permission to set clocks, a wrong time is not spread, nor measured against."""
    scale = await make_scale(air, {1: 4711})
    await scale.start()
    await scale.weigh(weigh_in())
    intake = MemoryIntake()
    source = make_source(
        air,
        make_device(SCALE, DeviceKind.SCALE),
        scale_users={DEVICE: ScaleUser(1, 4711)},
        permissions=Permissions(set_clock=True),
        clock=FrozenClock(is_trusted=False),
    )
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 3)
        await scale.wait_disconnected()
    assert ["2a9f"] == [char for char, _ in scale.log]
    assert {TimeQuality.DEVICE} == {reading.time_quality for reading in intake.readings.values()}


async def test_wrong_consent_code_is_sent_once(air: VirtualAir) -> None:
    """However often the scale comes back, the code is not tried again until a person has acted."""
    scale = await make_scale(air, {1: 4711})
    await scale.start()
    intake = MemoryIntake()
    source = make_source(air, make_device(SCALE, DeviceKind.SCALE), scale_users={DEVICE: ScaleUser(1, 1)})
    async with running(source, intake):
        await until_state(source, LinkState.FAILED)
        assert "consent_refused" == source.states()[0].detail
        await scale.wait_disconnected()
        await scale.wake()
        await intake.until(lambda: len(intake.sightings) == 2)
        await scale.wait_disconnected()
        assert 1 == sum(1 for char, _ in scale.log if char == "2a9f")
        source.retry(DEVICE)
        await scale.wake()
        await intake.until(lambda: len(intake.sightings) == 3)
        await scale.wait_disconnected()
    assert 2 == sum(1 for char, _ in scale.log if char == "2a9f")


async def test_code_that_a_scale_hangs_up_over_is_sent_twice_at_most(air: VirtualAir) -> None:
    """It may count as a wrong one each time, and three of those lock a user: a person has to look."""

    class Sulking(VirtualScale):
        """Hangs up instead of saying that a code is wrong."""

        async def _obey(self, value: bytes) -> None:
            await self.drop_link()

    scale = Sulking(air, SCALE, "scale", "S-3", users={1: 4711}, clock=wall, secure=False)
    scale.stays_awake = True
    await scale.start()
    intake = MemoryIntake()
    source = make_source(air, make_device(SCALE, DeviceKind.SCALE), scale_users={DEVICE: ScaleUser(1, 1)})
    async with running(source, intake):
        await until_state(source, LinkState.FAILED)
        assert "consent_refused" == source.states()[0].detail
        await intake.until(lambda: len(intake.sightings) >= 5)
    assert 2 == sum(1 for char, _ in scale.log if char == "2a9f")


async def test_weigh_in_is_held_until_the_store_is_back(air: VirtualAir) -> None:
    """A scale forgets what it has told: the weigh-in is not dropped while the store is down."""
    scale = await make_scale(air)
    await scale.start()
    await scale.weigh(weigh_in(None))
    intake = MemoryIntake(is_down=True)
    async with running(make_source(air, make_device(SCALE, DeviceKind.SCALE)), intake):
        await intake.until(lambda: intake.submissions >= 2)
        intake.is_down = False
        await intake.until(lambda: len(intake.readings) == 3)


async def test_bond_that_no_longer_opens_the_device_needs_a_person(air: VirtualAir) -> None:
    """BlueZ does not say that a meter has lost its keys: the link is closed, and the connection was "canceled"."""

    class Bonded(air.scanner_backend):  # type: ignore[misc, name-defined]
        def create_or_update_device(self, key: str, address: str, name: str | None, details: Any, data: Any) -> Any:
            return super().create_or_update_device(key, address, name, details | {"props": {"Paired": True}}, data)

    class Shut(air.client_backend):  # type: ignore[misc, name-defined]
        async def connect(self, pair: bool, **_options: Any) -> None:
            raise BleakError("[org.bluez.Error.Failed] br-connection-canceled")

    air.scanner_backend, air.client_backend = Bonded, Shut
    await make_meter(air, records(1, 3), stays_awake=True)
    intake, source = MemoryIntake(), meter_source(air)
    async with running(source, intake):
        await until_state(source, LinkState.NEEDS_PAIRING)
    assert {} == intake.readings


# --- radio ----------------------------------------------------------------------------------------------------------


async def test_radio_that_fails_is_reported_once_and_tried_again(air: VirtualAir) -> None:
    """One line when it goes, one when it is back, and scanning goes on."""
    failures = 3
    working = air.scanner_backend

    class Flaky(working):  # type: ignore[misc, valid-type]
        async def start(self) -> None:
            nonlocal failures
            if failures:
                failures -= 1
                raise BleakError("no adapter")
            await super().start()

    air.scanner_backend = Flaky
    await make_meter(air, records(1, 1))
    intake = MemoryIntake()
    with structlog.testing.capture_logs() as logs:
        async with running(meter_source(air), intake):
            await intake.until(lambda: len(intake.readings) == 1)
    assert 0 == failures
    assert 1 == sum(1 for entry in logs if entry["event"] == "bluetooth.scanner_failed")


async def test_log_holds_no_address_serial_or_value(air: VirtualAir) -> None:
    """Log lines name the device by its local name only."""
    meter, intake = await make_meter(air, records(1, 1)), MemoryIntake()
    with structlog.testing.capture_logs() as logs:
        source = meter_source(air)
        async with running(source, intake):
            await intake.until(lambda: len(intake.readings) == 1)
            await meter.wait_disconnected()
            await until_state(source, LinkState.ASLEEP)
    (entry,) = (entry for entry in logs if entry["event"] == "bluetooth.device_read")
    assert {"device", "driver", "outcome", "records", "event", "log_level"} == entry.keys()
    assert not any(word in str(logs) for word in (METER, "S-1", "81"))
