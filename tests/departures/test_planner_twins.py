"""A finger-stick that a meter and an app both tell leaves once, whatever comes first: real SQLite, the real outbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import permutations
from pathlib import Path

import pytest
from outbox_kit import ANNE, MES, NOW, PARIS, HandClock, consent, destination

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.departures.planner import Planner, planned_identities
from gateway.fhir.r4 import Bundle, Observation, from_json_as
from gateway.inbox import Inbox
from gateway.model import (
    Absent,
    Batch,
    Correction,
    DataType,
    DecisionSource,
    Departure,
    DepartureState,
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
    TimeQuality,
    Unit,
    WeighInState,
)

METER, PHONE, TABLET = DeviceId("meter"), DeviceId("a-phone"), DeviceId("a-tablet")
SOURCES = {METER: SourceKind.BLUETOOTH, PHONE: SourceKind.HTTP, TABLET: SourceKind.MQTT}


def stick(
    device: DeviceId, seconds: int = 0, value: str | None = "110", *, later: float = 0, key: str = "1"
) -> Reading:
    """A finger-stick an hour ago; `later` is when this version of it was received."""
    return Reading(
        device_id=device,
        epoch=0,
        record_key=key,
        metric=Metric.GLUCOSE_CAPILLARY,
        effective_at=NOW - timedelta(hours=1) + timedelta(seconds=seconds),
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=NOW + timedelta(seconds=later),
        provenance=Provenance(SOURCES[device], "test"),
        value=None if value is None else Decimal(value),
        absent=Absent.WITHDRAWN if value is None else None,
        original_value=None if value is None else Decimal(value),
        original_unit=None if value is None else Unit.MG_DL,
    )


class Desk:
    """A planner over a real store; Anne has an account and a consent for glucose."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.planner = self.new_planner()

    def new_planner(self, first: tuple[DeviceId, ...] = ()) -> Planner:
        """Another process."""
        return Planner(
            self.store.registry,
            self.store.readings,
            HandClock(),
            [destination(ANNE)],
            _no_period,
            first_of=lambda _: first,
        )

    async def take(self, *readings: Reading) -> None:
        """Commit together, then plan."""
        await self.store.readings.commit(Batch(readings=readings))
        await self.planner.plan_readings()

    async def rows(self) -> list[Departure]:
        """The outbox, oldest row first."""
        return list(reversed(await self.store.registry.departures()))

    async def told(self) -> list[tuple[int, DepartureState]]:
        """What stands in each row: the second at which it was measured, and its state."""
        return [
            (round((row.draft.effective_at - NOW + timedelta(hours=1)).total_seconds()), row.state)
            for row in await self.rows()
        ]

    async def leave(self) -> None:
        """Everything that waits arrives."""
        for row in await self.store.registry.lease(MES, NOW + timedelta(hours=1), lease_s=60, limit=10):
            await self.store.registry.settle(row.outbox_id, DepartureState.DONE, NOW, remote_id="r")


async def _no_period(person_id: PersonId, last_day: date, days: int) -> GlucosePeriod | None:
    return None


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """An empty gateway of Anne's with three devices."""
    devices = [Device(name, DeviceKind.GLUCOSE_METER, name, person_id=ANNE) for name in SOURCES]
    async with SqliteStore.open(tmp_path / "p.db", clock=HandClock()) as store:
        await store.registry.declare([Person(ANNE, "Anne", PARIS)], devices)
        await store.registry.grant(consent(data_type=DataType.GLUCOSE))
        yield Desk(store)


PENDING, DONE, CANCELLED = DepartureState.PENDING, DepartureState.DONE, DepartureState.CANCELLED


@pytest.mark.parametrize("order", list(permutations([stick(METER), stick(PHONE, 60, "111"), stick(TABLET, 90)])))
@pytest.mark.parametrize("together", [True, False])
async def test_one_leaves(desk: Desk, order: tuple[Reading, ...], together: bool) -> None:
    """Three sources of one result, in any order, at once or one by one: one row, with what the meter says."""
    for readings in [order] if together else [(each,) for each in order]:
        await desk.take(*readings)
    assert [(0, PENDING)] == await desk.told()
    (row,) = await desk.rows()
    (observation,) = [
        entry.resource
        for entry in from_json_as(Bundle, row.draft.resource).entry
        if isinstance(entry.resource, Observation)
    ]
    assert observation.valueQuantity is not None
    assert Decimal(110) == observation.valueQuantity.value


async def test_the_persons_order_decides(desk: Desk) -> None:
    """Who trusts the phone more sends what the phone says."""
    desk.planner = desk.new_planner((PHONE,))
    await desk.take(stick(METER), stick(PHONE, 60))
    assert [(60, PENDING)] == await desk.told()


async def test_what_has_left_does_not_leave_again(desk: Desk) -> None:
    """The app told it at once and it left; the meter's memory, read hours later, adds nothing."""
    await desk.take(stick(PHONE, 60))
    await desk.leave()
    await desk.take(stick(METER))
    assert [(60, DONE)] == await desk.told()


async def test_a_backlog_leaves_once(desk: Desk) -> None:
    """Twins that were stored before the consent leave once, too, and not beside what has left."""
    registry = desk.store.registry
    await registry.withdraw(ANNE, DataType.GLUCOSE, MES, NOW)
    await desk.take(stick(PHONE, 60), stick(METER), stick(METER, 600, key="2"))
    assert [] == await desk.rows()
    await registry.grant(consent(data_type=DataType.GLUCOSE, granted_at=NOW))
    desk.planner = desk.new_planner()
    assert 2 == await desk.planner.plan_backlog()
    assert [(0, PENDING), (600, PENDING)] == sorted(await desk.told())
    assert 0 == await desk.new_planner().plan_backlog()


async def test_two_real_results_leave_twice(desk: Desk) -> None:
    """The same value twice within a minute by one meter, each told by the phone as well: two rows."""
    await desk.take(stick(METER), stick(METER, 60, key="2"), stick(PHONE, 3), stick(PHONE, 63, key="2"))
    assert [(0, PENDING), (60, PENDING)] == sorted(await desk.told())


@pytest.mark.parametrize("value", [None, "150"], ids=["withdrawn", "corrected"])
async def test_a_correction_parts_twins(desk: Desk, value: str | None) -> None:
    """The app's copy came first and is then taken back or corrected: the meter's result leaves all the same."""
    await desk.take(stick(PHONE, 60))
    await desk.take(stick(METER))
    await desk.take(stick(PHONE, 60, value, later=5))
    states = dict(await desk.told())
    assert PENDING is states[0]
    assert states.get(60) is (None if value is None else PENDING)
    assert 1 == list(states).count(0)


async def test_a_period_names_the_sensor_that_counts(desk: Desk) -> None:
    """Beside the figures of a fortnight stands the preferred device, though a phone told the very last value."""
    last = replace(stick(METER), metric=Metric.GLUCOSE_INTERSTITIAL)
    copy = replace(stick(PHONE, 60), metric=Metric.GLUCOSE_INTERSTITIAL)
    await desk.store.readings.commit(Batch(readings=(last, copy)))
    for first, expected in (((), METER), ((PHONE,), PHONE)):
        device = await desk.new_planner(first)._sensor_of(Person(ANNE, "Anne", PARIS), NOW)
        assert device is not None
        assert expected == device.device_id


async def _say(desk: Desk, device: DeviceId, state: WeighInState, person_id: PersonId | None) -> None:
    """A person says whose the record of that device is."""
    (stored,) = await desk.store.readings.readings(device_id=device)
    inbox = Inbox(desk.store.attributions, HandClock(), planned_identities)
    number = (await inbox.of_row(stored.row_id)).number
    if state is WeighInState.SET_ASIDE:
        await inbox.set_aside([number], DecisionSource.PAGE)
    else:
        assert person_id is not None
        await inbox.assign([number], person_id, DecisionSource.PAGE)
    await desk.planner.plan_readings()


@pytest.mark.parametrize("first", [PHONE, METER])
async def test_what_becomes_nobodys_parts_twins(desk: Desk, first: DeviceId) -> None:
    """Of twins one is set aside, whichever came first: the other one alone is what leaves; back again, one leaves."""
    second = METER if first is PHONE else PHONE
    at = {PHONE: 60, METER: 0}
    await desk.take(stick(first, at[first]))
    await desk.take(stick(second, at[second]))
    for gone, left in ((first, second), (second, first)):
        await _say(desk, gone, WeighInState.SET_ASIDE, None)
        waits = [seconds for seconds, state in await desk.told() if state is PENDING]
        assert [at[left]] == waits
        await _say(desk, gone, WeighInState.FILED, ANNE)
        waits = [seconds for seconds, state in await desk.told() if state is PENDING]
        assert [0] == waits


@pytest.mark.parametrize("is_removed_there", [False, True])
async def test_what_its_source_deletes_after_it_was_sent_is_to_be_removed(desk: Desk, is_removed_there: bool) -> None:
    """The space takes no deletions: a person is told to remove it there; told again by its source, it is right, or to
    be entered again by hand. It is never sent twice."""
    await desk.take(stick(PHONE))
    await desk.leave()
    await desk.take(stick(PHONE, value=None, later=5))
    (row,) = await desk.store.registry.corrections()
    assert row.correction is Correction.REMOVE
    if is_removed_there:
        assert await desk.store.registry.corrected(row.outbox_id, NOW)
    await desk.take(stick(PHONE, value="112", later=10))
    marks = [row.correction for row in await desk.store.registry.corrections()]
    assert ([Correction.ADD] if is_removed_there else []) == marks
    assert [(0, DONE)] == await desk.told()


async def test_what_left_while_its_twin_was_set_aside_does_not_leave_again(desk: Desk) -> None:
    """The copy that came first was set aside, the other one left; when the first is taken back, nothing leaves."""
    await desk.take(stick(PHONE, 60))
    await desk.take(stick(METER))
    await _say(desk, PHONE, WeighInState.SET_ASIDE, None)
    await desk.leave()
    await _say(desk, PHONE, WeighInState.FILED, ANNE)
    assert [(0, CANCELLED), (0, DONE)] == await desk.told()
