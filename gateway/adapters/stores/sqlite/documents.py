"""`Documents` over one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from gateway.adapters.stores.sqlite.codec import instant, micros, optional_micros
from gateway.adapters.stores.sqlite.figures import person_number
from gateway.adapters.stores.sqlite.ingest import ensure_device
from gateway.adapters.stores.sqlite.reader import Readers
from gateway.adapters.stores.sqlite.writer import Writer
from gateway.model import DeviceId, PersonId
from gateway.ports import KeptDocument

__all__ = ["SqliteDocuments"]

_LEAST, _GREATEST = -(2**63), 2**63 - 1
_PURGED_AT_ONCE = 2_000

_DOCUMENT = (
    "SELECT p.person_id, d.device_id, k.collection, k.identifier, k.content, k.dated_at, k.received_at, k.modified_at,"
    " k.is_deleted FROM document k JOIN person p ON p.id = k.person JOIN device d ON d.id = k.device"
    " WHERE p.person_id = ? AND k.collection = ?"
)
_ONE = f"{_DOCUMENT} AND k.identifier = ?"
_RANGE = (
    f"{_DOCUMENT} AND k.dated_at >= ? AND k.dated_at < ? AND k.is_deleted = 0"
    " ORDER BY k.dated_at {order}, k.number {order} LIMIT ? OFFSET ?"
)
_ASCENDING, _DESCENDING = _RANGE.format(order="ASC"), _RANGE.format(order="DESC")
_CHANGED = f"""
{_DOCUMENT} AND k.modified_at > ? AND k.modified_at <= coalesce((
  SELECT modified_at FROM document WHERE person = p.id AND collection = k.collection AND modified_at > ?
  ORDER BY modified_at LIMIT 1 OFFSET ?), {_GREATEST})
ORDER BY k.modified_at, k.number
"""  # noqa: S608 - fixed texts only
_KNOWN = """
SELECT content, is_deleted FROM document WHERE person = ? AND collection = ? AND identifier = ?
"""
_KEEP = """
INSERT INTO document (person, device, collection, identifier, content, dated_at, received_at, modified_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (person, collection, identifier) DO UPDATE SET
  device = excluded.device, content = excluded.content, dated_at = excluded.dated_at,
  modified_at = excluded.modified_at, is_deleted = 0
"""
_SHORTEN = """
DELETE FROM document WHERE number IN (
  SELECT number FROM document WHERE person = ?1 AND collection = ?2 ORDER BY modified_at DESC, number DESC
  LIMIT -1 OFFSET ?3)
"""

_Row = tuple[str, str, str, str, str, int, int, int, int]


class SqliteDocuments:
    """See `gateway.ports.Documents`."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def keep(self, documents: Sequence[KeptDocument], *, most: int) -> tuple[bool, ...]:
        """Durable when it returns, all or none; says of each whether its name is new."""
        return await self._writer.run(lambda connection: _keep(connection, documents, most))

    async def document(self, person_id: PersonId, collection: str, identifier: str) -> KeptDocument | None:
        """The one of that name, deleted or not."""

        def read(connection: sqlite3.Connection) -> KeptDocument | None:
            row: _Row | None = connection.execute(_ONE, (person_id, collection, identifier)).fetchone()
            return None if row is None else _document(row)

        return await self._readers.run(read)

    async def documents(
        self,
        person_id: PersonId,
        collection: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        newest_first: bool = True,
        limit: int = 100,
        skip: int = 0,
    ) -> list[KeptDocument]:
        """Those not deleted with start <= dated_at < end, by `dated_at`."""
        low, high = optional_micros(start), optional_micros(end)
        values = (
            person_id,
            collection,
            _LEAST if low is None else low,
            _GREATEST if high is None else high,
            limit,
            skip,
        )
        sql = _DESCENDING if newest_first else _ASCENDING
        return await self._readers.run(lambda connection: [_document(row) for row in connection.execute(sql, values)])

    async def changed_documents(
        self, person_id: PersonId, collection: str, *, after: datetime, limit: int
    ) -> list[KeptDocument]:
        """Those modified after that instant, deleted ones too, by `modified_at`; those of the last instant all."""
        since = micros(after)
        values = (person_id, collection, since, since, max(limit, 1) - 1)
        return await self._readers.run(
            lambda connection: [_document(row) for row in connection.execute(_CHANGED, values)]
        )

    async def withdraw_document(self, person_id: PersonId, collection: str, identifier: str, at: datetime) -> bool:
        """Mark it deleted."""
        return await self._writer.run(
            lambda connection: (
                connection.execute(
                    "UPDATE document SET is_deleted = 1, modified_at = ? WHERE is_deleted = 0 AND collection = ?"
                    " AND identifier = ? AND person = (SELECT id FROM person WHERE person_id = ?)",
                    (micros(at), collection, identifier, person_id),
                ).rowcount
                > 0
            )
        )

    async def last_changes(self, person_id: PersonId) -> dict[str, datetime]:
        """The latest `modified_at` of each collection that has documents."""

        def read(connection: sqlite3.Connection) -> dict[str, datetime]:
            rows = connection.execute(
                "SELECT collection, max(modified_at) FROM document"
                " WHERE person = (SELECT id FROM person WHERE person_id = ?) GROUP BY collection",
                (person_id,),
            )
            return {collection: instant(modified_at) for collection, modified_at in rows}

        return await self._readers.run(read)

    async def purge_documents(self, before: datetime) -> int:
        """Delete what is dated and was last modified before that instant, in small steps."""
        mark, deleted = micros(before), 0
        while True:
            chunk = await self._writer.run(
                lambda connection: (
                    connection.execute(
                        "DELETE FROM document WHERE number IN"
                        " (SELECT number FROM document WHERE dated_at < ?1 AND modified_at < ?1 LIMIT ?2)",
                        (mark, _PURGED_AT_ONCE),
                    ).rowcount
                )
            )
            deleted += chunk
            if chunk < _PURGED_AT_ONCE:
                return deleted


def _keep(connection: sqlite3.Connection, documents: Sequence[KeptDocument], most: int) -> tuple[bool, ...]:
    is_new: list[bool] = []
    touched: set[tuple[int, str]] = set()
    people: dict[PersonId, int] = {}
    devices: dict[DeviceId, int] = {}
    for each in documents:
        if each.person_id not in people:
            people[each.person_id] = person_number(connection, each.person_id)
        if each.device_id not in devices:
            devices[each.device_id] = ensure_device(connection, each.device_id)
        person = people[each.person_id]
        known = connection.execute(_KNOWN, (person, each.collection, each.identifier)).fetchone()
        is_new.append(known is None)
        if known == (each.content, 0):
            continue
        connection.execute(
            _KEEP,
            (
                person,
                devices[each.device_id],
                each.collection,
                each.identifier,
                each.content,
                micros(each.dated_at),
                micros(each.received_at),
                micros(each.modified_at),
            ),
        )
        touched.add((person, each.collection))
    for person, collection in touched:
        connection.execute(_SHORTEN, (person, collection, most))
    return tuple(is_new)


def _document(row: _Row) -> KeptDocument:
    return KeptDocument(
        person_id=PersonId(row[0]),
        device_id=DeviceId(row[1]),
        collection=row[2],
        identifier=row[3],
        content=row[4],
        dated_at=instant(row[5]),
        received_at=instant(row[6]),
        modified_at=instant(row[7]),
        is_deleted=bool(row[8]),
    )
