"""The audit trail: append-only, each event sealed with the hash of all before it.

hash(n) = SHA-256(hash(n-1) + canonical JSON of event n with its number); hash(0) is 32 zero bytes. An edited, removed
or inserted event breaks the chain; events cut off at the end are noticed because SQLite remembers the last number.
"""

from __future__ import annotations

import hashlib
import sqlite3

from gateway.adapters.stores.sqlite.codec import compact, instant, micros
from gateway.model import AuditEvent, AuditKind, DataType, DestinationId, OutboxId, PersonId

__all__ = ["append_event", "audit_events", "first_broken_event"]

_COLUMNS = "number, at, kind, person_id, data_type, destination_id, outbox_id, detail"
_Columns = tuple[int, int, str, str, str, str, int | None, str]
_START = bytes(32)


def _seal(previous: bytes, columns: _Columns) -> bytes:
    return hashlib.sha256(previous + compact(columns).encode()).digest()


def _last_number(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
    return 0 if row is None else int(row[0])


def append_event(connection: sqlite3.Connection, event: AuditEvent) -> None:
    """Seal and add one event, inside the transaction of what it records."""
    last = connection.execute("SELECT hash FROM audit ORDER BY number DESC LIMIT 1").fetchone()
    columns: _Columns = (
        _last_number(connection) + 1,
        micros(event.at),
        event.kind.value,
        event.person_id,
        event.data_type.value,
        event.destination_id,
        event.outbox_id,
        event.detail.encode("utf-8", "backslashreplace").decode(),
    )
    seal = _seal(_START if last is None else last[0], columns)
    connection.execute(f"INSERT INTO audit ({_COLUMNS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*columns, seal))  # noqa: S608


def audit_events(connection: sqlite3.Connection, person_id: PersonId | None, limit: int) -> list[AuditEvent]:
    """The trail, newest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM audit WHERE :person IS NULL OR person_id = :person"  # noqa: S608
        " ORDER BY number DESC LIMIT :limit",
        {"person": person_id, "limit": limit},
    )
    return [
        AuditEvent(
            at=instant(at),
            kind=AuditKind(kind),
            person_id=PersonId(person),
            data_type=DataType(data_type),
            destination_id=DestinationId(destination),
            outbox_id=None if outbox_id is None else OutboxId(outbox_id),
            detail=detail,
        )
        for _, at, kind, person, data_type, destination, outbox_id, detail in rows
    ]


def first_broken_event(connection: sqlite3.Connection) -> int | None:
    """Number of the first event that does not fit the chain or is missing; None when all is well."""
    previous, expected = _START, 1
    for *columns, seal in connection.execute(f"SELECT {_COLUMNS}, hash FROM audit ORDER BY number"):  # noqa: S608
        number, at, kind, person, data_type, destination, outbox_id, detail = columns
        if number != expected:
            return expected
        previous = _seal(previous, (number, at, kind, person, data_type, destination, outbox_id, detail))
        if previous != seal:
            return expected
        expected += 1
    return None if expected > _last_number(connection) else expected
