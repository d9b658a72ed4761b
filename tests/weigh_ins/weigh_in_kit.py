"""A household around a scale: a real store, what decides about weigh-ins, figures, and what would leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.attributor import Attributor
from gateway.departures.planner import Planner, PlannerPolicy, PlanningDestination, planned_identities
from gateway.fhir.mes import MesContext
from gateway.inbox import Inbox
from gateway.model import (
    Batch,
    Consent,
    Context,
    DataType,
    DecisionSource,
    Departure,
    DepartureState,
    DestinationId,
    Device,
    DeviceId,
    DeviceKind,
    GlucosePeriod,
    Metric,
    Person,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    StoredWeighIn,
    TimeQuality,
)
from gateway.settings import Settings
from gateway.summaries import Summaries

ANNE, BRUNO = PersonId("anne"), PersonId("bruno")
SCALE, METER, MES = DeviceId("scale"), DeviceId("meter"), DestinationId("mes")
PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 3, 20, 9, 0, tzinfo=UTC)
PEOPLE = (Person(ANNE, "Anne", PARIS), Person(BRUNO, "Bruno", PARIS))
SHARED = Device(SCALE, DeviceKind.SCALE, "Scale", is_by_evidence=True, candidates=(ANNE, BRUNO))
ANNES_METER = Device(METER, DeviceKind.GLUCOSE_METER, "Meter", person_id=ANNE)


class HandClock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.instant = NOW

    def now(self) -> datetime:
        """The instant."""
        return self.instant

    def monotonic(self) -> float:
        """Seconds since the start."""
        return (self.instant - NOW).total_seconds()

    @property
    def is_trusted(self) -> bool:
        """It was set by hand."""
        return True


def reading(
    name: str,
    value: str,
    *,
    at: datetime,
    metric: Metric = Metric.BODY_MASS,
    device: DeviceId = SCALE,
    user: int | None = None,
    is_derived: bool = False,
    received_at: datetime | None = None,
) -> Reading:
    """One reading of the weigh-in, or record, called `name`; received when it was measured unless said otherwise."""
    return Reading(
        device_id=device,
        epoch=0,
        record_key=name,
        metric=metric,
        effective_at=at,
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=received_at or at,
        provenance=Provenance(SourceKind.BLUETOOTH, "gatt.scale"),
        value=Decimal(value),
        context=Context(user_index=user, weigh_in=name if device == SCALE else None, is_device_derived=is_derived),
    )


async def _no_period(_person: PersonId, _day: date, _days: int) -> GlucosePeriod | None:
    return None


class House:
    """Everything that has to do with a weigh-in, by hand."""

    def __init__(self, store: SqliteStore, clock: HandClock, people: Sequence[PersonId]) -> None:
        self.store = store
        self.clock = clock
        self.inbox = Inbox(store.attributions, clock, planned_identities)
        self.attributor = Attributor(store.attributions, store.registry, store.enrolments, clock, people, {})
        self.summaries = Summaries(store.readings, clock, {person.person_id: person for person in PEOPLE})
        contexts = {each: MesContext("2.999.5.1", "2.999.7.1", f"idpe-{each}") for each in (ANNE, BRUNO)}
        self.planner = Planner(
            store.registry,
            store.readings,
            clock,
            [PlanningDestination(MES, contexts)],
            _no_period,
            policy=PlannerPolicy(settle=timedelta(0)),
        )

    async def measure(self, *readings: Reading) -> None:
        """Receive, then decide what the evidence decides."""
        await self.store.readings.commit(Batch(readings=readings))
        await self.attributor.look()

    async def weigh(self, name: str, mass_kg: str, *, days_ago: float = 0, minute: int = 0) -> None:
        """Somebody stands on the scale in the morning."""
        at = NOW - timedelta(days=days_ago, hours=2) + timedelta(minutes=minute)
        await self.measure(reading(name, mass_kg, at=at))

    async def live_together(self, *, days: int = 30, anne: str = "62", bruno: str = "84") -> None:
        """A month in which each says once whose the first weigh-in is; the others are known by their weight."""
        for n in range(days, 0, -1):
            wobble = Decimal((n * 7) % 5 - 2) / 10
            for person, mass, minute in ((ANNE, anne, 0), (BRUNO, bruno, 20)):
                name = f"{person}-{n}"
                await self.weigh(name, str(Decimal(mass) + wobble), days_ago=n, minute=minute)
                if n > days - 3:
                    await self.inbox.assign([(await self.find(name)).number], person, DecisionSource.PAGE)
        await self.attributor.look()

    async def find(self, name: str, device: DeviceId = SCALE) -> StoredWeighIn:
        """The weigh-in of that name."""
        for stored in await self.store.readings.readings(device_id=device):
            if stored.reading.record_key == name:
                return await self.inbox.of_row(stored.row_id)
        raise AssertionError(name)

    async def whose(self, name: str, metric: Metric = Metric.BODY_MASS, device: DeviceId = SCALE) -> PersonId | None:
        """Whose one reading is."""
        (found,) = [
            stored
            for stored in await self.store.readings.readings(device_id=device, metrics=[metric])
            if stored.reading.record_key == name
        ]
        return found.person_id

    async def figures(self) -> dict[PersonId, list[tuple[date, Decimal]]]:
        """Each person's weight by day, up to date."""
        await self.summaries.refresh()
        return {
            person: [
                (day.local_day, day.mass_kg)
                for day in await self.store.readings.weight_days(person, date(2026, 1, 1), date(2026, 12, 31))
            ]
            for person in (ANNE, BRUNO)
        }

    async def agree(self, *people: PersonId) -> None:
        """Their weight may leave."""
        for person in people:
            await self.store.registry.grant(
                Consent(
                    person,
                    DataType.WEIGHT,
                    MES,
                    granted_at=NOW - timedelta(days=90),
                    covers_from=NOW - timedelta(days=90),
                )
            )

    async def rows(self) -> list[Departure]:
        """The outbox, planned, oldest first."""
        await self.planner.plan_readings()
        return list(reversed(await self.store.registry.departures()))

    async def send(self) -> list[Departure]:
        """Plan, and let everything that waits arrive."""
        await self.planner.plan_readings()
        for row in await self.store.registry.lease(MES, self.clock.now(), lease_s=60, limit=500):
            await self.store.registry.settle(row.outbox_id, DepartureState.DONE, self.clock.now(), remote_id="remote")
        return await self.rows()


@asynccontextmanager
async def house(
    folder: Path,
    *devices: Device,
    people: Sequence[PersonId] = (ANNE, BRUNO),
    clock: HandClock | None = None,
) -> AsyncIterator[House]:
    """One life of the process over the file in `folder`."""
    clock = clock or HandClock()
    async with SqliteStore.open(folder / "passerelle.db", clock=clock) as store:
        await store.registry.declare(PEOPLE, devices or (SHARED,))
        yield House(store, clock, people)


OWNED_SETTINGS = {"id": "scale", "kind": "scale", "name": "Scale", "person": "anne"}


def settings_of(folder: Path, *devices: dict[str, Any]) -> Settings:
    """A configuration with Anne, Bruno and these devices, and pages on a free port."""
    return Settings.model_validate(
        {
            "store": {"path": folder / "passerelle.db"},
            "web": {"port": 0},
            "people": [{"id": "anne", "name": "Anne"}, {"id": "bruno", "name": "Bruno"}],
            "devices": devices,
        }
    )
