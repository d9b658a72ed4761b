"""What the inside needs from the outside. An adapter implements one of these and knows nothing of the others.

All instants are aware and UTC. Every method may raise `StoreUnavailable` where it touches the store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from gateway.model import (
    AuditEvent,
    Batch,
    Checkpoint,
    CommitReceipt,
    Consent,
    DataType,
    Departure,
    DepartureDraft,
    DepartureState,
    DestinationId,
    Device,
    DeviceId,
    Enrolment,
    GlucoseDay,
    Metric,
    Neighbour,
    OutboxId,
    Person,
    PersonId,
    Quarantined,
    RadioReport,
    RawFrame,
    StoredReading,
    WeightDay,
)

__all__ = [
    "Bonds",
    "Clock",
    "DeviceSighting",
    "DirtyDay",
    "Enrolments",
    "HealthSpace",
    "Intake",
    "PairingQuestions",
    "Radios",
    "ReadingStore",
    "Registry",
    "Source",
]


class Clock(Protocol):
    """Time, injected."""

    def now(self) -> datetime:
        """Current instant, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    @property
    def is_trusted(self) -> bool:
        """False while the machine's clock cannot be right: no device clock is then measured against it, or set."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceSighting:
    """What a source learned about a device beside its readings. None means "nothing new".

    A sighting of an unknown `device_id` creates a device of kind `unknown` without an owner.
    """

    device_id: DeviceId
    heard_at: datetime
    manufacturer: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None
    system_id: str | None = None
    battery_percent: int | None = None


class Intake(Protocol):
    """What a source hands readings to."""

    async def submit(self, batch: Batch) -> CommitReceipt:
        """Make `batch` durable; idempotent. Only after this returns may the sender be told "received".

        Waits while the store is busy: that is the back-pressure. Raises StoreUnavailable: acknowledge nothing.
        """
        ...

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        """The last durable checkpoint of that name, or None."""
        ...

    async def sighted(self, sighting: DeviceSighting) -> None:
        """Record that a device was heard and what it said about itself."""
        ...


class Source(Protocol):
    """Something that readings come from. Runs until cancelled; never raises for one bad device or payload."""

    @property
    def name(self) -> str:
        """For logs and task names."""
        ...

    async def run(self, intake: Intake) -> None:
        """Collect for ever, handing everything to `intake`."""
        ...


class Radios(Protocol):
    """What the pages, the commands and the pairing may know of the radios, and ask of them."""

    def neighbours(self) -> tuple[Neighbour, ...]:
        """Devices heard in the last minutes, strongest first; bounded."""
        ...

    def reports(self) -> tuple[RadioReport, ...]:
        """Every radio, now."""
        ...

    async def changed(self) -> None:
        """Return at the next change of a report."""
        ...

    def hold(self, address: str) -> AbstractAsyncContextManager[None]:
        """Leave the device with this address to the caller (who pairs it) for the length of the block."""
        ...


class PairingQuestions(Protocol):
    """What a radio asks a person while it makes one bond. Each question ends in an answer or in PairingFailed."""

    def connected(self) -> None:
        """The device has been reached."""
        ...

    async def passkey(self) -> int:
        """The six digits that the device shows, 0..999999."""
        ...

    async def is_same(self, digits: int) -> bool:
        """Whether the device shows these six digits too, 0..999999."""
        ...

    def show(self, digits: int) -> None:
        """The person must type these six digits on the device, 0..999999."""
        ...

    def allows_unproven(self) -> bool:
        """Whether a link without proof of who is at the other end is good enough for this device."""
        ...


class Bonds(Protocol):
    """The keys that one radio keeps, and how they are made."""

    async def run(self) -> None:
        """Be ready to bond, for ever: what this radio needs to have running meanwhile."""
        ...

    async def bond(self, address: str, questions: PairingQuestions) -> None:
        """Make a new bond with the device at `address`, in place of an older one; one call at a time.

        Afterwards there is no link. When it fails or is cancelled, there is no bond either.

        Raises:
            PairingFailed: no bond.
        """
        ...

    async def unbond(self, address: str) -> bool:
        """Forget the keys on our side; False: there were none.

        Raises:
            PairingFailed: NO_BLUETOOTH.
        """
        ...

    async def bonded(self) -> frozenset[str]:
        """Addresses of which keys are kept, upper case; empty as well when nobody can tell."""
        ...


@dataclass(frozen=True, slots=True)
class DirtyDay:
    """A local day whose figures are out of date. `version` grows with every further change of that day."""

    person_id: PersonId
    metric: Metric
    local_day: date
    version: int


class ReadingStore(Protocol):
    """Readings, their raw payloads, checkpoints and day figures."""

    async def commit(self, batch: Batch) -> CommitReceipt:
        """Durable (fsync) when it returns; concurrent calls share one fsync; all of the batch or nothing.

        Any number of repetitions in any order gives the same store. The same key with other content is a correction:
        the version received last is current (equal times: the larger content digest), earlier versions are kept.
        Device ids that are not registered are created without an owner.
        """
        ...

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        """The last committed checkpoint of that name, or None."""
        ...

    async def facts(self, device_id: DeviceId | None = None) -> list[Checkpoint]:
        """Every checkpoint and fact of that device, or of all, by device id and name."""
        ...

    async def readings(
        self,
        *,
        person_id: PersonId | None = None,
        device_id: DeviceId | None = None,
        metrics: Collection[Metric] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> list[StoredReading]:
        """Current readings with start <= effective_at < end, ordered by effective_at; None means "any"."""
        ...

    def export(
        self, *, person_id: PersonId | None = None, metrics: Collection[Metric] | None = None, chunk: int = 1000
    ) -> AsyncIterator[list[StoredReading]]:
        """Everything, oldest first, in chunks of bounded memory, from one consistent snapshot of row ids."""
        ...

    async def latest(self, person_id: PersonId | None = None) -> list[StoredReading]:
        """The newest reading of each (person, device, metric) by effective_at."""
        ...

    async def raw(self, raw_id: int) -> RawFrame | None:
        """The payload that a reading was decoded from, while it is kept."""
        ...

    async def quarantined(self, *, limit: int = 100) -> list[Quarantined]:
        """Payloads set aside, newest first."""
        ...

    async def dirty_days(self, *, limit: int = 200) -> list[DirtyDay]:
        """Days whose figures must be computed again, oldest change first (attributed readings only)."""
        ...

    async def save_glucose_day(self, day: GlucoseDay, dirty: DirtyDay | None = None) -> None:
        """Replace the figures of that day; clears `dirty` unless the day changed again meanwhile."""
        ...

    async def save_weight_day(
        self, person_id: PersonId, local_day: date, day: WeightDay | None, dirty: DirtyDay | None = None
    ) -> None:
        """Replace (None: remove) the weigh-in that counts for that day; clears `dirty` likewise."""
        ...

    async def clear_dirty(self, dirty: DirtyDay) -> None:
        """Forget `dirty` unless the day changed again: for metrics without day figures."""
        ...

    async def glucose_days(self, person_id: PersonId, first: date, last: date) -> list[GlucoseDay]:
        """Stored days in first..last inclusive, ascending; days without readings are left out."""
        ...

    async def weight_days(self, person_id: PersonId, first: date, last: date) -> list[WeightDay]:
        """Stored days in first..last inclusive, ascending."""
        ...


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
        """Attributed readings of which nobody has yet decided whether they should leave, by row id, above `after`."""
        ...

    async def plan(
        self,
        drafts: Sequence[DepartureDraft],
        planned: Sequence[int],
        at: datetime,
        *,
        retracted: Sequence[str] = (),
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


class HealthSpace(Protocol):
    """A destination that keeps a person's health data."""

    @property
    def destination_id(self) -> DestinationId:
        """Which destination this is."""
        ...

    async def deliver(self, departure: Departure, *, still_allowed: Callable[[], Awaitable[bool]]) -> str:
        """Send the resource; returns what the space calls it.

        `still_allowed` is awaited immediately before each request that carries the resource: when it says no, nothing
        is sent and ConsentWithdrawn is raised.

        Raises:
            StoreUnavailable: `still_allowed` could not tell; nothing was applied.
            RateLimited, TransientError: certainly not applied, try later.
            Rejected: certainly not applied, never try again.
            OutcomeUnknown: may have been applied.
            ReauthNeeded, ConsentWithdrawn, AccountMismatch: certainly not applied; stop the account or person.
        """
        ...

    async def find(self, departure: Departure) -> str | None:
        """Look whether the space already holds what `departure` states; its name there, or None. Same errors."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
