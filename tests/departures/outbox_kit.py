"""A registry in memory, a clock in the hand and a space that fails to order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from gateway.departures.planner import PlanningDestination
from gateway.errors import ConsentWithdrawn, OutcomeUnknown
from gateway.fhir.mes import MesContext
from gateway.model import (
    AuditEvent,
    Consent,
    ConsentState,
    Context,
    DataType,
    Departure,
    DepartureDraft,
    DepartureState,
    DestinationId,
    Device,
    DeviceId,
    DeviceKind,
    Metric,
    OutboxId,
    Person,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    StoredReading,
    TimeQuality,
)
from gateway.ports import DeviceSighting

NOW = datetime(2026, 3, 20, 9, 0, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")
ANNE, BRUNO = PersonId("anne"), PersonId("bruno")
MES, OTHER = DestinationId("mes"), DestinationId("other")
SCALE = Device(DeviceId("scale"), DeviceKind.SCALE, "Scale", person_id=ANNE, system_id="FEEDABEEDEAD77C3")
SENSOR = Device(DeviceId("sensor"), DeviceKind.CGM, "Sensor", person_id=ANNE)


class HandClock:
    """Time that moves when it is told to."""

    def __init__(self, now: datetime = NOW) -> None:
        self.instant = now
        self.trusted = True

    def now(self) -> datetime:
        """The instant."""
        return self.instant

    def monotonic(self) -> float:
        """Seconds since the start."""
        return (self.instant - NOW).total_seconds()

    @property
    def is_trusted(self) -> bool:
        """What it is told."""
        return self.trusted

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.instant += timedelta(seconds=seconds)


@dataclass(slots=True)
class _Row:
    departure: Departure
    leased_until: datetime | None = None
    was_unknown: bool = False


@dataclass
class MemoryRegistry:
    """The part of the registry port that departures use, without a disk."""

    household: list[Person] = field(
        default_factory=lambda: [Person(ANNE, "Anne", PARIS), Person(BRUNO, "Bruno", PARIS)]
    )
    machines: list[Device] = field(default_factory=lambda: [SCALE, SENSOR])
    waiting: list[StoredReading] = field(default_factory=list)
    granted: dict[tuple[PersonId, DataType, DestinationId], Consent] = field(default_factory=dict)
    rows: dict[OutboxId, _Row] = field(default_factory=dict)
    withdrawals: int = 0

    async def declare(self, people: Sequence[Person], devices: Sequence[Device]) -> None:
        self.household, self.machines = list(people), list(devices)

    async def people(self) -> list[Person]:
        return list(self.household)

    async def devices(self) -> list[Device]:
        return list(self.machines)

    async def sighted(self, sighting: DeviceSighting) -> None:
        return

    async def grant(self, consent: Consent) -> None:
        self.granted[(consent.person_id, consent.data_type, consent.destination_id)] = consent

    async def withdraw(
        self, person_id: PersonId, data_type: DataType, destination_id: DestinationId, at: datetime
    ) -> int:
        self.withdrawals += 1
        key = (person_id, data_type, destination_id)
        if key in self.granted:
            self.granted[key] = replace(self.granted[key], withdrawn_at=at)
        concerned = [
            row
            for row in self.rows.values()
            if row.departure.state is DepartureState.PENDING
            and (row.departure.draft.person_id, row.departure.draft.data_type, row.departure.draft.destination_id)
            == key
        ]
        for row in concerned:
            row.departure = replace(row.departure, state=DepartureState.CANCELLED, decided_at=at)
        return len(concerned)

    async def consents(self, person_id: PersonId | None = None) -> list[Consent]:
        return [c for c in self.granted.values() if person_id in (None, c.person_id)]

    async def unplanned(self, *, limit: int = 500, after: int = 0) -> list[StoredReading]:
        return [stored for stored in self.waiting if stored.row_id > after][:limit]

    async def former_owners(self, rows: Sequence[int]) -> dict[int, tuple[PersonId, ...]]:
        return {}

    async def corrections(self) -> list[Departure]:
        return []

    async def corrected(self, outbox_id: OutboxId, at: datetime) -> bool:
        return False

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
        known = {(r.departure.draft.destination_id, r.departure.draft.identity): r for r in self.rows.values()}
        kept, added, first = set(), 0, not_before or at
        for draft in drafts:
            key = (draft.destination_id, draft.identity)
            kept.add(key)
            row = known.get(key)
            if row is None:
                number = OutboxId(len(self.rows) + 1)
                known[key] = self.rows[number] = _Row(Departure(number, draft, DepartureState.PENDING, 0, at, first))
                added += 1
            elif row.departure.state is DepartureState.CANCELLED:
                state = DepartureState.UNKNOWN if row.was_unknown else DepartureState.PENDING
                row.departure = replace(row.departure, state=state, decided_at=None, not_before=first)
                added += 1
            if row is not None and row.departure.state is DepartureState.PENDING:
                row.departure = replace(row.departure, draft=draft)
        for key, row in known.items():
            if key[1] in retracted and key not in kept and row.departure.state is DepartureState.PENDING:
                row.departure = replace(row.departure, state=DepartureState.CANCELLED, decided_at=at)
        self.waiting = [stored for stored in self.waiting if stored.row_id not in planned]
        return added

    async def next_due(self, destination_id: DestinationId, after: datetime) -> datetime | None:
        waiting = (DepartureState.PENDING, DepartureState.UNKNOWN)
        rows = [row.departure for row in self.rows.values() if row.departure.state in waiting]
        due = [row.not_before for row in rows if row.draft.destination_id == destination_id]
        return min((moment for moment in due if moment > after), default=None)

    async def latest_effective(
        self, person_id: PersonId, destination_id: DestinationId, kinds: Collection[str]
    ) -> datetime | None:
        drafts = [row.departure.draft for row in self.rows.values()]
        whose = (person_id, destination_id)
        meant = [d for d in drafts if (d.person_id, d.destination_id) == whose and d.kind in kinds]
        return max((draft.effective_at for draft in meant), default=None)

    async def lease(
        self,
        destination_id: DestinationId,
        at: datetime,
        *,
        lease_s: float,
        limit: int = 1,
        excluded: Collection[PersonId] = (),
    ) -> list[Departure]:
        leased: list[Departure] = []
        for row in self.rows.values():
            found = row.departure
            if found.draft.destination_id != destination_id or len(leased) == limit:
                continue
            if found.state is DepartureState.LEASED and row.leased_until is not None and row.leased_until <= at:
                found = replace(found, state=DepartureState.UNKNOWN, not_before=at)
                row.departure = found
            is_due = found.not_before <= at and (row.leased_until is None or row.leased_until <= at)
            if found.state not in (DepartureState.PENDING, DepartureState.UNKNOWN) or not is_due:
                continue
            granted = self.granted.get(_key(found.draft))
            is_coming = granted is not None and granted.state_at(at) is ConsentState.NOT_YET
            if found.draft.person_id in excluded or is_coming:
                continue
            if not await self.consent_allows(found, at):
                row.was_unknown = found.state is DepartureState.UNKNOWN
                row.departure = replace(found, state=DepartureState.CANCELLED, decided_at=at)
                continue
            row.leased_until = at + timedelta(seconds=lease_s)
            if found.state is DepartureState.PENDING:
                row.departure = replace(found, state=DepartureState.LEASED, attempts=found.attempts + 1)
            leased.append(row.departure)
        return leased

    async def consent_allows(self, departure: Departure, at: datetime) -> bool:
        consent = self.granted.get(_key(departure.draft))
        return (
            consent is not None
            and consent.state_at(at) is ConsentState.ACTIVE
            and departure.draft.effective_at >= consent.covers_from
        )

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
        row = self.rows[outbox_id]
        row.leased_until = None
        row.departure = replace(
            row.departure,
            state=state,
            reason=reason,
            remote_id=remote_id,
            not_before=not_before or row.departure.not_before,
        )

    async def departures(
        self, *, person_id: PersonId | None = None, state: DepartureState | None = None, limit: int = 100
    ) -> list[Departure]:
        found = [
            row.departure
            for row in reversed(self.rows.values())
            if person_id in (None, row.departure.draft.person_id) and state in (None, row.departure.state)
        ]
        return found[:limit]

    async def departure_counts(self, destination_id: DestinationId | None = None) -> dict[DepartureState, int]:
        states = self.states()
        return {state: states.count(state) for state in set(states)}

    async def audit(self, *, person_id: PersonId | None = None, limit: int = 100) -> list[AuditEvent]:
        return []

    async def verify_audit(self) -> int | None:
        return None

    def states(self) -> list[DepartureState]:
        """The state of every row, in order."""
        return [row.departure.state for row in self.rows.values()]

    def row(self, number: int = 1) -> Departure:
        """One row."""
        return self.rows[OutboxId(number)].departure


def _key(draft: DepartureDraft) -> tuple[PersonId, DataType, DestinationId]:
    return draft.person_id, draft.data_type, draft.destination_id


@dataclass
class ScriptedSpace:
    """A space that keeps what it is sent and raises what it is told to.

    `script` is taken from the front at each delivery: an exception, or a callable that is called and goes on.
    `loses` is the number of answers that are lost after the item was kept; `hesitates` is called before permission is
    asked for.
    """

    destination_id: DestinationId = MES
    script: list[Exception | Callable[[], object]] = field(default_factory=list)
    searches: list[Exception] = field(default_factory=list)
    loses: int = 0
    kept: list[str] = field(default_factory=list)
    deliveries: list[str] = field(default_factory=list)
    finds: int = 0
    hesitates: Callable[[], object] | None = None

    async def deliver(self, departure: Departure, *, still_allowed: Callable[[], Awaitable[bool]]) -> str:
        if self.hesitates is not None:
            self.hesitates()
        if not await still_allowed():
            raise ConsentWithdrawn("no consent at the moment of sending")
        self.deliveries.append(departure.draft.identity)
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, Exception):
                raise step
            step()
        self.kept.append(departure.draft.identity)
        if self.loses:
            self.loses -= 1
            raise OutcomeUnknown("the answer was lost")
        return f"remote-{departure.draft.identity}"

    async def find(self, departure: Departure) -> str | None:
        self.finds += 1
        if self.searches:
            raise self.searches.pop(0)
        return f"remote-{departure.draft.identity}" if departure.draft.identity in self.kept else None

    async def close(self) -> None:
        return


async def allowed() -> bool:
    """Permission to send."""
    return True


REFUSED_BY_SPACE = ConsentWithdrawn("the health space has no consent for this")


def consent(
    person: PersonId = ANNE,
    data_type: DataType = DataType.WEIGHT,
    destination: DestinationId = MES,
    *,
    granted_at: datetime = NOW - timedelta(days=60),
    covers_from: datetime = NOW - timedelta(days=60),
    expires_at: datetime | None = None,
    withdrawn_at: datetime | None = None,
) -> Consent:
    """An active consent unless said otherwise."""
    return Consent(person, data_type, destination, granted_at, covers_from, expires_at, withdrawn_at)


def weight(
    number: int = 1,
    *,
    person: PersonId | None = ANNE,
    metric: Metric = Metric.BODY_MASS,
    at: datetime = NOW - timedelta(hours=1),
    value: str | None = None,
    is_control: bool = False,
    received_at: datetime = NOW,
) -> StoredReading:
    """A stored reading; a weight unless said otherwise."""
    usual = "71.35" if metric is Metric.BODY_MASS else "100"
    reading = Reading(
        device_id=SCALE.device_id,
        epoch=0,
        record_key=str(number),
        metric=metric,
        effective_at=at,
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=received_at,
        provenance=Provenance(SourceKind.SIMULATED, "test"),
        value=Decimal(value or usual),
        context=Context(is_control_solution=is_control),
    )
    return StoredReading(reading, person, number, None)


def draft(number: int = 1, *, person: PersonId = ANNE, destination: DestinationId = MES) -> DepartureDraft:
    """A draft whose resource nobody reads."""
    return DepartureDraft(f"d{number}", person, DataType.WEIGHT, destination, "body_mass", NOW, "{}")


def destination(*people: PersonId, destination_id: DestinationId = MES) -> PlanningDestination:
    """A destination with an account for each of `people`."""
    return PlanningDestination(
        destination_id, {person: MesContext("2.999.5.1", "2.999.7.1", f"idpe-{person}") for person in people}
    )
