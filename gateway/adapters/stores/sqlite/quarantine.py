"""`Quarantine` over one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime

from gateway.adapters.stores.sqlite.codec import instant, micros, optional_instant
from gateway.adapters.stores.sqlite.encoded import QUARANTINE_PAYLOAD_BYTES, origin_parts
from gateway.adapters.stores.sqlite.reader import Readers
from gateway.adapters.stores.sqlite.writer import Writer
from gateway.model import DeviceId, Quarantined, QuarantineReason, RawFrame, SourceKind
from gateway.ports import SetAside

__all__ = ["SqliteQuarantine"]

_LARGEST_NUMBER = 2**63 - 1

_COLUMNS = (
    "SELECT q.id, o.text, q.payload, q.received_at, q.reason, q.detail, q.is_retained, q.qos, q.resolved_at,"
    " q.resolution FROM quarantine q JOIN origin o ON o.id = q.origin"
)
_ROWS = (
    f"{_COLUMNS} WHERE q.id > :after AND (:reason IS NULL OR q.reason = :reason)"
    " AND (:source IS NULL OR json_extract(o.text, '$[0]') = :source)"
    " AND (:device IS NULL OR json_extract(o.text, '$[1]') = :device)"
    " AND (:with_resolved OR q.resolved_at IS NULL)"
    " ORDER BY {order} LIMIT :limit"
)
_NEWEST_FIRST = _ROWS.replace("{order}", "q.received_at DESC, q.id DESC")
_BY_NUMBER = _ROWS.replace("{order}", "q.id")

_Row = tuple[int, str, bytes, int, str, str, int | None, int | None, int | None, str | None]


class SqliteQuarantine:
    """See `gateway.ports.Quarantine`."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def rows(
        self,
        *,
        reason: QuarantineReason | None = None,
        source: SourceKind | None = None,
        device_id: DeviceId | None = None,
        with_resolved: bool = False,
        after: int = 0,
        limit: int = 100,
        oldest_first: bool = False,
    ) -> list[SetAside]:
        """Rows with a number above `after`, newest first, or by number with `oldest_first`."""
        values = {
            "after": after,
            "reason": reason,
            "source": source,
            "device": device_id,
            "with_resolved": with_resolved,
            "limit": limit,
        }
        sql = _BY_NUMBER if oldest_first else _NEWEST_FIRST
        rows: list[_Row] = await self._readers.run(lambda connection: connection.execute(sql, values).fetchall())
        return [_set_aside(row) for row in rows]

    async def set_aside(self, number: int) -> SetAside | None:
        """The row of that number; None: there is none."""
        if not 0 < number <= _LARGEST_NUMBER:
            return None
        row: _Row | None = await self._readers.run(
            lambda connection: connection.execute(f"{_COLUMNS} WHERE q.id = ?", (number,)).fetchone()
        )
        return None if row is None else _set_aside(row)

    async def counts(self) -> Mapping[QuarantineReason, int]:
        """How many are open, by reason."""

        def read(connection: sqlite3.Connection) -> list[tuple[str, int]]:
            return connection.execute(
                "SELECT reason, count(*) FROM quarantine WHERE resolved_at IS NULL GROUP BY reason ORDER BY reason"
            ).fetchall()

        return {QuarantineReason(reason): count for reason, count in await self._readers.run(read)}

    async def resolve(self, number: int, resolution: str, at: datetime) -> None:
        """It is no question any more."""
        await self._writer.run(
            lambda connection: connection.execute(
                "UPDATE quarantine SET resolved_at = ?, resolution = ? WHERE id = ? AND resolved_at IS NULL",
                (micros(at), resolution, number),
            )
        )

    async def reword(self, number: int, reason: QuarantineReason, detail: str) -> None:
        """What stands in the way now."""
        await self._writer.run(
            lambda connection: connection.execute(
                "UPDATE quarantine SET reason = ?, detail = ? WHERE id = ?", (reason.value, detail, number)
            )
        )


def _set_aside(row: _Row) -> SetAside:
    number, origin, payload, received_at, reason, detail, is_retained, qos, resolved_at, resolution = row
    source, device_id, channel = origin_parts(origin)
    frame = RawFrame(device_id, source, channel, payload, instant(received_at))
    why = QuarantineReason(reason)
    return SetAside(
        number,
        Quarantined(frame, why, detail, None if is_retained is None else bool(is_retained), qos),
        is_whole=why is not QuarantineReason.TOO_LARGE and len(payload) < QUARANTINE_PAYLOAD_BYTES,
        resolved_at=optional_instant(resolved_at),
        resolution=resolution,
    )
