"""Which table layout and which way of writing, measured.

Run: python benchmarks/store_layout.py
Prints the Markdown tables kept in `benchmarks/results/store_layout.md`.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

__all__ = ["main"]

_PEOPLE = 20
_DAYS = 15
_START = 1_767_225_600_000_000
_MINUTE = 60_000_000
_BODY = (
    "digest INTEGER, utc_offset_min INTEGER, time_quality INTEGER, received_at INTEGER, provenance INTEGER, value TEXT,"
)
_BODY += " original_value TEXT, original_unit INTEGER, device_time INTEGER, extra TEXT, raw_id INTEGER"
_NAMES = (
    "row_id, series, record_key, person, effective_at, digest, utc_offset_min, time_quality, received_at, provenance,"
    " value, original_value, original_unit, device_time, extra, raw_id"
)
_WIDTH = 16
_HEAD = "series INTEGER, record_key TEXT, person INTEGER, effective_at INTEGER"

LAYOUTS = {
    "rowid table, index on identity, index on (person, series, time)": (
        f"CREATE TABLE reading (row_id INTEGER PRIMARY KEY, {_HEAD}, {_BODY});"
        "CREATE UNIQUE INDEX a ON reading (series, record_key);"
        "CREATE INDEX b ON reading (person, series, effective_at);"
    ),
    "clustered by identity, index on (person, series, time)": (
        f"CREATE TABLE reading (row_id INTEGER, {_HEAD}, {_BODY}, PRIMARY KEY (series, record_key)) WITHOUT ROWID;"
        "CREATE INDEX b ON reading (person, series, effective_at);"
        "CREATE UNIQUE INDEX c ON reading (row_id);"
    ),
    "clustered by (person, series, time, row), index on identity": (
        f"CREATE TABLE reading (row_id INTEGER, {_HEAD}, {_BODY},"
        " PRIMARY KEY (person, series, effective_at, row_id)) WITHOUT ROWID;"
        "CREATE UNIQUE INDEX a ON reading (series, record_key);"
        "CREATE UNIQUE INDEX c ON reading (row_id);"
    ),
}

Row = tuple[object, ...]
Writing = Callable[[sqlite3.Connection, list[Row]], None]


def rows() -> list[Row]:
    """Five-minute readings of 20 people over 15 days, interleaved as they would arrive."""
    made: list[Row] = []
    for slot in range(_DAYS * 288):
        at = _START + slot * 5 * _MINUTE
        for person in range(1, _PEOPLE + 1):
            value = str(60 + (slot * 7 + person) % 200)
            digest = hash((slot, person, "content")) & (2**63 - 1)
            head = (len(made) + 1, person, f"s1.{slot * 5}", person, at)
            made.append((*head, digest, 60, 0, at + 3_000_000, 1, value, value, 1, None, None, len(made) + 1))
    return made


def by_executemany(connection: sqlite3.Connection, part: list[Row]) -> None:
    """One row per step."""
    marks = ", ".join("?" * _WIDTH)
    sql = f"INSERT INTO reading ({_NAMES}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
    connection.executemany(sql, part)


def by_values(connection: sqlite3.Connection, part: list[Row]) -> None:
    """All rows in one statement's VALUES."""
    marks = ",".join([f"({','.join('?' * _WIDTH)})"] * len(part))
    sql = f"INSERT INTO reading ({_NAMES}) VALUES {marks} ON CONFLICT DO NOTHING"  # noqa: S608
    connection.execute(sql, list(chain.from_iterable(part)))


def by_json(connection: sqlite3.Connection, part: list[Row]) -> None:
    """All rows in one JSON parameter, taken apart by SQLite."""
    columns = ", ".join(f"value ->> {n}" for n in range(_WIDTH))
    sql = f"INSERT INTO reading ({_NAMES}) SELECT {columns} FROM json_each(?) WHERE true"  # noqa: S608
    connection.execute(sql + " ON CONFLICT (series, record_key) DO NOTHING", (json.dumps(part),))


def _open(path: Path, schema: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(schema)
    return connection


def _write(connection: sqlite3.Connection, data: list[Row], group: int, writing: Writing) -> float:
    """Rows per second, one transaction and fsync per group."""
    began = time.perf_counter()
    for at in range(0, len(data), group):
        connection.execute("BEGIN IMMEDIATE")
        writing(connection, data[at : at + group])
        connection.execute("COMMIT")
    return len(data) / (time.perf_counter() - began)


def _median_read_ms(connection: sqlite3.Connection) -> float:
    sql = f"SELECT {_NAMES} FROM reading WHERE person = ? AND series = ? AND effective_at >= ?"  # noqa: S608
    taken: list[float] = []
    for person in range(1, 8):
        began = time.perf_counter()
        found = connection.execute(
            sql + " AND effective_at < ? ORDER BY effective_at", (person, person, _START, _START + 14 * 1440 * _MINUTE)
        ).fetchall()
        taken.append((time.perf_counter() - began) * 1000)
        assert len(found) == 4032
    return sorted(taken)[len(taken) // 2]


def layouts(folder: Path, data: list[Row]) -> Iterable[str]:
    """The table of layouts."""
    yield "| layout | bytes/row | single/s | groups of 100, rows/s | groups of 512, rows/s | 14 days (4,032 rows) |"
    yield "|---|---|---|---|---|---|"
    for number, (name, schema) in enumerate(LAYOUTS.items()):
        connection = _open(folder / f"{number}.db", schema)
        single = _write(connection, data[:600], 1, by_values)
        hundred = _write(connection, data[600:30_600], 100, by_values)
        many = _write(connection, data[30_600:], 512, by_values)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        size = connection.execute("SELECT sum(pgsize - unused) FROM dbstat").fetchone()[0] / len(data)
        read = _median_read_ms(connection)
        yield f"| {name} | {size:.0f} | {single:,.0f} | {hundred:,.0f} | {many:,.0f} | {read:.1f} ms |"
        connection.close()


def _busy_rate(folder: Path, data: list[Row], writing: Writing) -> tuple[float, float]:
    """Rows per second beside a thread that never rests, and how many turns that thread made per second."""
    folder.mkdir()
    connection = _open(folder / "busy.db", next(iter(LAYOUTS.values())))
    _write(connection, data[:1024], 512, writing)
    rates: list[float] = []
    writer = threading.Thread(target=lambda: rates.append(_write(connection, data[1024:], 512, writing)))
    turns, began = 0, time.perf_counter()
    writer.start()
    while writer.is_alive():
        turns += 1
    seconds = time.perf_counter() - began
    writer.join()
    connection.close()
    return rates[0], turns / seconds


def ways(folder: Path, data: list[Row]) -> Iterable[str]:
    """The table of ways to write."""
    yield "| way of writing 512 rows | alone, rows/s | beside a busy thread, rows/s | turns of that thread, M/s |"
    yield "|---|---|---|---|"
    schema = next(iter(LAYOUTS.values()))
    count = 20_480
    for name, writing in (
        ("executemany", by_executemany),
        ("JSON parameter, one statement", by_json),
        ("many VALUES, one statement", by_values),
    ):
        connection = _open(folder / f"alone-{writing.__name__}.db", schema)
        alone = _write(connection, data[:count], 512, writing)
        connection.close()
        busy, turns = sorted(_busy_rate(folder / f"{name[:4]}{n}", data[:count], writing) for n in range(3))[1]
        yield f"| {name} | {alone:,.0f} | {busy:,.0f} | {turns / 1e6:.2f} |"


def main() -> None:
    """Entry point."""
    data = rows()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for table in (layouts, ways):
            for line in table(Path(folder), data):
                sys.stdout.write(line + "\n")
            sys.stdout.write("\n")


if __name__ == "__main__":
    main()
