"""Batches into tables: one statement for the readings of a group, one for its raw payloads.

Python's `sqlite3` gives the interpreter lock away and takes it back around every row of an `executemany`, so that
writer and event loop contend for it row by row. A statement with many rows of VALUES runs without the lock from its
first row to its last (see `manyrows`; measured in `benchmarks/store_layout.py`).

What the fast statement finds already there is settled one by one, in `merge`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gateway.adapters.stores.sqlite.codec import ParameterRow, compact
from gateway.adapters.stores.sqlite.encoded import EncodedBatch, EncodedFrame, EncodedQuarantine
from gateway.adapters.stores.sqlite.manyrows import compare_rows, execute_rows
from gateway.adapters.stores.sqlite.merge import UNPLACED, Merged, merge_version
from gateway.adapters.stores.sqlite.schema import local_day
from gateway.adapters.stores.sqlite.weigh_ins import enlist_new
from gateway.model import CommitReceipt, DeviceId

__all__ = ["Ingest", "ensure_device"]

_INCOMING = """
WITH incoming (device, epoch, metric, record_key, effective_at, digest, utc_offset_min, time_quality, received_at,
  provenance, value, original_value, original_unit, device_time, extra, frame{more}) AS (VALUES {marks})
"""

_NUMBERED = """
FROM incoming AS i
CROSS JOIN device AS d ON d.device_id = i.device
CROSS JOIN series AS s ON s.device = d.id AND s.epoch = i.epoch AND s.metric = i.metric
CROSS JOIN provenance AS p ON p.text = i.provenance
"""

_INSERT_READINGS = f"""
INSERT INTO reading (series, record_key, person, effective_at, digest, utc_offset_min, time_quality, received_at,
  provenance, value, original_value, original_unit, device_time, extra, raw_id)
{_INCOMING}
SELECT s.id, i.record_key, CASE d.is_by_evidence WHEN 0 THEN d.person ELSE 0 END, i.effective_at, i.digest,
  i.utc_offset_min, i.time_quality, i.received_at, p.id, i.value,
  i.original_value, i.original_unit, i.device_time, i.extra, i.frame + ?
{_NUMBERED}
WHERE true
ON CONFLICT (series, record_key) DO NOTHING
"""

_COMPARE_READINGS = f"""
{_INCOMING}
SELECT json_group_array(json_array(i.ordinal, r.row_id, r.digest = i.digest AND (
    r.received_at < i.received_at AND NOT {UNPLACED.replace("time_quality", "r.time_quality")} OR (
      r.received_at = i.received_at AND r.effective_at = i.effective_at AND r.utc_offset_min = i.utc_offset_min
      AND r.time_quality = i.time_quality AND r.provenance = p.id
    )
  )))
{_NUMBERED}
CROSS JOIN reading AS r ON r.series = s.id AND r.record_key = i.record_key
"""

_INSERT_FRAMES = """
INSERT INTO frame (raw_id, origin, received_at, payload, digest)
WITH incoming (number, origin, received_at, payload, digest) AS (VALUES {marks})
SELECT number + ?, origin, received_at, payload, digest FROM incoming WHERE number IS NOT NULL
ON CONFLICT (digest) WHERE digest IS NOT NULL DO UPDATE SET received_at = excluded.received_at
WHERE excluded.received_at < received_at
"""

_MARK_DIRTY = f"""
INSERT OR REPLACE INTO dirty_day (person, metric, local_day)
SELECT DISTINCT r.person, s.metric, {local_day("r")} FROM reading AS r CROSS JOIN series AS s ON s.id = r.series
WHERE r.row_id > ? AND r.person <> 0
"""  # noqa: S608 - fixed texts only

_LAST_NUMBERS = """
SELECT coalesce((SELECT max(row_id) FROM reading), 0),
  coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'frame'), 0)
"""

_QUARANTINE = """
INSERT INTO quarantine (digest, origin, received_at, payload, reason, detail, is_retained, qos)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (digest) DO UPDATE SET
  origin = excluded.origin, received_at = excluded.received_at, reason = excluded.reason, detail = excluded.detail,
  is_retained = excluded.is_retained, qos = excluded.qos
WHERE (excluded.received_at, excluded.reason, excluded.detail, coalesce(excluded.is_retained, 2),
  coalesce(excluded.qos, -1))
  < (received_at, reason, detail, coalesce(is_retained, 2), coalesce(qos, -1))
"""

_REOPEN = "UPDATE quarantine SET resolved_at = NULL, resolution = NULL WHERE digest = ? AND resolved_at < ?"


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
        self._series: set[tuple[str, int, int]] = set()
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
        rows: list[ParameterRow] = []
        frames: list[EncodedFrame] = []
        has_others = False
        for batch in batches:
            if not self._series >= batch.series or not self._provenances >= batch.provenances:
                self._ensure(connection, batch)
            rows += batch.rows
            frames += batch.frames
            has_others = has_others or bool(batch.quarantined or batch.checkpoints)
        receipts = [CommitReceipt()] * len(batches)
        if rows or frames:
            last_row, last_raw = connection.execute(_LAST_NUMBERS).fetchone()
            shift = last_raw + 1 - min(frames).number if frames else 0  # a commit that waited may come out of turn
            added = execute_rows(connection, _INSERT_READINGS, rows, (shift,))
            if added:
                connection.execute(_MARK_DIRTY, (last_row,))
                enlist_new(connection, {series[0] for batch in batches for series in batch.series}, last_row)
            if added == len(rows):
                receipts = [_all_added(len(batch.rows)) for batch in batches]
            else:
                receipts, wanted = self._settle(connection, batches, rows, last_row, shift)
                frames = [frame for frame in frames if frame.digest is not None or frame.number in wanted]
            self._write_frames(connection, frames, shift)
        if has_others:
            receipts = [self._others(connection, b, r) for b, r in zip(batches, receipts, strict=True)]
        return receipts

    def _ensure(self, connection: sqlite3.Connection, batch: EncodedBatch) -> None:
        for series in batch.series - self._series:
            device = ensure_device(connection, DeviceId(series[0]))
            connection.execute(
                "INSERT INTO series (device, epoch, metric) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (device, *series[1:]),
            )
        for text in batch.provenances - self._provenances:
            connection.execute("INSERT INTO provenance (text) VALUES (?) ON CONFLICT DO NOTHING", (text,))
        self._series |= batch.series
        self._provenances |= batch.provenances

    def _settle(
        self,
        connection: sqlite3.Connection,
        batches: Sequence[EncodedBatch],
        rows: Sequence[ParameterRow],
        last_row: int,
        shift: int,
    ) -> tuple[list[CommitReceipt], set[int]]:
        """Receipts when some keys existed or came twice, and the numbers of the frames that said something new."""
        compared = compare_rows(connection, _COMPARE_READINGS, rows)
        if len(compared) != len(rows):
            raise sqlite3.IntegrityError("a reading's device, series or provenance is missing")
        outcomes = [0] * len(rows)  # 1 added, else as `Merged`
        taken: set[int] = set()
        for ordinal, row_id, is_known in sorted(compared):
            if row_id > last_row and row_id not in taken:
                taken.add(row_id)
                outcomes[ordinal] = 1
            elif not is_known:
                outcomes[ordinal] = merge_version(connection, row_id, rows[ordinal], shift).value
        receipts: list[CommitReceipt] = []
        wanted: set[int] = set()
        at = 0
        for batch in batches:
            mine = outcomes[at : at + len(batch.rows)]
            at += len(batch.rows)
            corrected = mine.count(Merged.CORRECTION.value) + mine.count(Merged.TIME.value)
            receipts.append(CommitReceipt(mine.count(1), corrected, mine.count(Merged.KNOWN.value)))
            is_wanted = (outcome in (1, Merged.CORRECTION.value) for outcome in mine)
            wanted.update(f for f, new in zip(batch.row_frames, is_wanted, strict=True) if new and f is not None)
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
        parameters = [
            (
                frame.number,
                self._origins.get(frame.origin) or self._origin(connection, frame.origin),
                frame.received_at,
                frame.payload,
                frame.digest,
            )
            for frame in frames
        ]
        execute_rows(connection, _INSERT_FRAMES, parameters, (shift,))

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
        row = (item.digest, origin, item.received_at, item.payload, item.reason, item.detail)
        connection.execute(_QUARANTINE, (*row, item.is_retained, item.qos))
        if known is not None:
            connection.execute(_REOPEN, (item.digest, item.received_at))
        return known is None


_RECEIPTS = tuple(CommitReceipt(added=count) for count in range(16))


def _all_added(count: int) -> CommitReceipt:
    return _RECEIPTS[count] if count < len(_RECEIPTS) else CommitReceipt(added=count)
