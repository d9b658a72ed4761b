"""`Ledger` over one SQLite file."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from gateway.adapters.stores.sqlite.codec import instant, micros, optional_instant, optional_micros
from gateway.adapters.stores.sqlite.reader import Readers
from gateway.adapters.stores.sqlite.writer import Writer
from gateway.model import Outage, OutageReason

__all__ = ["SqliteLedger"]

_BEGIN = """
INSERT INTO outage (subject, reason, began_at, ended_at, detail)
SELECT ?1, ?2, ?3, NULL, ?4
WHERE NOT EXISTS (SELECT 1 FROM outage WHERE subject = ?1 AND reason = ?2 AND ended_at IS NULL)
ON CONFLICT (subject, reason, began_at) DO NOTHING
"""
_END = """
UPDATE outage SET ended_at = max(?3, began_at)
WHERE ended_at IS NULL AND (?1 IS NULL OR subject = ?1) AND (?2 IS NULL OR reason = ?2)
"""
_RECORD = """
INSERT INTO outage (subject, reason, began_at, ended_at, detail) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (subject, reason, began_at) DO UPDATE SET ended_at = excluded.ended_at, detail = excluded.detail
WHERE ended_at IS NULL OR ended_at < excluded.ended_at
"""
_ALIVE = """
INSERT INTO sign_of_life (id, at) VALUES (0, ?)
ON CONFLICT (id) DO UPDATE SET at = excluded.at
"""
_BETWEEN = """
SELECT subject, reason, began_at, ended_at, detail FROM outage
WHERE (?1 IS NULL OR ended_at IS NULL OR ended_at > ?1) AND (?2 IS NULL OR began_at < ?2)
ORDER BY began_at, number
"""


class SqliteLedger:
    """See `gateway.ports.Ledger`."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def alive(self, at: datetime) -> None:
        """The gateway lives at `at`; shares the transaction of whatever else is being written."""
        await self._writer.run(lambda connection: connection.execute(_ALIVE, (micros(at),)))

    async def last_alive(self) -> datetime | None:
        """The last sign of life; None: there was none yet."""

        def read(connection: sqlite3.Connection) -> int | None:
            row = connection.execute("SELECT at FROM sign_of_life").fetchone()
            return None if row is None else int(row[0])

        return optional_instant(await self._readers.run(read))

    async def begin(self, subject: str, reason: OutageReason, at: datetime, detail: str = "") -> None:
        """An outage begins, unless one of that subject and reason is open."""
        await self._writer.run(
            lambda connection: connection.execute(_BEGIN, (subject, reason.value, micros(at), detail))
        )

    async def end(self, subject: str | None, reason: OutageReason | None, at: datetime) -> int:
        """Whatever is open of that subject and reason ends; returns how many did."""
        word = None if reason is None else reason.value
        return await self._writer.run(lambda connection: connection.execute(_END, (subject, word, micros(at))).rowcount)

    async def record(self, outage: Outage) -> None:
        """A whole outage at once; of two with the same beginning the longer one stays."""
        row = (
            outage.subject,
            outage.reason.value,
            micros(outage.began_at),
            optional_micros(outage.ended_at),
            outage.detail,
        )
        await self._writer.run(lambda connection: connection.execute(_RECORD, row))

    async def outages(self, *, start: datetime | None = None, end: datetime | None = None) -> list[Outage]:
        """Outages that overlap start..end, by beginning."""
        limits = (optional_micros(start), optional_micros(end))
        rows: list[tuple[str, str, int, int | None, str]] = await self._readers.run(
            lambda connection: connection.execute(_BETWEEN, limits).fetchall()
        )
        return [
            Outage(subject, OutageReason(reason), instant(began), optional_instant(ended), detail)
            for subject, reason, began, ended, detail in rows
        ]
