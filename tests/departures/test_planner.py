"""Deciding what should leave: only what a consent covers, once."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import cast

import pytest
from outbox_kit import (
    ANNE,
    BRUNO,
    MES,
    NOW,
    OTHER,
    SENSOR,
    HandClock,
    MemoryRegistry,
    consent,
    destination,
    weight,
)

from gateway.departures import planner as planner_module
from gateway.departures.planner import Planner, PlannerPolicy, PlanningDestination, planning_destination
from gateway.errors import StoreUnavailable
from gateway.fhir.mes import drafts_for, summary_drafts
from gateway.fhir.r4 import Bundle, Device, Observation, from_json_as
from gateway.fhir.rules import check_transaction
from gateway.model import (
    Consent,
    DataType,
    DepartureDraft,
    DepartureState,
    GlucosePeriod,
    Metric,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    StoredReading,
    TimeQuality,
)
from gateway.ports import ReadingStore
from gateway.settings import AccountSettings, DestinationSettings

DAY = timedelta(days=1)


@dataclass
class SensorStore:
    """A store that knows one interstitial reading."""

    asked: list[datetime | None] = field(default_factory=list)
    past: list[StoredReading] = field(default_factory=list)

    async def readings(
        self,
        *,
        person_id: PersonId | None = None,
        metrics: Collection[Metric] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> list[StoredReading]:
        """The newest interstitial reading; `past` when a range is asked for."""
        if start is not None and end is not None:
            return [item for item in self.past if start <= item.reading.effective_at < end]
        assert (metrics, newest_first, limit) == ({Metric.GLUCOSE_INTERSTITIAL}, True, 1)
        self.asked.append(end)
        reading = Reading(
            device_id=SENSOR.device_id,
            epoch=0,
            record_key="1",
            metric=Metric.GLUCOSE_INTERSTITIAL,
            effective_at=NOW,
            utc_offset_min=60,
            time_quality=TimeQuality.DEVICE,
            received_at=NOW,
            provenance=Provenance(SourceKind.SIMULATED, "test"),
            value=Decimal(120),
        )
        return [StoredReading(reading, person_id, 1, None)]


@dataclass
class Bench:
    """A planner over the memory registry; Anne has an account at MES."""

    destinations: tuple[PlanningDestination, ...] = (destination(ANNE),)
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    clock: HandClock = field(default_factory=HandClock)
    is_sufficient: bool = True
    asked: list[tuple[PersonId, date, int]] = field(default_factory=list)
    announced: int = 0
    past: list[StoredReading] = field(default_factory=list)

    def planner(self) -> Planner:
        """A new process."""
        store = cast("ReadingStore", SensorStore(past=self.past))
        return Planner(self.registry, store, self.clock, self.destinations, self.period_of, on_planned=self._announce)

    async def period_of(self, person_id: PersonId, last_day: date, days: int) -> GlucosePeriod | None:
        """Figures of a period."""
        self.asked.append((person_id, last_day, days))
        share = Decimal(20)
        return GlucosePeriod(
            person_id=person_id,
            first_day=last_day - (days - 1) * DAY,
            last_day=last_day,
            days_of_wear=days,
            count=4000,
            sensor_active_percent=Decimal(99),
            mean_mg_dl=Decimal("146.3"),
            sd_mg_dl=Decimal(40),
            cv_percent=Decimal(27),
            gmi_percent=Decimal("6.81") if self.is_sufficient else None,
            very_low_percent=share,
            low_percent=share,
            in_range_percent=share,
            high_percent=share,
            very_high_percent=share,
            is_sufficient=self.is_sufficient,
            clipped_low=0,
            clipped_high=0,
        )

    def drafts(self) -> list[DepartureDraft]:
        """What is in the outbox."""
        return [row.departure.draft for row in self.registry.rows.values()]

    def _announce(self) -> None:
        self.announced += 1


CASES: list[tuple[str, Consent | None, bool]] = [
    ("active", consent(), True),
    ("none", None, False),
    ("not yet and not covered", consent(granted_at=NOW + DAY, covers_from=NOW + DAY), False),
    ("expired", consent(expires_at=NOW), False),
    ("not expired", consent(expires_at=NOW + DAY), True),
    ("withdrawn", consent(withdrawn_at=NOW), False),
    ("withdrawn later", consent(withdrawn_at=NOW + DAY), False),
    ("covers from the reading on", consent(covers_from=NOW - timedelta(hours=1)), True),
    ("covers from later", consent(covers_from=NOW - timedelta(minutes=59)), False),
    ("other person", consent(BRUNO), False),
    ("other type", consent(data_type=DataType.GLUCOSE), False),
    ("other destination", consent(destination=OTHER), False),
]


@pytest.mark.parametrize(("name", "granted", "leaves"), CASES, ids=[case[0] for case in CASES])
async def test_consent_decides(name: str, granted: Consent | None, leaves: bool) -> None:
    """H2: a reading is planned exactly when a consent covers it at that moment; it is decided once either way."""
    bench = Bench()
    if granted is not None:
        await bench.registry.grant(granted)
    bench.registry.waiting = [weight()]
    assert int(leaves) == await bench.planner().plan_readings()
    assert (int(leaves), int(leaves)) == (len(bench.drafts()), bench.announced)
    assert bench.registry.waiting == []


@pytest.mark.parametrize(
    "stored",
    [weight(metric=Metric.BODY_MASS_INDEX), weight(metric=Metric.GLUCOSE_INTERSTITIAL), weight(person=BRUNO)],
)
async def test_what_has_no_place_there_stays(stored: StoredReading) -> None:
    """A metric that the space does not take, and a person without an account, leave nothing."""
    bench = Bench()
    for data_type in DataType:
        await bench.registry.grant(consent(data_type=data_type))
        await bench.registry.grant(consent(BRUNO, data_type))
    bench.registry.waiting = [stored]
    assert await bench.planner().plan_readings() == 0
    assert bench.registry.waiting == []


async def test_consent_of_the_future_decides_nothing() -> None:
    """A clock that went back behind a consent leaves its readings undecided, decides the others, and catches up."""
    bench = Bench()
    await bench.registry.grant(consent(granted_at=NOW))
    bench.clock.advance(-1)
    covered = [weight(number) for number in range(1, 1202)]
    stays = [weight(2000, metric=Metric.BODY_MASS_INDEX), weight(2001, at=NOW - 61 * DAY)]
    bench.registry.waiting = [*covered, *stays]
    planner = bench.planner()
    assert await planner.plan_readings() == 0
    assert covered == bench.registry.waiting
    bench.clock.advance(1)
    assert await planner.plan_readings() == 1201
    assert bench.registry.waiting == []


async def test_nothing_is_planned_by_an_untrusted_clock() -> None:
    """While the clock cannot be right everything stays undecided."""
    bench = Bench(past=[weight(2, at=NOW - DAY)])
    for data_type in (DataType.WEIGHT, DataType.GLUCOSE):
        await bench.registry.grant(consent(data_type=data_type, granted_at=NOW))
    bench.registry.waiting = [weight()]
    bench.clock.trusted = False
    planner = bench.planner()
    assert [0, 0, 0] == [await planner.plan_readings(), await planner.plan_backlog(), await planner.plan_summaries()]
    assert len(bench.registry.waiting) == 1
    bench.clock.trusted = True
    assert [1, 1, 2] == [await planner.plan_readings(), await planner.plan_backlog(), await planner.plan_summaries()]


async def test_new_readings_settle_first() -> None:
    """A reading's row waits a little before its first attempt, in which a correction can take its place."""
    bench = Bench(past=[weight(2, at=NOW - DAY)])
    await bench.registry.grant(consent(granted_at=NOW - timedelta(minutes=1)))
    bench.registry.waiting = [weight()]
    planner = bench.planner()
    await planner.plan_readings()
    await planner.plan_backlog()
    assert [NOW + PlannerPolicy().settle] * 2 == [bench.registry.row(number).not_before for number in (1, 2)]


async def test_correction_replaces_what_waits() -> None:
    """A corrected value, and a corrected time, take the place of what has not left yet; no second row."""
    bench = Bench()
    await bench.registry.grant(consent())
    planner = bench.planner()
    for corrected in (weight(), weight(value="80.5"), weight(value="80.5", at=NOW - timedelta(hours=2))):
        bench.registry.waiting = [corrected]
        await planner.plan_readings()
        (draft,) = bench.drafts()
        (observation,) = [
            entry.resource
            for entry in from_json_as(Bundle, draft.resource).entry
            if isinstance(entry.resource, Observation)
        ]
        assert observation.valueQuantity is not None
        assert (corrected.reading.value, corrected.reading.effective_at) == (
            observation.valueQuantity.value,
            draft.effective_at,
        )


@pytest.mark.parametrize(
    "corrected",
    [weight(is_control=True), weight(value="9000"), weight(at=NOW - 61 * DAY)],
    ids=["control", "implausible", "before the consent"],
)
async def test_correction_calls_back_what_must_not_leave(corrected: StoredReading) -> None:
    """A reading that must not leave any more after its correction is called back; corrected again, it leaves."""
    bench = Bench()
    await bench.registry.grant(consent())
    planner = bench.planner()
    for stored, state in (
        (weight(), DepartureState.PENDING),
        (corrected, DepartureState.CANCELLED),
        (weight(value="72"), DepartureState.PENDING),
    ):
        bench.registry.waiting = [stored]
        await planner.plan_readings()
        assert [state] == bench.registry.states()


async def test_reading_that_cannot_be_mapped_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the mapping of one reading is counted and decided; the others leave."""

    def mapped(stored: StoredReading, *context: object) -> list[DepartureDraft]:
        if stored.row_id == 1:
            raise ValueError("impossible")
        return drafts_for(stored, *context)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(planner_module, "drafts_for", mapped)
    bench = Bench()
    await bench.registry.grant(consent())
    bench.registry.waiting = [weight(1), weight(2)]
    planner = bench.planner()
    assert await planner.plan_readings() == 1
    assert ([], 1) == (bench.registry.waiting, planner.skipped)


async def test_period_that_cannot_be_mapped_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the mapping of one person's period is not met again every minute, and others' periods leave."""

    def mapped(period: GlucosePeriod, *context: object) -> list[DepartureDraft]:
        if period.person_id == ANNE:
            raise ValueError("impossible")
        return summary_drafts(period, *context)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(planner_module, "summary_drafts", mapped)
    bench = Bench((destination(ANNE, BRUNO),))
    for person in (ANNE, BRUNO):
        await bench.registry.grant(consent(person, DataType.GLUCOSE))
    planner = bench.planner()
    assert [2, 0] == [await planner.plan_summaries(), await planner.plan_summaries()]
    assert {BRUNO} == {draft.person_id for draft in bench.drafts()}
    assert [ANNE, BRUNO] == [person_id for person_id, _, _ in bench.asked]


async def test_planned_twice_is_one_row() -> None:
    """P2: the same reading decided again, by this process or the next, changes nothing."""
    bench = Bench()
    await bench.registry.grant(consent())
    for _ in range(2):
        bench.registry.waiting = [weight()]
        await bench.planner().plan_readings()
    assert len(bench.drafts()) == 1


async def test_consent_may_reach_back() -> None:
    """Readings decided before the grant leave when the consent covers them, once, and older ones stay."""
    bench = Bench(past=[weight(1, at=NOW - 3 * DAY), weight(2, at=NOW - DAY)])
    await bench.registry.grant(consent(granted_at=NOW, covers_from=NOW))
    planner = bench.planner()
    assert await planner.plan_backlog() == 0
    await bench.registry.grant(consent(granted_at=NOW, covers_from=NOW - 2 * DAY))
    assert await planner.plan_backlog() == 1
    assert await planner.plan_backlog() == 0
    assert await bench.planner().plan_backlog() == 0
    assert [NOW - DAY] == [draft.effective_at for draft in bench.drafts()]


async def test_each_destination_by_its_own_consent() -> None:
    """One reading leaves for each destination whose consent covers it."""
    bench = Bench((destination(ANNE), destination(ANNE, destination_id=OTHER)))
    await bench.registry.grant(consent(destination=OTHER))
    bench.registry.waiting = [weight(number) for number in range(1, 1202)]
    assert await bench.planner().plan_readings() == 1201
    assert {OTHER} == {draft.destination_id for draft in bench.drafts()}


async def test_closed_period_is_planned_once() -> None:
    """G11: the mean and GMI of the last fourteen closed days, then nothing until fourteen days later."""
    bench = Bench()
    await bench.registry.grant(consent(data_type=DataType.GLUCOSE))
    assert await bench.planner().plan_summaries() == 2
    assert [(ANNE, date(2026, 3, 19), 14)] == bench.asked
    assert {"glucose_mean_14d", "gmi_14d"} == {draft.kind for draft in bench.drafts()}
    planner = bench.planner()
    for _ in range(13):
        bench.clock.advance(86_400)
        assert await planner.plan_summaries() == 0
    bench.clock.advance(86_400)
    assert await planner.plan_summaries() == 2
    assert await bench.planner().plan_summaries() == 0
    assert {date(2026, 3, 19), date(2026, 4, 2)} == {last_day for _, last_day, _ in bench.asked}


async def test_summary_is_what_the_space_accepts() -> None:
    """The end of the period is the person's midnight, the sensor comes along, the rules have nothing to say."""
    bench = Bench()
    await bench.registry.grant(consent(data_type=DataType.GLUCOSE))
    await bench.planner().plan_summaries()
    for draft in bench.drafts():
        bundle = from_json_as(Bundle, draft.resource)
        resources = [entry.resource for entry in bundle.entry]
        (observation,) = [resource for resource in resources if isinstance(resource, Observation)]
        assert datetime(2026, 3, 19, 23, tzinfo=UTC) == draft.effective_at
        assert observation.effectiveDateTime == "2026-03-20T00:00:00+01:00"
        assert any(isinstance(resource, Device) for resource in resources)
        assert check_transaction(bundle, solution_oid="2.999.5.1") == []


async def test_day_stays_open_for_late_readings() -> None:
    """Shortly after midnight the period still ends with the day before."""
    bench = Bench(clock=HandClock(datetime(2026, 3, 20, 0, 30, tzinfo=UTC)))
    await bench.registry.grant(consent(data_type=DataType.GLUCOSE))
    await bench.planner().plan_summaries()
    assert [(ANNE, date(2026, 3, 18), 14)] == bench.asked


@pytest.mark.parametrize(
    ("granted", "is_sufficient"),
    [
        (consent(data_type=DataType.GLUCOSE), False),
        (consent(data_type=DataType.GLUCOSE, covers_from=datetime(2026, 3, 6, tzinfo=UTC)), True),
        (consent(data_type=DataType.GLUCOSE, withdrawn_at=NOW), True),
        (consent(data_type=DataType.WEIGHT), True),
    ],
)
async def test_period_leaves_as_a_whole(granted: Consent, is_sufficient: bool) -> None:
    """A period with too little data, or begun before the consent covers, or without consent, stays."""
    bench = Bench(is_sufficient=is_sufficient)
    await bench.registry.grant(granted)
    assert await bench.planner().plan_summaries() == 0
    assert bench.drafts() == []


async def test_cancelled_period_is_not_planned_again() -> None:
    """A period that was planned and cancelled stays decided, also for a new process."""
    bench = Bench()
    await bench.registry.grant(consent(data_type=DataType.GLUCOSE))
    await bench.planner().plan_summaries()
    for row in list(bench.registry.rows):
        await bench.registry.settle(row, DepartureState.CANCELLED, NOW)
    bench.clock.advance(5 * 86_400)
    assert await bench.planner().plan_summaries() == 0


async def test_running_planner_wakes_up() -> None:
    """New readings are decided as soon as the planner is woken, and a lost store is survived."""
    bench = Bench()
    await bench.registry.grant(consent())
    failed, planned = asyncio.Event(), asyncio.Event()

    class Flaky(MemoryRegistry):
        async def unplanned(self, *, limit: int = 500, after: int = 0) -> list[StoredReading]:
            if not failed.is_set():
                failed.set()
                raise StoreUnavailable("disk full")
            return await super().unplanned(limit=limit, after=after)

    registry = Flaky(granted=bench.registry.granted)
    store = cast("ReadingStore", SensorStore())
    planner = Planner(registry, store, bench.clock, bench.destinations, bench.period_of, on_planned=planned.set)
    task = asyncio.create_task(planner.run(), name="planner")
    await failed.wait()
    registry.waiting = [weight()]
    planner.wake()
    await planned.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [DepartureState.PENDING] == registry.states()


def test_destination_of_the_settings() -> None:
    """Each configured account becomes the context of its person."""
    settings = DestinationSettings(
        id="mes",
        name="MES",
        base_url="https://mes.example",
        token_url="https://mes.example/token",
        solution_oid="2.999.5.1",
        patient_authority_oid="2.999.7.1",
        terminology="2025",
        accounts=(
            AccountSettings.model_validate(
                {"person": "anne", "patient_id": "idpe-anne", "client_id": "c", "client_secret_file": "secret"}
            ),
        ),
    )
    planning = planning_destination(settings)
    context = planning.contexts[ANNE]
    assert (MES, "idpe-anne", "2025") == (planning.destination_id, context.patient_id, context.terminology)
