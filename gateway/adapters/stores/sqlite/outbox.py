"""The outbox: what should leave, leased row by row behind the consent gate, settled and audited.

Every function that changes something runs inside a write transaction, so that consent, state and audit event are
decided together, whatever other processes do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import structlog

from gateway.adapters.stores.sqlite.audit import append_event
from gateway.adapters.stores.sqlite.codec import compact, instant, micros, optional_instant, optional_micros
from gateway.adapters.stores.sqlite.consents import ConsentGate, record_withdrawal
from gateway.adapters.stores.sqlite.figures import person_number
from gateway.errors import PermanentError
from gateway.model import (
    AuditEvent,
    AuditKind,
    DataType,
    Departure,
    DepartureDraft,
    DepartureState,
    DestinationId,
    OutboxId,
    PersonId,
)

__all__ = ["departure_counts", "departures", "lease", "plan", "settle", "withdraw"]

log = structlog.get_logger()

_SELECT = (
    "SELECT o.outbox_id, o.identity, p.person_id, o.data_type, o.destination_id, o.kind, o.effective_at, o.resource,"
    " o.state, o.attempts, o.created_at, o.not_before, o.reason, o.remote_id, o.decided_at"
    " FROM outbox o JOIN person p ON p.id = o.person"
)
_Row = tuple[int, str, str, str, str, str, int, str, str, int, int, int, str | None, str | None, int | None]
_CHUNK = 100

_AUDITED = {
    DepartureState.DONE: AuditKind.DEPARTED,
    DepartureState.REJECTED: AuditKind.REJECTED,
    DepartureState.UNKNOWN: AuditKind.UNCERTAIN,
    DepartureState.CANCELLED: AuditKind.REFUSED,
}
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
    )


def _audit(connection: sqlite3.Connection, departure: Departure, kind: AuditKind, at: datetime, detail: str) -> None:
    draft = departure.draft
    event = AuditEvent(at, kind, draft.person_id, draft.data_type, draft.destination_id, departure.outbox_id, detail)
    append_event(connection, event)


def plan(
    connection: sqlite3.Connection,
    drafts: Sequence[DepartureDraft],
    planned: Collection[int],
    at: datetime,
    seen_mark: int | None,
) -> int:
    """Add new drafts and mark the readings in rows `planned` as decided; returns how many drafts were new.

    A reading that was corrected after mark `seen_mark` was read stays undecided (None: no such check).
    """
    now, new = micros(at), 0
    for draft in drafts:
        new += connection.execute(
            "INSERT INTO outbox (destination_id, identity, person, data_type, kind, effective_at, resource, state,"
            " attempts, created_at, not_before) VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', 0, ?, ?)"
            " ON CONFLICT (destination_id, identity) DO NOTHING",
            (
                draft.destination_id,
                draft.identity,
                person_number(connection, draft.person_id),
                draft.data_type.value,
                draft.kind,
                micros(draft.effective_at),
                draft.resource,
                now,
                now,
            ),
        ).rowcount
    connection.execute(
        "DELETE FROM unplanned WHERE row_id IN (SELECT value FROM json_each(?1)) AND (?2 IS NULL OR mark <= ?2)",
        (compact(list(planned)), seen_mark),
    )
    return new


def lease(
    connection: sqlite3.Connection, destination_id: DestinationId, at: datetime, *, lease_s: float, limit: int
) -> list[Departure]:
    """Take due rows: unknown ones first (state UNKNOWN: read back), then pending ones (state LEASED: send)."""
    _expire(connection, destination_id, at)
    gate = ConsentGate(connection)
    until = micros(at + timedelta(seconds=lease_s))
    taken: list[Departure] = []
    for state in (DepartureState.UNKNOWN, DepartureState.PENDING):
        while len(taken) < limit:
            due = connection.execute(
                f"{_SELECT} WHERE o.destination_id = ? AND o.state = ? AND o.not_before <= ?"
                " ORDER BY o.not_before, o.outbox_id LIMIT ?",
                (destination_id, state.value, micros(at), min(_CHUNK, limit - len(taken))),
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
    connection.execute(
        "UPDATE outbox SET state = 'cancelled', leased_until = NULL, reason = ?, decided_at = ? WHERE outbox_id = ?",
        (reason, micros(at), departure.outbox_id),
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
    reason: str | None,
    remote_id: str | None,
    not_before: datetime | None,
) -> None:
    """End a lease and audit it.

    A late answer counts: a row that meanwhile became unknown or pending takes it. A decided row stays as it is, but for
    one that was cancelled and is now known to have arrived: that becomes done.

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
    connection.execute(
        "UPDATE outbox SET state = ?, leased_until = NULL, is_read_back = 0, reason = ?,"
        " remote_id = coalesce(?, remote_id), not_before = coalesce(?, not_before), decided_at = ? WHERE outbox_id = ?",
        (
            state.value,
            reason,
            remote_id,
            optional_micros(not_before),
            micros(at) if state in _FINAL else None,
            outbox_id,
        ),
    )
    if (kind := _AUDITED.get(state)) is not None:
        words = departure.draft.kind if reason is None else f"{departure.draft.kind}: {reason}"
        _audit(connection, departure, kind, at, words)


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
