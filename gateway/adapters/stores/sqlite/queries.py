"""Reading statements over readings; every function runs inside one snapshot.

Readings are found through the index (person, series, effective_at). A query first learns which (person, series) pairs
exist, by jumping through that index, then walks each pair in time order.

A withdrawal that withdrew nothing is not given out. A source that takes a record back does not say which values it had,
so its decoder withdraws every metric that the record can have. Where there was none, the row is the memory of the
withdrawal: should the measurement still come, told before it but committed after it (out of the quarantine), then the
withdrawal is the newer word. Until then there is nothing to show.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from gateway.adapters.stores.sqlite.codec import (
    METRIC_CODES,
    METRIC_OF_CODE,
    READING_COLUMNS,
    ReadingRow,
    Series,
)
from gateway.adapters.stores.sqlite.decoding import decode_provenance, decode_readings, fetch_rows
from gateway.model import DeviceId, Metric, PersonId, Provenance, StoredReading

__all__ = [
    "Names",
    "changed_readings",
    "former_owners",
    "last_reception",
    "latest_readings",
    "read_range",
    "readings_by_row",
    "readings_recorded_as",
    "readings_to_plan",
]

_PAIRS = """
WITH RECURSIVE pair (person, series) AS (
  SELECT id, (SELECT min(series) FROM reading WHERE person = person.id)
    FROM person WHERE :person_id IS NULL OR person_id = :person_id
  UNION ALL
  SELECT person, (SELECT min(r.series) FROM reading r WHERE r.person = pair.person AND r.series > pair.series)
    FROM pair WHERE series IS NOT NULL
)
SELECT person, series FROM pair WHERE series IS NOT NULL ORDER BY person, series
"""

_IS_TOLD = """(value IS NOT NULL OR extra IS NULL OR substr(extra, 2, 20) <> '"absent":"withdrawn"'
  OR EXISTS (SELECT 1 FROM revision WHERE revision.row_id = reading.row_id))"""

_RANGE = f"""
SELECT {READING_COLUMNS} FROM reading
WHERE person = ? AND series = ? AND effective_at >= ? AND effective_at < ? AND {_IS_TOLD}
ORDER BY effective_at {{order}}, row_id {{order}} LIMIT ?
"""  # noqa: S608 - column names only
_ASCENDING, _DESCENDING = _RANGE.format(order="ASC"), _RANGE.format(order="DESC")

_BY_ROW = f"""
SELECT {READING_COLUMNS} FROM reading
WHERE row_id > :after AND row_id <= :last AND (:person IS NULL OR +person = :person)
  AND (:metrics IS NULL OR (SELECT metric FROM series WHERE id = reading.series)
    IN (SELECT value FROM json_each(:metrics)))
  AND {_IS_TOLD}
ORDER BY row_id LIMIT :chunk
"""  # noqa: S608 - column names only

_TO_PLAN = f"""
SELECT {READING_COLUMNS} FROM reading
WHERE row_id IN (SELECT row_id FROM unplanned WHERE row_id > ? ORDER BY row_id LIMIT ?)
ORDER BY row_id LIMIT -1
"""  # noqa: S608 - column names only

_CHANGED = f"""
SELECT {READING_COLUMNS} FROM reading
WHERE person = ? AND series = ? AND received_at > ? AND received_at <= ?
ORDER BY received_at, row_id LIMIT -1
"""  # noqa: S608 - column names only
_RECORDED = f"""
SELECT {READING_COLUMNS} FROM reading WHERE series = ? AND record_key = ? AND person = ? LIMIT 1
"""  # noqa: S608 - column names only
_RECEPTIONS = """
SELECT received_at FROM reading WHERE person = ? AND series = ? AND received_at > ? ORDER BY received_at LIMIT ?
"""
_LAST_RECEPTION = "SELECT max(received_at) FROM reading WHERE person = ? AND series = ?"

_LEAST, _GREATEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Names:
    """What the numbers in a reading's row stand for, as of one snapshot."""

    series: dict[int, Series]
    people: dict[int, PersonId]
    provenances: dict[int, Provenance]

    @classmethod
    def load(cls, connection: sqlite3.Connection) -> Names:
        """Read the three small tables."""
        series = connection.execute(
            "SELECT s.id, d.device_id, s.epoch, s.metric FROM series s JOIN device d ON d.id = s.device"
        )
        return cls(
            {number: (DeviceId(device), epoch, METRIC_OF_CODE[metric]) for number, device, epoch, metric in series},
            {number: PersonId(name) for number, name in connection.execute("SELECT id, person_id FROM person")},
            {number: decode_provenance(text) for number, text in connection.execute("SELECT id, text FROM provenance")},
        )

    def decode(self, rows: Iterable[ReadingRow]) -> list[StoredReading]:
        """The readings of these rows."""
        return decode_readings(rows, self.series, self.people, self.provenances)


def _pairs(
    connection: sqlite3.Connection,
    names: Names,
    person_id: PersonId | None,
    device_id: DeviceId | None,
    metrics: Collection[Metric] | None,
) -> Iterator[tuple[int, int]]:
    for person, number in connection.execute(_PAIRS, {"person_id": person_id}).fetchall():
        device, _, metric = names.series[number]
        if (device_id is None or device == device_id) and (metrics is None or metric in metrics):
            yield person, number


def read_range(
    connection: sqlite3.Connection,
    *,
    person_id: PersonId | None,
    device_id: DeviceId | None,
    metrics: Collection[Metric] | None,
    start: int | None,
    end: int | None,
    newest_first: bool,
    limit: int | None,
) -> list[StoredReading]:
    """Readings with start <= effective_at < end (microseconds) in time order; equal times in order of commit."""
    if person_id == "":
        return []
    names = Names.load(connection)
    low, high = _LEAST if start is None else start, _GREATEST if end is None else end
    most = -1 if limit is None else max(limit, 0)
    sql = _DESCENDING if newest_first else _ASCENDING
    pairs = list(_pairs(connection, names, person_id, device_id, metrics))
    rows: list[ReadingRow] = []
    for person, number in pairs:
        rows += fetch_rows(connection, sql, (person, number, low, high, most))
    if len(pairs) > 1:
        rows.sort(key=lambda row: (row[4], row[0]), reverse=newest_first)
    return names.decode(rows if limit is None else rows[:most])


def latest_readings(connection: sqlite3.Connection, person_id: PersonId | None) -> list[StoredReading]:
    """The newest reading of each (person, device, metric), ordered by them."""
    names = Names.load(connection)
    newest: dict[tuple[str, DeviceId, Metric], ReadingRow] = {}
    for person, number in _pairs(connection, names, person_id, None, None):
        device, _, metric = names.series[number]
        key = (names.people[person], device, metric)
        for row in fetch_rows(connection, _DESCENDING, (person, number, _LEAST, _GREATEST, 1)):
            if key not in newest or (newest[key][4], newest[key][0]) < (row[4], row[0]):
                newest[key] = row
    return names.decode(newest[key] for key in sorted(newest))


def changed_readings(
    connection: sqlite3.Connection, person_id: PersonId, metrics: Collection[Metric], after: int, limit: int
) -> list[StoredReading]:
    """Readings whose current version was received after `after` (microseconds), in that order.

    More than `limit` where several came at the same instant as the last.
    """
    names = Names.load(connection)
    pairs = list(_pairs(connection, names, person_id, None, metrics))
    receptions = sorted(
        at for pair in pairs for (at,) in connection.execute(_RECEPTIONS, (*pair, after, max(limit, 1)))
    )[: max(limit, 1)]
    if not receptions:
        return []
    rows = [row for pair in pairs for row in fetch_rows(connection, _CHANGED, (*pair, after, receptions[-1]))]
    return sorted(names.decode(rows), key=lambda stored: (stored.reading.received_at, stored.row_id))


def readings_recorded_as(
    connection: sqlite3.Connection, person_id: PersonId, record_key: str, metrics: Collection[Metric]
) -> list[StoredReading]:
    """Readings of one person with that record key, of whichever device and epoch."""
    names = Names.load(connection)
    pairs = list(_pairs(connection, names, person_id, None, metrics))
    rows = [row for person, number in pairs for row in fetch_rows(connection, _RECORDED, (number, record_key, person))]
    return names.decode(rows)


def last_reception(connection: sqlite3.Connection, person_id: PersonId, metrics: Collection[Metric]) -> int | None:
    """When the newest current version of these readings was received (microseconds); None: there are none."""
    names = Names.load(connection)
    found = [
        connection.execute(_LAST_RECEPTION, pair).fetchone()[0]
        for pair in _pairs(connection, names, person_id, None, metrics)
    ]
    return max(found, default=None)


def readings_by_row(
    connection: sqlite3.Connection,
    *,
    person_id: PersonId | None,
    metrics: Collection[Metric] | None,
    after: int,
    last: int,
    chunk: int,
) -> list[StoredReading]:
    """The next readings with after < row id <= last, in order of commit."""
    names = Names.load(connection)
    person: int | None = None
    if person_id is not None:
        found = [number for number, name in names.people.items() if name == person_id and number]
        if not found:
            return []
        person = found[0]
    codes = None if metrics is None else f"[{','.join(str(METRIC_CODES[metric]) for metric in metrics)}]"
    values = {"after": after, "last": last, "person": person, "metrics": codes, "chunk": chunk}
    return names.decode(fetch_rows(connection, _BY_ROW, values))


def former_owners(connection: sqlite3.Connection, rows: Collection[int]) -> dict[int, tuple[PersonId, ...]]:
    """Whose the readings in these rows were before."""
    found: dict[int, tuple[PersonId, ...]] = {}
    for row_id, person in connection.execute(
        "SELECT f.row_id, p.person_id FROM former_owner AS f JOIN person AS p ON p.id = f.person"
        " WHERE f.row_id IN (SELECT value FROM json_each(?)) ORDER BY f.row_id, p.person_id",
        (f"[{','.join(map(str, rows))}]",),
    ):
        found[row_id] = (*found.get(row_id, ()), PersonId(person))
    return found


def readings_to_plan(connection: sqlite3.Connection, limit: int, after: int = 0) -> tuple[list[StoredReading], int]:
    """Unplanned readings with row id > `after` in order of commit, and the newest mark of this snapshot."""
    names = Names.load(connection)
    mark = int(connection.execute("SELECT last FROM change").fetchone()[0])
    return names.decode(fetch_rows(connection, _TO_PLAN, (after, limit))), mark
