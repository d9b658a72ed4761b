"""People, devices, attribution, day figures, consent, outbox and audit trail."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlite_store_kit import ADA, BOB, METER, NOW, SPACE, batch, consent, draft, household, open_store, query, reading

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.errors import PermanentError
from gateway.model import (
    AuditKind,
    DataType,
    Departure,
    DepartureState,
    Device,
    DeviceId,
    DeviceKind,
    GlucoseDay,
    Metric,
    OutboxId,
    PersonId,
    WeightDay,
)
from gateway.ports import DeviceSighting, DirtyDay

__all__: list[str] = []

DAY = date(2026, 2, 28)


async def _dirty(store: SqliteStore) -> list[tuple[PersonId, Metric, date]]:
    return [(d.person_id, d.metric, d.local_day) for d in await store.readings.dirty_days()]


async def _lease(store: SqliteStore, after_s: float = 0, *, limit: int = 10) -> list[Departure]:
    return await store.registry.lease(SPACE, NOW + timedelta(seconds=after_s), lease_s=60, limit=limit)


async def _kinds(store: SqliteStore) -> list[AuditKind]:
    return [event.kind for event in reversed(await store.registry.audit())]


async def test_people_and_devices_come_back(tmp_path: Path) -> None:
    """Declarations replace names and owners; what devices said about themselves is kept."""
    people, devices = household()
    async with open_store(tmp_path) as store:
        await store.registry.declare(people, devices)
        heard = DeviceSighting(METER, NOW, manufacturer="Roche", battery_percent=80)
        await asyncio.gather(
            store.registry.sighted(heard),
            store.registry.sighted(DeviceSighting(METER, NOW - timedelta(hours=1), firmware="1.2")),
            store.registry.sighted(DeviceSighting(DeviceId("stranger"), NOW)),
        )
        await store.registry.declare(people, [replace(devices[0], display_name="My meter", model="Guide")])
        assert people == await store.registry.people()
        known = Device(
            METER, DeviceKind.GLUCOSE_METER, "My meter", ADA, None, "Roche", "Guide", None, "1.2", None, NOW, 80
        )
        stranger = Device(DeviceId("stranger"), DeviceKind.UNKNOWN, "stranger", last_heard_at=NOW)
        assert [known, stranger] == await store.registry.devices()
        with pytest.raises(PermanentError):
            await store.registry.declare([], [replace(devices[0], person_id=PersonId("carol"), display_name="!")])
        assert [known, stranger] == await store.registry.devices()


async def test_readings_wait_for_an_owner_and_stay_with_the_old_one(tmp_path: Path) -> None:
    """A new owner gets what waited; what belonged to somebody never moves to somebody else."""
    async with open_store(tmp_path) as store:
        await store.readings.commit(batch(reading(1)))
        assert [] == await store.registry.unplanned()
        assert [] == await _dirty(store)
        await store.registry.declare(*household())
        assert [ADA] == [stored.person_id for stored in await store.registry.unplanned()]
        assert [(ADA, Metric.GLUCOSE_CAPILLARY, DAY)] == await _dirty(store)
        await store.registry.declare(*household(BOB))
        await store.readings.commit(batch(reading(2)))
        await store.registry.declare(*household(None))
        await store.readings.commit(batch(reading(3)))
        assert [ADA, BOB, None] == [stored.person_id for stored in await store.readings.readings()]
        assert [1, 2] == [stored.row_id for stored in await store.registry.unplanned()]
        await store.readings.commit(batch(reading(1, "90", received=5)))
        assert [ADA] == [s.person_id for s in await store.readings.readings() if s.reading.value == 90]


async def test_a_day_that_changes_again_stays_dirty(tmp_path: Path) -> None:
    """Figures computed from an older state never clear a newer change, of either the old or the new day."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        await store.readings.commit(batch(reading(1)))
        (first,) = await store.readings.dirty_days()
        await store.readings.commit(batch(reading(2)))
        await store.readings.clear_dirty(first)
        (second,) = await store.readings.dirty_days()
        assert second.version > first.version
        await store.readings.clear_dirty(second)
        assert [] == await store.readings.dirty_days()
        await store.readings.commit(batch(reading(2, received=9)))
        assert [] == await store.readings.dirty_days()
        await store.readings.commit(batch(reading(2, minute=24 * 60, received=10)))
        assert {DAY, date(2026, 3, 1)} == {day for _, _, day in await _dirty(store)}
        assert all(dirty.version > second.version for dirty in await store.readings.dirty_days())


@pytest.mark.parametrize(("minute", "day"), [(10 * 60 + 59, DAY), (11 * 60, date(2026, 3, 1)), (-30_000_000, None)])
async def test_days_are_the_persons_own(tmp_path: Path, minute: int, day: date | None) -> None:
    """The day changes at the person's midnight, also before 1970."""
    one = reading(1, minute=minute)
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        await store.readings.commit(batch(one))
        assert [day or one.local_day] == [local_day for _, _, local_day in await _dirty(store)]
        assert one.local_day == (day or one.local_day)


async def test_day_figures_come_back(tmp_path: Path) -> None:
    """Stored figures are exact, replaced as a whole, and clear the day they were computed for."""
    glucose = GlucoseDay(
        ADA,
        DAY,
        3,
        Decimal("301.5"),
        Decimal("30301.25"),
        Decimal("90.5"),
        None,
        0,
        0,
        3,
        0,
        0,
        0,
        1,
        5,
        288,
        NOW,
        None,
    )
    weight = WeightDay(ADA, DAY, Decimal("70.10"), NOW)
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        await store.readings.commit(batch(reading(1)))
        (dirty,) = await store.readings.dirty_days()
        await store.readings.save_glucose_day(replace(glucose, count=1))
        await store.readings.save_glucose_day(glucose, dirty)
        assert [] == await store.readings.dirty_days()
        assert [glucose] == await store.readings.glucose_days(ADA, DAY, DAY)
        assert [] == await store.readings.glucose_days(BOB, DAY, DAY)
        await store.readings.save_weight_day(ADA, DAY, weight)
        (stored,) = await store.readings.weight_days(ADA, DAY - timedelta(days=1), DAY)
        assert weight == stored
        assert "70.10" == str(stored.mass_kg)
        await store.readings.save_weight_day(ADA, DAY, None, DirtyDay(ADA, Metric.BODY_MASS, DAY, 1))
        assert [] == await store.readings.weight_days(ADA, DAY, DAY)
        with pytest.raises(PermanentError):
            await store.readings.save_weight_day(PersonId("carol"), DAY, weight)


async def test_a_fact_is_planned_once(tmp_path: Path) -> None:
    """The same destination and identity gives one row, and planned readings are not offered again."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        await store.readings.commit(batch(reading(1), reading(2)))
        rows = [stored.row_id for stored in await store.registry.unplanned()]
        assert 2 == await store.registry.plan([draft(1), draft(2), draft(1)], rows[:1], NOW)
        assert 0 == await store.registry.plan([draft(2)], [], NOW)
        assert rows[1:] == [stored.row_id for stored in await store.registry.unplanned()]
        assert [draft(2), draft(1)] == [d.draft for d in await store.registry.departures(person_id=ADA)]
        assert 2 == (await store.registry.departure_counts(SPACE))[DepartureState.PENDING]


async def test_a_correction_during_planning_is_not_lost(tmp_path: Path) -> None:
    """A reading corrected after it was offered stays to be planned."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        await store.readings.commit(batch(reading(1)))
        (offered,) = await store.registry.unplanned()
        await store.readings.commit(batch(reading(1, "90", received=9)))
        await store.registry.plan([], [offered.row_id], NOW)
        (again,) = await store.registry.unplanned()
        assert Decimal("90") == again.reading.value
        await store.registry.plan([], [again.row_id], NOW)
        assert [] == await store.registry.unplanned()


async def test_only_what_a_consent_covers_is_leased(tmp_path: Path) -> None:
    """Without an active consent for person, type, destination and time a row is cancelled and the refusal audited."""
    early, late = draft(1, days_ago=11), draft(2)
    other_person, other_type = draft(3, BOB), draft(4, data_type=DataType.WEIGHT)
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        await store.registry.grant(consent())
        await store.registry.plan([early, late, other_person, other_type], [], NOW)
        assert [late] == [departure.draft for departure in await _lease(store)]
        cancelled = await store.registry.departures(state=DepartureState.CANCELLED)
        assert {early, other_person, other_type} == {departure.draft for departure in cancelled}
        assert all(departure.reason and departure.decided_at == NOW for departure in cancelled)
        assert [AuditKind.CONSENT_GRANTED, *[AuditKind.REFUSED] * 3] == await _kinds(store)
        assert [AuditKind.REFUSED] == [event.kind for event in await store.registry.audit(person_id=BOB)]


@pytest.mark.parametrize(("at", "leased"), [(-3, 0), (0, 1), (2, 0)])
async def test_a_consent_has_a_beginning_and_an_end(tmp_path: Path, at: int, leased: int) -> None:
    """Consent counts at the moment of the lease: not before it was given, not after it expired."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        await store.registry.grant(consent(days=1))
        await store.registry.plan([draft(1)], [], NOW - timedelta(days=9))
        moment = NOW + timedelta(days=at)
        assert leased == len(await store.registry.lease(SPACE, moment, lease_s=60))
        (departure,) = await store.registry.departures()
        assert bool(leased) == await store.registry.consent_allows(departure, moment)


async def test_leases_are_exclusive_and_settled(tmp_path: Path) -> None:
    """A leased row is given to nobody else; each ending is stored and audited."""
    async with open_store(tmp_path) as store, open_store(tmp_path) as other:
        await store.registry.declare(*household())
        await store.registry.grant(consent())
        await store.registry.plan([draft(n) for n in range(1, 5)], [], NOW)
        both = await asyncio.gather(_lease(store, limit=3), _lease(other, limit=3))
        leased = sorted((d for answer in both for d in answer), key=lambda d: d.outbox_id)
        assert [1, 2, 3, 4] == [departure.outbox_id for departure in leased]
        assert {(DepartureState.LEASED, 1)} == {(departure.state, departure.attempts) for departure in leased}
        later = NOW + timedelta(minutes=5)
        settle = store.registry.settle
        await settle(OutboxId(1), DepartureState.DONE, NOW, remote_id="Observation/9")
        await settle(OutboxId(2), DepartureState.REJECTED, NOW, reason="422")
        await settle(OutboxId(3), DepartureState.PENDING, NOW, reason="503", not_before=later)
        await settle(OutboxId(4), DepartureState.CANCELLED, NOW, reason="consent withdrawn")
        await settle(OutboxId(1), DepartureState.PENDING, NOW)
        four, three, two, one = await store.registry.departures()
        assert ("Observation/9", NOW, DepartureState.DONE) == (one.remote_id, one.decided_at, one.state)
        assert ("422", DepartureState.REJECTED) == (two.reason, two.state)
        assert (later, DepartureState.PENDING, None) == (three.not_before, three.state, three.decided_at)
        assert DepartureState.CANCELLED is four.state
        endings = [AuditKind.DEPARTED, AuditKind.REJECTED, AuditKind.REFUSED]
        assert [AuditKind.CONSENT_GRANTED, *endings] == await _kinds(store)
        assert [] == await _lease(store)
        assert [2] == [departure.attempts for departure in await _lease(store, 300)]
        with pytest.raises(PermanentError):
            await settle(OutboxId(99), DepartureState.DONE, NOW)
        with pytest.raises(ValueError, match="lease"):
            await settle(OutboxId(3), DepartureState.LEASED, NOW)


async def test_a_lost_answer_is_read_back_before_anything_is_sent(tmp_path: Path) -> None:
    """An expired lease becomes unknown, is offered for reading back first, and is sent again only when pending."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        await store.registry.grant(consent())
        await store.registry.plan([draft(1), draft(2)], [], NOW)
        assert 1 == len(await _lease(store, limit=1))
        unknown, fresh = await _lease(store, 60)
        assert (1, DepartureState.UNKNOWN, 1) == (unknown.outbox_id, unknown.state, unknown.attempts)
        assert (2, DepartureState.LEASED) == (fresh.outbox_id, fresh.state)
        await store.registry.settle(OutboxId(2), DepartureState.UNKNOWN, NOW, not_before=NOW + timedelta(hours=1))
        assert [DepartureState.UNKNOWN] == [departure.state for departure in await _lease(store, 120)]
        uncertain = [AuditKind.UNCERTAIN, AuditKind.UNCERTAIN]
        assert [AuditKind.CONSENT_GRANTED, *uncertain] == await _kinds(store)
        await store.registry.settle(OutboxId(1), DepartureState.PENDING, NOW)
        assert [(DepartureState.LEASED, 2)] == [(d.state, d.attempts) for d in await _lease(store, 121)]
        assert {DepartureState.UNKNOWN} == {departure.state for departure in await _lease(store, 3600)}


async def test_withdrawal_cancels_what_is_pending(tmp_path: Path) -> None:
    """Withdrawing stops the queue at once and audits each refusal; what is on the wire may still be reported."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        await store.registry.grant(consent())
        await store.registry.grant(consent(BOB))
        await store.registry.plan([draft(1), draft(2), draft(3), draft(4, BOB)], [], NOW)
        (on_the_wire,) = await _lease(store, limit=1)
        assert 2 == await store.registry.withdraw(ADA, DataType.GLUCOSE, SPACE, NOW)
        assert not await store.registry.consent_allows(on_the_wire, NOW)
        assert [ADA, BOB] == [given.person_id for given in await store.registry.consents()]
        assert [replace(consent(), withdrawn_at=NOW)] == await store.registry.consents(ADA)
        assert [BOB] == [departure.draft.person_id for departure in await _lease(store)]
        await store.registry.settle(on_the_wire.outbox_id, DepartureState.PENDING, NOW)
        assert [] == await _lease(store, 1)
        assert 0 == await store.registry.withdraw(ADA, DataType.GLUCOSE, SPACE, NOW + timedelta(days=1))
        await store.registry.settle(on_the_wire.outbox_id, DepartureState.DONE, NOW, remote_id="Observation/1")
        assert 1 == (await store.registry.departure_counts())[DepartureState.DONE]
        kinds = await _kinds(store)
        assert [2, 1, 3, 1] == [
            kinds.count(kind)
            for kind in (
                AuditKind.CONSENT_GRANTED,
                AuditKind.CONSENT_WITHDRAWN,
                AuditKind.REFUSED,
                AuditKind.DEPARTED,
            )
        ]


async def test_lease_and_withdrawal_never_both_win(tmp_path: Path) -> None:
    """However they race, each row is either leased before the withdrawal or cancelled by it."""
    async with open_store(tmp_path) as store, open_store(tmp_path) as cli:
        await store.registry.declare(*household())
        for round_number in range(10):
            await store.registry.grant(consent())
            await store.registry.plan([draft(round_number)], [], NOW)
            leased, cancelled = await asyncio.gather(
                _lease(store), cli.registry.withdraw(ADA, DataType.GLUCOSE, SPACE, NOW)
            )
            counts = await store.registry.departure_counts()
            assert 0 == counts[DepartureState.PENDING]
            assert len(leased) + cancelled <= 1
            for departure in leased:
                await store.registry.settle(departure.outbox_id, DepartureState.DONE, NOW)
        assert await store.registry.verify_audit() is None


@pytest.mark.parametrize(
    ("damage", "number"),
    [
        ("UPDATE audit SET detail = 'nothing' WHERE number = 3", 3),
        ("UPDATE audit SET hash = zeroblob(32) WHERE number = 5", 5),
        ("DELETE FROM audit WHERE number = 2", 2),
        ("DELETE FROM audit WHERE number > 4", 5),
        ("DELETE FROM audit", 1),
    ],
)
async def test_a_changed_audit_trail_is_found(tmp_path: Path, damage: str, number: int) -> None:
    """Editing, removing or cutting events by hand is noticed, and where."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        assert await store.registry.verify_audit() is None
        for day in range(6):
            await store.registry.grant(replace(consent(), granted_at=NOW + timedelta(days=day)))
        assert await store.registry.verify_audit() is None
        with pytest.raises(Exception, match="append-only"):
            query(tmp_path, damage)
        query(tmp_path, "DROP TRIGGER audit_is_not_edited")
        query(tmp_path, "DROP TRIGGER audit_is_not_shortened")
        query(tmp_path, damage)
        assert number == await store.registry.verify_audit()


async def test_unknown_people_are_refused(tmp_path: Path) -> None:
    """Consents and drafts of undeclared people are refused as a whole."""
    stranger = PersonId("carol")
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        with pytest.raises(PermanentError):
            await store.registry.grant(consent(stranger))
        with pytest.raises(PermanentError):
            await store.registry.plan([draft(1), draft(2, stranger)], [], NOW)
        assert [] == await store.registry.departures()
        assert 0 == await store.registry.withdraw(ADA, DataType.GLUCOSE, SPACE, NOW)
        assert [] == await store.registry.audit()
