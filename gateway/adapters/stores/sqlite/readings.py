"""`ReadingStore` over one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import date, datetime

from gateway.adapters.stores.sqlite import figures, queries
from gateway.adapters.stores.sqlite.codec import TIMING_CODES, instant, micros, optional_instant, optional_micros
from gateway.adapters.stores.sqlite.encoded import BatchEncoder, origin_parts
from gateway.adapters.stores.sqlite.merge import UNPLACED
from gateway.adapters.stores.sqlite.reader import Readers
from gateway.adapters.stores.sqlite.writer import Writer
from gateway.model import (
    Batch,
    Checkpoint,
    CommitReceipt,
    DeviceId,
    GlucoseDay,
    Metric,
    PersonId,
    Quarantined,
    QuarantineReason,
    RawFrame,
    Reading,
    StoredReading,
    WeightDay,
)
from gateway.ports import DirtyDay

__all__ = ["SqliteReadings"]

_NOTHING = CommitReceipt()
_RETIME = (
    "UPDATE reading SET effective_at = ?, utc_offset_min = ?, time_quality = ?"  # noqa: S608 - fixed texts only
    f" WHERE row_id = ? AND received_at = ? AND {UNPLACED}"
)


class SqliteReadings:
    """Readings, raw payloads, checkpoints and day figures; see `gateway.ports.ReadingStore`."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers
        self._encoder = BatchEncoder()

    async def commit(self, batch: Batch) -> CommitReceipt:
        """Durable (fsync) when it returns; idempotent; waits while the queue is full.

        Payloads that no reading refers to are stored too, each once, with their earliest reception; those whose
        readings are all known add nothing.

        Raises:
            StoreUnavailable: nothing of the batch was written.
            PermanentError: the batch holds something that can never be stored; nothing of it was written.
        """
        if not (batch.readings or batch.frames or batch.quarantined or batch.checkpoints):
            return _NOTHING
        return await self._writer.commit(self._encoder.encode(batch))

    async def retime(self, moved: Sequence[tuple[StoredReading, Reading]]) -> int:
        """Place readings anew of which nobody has said the time; returns how many moved."""

        def write(connection: sqlite3.Connection) -> int:
            return sum(
                connection.execute(
                    _RETIME,
                    (
                        micros(reading.effective_at),
                        reading.utc_offset_min,
                        TIMING_CODES[reading.time_quality, reading.time_method],
                        stored.row_id,
                        micros(stored.reading.received_at),
                    ),
                ).rowcount
                for stored, reading in moved
            )

        return await self._writer.run(write)

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        """The last committed checkpoint of that name, or None."""

        def read(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(
                "SELECT c.state FROM checkpoint c JOIN device d ON d.id = c.device"
                " WHERE d.device_id = ? AND c.name = ?",
                (device_id, name),
            ).fetchone()
            return None if row is None else str(row[0])

        state = await self._readers.run(read)
        return None if state is None else Checkpoint(device_id, name, json.loads(state))

    async def facts(self, device_id: DeviceId | None = None) -> list[Checkpoint]:
        """Every checkpoint and fact of that device, or of all, by device id and name."""

        def read(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
            return connection.execute(
                "SELECT d.device_id, c.name, c.state FROM checkpoint c JOIN device d ON d.id = c.device"
                " WHERE ?1 IS NULL OR d.device_id = ?1 ORDER BY d.device_id, c.name",
                (device_id,),
            ).fetchall()

        rows = await self._readers.run(read)
        return [Checkpoint(DeviceId(device), name, json.loads(state)) for device, name, state in rows]

    async def readings(
        self,
        *,
        person_id: PersonId | None = None,
        device_id: DeviceId | None = None,
        metrics: Collection[Metric] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> list[StoredReading]:
        """Current readings with start <= effective_at < end, ordered by effective_at; None means "any"."""
        return await self._readers.run(
            lambda connection: queries.read_range(
                connection,
                person_id=person_id,
                device_id=device_id,
                metrics=metrics,
                start=optional_micros(start),
                end=optional_micros(end),
                newest_first=newest_first,
                limit=limit,
            )
        )

    async def changed(
        self, person_id: PersonId, metrics: Collection[Metric], *, after: datetime, limit: int
    ) -> list[StoredReading]:
        """Readings whose current version was received after that instant, in that order; those of the last all."""
        since = micros(after)
        return await self._readers.run(
            lambda connection: queries.changed_readings(connection, person_id, metrics, since, limit)
        )

    async def recorded_as(
        self, person_id: PersonId, record_key: str, metrics: Collection[Metric]
    ) -> list[StoredReading]:
        """Readings of one person with that record key, of whichever device and epoch, withdrawn ones too."""
        return await self._readers.run(
            lambda connection: queries.readings_recorded_as(connection, person_id, record_key, metrics)
        )

    async def last_change(self, person_id: PersonId, metrics: Collection[Metric]) -> datetime | None:
        """When the newest current version of these readings was received; None: there are none."""
        return optional_instant(
            await self._readers.run(lambda connection: queries.last_reception(connection, person_id, metrics))
        )

    async def export(
        self, *, person_id: PersonId | None = None, metrics: Collection[Metric] | None = None, chunk: int = 1000
    ) -> AsyncIterator[list[StoredReading]]:
        """Everything up to the newest row at the beginning, never more than `chunk` at once.

        "Oldest first" is by order of commit (`row_id`), not by `effective_at`: what is committed meanwhile cannot shift
        the chunks, whatever time it states.
        """

        def newest(connection: sqlite3.Connection) -> int:
            return int(connection.execute("SELECT coalesce(max(row_id), 0) FROM reading").fetchone()[0])

        def following(connection: sqlite3.Connection) -> list[StoredReading]:
            return queries.readings_by_row(
                connection, person_id=person_id, metrics=metrics, after=after, last=last, chunk=chunk
            )

        after, last = 0, await self._readers.run(newest)
        while readings := await self._readers.run(following):
            after = readings[-1].row_id
            yield readings

    async def latest(self, person_id: PersonId | None = None) -> list[StoredReading]:
        """The newest reading of each (person, device, metric) by effective_at."""
        return await self._readers.run(lambda connection: queries.latest_readings(connection, person_id))

    async def raw(self, raw_id: int) -> RawFrame | None:
        """The payload that a reading was decoded from, while it is kept."""

        def read(connection: sqlite3.Connection) -> tuple[str, bytes, int] | None:
            row: tuple[str, bytes, int] | None = connection.execute(
                "SELECT o.text, f.payload, f.received_at FROM frame f JOIN origin o ON o.id = f.origin"
                " WHERE f.raw_id = ?",
                (raw_id,),
            ).fetchone()
            return row

        row = await self._readers.run(read)
        return None if row is None else _frame(*row)

    async def quarantined(self, *, limit: int = 100) -> list[Quarantined]:
        """Payloads set aside and not resolved, newest first, each cut to 64 KiB."""

        def read(connection: sqlite3.Connection) -> list[tuple[str, bytes, int, str, str]]:
            return connection.execute(
                "SELECT o.text, q.payload, q.received_at, q.reason, q.detail FROM quarantine q"
                " JOIN origin o ON o.id = q.origin WHERE q.resolved_at IS NULL"
                " ORDER BY q.received_at DESC, q.id DESC LIMIT ?",
                (limit,),
            ).fetchall()

        return [
            Quarantined(_frame(origin, payload, at), QuarantineReason(reason), detail)
            for origin, payload, at, reason, detail in await self._readers.run(read)
        ]

    async def dirty_days(self, *, limit: int = 200) -> list[DirtyDay]:
        """Days whose figures must be computed again, oldest change first."""
        return await self._readers.run(lambda connection: figures.dirty_days(connection, limit))

    async def save_glucose_day(self, day: GlucoseDay, dirty: DirtyDay | None = None) -> None:
        """Replace the figures of that day; clears `dirty` unless the day changed again meanwhile."""
        await self._writer.run(lambda connection: figures.save_glucose_day(connection, day, dirty))

    async def save_weight_day(
        self, person_id: PersonId, local_day: date, day: WeightDay | None, dirty: DirtyDay | None = None
    ) -> None:
        """Replace (None: remove) the weigh-in that counts for that day; clears `dirty` likewise."""
        await self._writer.run(lambda connection: figures.save_weight_day(connection, person_id, local_day, day, dirty))

    async def clear_dirty(self, dirty: DirtyDay) -> None:
        """Forget `dirty` unless the day changed again."""
        await self._writer.run(lambda connection: figures.clear_dirty(connection, dirty))

    async def glucose_days(self, person_id: PersonId, first: date, last: date) -> list[GlucoseDay]:
        """Stored days in first..last inclusive, ascending; days without readings are left out."""
        return await self._readers.run(lambda connection: figures.glucose_days(connection, person_id, first, last))

    async def weight_days(self, person_id: PersonId, first: date, last: date) -> list[WeightDay]:
        """Stored days in first..last inclusive, ascending."""
        return await self._readers.run(lambda connection: figures.weight_days(connection, person_id, first, last))


def _frame(origin: str, payload: bytes, received_at: int) -> RawFrame:
    source, device_id, channel = origin_parts(origin)
    return RawFrame(device_id, source, channel, payload, instant(received_at))
