"""Decides what should leave: one draft per reading or closed period, only where a consent covers it now.

Nothing here sends. The same reading or period always gives the same draft identity, so planning twice changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import structlog

from gateway.clinical.one_stream import NEAR
from gateway.clinical.twins import Twins, preferred
from gateway.departures.periods import PERIOD_DAYS, due_last_day, first_day_of, local_midnight
from gateway.errors import PermanentError, StoreUnavailable
from gateway.fhir.mes import MesContext, drafts_for, identities_of, summary_drafts
from gateway.model import (
    Absent,
    Consent,
    ConsentState,
    DataType,
    DepartureDraft,
    DestinationId,
    Device,
    DeviceId,
    GlucosePeriod,
    Metric,
    Person,
    PersonId,
    StoredReading,
)
from gateway.ports import Clock, ReadingStore, Registry
from gateway.settings import DestinationSettings

__all__ = ["Planner", "PlannerPolicy", "PlanningDestination", "planned_identities", "planning_destination"]

_log = structlog.get_logger()
_SUMMARY_KINDS = frozenset({"glucose_mean_14d", "gmi_14d"})
_LEAVING_SINGLY = frozenset({Metric.BODY_MASS, Metric.GLUCOSE_CAPILLARY})

_UNMAPPABLE = (PermanentError, ValueError, ArithmeticError, LookupError)
"""What a mapping may raise for one reading; pydantic's ValidationError is a ValueError."""

_TOLD_TWICE = Metric.GLUCOSE_CAPILLARY

_ConsentKey = tuple[PersonId, DataType, DestinationId]
_DraftKey = tuple[DestinationId, str]

PeriodOf = Callable[[PersonId, date, int], Awaitable[GlucosePeriod | None]]
"""(person, last local day, number of days) -> figures of that period, None when there are none."""


@dataclass(frozen=True, slots=True)
class PlanningDestination:
    """A destination and, per person who has an account there, what the mapping needs."""

    destination_id: DestinationId
    contexts: Mapping[PersonId, MesContext]


@dataclass(frozen=True, slots=True)
class PlannerPolicy:
    """The planner's rhythm.

    Attributes:
        poll_s: how often readings and periods are looked at without being woken.
        chunk: readings decided in one transaction.
        late_readings: how long after local midnight a day still counts as open, for readings that arrive late.
        settle: how long a reading waits before its first sending, so that a correction or context that follows at once
            takes its place: what was sent cannot be taken back.
    """

    poll_s: float = 60.0
    chunk: int = 500
    late_readings: timedelta = timedelta(hours=3)
    settle: timedelta = timedelta(seconds=5)


def planned_identities(stored: StoredReading, person_id: PersonId) -> tuple[str, ...]:
    """Identities of every row that this reading can have in the outbox while it is that person's."""
    return identities_of(replace(stored, person_id=person_id))


def planning_destination(settings: DestinationSettings) -> PlanningDestination:
    """The planner's view of a configured destination."""
    return PlanningDestination(
        DestinationId(settings.id),
        {
            PersonId(account.person): MesContext(
                solution_oid=settings.solution_oid,
                patient_authority_oid=settings.patient_authority_oid,
                patient_id=account.patient_id,
                terminology=settings.terminology,
            )
            for account in settings.accounts
        },
    )


@dataclass(frozen=True, slots=True)
class _Consents:
    """What consents say at one moment.

    Attributes:
        active: those that let something leave.
        coming: those given later than now: the clock went back behind them, so nobody can decide yet.
    """

    active: Mapping[_ConsentKey, Consent]
    coming: Mapping[_ConsentKey, Consent]


class Planner:
    """Turns undecided readings and closed periods into outbox rows.

    While the clock is not trusted nothing is planned: readings stay undecided.

    Attributes:
        skipped: readings that could not be mapped, since the start; they are decided: they stay at home.
    """

    def __init__(
        self,
        registry: Registry,
        store: ReadingStore,
        clock: Clock,
        destinations: Sequence[PlanningDestination],
        period_of: PeriodOf,
        *,
        on_planned: Callable[[], None] | None = None,
        policy: PlannerPolicy | None = None,
        first_of: Callable[[PersonId], Sequence[DeviceId]] = lambda _: (),
    ) -> None:
        """`on_planned` is called after new rows were put into the outbox (the dispatcher's `wake`); `first_of` gives
        a person's own order of glucose sources."""
        self._registry = registry
        self._store = store
        self._clock = clock
        self._destinations = tuple(destinations)
        self._period_of = period_of
        self._on_planned = on_planned
        self._policy = policy or PlannerPolicy()
        self._first_of = first_of
        self._woken = asyncio.Event()
        self._backlogs: dict[_ConsentKey, Consent] = {}
        self._previous: dict[tuple[PersonId, DestinationId], date | None] = {}
        self.skipped = 0

    def wake(self) -> None:
        """There may be new readings: look now. To be called from the event loop."""
        self._woken.set()

    async def run(self) -> None:
        """Plan for ever."""
        store_is_down = False
        while True:
            self._woken.clear()
            try:
                await self.plan_readings()
                await self.plan_backlog()
                await self.plan_summaries()
            except StoreUnavailable:
                if not store_is_down:
                    _log.error("planner.store_lost")
                store_is_down = True
            else:
                if store_is_down:
                    _log.info("planner.store_found")
                store_is_down = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._policy.poll_s):
                    await self._woken.wait()

    async def plan_readings(self) -> int:
        """Decide every undecided reading, once; returns how many rows are new. Raises StoreUnavailable.

        A reading that was corrected is decided again: what waits takes the new content, or is called back.
        """
        total, after = 0, 0
        while self._clock.is_trusted:
            waiting = await self._registry.unplanned(limit=self._policy.chunk, after=after)
            if not waiting:
                break
            after = waiting[-1].row_id
            total += await self._decide(waiting)
            if len(waiting) < self._policy.chunk:
                break
        return total

    async def _decide(self, waiting: Sequence[StoredReading]) -> int:
        now = self._clock.now()
        consents = await self._consents(now)
        devices = {device.device_id: device for device in await self._registry.devices()}
        former = await self._registry.former_owners([stored.row_id for stored in waiting])
        twins = await self._twins(waiting, former)
        drafts: dict[_DraftKey, DepartureDraft] = {}
        decided: list[int] = []
        retracted: list[str] = []
        same: dict[str, list[str]] = {}
        for stored in waiting:
            possible = self._reading_drafts(stored, devices, twins)
            if not any(_covers(consents.coming, draft) for draft in possible):
                decided.append(stored.row_id)
            retracted += identities_of(stored)
            for person_id in (stored.person_id, *former.get(stored.row_id, ())):
                if person_id in twins:  # what were twins may have parted, or met: the other one is decided again
                    for other in twins[person_id].neighbours(stored):
                        possible = [*possible, *self._reading_drafts(other, devices, twins)]
                        retracted += identities_of(other)
                        same |= _other_names(other, twins)
            same |= _other_names(stored, twins)
            drafts |= {_key_of(draft): draft for draft in possible if _covers(consents.active, draft)}
        added = await self._registry.plan(
            list(drafts.values()),
            decided,
            now,
            retracted=retracted,
            disowned=[
                *(
                    identity
                    for stored in waiting
                    for person_id in former.get(stored.row_id, ())
                    for identity in planned_identities(stored, person_id)
                ),
                *(
                    identity
                    for stored in waiting
                    if stored.reading.absent is Absent.WITHDRAWN  # its source says that it never was
                    for identity in identities_of(stored)
                ),
            ],
            same=same,
            not_before=now + self._policy.settle,
        )
        self._announce(added)
        return added

    async def plan_backlog(self) -> int:
        """Plan readings that were decided before a consent was granted and that it covers; returns how many are new.

        Each consent that reaches back beyond its own grant is looked at once per process. Raises StoreUnavailable.
        """
        if not self._clock.is_trusted:
            return 0
        now = self._clock.now()
        consents = (await self._consents(now)).active
        total = 0
        for key, consent in consents.items():
            if consent.covers_from >= consent.granted_at or self._backlogs.get(key) == consent:
                continue
            devices = {device.device_id: device for device in await self._registry.devices()}
            past = await self._store.readings(
                person_id=consent.person_id,
                metrics={metric for metric in _LEAVING_SINGLY if metric.info.data_type is consent.data_type},
                start=consent.covers_from,
                end=consent.granted_at,
            )
            twins = {consent.person_id: Twins(item for item in past if item.reading.metric is _TOLD_TWICE)}
            found = {
                _key_of(draft): draft
                for stored in past
                for draft in self._reading_drafts(stored, devices, twins)
                if draft.destination_id == consent.destination_id and _covers(consents, draft)
            }
            same = {name: others for stored in past for name, others in _other_names(stored, twins).items()}
            drafts = list(found.values())
            for start in range(0, len(drafts), self._policy.chunk):
                added = await self._registry.plan(
                    drafts[start : start + self._policy.chunk], (), now, same=same, not_before=now + self._policy.settle
                )
                self._announce(added)
                total += added
            self._backlogs[key] = consent
        return total

    async def plan_summaries(self) -> int:
        """Plan each person's last closed period where one is due; returns how many rows are new.

        A period leaves only as a whole: sufficient data, and every day of it inside the consent. Raises
        StoreUnavailable.
        """
        if not self._clock.is_trusted:
            return 0
        now = self._clock.now()
        consents = (await self._consents(now)).active
        people = {person.person_id: person for person in await self._registry.people()}
        total = 0
        for destination in self._destinations:
            for person_id, context in destination.contexts.items():
                consent = consents.get((person_id, DataType.GLUCOSE, destination.destination_id))
                person = people.get(person_id)
                if consent is None or person is None:
                    continue
                drafts = await self._period_drafts(person, destination.destination_id, context, consent, now)
                if drafts:
                    added = await self._registry.plan(drafts, (), now)
                    self._previous.pop((person_id, destination.destination_id), None)
                    self._announce(added)
                    total += added
        return total

    async def _consents(self, now: datetime) -> _Consents:
        active: dict[_ConsentKey, Consent] = {}
        coming: dict[_ConsentKey, Consent] = {}
        for consent in await self._registry.consents():
            key = (consent.person_id, consent.data_type, consent.destination_id)
            match consent.state_at(now):
                case ConsentState.ACTIVE:
                    active[key] = consent
                case ConsentState.NOT_YET:
                    coming[key] = consent
        return _Consents(active, coming)

    async def _twins(
        self, waiting: Sequence[StoredReading], former: Mapping[int, Sequence[PersonId]]
    ) -> dict[PersonId, Twins]:
        """Per person who has, or had, a finger-stick among `waiting`, all their finger-sticks around them."""
        instants: dict[PersonId, list[datetime]] = {}
        for stored in waiting:
            if stored.reading.metric is _TOLD_TWICE:
                for person_id in (stored.person_id, *former.get(stored.row_id, ())):
                    if person_id is not None:
                        instants.setdefault(person_id, []).append(stored.reading.effective_at)
        around = 2 * NEAR  # a twin's own twin is looked for, too
        return {
            person_id: Twins(
                await self._store.readings(
                    person_id=person_id,
                    metrics={_TOLD_TWICE},
                    start=min(found) - around,
                    end=max(found) + around + timedelta(seconds=1),
                )
            )
            for person_id, found in instants.items()
        }

    def _reading_drafts(
        self, stored: StoredReading, devices: Mapping[DeviceId, Device], twins: Mapping[PersonId, Twins]
    ) -> list[DepartureDraft]:
        """What should leave because of one reading. Of twins the preferred one leaves, under the name of the one that
        was committed first: what has left already does not leave again when a better source tells it later."""
        person_id = stored.person_id
        if person_id is None:
            return []
        name = stored
        if person_id in twins and stored.reading.metric is _TOLD_TWICE:
            alike = twins[person_id].of(stored)
            name, stored = alike[0], preferred(alike, self._first_of(person_id))
        device = devices.get(stored.reading.device_id)
        if device is None:
            return []
        drafts: list[DepartureDraft] = []
        for destination in self._destinations:
            context = destination.contexts.get(person_id)
            if context is None:
                continue
            try:
                found = drafts_for(stored, device, context, destination.destination_id)
                names = identities_of(name)
                drafts += [replace(draft, identity=names[0]) for draft in found] if name is not stored else found
            except _UNMAPPABLE as error:
                self.skipped += 1
                _log.warning(
                    "planner.reading_skipped",
                    row_id=stored.row_id,
                    destination=destination.destination_id,
                    cause=type(error).__name__,
                    skipped=self.skipped,
                )
        return drafts

    async def _period_drafts(
        self, person: Person, destination_id: DestinationId, context: MesContext, consent: Consent, now: datetime
    ) -> list[DepartureDraft]:
        previous = await self._previous_last_day(person, destination_id)
        today = (now - self._policy.late_readings).astimezone(person.time_zone).date()
        last_day = due_last_day(today, previous)
        if last_day is None or local_midnight(first_day_of(last_day), person.time_zone) < consent.covers_from:
            return []
        period = await self._period_of(person.person_id, last_day, PERIOD_DAYS)
        if period is None or not period.is_sufficient:
            return []
        period_end = local_midnight(last_day + timedelta(days=1), person.time_zone)
        device = await self._sensor_of(person, period_end)
        try:
            drafts = summary_drafts(period, device, context, destination_id, period_end.astimezone(person.time_zone))
        except _UNMAPPABLE as error:
            self._previous[(person.person_id, destination_id)] = last_day
            _log.warning("planner.period_skipped", destination=destination_id, cause=type(error).__name__)
            return []
        return [draft for draft in drafts if draft.effective_at >= consent.covers_from]

    async def _previous_last_day(self, person: Person, destination_id: DestinationId) -> date | None:
        """Last day of the newest period in the outbox, whatever became of it; read once, then kept up to date."""
        key = (person.person_id, destination_id)
        if key not in self._previous:
            end = await self._registry.latest_effective(person.person_id, destination_id, _SUMMARY_KINDS)
            newest = end.astimezone(person.time_zone).date() - timedelta(days=1) if end is not None else None
            self._previous[key] = newest
        return self._previous[key]

    async def _sensor_of(self, person: Person, period_end: datetime) -> Device | None:
        """The device of the newest interstitial reading of the period; of several that tell it the preferred one."""
        newest = await self._store.readings(
            person_id=person.person_id,
            metrics={Metric.GLUCOSE_INTERSTITIAL},
            end=period_end,
            newest_first=True,
            limit=1,
        )
        if not newest:
            return None
        at = newest[0].reading.effective_at
        close = await self._store.readings(
            person_id=person.person_id, metrics={Metric.GLUCOSE_INTERSTITIAL}, start=at - NEAR, end=at
        )
        told = preferred([*newest, *close], self._first_of(person.person_id)).reading.device_id
        return next((d for d in await self._registry.devices() if d.device_id == told), None)

    def _announce(self, added: int) -> None:
        if added:
            _log.info("departures.planned", count=added)
            if self._on_planned is not None:
                self._on_planned()


def _other_names(stored: StoredReading, twins: Mapping[PersonId, Twins]) -> dict[str, list[str]]:
    """Of a result that several sources tell, the name under which it leaves, and those under which it may have left."""
    if stored.person_id is None or stored.person_id not in twins or stored.reading.metric is not _TOLD_TWICE:
        return {}
    first, *others = (name for twin in twins[stored.person_id].of(stored) for name in identities_of(twin))
    return {first: others} if others else {}


def _key_of(draft: DepartureDraft) -> _DraftKey:
    return draft.destination_id, draft.identity


def _covers(consents: Mapping[_ConsentKey, Consent], draft: DepartureDraft) -> bool:
    consent = consents.get((draft.person_id, draft.data_type, draft.destination_id))
    return consent is not None and draft.effective_at >= consent.covers_from
