"""The one thread that writes, and the bounded queue before it.

Everything that is waiting when the thread looks shares one transaction and one fsync. The answers go back to the event
loop in one call per group.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TypeVar, cast

import structlog

from gateway.adapters.stores.sqlite.database import rollback, unavailable_reason
from gateway.adapters.stores.sqlite.encoded import EncodedBatch
from gateway.adapters.stores.sqlite.ingest import Ingest
from gateway.adapters.stores.sqlite.sighting import write_sightings
from gateway.errors import GatewayError, PermanentError, StoreUnavailable
from gateway.model import CommitReceipt
from gateway.ports import Clock, DeviceSighting

__all__ = ["Writer"]

log = structlog.get_logger()

T = TypeVar("T")
_GROUP_ITEMS = 2_000
_GROUP_READINGS = 20_000
_SPELLS = 64


@dataclass(frozen=True, slots=True)
class _Job:
    """Any other write: a function of the connection, run inside the group's transaction."""

    function: Callable[[sqlite3.Connection], object]


_Work = EncodedBatch | DeviceSighting | _Job
_Future = asyncio.Future[object]
_Entry = tuple[_Work, _Future]


class Writer:
    """Owns the write connection. `start` and `close` once each; the rest from the event loop."""

    def __init__(self, connection: sqlite3.Connection, *, clock: Clock, queue_items: int) -> None:
        self._connection = connection
        self._clock = clock
        self._limit = queue_items
        self._ingest = Ingest()
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._queued = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_open = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, name="store.writer", daemon=True)
        self._unavailable_since: tuple[float, datetime | None] | None = None
        self._spells: deque[tuple[datetime, datetime]] = deque(maxlen=_SPELLS)
        self._ended = asyncio.Event()
        self.transactions = 0
        """Transactions committed."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to take work, answering on `loop`."""
        self._loop = loop
        self._is_open = True
        self._thread.start()

    def refuse(self) -> None:
        """From now on, new work is refused."""
        self._is_open = False

    async def ended(self) -> None:
        """Return when the thread has ended: after `close`, or because of a fault that no code foresaw."""
        await self._ended.wait()

    def close(self) -> None:
        """After `refuse`: write what is queued, close the connection. Blocks: not on the event loop's thread."""
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    async def commit(self, batch: EncodedBatch) -> CommitReceipt:
        """Durable when it returns. Waits while the queue is full. Raises StoreUnavailable, PermanentError."""
        return cast("CommitReceipt", await self._submit(batch))

    def take_spells(self) -> list[tuple[datetime, datetime]]:
        """From when to when nothing could be written, UTC, since the last call; the newest of very many.

        None of it where the time was not known.
        """
        taken = []
        while self._spells:
            taken.append(self._spells.popleft())
        return taken

    async def sighted(self, sighting: DeviceSighting) -> None:
        """Durable when it returns. Errors as `commit`."""
        await self._submit(sighting)

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run `function` inside a write transaction (`BEGIN IMMEDIATE`), in the order of the calls.

        What it raises undoes its own changes only and comes out here.
        """
        return cast("T", await self._submit(_Job(function)))

    async def _submit(self, work: _Work) -> object:
        loop = asyncio.get_running_loop()
        while self._queued >= self._limit:
            slot = loop.create_future()
            self._waiting.append(slot)
            try:
                await slot
            except asyncio.CancelledError:
                self._wake_waiting(1 if slot.done() and not slot.cancelled() else 0)
                raise
        if not self._is_open:
            raise StoreUnavailable("the store is closed")
        self._queued += 1
        future: _Future = loop.create_future()
        self._queue.put((work, future))
        return await future

    def _wake_waiting(self, count: int) -> None:
        while count > 0 and self._waiting:
            slot = self._waiting.popleft()
            if not slot.done():
                slot.set_result(None)
                count -= 1

    def _answer(self, group: Sequence[_Entry], outcomes: Sequence[object]) -> None:
        """On the event loop: hand out the results of one group."""
        for (_, future), outcome in zip(group, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        self._queued -= len(group)
        self._wake_waiting(max(0, self._limit - self._queued))

    def _work(self) -> None:
        """The thread. A bug that gets through ends it: everybody waiting is told, nothing is acknowledged."""
        is_last = False
        group: list[_Entry] = []
        try:
            while not is_last:
                group, is_last = self._take()
                self._post(group, self._write(group))
                group = []
        finally:
            self._is_open = False
            while not self._queue.empty():
                if (entry := self._queue.get()) is not None:
                    group.append(entry)
            self._post(group, [StoreUnavailable("the store is closed") for _ in group])
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._ended.set)

    def _post(self, group: Sequence[_Entry], outcomes: Sequence[object]) -> None:
        if group and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._answer, group, outcomes)

    def _take(self) -> tuple[list[_Entry], bool]:
        """Wait for work, then take all that is there, up to a bound; True: it was the last."""
        group: list[_Entry] = []
        readings = 0
        entry = self._queue.get()
        while entry is not None:
            group.append(entry)
            if isinstance(entry[0], EncodedBatch):
                readings += len(entry[0].rows)
            if len(group) >= _GROUP_ITEMS or readings >= _GROUP_READINGS or self._queue.empty():
                return group, False
            entry = self._queue.get()
        return group, True

    def _write(self, group: Sequence[_Entry]) -> list[object]:
        """One outcome per entry: its result, or the exception to raise."""
        if not group:
            return []
        try:
            outcomes = self._transaction([work for work, _ in group])
        except (sqlite3.Error, ValueError, OverflowError, TypeError) as error:
            self._ingest.forget()
            stuck = self._roll_back()
            reason = unavailable_reason(error) or stuck
            if reason is not None:
                self._note_unavailable(reason)
                return [StoreUnavailable(f"the store cannot write: {reason}") for _ in group]
            if len(group) == 1:
                refused = PermanentError("the store cannot hold this item")
                refused.__cause__ = error
                return [refused]
            return [outcome for entry in group for outcome in self._write([entry])]
        self._note_available()
        return outcomes

    def _transaction(self, work: Sequence[_Work]) -> list[object]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        outcomes: list[object] = []
        for is_job, following in groupby(work, lambda item: isinstance(item, _Job)):
            items = list(following)
            outcomes += _run_jobs(connection, items) if is_job else self._collect(connection, items)
        connection.execute("COMMIT")
        self.transactions += 1
        return outcomes

    def _collect(self, connection: sqlite3.Connection, items: Sequence[_Work]) -> list[object]:
        """Batches and sightings between two jobs: all batches at once, then all sightings."""
        receipts = iter(self._ingest.apply(connection, [item for item in items if isinstance(item, EncodedBatch)]))
        write_sightings(connection, [item for item in items if isinstance(item, DeviceSighting)])
        return [next(receipts) if isinstance(item, EncodedBatch) else None for item in items]

    def _roll_back(self) -> str | None:
        try:
            rollback(self._connection)
        except sqlite3.Error as error:
            return unavailable_reason(error) or "rollback"
        return None

    def _note_unavailable(self, reason: str) -> None:
        if self._unavailable_since is None:
            began_at = self._clock.now() if self._clock.is_trusted else None
            self._unavailable_since = self._clock.monotonic(), began_at
            log.error("store.became_unavailable", reason=reason)

    def _note_available(self) -> None:
        if self._unavailable_since is not None:
            monotonic, began_at = self._unavailable_since
            log.info("store.became_available", after_s=round(self._clock.monotonic() - monotonic, 1))
            if began_at is not None and self._clock.is_trusted:
                self._spells.append((began_at, self._clock.now()))
            self._unavailable_since = None


def _run_jobs(connection: sqlite3.Connection, items: Sequence[_Work]) -> list[object]:
    return [_run_job(connection, item) for item in items if isinstance(item, _Job)]


def _run_job(connection: sqlite3.Connection, job: _Job) -> object:
    connection.execute("SAVEPOINT job")
    try:
        result = job.function(connection)
    except (GatewayError, sqlite3.Error, ValueError, TypeError, LookupError) as error:
        if unavailable_reason(error) is not None:
            raise
        connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        return error
    connection.execute("RELEASE job")
    return result
