"""The outbox: what should leave, leased row by row behind the consent gate, settled and audited.

Every function that changes something runs inside a write transaction, so that consent, state and audit event are
decided together, whatever other processes do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import datetime, timedelta

import structlog

from gateway.adapters.stores.sqlite.audit import append_event
from gateway.adapters.stores.sqlite.codec import compact, instant, micros, optional_instant, optional_micros
from gateway.adapters.stores.sqlite.consents import ConsentGate, record_withdrawal
from gateway.adapters.stores.sqlite.outbox_plan import RETRACTED
from gateway.errors import PermanentError
from gateway.model import (
    AuditEvent,
    AuditKind,
    Correction,
    DataType,
    Departure,
    DepartureDraft,
    DepartureState,
    DestinationId,
    OutboxId,
    PersonId,
)

__all__ = [
    "corrected",
    "corrections",
    "departure_counts",
    "departures",
    "latest_effective",
    "lease",
    "next_due",
    "settle",
    "withdraw",
]

log = structlog.get_logger()

_SELECT = (
    "SELECT o.outbox_id, o.identity, p.person_id, o.data_type, o.destination_id, o.kind, o.effective_at, o.resource,"
    " o.state, o.attempts, o.created_at, o.not_before, o.reason, o.remote_id, o.decided_at,"
    " o.correction"
    " FROM outbox o JOIN person p ON p.id = o.person"
)
_Row = tuple[int, str, str, str, str, str, int, str, str, int, int, int, str | None, str | None, int | None, str | None]
_NOT_LEFT_ALONE = (
    "p.person_id NOT IN (SELECT value FROM json_each(?))"
    " AND NOT EXISTS (SELECT 1 FROM consent c WHERE c.person = o.person AND c.data_type = o.data_type"
    " AND c.destination_id = o.destination_id AND c.withdrawn_at IS NULL AND c.granted_at > ?)"
)
_CHUNK = 100

_AUDITED = {
    DepartureState.DONE: AuditKind.DEPARTED,
    DepartureState.REJECTED: AuditKind.REJECTED,
    DepartureState.UNKNOWN: AuditKind.UNCERTAIN,
    DepartureState.CANCELLED: AuditKind.REFUSED,
}
_OPEN = (Correction.REMOVE, Correction.ADD)
_FINAL = frozenset({DepartureState.DONE, DepartureState.REJECTED, DepartureState.CANCELLED})


def _departure(row: _Row, state: DepartureState | None = None) -> Departure:
    draft = DepartureDraft(
        identity=row[1],
        person_id=PersonId(row[2]),
        data_type=DataType(row[3]),
        destination_id=DestinationId(row[4]),
        kind=row[5],
        effective_at=instant(row[6]),
        resource=row[7],
    )
    return Departure(
        outbox_id=OutboxId(row[0]),
        draft=draft,
        state=state or DepartureState(row[8]),
        attempts=row[9],
        created_at=instant(row[10]),
        not_before=instant(row[11]),
        reason=row[12],
        remote_id=row[13],
        decided_at=optional_instant(row[14]),
        correction=None if row[15] is None else Correction(row[15]),
    )


def _audit(connection: sqlite3.Connection, departure: Departure, kind: AuditKind, at: datetime, detail: str) -> None:
    draft = departure.draft
    event = AuditEvent(at, kind, draft.person_id, draft.data_type, draft.destination_id, departure.outbox_id, detail)
    append_event(connection, event)


def lease(
    connection: sqlite3.Connection,
    destination_id: DestinationId,
    at: datetime,
    *,
    lease_s: float,
    limit: int,
    excluded: Collection[PersonId] = (),
) -> list[Departure]:
    """Take due rows: unknown ones first (state UNKNOWN: read back), then pending ones (state LEASED: send).

    Untouched stay rows of `excluded` people, and those whose consent begins later: the clock went back behind it.
    """
    _expire(connection, destination_id, at)
    gate = ConsentGate(connection)
    until = micros(at + timedelta(seconds=lease_s))
    taken: list[Departure] = []
    for state in (DepartureState.UNKNOWN, DepartureState.PENDING):
        while len(taken) < limit:
            due = connection.execute(
                f"{_SELECT} WHERE o.destination_id = ? AND o.state = ? AND o.not_before <= ? AND {_NOT_LEFT_ALONE}"
                " ORDER BY o.not_before, o.outbox_id LIMIT ?",
                (
                    destination_id,
                    state.value,
                    micros(at),
                    compact(sorted(excluded)),
                    micros(at),
                    min(_CHUNK, limit - len(taken)),
                ),
            ).fetchall()
            if not due:
                break
            for row in due:
                departure = _departure(row)
                if not _refused(connection, gate, departure, at):
                    taken.append(_take(connection, row, state, until))
    return taken


def _take(connection: sqlite3.Connection, row: _Row, state: DepartureState, until: int) -> Departure:
    is_read_back = state is DepartureState.UNKNOWN
    attempts = row[9] if is_read_back else row[9] + 1
    connection.execute(
        "UPDATE outbox SET state = 'leased', leased_until = ?, is_read_back = ?, attempts = ? WHERE outbox_id = ?",
        (until, is_read_back, attempts, row[0]),
    )
    return _departure((*row[:9], attempts, *row[10:]), state if is_read_back else DepartureState.LEASED)


def _expire(connection: sqlite3.Connection, destination_id: DestinationId, at: datetime) -> None:
    """Leases that ran out: nobody knows what became of them."""
    expired = connection.execute(
        f"{_SELECT} WHERE o.destination_id = ? AND o.state = 'leased' AND o.leased_until <= ? ORDER BY o.outbox_id",
        (destination_id, micros(at)),
    ).fetchall()
    for row in expired:
        reason = "the lease ran out"
        was_sending = connection.execute(
            "UPDATE outbox SET state = 'unknown', leased_until = NULL, reason = ? WHERE outbox_id = ?"
            " RETURNING is_read_back = 0",
            (reason, row[0]),
        ).fetchone()[0]
        if was_sending:
            _audit(connection, _departure(row), AuditKind.UNCERTAIN, at, f"{row[5]}: {reason}")


def _refused(connection: sqlite3.Connection, gate: ConsentGate, departure: Departure, at: datetime) -> bool:
    draft = departure.draft
    reason = gate.refusal(
        draft.person_id, draft.data_type, draft.destination_id, effective_at=draft.effective_at, at=at
    )
    if reason is None:
        return False
    if departure.state is DepartureState.UNKNOWN:
        reason += "; whether an earlier attempt arrived is not known"
    _cancel(connection, departure, at, reason)
    return True


def _cancel(connection: sqlite3.Connection, departure: Departure, at: datetime, reason: str) -> None:
    """For want of consent. `is_read_back` remembers that the row was unknown, should it ever come back; nobody reads it
    back any more, so what is somebody else's is to be looked for."""
    connection.execute(
        "UPDATE outbox SET state = 'cancelled', leased_until = NULL, is_read_back = ?, reason = ?, decided_at = ?,"
        " correction = CASE correction WHEN ? THEN ? ELSE correction END WHERE outbox_id = ?",
        (
            departure.state is DepartureState.UNKNOWN,
            reason,
            micros(at),
            Correction.IF_ARRIVED.value,
            Correction.REMOVE.value,
            departure.outbox_id,
        ),
    )
    _audit(connection, departure, AuditKind.REFUSED, at, f"{departure.draft.kind}: {reason}")


def withdraw(
    connection: sqlite3.Connection,
    person_id: PersonId,
    data_type: DataType,
    destination_id: DestinationId,
    at: datetime,
) -> int:
    """Withdraw the consent and cancel what is pending under it; returns how many rows that were."""
    record_withdrawal(connection, person_id, data_type, destination_id, at)
    pending = connection.execute(
        f"{_SELECT} WHERE p.person_id = ? AND o.data_type = ? AND o.destination_id = ? AND o.state = 'pending'"
        " ORDER BY o.outbox_id",
        (person_id, data_type.value, destination_id),
    ).fetchall()
    for row in pending:
        _cancel(connection, _departure(row), at, "consent withdrawn")
    return len(pending)


def settle(
    connection: sqlite3.Connection,
    outbox_id: OutboxId,
    state: DepartureState,
    at: datetime,
    *,
    reason: str | None = None,
    remote_id: str | None = None,
    not_before: datetime | None = None,
    began_at: datetime | None = None,
) -> None:
    """End a lease and audit it.

    A late answer counts: a row that meanwhile became unknown or pending takes it. A decided row stays as it is, but for
    one that was cancelled and is now known to have arrived: that becomes done. A row that is to be sent again takes the
    correction that waited beside it.

    Raises:
        PermanentError: no such row.
        ValueError: `state` is LEASED.
    """
    if state is DepartureState.LEASED:
        raise ValueError("a lease does not end in a lease")
    row = connection.execute(f"{_SELECT} WHERE o.outbox_id = ?", (outbox_id,)).fetchone()
    if row is None:
        raise PermanentError("the outbox has no such row")
    departure = _departure(row)
    arrived_after_all = departure.state is DepartureState.CANCELLED and state is DepartureState.DONE
    if departure.state in _FINAL and not arrived_after_all:
        if departure.state is not state:
            log.warning("outbox.settle_ignored", outbox_id=outbox_id, was=departure.state.value, wanted=state.value)
        return
    if state is DepartureState.PENDING and _corrected(connection, departure, at):
        _judge_correction(connection, outbox_id, state)
        return
    was_unknown = departure.state is DepartureState.UNKNOWN or _is_read_back(connection, departure)
    connection.execute(
        "UPDATE outbox SET state = ?, leased_until = NULL, is_read_back = ?, reason = ?,"
        " remote_id = coalesce(?, remote_id), not_before = coalesce(?, not_before), decided_at = ? WHERE outbox_id = ?",
        (
            state.value,
            was_unknown and state is DepartureState.CANCELLED,
            reason,
            remote_id,
            optional_micros(not_before),
            micros(at) if state in _FINAL else None,
            outbox_id,
        ),
    )
    _judge_correction(connection, outbox_id, state)
    kind = _AUDITED.get(state)
    if kind is not None and not (was_unknown and state is DepartureState.UNKNOWN):
        words = departure.draft.kind if reason is None else f"{departure.draft.kind}: {reason}"
        if began_at is not None:
            words += f"; sending began {instant(micros(began_at)).isoformat(timespec='milliseconds')}"
        _audit(connection, departure, kind, at, words)


def _judge_correction(connection: sqlite3.Connection, outbox_id: OutboxId, state: DepartureState) -> None:
    """What was somebody else's and has arrived is to be removed there; what certainly has not needs nothing."""
    if state in {DepartureState.DONE, DepartureState.REJECTED, DepartureState.PENDING}:
        connection.execute(
            "UPDATE outbox SET correction = ? WHERE outbox_id = ? AND correction = ?",
            (
                Correction.REMOVE.value if state is DepartureState.DONE else None,
                outbox_id,
                Correction.IF_ARRIVED.value,
            ),
        )


def corrected(connection: sqlite3.Connection, outbox_id: OutboxId, at: datetime) -> bool:
    """A person (or a space's own procedure) has put right what arrived; False: nothing was to be done."""
    row = connection.execute(f"{_SELECT} WHERE o.outbox_id = ?", (outbox_id,)).fetchone()
    if row is None:
        raise PermanentError("the outbox has no such row")
    departure = _departure(row)
    if departure.correction not in _OPEN:
        return False
    becomes = Correction.REMOVED.value if departure.correction is Correction.REMOVE else None
    connection.execute("UPDATE outbox SET correction = ? WHERE outbox_id = ?", (becomes, outbox_id))
    done = "removed" if departure.correction is Correction.REMOVE else "entered again"
    _audit(connection, departure, AuditKind.CORRECTED, at, f"{departure.draft.kind}: {done} in the space")
    return True


def corrections(connection: sqlite3.Connection) -> list[Departure]:
    """Rows about which something is to be done in the space, newest first."""
    rows = connection.execute(
        f"{_SELECT} WHERE o.correction IN (?, ?) ORDER BY o.outbox_id DESC", [mark.value for mark in _OPEN]
    )
    return [_departure(row) for row in rows]


def _is_read_back(connection: sqlite3.Connection, departure: Departure) -> bool:
    """Whether the row is leased for reading back rather than for sending."""
    found = connection.execute("SELECT is_read_back FROM outbox WHERE outbox_id = ?", (departure.outbox_id,)).fetchone()
    return departure.state is DepartureState.LEASED and bool(found[0])


def _corrected(connection: sqlite3.Connection, departure: Departure, at: datetime) -> bool:
    """Give a row that did not arrive the correction that waited; True: it must not leave, and is cancelled."""
    effective_at, resource = connection.execute(
        "SELECT next_effective_at, next_resource FROM outbox WHERE outbox_id = ?", (departure.outbox_id,)
    ).fetchone()
    if resource is None:
        return False
    if resource == "":
        connection.execute(
            "UPDATE outbox SET state = 'cancelled', leased_until = NULL, is_read_back = 0, reason = ?, decided_at = ?,"
            " next_resource = NULL WHERE outbox_id = ?",
            (RETRACTED, micros(at), departure.outbox_id),
        )
        return True
    connection.execute(
        "UPDATE outbox SET effective_at = ?, resource = ?, next_effective_at = NULL, next_resource = NULL"
        " WHERE outbox_id = ?",
        (effective_at, resource, departure.outbox_id),
    )
    return False


def departures(
    connection: sqlite3.Connection, person_id: PersonId | None, state: DepartureState | None, limit: int
) -> list[Departure]:
    """Outbox rows, newest first."""
    rows = connection.execute(
        f"{_SELECT} WHERE (:person IS NULL OR p.person_id = :person) AND (:state IS NULL OR o.state = :state)"
        " ORDER BY o.outbox_id DESC LIMIT :limit",
        {"person": person_id, "state": None if state is None else state.value, "limit": limit},
    )
    return [_departure(row) for row in rows]


def departure_counts(connection: sqlite3.Connection, destination_id: DestinationId | None) -> dict[DepartureState, int]:
    """How many rows are in each state; every state is there."""
    rows = connection.execute(
        "SELECT state, count(*) FROM outbox WHERE :destination IS NULL OR destination_id = :destination GROUP BY state",
        {"destination": destination_id},
    )
    counts = dict.fromkeys(DepartureState, 0)
    counts.update({DepartureState(state): count for state, count in rows})
    return counts


def next_due(connection: sqlite3.Connection, destination_id: DestinationId, after: datetime) -> datetime | None:
    """When the next row that waits or is unknown becomes due, later than `after`."""
    found = connection.execute(
        "SELECT min(due) FROM (SELECT min(not_before) AS due FROM outbox WHERE destination_id = ?1"
        " AND state = 'pending' AND not_before > ?2 UNION ALL SELECT min(not_before) FROM outbox"
        " WHERE destination_id = ?1 AND state = 'unknown' AND not_before > ?2)",
        (destination_id, micros(after)),
    ).fetchone()
    return optional_instant(found[0])


def latest_effective(
    connection: sqlite3.Connection, person_id: PersonId, destination_id: DestinationId, kinds: Collection[str]
) -> datetime | None:
    """The latest instant that a row of that person, destination and one of these kinds states."""
    found = connection.execute(
        "SELECT max(o.effective_at) FROM outbox o JOIN person p ON p.id = o.person WHERE p.person_id = ?"
        " AND o.destination_id = ? AND o.kind IN (SELECT value FROM json_each(?))",
        (person_id, destination_id, compact(sorted(kinds))),
    ).fetchone()
    return optional_instant(found[0])
