"""The whole gateway, every worker and the page included: memory and rate for readings that come by MQTT.

    python benchmarks/whole_gateway.py [--count 50000] [--result benchmarks/results/whole_gateway.md]

A real mosquitto, `gateway run` in a process of its own, 50 scales of five people, each used once a day for years. All
readings are published first; then the gateway starts, drains the broker, keeps the day figures up to date and serves
the page, which is asked for at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import sqlite3
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mqtt_throughput import begin_session, publish

from gateway.sandbox.broker import run_mosquitto

_PEOPLE, _DEVICES = 5, 50


def configuration(folder: Path, port: int) -> Path:
    """A hub of five people with ten scales each."""
    text = f"""
[store]
path = "{folder / "passerelle.db"}"
[web]
port = 8099
[mqtt]
enabled = true
port = {port}
tls = false
"""
    for number in range(_PEOPLE):
        text += f'[[people]]\nid = "person-{number}"\nname = "Person {number}"\n'
    for number in range(_DEVICES):
        text += (
            f'[[devices]]\nid = "scale-{number}"\nkind = "scale"\nname = "Scale {number}"\n'
            f'person = "person-{number % _PEOPLE}"\n'
        )
    path = folder / "hub.toml"
    path.write_text(text, encoding="utf-8")
    return path


def weigh_in(sequence: int) -> tuple[str, bytes]:
    """Reading number `sequence`: each scale is stepped on once a day."""
    day, scale = divmod(sequence, _DEVICES)
    measured = datetime(2023, 1, 1, 7, tzinfo=UTC) + timedelta(days=day, minutes=scale)
    record = {
        "record": str(sequence),
        "time": measured.isoformat(),
        "measurements": [{"metric": "body_mass", "value": 60 + sequence % 4000 / 100, "unit": "kg"}],
    }
    return f"gateway/scale-{scale}/reading", json.dumps(record).encode()


def stored(database: Path) -> int:
    """Readings on disk now."""
    if not database.exists():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM reading").fetchone()[0])
    except sqlite3.OperationalError:  # not made yet
        return 0


def wait_stored(database: Path, count: int) -> None:
    """Return once `count` readings are on disk."""
    while stored(database) < count:
        time.sleep(0.2)


def memory_mb(pid: int, name: str) -> float:
    """`VmRSS` or `VmHWM` of a process, MB."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    return 0.0 if found is None else int(found[1]) / 1024


async def measure(count: int) -> str:
    """Run it once; the result page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with run_mosquitto(folder / "broker", persistent=False) as broker:
            await asyncio.to_thread(begin_session, broker.port, 2000)
            await asyncio.to_thread(publish, broker.port, count, 0, 1000, 0, weigh_in)
            config = configuration(folder, broker.port)
            began = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "run", "--config", str(config)
            )
            database = folder / "passerelle.db"
            await asyncio.to_thread(wait_stored, database, count)
            seconds = time.perf_counter() - began
            await asyncio.sleep(20)  # the figures of the days
            settled = memory_mb(process.pid, "VmRSS")
            with await asyncio.to_thread(urllib.request.urlopen, "http://127.0.0.1:8099/") as page:
                octets = len(page.read())
            after, peak = memory_mb(process.pid, "VmRSS"), memory_mb(process.pid, "VmHWM")
            process.terminate()
            await process.wait()
    return f"""# The whole gateway

`python benchmarks/whole_gateway.py --count {count}`: `gateway run` with MQTT, store, day figures, planner and page, in
one process; {count} readings of {_DEVICES} scales of {_PEOPLE} people wait in the broker when it starts.

| what | figure |
|---|---|
| readings on disk a second, from the start of the process | {count / seconds:,.0f} |
| resident memory twenty seconds after the last one | {settled:.0f} MB |
| after the page was served ({octets:,} octets) | {after:.0f} MB |
| highest resident memory | {peak:.0f} MB |
"""


def main() -> None:
    """Measure and print, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--result", type=Path)
    options = parser.parse_args()
    page = asyncio.run(measure(options.count))
    if options.result is not None:
        options.result.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
