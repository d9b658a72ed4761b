"""The virtual cuff, thermometer, belt and oximeter, as a client of bleak sees them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from bleak.exc import BleakGATTProtocolError
from virtual_link import NOON, Inbox, linked, noon, sig

from gateway.model import Unit
from gateway.sandbox.frames_vital_signs import (
    encode_blood_pressure,
    encode_continuous_oximetry,
    encode_cuff_pressure,
    encode_float32,
    encode_heart_rate,
    encode_spot_check,
    encode_temperature,
)
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
from gateway.sandbox.peripherals.faults import parse_faults
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records import SfloatSpecial

ADDRESS = "C0:FF:EE:00:00:51"
PRESSURE = CuffReading(Decimal(120), Decimal(80), Decimal(93), time_stamp=NOON, pulse_per_min=Decimal(72), user=1)


def test_worked_examples() -> None:
    """Frames worked out by hand are encoded octet for octet."""
    assert "0e780050005d00e907030" + "10c0000480001" == encode_blood_pressure(PRESSURE).hex()
    assert (
        "11a0f06bf0ff070400"
        == encode_blood_pressure(CuffReading(Decimal("16.0"), Decimal("10.7"), unit=Unit.KPA, status=4)).hex()
    )
    assert "00a000ff07ff07" == encode_cuff_pressure(CuffReading(Decimal(160), None)).hex()
    assert "1e480a005503" == encode_heart_rate(HeartBeat(72, True, 10, (853,))).hex()
    assert "012c01" == encode_heart_rate(HeartBeat(300)).hex()
    assert "04740100ff03" == encode_temperature(Temperature(Decimal("37.2"), site=3)).hex()
    assert "00ffff7f00" == encode_temperature(Temperature(None)).hex()
    assert ["00008000", "feff7f00", "02008000", "01008000"] == [
        encode_float32(special).hex()
        for special in (SfloatSpecial.NRES, SfloatSpecial.POS_INF, SfloatSpecial.NEG_INF, SfloatSpecial.RESERVED)
    ]
    assert (
        "1e610044008000200000" + "19f0"
        == encode_spot_check(
            SpotCheck(
                Decimal(97),
                Decimal(68),
                measurement_status=0x80,
                device_status=0x20,
                amplitude_percent=Decimal("2.5"),
                is_clock_unset=True,
            )
        ).hex()
    )
    assert (
        "0361004400600045" + "0062004300"
        == encode_continuous_oximetry(
            OximetrySample(Decimal(97), Decimal(68), (Decimal(96), Decimal(69)), (Decimal(98), Decimal(67)))
        ).hex()
    )


@pytest.mark.parametrize("value", [Decimal("1E+200"), Decimal(8388606), Decimal("NaN")])
def test_float_that_does_not_fit_is_refused(value: Decimal) -> None:
    """Nothing is rounded, and no number is taken for a special."""
    with pytest.raises(ValueError, match="FLOAT"):
        encode_float32(value)


async def test_cuff_tells_again_what_was_not_confirmed() -> None:
    """In order, each once while the link holds; what a broken link left unconfirmed comes on the next one."""
    readings = [CuffReading(Decimal(120 + n), Decimal(80)) for n in range(4)]
    async with VirtualAir() as air:
        cuff = VirtualBloodPressureMonitor(air, ADDRESS, "cuff", "B-51", clock=noon, secure=False)
        await cuff.start()
        for reading in readings:
            await cuff.measure(reading)
        cuff.hangs_up = True
        cuff.disconnect_after(2)
        told: list[bytes] = []
        for _ in range(2):
            async with linked(air, ADDRESS) as client:
                inbox = Inbox()
                await inbox.subscribe(client, 0x2A35)
                await cuff.wait_disconnected()
                told += inbox.of(0x2A35)
        assert 2 == cuff.connections
        assert [encode_blood_pressure(reading) for reading in readings] == told
        assert 0 == cuff.stored_count


async def test_cuff_sleeps_when_it_has_told_everything() -> None:
    """Only the newest measurements fit; once they are confirmed it is gone until the next one."""
    readings = [CuffReading(Decimal(120 + n), Decimal(80)) for n in range(3)]
    async with VirtualAir() as air:
        cuff = VirtualBloodPressureMonitor(air, ADDRESS, "cuff", "B-51", clock=noon, secure=False)
        cuff.hangs_up = cuff.sleeps = True
        cuff.obey(parse_faults("memory=2"))
        for reading in readings:
            cuff.remember(reading)
        await cuff.start()
        told: list[bytes] = []
        for measured in (None, readings[0]):
            if measured is not None:
                assert not cuff.stays_awake
                await cuff.measure(measured)
            async with linked(air, ADDRESS) as client:
                inbox = Inbox()
                await inbox.subscribe(client, 0x2A35)
                await cuff.wait_disconnected()
                told += inbox.of(0x2A35)
        assert [encode_blood_pressure(reading) for reading in (*readings[1:], readings[0])] == told


async def test_cuff_wants_a_bond_and_shows_its_pressure() -> None:
    """Without a bond nothing is told; with one, whoever subscribes sees the cuff inflate."""
    async with VirtualAir() as air:
        cuff = VirtualBloodPressureMonitor(air, ADDRESS, "cuff", "B-51", clock=noon)
        await cuff.start()
        async with linked(air, ADDRESS) as client:
            with pytest.raises(BleakGATTProtocolError):
                await client.read_gatt_char(sig(0x2A49))
        await cuff.wait_disconnected()
        async with linked(air, ADDRESS, pair=True) as client:
            inbox = Inbox()
            assert b"\x1f\x00" == bytes(await client.read_gatt_char(sig(0x2A49)))
            assert not await cuff.inflate(CuffReading(Decimal(100), None))
            await inbox.subscribe(client, 0x2A36)
            assert await cuff.inflate(CuffReading(Decimal(160), None))
            await inbox.until(lambda: len(inbox.received) == 1)
            assert [encode_cuff_pressure(CuffReading(Decimal(160), None))] == inbox.of(0x2A36)


async def test_thermometer_has_its_type_and_its_settling() -> None:
    """Type and interval can be read, and the settling temperature is notified to whoever asks."""
    async with VirtualAir() as air:
        thermometer = VirtualThermometer(air, ADDRESS, "therm", "T-51", clock=noon, site=6, secure=False)
        await thermometer.start()
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            assert [b"\x06", b"\x00\x00"] == [bytes(await client.read_gatt_char(sig(c))) for c in (0x2A1D, 0x2A21)]
            await inbox.subscribe(client, 0x2A1E, 0x2A1C)
            assert await thermometer.settle(Temperature(Decimal("36.1")))
            await thermometer.measure(Temperature(Decimal("36.8"), time_stamp=NOON))
            await inbox.until(lambda: len(inbox.received) == 2)
            assert [
                (0x2A1E, encode_temperature(Temperature(Decimal("36.1")))),
                (0x2A1C, encode_temperature(Temperature(Decimal("36.8"), time_stamp=NOON))),
            ] == inbox.received


async def test_belt_streams_to_whoever_listens() -> None:
    """From its first beat on, and what it is fed with later; a silent belt says nothing."""
    async with VirtualAir() as air:
        belt = VirtualHeartRateBelt(air, ADDRESS, "belt", "H-51", [HeartBeat(60), HeartBeat(61)])
        belt.period_s = 0
        await belt.start()
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            assert b"\x01" == bytes(await client.read_gatt_char(sig(0x2A38)))
            await inbox.subscribe(client, 0x2A37)
            await inbox.until(lambda: len(inbox.received) == 2)
            belt.beat([HeartBeat(62)])
            await inbox.until(lambda: len(inbox.received) == 3)
            belt.silent = True
            belt.beat([HeartBeat(63)])
            belt.silent = False
            belt.beat([HeartBeat(64)])
            await inbox.until(lambda: len(inbox.received) == 4)
            assert [encode_heart_rate(HeartBeat(rate)) for rate in (60, 61, 62, 64)] == inbox.of(0x2A37)


async def test_oximeter_reports_all_records_and_knows_no_filter() -> None:
    """As its service has it: all, count, nothing by number; records say that they come from the memory."""
    records = [SpotCheck(Decimal(95), Decimal(60), NOON + timedelta(minutes=n), 0x80) for n in range(3)]
    async with VirtualAir() as air:
        oximeter = VirtualOximeter(air, ADDRESS, "oxi", "O-51", records, clock=noon, secure=False)
        await oximeter.start()
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            assert 0x0C == (await client.read_gatt_char(sig(0x2A60)))[0] & 0x0C
            await inbox.subscribe(client, 0x2A5E, 0x2A52)
            assert b"\x05\x00\x03\x00" == await inbox.ask(client, 0x2A52, b"\x04\x01")
            assert b"\x06\x00\x01\x09" == await inbox.ask(client, 0x2A52, b"\x01\x03\x01\x00\x00")
            assert b"\x06\x00\x01\x01" == await inbox.ask(client, 0x2A52, b"\x01\x01")
            assert [encode_spot_check(record, from_memory=True) for record in records] == inbox.of(0x2A5E)
            assert b"\x06\x00\x02\x02" == await inbox.ask(client, 0x2A52, b"\x02\x01")
            assert 3 == len(oximeter.records)
            assert await oximeter.check(SpotCheck(Decimal(96), Decimal(61), NOON, 0x80))
        assert 4 == len(oximeter.records)
