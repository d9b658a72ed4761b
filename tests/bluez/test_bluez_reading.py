"""Reading devices through a real BlueZ: what is heard, fetched, sent live, and taken up again."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import bleak
import pytest
from bleak.backends.scanner import AdvertisementData
from bluetooth_kit import PARIS, MemoryIntake, make_device, running, until_state
from guest_kit import kernel_source, make_meter, numbers, records, shout

from gateway.adapters.sources.bluetooth import LinkState
from gateway.devices.advert import short_uuid
from gateway.model import DeviceKind, Metric
from gateway.sandbox.peripherals import VirtualCgm
from gateway.sandbox.records import CgmSample
from gateway.sandbox.vhci import KernelAir

pytest_plugins = ("guest_fixtures",)
pytestmark = pytest.mark.bluez

METER = "C0:FF:EE:00:00:01"
OTHER = "C0:FF:EE:00:00:02"
CGM = "C0:FF:EE:00:00:03"
SCALE = "C0:FF:EE:00:00:04"


async def advertisement_of(address: str) -> AdvertisementData:
    """What bleak says of the next packet from `address`."""
    async with bleak.BleakScanner() as scanner:
        async for device, data in scanner.advertisement_data():
            if device.address == address:
                return data
    raise AssertionError


async def test_advertisement_arrives_as_sent(air: KernelAir) -> None:
    """Name, address and service of a device on the air, through scan, kernel, bluetoothd and bus."""
    await make_meter(air, [], address=METER)
    data = await advertisement_of(METER)
    assert ("meter", {"1808"}) == (data.local_name, {short_uuid(uuid) for uuid in data.service_uuids})


async def test_broadcast_of_a_scale_is_heard(air: KernelAir) -> None:
    """Service data of a scale that says everything in its advertisement, octet by octet."""
    payload = bytes.fromhex("22c638e9070602090f1e")
    await shout(air, SCALE, "MI_SCALE", 0x181D, payload)
    data = await advertisement_of(SCALE)
    assert {"181d": payload} == {short_uuid(uuid): content for uuid, content in data.service_data.items()}


async def test_meter_is_read_end_to_end(air: KernelAir) -> None:
    """Every record, what the meter says about itself, and the meter let go; a neighbour's meter is left alone."""
    neighbour = await make_meter(air, records(1, 3), address=OTHER, name="neighbour", stays_awake=True)
    meter = await make_meter(air, records(1, 12), address=METER)
    intake, source = MemoryIntake(), kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER))
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 12)
        await meter.wait_disconnected()
        await until_state(source, LinkState.ASLEEP)
    assert list(range(1, 13)) == numbers(intake)
    assert ("S-1", 90) == (intake.sightings[0].serial, intake.sightings[0].battery_percent)
    assert 0 == neighbour.connections


async def test_second_visit_fetches_only_what_is_new(air: KernelAir) -> None:
    """A meter that wakes again is asked from the watermark on."""
    meter = await make_meter(air, records(1, 3), address=METER)
    intake, source = MemoryIntake(), kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER))
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 3)
        await meter.wait_disconnected()
        meter.log.clear()
        await meter.add_record(records(4, 4)[0])
        await intake.until(lambda: len(intake.readings) == 4)
        await meter.wait_disconnected()
    assert ("2a52", b"\x01\x03\x01\x04\x00") in meter.log
    assert [1, 2, 3, 4] == numbers(intake)


@pytest.mark.parametrize("count", [500, 1000])
async def test_burst_arrives_whole_and_in_order(air: KernelAir, count: int) -> None:
    """Hundreds of notifications as fast as the link takes them: each once, in order, in one contact."""
    meter = await make_meter(air, records(1, count), address=METER)
    intake, source = MemoryIntake(), kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER))
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == count)
        await meter.wait_disconnected()
    assert list(range(1, count + 1)) == numbers(intake)
    assert 1 == meter.connections


@pytest.mark.parametrize("mtu", [23, 247])
async def test_size_of_packets_does_not_matter(air: KernelAir, mtu: int) -> None:
    """A meter that takes no more than `mtu` octets at once gives the same records."""
    meter = await make_meter(air, records(1, 20), address=METER, max_mtu=mtu)
    payloads: set[int] = set()
    intake, source = MemoryIntake(), kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER))
    async with running(source, intake):
        await meter.wait_connected()
        await intake.until(lambda: bool(intake.sightings))
        payloads.add(meter.payload_octets)
        await intake.until(lambda: len(intake.readings) == 20)
    assert {mtu - 3} == payloads
    assert list(range(1, 21)) == numbers(intake)


@pytest.mark.parametrize("mtu", [23, 247])
async def test_live_sensor_is_followed(air: KernelAir, mtu: int) -> None:
    """The past, then each measurement as it is made; after a lost link what was missed."""
    start = datetime(2025, 6, 1, 10, 0, tzinfo=UTC)
    samples = [CgmSample(offset, Decimal(90 + offset % 60)) for offset in range(5, 305, 5)]
    cgm = VirtualCgm(air, CGM, "sensor", "S-2", samples, session_start=start, zone=PARIS, secure=False)
    cgm.max_mtu = mtu
    await cgm.start()
    intake, source = MemoryIntake(), kernel_source(make_device(CGM, DeviceKind.CGM))
    async with running(source, intake):
        await intake.until(lambda: len(intake.checkpoints) == 1 and len(intake.readings) == 60)
        await cgm.add_sample(CgmSample(305, Decimal(123)))
        await intake.until(lambda: len(intake.readings) == 61)
        await cgm.sleep()
        await cgm.drop_link()
        await cgm.add_sample(CgmSample(310, Decimal(124)))
        await intake.until(lambda: len(intake.readings) == 62)
    newest = max(intake.readings.values(), key=lambda reading: reading.effective_at)
    assert (Decimal(124), Metric.GLUCOSE_INTERSTITIAL) == (newest.value, newest.metric)


@pytest.mark.parametrize("frames", [1, 7, 19])
async def test_link_lost_midway_is_taken_up_again(air: KernelAir, frames: int) -> None:
    """What came before the link broke is kept; the rest is fetched from there: every record, once."""
    meter = await make_meter(air, records(1, 20), address=METER, stays_awake=True)
    meter.disconnect_after(frames)
    intake, source = MemoryIntake(), kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER), revisit_s=60)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 20)
    assert list(range(1, 21)) == numbers(intake)
    assert 2 == meter.connections
