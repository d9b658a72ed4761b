"""Batches into tables: one statement for all readings of a group, one for all raw payloads.

Python's `sqlite3` gives the interpreter lock away and takes it back around every row of an `executemany`; beside a busy
event loop each of these can wait for a whole switch interval. A statement that unpacks the group by itself runs
without the lock from its first row to its last.

What the fast statement finds already there is settled one by one, in `merge`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from gateway.adapters.stores.sqlite.codec import METRIC_CODES, Series, compact
from gateway.adapters.stores.sqlite.encoded import EncodedBatch, EncodedFrame, EncodedQuarantine
from gateway.adapters.stores.sqlite.merge import merge_version
from gateway.model import CommitReceipt, DeviceId

__all__ = ["Ingest", "ensure_device"]

_INSERT_READINGS = """
INSERT INTO reading (series, record_key, person, effective_at, digest, utc_offset_min, time_quality, received_at,
  provenance, value, original_value, original_unit, device_time, extra, raw_id)
SELECT s.id, j.value ->> 3, d.person, j.value ->> 4, j.value ->> 5, j.value ->> 6, j.value ->> 7, j.value ->> 8,
  p.id, j.value ->> 10, j.value ->> 11, j.value ->> 12, j.value ->> 13, j.value ->> 14, (j.value ->> 15) + :shift
FROM json_each(:rows) AS j
CROSS JOIN device AS d ON d.device_id = j.value ->> 0
CROSS JOIN series AS s ON s.device = d.id AND s.epoch = j.value ->> 1 AND s.metric = j.value ->> 2
CROSS JOIN provenance AS p ON p.text = j.value ->> 9
WHERE true
ON CONFLICT (series, record_key) DO NOTHING
"""

_COMPARE_READINGS = """
SELECT json_group_array(json_array(j.key, r.row_id, r.digest = j.value ->> 5 AND (
    r.received_at < j.value ->> 8 OR (
      r.received_at = j.value ->> 8 AND r.effective_at = j.value ->> 4 AND r.utc_offset_min = j.value ->> 6
      AND r.time_quality = j.value ->> 7 AND r.provenance = p.id
    )
  ))), (SELECT max(row_id) FROM reading)
FROM json_each(:rows) AS j
CROSS JOIN device AS d ON d.device_id = j.value ->> 0
CROSS JOIN series AS s ON s.device = d.id AND s.epoch = j.value ->> 1 AND s.metric = j.value ->> 2
CROSS JOIN provenance AS p ON p.text = j.value ->> 9
CROSS JOIN reading AS r ON r.series = s.id AND r.record_key = j.value ->> 3
"""

_INSERT_FRAMES = """
INSERT INTO frame (raw_id, origin, received_at, payload)
SELECT (j.value ->> 0) + :shift, j.value ->> 1, j.value ->> 2, substr(:payloads, j.value ->> 3, j.value ->> 4)
FROM json_each(:frames) AS j
"""

_LAST_RAW_ID = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'frame'), 0)"

_QUARANTINE = """
INSERT INTO quarantine (digest, origin, received_at, payload, reason, detail) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (digest) DO UPDATE SET
  origin = excluded.origin, received_at = excluded.received_at, reason = excluded.reason, detail = excluded.detail
WHERE (excluded.received_at, excluded.reason, excluded.detail) < (received_at, reason, detail)
"""


def ensure_device(connection: sqlite3.Connection, device_id: DeviceId) -> int:
    """The number of a device; an unknown one is created without kind and owner."""
    connection.execute(
        "INSERT INTO device (device_id, kind, display_name) VALUES (?1, 'unknown', ?1) ON CONFLICT DO NOTHING",
        (device_id,),
    )
    return int(connection.execute("SELECT id FROM device WHERE device_id = ?", (device_id,)).fetchone()[0])


class Ingest:
    """Writes groups of batches inside the caller's transaction; remembers what already exists in the file."""

    def __init__(self) -> None:
        self._series: set[Series] = set()
        self._provenances: set[str] = set()
        self._origins: dict[str, int] = {}

    def forget(self) -> None:
        """After a rollback: what was remembered may not be in the file."""
        self._series.clear()
        self._provenances.clear()
        self._origins.clear()

    def apply(self, connection: sqlite3.Connection, batches: Sequence[EncodedBatch]) -> list[CommitReceipt]:
        """Write the batches in order; one receipt each.

        Raises:
            sqlite3.Error: nothing of it may be committed.
        """
        rows: list[str] = []
        frames: list[EncodedFrame] = []
        has_others = False
        for batch in batches:
            if not self._series >= batch.series or not self._provenances >= batch.provenances:
                self._ensure(connection, batch)
            rows += batch.rows
            frames += batch.frames
            has_others = has_others or bool(batch.quarantined or batch.checkpoints)
        receipts: list[CommitReceipt]
        if rows:
            shift = self._frame_shift(connection, frames)
            text = f"[{','.join(rows)}]"
            added = connection.execute(_INSERT_READINGS, {"rows": text, "shift": shift}).rowcount
            if added == len(rows):
                receipts = [_all_added(len(batch.rows)) for batch in batches]
            else:
                receipts, wanted = self._settle(connection, batches, rows, text, added, shift)
                frames = [frame for frame in frames if frame.number in wanted]
            if frames:
                self._write_frames(connection, frames, shift)
        else:
            receipts = [CommitReceipt()] * len(batches)
        if has_others:
            receipts = [self._others(connection, b, r) for b, r in zip(batches, receipts, strict=True)]
        return receipts

    def _ensure(self, connection: sqlite3.Connection, batch: EncodedBatch) -> None:
        for series in batch.series - self._series:
            device = ensure_device(connection, series[0])
            connection.execute(
                "INSERT INTO series (device, epoch, metric) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (device, series[1], METRIC_CODES[series[2]]),
            )
        for text in batch.provenances - self._provenances:
            connection.execute("INSERT INTO provenance (text) VALUES (?) ON CONFLICT DO NOTHING", (text,))
        self._series |= batch.series
        self._provenances |= batch.provenances

    def _frame_shift(self, connection: sqlite3.Connection, frames: Sequence[EncodedFrame]) -> int:
        if not frames:
            return 0
        return int(connection.execute(_LAST_RAW_ID).fetchone()[0]) + 1 - frames[0].number

    def _settle(
        self,
        connection: sqlite3.Connection,
        batches: Sequence[EncodedBatch],
        rows: Sequence[str],
        text: str,
        added: int,
        shift: int,
    ) -> tuple[list[CommitReceipt], set[int]]:
        """Receipts when some keys existed or came twice, and the numbers of the frames worth keeping."""
        found, last_row = connection.execute(_COMPARE_READINGS, {"rows": text}).fetchone()
        compared = json.loads(found)
        if len(compared) != len(rows):
            raise sqlite3.IntegrityError("a reading's device, series or provenance is missing")
        outcomes = [0] * len(rows)  # 0 known, 1 added, 2 corrected
        taken: set[int] = set()
        for ordinal, row_id, is_known in sorted(compared):
            if row_id > last_row - added and row_id not in taken:
                taken.add(row_id)
                outcomes[ordinal] = 1
            elif not is_known and merge_version(connection, row_id, json.loads(rows[ordinal]), shift):
                outcomes[ordinal] = 2
        receipts: list[CommitReceipt] = []
        wanted: set[int] = set()
        at = 0
        for batch in batches:
            mine = outcomes[at : at + len(batch.rows)]
            at += len(batch.rows)
            receipts.append(CommitReceipt(added=mine.count(1), corrected=mine.count(2), known=mine.count(0)))
            wanted.update(f for f, outcome in zip(batch.row_frames, mine, strict=True) if outcome and f is not None)
        return receipts, wanted

    def _origin(self, connection: sqlite3.Connection, text: str) -> int:
        if (known := self._origins.get(text)) is None:
            connection.execute("INSERT INTO origin (text) VALUES (?) ON CONFLICT DO NOTHING", (text,))
            known = int(connection.execute("SELECT id FROM origin WHERE text = ?", (text,)).fetchone()[0])
            if len(self._origins) >= 10_000:
                self._origins.clear()
            self._origins[text] = known
        return known

    def _write_frames(self, connection: sqlite3.Connection, frames: Sequence[EncodedFrame], shift: int) -> None:
        heads: list[str] = []
        offset = 1
        for frame in frames:
            origin = self._origins.get(frame.origin) or self._origin(connection, frame.origin)
            length = len(frame.payload)
            heads.append(f"[{frame.number},{origin},{frame.received_at},{offset},{length}]")
            offset += length
        payloads = b"".join([frame.payload for frame in frames])
        connection.execute(_INSERT_FRAMES, {"frames": f"[{','.join(heads)}]", "payloads": payloads, "shift": shift})

    def _others(self, connection: sqlite3.Connection, batch: EncodedBatch, receipt: CommitReceipt) -> CommitReceipt:
        new = sum(self._quarantine(connection, item) for item in batch.quarantined)
        for checkpoint in batch.checkpoints:
            connection.execute(
                "INSERT INTO checkpoint (device, name, state) VALUES (?, ?, ?)"
                " ON CONFLICT (device, name) DO UPDATE SET state = excluded.state",
                (ensure_device(connection, checkpoint.device_id), checkpoint.name, compact(dict(checkpoint.state))),
            )
        return CommitReceipt(receipt.added, receipt.corrected, receipt.known, new)

    def _quarantine(self, connection: sqlite3.Connection, item: EncodedQuarantine) -> bool:
        known = connection.execute("SELECT 1 FROM quarantine WHERE digest = ?", (item.digest,)).fetchone()
        origin = self._origin(connection, item.origin)
        connection.execute(_QUARANTINE, (item.digest, origin, item.received_at, item.payload, item.reason, item.detail))
        return known is None


_RECEIPTS = tuple(CommitReceipt(added=count) for count in range(16))


def _all_added(count: int) -> CommitReceipt:
    return _RECEIPTS[count] if count < len(_RECEIPTS) else CommitReceipt(added=count)
