"""Nightscout intake: entries per second over HTTP to durable, and how long an app and a follower wait.

    python benchmarks/nightscout_intake.py [--entries 20000] [--result benchmarks/results/nightscout_intake.md]

The listener runs in a process of its own over a new store; this process uploads entries in requests of several sizes,
one connection or eight, and stops the clock at the last 200, which comes after the commit. Then a follower reads.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import aiohttp
from _machine import machine

from gateway.adapters.sources.nightscout import NightscoutIntake, NightscoutStores
from gateway.adapters.sources.nightscout.credentials import secret_digest, secret_header, token_digest
from gateway.adapters.stores.sqlite import SqliteStore
from gateway.changes import Changes
from gateway.clock import SystemClock
from gateway.intake import StoreIntake
from gateway.logs import configure_logs
from gateway.model import Device, DeviceId, DeviceKind, Person, PersonId
from gateway.ports import AccessToken, Rights
from gateway.settings_nightscout import NightscoutSettings

SECRET = "a-secret-of-the-benchmark"  # noqa: S105 - of a store that lives a minute
HEADERS = {"api-secret": hashlib.sha1(SECRET.encode(), usedforsecurity=False).hexdigest()}
PERSON, PHONE, ZONE = PersonId("person"), DeviceId("phone"), ZoneInfo("Europe/Paris")
SHAPES = ((1, 1), (1, 8), (12, 1), (288, 1), (288, 8), (5000, 1))
FIVE_MINUTES_MS = 300_000


async def serve(folder: Path) -> None:
    """The listener; says its address, then answers until its input ends."""
    configure_logs("console", "warning")  # standard output is for the address
    clock = SystemClock()
    person = Person(PERSON, "Person", ZONE)
    async with SqliteStore.open(folder / "passerelle.db", clock=clock) as store:
        await store.registry.declare([person], [Device(PHONE, DeviceKind.CGM, "Phone", PERSON)])
        await store.access.add(
            AccessToken("token", PERSON, PHONE, "phone", Rights.BOTH, datetime.now(UTC)),
            secret_digest=secret_digest(secret_header(SECRET)),
            token_digest=token_digest("phone-0123456789abcdef"),
        )
        async with NightscoutIntake.open(
            NightscoutSettings(enabled=True, port=0, answered_days=3650),
            intake=StoreIntake(store.readings, store.registry, Changes()),
            stores=NightscoutStores(store.readings, store.documents, store.access),
            clock=clock,
            people={PERSON: person},
            house=ZONE,
            folder=folder,
        ) as listener:
            print(listener.url, flush=True)
            await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[tuple[str, int]]:
    """A process with the listener: its address and process id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--serve",
        str(folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield (await process.stdout.readline()).decode().strip(), process.pid
    finally:
        process.stdin.close()
        await process.wait()


def entries(numbers: Iterator[int], count: int, newest_ms: int) -> bytes:
    """An upload as xDrip+ writes it."""
    return json.dumps(
        [
            {
                "device": "xDrip-DexcomG6",
                "date": (date := newest_ms - number * FIVE_MINUTES_MS),
                "dateString": datetime.fromtimestamp(date / 1000, UTC).isoformat(timespec="milliseconds"),
                "sgv": 80 + number % 120,
                "delta": 1.25,
                "direction": "Flat",
                "type": "sgv",
                "filtered": 104_000,
                "unfiltered": 104_500,
                "rssi": 100,
                "noise": 1,
            }
            for number in itertools.islice(numbers, count)
        ]
    ).encode()


async def upload(url: str, bodies: list[bytes], connections: int) -> tuple[float, list[float]]:
    """Seconds for all, and milliseconds of each request."""
    waits: list[float] = []
    queue = iter(bodies)
    async with aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=connections)) as client:

        async def one() -> None:
            for body in queue:
                began = time.perf_counter()
                async with client.post(url + "/api/v1/entries", data=body) as answer:
                    assert answer.status == 200, answer.status
                    await answer.read()
                waits.append(1000 * (time.perf_counter() - began))

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(connections)))
        return time.perf_counter() - began, waits


async def follow(url: str, path: str, times: int) -> list[float]:
    """Milliseconds of each answer."""
    waits: list[float] = []
    async with aiohttp.ClientSession(headers=HEADERS) as client:
        for _ in range(times):
            began = time.perf_counter()
            async with client.get(url + path) as answer:
                assert answer.status == 200
                await answer.read()
            waits.append(1000 * (time.perf_counter() - began))
    return waits


def peak_mb(pid: int) -> int:
    """Largest resident set of a process so far."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    return 0


def p99(waits: list[float]) -> float:
    """The 99th percentile."""
    return sorted(waits)[min(len(waits) - 1, int(0.99 * len(waits)))]


async def measure(total: int) -> list[str]:
    """The lines of the result."""
    rows = [
        "| entries per request | connections | entries/s | request p50 ms | p99 ms | peak RSS MB |",
        "|---|---|---|---|---|---|",
    ]
    for size, connections in SHAPES:
        count = total if size > 1 else max(200, total // 20)
        with tempfile.TemporaryDirectory() as folder:
            numbers = itertools.count()
            newest_ms = int(time.time() * 1000)
            bodies = [entries(numbers, size, newest_ms) for _ in range(max(1, count // size))]
            async with server(Path(folder)) as (url, pid):
                seconds, waits = await upload(url, bodies, connections)
                rate = len(bodies) * size / seconds
                rows.append(
                    f"| {size} | {connections} | {rate:,.0f} | {statistics.median(waits):.1f} | {p99(waits):.1f} |"
                    f" {peak_mb(pid)} |"
                )
    rows += ["", "A follower, with two years of five-minute values in the store:", ""]
    rows += ["| question | p50 ms | p99 ms |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        newest_ms = int(time.time() * 1000)
        numbers = itertools.count()
        async with server(Path(folder)) as (url, _):
            await upload(url, [entries(numbers, 5000, newest_ms) for _ in range(42)], 1)
            for path in (
                "/api/v1/entries/current.json",
                "/api/v1/entries.json?count=288",
                "/api/v3/lastModified",
                f"/api/v3/entries/history/{int(time.time() * 1000)}",
            ):
                waits = await follow(url, path, 50)
                shown = "/api/v3/entries/history/<now>" if "history" in path else path
                rows.append(f"| `{shown}` | {statistics.median(waits):.1f} | {p99(waits):.1f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--result", type=Path)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(serve(arguments.serve))
        return
    lines = asyncio.run(measure(arguments.entries))
    text = "\n".join(
        [
            "# Nightscout intake",
            "",
            f"`python benchmarks/nightscout_intake.py --entries {arguments.entries}`, {datetime.now(UTC):%Y-%m-%d},"
            f" {machine()}. The answer comes after the commit (fsync).",
            "",
            *lines,
            "",
            "Client and listener share the cores; other work ran on the machine. The last two questions look at every"
            " reading of the person (no index on the time of reception: it would cost every commit something, and saves"
            " a follower this much once a minute).",
            "",
        ]
    )
    print(text)
    if arguments.result is not None:
        arguments.result.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
