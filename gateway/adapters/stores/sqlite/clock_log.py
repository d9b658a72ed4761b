"""`ClockLog` over one SQLite file: boots, and history that was received by a clock that was wrong.

`clock_session` has a row per boot, and one without a name that holds the newest instant noted while the clock was
believed. A spell of a boot covers the rows that were received between its first and its last instant; where the clock
was ahead, only those that were there when it ended: later ones may honestly say the same instants.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo

from gateway.adapters.stores.sqlite.codec import (
    TIMING_CODES,
    compact,
    instant,
    micros,
    optional_instant,
)
from gateway.adapters.stores.sqlite.reader import Readers
from gateway.adapters.stores.sqlite.writer import Writer
from gateway.model import (
    ClockSession,
    DeviceId,
    RepairedHistory,
    TimeMethod,
    TimeQuality,
    UntrustedSpell,
)
from gateway.normalise.times import FUTURE_TOLERANCE, offset_min

__all__ = ["REPAIRED_FACT", "SqliteClockLog"]

REPAIRED_FACT = "clock.repaired"
"""Name of the fact that a device's readings have got their instants by a repair of the gateway's clock."""

_NOBODY = ""
_TIMING_OF_CODE = {code: timing for timing, code in TIMING_CODES.items()}
_KEEP = "INSERT INTO clock_session VALUES (?, ?) ON CONFLICT (boot_id) DO UPDATE SET state = excluded.state"
_LAST_NUMBERS = """
SELECT coalesce((SELECT max(row_id) FROM reading), 0), coalesce((SELECT max(raw_id) FROM frame), 0),
  coalesce((SELECT max(id) FROM quarantine), 0)
"""
_NEWEST = """
SELECT max(coalesce((SELECT max(received_at) FROM frame), -1), coalesce((SELECT max(received_at) FROM quarantine), -1),
  coalesce((SELECT max(received_at) FROM (SELECT received_at FROM reading ORDER BY row_id DESC LIMIT 1000)), -1))
"""
_READINGS = """
SELECT r.row_id, d.device_id, r.received_at, r.effective_at, r.time_quality FROM reading r
JOIN series s ON s.id = r.series JOIN device d ON d.id = s.device
WHERE r.received_at BETWEEN ? AND ? AND r.row_id <= ?
"""
_REVISIONS = """
SELECT v.row_id, v.digest, d.device_id, v.received_at, v.effective_at, v.time_quality FROM revision v
JOIN reading r ON r.row_id = v.row_id JOIN series s ON s.id = r.series JOIN device d ON d.id = s.device
WHERE v.received_at BETWEEN ? AND ? AND r.row_id <= ?
"""
_SET = "SET received_at = ?, effective_at = ?, utc_offset_min = ?, time_quality = ?"
_OTHERS = (
    "UPDATE device SET last_heard_at = last_heard_at + :step WHERE last_heard_at BETWEEN :first AND :last",
    "UPDATE device SET acquainted_at = acquainted_at + :step WHERE acquainted_at BETWEEN :first AND :last",
    "UPDATE document SET received_at = received_at + :step, dated_at = dated_at + iif(dated_at = received_at, :step, 0)"
    " WHERE received_at BETWEEN :first AND :last",
    "UPDATE document SET modified_at = modified_at + :step WHERE modified_at BETWEEN :first AND :last",
    "UPDATE enrolment SET enrolled_at = enrolled_at + :step WHERE enrolled_at BETWEEN :first AND :last",
    "UPDATE OR IGNORE outage SET began_at = began_at + :step WHERE began_at BETWEEN :first AND :last",
    "UPDATE outage SET ended_at = ended_at + :step WHERE ended_at BETWEEN :first AND :last",
)


class SqliteClockLog:
    """See `gateway.ports.ClockLog`."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def sessions(self) -> list[ClockSession]:
        """What is kept of every boot, by its name."""

        def read(connection: sqlite3.Connection) -> list[tuple[str, str]]:
            return connection.execute(
                "SELECT boot_id, state FROM clock_session WHERE boot_id <> ? ORDER BY boot_id", (_NOBODY,)
            ).fetchall()

        return [_session(boot_id, state) for boot_id, state in await self._readers.run(read)]

    async def keep(self, session: ClockSession) -> None:
        """Replace what is kept of that boot; a spell whose error is known already keeps it.

        Two processes may know the same spell: who ends it second must not have its history moved again.
        """

        def write(connection: sqlite3.Connection) -> None:
            state: dict[str, object] = {"was_synchronised": session.was_synchronised}
            spell = session.spell
            row = connection.execute("SELECT state FROM clock_session WHERE boot_id = ?", (session.boot_id,)).fetchone()
            known = None if row is None else _session(session.boot_id, row[0]).spell
            if spell is not None and known is not None and known.step_us is not None and known.is_same(spell):
                state = json.loads(row[0])
                state["was_synchronised"] = state["was_synchronised"] or session.was_synchronised
            elif spell is not None:
                state["spell"] = [spell.base_us, spell.began_us, spell.ended_us, spell.step_us, spell.is_repaired]
                if spell.waits:
                    state["rows"] = list(connection.execute(_LAST_NUMBERS).fetchone())
            connection.execute(_KEEP, (session.boot_id, compact(state)))

        await self._writer.run(write)

    async def floor(self) -> datetime | None:
        """The newest instant noted while the clock was believed."""

        def read(connection: sqlite3.Connection) -> int | None:
            row = connection.execute("SELECT state FROM clock_session WHERE boot_id = ?", (_NOBODY,)).fetchone()
            return None if row is None else int(row[0])

        return optional_instant(await self._readers.run(read))

    async def note(self, instant: datetime) -> None:
        """Replace that instant."""
        await self._writer.run(lambda connection: connection.execute(_KEEP, (_NOBODY, str(micros(instant)))).rowcount)

    async def newest_reception(self) -> datetime | None:
        """When the newest payload or reading was received."""
        newest = await self._readers.run(lambda connection: int(connection.execute(_NEWEST).fetchone()[0]))
        return None if newest < 0 else instant(newest)

    async def repair(self, boot_id: str, zone_of: Callable[[DeviceId], tzinfo]) -> RepairedHistory | None:
        """Move what was received during that boot's spell, once."""
        return await self._writer.run(lambda connection: _repair(connection, boot_id, zone_of))

    async def shift_schedule(self, step: timedelta) -> int:
        """What waits in the outbox keeps its distance from now."""

        def shift(connection: sqlite3.Connection) -> int:
            moved = step // timedelta(microseconds=1)
            rows = connection.execute(
                "UPDATE outbox SET leased_until = leased_until + ? WHERE state = 'leased'", (moved,)
            ).rowcount
            if moved >= 0:
                return rows
            return connection.execute(
                "UPDATE outbox SET not_before = not_before + ? WHERE state IN ('pending', 'unknown', 'leased')",
                (moved,),
            ).rowcount

        return await self._writer.run(shift)


def _session(boot_id: str, text: str) -> ClockSession:
    state = json.loads(text)
    spell = state.get("spell")
    return ClockSession(boot_id, state["was_synchronised"], None if spell is None else UntrustedSpell(*spell))


def _repair(
    connection: sqlite3.Connection, boot_id: str, zone_of: Callable[[DeviceId], tzinfo]
) -> RepairedHistory | None:
    row = connection.execute("SELECT state FROM clock_session WHERE boot_id = ?", (boot_id,)).fetchone()
    spell = None if row is None else _session(boot_id, row[0]).spell
    if spell is None or spell.step_us is None or spell.is_repaired:
        return None
    state = json.loads(row[0])
    step = spell.step_us
    rows = state["rows"] if step <= 0 else [2**62] * 3
    first, last = micros(spell.first), micros(spell.last)
    touched: dict[str, list[int]] = {}
    moves: list[tuple[int, int, int, int, int]] = []
    for row_id, device, received_at, effective_at, timing in connection.execute(_READINGS, (first, last, rows[0])):
        moved, is_placed = _moved(received_at, effective_at, timing, step, zone_of(DeviceId(device)))
        moves.append((*moved, row_id))
        counts = touched.setdefault(device, [0, 0])
        counts[0] += 1
        counts[1] += is_placed
    revisions = [
        (*_moved(received_at, effective_at, timing, step, zone_of(DeviceId(device)))[0], row_id, digest)
        for row_id, digest, device, received_at, effective_at, timing in connection.execute(
            _REVISIONS, (first, last, rows[0])
        )
    ]
    connection.executemany(f"UPDATE reading {_SET} WHERE row_id = ?", moves)
    connection.executemany(f"UPDATE revision {_SET} WHERE row_id = ? AND digest = ?", revisions)
    payloads = 0
    for table, number, most in (("frame", "raw_id", rows[1]), ("quarantine", "id", rows[2])):
        payloads += connection.execute(
            f"UPDATE {table} SET received_at = received_at + ?"  # noqa: S608 - fixed names
            f" WHERE received_at BETWEEN ? AND ? AND {number} <= ?",
            (step, first, last, most),
        ).rowcount
    for statement in _OTHERS:
        connection.execute(statement, {"step": step, "first": first, "last": last})
    for device, (count, placed) in touched.items():
        fact = {"step_s": round(step / 1_000_000), "readings": count, "placed": placed, "why": "clock_was_wrong"}
        connection.execute(
            "INSERT INTO checkpoint (device, name, state) SELECT id, ?, ? FROM device WHERE device_id = ?"
            " ON CONFLICT (device, name) DO UPDATE SET state = excluded.state",
            (REPAIRED_FACT, compact(fact), device),
        )
    state["spell"][-1] = True
    connection.execute(_KEEP, (boot_id, compact(state)))
    return RepairedHistory(len(moves), sum(placed for _, placed in touched.values()), payloads)


def _moved(
    received_at: int, effective_at: int, timing: int, step: int, zone: tzinfo
) -> tuple[tuple[int, int, int, int], bool]:
    """Reception, instant, offset and timing as they are by the right clock; whether that gave the instant."""
    quality, method = _TIMING_OF_CODE[timing]
    is_at_reception = effective_at == received_at
    received_at += step
    is_placed = is_at_reception and method is TimeMethod.RECEPTION
    if is_placed:
        effective_at, timing = received_at, TIMING_CODES[TimeQuality.RECEIVED, TimeMethod.RECEPTION_REPAIRED]
    elif quality is TimeQuality.UNKNOWN:
        effective_at = received_at
    elif effective_at > received_at + FUTURE_TOLERANCE // timedelta(microseconds=1):  # nobody could tell it then
        effective_at, timing = received_at, TIMING_CODES[TimeQuality.UNKNOWN, TimeMethod.NOTHING]
    return (received_at, effective_at, offset_min(instant(effective_at), zone), timing), is_placed
