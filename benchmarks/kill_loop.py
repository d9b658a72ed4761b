"""Kill -9 of the gateway at random moments while it takes readings in; then: is every acknowledged one there, once?

    python benchmarks/kill_loop.py [--kills 100] [--seed 1] [--result FILE] [--json]

A real mosquitto gets QoS 1 readings without pause; a virtual Bluetooth meter makes tests without pause. The gateway, a
process of its own (`_kill_child.py`), is killed with SIGKILL and started again, over and over. "Acknowledged" means:

* MQTT: the gateway's PUBACK let the broker forget the message. At the end the broker holds nothing, so whatever was
  published must be in the store;
* Bluetooth: the watermark passed the record, so the meter is never asked for it again. After every kill, each record at
  or below the stored watermark must be there;
* consent: the child says "ready" after a consent was recorded. The audit trail must hold it.

The database is looked at read-only between the kills, exactly as the kill left it. Ends with status 1 when anything is
missing, there twice, changed, or damaged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from _kill_child import (
    DATABASE,
    METER,
    METER_RECORDS_PER_S,
    SCALE,
    meter_key,
    meter_record,
    meter_records_due,
    scale_key,
    scale_mass_kg,
)
from _kill_traffic import PUBLISH_PER_S, Publisher, begin_session, goodbye_was_read, left_in_broker

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.clock import SystemClock
from gateway.sandbox.broker import run_mosquitto

CHILD = Path(__file__).with_name("_kill_child.py")
RESULT = Path(__file__).with_name("results") / "kill_loop.md"
LONGEST_LIFE_S = 2.5
BUSY_S = 0.2
"""Every other life ends while what waited in the broker is being stored: the moment at which most is under way."""
EARLY_DEATHS = 8
"""One life in so many is ended during start-up, counted from the start of the process."""
START_TIMEOUT_S = 30.0
PATIENCE_S = 20.0
"""In the last life: how long nothing new may come before what is missing counts as lost."""


@dataclass(slots=True)
class Seen:
    """What is in the file now."""

    scale: set[str] = field(default_factory=set)
    meter: set[str] = field(default_factory=set)
    watermark: int = 0
    revisions: int = 0
    quarantined: int = 0
    rows: int = 0


@dataclass(slots=True)
class Tally:
    """What happened, and what was wrong (`faults` is empty when every promise was kept)."""

    kills: int = 0
    early: int = 0
    lives_with_scale: int = 0
    lives_with_meter: int = 0
    backlog: list[int] = field(default_factory=list)
    ready: int = 0
    published: int = 0
    meter_records: int = 0
    audit_events: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


# --- the file, read-only ----------------------------------------------------------------------------------------------


def look(path: Path) -> Seen:
    """Readings, watermark and oddities of the database as it lies there."""
    seen = Seen()
    if not path.exists():
        return seen
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'checkpoint'").fetchone()[0]:
            return seen
        rows = connection.execute(
            "SELECT device.device_id, reading.record_key FROM reading"
            " JOIN series ON series.id = reading.series JOIN device ON device.id = series.device"
        )
        for device, record_key in rows:
            seen.rows += 1
            (seen.scale if device == SCALE else seen.meter).add(record_key)
        row = connection.execute("SELECT state FROM checkpoint WHERE name = 'glucose.records'").fetchone()
        seen.watermark = int(json.loads(row[0])["sequence"] or 0) if row else 0
        seen.revisions = connection.execute("SELECT count(*) FROM revision").fetchone()[0]
        seen.quarantined = connection.execute("SELECT count(*) FROM quarantine").fetchone()[0]
    return seen


def is_sound(path: Path) -> bool:
    """SQLite's own check of the file, without changing it."""
    if not path.exists():
        return True
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        found = connection.execute("PRAGMA integrity_check").fetchall()
    return found == [("ok",)]


def compare(now: Seen, before: Seen, where: str) -> Iterator[str]:
    """What is wrong after a kill."""
    if gaps := [n for n in range(1, now.watermark + 1) if meter_key(n) not in now.meter]:
        yield f"{where}: {len(gaps)} meter records below the watermark {now.watermark} are missing, first {gaps[0]}"
    if now.watermark < before.watermark:
        yield f"{where}: the watermark went back from {before.watermark} to {now.watermark}"
    if lost := len(before.scale - now.scale) + len(before.meter - now.meter):
        yield f"{where}: {lost} readings have gone that were there before"
    if now.rows != len(now.scale) + len(now.meter):
        yield f"{where}: {now.rows - len(now.scale) - len(now.meter)} readings are there twice"
    if now.revisions:
        yield f"{where}: {now.revisions} readings count as corrected although nothing changed"
    if now.quarantined:
        yield f"{where}: {now.quarantined} payloads in quarantine"


# --- lives ------------------------------------------------------------------------------------------------------------


class Life:
    """One gateway process, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def begin(
        cls, folder: Path, port: int, story_start: datetime, last_record: int | None = None
    ) -> AsyncIterator[Life]:
        """Start it; its log goes to `child.log`. Nothing of it is left when the block ends."""
        arguments = [str(CHILD), str(folder), str(port), story_start.isoformat()]
        arguments += [] if last_record is None else [str(last_record)]
        with (folder / "child.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-X", "faulthandler", *arguments), stdout=asyncio.subprocess.PIPE, stderr=log
            )
        life = cls(process)
        try:
            yield life
        finally:
            await life.kill()

    async def become_ready(self, folder: Path) -> None:
        """Until it collects."""
        assert self._process.stdout is not None
        line = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await self._process.stdout.readline()
        if line.strip() != b"ready":
            if self._process.returncode is None:
                self._process.send_signal(signal.SIGABRT)  # with the stacks of its threads in the log
            await self._process.wait()
            raise SystemExit(f"the gateway did not start:\n{(folder / 'child.log').read_text()[-5000:]}")

    async def kill(self) -> None:
        """SIGKILL: no handler, no flush, no goodbye."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM; its exit status."""
        self._process.terminate()
        async with asyncio.timeout(START_TIMEOUT_S):
            return await self._process.wait()


async def loop(kills: int, dice: random.Random, folder: Path, say: Callable[[str], None]) -> Tally:
    """Everything; the tally says how it went."""
    tally, path, began = Tally(), folder / DATABASE, time.monotonic()
    async with run_mosquitto(folder / "broker", persistent=True) as broker:
        await asyncio.to_thread(begin_session, broker.port)
        story_start = datetime.now(UTC)
        publisher = Publisher(broker.port)
        with publisher.running():
            publishing = asyncio.ensure_future(publisher.go_on())
            before = Seen()
            for number in range(1, kills + 1):
                await one_life(folder, broker.port, story_start, dice, tally)
                tally.backlog.append(publisher.published)
                now = await asyncio.to_thread(look, path)
                tally.backlog[-1] -= len(now.scale)
                tally.lives_with_scale += len(now.scale) > len(before.scale)
                tally.lives_with_meter += len(now.meter) > len(before.meter)
                tally.faults += compare(now, before, f"kill {number}")
                if not await asyncio.to_thread(is_sound, path):
                    tally.faults.append(f"kill {number}: the file is damaged")
                before = now
                say(f"kill {number}: {len(now.scale)} weigh-ins, {len(now.meter)} tests, watermark {now.watermark}")
            publishing.cancel()
            await asyncio.wait([publishing])
            await finish(folder, broker.port, story_start, publisher, tally)
        tally.published = publisher.published
        await verify(path, before, tally)
        if not await goodbye_was_read(broker.folder):
            tally.faults.append("end: the broker has not seen the gateway leave")
        # the last message's own PUBACK may be under way when the process is told to stop; nothing before it may
        if (left := await asyncio.to_thread(left_in_broker, broker.port)) > 1:
            tally.faults.append(f"the broker still holds {left} messages")
    tally.seconds = time.monotonic() - began
    return tally


async def one_life(folder: Path, port: int, story_start: datetime, dice: random.Random, tally: Tally) -> None:
    """Start, wait for a random moment, kill."""
    async with Life.begin(folder, port, story_start) as life:
        if dice.randrange(EARLY_DEATHS) == 0:
            tally.early += 1
            await asyncio.sleep(dice.uniform(0.3, 1.5))
        else:
            await life.become_ready(folder)
            tally.ready += 1
            await asyncio.sleep(dice.uniform(0.0, BUSY_S if dice.randrange(2) else LONGEST_LIFE_S))
        await life.kill()
    tally.kills += 1


async def finish(folder: Path, port: int, story_start: datetime, publisher: Publisher, tally: Tally) -> None:
    """A last life without a kill: until everything is there, then a clean stop."""
    await publisher.settle()
    tally.meter_records = meter_records_due(story_start, datetime.now(UTC))
    async with Life.begin(folder, port, story_start, tally.meter_records) as life:
        await life.become_ready(folder)
        tally.ready += 1
        for has_closing_record in (False, True):
            if has_closing_record:
                publisher.publish()
            if not await drained(folder / DATABASE, publisher.published, tally.meter_records):
                tally.faults.append("end: what is missing does not come any more")
        if (status := await life.stop()) != 0:
            tally.faults.append(f"the last life ended with status {status}")


async def drained(path: Path, weigh_ins: int, tests: int) -> bool:
    """Wait until as many readings are there as were made; False when nothing more comes."""
    newest, since = (0, 0, 0), time.monotonic()
    while time.monotonic() - since < PATIENCE_S:
        seen = await asyncio.to_thread(look, path)
        state = (len(seen.scale), len(seen.meter), seen.watermark)
        if all(have >= made for have, made in zip(state, (weigh_ins, tests, tests), strict=True)):
            return True
        if state != newest:
            newest, since = state, time.monotonic()
        await asyncio.sleep(0.1)
    return False


async def verify(path: Path, before: Seen, tally: Tally) -> None:
    """The end: exactly what was made, each with its value, in a sound file with a whole audit trail."""
    expected: dict[tuple[str, str], object] = {
        (SCALE, scale_key(n)): scale_mass_kg(n) for n in range(1, tally.published + 1)
    }
    expected |= {(METER, meter_key(n)): meter_record(n).glucose for n in range(1, tally.meter_records + 1)}
    tally.faults += compare(await asyncio.to_thread(look, path), before, "end")
    found: dict[tuple[str, str], object] = {}
    count = 0
    async with SqliteStore.open(path, clock=SystemClock()) as store:
        async for chunk in store.readings.export():
            for item in chunk:
                count += 1
                found[item.reading.device_id, item.reading.record_key] = item.reading.value
        if problems := await store.check():
            tally.faults.append(f"end: integrity check: {problems[0]}")
        if (broken := await store.registry.verify_audit()) is not None:
            tally.faults.append(f"end: the audit trail is broken at event {broken}")
        tally.audit_events = len(await store.registry.audit(limit=100_000))
    if tally.audit_events < tally.ready:
        tally.faults.append(f"end: {tally.ready - tally.audit_events} recorded consents are not on the audit trail")
    if count != len(found):
        tally.faults.append(f"end: {count - len(found)} readings are there twice")
    if missing := len(expected.keys() - found.keys()):
        tally.faults.append(f"end: {missing} acknowledged readings are missing")
    if surplus := len(found.keys() - expected.keys()):
        tally.faults.append(f"end: {surplus} readings that nobody made")
    if changed := sum(found[key] != value for key, value in expected.items() if key in found):
        tally.faults.append(f"end: {changed} readings have another value")


# --- report -----------------------------------------------------------------------------------------------------------


def page(tally: Tally, seed: int) -> str:
    """The result as Markdown."""
    verdict = "every acknowledged reading is there, once" if not tally.faults else f"{len(tally.faults)} FAULTS"
    rows = (
        ("kill -9", f"{tally.kills} ({tally.early} of them during start-up)"),
        ("lives that stored MQTT readings / Bluetooth records", f"{tally.lives_with_scale} / {tally.lives_with_meter}"),
        (
            "published but not yet stored at the kill, median / most",
            f"{statistics.median(tally.backlog or [0]):.0f} / {max(tally.backlog or [0])}",
        ),
        ("MQTT readings published, all stored once", f"{tally.published:,}"),
        ("meter records made, all stored once", f"{tally.meter_records:,}"),
        ("consents acknowledged / audit events, chain whole", f"{tally.ready} / {tally.audit_events}"),
        (
            "looks at the file after a kill: missing below the watermark, gone, twice, damaged",
            "none" if not tally.faults else "see below",
        ),
        ("whole run", f"{tally.seconds:.0f} s"),
    )
    lines = [
        "# Kill -9 during intake",
        "",
        f"`python benchmarks/kill_loop.py --kills {tally.kills} --seed {seed}`, {datetime.now(UTC):%Y-%m-%d}, "
        f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}: **{verdict}**.",
        "",
        "| what | figure |",
        "|---|---|",
        *(f"| {what} | {figure} |" for what, figure in rows),
        "",
        f"A real mosquitto receives {PUBLISH_PER_S} weigh-ins a second (QoS 1); a virtual Bluetooth meter makes "
        f"{METER_RECORDS_PER_S} tests a second; the gateway is killed up to {LONGEST_LIFE_S} s after it is ready, or "
        "during its start, and started again. `kill -9` ends the process, not the machine: what the operating system "
        "had accepted is not lost by it. That a power cut loses nothing either rests on SQLite's `synchronous=FULL` "
        "and is not shown here.",
    ]
    return "\n".join([*lines, *(f"\nFAULT: {fault}" for fault in tally.faults), ""])


def main() -> int:
    """Exit status 0 when every promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="of the moments; the machine adds its own chance")
    parser.add_argument("--result", type=Path, default=RESULT, help="page to write; /dev/null for none")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the page")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-loop-") as name:
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
        tally = asyncio.run(loop(options.kills, random.Random(options.seed), Path(name), say))
    text = page(tally, options.seed)
    options.result.write_text(text, encoding="utf-8")
    if options.json:
        print(
            json.dumps(
                {
                    "kills": tally.kills,
                    "published": tally.published,
                    "meter_records": tally.meter_records,
                    "audit_events": tally.audit_events,
                    "faults": tally.faults,
                }
            )
        )
    else:
        print(text)
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
