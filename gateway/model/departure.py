"""What leaves the house: the outbox row, its states, and the audit trail."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from gateway.model.ids import DestinationId, OutboxId, PersonId
from gateway.model.metrics import DataType

__all__ = ["AuditEvent", "AuditKind", "Correction", "Departure", "DepartureDraft", "DepartureState"]


class DepartureState(enum.StrEnum):
    """Life of an outbox row.

    pending -> leased -> done | rejected | unknown | pending (transient failure) | cancelled (consent).
    unknown -> done (found on reading back) | pending (certainly not there).
    """

    PENDING = "pending"
    LEASED = "leased"
    DONE = "done"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"


class Correction(enum.StrEnum):
    """What is to be done in a space about a row whose reading is somebody else's, or was deleted by its source.

    Mon espace santé takes neither updates nor deletions from partners: the person does it there, and says so here. A
    destination that can be corrected settles the same mark by its own procedure.
    """

    IF_ARRIVED = "if_arrived"
    """It may have arrived. If it has, it is to be removed."""
    REMOVE = "remove"
    """It arrived and is not this person's, or never was: to be removed there."""
    REMOVED = "removed"
    """Somebody said that it was removed."""
    ADD = "add"
    """It was removed, and turned out to be this person's after all: to be entered there by hand. Never sent twice."""


@dataclass(frozen=True, slots=True)
class DepartureDraft:
    """Something that should leave, not yet in the outbox.

    Attributes:
        identity: the same fact gives the same text for ever; the outbox keeps one row per (destination, identity).
        person_id, data_type, destination_id: what the consent gate looks at.
        kind: for people and for reading back: `body_mass`, `glucose_capillary`, `glucose_mean_14d`, `gmi_14d`...
        effective_at: the instant that the resource states, UTC.
        resource: the exact FHIR JSON that will be sent.
    """

    identity: str
    person_id: PersonId
    data_type: DataType
    destination_id: DestinationId
    kind: str
    effective_at: datetime
    resource: str


@dataclass(frozen=True, slots=True)
class Departure:
    """An outbox row.

    Attributes:
        attempts: how many times sending began.
        not_before: no attempt before this instant, UTC.
        reason: last refusal or failure, in words without values; None when there was none.
        remote_id: what the space calls it once accepted.
        decided_at: when the row reached `done`, `rejected` or `cancelled`.
        correction: what is to be done about it in the space; None: nothing.
    """

    outbox_id: OutboxId
    draft: DepartureDraft
    state: DepartureState
    attempts: int
    created_at: datetime
    not_before: datetime
    reason: str | None = None
    remote_id: str | None = None
    decided_at: datetime | None = None
    correction: Correction | None = None


class AuditKind(enum.StrEnum):
    """What the audit trail records."""

    DEPARTED = "departed"
    REFUSED = "refused"
    """We refused to send: no consent at that moment."""
    REJECTED = "rejected"
    """The space refused it."""
    UNCERTAIN = "uncertain"
    CONSENT_GRANTED = "consent_granted"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    ATTRIBUTED = "attributed"
    """A weigh-in became this person's."""
    REATTRIBUTED = "reattributed"
    """A weigh-in went from one person to another: an event for each of the two."""
    SET_ASIDE = "set_aside"
    """A weigh-in is nobody's of this house, or whose it is has become open again."""
    CORRECTED = "corrected"
    """Somebody said that what had been sent was put right in the space."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One line of the audit trail; append-only and hash-chained by the registry.

    Attributes:
        at: UTC, gateway clock.
        kind: what happened.
        person_id, data_type, destination_id: whose, what, whither; "" where nobody, or no destination, is concerned.
        outbox_id: the row concerned, None for events of consent and attribution.
        detail: words without values.
    """

    at: datetime
    kind: AuditKind
    person_id: PersonId
    data_type: DataType
    destination_id: DestinationId
    outbox_id: OutboxId | None
    detail: str
