"""Services that virtual devices share or have gained: over the air, by a client that is not the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from bleak.exc import BleakGATTProtocolError
from virtual_link import NOON, Inbox, linked, noon, records, sig

from gateway.sandbox.peripherals import VirtualCgm, VirtualMeter, VirtualScale
from gateway.sandbox.radio import VirtualAir

ADDRESS = "C0:FF:EE:00:00:09"
START = datetime(2025, 3, 1, tzinfo=UTC)


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


async def test_combined_report_ends_with_its_number(air: VirtualAir) -> None:
    """Records first, then 08 with how many; nothing to report counts 0; busy and unknown are answered as such."""
    meter = VirtualMeter(air, ADDRESS, "meter", "S", records(3), clock=noon, secure=False)
    meter.unsupported = {4}
    meter.busy = 1
    await meter.start()
    async with linked(air, ADDRESS) as client:
        inbox = Inbox()
        await inbox.subscribe(client, 0x2A18, 0x2A34, 0x2A52)
        assert b"\x06\x00\x04\x02" == await inbox.ask(client, 0x2A52, b"\x04\x01")
        assert b"\x06\x00\x07\x0a" == await inbox.ask(client, 0x2A52, b"\x07\x01")
        assert b"\x08\x00\x03\x00" == await inbox.ask(client, 0x2A52, b"\x07\x01")
        assert 3 == len(inbox.of(0x2A18))
        assert b"\x08\x00\x00\x00" == await inbox.ask(client, 0x2A52, b"\x07\x03\x01\x09\x00")
    await meter.stop()


async def test_memory_of_a_meter_goes_round(air: VirtualAir) -> None:
    """The oldest test gives way to the newest."""
    meter = VirtualMeter(air, ADDRESS, "meter", "S", records(3), clock=noon, secure=False)
    meter.capacity = 3
    await meter.measure(Decimal(100))
    assert [2, 3, 4] == [record.sequence for record in meter.records]


async def test_clock_inside_the_glucose_service(air: VirtualAir) -> None:
    """2A08 is read and written; there is no Current Time service."""
    meter = VirtualMeter(air, ADDRESS, "meter", "S", clock=noon, secure=False)
    meter.has_date_time = True
    await meter.start()
    async with linked(air, ADDRESS) as client:
        assert client.services.get_service(sig(0x1805)) is None
        await client.write_gatt_char(sig(0x2A08), bytes.fromhex("e9070301100000"), response=True)
        assert bytes.fromhex("e9070301100000") == bytes(await client.read_gatt_char(sig(0x2A08)))
    assert NOON.replace(hour=16) == meter.device_time
    await meter.stop()


@pytest.mark.parametrize("wanted", [0, 61, 255])
async def test_sensor_takes_an_interval_within_its_range(air: VirtualAir, wanted: int) -> None:
    """1 to 60 minutes; anything else is out of range and changes nothing."""
    sensor = VirtualCgm(air, ADDRESS, "sensor", "S", session_start=START, zone=UTC, crc=False, secure=False)
    await sensor.start()
    async with linked(air, ADDRESS) as client:
        inbox = Inbox()
        await inbox.subscribe(client, 0x2AAC)
        assert b"\x1c\x01\x05" == await inbox.ask(client, 0x2AAC, bytes((1, wanted)))
        assert 5 == sensor.interval_min
        assert b"\x1c\x01\x01" == await inbox.ask(client, 0x2AAC, b"\x01\x03")
        assert b"\x03\x03" == await inbox.ask(client, 0x2AAC, b"\x02")
        assert b"\x1c\x05\x05" == await inbox.ask(client, 0x2AAC, b"\x05\xff\xff")
        for therapy in (0x04, 0x1A, 0x1B):
            assert bytes((0x1C, therapy, 2)) == await inbox.ask(client, 0x2AAC, bytes((therapy,)))
    await sensor.stop()


async def test_profile_is_closed_without_consent(air: VirtualAir) -> None:
    """ATT 0x80 before, the person's own data after."""
    scale = VirtualScale(air, ADDRESS, "scale", "S", users={1: 4711}, clock=noon, secure=False)
    await scale.start()
    async with linked(air, ADDRESS) as client:
        with pytest.raises(BleakGATTProtocolError) as refused:
            await client.read_gatt_char(sig(0x2A8E))
        assert 0x80 == int(refused.value.code)
        inbox = Inbox()
        await inbox.subscribe(client, 0x2A9F)
        assert b"\x20\x02\x01" == await inbox.ask(client, 0x2A9F, b"\x02\x01\x67\x12")
        await client.write_gatt_char(sig(0x2A8E), b"\xa8\x00", response=True)
        assert b"\xa8\x00" == bytes(await client.read_gatt_char(sig(0x2A8E)))
    await scale.stop()


async def test_bonds_of_others_cannot_be_ended(air: VirtualAir) -> None:
    """Only "forget me, over LE" is known, and only where the feature says so."""
    scale = VirtualScale(air, ADDRESS, "scale", "S", clock=noon, secure=False)
    scale.bond_feature = 0x10
    await scale.start()
    async with linked(air, ADDRESS) as client:
        assert b"\x10\0\0" == bytes(await client.read_gatt_char(sig(0x2AA5)))
        for request in (b"\x06", b"\x09", b"\x01", b"\x03secret"):
            with pytest.raises(BleakGATTProtocolError) as refused:
                await client.write_gatt_char(sig(0x2AA4), request, response=True)
            assert 0x80 == int(refused.value.code)
    await scale.stop()


async def test_information_and_battery_in_full(air: VirtualAir) -> None:
    """Hardware, software, PnP id, certifications and battery status can be read without a bond."""
    meter = VirtualMeter(air, ADDRESS, "meter", "S", clock=noon)
    meter.battery_percent = 40
    await meter.start()
    async with linked(air, ADDRESS) as client:
        read = {
            uuid: bytes(await client.read_gatt_char(sig(uuid))) for uuid in (0x2A27, 0x2A28, 0x2A50, 0x2A2A, 0x2BED)
        }
    assert (b"A", b"1.0.0") == (read[0x2A27], read[0x2A28])
    assert bytes.fromhex("01ffff01000001") == read[0x2A50]
    assert bytes.fromhex("00010006fe0100020000") == read[0x2A2A]
    assert 40 == read[0x2BED][3]
    await meter.stop()
