"""`SqliteStore`: one database file behind the ports `ReadingStore`, `Registry`, `Enrolments` and `Attributions`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from gateway.adapters.stores.sqlite.access import SqliteAccessTokens
from gateway.adapters.stores.sqlite.attributions import SqliteAttributions
from gateway.adapters.stores.sqlite.clock_log import SqliteClockLog
from gateway.adapters.stores.sqlite.codec import micros
from gateway.adapters.stores.sqlite.database import connect, prepare_file, translated
from gateway.adapters.stores.sqlite.documents import SqliteDocuments
from gateway.adapters.stores.sqlite.enrolments import SqliteEnrolments
from gateway.adapters.stores.sqlite.ledger import SqliteLedger
from gateway.adapters.stores.sqlite.migrations import migrate
from gateway.adapters.stores.sqlite.quarantine import SqliteQuarantine
from gateway.adapters.stores.sqlite.reader import Readers
from gateway.adapters.stores.sqlite.readings import SqliteReadings
from gateway.adapters.stores.sqlite.registry import SqliteRegistry
from gateway.adapters.stores.sqlite.retention import purge_chunk
from gateway.adapters.stores.sqlite.writer import Writer
from gateway.errors import StoreUnavailable
from gateway.ports import Clock

__all__ = ["SqliteStore"]


class SqliteStore:
    """An open database file. Other processes may read and write it at the same time.

    Attributes:
        readings: the `ReadingStore`.
        registry: the `Registry`.
        enrolments: the `Enrolments`.
        access: the `AccessTokens`.
        documents: the `Documents`.
        quarantine: the `Quarantine`.
        ledger: the `Ledger`.
        clock_log: the `ClockLog`.
        attributions: the `Attributions`.
    """

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers
        self.readings = SqliteReadings(writer, readers)
        self.registry = SqliteRegistry(writer, readers)
        self.enrolments = SqliteEnrolments(writer, readers)
        self.access = SqliteAccessTokens(writer, readers)
        self.documents = SqliteDocuments(writer, readers)
        self.quarantine = SqliteQuarantine(writer, readers)
        self.ledger = SqliteLedger(writer, readers)
        self.clock_log = SqliteClockLog(writer, readers)
        self.attributions = SqliteAttributions(writer, readers)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path, *, clock: Clock, queue_batches: int = 2000, busy_timeout_s: float = 10.0
    ) -> AsyncIterator[SqliteStore]:
        """Open, create or migrate the file; on leaving, everything queued is written first.

        Args:
            path: the database file; created with mode 0600, its folder too.
            clock: for how long the store was unavailable.
            queue_batches: writes that may wait for the disk; further callers wait.
            busy_timeout_s: how long another process's lock is waited for before StoreUnavailable.

        Raises:
            StoreUnavailable: the file cannot be used now.
            StoreTooNew: written by a newer release.
            ConfigurationError: a database of another program, or too old an SQLite library.
        """
        writer, readers = await asyncio.to_thread(_open, path, clock, queue_batches, busy_timeout_s)
        writer.start(asyncio.get_running_loop())
        try:
            yield cls(writer, readers)
        finally:
            writer.refuse()
            readers.refuse()
            await asyncio.to_thread(_close, writer, readers)

    @property
    def transactions(self) -> int:
        """Write transactions committed since opening; each costs one fsync."""
        return self._writer.transactions

    def take_unavailable_spells(self) -> list[tuple[datetime, datetime]]:
        """From when to when nothing could be written, UTC, as far as it is over; each is told once."""
        return self._writer.take_spells()

    async def watch(self) -> None:
        """Wait for as long as the store can write at all.

        Raises:
            StoreUnavailable: the writing thread has ended; only a new start of the process mends that.
        """
        await self._writer.ended()
        raise StoreUnavailable("the store's writing thread has ended")

    async def purge_raw(self, before: datetime) -> int:
        """Delete raw payloads and quarantined ones received before `before`, in small steps; returns how many."""
        deleted = 0
        while True:
            chunk = await self._writer.run(lambda connection: purge_chunk(connection, micros(before)))
            deleted += chunk
            if not chunk:
                return deleted

    async def check(self) -> list[str]:
        """What SQLite's integrity check finds wrong; empty when the file is sound. Reads the whole file."""
        found = await self._readers.run(lambda connection: connection.execute("PRAGMA integrity_check").fetchall())
        return [str(row[0]) for row in found if row[0] != "ok"]


def _open(path: Path, clock: Clock, queue_batches: int, busy_timeout_s: float) -> tuple[Writer, Readers]:
    prepare_file(path)
    with translated():
        connection = connect(path, busy_timeout_s=busy_timeout_s)
        try:
            migrate(connection, path)
            readers = Readers(path, busy_timeout_s=busy_timeout_s)
        except BaseException:
            connection.close()
            raise
    return Writer(connection, clock=clock, queue_items=queue_batches), readers


def _close(writer: Writer, readers: Readers) -> None:
    writer.close()
    readers.close()
