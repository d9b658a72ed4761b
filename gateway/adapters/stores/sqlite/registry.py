"""`Registry` over one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from gateway.adapters.stores.sqlite import audit, consents, household, outbox, outbox_plan, queries
from gateway.adapters.stores.sqlite.reader import Readers
from gateway.adapters.stores.sqlite.writer import Writer
from gateway.model import (
    AuditEvent,
    Consent,
    DataType,
    Departure,
    DepartureDraft,
    DepartureState,
    DestinationId,
    Device,
    OutboxId,
    Person,
    PersonId,
    StoredReading,
)
from gateway.ports import DeviceSighting

__all__ = ["SqliteRegistry"]


class SqliteRegistry:
    """People, devices, consents, the outbox and the audit trail; see `gateway.ports.Registry`."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers
        self._seen_mark: int | None = None

    async def declare(self, people: Sequence[Person], devices: Sequence[Device]) -> None:
        """Make people and devices known; readings that waited for a device's owner become the owner's.

        Readings that already belong to somebody stay there when a device changes hands.

        Raises:
            PermanentError: a device's owner was never declared; nothing is changed.
        """
        await self._writer.run(lambda connection: household.declare(connection, people, devices))

    async def people(self) -> list[Person]:
        """Everybody, by id."""
        return await self._readers.run(household.people)

    async def devices(self) -> list[Device]:
        """Every device, known or only heard, by id."""
        return await self._readers.run(household.devices)

    async def sighted(self, sighting: DeviceSighting) -> None:
        """Merge what was learned about a device."""
        await self._writer.sighted(sighting)

    async def grant(self, consent: Consent) -> None:
        """Record and audit a consent. Raises PermanentError: the person was not declared."""
        await self._writer.run(lambda connection: consents.grant(connection, consent))

    async def withdraw(
        self, person_id: PersonId, data_type: DataType, destination_id: DestinationId, at: datetime
    ) -> int:
        """Withdraw, audit, cancel what is still pending; returns how many rows were cancelled."""
        return await self._writer.run(
            lambda connection: outbox.withdraw(connection, person_id, data_type, destination_id, at)
        )

    async def consents(self, person_id: PersonId | None = None) -> list[Consent]:
        """Every consent record, current or not."""
        return await self._readers.run(lambda connection: consents.consents(connection, person_id))

    async def unplanned(self, *, limit: int = 500, after: int = 0) -> list[StoredReading]:
        """Attributed readings of which nobody has yet decided whether they should leave, by row id, above `after`."""
        readings, mark = await self._readers.run(lambda connection: queries.readings_to_plan(connection, limit, after))
        self._seen_mark = max(mark, self._seen_mark or 0)
        return readings

    async def former_owners(self, rows: Sequence[int]) -> dict[int, tuple[PersonId, ...]]:
        """Whose the readings in these rows were before; those that never changed hands are left out."""
        return await self._readers.run(lambda connection: queries.former_owners(connection, rows))

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
        """Bring the outbox up to the decisions and mark rows `planned` as decided; returns how many rows wait newly.

        A reading corrected since the last `unplanned` stays undecided. Raises PermanentError: an undeclared person.
        """
        return await self._writer.run(
            lambda connection: outbox_plan.plan(
                connection,
                drafts,
                planned,
                at,
                seen_mark=self._seen_mark,
                retracted=retracted,
                disowned=disowned,
                same=same,
                not_before=not_before,
            )
        )

    async def lease(
        self,
        destination_id: DestinationId,
        at: datetime,
        *,
        lease_s: float,
        limit: int = 1,
        excluded: Collection[PersonId] = (),
    ) -> list[Departure]:
        """Take due rows for `lease_s` seconds: UNKNOWN ones to be read back first, LEASED ones to be sent."""
        return await self._writer.run(
            lambda connection: outbox.lease(
                connection, destination_id, at, lease_s=lease_s, limit=limit, excluded=excluded
            )
        )

    async def next_due(self, destination_id: DestinationId, after: datetime) -> datetime | None:
        """When the next row that waits or is unknown becomes due, later than `after`."""
        return await self._readers.run(lambda connection: outbox.next_due(connection, destination_id, after))

    async def latest_effective(
        self, person_id: PersonId, destination_id: DestinationId, kinds: Collection[str]
    ) -> datetime | None:
        """The latest instant that a row of that person, destination and one of these kinds states."""
        return await self._readers.run(
            lambda connection: outbox.latest_effective(connection, person_id, destination_id, kinds)
        )

    async def consent_allows(self, departure: Departure, at: datetime) -> bool:
        """Whether the consent of this moment covers the departure."""
        draft = departure.draft

        def is_allowed(connection: sqlite3.Connection) -> bool:
            gate = consents.ConsentGate(connection)
            reason = gate.refusal(
                draft.person_id, draft.data_type, draft.destination_id, effective_at=draft.effective_at, at=at
            )
            return reason is None

        return await self._readers.run(is_allowed)

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
        """End a lease, audited in the same transaction; a late answer for a decided row changes nothing."""
        await self._writer.run(
            lambda connection: outbox.settle(
                connection,
                outbox_id,
                state,
                at,
                reason=reason,
                remote_id=remote_id,
                not_before=not_before,
                began_at=began_at,
            )
        )

    async def departures(
        self, *, person_id: PersonId | None = None, state: DepartureState | None = None, limit: int = 100
    ) -> list[Departure]:
        """Outbox rows, newest first."""
        return await self._readers.run(lambda connection: outbox.departures(connection, person_id, state, limit))

    async def corrections(self) -> list[Departure]:
        """Rows about which something is to be done in the space, newest first."""
        return await self._readers.run(outbox.corrections)

    async def corrected(self, outbox_id: OutboxId, at: datetime) -> bool:
        """It was put right in the space; audited. Raises PermanentError: no such row."""
        return await self._writer.run(lambda connection: outbox.corrected(connection, outbox_id, at))

    async def departure_counts(self, destination_id: DestinationId | None = None) -> dict[DepartureState, int]:
        """How many rows are in each state; every state is there."""
        return await self._readers.run(lambda connection: outbox.departure_counts(connection, destination_id))

    async def audit(self, *, person_id: PersonId | None = None, limit: int = 100) -> list[AuditEvent]:
        """The audit trail, newest first."""
        return await self._readers.run(lambda connection: audit.audit_events(connection, person_id, limit))

    async def verify_audit(self) -> int | None:
        """None when the hash chain holds; else the number of the first event that does not fit or is missing."""
        return await self._readers.run(audit.first_broken_event)
