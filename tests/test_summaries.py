"""Day figures over a real store: only what changed is computed, and always right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.model import (
    Batch,
    Device,
    DeviceId,
    DeviceKind,
    Metric,
    Person,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    TimeQuality,
)
from gateway.summaries import Summaries

PARIS = ZoneInfo("Europe/Paris")
CAMILLE, NOE = PersonId("camille"), PersonId("noe")
PEOPLE = {CAMILLE: Person(CAMILLE, "Camille", PARIS), NOE: Person(NOE, "Noé", PARIS)}
DEVICES = [
    Device(DeviceId("sensor"), DeviceKind.CGM, "Sensor", person_id=CAMILLE),
    Device(DeviceId("scale"), DeviceKind.SCALE, "Scale", person_id=CAMILLE),
    Device(DeviceId("other"), DeviceKind.CGM, "Other sensor", person_id=NOE),
]
NOW = datetime(2026, 3, 20, 9, 0, tzinfo=UTC)
TODAY = date(2026, 3, 20)


class StillClock:
    """A clock that stands."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    @property
    def is_trusted(self) -> bool:
        return True


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An empty database with two people and three devices."""
    async with SqliteStore.open(tmp_path / "passerelle.db", clock=StillClock()) as opened:
        await opened.registry.declare(list(PEOPLE.values()), DEVICES)
        yield opened


@pytest.fixture
def summaries(store: SqliteStore) -> Summaries:
    """Summaries of both people."""
    return Summaries(store.readings, StillClock(), PEOPLE)


def _reading(
    local_day: date, minute: int, value: int | str, metric: Metric = Metric.GLUCOSE_INTERSTITIAL, device: str = "sensor"
) -> Reading:
    at = datetime(local_day.year, local_day.month, local_day.day, tzinfo=PARIS).astimezone(UTC)
    at += timedelta(minutes=minute)
    return Reading(
        device_id=DeviceId(device),
        epoch=0,
        record_key=f"{local_day}+{minute}",
        metric=metric,
        value=Decimal(value),
        effective_at=at,
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=at + timedelta(seconds=2),
        provenance=Provenance(SourceKind.SIMULATED, "test"),
    )


async def _commit(store: SqliteStore, *readings: Reading) -> None:
    await store.readings.commit(Batch(readings=readings))


async def test_days_become_periods(store: SqliteStore, summaries: Summaries) -> None:
    """What was stored appears in the figures of its day and of every period around it."""
    await _commit(
        store,
        *(_reading(TODAY, 5 * n, 100) for n in range(20)),
        *(_reading(TODAY - timedelta(days=1), 5 * n, 200) for n in range(20)),
        _reading(TODAY, 420, "70.50", Metric.BODY_MASS, "scale"),
    )
    assert 3 == await summaries.refresh()
    today = await summaries.glucose(CAMILLE, TODAY, 1)
    both = await summaries.glucose(CAMILLE, TODAY, 14)
    assert (20, Decimal(100), Decimal(100)) == (today.count, today.mean_mg_dl, today.in_range_percent)
    assert (40, Decimal(150), Decimal(50), 2) == (both.count, both.mean_mg_dl, both.in_range_percent, both.days_of_wear)
    weight = await summaries.weight(CAMILLE)
    assert weight is not None
    assert (Decimal("70.50"), TODAY) == (weight.last_kg, weight.last_day)
    assert TODAY == summaries.today(CAMILLE)


async def test_refreshing_twice_computes_nothing(store: SqliteStore, summaries: Summaries) -> None:
    """A second refresh finds nothing to do and changes nothing; so does receiving everything again."""
    readings = [_reading(TODAY, 5 * n, 100) for n in range(5)]
    await _commit(store, *readings)
    assert 1 == await summaries.refresh()
    before = await store.readings.glucose_days(CAMILLE, TODAY, TODAY)
    assert 0 == await summaries.refresh()
    await _commit(store, *readings)
    assert 0 == await summaries.refresh()
    assert before == await store.readings.glucose_days(CAMILLE, TODAY, TODAY)


async def test_a_late_reading_touches_only_its_day(store: SqliteStore, summaries: Summaries) -> None:
    """A reading that arrives a week late makes one day be computed again: its own."""
    week = [TODAY - timedelta(days=n) for n in range(7)]
    await _commit(store, *(_reading(day, 600, 100) for day in week))
    assert 7 == await summaries.refresh()
    before = await store.readings.glucose_days(CAMILLE, week[-1], TODAY)
    await _commit(store, _reading(week[-1], 605, 300))
    assert [week[-1]] == [day.local_day for day in await store.readings.dirty_days()]
    assert 1 == await summaries.refresh()
    after = await store.readings.glucose_days(CAMILLE, week[-1], TODAY)
    assert (2, Decimal(400)) == (after[0].count, after[0].total_mg_dl)
    assert before[1:] == after[1:]


async def test_a_correction_replaces(store: SqliteStore, summaries: Summaries) -> None:
    """The value received last is the one in the figures; the corrected one leaves no trace in them."""
    first = _reading(TODAY, 600, 100)
    await _commit(store, first)
    await summaries.refresh()
    await _commit(store, replace(first, value=Decimal(110), received_at=first.received_at + timedelta(minutes=1)))
    assert 1 == await summaries.refresh()
    (day,) = await store.readings.glucose_days(CAMILLE, TODAY, TODAY)
    assert (1, Decimal(110), Decimal(110), Decimal(110)) == (
        day.count,
        day.total_mg_dl,
        day.minimum_mg_dl,
        day.maximum_mg_dl,
    )


async def test_a_correction_to_another_day_empties_the_first(store: SqliteStore, summaries: Summaries) -> None:
    """When a correction moves a weigh-in to another day, the day that it left has none any more."""
    wrong = _reading(TODAY, 30, "70", Metric.BODY_MASS, "scale")
    await _commit(store, wrong)
    await summaries.refresh()
    moved = replace(
        wrong, effective_at=wrong.effective_at - timedelta(hours=3), received_at=wrong.received_at + timedelta(hours=1)
    )
    await _commit(store, moved)
    await summaries.refresh()
    days = await store.readings.weight_days(CAMILLE, TODAY - timedelta(days=2), TODAY)
    assert [TODAY - timedelta(days=1)] == [day.local_day for day in days]


async def test_people_do_not_mix(store: SqliteStore, summaries: Summaries) -> None:
    """Two people with sensors have each their own figures."""
    await _commit(store, _reading(TODAY, 600, 100), _reading(TODAY, 600, 250, device="other"))
    await summaries.refresh()
    means = [(await summaries.glucose(person, TODAY, 1)).mean_mg_dl for person in (CAMILLE, NOE)]
    assert [Decimal(100), Decimal(250)] == means


async def test_a_reading_away_from_home_counts_for_its_own_day(store: SqliteStore, summaries: Summaries) -> None:
    """A day is that of the person's clock where the reading was made, even ten hours from home."""
    at = datetime(2026, 3, 18, 21, 30, tzinfo=UTC)
    abroad = replace(_reading(TODAY, 0, 100), effective_at=at, utc_offset_min=600)
    await _commit(store, abroad)
    assert date(2026, 3, 19) == abroad.local_day
    await summaries.refresh()
    days = await store.readings.glucose_days(CAMILLE, date(2026, 3, 17), TODAY)
    assert [(date(2026, 3, 19), 1)] == [(day.local_day, day.count) for day in days]


async def test_other_metrics_are_cleared(store: SqliteStore, summaries: Summaries) -> None:
    """Metrics without day figures do not keep a refresh busy."""
    await _commit(
        store, _reading(TODAY, 600, 120, Metric.GLUCOSE_CAPILLARY), _reading(TODAY, 601, 60, Metric.HEART_RATE)
    )
    await summaries.refresh()
    assert [] == await store.readings.dirty_days()


async def test_run_follows_changes(store: SqliteStore, summaries: Summaries) -> None:
    """Whoever runs the summaries is told after every computation, and only then."""
    changed, told = asyncio.Event(), asyncio.Queue[int]()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(summaries.run(changed, lambda: told.put_nowait(1)))
        await _commit(store, _reading(TODAY, 600, 100))
        changed.set()
        await told.get()
        await _commit(store, _reading(TODAY, 605, 200))
        changed.set()
        await told.get()
        running.cancel()
    assert Decimal(150) == (await summaries.glucose(CAMILLE, TODAY, 1)).mean_mg_dl


async def test_run_finds_what_another_process_wrote(tmp_path: Path, store: SqliteStore, summaries: Summaries) -> None:
    """A command beside the running gateway tells it nothing: the days are computed at the next look all the same."""
    changed, told = asyncio.Event(), asyncio.Queue[int]()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(summaries.run(changed, lambda: told.put_nowait(1), look_s=0.05))
        await _commit(store, _reading(TODAY, 600, 100))
        changed.set()
        await told.get()
        async with SqliteStore.open(tmp_path / "passerelle.db", clock=StillClock()) as command:
            await _commit(command, _reading(TODAY, 605, 200))
        await told.get()
        running.cancel()
    assert Decimal(150) == (await summaries.glucose(CAMILLE, TODAY, 1)).mean_mg_dl


async def test_nobody_of_that_id(summaries: Summaries) -> None:
    """Figures of somebody unknown are an error, not zeros."""
    with pytest.raises(KeyError):
        await summaries.glucose(PersonId("nobody"), TODAY, 1)


async def test_a_second_source_of_the_same_sensor_counts_once(store: SqliteStore) -> None:
    """Camille's phone tells what her sensor tells, two minutes later, whole days long: counted once, in her order."""
    await store.registry.declare([], [Device(DeviceId("phone"), DeviceKind.CGM, "Phone", person_id=CAMILLE)])
    yesterday = TODAY - timedelta(days=1)
    for day in (yesterday, TODAY):
        await _commit(store, *(_reading(day, 5 * n, 100) for n in range(288)))
        await _commit(store, *(_reading(day, 5 * n + 2, 200, device="phone") for n in range(288)))
    mean = {}
    for first in ("sensor", "phone"):
        person = replace(PEOPLE[CAMILLE], glucose_sources=(DeviceId(first),))
        summaries = Summaries(store.readings, StillClock(), {CAMILLE: person})
        assert (first == "sensor") is (await summaries.refresh() > 0)
        assert 2 == await summaries.recompute(CAMILLE)
        figures = await summaries.glucose(CAMILLE, TODAY, 2)
        mean[first] = figures.mean_mg_dl
        assert 576 <= figures.count <= 577  # the very first minutes have no other source
    assert Decimal(100) == mean["sensor"]
    assert mean["phone"] is not None
    assert mean["phone"] > 199


async def test_a_day_follows_what_changes_beyond_midnight(store: SqliteStore, summaries: Summaries) -> None:
    """A copy just after midnight stops counting when the preferred source's reading of just before it arrives late."""
    await store.registry.declare([], [Device(DeviceId("x-phone"), DeviceKind.CGM, "Phone", person_id=CAMILLE)])
    yesterday = TODAY - timedelta(days=1)
    await _commit(store, _reading(yesterday, 720, 100), _reading(TODAY, 1, 101, device="x-phone"))
    await summaries.refresh()
    assert 1 == (await summaries.glucose(CAMILLE, TODAY, 1)).count
    await _commit(store, _reading(yesterday, 1439, 102))
    await summaries.refresh()
    assert 0 == (await summaries.glucose(CAMILLE, TODAY, 1)).count
    assert 2 == (await summaries.glucose(CAMILLE, yesterday, 1)).count
