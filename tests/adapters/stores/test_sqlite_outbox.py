"""The outbox after corrections, withdrawals and clocks that go back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlite_store_kit import ADA, BOB, NOW, SPACE, batch, consent, draft, household, open_store, reading

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.adapters.stores.sqlite.consents import CURRENT_CONSENT_TEXT
from gateway.adapters.stores.sqlite.outbox_plan import RETRACTED
from gateway.model import AuditKind, DataType, Departure, DepartureState, DestinationId, OutboxId, PersonId
from gateway.ports import Registry

__all__: list[str] = []

ONE = OutboxId(1)
OLD, NEW = draft(1), replace(draft(1), resource="{}", effective_at=NOW - timedelta(days=2))


async def _ready(store: SqliteStore) -> Registry:
    await store.registry.declare(*household())
    await store.registry.grant(consent())
    return store.registry


async def _lease(registry: Registry, after_s: float = 0, *excluded: PersonId) -> list[Departure]:
    return await registry.lease(SPACE, NOW + timedelta(seconds=after_s), lease_s=60, limit=10, excluded=excluded)


async def _row(registry: Registry) -> Departure:
    (row,) = await registry.departures()
    return row


async def _kinds(registry: Registry) -> list[AuditKind]:
    return [event.kind for event in reversed(await registry.audit())]


async def test_what_waits_takes_the_correction(tmp_path: Path) -> None:
    """A known draft replaces the content of a pending row, also after a failed attempt, and is no new row."""
    async with open_store(tmp_path) as store:
        registry = await _ready(store)
        await registry.plan([OLD], [], NOW)
        assert 0 == await registry.plan([NEW], [], NOW, not_before=NOW + timedelta(seconds=5))
        row = await _row(registry)
        assert (NEW, NOW + timedelta(seconds=5), NOW) == (row.draft, row.not_before, row.created_at)
        later = NOW + timedelta(hours=1)
        await _lease(registry, 5)
        await registry.settle(ONE, DepartureState.PENDING, NOW, not_before=later)
        await registry.plan([OLD], [], NOW)
        row = await _row(registry)
        assert (OLD, later, 1) == (row.draft, row.not_before, row.attempts)


async def test_what_is_called_back_is_no_refusal(tmp_path: Path) -> None:
    """A retracted row is cancelled with its own reason and no audit event; what `drafts` has there stays."""
    elsewhere = replace(OLD, destination_id=DestinationId("other"))
    async with open_store(tmp_path) as store:
        registry = await _ready(store)
        await registry.plan([OLD, elsewhere, draft(2)], [], NOW)
        await registry.plan([elsewhere], [], NOW, retracted=[OLD.identity, "nobody knows this"])
        second, other, first = await registry.departures()
        assert (DepartureState.CANCELLED, RETRACTED, NOW) == (first.state, first.reason, first.decided_at)
        assert {DepartureState.PENDING} == {second.state, other.state}
        assert [AuditKind.CONSENT_GRANTED] == await _kinds(registry)
        assert 1 == await registry.plan([NEW], [], NOW)
        assert [NEW, draft(2)] == [departure.draft for departure in await _lease(registry)]


@pytest.mark.parametrize("is_unknown", [False, True])
async def test_what_may_have_left_keeps_its_content(tmp_path: Path, is_unknown: bool) -> None:
    """A row being sent or unknown is read back as it was sent, and takes the correction only to be sent again."""
    async with open_store(tmp_path) as store:
        registry = await _ready(store)
        await registry.plan([OLD], [], NOW)
        await _lease(registry)
        if is_unknown:
            await registry.settle(ONE, DepartureState.UNKNOWN, NOW)
        assert 0 == await registry.plan([NEW], [], NOW)
        assert OLD == (await _row(registry)).draft
        if is_unknown:
            assert [OLD] == [departure.draft for departure in await _lease(registry)]
        await registry.settle(ONE, DepartureState.PENDING, NOW)
        assert NEW == (await _row(registry)).draft


async def test_correction_that_is_taken_back(tmp_path: Path) -> None:
    """The last decision counts for a row in doubt: as it was, called back, or new content."""
    async with open_store(tmp_path) as store:
        registry = await _ready(store)
        await registry.plan([OLD], [], NOW)
        await _lease(registry)
        await registry.plan([NEW], [], NOW)
        await registry.plan([OLD], [], NOW)
        await registry.settle(ONE, DepartureState.PENDING, NOW)
        assert OLD == (await _row(registry)).draft
        await _lease(registry)
        await registry.plan([], [], NOW, retracted=[OLD.identity])
        await registry.settle(ONE, DepartureState.PENDING, NOW)
        row = await _row(registry)
        assert (DepartureState.CANCELLED, RETRACTED) == (row.state, row.reason)
        assert [AuditKind.CONSENT_GRANTED] == await _kinds(registry)


@pytest.mark.parametrize("state", [DepartureState.DONE, DepartureState.REJECTED])
async def test_what_is_settled_stays(tmp_path: Path, state: DepartureState) -> None:
    """Nothing is planned over what has arrived or was refused for good, and nothing is called back."""
    async with open_store(tmp_path) as store:
        registry = await _ready(store)
        await registry.plan([OLD], [], NOW)
        await _lease(registry)
        await registry.settle(ONE, state, NOW)
        assert 0 == await registry.plan([NEW], [], NOW)
        await registry.plan([], [], NOW, retracted=[OLD.identity])
        row = await _row(registry)
        assert (OLD, state) == (row.draft, row.state)


@pytest.mark.parametrize("is_unknown", [False, True])
async def test_what_was_cancelled_waits_again(tmp_path: Path, is_unknown: bool) -> None:
    """Planned again after a withdrawal and a new grant, a row waits; one that may have arrived is read back first."""
    async with open_store(tmp_path) as store:
        registry = await _ready(store)
        await registry.plan([OLD], [], NOW)
        if is_unknown:
            await _lease(registry)
            await registry.settle(ONE, DepartureState.UNKNOWN, NOW)
        await registry.withdraw(ADA, DataType.GLUCOSE, SPACE, NOW)
        assert [] == await _lease(registry)
        assert DepartureState.CANCELLED is (await _row(registry)).state
        await registry.grant(consent())
        assert 1 == await registry.plan([NEW], [], NOW)
        row = await _row(registry)
        expected = (DepartureState.UNKNOWN, OLD) if is_unknown else (DepartureState.PENDING, NEW)
        assert (*expected, None, None) == (row.state, row.draft, row.reason, row.decided_at)
        ((leased),) = await _lease(registry)
        assert (DepartureState.UNKNOWN if is_unknown else DepartureState.LEASED) is leased.state
        await registry.settle(ONE, DepartureState.PENDING, NOW)
        assert NEW == (await _row(registry)).draft


async def test_consent_of_the_future_leaves_rows_alone(tmp_path: Path) -> None:
    """A clock before the consent neither leases nor cancels; rows of others are reached behind any number of those."""
    async with open_store(tmp_path) as store:
        registry = await _ready(store)
        await registry.grant(replace(consent(BOB), granted_at=NOW + timedelta(hours=1)))
        rows = [draft(number, BOB) for number in range(120)]
        await registry.plan([*rows, draft(1)], [], NOW)
        assert [draft(1)] == [departure.draft for departure in await _lease(registry)]
        assert 120 == (await registry.departure_counts())[DepartureState.PENDING]
        assert 10 == len(await _lease(registry, 3600))


async def test_excluded_people_keep_their_turn(tmp_path: Path) -> None:
    """Rows of excluded people are neither leased nor counted as attempted."""
    async with open_store(tmp_path) as store:
        registry = await _ready(store)
        await registry.grant(consent(BOB))
        await registry.plan([draft(1), draft(2, BOB)], [], NOW)
        assert [BOB] == [departure.draft.person_id for departure in await _lease(registry, 0, ADA)]
        (left,) = await registry.departures(state=DepartureState.PENDING)
        assert (0, NOW) == (left.attempts, left.not_before)


async def test_consent_to_another_wording(tmp_path: Path) -> None:
    """A consent to a wording that is not the current one lets nothing leave, and the refusal says so."""
    async with open_store(tmp_path) as store:
        registry = await _ready(store)
        await registry.grant(replace(consent(), text_version=f"{CURRENT_CONSENT_TEXT}-draft"))
        await registry.plan([draft(1)], [], NOW)
        assert not await registry.consent_allows(await _row(registry), NOW)
        assert [] == await _lease(registry)
        assert "consent to another wording than the current one" == (await _row(registry)).reason


async def test_uncertainty_is_audited_once(tmp_path: Path) -> None:
    """A row that stays unknown however often it is read back has one audit event, with the start of the sending."""
    async with open_store(tmp_path) as store:
        registry = await _ready(store)
        await registry.plan([draft(1)], [], NOW)
        await _lease(registry)
        began = datetime.fromisoformat("2026-03-01T12:00:00.25+00:00")
        await registry.settle(ONE, DepartureState.UNKNOWN, NOW, reason="lost", began_at=began)
        for _ in range(3):
            assert [DepartureState.UNKNOWN] == [departure.state for departure in await _lease(registry)]
            await registry.settle(ONE, DepartureState.UNKNOWN, NOW, reason="search down")
        await registry.settle(ONE, DepartureState.UNKNOWN, NOW)
        assert [AuditKind.CONSENT_GRANTED, AuditKind.UNCERTAIN] == await _kinds(registry)
        newest = (await registry.audit())[0]
        assert "glucose_capillary: lost; sending began 2026-03-01T12:00:00.250+00:00" == newest.detail


async def test_next_due_and_latest_effective(tmp_path: Path) -> None:
    """The next row that becomes due, and the newest instant stated, whatever else the outbox holds."""
    hour = timedelta(hours=1)
    async with open_store(tmp_path) as store:
        registry = await _ready(store)
        assert await registry.next_due(SPACE, NOW) is None
        assert await registry.latest_effective(ADA, SPACE, {"gmi_14d"}) is None
        for number in (1, 2, 3):
            await registry.plan([draft(number, days_ago=number)], [], NOW, not_before=NOW + number * hour)
        assert NOW + hour == await registry.next_due(SPACE, NOW)
        assert NOW + 2 * hour == await registry.next_due(SPACE, NOW + hour)
        await registry.settle(OutboxId(2), DepartureState.UNKNOWN, NOW)
        assert NOW + 2 * hour == await registry.next_due(SPACE, NOW + hour)
        await registry.settle(OutboxId(2), DepartureState.DONE, NOW)
        assert NOW + 3 * hour == await registry.next_due(SPACE, NOW + hour)
        assert await registry.next_due(DestinationId("other"), NOW) is None
        kinds = ("glucose_capillary", "gmi_14d")
        assert NOW - timedelta(days=1) == await registry.latest_effective(ADA, SPACE, kinds)
        assert await registry.latest_effective(BOB, SPACE, kinds) is None
        assert await registry.latest_effective(ADA, SPACE, ["gmi_14d"]) is None


async def test_undecided_readings_are_paged(tmp_path: Path) -> None:
    """Readings that stay undecided do not hide those after them."""
    async with open_store(tmp_path) as store:
        registry = await _ready(store)
        await store.readings.commit(batch(*(reading(number) for number in range(1, 6))))
        first = await registry.unplanned(limit=2)
        rest = await registry.unplanned(limit=9, after=first[-1].row_id)
        assert [1, 2, 3, 4, 5] == [stored.row_id for stored in [*first, *rest]]
