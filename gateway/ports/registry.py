"""People, devices, consents, the outbox and the audit trail."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from gateway.model import (
    AuditEvent,
    Consent,
    DataType,
    Departure,
    DepartureDraft,
    DepartureState,
    DestinationId,
    Device,
    DeviceId,
    Enrolment,
    OutboxId,
    Person,
    PersonId,
    StoredReading,
)
from gateway.ports.intake import DeviceSighting

__all__ = ["Enrolments", "Registry"]


class Registry(Protocol):
    """People, devices, consents, the outbox and the audit trail."""

    async def declare(self, people: Sequence[Person], devices: Sequence[Device]) -> None:
        """Make the configured people and devices known; a device given an owner attributes its waiting readings."""
        ...

    async def people(self) -> list[Person]:
        """Everybody, by id."""
        ...

    async def devices(self) -> list[Device]:
        """Every device, known or only heard, by id."""
        ...

    async def sighted(self, sighting: DeviceSighting) -> None:
        """Merge what was learned about a device."""
        ...

    async def grant(self, consent: Consent) -> None:
        """Record a consent (replacing the one for the same person, type, destination) and audit it."""
        ...

    async def withdraw(
        self, person_id: PersonId, data_type: DataType, destination_id: DestinationId, at: datetime
    ) -> int:
        """Withdraw, audit, cancel what is still pending; returns how many rows were cancelled."""
        ...

    async def consents(self, person_id: PersonId | None = None) -> list[Consent]:
        """Every consent record, current or not."""
        ...

    async def unplanned(self, *, limit: int = 500, after: int = 0) -> list[StoredReading]:
        """Readings of which nobody has yet decided whether they should leave, by row id, above `after`.

        They are somebody's, or were: then what was planned for a former owner is to be called back.
        """
        ...

    async def former_owners(self, rows: Sequence[int]) -> dict[int, tuple[PersonId, ...]]:
        """Whose the readings in these rows were before; those that never changed hands are left out."""
        ...

    async def plan(
        self,
        drafts: Sequence[DepartureDraft],
        planned: Sequence[int],
        at: datetime,
        *,
        retracted: Sequence[str] = (),
        disowned: Sequence[str] = (),
        same: Mapping[str, Sequence[str]] | None = None,
        not_before: datetime | None = None,
    ) -> int:
        """In one transaction: bring the outbox up to the decisions, and mark the readings `planned` as decided.

        A draft that is known there (same destination and identity) replaces the content of a row that still waits. A
        row that was cancelled waits again: as unknown, to be read back, when it was cancelled out of unknown. A row
        that is leased or unknown keeps what may have been sent; the new content takes its place if it turns out not to
        have arrived. What is done or rejected stays as it is: a space offers no correction.

        Args:
            planned: row ids of readings.
            retracted: identities that must not leave any more, unless `drafts` has them for the row's destination:
                rows that wait are cancelled, which is not a refusal and is not audited.
            disowned: identities that turned out to be somebody else's: as `retracted`, and what has arrived is marked
                `Correction.REMOVE`. A draft that comes back takes the mark away.
            same: other identities under which what a draft states may have left, by its own: where one has, the draft
                does not leave, and that one is not retracted.
            not_before: earliest first attempt of what waits newly or with new content; default `at`.

        Returns:
            How many rows wait newly.
        """
        ...

    async def lease(
        self,
        destination_id: DestinationId,
        at: datetime,
        *,
        lease_s: float,
        limit: int = 1,
        excluded: Collection[PersonId] = (),
    ) -> list[Departure]:
        """Take due rows (pending; unknown to be read back, with state UNKNOWN in the answer) for `lease_s` seconds.

        The consent of each row is checked in the same transaction: a row without an active consent, or whose
        effective_at lies before `covers_from`, becomes cancelled with an audit event `refused` and is not returned.
        Rows of `excluded` people, and rows whose consent begins after `at` (the clock went back), are left untouched.
        A lease that ran out makes its row unknown.
        """
        ...

    async def next_due(self, destination_id: DestinationId, after: datetime) -> datetime | None:
        """The earliest `not_before` later than `after` of the rows that wait or are unknown; None: there is none."""
        ...

    async def latest_effective(
        self, person_id: PersonId, destination_id: DestinationId, kinds: Collection[str]
    ) -> datetime | None:
        """The latest `effective_at` of that person's rows of these kinds, whatever their state; None: there is none."""
        ...

    async def consent_allows(self, departure: Departure, at: datetime) -> bool:
        """Asked again immediately before the socket write."""
        ...

    async def settle(
        self,
        outbox_id: OutboxId,
        state: DepartureState,
        at: datetime,
        *,
        reason: str | None = None,
        remote_id: str | None = None,
        not_before: datetime | None = None,
        began_at: datetime | None = None,
    ) -> None:
        """End a lease: done, rejected, unknown, cancelled or pending again; audited in the same transaction.

        A row that was unknown and stays so is not audited again. `began_at`, when the sending began, goes into the
        audit event. `not_before` None keeps the row's own.
        """
        ...

    async def departures(
        self, *, person_id: PersonId | None = None, state: DepartureState | None = None, limit: int = 100
    ) -> list[Departure]:
        """Outbox rows, newest first."""
        ...

    async def corrections(self) -> list[Departure]:
        """Rows about which something is to be done in the space (`Correction.REMOVE`, `ADD`), newest first."""
        ...

    async def corrected(self, outbox_id: OutboxId, at: datetime) -> bool:
        """It was put right in the space, by a person or by the space's own procedure; audited; False: nothing to do.

        Raises PermanentError: no such row.
        """
        ...

    async def departure_counts(self, destination_id: DestinationId | None = None) -> dict[DepartureState, int]:
        """How many rows are in each state."""
        ...

    async def audit(self, *, person_id: PersonId | None = None, limit: int = 100) -> list[AuditEvent]:
        """The audit trail, newest first."""
        ...

    async def verify_audit(self) -> int | None:
        """None when the hash chain holds; else the number of the first event that does not fit."""
        ...


class Enrolments(Protocol):
    """Devices that people have added beside the configuration."""

    async def enrol(self, enrolment: Enrolment) -> None:
        """Make the device known with its owner and collect from it; replaces an earlier enrolment of that device id.

        Readings that waited for its owner become the owner's. Raises PermanentError: the owner was never declared.
        """
        ...

    async def withdraw_device(self, device_id: DeviceId, at: datetime) -> bool:
        """Stop collecting from it; its readings stay. False: it is not enrolled, or was withdrawn before."""
        ...

    async def enrolments(self) -> list[Enrolment]:
        """Every enrolment, withdrawn or not, by device id."""
        ...
