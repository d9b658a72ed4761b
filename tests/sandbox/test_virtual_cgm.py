from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from bleak.exc import BleakGATTProtocolError
from virtual_link import Inbox, linked, sig

from gateway.sandbox.frames import append_crc, encode_cgm_measurement, encode_session_start, encode_sfloat, mcrf4xx
from gateway.sandbox.peripherals import CgmSample, VirtualCgm
from gateway.sandbox.radio import VirtualAir

ADDRESS = "C0:FF:EE:00:00:21"
MEASUREMENT, RACP, OPS = 0x2AA7, 0x2A52, 0x2AAC
START = datetime(2025, 7, 1, 6, 30, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")
SUCCESS = b"\x06\x00\x01\x01"


def samples(count: int) -> list[CgmSample]:
    return [CgmSample(5 * i, Decimal(90 + i % 60), trend_mg_dl_min=Decimal(i % 5).scaleb(-1)) for i in range(count)]


def make_cgm(
    air: VirtualAir, memory: list[CgmSample], *, start: datetime | None = START, crc: bool = True, secure: bool = False
) -> VirtualCgm:
    return VirtualCgm(air, ADDRESS, "cgm", "SN-21", memory, session_start=start, zone=PARIS, crc=crc, secure=secure)


def split(notifications: list[bytes]) -> list[bytes]:
    """The records of several notifications."""
    found = []
    for notification in notifications:
        rest = notification
        while rest:
            found.append(rest[: rest[0]])
            rest = rest[rest[0] :]
    return found


async def test_backfill_of_fifteen_days(capsys: pytest.CaptureFixture[str]) -> None:
    """4,320 records come in order, several to a notification, each with a good CRC, before the indication."""
    memory = samples(4320)
    async with VirtualAir() as air:
        await make_cgm(air, memory, secure=True).start()
        async with linked(air, ADDRESS, pair=True) as client:
            inbox = Inbox()
            await inbox.subscribe(client, MEASUREMENT, RACP)
            began = time.perf_counter()
            assert await inbox.ask(client, RACP, b"\x01\x01") == SUCCESS
            took_s = time.perf_counter() - began
            with capsys.disabled():
                print(f" [{len(memory)} records backfilled in {took_s:.2f} s]", end="")
            assert (RACP, SUCCESS) == inbox.received[-1]
            assert [encode_cgm_measurement(sample, crc=True) for sample in memory] == split(inbox.of(MEASUREMENT))
            assert all(mcrf4xx(record) == 0 for record in split(inbox.of(MEASUREMENT)))
            assert len(inbox.of(MEASUREMENT)) < 150


async def test_time_offset_filter() -> None:
    """Record access selects by time offset and counts the same."""
    async with VirtualAir() as air:
        await make_cgm(air, samples(20)).start()
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            await inbox.subscribe(client, MEASUREMENT, RACP)
            assert b"\x05\x00\x03\x00" == await inbox.ask(client, RACP, b"\x04\x03\x01\x55\x00")
            assert await inbox.ask(client, RACP, b"\x01\x03\x01\x55\x00") == SUCCESS
            offsets = [int.from_bytes(record[4:6], "little") for record in split(inbox.of(MEASUREMENT))]
            assert [85, 90, 95] == offsets
            assert b"\x06\x00\x01\x09" == await inbox.ask(client, RACP, b"\x01\x03\x02\x55\x00")


async def test_reads_tell_the_session() -> None:
    """Feature, status, start and run time read as the session is, each with its CRC."""
    async with VirtualAir() as air:
        await make_cgm(air, samples(10)).start()
        async with linked(air, ADDRESS) as client:
            feature = bytes(await client.read_gatt_char(sig(0x2AA8)))
            assert 0x1000 == int.from_bytes(feature[:3], "little") & 0x1000
            assert (0x59, 0) == (feature[3], mcrf4xx(feature))
            assert append_crc(b"\x2d\x00\x00\x00\x00") == bytes(await client.read_gatt_char(sig(0x2AA9)))
            assert append_crc(bytes.fromhex("e9070701081e000404")) == bytes(await client.read_gatt_char(sig(0x2AAA)))
            assert append_crc(b"\x50\x01") == bytes(await client.read_gatt_char(sig(0x2AAB)))
            assert b"SN-21" == bytes(await client.read_gatt_char(sig(0x2A25)))


async def test_session_start_is_written_once() -> None:
    """A sensor without a clock asks for it, refuses a write with a bad CRC, and computes its start from a good one."""
    async with VirtualAir() as air:
        cgm = make_cgm(air, samples(13), start=None)
        await cgm.start()
        async with linked(air, ADDRESS) as client:
            assert append_crc(bytes(9)) == bytes(await client.read_gatt_char(sig(0x2AAA)))
            assert 0x01 == (await client.read_gatt_char(sig(0x2AA9)))[3]
            now = encode_session_start((START + timedelta(hours=1)).astimezone(PARIS), crc=True)
            for bad, code in ((now[:-2], 0x80), (now[:-1] + bytes((now[-1] ^ 1,)), 0x81)):
                with pytest.raises(BleakGATTProtocolError) as refusal:
                    await client.write_gatt_char(sig(0x2AAA), bad, response=True)
                assert code == refusal.value.args[0]
            await client.write_gatt_char(sig(0x2AAA), now, response=True)
            assert 0x00 == (await client.read_gatt_char(sig(0x2AA9)))[3]
        assert START == cgm.session_start


async def test_specific_ops_only_reads() -> None:
    """Interval and alert levels can be asked for; what would steer a therapy is not supported."""
    cases = {
        b"\x02": b"\x03\x05",
        b"\x0b": b"\x0c" + encode_sfloat(Decimal(70)),
        b"\x1a": b"\x1c\x1a\x02",
        b"\x1b": b"\x1c\x1b\x02",
    }
    async with VirtualAir() as air:
        await make_cgm(air, samples(1)).start()
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            await inbox.subscribe(client, OPS)
            for question, answer in cases.items():
                assert append_crc(answer) == await inbox.ask(client, OPS, append_crc(question))


async def test_live_samples_reach_a_subscriber() -> None:
    """A new sample goes to a subscriber at once; `corrupt_next` breaks the CRC of one of them."""
    async with VirtualAir() as air:
        cgm = make_cgm(air, samples(3))
        await cgm.start()
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            await inbox.subscribe(client, MEASUREMENT)
            fresh = [CgmSample(15, Decimal(120), warning=0x20), CgmSample(20, None, status=0x08)]
            cgm.corrupt_next()
            for sample in fresh:
                await cgm.add_sample(sample)
            await inbox.until(lambda: len(inbox.received) == 2)
            broken, whole = inbox.of(MEASUREMENT)
            assert mcrf4xx(broken) != 0
            assert encode_cgm_measurement(fresh[1], crc=True) == whole
        assert [0, 5, 10, 15, 20] == [sample.offset_min for sample in cgm.samples]


async def test_without_crc() -> None:
    """A sensor without E2E-CRC says so in its features and sends none."""
    async with VirtualAir() as air:
        await make_cgm(air, samples(1), crc=False).start()
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            await inbox.subscribe(client, MEASUREMENT, RACP)
            feature = bytes(await client.read_gatt_char(sig(0x2AA8)))
            assert (0, b"\xff\xff") == (feature[1] & 0x10, feature[4:])
            await inbox.ask(client, RACP, b"\x01\x01")
            assert [encode_cgm_measurement(samples(1)[0], crc=False)] == inbox.of(MEASUREMENT)


async def test_small_link_carries_fewer_records_each() -> None:
    """On the smallest MTU every notification still holds whole records only."""
    async with VirtualAir() as air:
        cgm = make_cgm(air, samples(9))
        cgm.max_mtu = 23
        await cgm.start()
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            await inbox.subscribe(client, MEASUREMENT, RACP)
            await inbox.ask(client, RACP, b"\x01\x01")
            assert [2, 2, 2, 2, 1] == [len(split([value])) for value in inbox.of(MEASUREMENT)]


async def test_new_session_begins_at_zero() -> None:
    """A new sensor drops the link, forgets the old records and has its own start."""
    async with VirtualAir() as air:
        cgm = make_cgm(air, samples(5))
        await cgm.start()
        async with linked(air, ADDRESS):
            await cgm.new_session(START + timedelta(days=14))
            await cgm.wait_disconnected()
        async with linked(air, ADDRESS) as client:
            inbox = Inbox()
            await inbox.subscribe(client, MEASUREMENT, RACP)
            assert b"\x05\x00\x00\x00" == await inbox.ask(client, RACP, b"\x04\x01")
