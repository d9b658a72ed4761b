"""Bringing the outbox up to what the planner decided, inside one write transaction.

What may have been sent is never touched: a row that is leased or unknown keeps its content, because reading back
compares with it. Its correction waits beside it (`next_resource`, empty for "must not leave") until `settle` learns
whether the old content arrived.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from gateway.adapters.stores.sqlite.codec import compact, micros
from gateway.adapters.stores.sqlite.figures import person_number
from gateway.model import Correction, DepartureDraft, DepartureState

__all__ = ["RETRACTED", "disown", "own_again", "plan"]

RETRACTED = "corrected: no longer leaves"
"""Reason of a row that is cancelled because its reading changed, not for want of consent."""

_DESTINATIONS = """
WITH RECURSIVE known (id) AS (
  SELECT min(destination_id) FROM outbox
  UNION ALL
  SELECT (SELECT min(destination_id) FROM outbox WHERE destination_id > known.id) FROM known WHERE id IS NOT NULL
)
SELECT id FROM known WHERE id IS NOT NULL
"""
_AFTER_DISOWNING = (Correction.REMOVED, Correction.ADD, Correction.REMOVE, Correction.IF_ARRIVED)
_IN_DOUBT = frozenset({DepartureState.LEASED, DepartureState.UNKNOWN})


def plan(
    connection: sqlite3.Connection,
    drafts: Sequence[DepartureDraft],
    planned: Collection[int],
    at: datetime,
    *,
    seen_mark: int | None,
    retracted: Sequence[str] = (),
    disowned: Sequence[str] = (),
    same: Mapping[str, Sequence[str]] | None = None,
    not_before: datetime | None = None,
) -> int:
    """Add, correct, revive and retract rows; mark the readings in rows `planned` as decided; returns how many rows
    wait newly. See `gateway.ports.Registry.plan`.

    A reading that was corrected after mark `seen_mark` was read stays undecided (None: no such check).

    Raises:
        PermanentError: a draft of an undeclared person.
    """
    first = micros(not_before or at)
    gone = [(draft, _left_as(connection, draft, same)) for draft in drafts] if same else []
    drafts = [draft for draft, names in gone if not names] if same else drafts
    new = sum(_bring(connection, draft, micros(at), first) for draft in drafts)
    kept = {(draft.destination_id, draft.identity) for draft in drafts}
    kept |= {(draft.destination_id, name) for draft, names in gone for name in names}
    if drafts and connection.execute("SELECT 1 FROM outbox WHERE correction IS NOT NULL LIMIT 1").fetchone():
        own_again(connection, [draft.identity for draft in drafts])
    if retracted:
        for (destination,) in connection.execute(_DESTINATIONS).fetchall():
            for identity in retracted:
                if (destination, identity) not in kept:
                    _retract(connection, destination, identity, micros(at))
    disown(connection, disowned, at)
    connection.execute(
        "DELETE FROM unplanned WHERE row_id IN (SELECT value FROM json_each(?1)) AND (?2 IS NULL OR mark <= ?2)",
        (compact(list(planned)), seen_mark),
    )
    return new


def disown(connection: sqlite3.Connection, identities: Sequence[str], at: datetime) -> None:
    """What these identities state turned out to be somebody else's: retract what waits, mark what arrived."""
    if not identities:
        return
    for (destination,) in connection.execute(_DESTINATIONS).fetchall():
        for identity in identities:
            _retract(connection, destination, identity, micros(at))
            connection.execute(
                "UPDATE outbox SET correction = CASE WHEN correction = ?3 THEN ?3 WHEN correction = ?4 THEN ?3"
                " WHEN state IN ('done', 'cancelled') THEN ?5 ELSE ?6 END"
                " WHERE destination_id = ?1 AND identity = ?2 AND (state IN ('done', 'leased', 'unknown')"
                " OR (state = 'cancelled' AND is_read_back))",
                (destination, identity, *(c.value for c in _AFTER_DISOWNING)),
            )


def own_again(connection: sqlite3.Connection, identities: Sequence[str]) -> None:
    """They are that person's after all: what was not removed in the space is right there, what was is to be added."""
    for (destination,) in connection.execute(_DESTINATIONS).fetchall():
        for identity in identities:
            connection.execute(
                "UPDATE outbox SET correction = CASE correction WHEN ?3 THEN ?4 WHEN ?4 THEN ?4 END"
                " WHERE destination_id = ?1 AND identity = ?2 AND correction IS NOT NULL",
                (destination, identity, Correction.REMOVED.value, Correction.ADD.value),
            )


def _bring(connection: sqlite3.Connection, draft: DepartureDraft, now: int, not_before: int) -> bool:
    """One draft into the outbox; True: a row waits that did not wait before."""
    person, effective_at = person_number(connection, draft.person_id), micros(draft.effective_at)
    is_new = connection.execute(
        "INSERT INTO outbox (destination_id, identity, person, data_type, kind, effective_at, resource, state,"
        " attempts, created_at, not_before) VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', 0, ?, ?)"
        " ON CONFLICT (destination_id, identity) DO NOTHING",
        (
            draft.destination_id,
            draft.identity,
            person,
            draft.data_type.value,
            draft.kind,
            effective_at,
            draft.resource,
            now,
            not_before,
        ),
    ).rowcount
    if is_new:
        return True
    outbox_id, word, was_unknown, is_same = connection.execute(
        "SELECT outbox_id, state, is_read_back, resource = ? AND effective_at = ? FROM outbox"
        " WHERE destination_id = ? AND identity = ?",
        (draft.resource, effective_at, draft.destination_id, draft.identity),
    ).fetchone()
    state = DepartureState(word)
    if state is DepartureState.CANCELLED:
        state = DepartureState.UNKNOWN if was_unknown else DepartureState.PENDING
        connection.execute(
            "UPDATE outbox SET state = ?, reason = NULL, decided_at = NULL, is_read_back = 0,"
            " next_effective_at = NULL, next_resource = NULL, not_before = max(not_before, ?) WHERE outbox_id = ?",
            (state.value, not_before, outbox_id),
        )
        is_new = True
    if state is DepartureState.PENDING and not is_same:
        connection.execute(
            "UPDATE outbox SET effective_at = ?, resource = ?, not_before = max(not_before, ?) WHERE outbox_id = ?",
            (effective_at, draft.resource, not_before, outbox_id),
        )
    elif state in _IN_DOUBT:
        following = (None, None) if is_same else (effective_at, draft.resource)
        connection.execute(
            "UPDATE outbox SET next_effective_at = ?, next_resource = ? WHERE outbox_id = ?", (*following, outbox_id)
        )
    return bool(is_new)


def _left_as(connection: sqlite3.Connection, draft: DepartureDraft, same: Mapping[str, Sequence[str]]) -> list[str]:
    """Names under which the same result has left, or may have, while the draft itself has not; empty: it may leave."""
    names = [draft.identity, *same.get(draft.identity, ())]
    if len(names) == 1:
        return []
    left = [
        name
        for (name,) in connection.execute(
            "SELECT identity FROM outbox WHERE destination_id = ? AND identity IN (SELECT value FROM json_each(?))"
            " AND state IN ('done', 'leased', 'unknown') AND correction IS NULL",
            (draft.destination_id, compact(names)),
        )
    ]
    return [] if draft.identity in left else left


def _retract(connection: sqlite3.Connection, destination: str, identity: str, now: int) -> None:
    row = connection.execute(
        "SELECT outbox_id, state FROM outbox WHERE destination_id = ? AND identity = ?", (destination, identity)
    ).fetchone()
    if row is None:
        return
    outbox_id, state = row[0], DepartureState(row[1])
    if state is DepartureState.PENDING:
        connection.execute(
            "UPDATE outbox SET state = 'cancelled', is_read_back = 0, reason = ?, decided_at = ? WHERE outbox_id = ?",
            (RETRACTED, now, outbox_id),
        )
    elif state in _IN_DOUBT:
        connection.execute(
            "UPDATE outbox SET next_effective_at = NULL, next_resource = '' WHERE outbox_id = ?", (outbox_id,)
        )
