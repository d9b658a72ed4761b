"""What a listener must survive: broken bodies, too much, too slow, a store that is away."""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nightscout_kit import ADA, Gate, entry, header, site

from gateway.adapters.sources.nightscout.connections import Connections
from gateway.errors import ConfigurationError
from gateway.model import Batch, CommitReceipt

GOOD = json.dumps([entry(5)]).encode()
BROKEN = {
    "empty": b"",
    "text": b"hello",
    "truncated": GOOD[:-10],
    "deep array": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "nan": b'[{"type":"sgv","date":1772366100000,"sgv":NaN}]',
    "infinity": b'[{"type":"sgv","date":1772366100000,"sgv":-Infinity}]',
    "key twice": b'[{"type":"sgv","date":1772366100000,"sgv":104,"sgv":105}]',
    "utf-16": GOOD.decode().encode("utf-16"),
    "latin-1": '[{"device":"é"}]'.encode("latin-1"),
    "bom": b"\xef\xbb\xbf" + GOOD,
    "long number": b'[{"type":"sgv","date":1772366100000,"sgv":' + b"1" * 5000 + b"}]",
    "number": b"42",
    "null": b"null",
    "string": b'"text"',
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("path", ["/api/v1/entries", "/api/v1/treatments", "/api/v3/entries", "/api/v3/treatments"])
async def test_a_broken_body_is_refused_and_the_next_one_is_served(tmp_path: Path, path: str, body: bytes) -> None:
    """400 as JSON; nothing is stored, what was not JSON is in quarantine, and the listener goes on."""
    async with site(tmp_path) as desk:
        status, said = await desk.ask("POST", path, data=body, headers={"Content-Type": "application/json"})
        assert (400, 400) == (status, said["status"])
        assert [] == await desk.readings()
        assert 200 == (await desk.ask("POST", "/api/v1/entries", data=GOOD))[0]
        for each in await desk.store.readings.quarantined():
            assert "104" not in each.detail
            assert len(each.frame.payload) <= 65_536


@pytest.mark.parametrize(
    "body",
    [
        b'[{"type":"sgv","date":1772366100000,"sgv":true}]',
        b'[{"type":"sgv","date":1772366100000,"sgv":[104]}]',
        b'[{"type":"sgv","date":1e308,"sgv":104}]',
        b'[{"type":"sgv","date":{},"sgv":104}]',
        b'[{"type":{},"date":1772366100000,"sgv":104}]',
        b'[{"type":"sgv","date":1772366100000,"sgv":104,"identifier":[]}]',
        b'[[],null,1,"x",[[]]]',
        b'[{"\\ud800":"\\udfff","type":"sgv","device":"\\ud800"}]',
    ],
)
async def test_an_absurd_entry_is_set_aside(tmp_path: Path, body: bytes) -> None:
    """Well-formed, no entry: 200, quarantined, nothing stored."""
    async with site(tmp_path) as desk:
        assert 200 == (await desk.ask("POST", "/api/v1/entries", data=body))[0]
        assert [] == await desk.readings()
        assert await desk.store.readings.quarantined()


async def test_lone_surrogates_and_nul_do_no_harm(tmp_path: Path) -> None:
    """A device name of that kind is cleaned, the value is stored, a document comes back as it was sent."""
    async with site(tmp_path) as desk:
        body = b'[{"type":"sgv","date":1772366100000,"sgv":104,"device":"a\\ud800\\u0000b","notes":"\\udfff"}]'
        assert 200 == (await desk.ask("POST", "/api/v1/entries", data=body))[0]
        (told,) = (await desk.ask("GET", "/api/v1/entries.json"))[1]
        assert (104, "ab") == (told["sgv"], told["device"])
        note = b'{"eventType":"Note","created_at":"2026-03-01T10:00:00Z","notes":"\\ud800\\u0000"}'
        assert 200 == (await desk.ask("POST", "/api/v1/treatments", data=note))[0]
        assert ["\ud800\0"] == [each["notes"] for each in (await desk.ask("GET", "/api/v1/treatments"))[1]]


async def test_too_long_a_body_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """413 whether the length is announced or not, also when it unpacks to too much; nothing is stored."""
    import gzip

    async with site(tmp_path, max_body_bytes=65_536) as desk:
        long = json.dumps([entry(n) for n in range(1000)]).encode()
        status, said = await desk.ask("POST", "/api/v1/entries", data=long)
        assert (413, True) == (status, "max_body_bytes" in said["description"])

        async def chunks() -> Any:
            for start in range(0, len(long), 8192):
                yield long[start : start + 8192]

        assert 413 == (await desk.ask("POST", "/api/v1/entries", data=chunks()))[0]
        packed = {"Content-Encoding": "gzip"}
        assert 413 == (await desk.ask("POST", "/api/v1/entries", data=gzip.compress(long), headers=packed))[0]
        assert [] == await desk.readings()
        assert 200 == (await desk.ask("POST", "/api/v1/entries", data=GOOD))[0]


async def test_thousands_at_once_are_taken_in_bounded_memory(tmp_path: Path) -> None:
    """Five thousand entries in one upload: all stored, all answered; others are served meanwhile."""
    many = [entry(5 * n, 100 + n % 50) for n in range(1, 5001)]
    body = json.dumps(many).encode()
    async with site(tmp_path) as desk:
        tracemalloc.start()
        upload = asyncio.create_task(desk.ask("POST", "/api/v1/entries", data=body))
        status, _ = await desk.ask("GET", "/api/v1/status.json", who=None)
        assert 200 == status
        status, said = await upload
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (200, 5000) == (status, len(said))
        assert 5000 == len(await desk.readings())
        assert [500] * 10 == [len(batch.readings) for batch in desk.gate.batches]
        assert peak < 60 * len(body), f"{peak / len(body):.0f} times the body"


async def test_one_upload_holds_so_many_entries(tmp_path: Path) -> None:
    """Two megabytes of nothing are not worked through one by one."""
    async with site(tmp_path) as desk:
        status, said = await desk.ask("POST", "/api/v1/entries", data=b"[" + b"{}," * 20_000 + b"{}]")
        assert (413, True) == (status, "20000" in said["description"])
        status, said = await desk.ask("POST", "/api/v1/treatments", data=b"[" + b"{}," * 5_000 + b"{}]")
        assert (413, True) == (status, "5000" in said["description"])
        assert [] == await desk.store.readings.quarantined()


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["type", "sgv", "mbg", "date", "dateString", "identifier", "_id", "device", "x"]),
                inner,
                max_size=6,
            )
        ),
        max_leaves=12,
    )
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_answered(document: object) -> None:
    """Whatever the upload is: 200 or 400, never a fault, in both versions."""
    body = json.dumps(document).encode()

    async def ask() -> set[int]:
        with tempfile.TemporaryDirectory() as folder:
            async with site(Path(folder)) as desk:
                paths = ("/api/v1/entries", "/api/v3/entries", "/api/v1/treatments", "/api/v3/treatments")
                return {(await desk.ask("POST", path, data=body))[0] for path in paths}

    assert {200, 201, 400} >= asyncio.run(ask())


async def test_any_order_and_any_repetition_give_the_same_store(tmp_path: Path) -> None:
    """Entries, their repetitions and their order of arrival do not matter."""
    entries = [entry(5 * n, 90 + n) for n in range(1, 9)]
    expected: list[Any] | None = None
    for seed in range(5):
        order = entries + entries[:4]
        random.Random(seed).shuffle(order)
        async with site(tmp_path / str(seed)) as desk:
            while order:
                part, order = order[:3], order[3:]
                assert 200 == (await desk.ask("POST", "/api/v1/entries", json=part))[0]
            _, told = await desk.ask("GET", "/api/v1/entries.json?count=100")
            expected = expected or told
            assert (8, expected) == (len(told), told)


async def test_a_store_that_is_away_is_answered_503_and_nothing_is_lost(tmp_path: Path) -> None:
    """The app repeats; then everything is there once."""
    async with site(tmp_path) as desk:
        desk.gate.is_away = True
        status, head = await desk.head("POST", "/api/v1/entries", json=[entry(5)])
        assert (503, "30") == (status, head["Retry-After"])
        assert 503 == (await desk.ask("POST", "/api/v1/entries", data=b"{"))[0]
        assert [] == await desk.readings()
        desk.gate.is_away = False
        assert 200 == (await desk.ask("POST", "/api/v1/entries", json=[entry(5)]))[0]
        assert 1 == len(await desk.readings())
        assert 2 == desk.listener.reports().counters.unavailable


async def test_no_answer_before_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the commit is under way nothing is answered; a gateway that ends then has acknowledged nothing."""
    waiting, never = asyncio.Event(), asyncio.Event()

    async def held(_self: Gate, _batch: Batch) -> CommitReceipt:
        waiting.set()
        await never.wait()
        raise AssertionError

    outcome: list[str] = []
    async with aiohttp.ClientSession() as client:

        async def upload(url: str) -> None:
            try:
                async with client.post(url, json=[entry(5)], headers=header(ADA)) as answer:
                    outcome.append(str(answer.status))
            except aiohttp.ClientError as error:
                outcome.append(type(error).__name__)

        monkeypatch.setattr(Gate, "submit", held)
        async with site(tmp_path) as desk:
            task = asyncio.create_task(upload(desk.listener.url + "/api/v1/entries"))
            await waiting.wait()
            assert [] == outcome
        await task
    assert outcome
    assert "200" not in outcome
    monkeypatch.undo()
    async with site(tmp_path) as desk:
        assert [] == await desk.readings()
        assert 200 == (await desk.ask("POST", "/api/v1/entries", json=[entry(5)]))[0]
        assert 1 == len(await desk.readings())


@pytest.mark.parametrize(("moment", "stored"), [("before", 0), ("after", 1)])
async def test_a_kill_around_the_commit_acknowledges_nothing(tmp_path: Path, moment: str, stored: int) -> None:
    """`kill -9` before the commit: nothing is stored; after it: it is. Neither was answered; the repetition is."""
    process = await _child(tmp_path, moment)
    url = await _line(process)
    outcome: list[object] = []

    async def upload() -> None:
        async with aiohttp.ClientSession(headers=header(ADA)) as client:
            try:
                async with client.post(url + "/api/v1/entries", data=GOOD) as answer:
                    outcome.append(answer.status)
            except aiohttp.ClientError as error:
                outcome.append(type(error))

    task = asyncio.create_task(upload())
    assert "now" == await _line(process)
    process.kill()
    await process.wait()
    await task
    assert [True] == [isinstance(each, type) for each in outcome]
    async with site(tmp_path) as desk:
        assert stored == len(await desk.readings())
        assert 200 == (await desk.ask("POST", "/api/v1/entries", data=GOOD))[0]
        assert 1 == len(await desk.readings())


async def _child(folder: Path, moment: str) -> asyncio.subprocess.Process:
    here = Path(__file__).parent
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(here / "nightscout_child.py"),
        str(folder),
        moment,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{here}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return (await process.stdout.readline()).decode().strip()


async def test_an_upload_whose_sender_hung_up_is_stored_all_the_same(tmp_path: Path) -> None:
    """What was received whole is not thrown away; the repetition is then known."""
    async with site(tmp_path) as desk:
        host, port = desk.listener.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /api/v1/entries HTTP/1.1\r\nHost: x\r\napi-secret: {header(ADA)['api-secret']}\r\n"
        writer.write(f"{head}Content-Length: {len(GOOD)}\r\n\r\n".encode() + GOOD)
        await writer.drain()
        assert b"200" in await reader.readline()
        writer.transport.abort()
        del reader
        assert 1 == len(await desk.readings())


async def _connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def test_who_says_nothing_is_closed(tmp_path: Path) -> None:
    """A connection without a request, and one whose head never ends, are closed; others are served meanwhile."""
    async with site(tmp_path, request_timeout_s=0.4) as desk:
        silent, one = await _connected(desk.listener.url)
        slow, two = await _connected(desk.listener.url)
        two.write(b"GET /api/v1/status.json HTTP/1.1\r\nHost:")
        assert 200 == (await desk.ask("GET", "/api/v1/status.json"))[0]
        async with asyncio.timeout(10):
            assert b"" == await _end(silent)
            assert b"" == await _end(slow)
        assert 2 == desk.listener.reports().silent
        one.close()
        two.close()


async def _end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_a_body_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    """408, and the connection is closed."""
    async with site(tmp_path, request_timeout_s=0.4) as desk:
        reader, writer = await _connected(desk.listener.url)
        head = f"POST /api/v1/entries HTTP/1.1\r\nHost: x\r\napi-secret: {header(ADA)['api-secret']}\r\n"
        writer.write(f"{head}Content-Length: 500\r\n\r\n[".encode())
        async with asyncio.timeout(20):
            assert b"408" in await reader.readline()
        writer.close()
        assert 200 == (await desk.ask("POST", "/api/v1/entries", data=GOOD))[0]


async def test_connections_have_a_bound(tmp_path: Path) -> None:
    """Above it new ones are closed and counted; when others leave there is room again."""
    async with site(tmp_path, connections=2) as desk:
        kept = [await _connected(desk.listener.url) for _ in range(2)]
        reader, writer = await _connected(desk.listener.url)
        async with asyncio.timeout(10):
            assert b"" == await _end(reader)
        assert (2, 1) == (desk.listener.reports().connections, desk.listener.reports().turned_away)
        writer.close()
        for _, each in kept:
            each.close()
            await each.wait_closed()
        assert 200 == (await desk.ask("GET", "/api/v1/status.json"))[0]


async def test_a_large_header_is_refused(tmp_path: Path) -> None:
    """Ten kilobytes of header are not read into memory for ever."""
    async with site(tmp_path) as desk:
        assert 400 == (await desk.ask("GET", "/api/v1/status.json", headers={"X-Long": "x" * 10_000}))[0]


class _FromOutside(asyncio.Transport):
    """A connection from a given address, which no test can really have."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 50_000)})
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


@pytest.mark.parametrize(
    ("address", "is_refused"),
    [
        ("127.0.0.1", False),
        ("192.168.1.20", False),
        ("10.1.2.3", False),
        ("::ffff:192.168.1.20", False),
        ("fd00::1", False),
        ("fe80::1%eth0", False),
        ("8.8.8.8", True),
        ("::ffff:8.8.8.8", True),
        ("2001:4860:4860::8888", True),
    ],
)
async def test_without_encryption_nobody_from_outside_is_served(address: str, is_refused: bool) -> None:
    """A private network is what a person says it is, and what its addresses say."""
    connections = Connections(most=10, first_request_s=5, is_private=True)
    protocol = connections.around(asyncio.Protocol)()
    transport = _FromOutside(address)
    protocol.connection_made(transport)
    assert is_refused == transport.is_aborted
    protocol.connection_lost(None)
    assert 0 == len(connections)


async def test_a_port_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    """With a sentence that says what to do."""
    async with site(tmp_path / "a") as desk:
        port = int(desk.listener.url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match="another program uses it; choose another port"):
            async with site(tmp_path / "b", port=port):
                pass


async def test_with_a_certificate_the_listener_is_encrypted(tmp_path: Path) -> None:
    """TLS 1.2 at least; a key that others can read, or a file that is no certificate, stops the start."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = await asyncio.to_thread(
        subprocess.run,
        (
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {key} -out {cert}"
            " -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
        ).split(),
        check=True,
        capture_output=True,
    )
    assert 0 == made.returncode
    key.chmod(0o600)
    trusted = ssl.create_default_context(cafile=str(cert))
    async with site(tmp_path / "a", cert_file=cert, key_file=key) as desk:
        assert desk.listener.url.startswith("https://")
        assert 200 == (await desk.ask("POST", "/api/v1/entries", data=GOOD, ssl=trusted))[0]
    key.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        async with site(tmp_path / "b", cert_file=cert, key_file=key):
            pass
    key.chmod(0o600)
    cert.write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"nightscout\.cert_file"):
        async with site(tmp_path / "c", cert_file=cert, key_file=key):
            pass
