"""Power, locks, full disks, other processes, other releases."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from sqlite_store_kit import ADA, NOW, SPACE, FixedClock, batch, consent, household, open_store, query, reading

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.adapters.stores.sqlite.database import connect
from gateway.adapters.stores.sqlite.migrations import migrate, schema_version, statements
from gateway.adapters.stores.sqlite.schema import MIGRATIONS
from gateway.errors import ConfigurationError, StoreTooNew, StoreUnavailable
from gateway.model import ClockSession, CommitReceipt, UntrustedSpell

__all__: list[str] = []

_COMMITTING = """
import asyncio, sys
from pathlib import Path
from sqlite_store_kit import batch, open_store, reading

async def run():
    first = int(sys.argv[2])
    async with open_store(Path(sys.argv[1])) as store:
        async def one(number):
            await store.readings.commit(batch(reading(number, frame=0), payload=b"raw %d" % number))
            sys.stdout.write(f"{number}\\n")
            sys.stdout.flush()
        async with asyncio.TaskGroup() as tasks:
            for lane in range(8):
                async def lane_of(lane=lane):
                    for step in range(100_000):
                        await one(first + lane + 8 * step)
                tasks.create_task(lane_of())

asyncio.run(run())
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """A process killed at any moment of committing loses nothing it acknowledged and stores nothing twice."""
    kit = Path(__file__).parent
    printed: set[str] = set()
    for round_number in range(8):
        first = round_number * 60  # overlaps the numbers of the round before: they are committed again
        with subprocess.Popen(
            [sys.executable, "-c", _COMMITTING, str(tmp_path), str(first)],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": f"{kit}:{kit.parents[2]}"},
            text=True,
        ) as process:
            assert process.stdout is not None
            for _ in range(100 + 7 * round_number):
                printed.add(process.stdout.readline().strip())
            process.kill()
            printed.update(line.strip() for line in process.stdout if line.endswith("\n"))
    assert [("ok",)] == query(tmp_path, "PRAGMA integrity_check")
    stored = [str(key).removeprefix("r") for (key,) in query(tmp_path, "SELECT record_key FROM reading")]
    assert len(stored) == len(set(stored))
    acknowledged = {line for line in printed if line.isdigit()}
    assert len(acknowledged) > 100
    assert acknowledged <= set(stored)
    own = "FROM reading r JOIN frame f USING (raw_id) WHERE CAST(f.payload AS TEXT) = 'raw ' || substr(r.record_key, 2)"
    assert [(len(stored),)] == query(tmp_path, f"SELECT count(*) {own}")
    assert [(len(stored),)] == query(tmp_path, "SELECT count(*) FROM frame")


async def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    """Another process's lock delays commits; nothing fails while it is shorter than the limit."""
    async with open_store(tmp_path) as store:
        other = sqlite3.connect(tmp_path / "state" / "passerelle.db", isolation_level=None, check_same_thread=False)
        try:
            other.execute("BEGIN EXCLUSIVE")
            committing = asyncio.ensure_future(store.readings.commit(batch(reading(1))))
            assert [] == await store.readings.readings()
            assert not committing.done()
            other.execute("COMMIT")
            assert CommitReceipt(added=1) == await committing
        finally:
            other.close()


async def test_a_long_lock_is_unavailability_not_damage(tmp_path: Path) -> None:
    """Past the limit nothing is acknowledged, it is logged once, and everything goes on when the lock is gone."""
    async with open_store(tmp_path, busy_timeout_s=0.05) as store:
        await store.readings.commit(batch(reading(1)))
        other = sqlite3.connect(tmp_path / "state" / "passerelle.db", isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            with structlog.testing.capture_logs() as logs:
                for _ in range(2):
                    with pytest.raises(StoreUnavailable, match="locked"):
                        await store.readings.commit(batch(reading(2)))
                with pytest.raises(StoreUnavailable):
                    await store.registry.lease(SPACE, NOW, lease_s=10)
                assert 1 == len(await store.readings.readings())
                other.execute("ROLLBACK")
                assert CommitReceipt(added=1) == await store.readings.commit(batch(reading(2)))
            assert ["store.became_unavailable", "store.became_available"] == [entry["event"] for entry in logs]
        finally:
            other.close()
    assert [(2,)] == query(tmp_path, "SELECT count(*) FROM reading")


async def test_a_full_disk_stops_acknowledging_and_recovers(tmp_path: Path) -> None:
    """Without space commits fail and reads go on; with space everything is stored once and the file is sound."""

    def limit(pages: int) -> int:
        return int(writer.execute(f"PRAGMA max_page_count = {pages}").fetchone()[0])

    async with open_store(tmp_path) as store:
        writer = store._writer._connection
        await store.registry.declare(*household())
        await store.readings.commit(batch(reading(0)))
        used = int(query(tmp_path, "PRAGMA page_count")[0][0])  # type: ignore[call-overload]
        assert used + 4 == limit(used + 4)
        stored = 1

        async def fill() -> None:
            nonlocal stored
            for number in range(1, 200):
                await store.readings.commit(batch(reading(number, frame=0), payload=bytes(4000)))
                stored += 1

        with pytest.raises(StoreUnavailable, match="disk_full"):
            await fill()
        assert stored == len(await store.readings.readings())
        limit(1_000_000)
        async with asyncio.TaskGroup() as tasks:
            for number in range(200):
                tasks.create_task(store.readings.commit(batch(reading(number, frame=0), payload=bytes(4000))))
        assert 200 == len(await store.readings.readings())
        assert [] == await store.check()


async def test_a_read_only_file_is_unavailability(tmp_path: Path) -> None:
    """A file that can no longer be written refuses commits, keeps serving reads, and recovers."""
    async with open_store(tmp_path) as store:
        await store.readings.commit(batch(reading(1)))
        store._writer._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreUnavailable, match="read_only"):
            await store.readings.commit(batch(reading(2)))
        assert 1 == len(await store.readings.readings())
        store._writer._connection.execute("PRAGMA query_only = OFF")
        assert CommitReceipt(added=1) == await store.readings.commit(batch(reading(2)))


async def test_two_stores_over_one_file(tmp_path: Path) -> None:
    """A second opening, as by the command line, writes and reads the same file at the same time."""
    async with open_store(tmp_path) as gateway, open_store(tmp_path) as cli:
        await cli.registry.declare(*household())
        await asyncio.gather(
            *(store.readings.commit(batch(reading(n))) for n in range(40) for store in (gateway, cli)),
        )
        await cli.registry.grant(consent())
        assert 40 == len(await gateway.readings.readings(person_id=ADA))
        assert [consent()] == await gateway.registry.consents()
        rows = [stored.row_id for stored in await cli.readings.readings()]
        assert 40 == len(set(rows))


async def test_a_full_queue_makes_callers_wait(tmp_path: Path) -> None:
    """No more than the bound is queued; a waiting caller that is cancelled takes no place from the others."""
    async with open_store(tmp_path, queue_batches=2) as store:
        gate = threading.Event()
        held = asyncio.ensure_future(store._writer.run(lambda _: gate.wait()))
        tasks = [asyncio.ensure_future(store.readings.commit(batch(reading(n)))) for n in range(10)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 2 == store._writer._queued
        tasks[5].cancel()
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert await held
        assert 9 == results.count(CommitReceipt(added=1))
        assert 0 == store._writer._queued


async def test_closing_writes_what_is_queued(tmp_path: Path) -> None:
    """Commits under way when the store closes are written and answered."""
    async with open_store(tmp_path) as store:
        tasks = [asyncio.ensure_future(store.readings.commit(batch(reading(n)))) for n in range(20)]
        await asyncio.sleep(0)
    assert [CommitReceipt(added=1)] * 20 == await asyncio.gather(*tasks)
    assert [(20,)] == query(tmp_path, "SELECT count(*) FROM reading")


async def test_what_is_asked_before_a_commit_does_not_see_it(tmp_path: Path) -> None:
    """Calls are answered in their order, also where they share a transaction: a reading that comes after the end of a
    clock's error was noted is none of it, although its reception lies in that time."""
    began_us = (NOW - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    spell = UntrustedSpell(began_us, 0, 3_600_000_000, -600_000_000)
    async with open_store(tmp_path) as store:
        await store.readings.commit(batch(reading(1, received=60)))
        taken, gate = threading.Event(), threading.Event()

        def hold(_: sqlite3.Connection) -> bool:
            taken.set()
            return gate.wait()

        held = asyncio.ensure_future(store._writer.run(hold))
        await asyncio.to_thread(taken.wait)
        noted = asyncio.ensure_future(store.clock_log.keep(ClockSession("boot", spell=spell)))
        added = asyncio.ensure_future(store.readings.commit(batch(reading(2, received=120))))
        await asyncio.sleep(0)
        before = store._writer.transactions
        gate.set()
        await asyncio.gather(held, noted, added)
        assert before + 2 == store._writer.transactions
        await store.clock_log.repair("boot", lambda _: UTC)
        received = [stored.reading.received_at for stored in await store.readings.readings()]
    assert [NOW + timedelta(seconds=60 - 600), NOW + timedelta(seconds=120)] == received


@pytest.mark.parametrize("version", range(len(MIGRATIONS)))
async def test_every_older_file_is_migrated_with_a_copy(tmp_path: Path, version: int) -> None:
    """A file of any released schema is brought forward, keeps its rows, and is copied beside itself first."""
    path = tmp_path / "state" / "passerelle.db"
    path.parent.mkdir()
    old = connect(path, busy_timeout_s=1)
    assert version == migrate(old, path, MIGRATIONS[:version])
    if version:
        old.execute("INSERT INTO person VALUES (1, 'ada', 'Ada', 'Europe/Paris', 'mg/dL')")
    old.close()
    async with open_store(tmp_path) as store:
        assert bool(version) == bool(await store.registry.people())
        await store.registry.declare(*household())
        await store.readings.commit(batch(reading(1)))
        await store.registry.grant(consent())
    copy = path.with_name(f"passerelle.db.schema-{version}")
    assert bool(version) == copy.exists()
    again = connect(path, busy_timeout_s=1)
    try:
        assert len(MIGRATIONS) == schema_version(again)
        assert 0 == migrate(again, path)
    finally:
        again.close()
    assert [("ok",)] == query(tmp_path, "PRAGMA integrity_check")


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """A crash in the middle of a step is rolled back to the step before; the next start resumes."""
    path = tmp_path / "x.db"
    connection = connect(path, busy_timeout_s=1)
    try:
        broken = (MIGRATIONS[0], "CREATE TABLE half (a); CREATE TABLE half (a);\nCREATE TABLE whole (\na);")
        with pytest.raises(sqlite3.Error):
            migrate(connection, path, broken)
        assert 1 == schema_version(connection)
        assert [] == connection.execute("SELECT * FROM sqlite_schema WHERE name = 'half'").fetchall()
        assert len(MIGRATIONS) - 1 == migrate(connection, path)
    finally:
        connection.close()


def test_statements_are_split_at_their_ends() -> None:
    """A trigger with inner semicolons stays whole."""
    script = "CREATE TABLE a (b);\nCREATE TRIGGER t AFTER INSERT ON a BEGIN\n SELECT 1;\nEND;\nSELECT 2"
    assert ["CREATE TABLE", "CREATE TRIGG", "SELECT 2"] == [statement[:12] for statement in statements(script)]


async def test_foreign_and_newer_files_are_refused_untouched(tmp_path: Path) -> None:
    """A newer schema, another program's database and a file that is no database are left alone."""
    path = tmp_path / "state" / "passerelle.db"
    async with open_store(tmp_path):
        pass
    query(tmp_path, "PRAGMA user_version = 99")
    with pytest.raises(StoreTooNew):
        async with open_store(tmp_path):
            pass
    query(tmp_path, "PRAGMA user_version = 3")
    query(tmp_path, "PRAGMA application_id = 7")
    with pytest.raises(ConfigurationError):
        async with open_store(tmp_path):
            pass
    text = b"this is not a database, it is a letter " * 20
    for leftover in path.parent.iterdir():
        leftover.unlink()
    path.write_bytes(text)
    with pytest.raises(StoreUnavailable):
        async with open_store(tmp_path):
            pass
    assert text == path.read_bytes()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        async with SqliteStore.open(tmp_path / "file" / "x.db", clock=FixedClock()):
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_fault_that_ends_the_writing_thread_is_noticed(tmp_path: Path) -> None:
    """Nothing is acknowledged any more, reads go on, and whoever watches learns that the process must start anew."""
    async with open_store(tmp_path) as store:
        await store.readings.commit(batch(reading(1)))
        with pytest.raises(StoreUnavailable):
            await store._writer.run(lambda _: 1 // 0)
        with pytest.raises(StoreUnavailable):
            await store.readings.commit(batch(reading(2)))
        async with asyncio.timeout(5):
            with pytest.raises(StoreUnavailable):
                await store.watch()
        assert 1 == len(await store.readings.readings())
