"""Consents, and the gate that every departure passes."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from datetime import datetime

from gateway.adapters.stores.sqlite.audit import append_event
from gateway.adapters.stores.sqlite.codec import instant, micros, optional_instant, optional_micros
from gateway.adapters.stores.sqlite.figures import person_number
from gateway.model import AuditEvent, AuditKind, Consent, ConsentState, DataType, DestinationId, PersonId

__all__ = ["CURRENT_CONSENT_TEXT", "ConsentGate", "consents", "grant", "record_withdrawal"]

CURRENT_CONSENT_TEXT = "1"
"""Version of the wording that people agree to now; a consent to another wording lets nothing leave."""

_SELECT = (
    "SELECT p.person_id, c.data_type, c.destination_id, c.granted_at, c.covers_from, c.expires_at, c.withdrawn_at,"
    " c.text_version FROM consent c JOIN person p ON p.id = c.person"
)
_Row = tuple[str, str, str, int, int, int | None, int | None, str]

_REFUSALS = {
    ConsentState.NONE: "no consent",
    ConsentState.NOT_YET: "consent not yet given",
    ConsentState.EXPIRED: "consent expired",
    ConsentState.WITHDRAWN: "consent withdrawn",
}


def _consent(row: _Row) -> Consent:
    person, data_type, destination, granted_at, covers_from, expires_at, withdrawn_at, text_version = row
    return Consent(
        person_id=PersonId(person),
        data_type=DataType(data_type),
        destination_id=DestinationId(destination),
        granted_at=instant(granted_at),
        covers_from=instant(covers_from),
        expires_at=optional_instant(expires_at),
        withdrawn_at=optional_instant(withdrawn_at),
        text_version=text_version,
    )


def consents(connection: sqlite3.Connection, person_id: PersonId | None) -> list[Consent]:
    """Every record, by person, type and destination."""
    rows = connection.execute(
        f"{_SELECT} WHERE :person IS NULL OR p.person_id = :person ORDER BY 1, 2, 3", {"person": person_id}
    )
    return [_consent(row) for row in rows]


def grant(connection: sqlite3.Connection, consent: Consent) -> None:
    """Record and audit a consent. Raises PermanentError: the person was not declared."""
    connection.execute(
        "INSERT OR REPLACE INTO consent VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            person_number(connection, consent.person_id),
            consent.data_type.value,
            consent.destination_id,
            micros(consent.granted_at),
            micros(consent.covers_from),
            optional_micros(consent.expires_at),
            optional_micros(consent.withdrawn_at),
            consent.text_version,
        ),
    )
    _audit(connection, consent, AuditKind.CONSENT_GRANTED, consent.granted_at)


def record_withdrawal(
    connection: sqlite3.Connection,
    person_id: PersonId,
    data_type: DataType,
    destination_id: DestinationId,
    at: datetime,
) -> None:
    """Mark and audit a consent as withdrawn; one that is missing or already withdrawn stays as it is."""
    gate = ConsentGate(connection)
    consent = gate.consent(person_id, data_type, destination_id)
    if consent is None or consent.withdrawn_at is not None:
        return
    connection.execute(
        "UPDATE consent SET withdrawn_at = ? WHERE person = ? AND data_type = ? AND destination_id = ?",
        (micros(at), person_number(connection, person_id), data_type.value, destination_id),
    )
    _audit(connection, consent, AuditKind.CONSENT_WITHDRAWN, at)


def _audit(connection: sqlite3.Connection, consent: Consent, kind: AuditKind, at: datetime) -> None:
    detail = f"text version {consent.text_version}"
    event = AuditEvent(at, kind, consent.person_id, consent.data_type, consent.destination_id, None, detail)
    append_event(connection, event)


@dataclass(slots=True)
class ConsentGate:
    """Answers for one transaction or snapshot, reading each consent once.

    Attributes:
        text_version: the wording that a consent must be to.
    """

    connection: sqlite3.Connection
    text_version: str = CURRENT_CONSENT_TEXT
    _read: dict[tuple[PersonId, DataType, DestinationId], Consent | None] = field(default_factory=dict)

    def consent(self, person_id: PersonId, data_type: DataType, destination_id: DestinationId) -> Consent | None:
        """The record, or None."""
        key = (person_id, data_type, destination_id)
        if key not in self._read:
            row = self.connection.execute(
                f"{_SELECT} WHERE p.person_id = ? AND c.data_type = ? AND c.destination_id = ?",
                (person_id, data_type.value, destination_id),
            ).fetchone()
            self._read[key] = None if row is None else _consent(row)
        return self._read[key]

    def refusal(
        self,
        person_id: PersonId,
        data_type: DataType,
        destination_id: DestinationId,
        *,
        effective_at: datetime,
        at: datetime,
    ) -> str | None:
        """Why a measurement of `effective_at` may not leave at `at`; None when it may."""
        consent = self.consent(person_id, data_type, destination_id)
        state = ConsentState.NONE if consent is None else consent.state_at(at)
        if consent is None or state is not ConsentState.ACTIVE:
            return _REFUSALS[state]
        if consent.text_version != self.text_version:
            return "consent to another wording than the current one"
        return "measured before the period that the consent covers" if effective_at < consent.covers_from else None
