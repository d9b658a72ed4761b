from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from bleak import BleakClient
from bleak.exc import BleakGATTProtocolError
from virtual_link import NOON, PATIENCE_S, Inbox, find, linked, noon, records, sig

from gateway.model import Unit
from gateway.sandbox.frames import (
    encode_current_time,
    encode_date_time,
    encode_glucose_context,
    encode_glucose_measurement,
)
from gateway.sandbox.peripherals import MeterContext, MeterRecord, VirtualMeter
from gateway.sandbox.radio import VirtualAir

ADDRESS = "C0:FF:EE:00:00:11"
MEASUREMENT, CONTEXT, RACP = 0x2A18, 0x2A34, 0x2A52
SUCCESS = b"\x06\x00\x01\x01"


def make_meter(air: VirtualAir, memory: list[MeterRecord], *, secure: bool = False) -> VirtualMeter:
    return VirtualMeter(air, ADDRESS, "meter", "0042", memory, clock=noon, secure=secure)


async def inbox_on(client: BleakClient) -> Inbox:
    inbox = Inbox()
    await inbox.subscribe(client, MEASUREMENT, CONTEXT, RACP)
    return inbox


def sequences(inbox: Inbox) -> list[int]:
    return [int.from_bytes(frame[1:3], "little") for frame in inbox.of(MEASUREMENT)]


@pytest.mark.parametrize(
    ("operand", "expected"),
    [
        (b"\x01", [1, 2, 3, 4, 5, 6]),
        (b"\x02\x01\x02\x00", [1, 2]),
        (b"\x03\x01\x05\x00", [5, 6]),
        (b"\x04\x01\x02\x00\x04\x00", [2, 3, 4]),
        (b"\x05", [1]),
        (b"\x06", [6]),
        (b"\x02\x02" + encode_date_time(NOON.replace(hour=0, minute=2)), [1, 2]),
        (b"\x03\x02" + encode_date_time(NOON.replace(hour=0, minute=6)), [6]),
        (
            b"\x04\x02"
            + encode_date_time(NOON.replace(hour=0, minute=3))
            + encode_date_time(NOON.replace(hour=0, minute=4)),
            [3, 4],
        ),
    ],
)
async def test_every_operator_and_filter(operand: bytes, expected: list[int]) -> None:
    """Report and count agree for every operator, by sequence number and by user-facing time."""
    async with VirtualAir() as air:
        await make_meter(air, records(6)).start()
        async with linked(air, ADDRESS) as client:
            inbox = await inbox_on(client)
            count = await inbox.ask(client, RACP, b"\x04" + operand)
            assert b"\x05\x00" + len(expected).to_bytes(2, "little") == count
            assert await inbox.ask(client, RACP, b"\x01" + operand) == SUCCESS
            assert expected == sequences(inbox)


async def test_response_codes() -> None:
    """Every kind of wrong or empty request has its own response code."""
    cases = {
        b"\x01\x00": 3,
        b"\x01\x07": 4,
        b"\x01\x01\x01": 5,
        b"\x01\x03": 5,
        b"\x01\x03\x01\x05": 5,
        b"\x01\x04\x01\x05\x00\x04\x00": 5,
        b"\x01\x03\x03\x05\x00": 9,
        b"\x01\x03\x01\x63\x00": 6,
        b"\x02\x01": 2,
        b"\x07\x01": 2,
        b"\x03\x00": 7,
    }
    async with VirtualAir() as air:
        meter = make_meter(air, records(3))
        await meter.start()
        async with linked(air, ADDRESS) as client:
            inbox = await inbox_on(client)
            answers = {command: await inbox.ask(client, RACP, command) for command in cases}
            assert {c: bytes((6, 0, c[0], code)) for c, code in cases.items()} == answers
            assert b"\x05\x00\x00\x00" == await inbox.ask(client, RACP, b"\x04\x03\x01\x63\x00")
        assert [("2a52", command) for command in cases] == meter.log[: len(cases)]


async def test_context_follows_its_measurement() -> None:
    """A record with a context is sent as two notifications with the same sequence number."""
    record = MeterRecord(
        7, NOON, Decimal("5.8"), Unit.MMOL_L, -75, status=0x40, context=MeterContext(meal=1, carbohydrate_g=Decimal(45))
    )
    assert record.context is not None
    async with VirtualAir() as air:
        await make_meter(air, [record]).start()
        async with linked(air, ADDRESS) as client:
            inbox = await inbox_on(client)
            await inbox.ask(client, RACP, b"\x01\x01")
            assert [
                (MEASUREMENT, encode_glucose_measurement(record)),
                (CONTEXT, encode_glucose_context(7, record.context)),
                (RACP, SUCCESS),
            ] == inbox.received


async def test_unsubscribed_client_is_refused() -> None:
    """Asking before all three subscriptions gives ATT error 0xFD."""
    async with VirtualAir() as air:
        await make_meter(air, records(1)).start()
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            await inbox.subscribe(client, MEASUREMENT, RACP)
            with pytest.raises(BleakGATTProtocolError) as refusal:
                await client.write_gatt_char(sig(RACP), b"\x01\x01", response=True)
            assert 0xFD == refusal.value.args[0]


async def test_burst_arrives_in_order_before_the_indication() -> None:
    """500 records in one burst all arrive, in order, and the indication comes last, over a bonded link."""
    memory = records(500)
    async with VirtualAir() as air:
        await make_meter(air, memory, secure=True).start()
        async with linked(air, ADDRESS, pair=True) as client:
            inbox = await inbox_on(client)
            assert await inbox.ask(client, RACP, b"\x01\x01") == SUCCESS
            assert [encode_glucose_measurement(record) for record in memory] == inbox.of(MEASUREMENT)
            assert (RACP, SUCCESS) == inbox.received[-1]


async def test_one_procedure_at_a_time_and_abort() -> None:
    """A second request during a transfer gets 0xFE; an abort ends the transfer and is answered with success."""
    async with VirtualAir() as air:
        await make_meter(air, records(400)).start()
        async with linked(air, ADDRESS) as client:
            inbox = await inbox_on(client)
            await client.write_gatt_char(sig(RACP), b"\x01\x01", response=True)
            await inbox.until(lambda: len(inbox.received) > 0)
            with pytest.raises(BleakGATTProtocolError) as refusal:
                await client.write_gatt_char(sig(RACP), b"\x04\x01", response=True)
            assert 0xFE == refusal.value.args[0]
            assert await inbox.ask(client, RACP, b"\x03\x00") == b"\x06\x00\x03\x01"
            assert len(sequences(inbox)) < 400
            assert b"\x05\x00\x90\x01" == await inbox.ask(client, RACP, b"\x04\x01")


async def test_link_lost_in_the_middle_of_a_transfer() -> None:
    """After exactly n notifications the link goes; a second connection fetches the rest."""
    lost = asyncio.Event()
    async with VirtualAir() as air:
        meter = make_meter(air, records(50))
        await meter.start()
        meter.disconnect_after(20)
        client = BleakClient(
            await find(air, ADDRESS), lambda _c: lost.set(), timeout=PATIENCE_S, backend=air.client_backend
        )
        await client.connect()
        first = await inbox_on(client)
        await client.write_gatt_char(sig(RACP), b"\x01\x01", response=True)
        await lost.wait()
        assert list(range(1, 21)) == sequences(first)
        assert [] == first.of(RACP)
        async with linked(air, ADDRESS) as again:
            second = await inbox_on(again)
            assert await second.ask(again, RACP, b"\x01\x03\x01\x15\x00") == SUCCESS
            assert list(range(21, 51)) == sequences(second)


async def test_silent_meter_never_answers() -> None:
    """A silent meter accepts the command and sends nothing."""
    async with VirtualAir() as air:
        meter = make_meter(air, records(3))
        await meter.start()
        meter.silent = True
        async with linked(air, ADDRESS) as client:
            inbox = await inbox_on(client)
            await client.write_gatt_char(sig(RACP), b"\x01\x01", response=True)
            await client.read_gatt_char(sig(0x2A51))
            assert [] == inbox.received
        assert [("2a52", b"\x01\x01")] == meter.log


async def test_corrupt_frame_is_the_next_one_only() -> None:
    """`corrupt_next` cuts one measurement short and leaves the others alone."""
    async with VirtualAir() as air:
        meter = make_meter(air, records(2))
        await meter.start()
        meter.corrupt_next()
        async with linked(air, ADDRESS) as client:
            inbox = await inbox_on(client)
            await inbox.ask(client, RACP, b"\x01\x01")
            whole = [encode_glucose_measurement(record) for record in records(2)]
            assert [whole[0][:-1], whole[1]] == inbox.of(MEASUREMENT)


async def test_clock_is_set_and_moves_the_offset_only() -> None:
    """Writing Current Time moves the displayed time; the next record keeps the base time and carries the offset."""
    async with VirtualAir() as air:
        meter = make_meter(air, [])
        await meter.start()
        async with linked(air, ADDRESS) as client:
            assert encode_current_time(NOON) == bytes(await client.read_gatt_char(sig(0x2A2B)))
            wanted = NOON + timedelta(minutes=95)
            await client.write_gatt_char(sig(0x2A2B), encode_current_time(wanted, 1), response=True)
            assert wanted == meter.device_time
            with pytest.raises(BleakGATTProtocolError):
                await client.write_gatt_char(sig(0x2A2B), bytes(10), response=True)
        record = await meter.measure(Decimal(104))
        assert (1, NOON, 95) == (record.sequence, record.base_time, record.time_offset_min)


async def test_a_new_test_wakes_a_sleeping_meter() -> None:
    """A meter that does not stay awake is heard again after its next test; a counter reset numbers from 1."""
    async with VirtualAir() as air:
        meter = make_meter(air, records(9))
        meter.stays_awake = False
        await meter.start()
        device = await find(air, ADDRESS)
        async with BleakClient(device, timeout=PATIENCE_S, backend=air.client_backend):
            pass
        await meter.wait_disconnected()
        with pytest.raises(TimeoutError):
            await BleakClient(device, timeout=0.2, backend=air.client_backend).connect()
        assert 10 == meter.next_sequence
        meter.reset_counter()
        await meter.measure(Decimal(90))
        async with linked(air, ADDRESS) as client:
            inbox = await inbox_on(client)
            await inbox.ask(client, RACP, b"\x01\x01")
            assert [1] == sequences(inbox)


async def test_stopped_meter_starts_again_with_its_bond() -> None:
    """Stop and start keep memory and bond, as changing the batteries of a good meter does."""
    async with VirtualAir() as air:
        meter = make_meter(air, records(2), secure=True)
        await meter.start()
        async with linked(air, ADDRESS, pair=True):
            pass
        await meter.stop()
        await meter.start()
        async with linked(air, ADDRESS) as client:
            inbox = await inbox_on(client)
            assert await inbox.ask(client, RACP, b"\x01\x06") == SUCCESS
            assert [2] == sequences(inbox)
