"""`Attributions` over one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal

from gateway.adapters.stores.sqlite.audit import append_event
from gateway.adapters.stores.sqlite.codec import (
    METRIC_CODES,
    METRIC_OF_CODE,
    READING_COLUMNS,
    TIMING_CODES,
    compact,
    instant,
    micros,
    optional_instant,
)
from gateway.adapters.stores.sqlite.decoding import fetch_rows
from gateway.adapters.stores.sqlite.figures import person_number
from gateway.adapters.stores.sqlite.outbox_plan import disown, own_again
from gateway.adapters.stores.sqlite.queries import Names
from gateway.adapters.stores.sqlite.reader import Readers
from gateway.adapters.stores.sqlite.weigh_ins import DECIDED, apply_decision, enlist_record
from gateway.adapters.stores.sqlite.writer import Writer
from gateway.errors import PermanentError
from gateway.model import (
    AuditEvent,
    AuditKind,
    Decision,
    DecisionSource,
    DestinationId,
    DeviceId,
    Metric,
    PersonId,
    StoredReading,
    StoredWeighIn,
    TimeQuality,
    WeighInNumber,
    WeighInState,
)
from gateway.ports import PastMass

__all__ = ["SqliteAttributions"]

_SELECT = """
SELECT w.number, d.device_id, w.name, w.state, p.person_id, q.person_id, d.acquainted_at,
  a.number, a.state, b.person_id, a.decided_by, a.at, a.evidence
FROM weigh_in AS w JOIN device AS d ON d.id = w.device JOIN person AS p ON p.id = w.person
  JOIN person AS q ON q.id = w.profile_of
  LEFT JOIN attribution AS a ON a.number = (SELECT max(number) FROM attribution WHERE weigh_in = w.number)
  LEFT JOIN person AS b ON b.id = a.person
"""
_MEMBERS = f"""
SELECT {READING_COLUMNS} FROM reading WHERE row_id IN (
  SELECT row_id FROM weigh_in_reading WHERE weigh_in IN (SELECT value FROM json_each(?))
) ORDER BY row_id LIMIT -1
"""  # noqa: S608 - column names only
_FIRST_AT = (
    "SELECT min(r.effective_at) FROM weigh_in_reading m CROSS JOIN reading r ON r.row_id = m.row_id"
    " WHERE m.weigh_in = w.number"
)
_HAS_VALUE = (
    "EXISTS (SELECT 1 FROM weigh_in_reading m CROSS JOIN reading r ON r.row_id = m.row_id"
    " WHERE m.weigh_in = w.number AND r.value IS NOT NULL)"
)
_ASKS = f"d.is_by_evidence AND w.state IN ('new', 'waiting') AND {_HAS_VALUE}"
_UNTIMED = tuple(code for (quality, _), code in TIMING_CODES.items() if quality is TimeQuality.UNKNOWN)
_PAST = f"""
SELECT * FROM (
  SELECT r.effective_at AS at, r.utc_offset_min, r.value, (
    SELECT i.value FROM weigh_in_reading m CROSS JOIN weigh_in_reading n ON n.weigh_in = m.weigh_in
      CROSS JOIN reading i ON i.row_id = n.row_id CROSS JOIN series si ON si.id = i.series
    WHERE m.row_id = r.row_id AND si.metric = {METRIC_CODES[Metric.IMPEDANCE]} LIMIT 1
  ), coalesce((
    SELECT w.is_said FROM weigh_in_reading m CROSS JOIN weigh_in w ON w.number = m.weigh_in WHERE m.row_id = r.row_id
  ), 0)
  FROM reading r
  WHERE r.person = (SELECT id FROM person WHERE person_id = ?1) AND r.value IS NOT NULL
    AND r.series IN (SELECT id FROM series WHERE metric = {METRIC_CODES[Metric.BODY_MASS]})
    AND r.time_quality NOT IN ({", ".join(map(str, _UNTIMED))})
  ORDER BY r.effective_at DESC LIMIT ?2
) ORDER BY at
"""  # noqa: S608 - numbers of ours only


class SqliteAttributions:
    """See `gateway.ports.Attributions`."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def mark(self) -> tuple[int, int, int]:
        """The last decision, the last reading of a weigh-in, and how often one that is nobody's was corrected."""

        def read(connection: sqlite3.Connection) -> tuple[int, int, int]:
            decision, row, corrected = connection.execute(
                "SELECT coalesce((SELECT max(number) FROM attribution), 0),"
                " coalesce((SELECT max(row_id) FROM weigh_in_reading), 0), corrected FROM change"
            ).fetchone()
            return decision, row, corrected

        return await self._readers.run(read)

    async def undecided(
        self, state: WeighInState, *, limit: int = 500, settled: Collection[str] = (), skip: int = 0
    ) -> list[StoredWeighIn]:
        """Those that the evidence may still decide, oldest first."""
        where = (
            f"WHERE w.state = ?3 AND {_ASKS} AND NOT w.is_said"  # noqa: S608 - fixed texts only
            " AND coalesce(json_extract(a.evidence, '$.reasons[0]'), '') NOT IN (SELECT value FROM json_each(?2))"
            f" ORDER BY ({_FIRST_AT}), w.number LIMIT ?1 OFFSET ?4"
        )
        values = (limit, compact(list(settled)), state.value, skip)
        return await self._readers.run(lambda connection: _load(connection, where, values))

    async def waiting(self, *, limit: int = 100, device_id: DeviceId | None = None) -> list[StoredWeighIn]:
        """Those that ask a person, newest first."""
        where = f"WHERE {_ASKS} AND (?2 IS NULL OR d.device_id = ?2) ORDER BY ({_FIRST_AT}) DESC LIMIT ?1"
        return await self._readers.run(lambda connection: _load(connection, where, (limit, device_id)))

    async def waiting_count(self) -> int:
        """How many ask a person."""
        sql = f"SELECT count(*) FROM weigh_in AS w JOIN device AS d ON d.id = w.device WHERE {_ASKS}"  # noqa: S608
        return await self._readers.run(lambda connection: int(connection.execute(sql).fetchone()[0]))

    async def decided(self, *, limit: int = 50, before: int | None = None) -> list[StoredWeighIn]:
        """Those filed or set aside by a decision, the newest decision first."""
        where = (
            f"WHERE w.state IN {DECIDED} AND a.decided_by <> 'owner' AND a.number < coalesce(?2, 1 << 62)"
            " ORDER BY a.number DESC LIMIT ?1"
        )
        return await self._readers.run(lambda connection: _load(connection, where, (limit, before)))

    async def weigh_in(self, number: WeighInNumber) -> StoredWeighIn | None:
        """One of them, or None."""
        found = await self._readers.run(lambda connection: _load(connection, "WHERE w.number = ?", (number,)))
        return found[0] if found else None

    async def history(self, number: WeighInNumber) -> list[Decision]:
        """Every decision about it, oldest first."""

        def read(connection: sqlite3.Connection) -> list[Decision]:
            rows = connection.execute(
                "SELECT a.number, a.state, p.person_id, a.decided_by, a.at, a.evidence FROM attribution AS a"
                " JOIN person AS p ON p.id = a.person WHERE a.weigh_in = ? ORDER BY a.number",
                (number,),
            )
            return [_decision(row) for row in rows]

        return await self._readers.run(read)

    async def number_of(self, row_id: int) -> WeighInNumber:
        """The weigh-in of a stored reading. Raises PermanentError: no such reading."""

        def enlist(connection: sqlite3.Connection) -> WeighInNumber:
            try:
                return WeighInNumber(enlist_record(connection, row_id))
            except LookupError as error:
                raise PermanentError("no such reading") from error

        return await self._writer.run(enlist)

    async def past(self, person_id: PersonId, *, limit: int = 400) -> list[PastMass]:
        """The newest body masses of that person, ascending by time."""

        def read(connection: sqlite3.Connection) -> list[PastMass]:
            return [
                PastMass(instant(at), offset, Decimal(mass), None if ohm is None else Decimal(ohm), bool(is_said))
                for at, offset, mass, ohm, is_said in connection.execute(_PAST, (person_id, limit))
            ]

        return await self._readers.run(read)

    async def decide(
        self,
        number: WeighInNumber,
        decision: Decision,
        *,
        profile_of: PersonId | None = None,
        identities: Mapping[PersonId, Sequence[str]] | None = None,
    ) -> bool:
        """File it, set it aside or let it wait, with every consequence, in one transaction."""
        return await self._writer.run(
            lambda connection: _decide(connection, number, decision, profile_of, identities or {})
        )


_DecisionRow = tuple[int, str, str, str, int, str]


def _decision(row: _DecisionRow) -> Decision:
    number, state, person, by, at, evidence = row
    return Decision(
        WeighInState(state),
        PersonId(person) if person else None,
        DecisionSource(by),
        instant(at),
        json.loads(evidence),
        number,
    )


def _load(connection: sqlite3.Connection, where: str, parameters: Iterable[object]) -> list[StoredWeighIn]:
    rows = connection.execute(_SELECT + where, tuple(parameters)).fetchall()
    numbers = [row[0] for row in rows]
    members: dict[int, list[StoredReading]] = {number: [] for number in numbers}
    of = dict(
        connection.execute(
            "SELECT row_id, weigh_in FROM weigh_in_reading WHERE weigh_in IN (SELECT value FROM json_each(?))",
            (compact(numbers),),
        ).fetchall()
    )
    for stored in Names.load(connection).decode(fetch_rows(connection, _MEMBERS, (compact(numbers),))):
        members[of[stored.row_id]].append(stored)
    return [
        StoredWeighIn(
            WeighInNumber(number),
            DeviceId(device),
            name,
            WeighInState(state),
            PersonId(person) if person else None,
            PersonId(profile_of) if profile_of else None,
            tuple(members[number]),
            None if row[7] is None else _decision(row[7:]),
            optional_instant(since),
        )
        for row in rows
        for number, device, name, state, person, profile_of, since in [row[:7]]
    ]


def _decide(
    connection: sqlite3.Connection,
    number: WeighInNumber,
    decision: Decision,
    profile_of: PersonId | None,
    identities: Mapping[PersonId, Sequence[str]],
) -> bool:
    found = connection.execute(
        "SELECT w.state, w.person, w.is_said, p.person_id, d.device_id,"
        " (SELECT evidence FROM attribution WHERE weigh_in = w.number ORDER BY number DESC LIMIT 1),"
        " (SELECT max(number) FROM attribution WHERE weigh_in = w.number)"
        " FROM weigh_in w JOIN person p ON p.id = w.person JOIN device d ON d.id = w.device WHERE w.number = ?",
        (number,),
    ).fetchone()
    if found is None:
        raise PermanentError("there is no such weigh-in")
    state, was, is_said, former, device_id, last_evidence, last = found
    if decision.evidence.get("undoes", last) != last:
        return False
    becomes = 0 if decision.person_id is None else person_number(connection, decision.person_id)
    if (becomes != 0) != (decision.state is WeighInState.FILED) or decision.state is WeighInState.NEW:
        raise PermanentError("what is filed is somebody's, and nothing else is")
    evidence = compact(dict(decision.evidence))
    is_same = state == decision.state and was == becomes
    if decision.by.is_person:
        if is_same and is_said:
            return False
    elif is_said or state in {"filed", "set_aside"} or (is_same and evidence == last_evidence):
        return False
    connection.execute(
        "INSERT INTO attribution (weigh_in, state, person, decided_by, evidence, at) VALUES (?, ?, ?, ?, ?, ?)",
        (number, decision.state.value, becomes, decision.by.value, evidence, micros(decision.at)),
    )
    profile = 0 if profile_of is None else person_number(connection, profile_of)
    connection.execute(
        "UPDATE weigh_in SET state = ?, person = ?, is_said = ?,"
        " profile_of = CASE profile_of WHEN 0 THEN ? ELSE profile_of END WHERE number = ?",
        (decision.state.value, becomes, decision.by.is_person, profile, number),
    )
    apply_decision(connection, number)
    if not is_same:
        for person_id, theirs in identities.items():
            if person_id == decision.person_id:
                own_again(connection, theirs)
            else:
                disown(connection, theirs, decision.at)
        _record(connection, number, device_id, PersonId(former), decision)
    return True


def _record(connection: sqlite3.Connection, number: int, device_id: str, former: PersonId, decision: Decision) -> None:
    """The audit events of one decision; an inbox that fills is no event."""
    who = "evidence" if not decision.by.is_person else "a person"
    what = f"weigh-in {number} of {device_id}, by {who}"
    (metric,) = connection.execute(
        "SELECT s.metric FROM weigh_in_reading m CROSS JOIN reading r ON r.row_id = m.row_id"
        " CROSS JOIN series s ON s.id = r.series WHERE m.weigh_in = ? ORDER BY m.row_id LIMIT 1",
        (number,),
    ).fetchone()
    data_type = METRIC_OF_CODE[metric].info.data_type
    events: list[tuple[AuditKind, PersonId, str]] = []
    new = decision.person_id
    if new is not None and former:
        events = [
            (AuditKind.REATTRIBUTED, former, f"{what}: given away"),
            (AuditKind.REATTRIBUTED, new, f"{what}: taken over"),
        ]
    elif new is not None:
        events = [(AuditKind.ATTRIBUTED, new, what)]
    elif former:
        words = "not theirs" if decision.state is WeighInState.SET_ASIDE else "open again"
        events = [(AuditKind.SET_ASIDE, former, f"{what}: {words}")]
    elif decision.state is WeighInState.SET_ASIDE:
        events = [(AuditKind.SET_ASIDE, PersonId(""), f"{what}: nobody's of this house")]
    for kind, person_id, detail in events:
        append_event(connection, AuditEvent(decision.at, kind, person_id, data_type, DestinationId(""), None, detail))
