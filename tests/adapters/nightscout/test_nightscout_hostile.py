"""What a neighbour in the network, or a program with odd habits, can send to the listener."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from nightscout_kit import ADA_PHONE, NOON, entry, ms, site

from gateway.adapters.sources.nightscout import book, v1
from gateway.devices.nightscout import entry_of, parse_entries
from gateway.model import Batch, Metric, Provenance, Reading, SourceKind, TimeQuality, Unit


async def test_a_state_of_a_loop_has_as_many_digits_as_its_program_computes(tmp_path: Path) -> None:
    """Swift's JSONEncoder writes a `Decimal` with up to 38 digits: taken in, and told exactly."""
    iob = "0.33333333333333333333333333333333333333"
    body = f'{{"device":"Trio","created_at":"2026-03-01T11:00:00Z","openaps":{{"iob":{{"iob":{iob}}}}}}}'
    async with site(tmp_path) as desk:
        assert 200 == (await desk.ask("POST", "/api/v1/devicestatus", data=body))[0]
        async with desk.client.get(
            f"{desk.listener.url}/api/v1/devicestatus", params={"secret": "a-secret-of-ada-23456789"}
        ) as answer:
            assert f'"iob":{iob}' in await answer.text()


async def test_what_was_taken_in_can_be_read_again(tmp_path: Path) -> None:
    """A number that is longer as we write it: no document closes a collection to those who read it."""
    body = b'{"eventType":"Note","created_at":"2026-03-01T11:00:00Z","carbs":123456789012345678901e30}'
    async with site(tmp_path) as desk:
        assert 200 == (await desk.ask("POST", "/api/v1/treatments", data=body))[0]
        status, told = await desk.ask("GET", "/api/v1/treatments")
        assert (200, [1.23456789012345678901e50]) == (status, [each["carbs"] for each in told])


@pytest.mark.parametrize("padding", [0, 300_000], ids=["small", "parsed in a thread"])
@pytest.mark.parametrize(("depth", "status"), [(90, 200), (120, 400), (980, 400), (986, 400)])
async def test_how_deep_a_body_may_be_does_not_depend_on_who_reads_it(
    tmp_path: Path, depth: int, status: int, padding: int
) -> None:
    """A body is refused as a whole or can be written and read: never a fault that the sender repeats for ever."""
    deep = "[" * depth + "]" * depth
    body = f'{{"eventType":"Note","created_at":"2026-03-01T11:00:00Z","date":{ms(NOON)},"sgv":104,"deep":{deep}}}'
    body += " " * padding
    async with site(tmp_path) as desk:
        for path in ("/api/v1/entries", "/api/v1/treatments"):
            assert status == (await desk.ask("POST", path, data=body))[0]
        assert 200 == (await desk.ask("GET", "/api/v1/treatments"))[0]


@pytest.mark.parametrize("session", [b"a.b.\xff", b"..", b"\xc3\xa9.\xc3\xa9.\xc3\xa9"])
async def test_a_session_that_is_no_text_opens_nothing(tmp_path: Path, session: bytes) -> None:
    """401 like any other wrong one: counted as wrong, not a fault that anybody in the network can provoke."""
    async with site(tmp_path) as desk:
        port = int(desk.listener.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET /api/v3/entries HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nAuthorization: Bearer " + session
        )
        writer.write(b"\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert 1 == desk.listener.reports().wrong_secrets
        body = [entry(token="a.b.\ud800")]
        assert 401 == (await desk.ask("POST", "/api/v1/entries", who=None, data=json.dumps(body)))[0]


@pytest.mark.parametrize("date", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 99 Jan 2030 99:00:00 GMT"])
async def test_a_date_that_no_calendar_has_is_no_condition(tmp_path: Path, date: str) -> None:
    """`If-Modified-Since` that cannot be read: the whole answer."""
    async with site(tmp_path) as desk:
        assert 200 == (await desk.ask("POST", "/api/v1/entries", json=[entry()]))[0]
        status, told = await desk.ask("GET", "/api/v1/entries.json", headers={"If-Modified-Since": date})
        assert (200, 1) == (status, len(told))


@pytest.mark.parametrize("offset", ["1e9999999", "-1e9999999", "1441"])
@pytest.mark.parametrize("collection", ["entries", "treatments"])
async def test_an_offset_beyond_all_arithmetic_is_refused(tmp_path: Path, collection: str, offset: str) -> None:
    """400 in Nightscout's words, on which a client goes on; a 500 would be repeated for ever."""
    body = f'{{"type":"sgv","sgv":104,"eventType":"Note","app":"x","date":{ms(NOON)},"utcOffset":{offset}}}'
    async with site(tmp_path) as desk:
        status, said = await desk.ask("POST", f"/api/v3/{collection}", data=body)
        assert (400, "Bad or missing utcOffset field") == (status, said["message"])


async def test_what_is_not_told_does_not_end_a_history(tmp_path: Path) -> None:
    """More readings without a known time than one answer holds: a follower takes an empty answer for the end."""
    async with site(tmp_path) as desk:
        untold = [
            Reading(
                device_id=ADA_PHONE,
                epoch=0,
                record_key=f"untold-{number}",
                metric=Metric.GLUCOSE_CAPILLARY,
                effective_at=NOON,
                utc_offset_min=60,
                time_quality=TimeQuality.UNKNOWN,
                received_at=NOON - timedelta(hours=1) + timedelta(seconds=number),
                provenance=Provenance(SourceKind.MQTT, "test"),
                value=Decimal(104),
                original_value=Decimal(104),
                original_unit=Unit.MG_DL,
            )
            for number in range(25)
        ]
        await desk.store.readings.commit(Batch(readings=tuple(untold)))
        assert 200 == (await desk.ask("POST", "/api/v1/entries", json=[entry()]))[0]
        status, said = await desk.ask("GET", "/api/v3/entries/history/0?limit=10")
        assert (200, [104]) == (status, [each["sgv"] for each in said["result"]])


async def test_one_address_alone_cannot_shut_out_the_others(tmp_path: Path) -> None:
    """It has half of the connections; a phone at another address is served, and room that is given back is there."""
    async with site(tmp_path, connections=20) as desk:
        port = int(desk.listener.url.rpartition(":")[2])
        held = [await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0)) for _ in range(20)]
        async with asyncio.timeout(10):
            for reader, _ in held[10:]:
                assert b"" == await _end(reader)
        assert (10, 10) == (desk.listener.reports().connections, desk.listener.reports().turned_away)
        assert 200 == (await desk.ask("GET", "/api/v1/status.json"))[0]
        for _, writer in held:
            writer.close()
        async with asyncio.timeout(10):
            for reader, _ in held[:10]:
                assert b"" == await _end(reader)
        connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with (
            aiohttp.ClientSession(connector=connector) as other,
            other.get(f"{desk.listener.url}/api/v1/status.json") as answer,
        ):
            assert 200 == answer.status


async def test_a_body_that_nobody_wants_is_not_read_for_long(tmp_path: Path) -> None:
    """After a refusal the rest is let go within seconds: unpacking two megabytes costs seconds of the processor."""
    async with site(tmp_path) as desk:
        port = int(desk.listener.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /api/v1/entries HTTP/1.1\r\nHost: hub\r\nContent-Length: 2000000\r\n\r\n[")
        async with asyncio.timeout(6):
            assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
            await _end(reader)
        writer.close()


async def _end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_thousands_of_entries_are_read_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bluetooth and MQTT have their turn while an upload of months is taken apart, and while it is told."""
    threads: dict[str, set[str]] = {"taken apart": set(), "told": set()}

    def noting(name: str, inner: Any) -> Any:
        def noted(*arguments: Any) -> Any:
            threads[name].add(threading.current_thread().name)
            return inner(*arguments)

        return noted

    monkeypatch.setattr(v1, "parse_entries", noting("taken apart", parse_entries))
    monkeypatch.setattr(book, "entry_of", noting("told", entry_of))
    async with site(tmp_path) as desk:
        assert 200 == (await desk.ask("POST", "/api/v1/entries", json=[entry(n) for n in range(1, 2000)]))[0]
        assert 1999 == len((await desk.ask("GET", "/api/v1/entries.json?count=5000"))[1])
    assert all(names and "MainThread" not in names for names in threads.values())
