"""Whose weigh-in it is where very much waits, or was told years ago: nothing is forgotten, nobody is held up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from weigh_in_kit import ANNE, NOW, SHARED, House, house, reading

from gateway.attribution import Candidate, Verdict, WeighIn, attribute
from gateway.model import (
    Batch,
    DecisionSource,
    Provenance,
    Reading,
    SourceKind,
    StoredWeighIn,
    TimeMethod,
    TimeQuality,
    WeighInState,
)

PAGE = DecisionSource.PAGE
OWNED = replace(SHARED, person_id=ANNE, candidates=(ANNE,))
IMPORTED = Provenance(SourceKind.FILE, "file.test")


def mornings(who: str, mass_kg: str, days: Iterable[int]) -> list[Reading]:
    """A weigh-in out of a file for each of `days` ago."""
    return [
        replace(
            reading(f"{who}-{day}", f"{mass_kg}.{day * 7 % 5}", at=NOW - timedelta(days=day, hours=2)),
            provenance=IMPORTED,
        )
        for day in days
    ]


async def _commit(home: House, *readings: Reading) -> None:
    await home.store.readings.commit(Batch(readings=readings))


async def test_a_long_file_is_decided_to_its_end(tmp_path: Path) -> None:
    """Of more than one look holds, all are looked at: none stays new."""
    async with house(tmp_path) as home:
        await _commit(home, *mornings("anne", "62", range(600)))
        assert 600 == await home.attributor.look()
        waiting = await home.store.attributions.waiting(limit=1000)
        assert {WeighInState.WAITING} == {each.state for each in waiting}


async def test_old_ones_that_nothing_solves_hide_nothing(tmp_path: Path) -> None:
    """Behind 600 old weigh-ins of nobody in the house, a new one that waited is filed once it is known whose."""
    async with house(tmp_path) as home:
        await home.live_together(days=10)
        guests = [each for kg in ("12", "31", "140") for each in mornings(f"guest-{kg}", kg, range(400, 600))]
        await _commit(home, *guests, *mornings("then", "62", range(300, 305)))
        await home.attributor.look()
        assert 605 == await home.store.attributions.waiting_count()
        for day in (304, 303, 302):
            await home.inbox.assign([(await home.find(f"then-{day}")).number], ANNE, PAGE)
        await home.attributor.look()
        assert [ANNE, ANNE] == [await home.whose(f"then-{day}") for day in (301, 300)]


async def test_what_was_known_years_ago_counts_then(tmp_path: Path) -> None:
    """A weigh-in of two years ago that comes late fits what was filed around it, however much was filed since."""
    async with house(tmp_path, OWNED) as home:
        await _commit(home, *mornings("anne", "62", range(700)))
        numbers = [each.number for each in await home.store.attributions.waiting(limit=1000)]
        assert 700 == await home.inbox.assign(numbers, ANNE, PAGE)
        await _commit(home, *mornings("late", "62", [650]))
        await home.attributor.look()
        assert ANNE == await home.whose("late-650")


async def test_a_corrected_one_is_looked_at_again(tmp_path: Path) -> None:
    """What waited because of a wrong value is filed when its source corrects it."""
    async with house(tmp_path) as home:
        await home.live_together()
        await home.weigh("typo", "26.2")
        assert await home.whose("typo") is None
        at = NOW - timedelta(hours=2)
        await home.measure(reading("typo", "62.2", at=at, received_at=at + timedelta(minutes=1)))
        assert ANNE == await home.whose("typo")


async def test_a_look_at_many_holds_nobody_up(tmp_path: Path) -> None:
    """Between any two weigh-ins others get their turn, also where each has a new answer."""
    async with house(tmp_path) as home:
        await _commit(home, *mornings("anne", "62", range(300)))
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        assert 300 == await home.attributor.look()
        task.cancel()
        assert turns >= 300


async def test_only_what_may_have_changed_is_judged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weigh-in filed today is no reason to think again about those of years ago."""
    judged: list[str] = []

    def counting(weigh_in: WeighIn, candidates: list[Candidate]) -> Verdict:
        judged.append(weigh_in.name)
        return attribute(weigh_in, candidates)

    async with house(tmp_path) as home:
        await _commit(home, *mornings("guest", "31", range(500, 800)))
        await home.live_together(days=70)
        monkeypatch.setattr("gateway.attributor.attribute", counting)
        await home.weigh("a", "62.1")
        assert ANNE == await home.whose("a")
        assert ["a"] == [name.partition("/")[2] for name in judged]


async def test_thinking_again_leaves_no_trace(tmp_path: Path) -> None:
    """What waits for the same reasons as before is not written down again at every weigh-in of somebody else."""
    async with house(tmp_path) as home:
        await home.live_together(days=20)
        await home.weigh("guest", "73", minute=40)
        number = (await home.find("guest")).number
        before = await home.store.attributions.history(number)
        for n in range(4):
            await home.weigh(f"anne-now-{n}", f"62.{n}", minute=50 + n)
        assert before == await home.store.attributions.history(number)


async def test_one_whose_time_becomes_known_is_asked_about_again(tmp_path: Path) -> None:
    """E6, F4: received before the hub had the time, it waits for want of its time; once known, it is filed."""
    async with house(tmp_path) as home:
        await home.live_together(days=10)
        wrong = NOW - timedelta(days=200)
        untimed = replace(
            reading("early", "62.1", at=wrong),
            time_quality=TimeQuality.UNKNOWN,
            time_method=TimeMethod.RECEPTION,
            device_time=None,
        )
        await home.measure(untimed)
        waiting = await home.find("early")
        assert (WeighInState.WAITING, "time_unknown") == (waiting.state, _reasons(waiting)[0])
        (stored,) = [
            each
            for each in await home.store.readings.readings(device_id=SHARED.device_id)
            if each.reading.record_key == "early"
        ]
        at = NOW - timedelta(hours=2)
        known = replace(
            stored.reading,
            effective_at=at,
            time_quality=TimeQuality.RECEIVED,
            time_method=TimeMethod.RECEPTION_REPAIRED,
        )
        assert 1 == await home.store.readings.retime([(stored, known)])
        await home.attributor.look()
        assert ANNE == await home.whose("early")


async def test_one_that_comes_in_the_middle_of_a_look_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed after the new ones were read and before the look ends is not taken for seen."""
    async with house(tmp_path) as home:
        await home.live_together(days=10)
        undecided = home.store.attributions.undecided
        late = [reading("late", "62.1", at=NOW - timedelta(hours=2))]

        async def commit_after(*arguments: object, **options: object) -> object:
            found = await undecided(*arguments, **options)  # type: ignore[arg-type]
            if late and not found and arguments[0] is WeighInState.NEW:
                await _commit(home, late.pop())
            return found

        monkeypatch.setattr(home.store.attributions, "undecided", commit_after)
        await _commit(home, *mornings("guest", "31", range(400, 402)))
        await home.attributor.look()
        await home.attributor.look()
        assert ANNE == await home.whose("late")


def _reasons(stored: StoredWeighIn) -> list[str]:
    assert stored.decision is not None
    reasons = stored.decision.evidence["reasons"]
    assert isinstance(reasons, list)
    return [str(each) for each in reasons]
