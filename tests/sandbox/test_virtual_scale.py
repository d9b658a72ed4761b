from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from bleak import BleakClient
from bleak.exc import BleakGATTProtocolError
from virtual_link import NOON, PATIENCE_S, Inbox, find, linked, noon, sig

from gateway.sandbox.frames import encode_body_composition, encode_current_time, encode_weight_measurement
from gateway.sandbox.peripherals import VirtualScale, WeighIn
from gateway.sandbox.radio import VirtualAir

ADDRESS = "C0:FF:EE:00:00:31"
WEIGHT, COMPOSITION, CONTROL = 0x2A9D, 0x2A9C, 0x2A9F
USERS = {1: 1234, 2: 8765}
CONSENTED = b"\x20\x02\x01"


def make_scale(air: VirtualAir, users: dict[int, int] | None = None, *, secure: bool = False) -> VirtualScale:
    return VirtualScale(air, ADDRESS, "scale", "SC-31", users=users, clock=noon, secure=secure)


def consent(user: int, code: int) -> bytes:
    return bytes((0x02, user)) + code.to_bytes(2, "little")


def weighing(user: int | None, minutes: int = 0, *, fat: str | None = None) -> WeighIn:
    return WeighIn(
        Decimal("71.25"),
        user,
        NOON + timedelta(minutes=minutes),
        fat_percent=None if fat is None else Decimal(fat),
        impedance_ohm=None if fat is None else Decimal(498),
    )


async def test_stored_weighings_come_after_subscription_and_consent() -> None:
    """Nothing of a user comes before that user's consent; then weight and composition, oldest first, over a bond."""
    first, second, other = weighing(1, 0, fat="25.1"), weighing(1, 5), weighing(2, 9)
    async with VirtualAir() as air:
        scale = make_scale(air, USERS, secure=True)
        await scale.start()
        for weigh_in in (first, other, second):
            await scale.weigh(weigh_in)
        async with linked(air, ADDRESS, pair=True) as client:
            inbox = Inbox()
            await inbox.subscribe(client, CONTROL, WEIGHT, COMPOSITION)
            assert CONSENTED == await inbox.ask(client, CONTROL, consent(1, 1234))
            await inbox.until(lambda: len(inbox.received) == 4)
            assert [
                (CONTROL, CONSENTED),
                (WEIGHT, encode_weight_measurement(first)),
                (COMPOSITION, encode_body_composition(first)[0]),
                (WEIGHT, encode_weight_measurement(second)),
            ] == inbox.received
            assert CONSENTED == await inbox.ask(client, CONTROL, consent(2, 8765))
            await inbox.until(lambda: len(inbox.of(WEIGHT)) == 3)
        await scale.wait_disconnected()
        assert () == scale.stored


async def test_consent_is_refused_and_lasts_for_one_link() -> None:
    """A wrong code or user is refused, three wrong codes lock the user, and consent ends with the link."""
    async with VirtualAir() as air:
        scale = make_scale(air, USERS)
        await scale.start()
        await scale.weigh(weighing(1))
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            with pytest.raises(BleakGATTProtocolError) as unsubscribed:
                await client.write_gatt_char(sig(CONTROL), consent(1, 1234), response=True)
            await inbox.subscribe(client, CONTROL)
            with pytest.raises(BleakGATTProtocolError) as unconsented:
                await client.read_gatt_char(sig(0x2A99))
            assert (0xFD, 0x80) == (unsubscribed.value.args[0], unconsented.value.args[0])
            assert b"\x20\x02\x03" == await inbox.ask(client, CONTROL, consent(9, 1234))
            assert b"\x20\x02\x05" == await inbox.ask(client, CONTROL, consent(1, 1))
            assert CONSENTED == await inbox.ask(client, CONTROL, consent(1, 1234))
            assert bytes(4) == bytes(await client.read_gatt_char(sig(0x2A99)))
            assert b"\x01" == bytes(await client.read_gatt_char(sig(0x2A9A)))
            assert b"\x20\x03\x02" == await inbox.ask(client, CONTROL, b"\x03")
        await scale.wait_disconnected()
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            await inbox.subscribe(client, CONTROL, WEIGHT)
            assert b"\xff" == bytes(await client.read_gatt_char(sig(0x2A9A)))
            for _ in range(3):
                assert b"\x20\x02\x05" == await inbox.ask(client, CONTROL, consent(1, 1))
            assert b"\x20\x02\x05" == await inbox.ask(client, CONTROL, consent(1, 1234))
            assert [] == inbox.of(WEIGHT)
        assert (weighing(1),) == scale.stored


async def test_registered_user_may_consent() -> None:
    """Registering gives the first free slot, with the code that was sent."""
    async with VirtualAir() as air:
        scale = make_scale(air, USERS)
        await scale.start()
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            await inbox.subscribe(client, CONTROL)
            assert b"\x20\x01\x01\x00" == await inbox.ask(client, CONTROL, b"\x01\x39\x05")
            assert b"\x20\x01\x03" == await inbox.ask(client, CONTROL, b"\x01\x10\x27")
            assert CONSENTED == await inbox.ask(client, CONTROL, consent(0, 1337))
        assert {0: 1337, **USERS} == scale.users


async def test_unconfirmed_weighings_are_kept() -> None:
    """What was confirmed before the link was lost is gone from the scale, what was not comes at the next visit."""
    lost = asyncio.Event()
    weighings = [weighing(None, minutes) for minutes in range(6)]
    frames = [encode_weight_measurement(weigh_in) for weigh_in in weighings]
    async with VirtualAir() as air:
        scale = make_scale(air)
        await scale.start()
        for weigh_in in weighings:
            await scale.weigh(weigh_in)
        scale.disconnect_after(4)
        client = BleakClient(
            await find(air, ADDRESS), lambda _c: lost.set(), timeout=PATIENCE_S, backend=air.client_backend
        )
        await client.connect()
        first = Inbox()
        await first.subscribe(client, WEIGHT)
        await lost.wait()
        assert frames[:4] == first.of(WEIGHT)
        assert tuple(weighings[4:]) == scale.stored
        async with linked(air, ADDRESS) as again:
            second = Inbox()
            await second.subscribe(again, WEIGHT)
            await second.until(lambda: len(second.received) == 2)
            assert frames[4:] == second.of(WEIGHT)


async def test_weighing_during_a_link_comes_at_once() -> None:
    """Somebody who steps on a connected scale is heard without another connection; a failed weighing is sent too."""
    async with VirtualAir() as air:
        scale = make_scale(air)
        await scale.start()
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            await inbox.subscribe(client, WEIGHT, COMPOSITION)
            failed = WeighIn(None, 255, NOON)
            await scale.weigh(weighing(None, fat="30.0"))
            await scale.weigh(failed)
            await inbox.until(lambda: len(inbox.received) == 3)
            assert [WEIGHT, COMPOSITION, WEIGHT] == [number for number, _ in inbox.received]
            assert encode_weight_measurement(failed) == inbox.of(WEIGHT)[-1]


async def test_composition_is_split_on_a_small_link() -> None:
    """A composition that does not fit the MTU comes as several indications with the multiple packet flag."""
    weigh_in = WeighIn(
        Decimal("71.25"),
        255,
        NOON,
        fat_percent=Decimal("25.1"),
        basal_metabolism_kj=6500,
        muscle_percent=Decimal("38.2"),
        muscle_mass_kg=Decimal("27.200"),
        body_water_mass_kg=Decimal("37.050"),
        impedance_ohm=Decimal("498.0"),
    )
    async with VirtualAir() as air:
        scale = make_scale(air)
        scale.max_mtu = 23
        await scale.start()
        await scale.weigh(weigh_in)
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            await inbox.subscribe(client, WEIGHT, COMPOSITION)
            await inbox.until(lambda: len(inbox.of(COMPOSITION)) == 2)
            packets = inbox.of(COMPOSITION)
            assert all(len(packet) <= 20 and packet[1] & 0x10 for packet in packets)
            assert b"\xff\xff" == packets[1][2:4]
        await scale.wait_disconnected()
        assert () == scale.stored


async def test_clock_and_imperial_units() -> None:
    """The clock is settable, and an imperial scale says so in its frames."""
    async with VirtualAir() as air:
        scale = make_scale(air)
        scale.imperial = True
        await scale.start()
        await scale.weigh(weighing(None))
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            await client.write_gatt_char(sig(0x2A2B), encode_current_time(NOON + timedelta(days=1)), response=True)
            await inbox.subscribe(client, WEIGHT)
            await inbox.until(lambda: len(inbox.received) == 1)
            assert (0x03, 15708) == (inbox.of(WEIGHT)[0][0], int.from_bytes(inbox.of(WEIGHT)[0][1:3], "little"))
        assert NOON + timedelta(days=1) == scale.device_time
        assert [0x2A2B] == [int(uuid, 16) for uuid, _ in scale.log]
