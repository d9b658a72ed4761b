"""Whose weigh-in it is, from the reading to everything that depends on it: the faults F2 to F8, and what must hold."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from weigh_in_kit import (
    ANNE,
    ANNES_METER,
    BRUNO,
    MES,
    METER,
    NOW,
    SHARED,
    HandClock,
    House,
    house,
    reading,
)

from gateway.errors import PermanentError
from gateway.model import (
    AuditKind,
    Batch,
    Correction,
    DataType,
    DecisionSource,
    DepartureState,
    Metric,
    PersonId,
    WeighInNumber,
    WeighInState,
)

PAGE = DecisionSource.PAGE
OWNED = replace(SHARED, person_id=ANNE, candidates=(ANNE,))


async def _reason(home: House, name: str) -> str:
    decision = (await home.find(name)).decision
    assert decision is not None
    reasons = decision.evidence["reasons"]
    assert isinstance(reasons, list)
    return str(reasons[0])


async def test_each_is_known_by_their_weight(tmp_path: Path) -> None:
    """Of two people 22 kg apart each weigh-in is filed by itself, and the figures are each their own."""
    async with house(tmp_path) as home:
        await home.live_together()
        await home.weigh("a", "62.1")
        await home.weigh("b", "84.2", minute=20)
        assert (ANNE, BRUNO) == (await home.whose("a"), await home.whose("b"))
        assert 0 == await home.store.attributions.waiting_count()
        figures = await home.figures()
        assert ([31, 31], [62, 84]) == (
            [len(figures[ANNE]), len(figures[BRUNO])],
            [int(figures[ANNE][-1][1]), int(figures[BRUNO][-1][1])],
        )


async def test_a_scale_with_one_owner_files_at_once(tmp_path: Path) -> None:
    """The owner's first plausible live weigh-in needs no question."""
    async with house(tmp_path, OWNED) as home:
        await home.weigh("a", "62.1")
        assert await home.whose("a") == ANNE
        (event,) = await home.store.registry.audit()
        assert (AuditKind.ATTRIBUTED, ANNE) == (event.kind, event.person_id)


async def test_f2_guests_never_poison_anybody(tmp_path: Path) -> None:
    """F2: a child and a guest wait or are set aside; nobody's history knows of them, and the next one fits still."""
    async with house(tmp_path) as home:
        await home.live_together()
        before = {person: await home.store.attributions.past(person) for person in (ANNE, BRUNO)}
        for n, mass in enumerate(("15.0", "25.3", "3.1", "24.9", "48.0")):
            await home.weigh(f"guest-{n}", mass, minute=40 + n)
            assert await home.whose(f"guest-{n}") is None
        numbers = [(await home.find(f"guest-{n}")).number for n in range(5)]
        assert 5 == await home.inbox.set_aside(numbers, PAGE)
        assert 0 == await home.inbox.set_aside(numbers, PAGE)
        assert before == {person: await home.store.attributions.past(person) for person in (ANNE, BRUNO)}
        assert 0 == await home.attributor.look()
        await home.weigh("after", "62.0", minute=50)
        assert await home.whose("after") == ANNE
        assert all(mass > 60 for days in (await home.figures()).values() for _, mass in days)


async def test_f3_a_wrong_filing_is_put_right_two_weeks_later(tmp_path: Path) -> None:
    """F3: readings, figures of both, the outbox of both, the mark for what has arrived, and an unbroken audit trail."""
    async with house(tmp_path) as home:
        await home.agree(ANNE, BRUNO)
        await home.live_together()
        await home.weigh("wrong", "62.2", days_ago=0)
        await home.send()
        home.clock.instant += timedelta(days=14)
        number = (await home.find("wrong")).number
        assert 1 == await home.inbox.assign([number], BRUNO, PAGE)

        assert await home.whose("wrong") == BRUNO
        figures = await home.figures()
        assert (30, 31) == (len(figures[ANNE]), len(figures[BRUNO]))
        mine = [row for row in await home.rows() if "/wrong/" in row.draft.identity]
        assert [
            (ANNE, DepartureState.DONE, Correction.REMOVE),
            (BRUNO, DepartureState.PENDING, None),
        ] == [(row.draft.person_id, row.state, row.correction) for row in mine]
        assert [mine[0].outbox_id] == [row.outbox_id for row in await home.store.registry.corrections()]

        assert await home.store.registry.corrected(mine[0].outbox_id, home.clock.now())
        assert not await home.store.registry.corrected(mine[0].outbox_id, home.clock.now())
        assert [] == await home.store.registry.corrections()
        kinds = [event.kind for event in reversed(await home.store.registry.audit(limit=3))]
        assert [AuditKind.REATTRIBUTED, AuditKind.REATTRIBUTED, AuditKind.CORRECTED] == kinds
        assert await home.store.registry.verify_audit() is None


async def test_f3_back_again_after_the_person_removed_it(tmp_path: Path) -> None:
    """F3: what was removed in the space and comes back is to be entered there by hand: never a second sending."""
    async with house(tmp_path, OWNED) as home:
        await home.agree(ANNE)
        await home.weigh("a", "62.2")
        (row,) = await home.send()
        number = (await home.find("a")).number
        await home.inbox.set_aside([number], PAGE)
        await home.rows()
        await home.store.registry.corrected(row.outbox_id, NOW)
        await home.inbox.undo(number, PAGE)
        (row,) = await home.send()
        assert (DepartureState.DONE, Correction.ADD, 1) == (row.state, row.correction, row.attempts)
        await home.inbox.undo(number, PAGE)
        (row,) = await home.rows()
        assert row.correction is Correction.REMOVED
        await home.inbox.undo(number, PAGE)
        assert await home.store.registry.corrected(row.outbox_id, NOW)
        assert [] == await home.store.registry.corrections()


async def test_what_waits_is_called_back_in_the_same_moment(tmp_path: Path) -> None:
    """Between the decision and the planner's next look nothing of it can be leased any more."""
    async with house(tmp_path, OWNED) as home:
        await home.agree(ANNE)
        await home.weigh("a", "62.2")
        await home.rows()
        await home.inbox.set_aside([(await home.find("a")).number], PAGE)
        assert [] == await home.store.registry.lease(MES, NOW + timedelta(days=1), lease_s=60)
        (row,) = await home.rows()
        assert (DepartureState.CANCELLED, None) == (row.state, row.correction)


@pytest.mark.parametrize(
    ("answer", "state", "correction"),
    [
        (DepartureState.DONE, DepartureState.DONE, Correction.REMOVE),
        (DepartureState.PENDING, DepartureState.CANCELLED, None),
        (DepartureState.REJECTED, DepartureState.REJECTED, None),
        (DepartureState.UNKNOWN, DepartureState.UNKNOWN, Correction.IF_ARRIVED),
    ],
)
async def test_set_aside_while_it_is_being_sent(
    tmp_path: Path, answer: DepartureState, state: DepartureState, correction: Correction | None
) -> None:
    """What the answer is decides whether there is something to remove in the space."""
    async with house(tmp_path, OWNED) as home:
        await home.agree(ANNE)
        await home.weigh("a", "62.2")
        await home.rows()
        (leased,) = await home.store.registry.lease(MES, NOW, lease_s=60)
        await home.inbox.set_aside([(await home.find("a")).number], PAGE)
        await home.rows()
        await home.store.registry.settle(leased.outbox_id, answer, NOW)
        (row,) = await home.rows()
        assert (state, correction) == (row.state, row.correction)


async def test_f4_a_memory_full_of_old_readings_is_offered_for_review(tmp_path: Path) -> None:
    """F4: 60 old weigh-ins of two people go to nobody by themselves, and to whom they belong in one go each."""
    async with house(tmp_path) as home:
        old = [
            reading(f"{person}-{n}", str(mass + n % 3 / 10), at=NOW - timedelta(days=n), received_at=NOW)
            for n in range(1, 31)
            for person, mass in ((ANNE, 62), (BRUNO, 84))
        ]
        await home.measure(*old)
        waiting = await home.store.attributions.waiting()
        assert (60, {"memory_before_enrolment"}) == (
            len(waiting),
            {await _reason(home, each.readings[0].reading.record_key) for each in waiting},
        )
        anne = [each.number for each in waiting if each.readings[0].reading.record_key.startswith("anne")]
        assert 30 == await home.inbox.assign(anne, ANNE, PAGE)
        await home.attributor.look()
        figures = await home.figures()
        assert (30, 0) == (len(figures[ANNE]), len(figures[BRUNO]))
        assert 30 == await home.store.attributions.waiting_count()


async def test_f5_a_lent_meter(tmp_path: Path) -> None:
    """F5: one record of an owned meter is set aside with its provenance; a restart and a repetition leave it so."""
    stick = reading("r7", "180", at=NOW, metric=Metric.GLUCOSE_CAPILLARY, device=METER)
    other = reading("r8", "101", at=NOW, metric=Metric.GLUCOSE_CAPILLARY, device=METER)
    async with house(tmp_path, SHARED, ANNES_METER) as home:
        await home.measure(stick, other)
        (first, _) = await home.store.readings.readings(device_id=METER)
        await home.inbox.set_aside([(await home.inbox.of_row(first.row_id)).number], PAGE)
    async with house(tmp_path, SHARED, ANNES_METER) as home:
        await home.measure(replace(stick, received_at=NOW + timedelta(days=1)))
        kept, _ = sorted(await home.store.readings.readings(device_id=METER), key=lambda each: each.row_id)
        assert (None, stick) == (kept.person_id, kept.reading)
        assert await home.whose("r8", Metric.GLUCOSE_CAPILLARY, METER) == ANNE
        number = (await home.inbox.of_row(kept.row_id)).number
        await home.inbox.assign([number], BRUNO, PAGE)
        assert await home.whose("r7", Metric.GLUCOSE_CAPILLARY, METER) == BRUNO
        await home.inbox.undo(number, PAGE)
        assert await home.whose("r7", Metric.GLUCOSE_CAPILLARY, METER) is None
        history = await home.store.attributions.history(number)
        assert [DecisionSource.OWNER, PAGE, PAGE, PAGE] == [each.by for each in history]


@pytest.mark.parametrize("mass_kg", ["69.5", "55.0"])
async def test_f6_a_rapid_change_asks(tmp_path: Path, mass_kg: str) -> None:
    """F6: kilograms from one day to the next, as with oedema or after dialysis, wait for a person; a yes is learned."""
    async with house(tmp_path, OWNED) as home:
        for n in range(30, 0, -1):
            await home.weigh(f"a-{n}", str(62 + n % 3 / 10), days_ago=n)
        await home.weigh("sudden", mass_kg)
        weigh_in = await home.find("sudden")
        assert (WeighInState.WAITING, "far_from_trend") == (weigh_in.state, await _reason(home, "sudden"))
        await home.inbox.assign([weigh_in.number], ANNE, PAGE)
        assert (await home.store.attributions.past(ANNE))[-1].is_confirmed


async def test_f7_derived_body_composition_never_changes_hands(tmp_path: Path) -> None:
    """F7: fat computed with Anne's height is dropped when it goes to Bruno, and hers when it comes back."""
    async with house(tmp_path, OWNED) as home:
        parts = [
            reading("a", "62.0", at=NOW),
            reading("a", "510", at=NOW, metric=Metric.IMPEDANCE),
            reading("a", "165", at=NOW, metric=Metric.BODY_HEIGHT),
            reading("a", "28.4", at=NOW, metric=Metric.BODY_FAT_PERCENTAGE, is_derived=True),
        ]
        await home.measure(*parts)

        async def owners() -> list[PersonId | None]:
            return [await home.whose("a", part.metric) for part in parts]

        assert [ANNE] * 4 == await owners()
        number = (await home.find("a")).number
        await home.inbox.assign([number], BRUNO, PAGE)
        assert [BRUNO, BRUNO, None, None] == await owners()
        await home.measure(reading("a", "45.0", at=NOW, metric=Metric.MUSCLE_PERCENTAGE))
        assert await home.whose("a", Metric.MUSCLE_PERCENTAGE) is None
        await home.inbox.undo(number, PAGE)
        assert [ANNE] * 4 == await owners()
        assert await home.whose("a", Metric.MUSCLE_PERCENTAGE) == ANNE


async def test_f7_on_a_shared_scale_nobody_knows_whose_height(tmp_path: Path) -> None:
    """F7: a shared scale that names no known user keeps what it derives to itself."""
    async with house(tmp_path) as home:
        await home.live_together()
        await home.measure(
            reading("a", "62.0", at=NOW), reading("a", "28.4", at=NOW, metric=Metric.BODY_FAT_PERCENTAGE)
        )
        assert (ANNE, None) == (await home.whose("a"), await home.whose("a", Metric.BODY_FAT_PERCENTAGE))


async def test_f8_somebody_leaves_while_readings_wait(tmp_path: Path) -> None:
    """F8: who left the configuration is no candidate; what waits still waits, what was theirs stays, keys hold."""
    async with house(tmp_path) as home:
        await home.live_together()
        await home.weigh("odd", "73.0")
        assert await home.whose("odd") is None
    alone = replace(SHARED, candidates=(ANNE,), person_id=ANNE)
    async with house(tmp_path, alone, people=(ANNE,)) as home:
        await home.attributor.look()
        decision = (await home.find("odd")).decision
        assert decision is not None
        assert {"anne"} == set(decision.evidence["probabilities"])  # type: ignore[call-overload]
        assert 30 == len((await home.figures())[BRUNO])
        await home.inbox.assign([(await home.find("odd")).number], ANNE, PAGE)
        assert [] == await home.store.check()


async def test_late_parts_follow_the_decision(tmp_path: Path) -> None:
    """An impedance that comes after the tap belongs to whom the weigh-in was given; one of a guest stays nobody's."""
    async with house(tmp_path) as home:
        await home.weigh("a", "62.0")
        await home.weigh("g", "40.0", minute=5)
        await home.inbox.assign([(await home.find("a")).number], ANNE, PAGE)
        await home.inbox.set_aside([(await home.find("g")).number], PAGE)
        await home.measure(*(reading(name, "505", at=NOW, metric=Metric.IMPEDANCE) for name in ("a", "g")))
        assert (ANNE, None) == (await home.whose("a", Metric.IMPEDANCE), await home.whose("g", Metric.IMPEDANCE))


async def test_what_waits_is_looked_at_again(tmp_path: Path) -> None:
    """Once a person has said who weighs that, the others that waited for the same reason are filed."""
    async with house(tmp_path) as home:
        for n in range(8, 0, -1):
            await home.weigh(f"a-{n}", f"62.{n}", days_ago=n)
            await home.weigh(f"b-{n}", f"84.{n}", days_ago=n, minute=20)
        assert 16 == await home.store.attributions.waiting_count()
        for n in (8, 7, 6, 5):
            await home.inbox.assign([(await home.find(f"a-{n}")).number], ANNE, PAGE)
            await home.inbox.assign([(await home.find(f"b-{n}")).number], BRUNO, PAGE)
        await home.attributor.look()
        assert (ANNE, BRUNO) == (await home.whose("a-1"), await home.whose("b-1"))


async def test_what_a_person_said_is_never_touched(tmp_path: Path) -> None:
    """Undone to "waiting" it waits for a person, however well it fits; a restart does not look at it again."""
    async with house(tmp_path, OWNED) as home:
        await home.weigh("a", "62.0")
        number = (await home.find("a")).number
        await home.inbox.undo(number, PAGE)
        assert (None, 1) == (await home.whose("a"), await home.store.attributions.waiting_count())
    async with house(tmp_path, OWNED) as home:
        await home.weigh("b", "62.1", minute=3)
        assert (None, ANNE) == (await home.whose("a"), await home.whose("b"))
        with pytest.raises(PermanentError):
            await home.inbox.undo(WeighInNumber(999), PAGE)


async def test_asking_twice_answers_once(tmp_path: Path) -> None:
    """Two attributors over one file, and a second look, add no decision and no audit event."""
    async with house(tmp_path, OWNED) as home, house(tmp_path, OWNED) as twin:
        await home.store.readings.commit(Batch(readings=(reading("a", "62.0", at=NOW),)))
        await asyncio.gather(home.attributor.look(), twin.attributor.look())
        await twin.attributor.look()
        number = (await home.find("a")).number
        assert 1 == len(await home.store.attributions.history(number))
        assert 1 == len(await home.store.registry.audit())


async def test_a_scale_becomes_shared_and_owned_again(tmp_path: Path) -> None:
    """Readings that waited without an owner become weigh-ins; a later owner takes what was not decided."""
    nobodys = replace(SHARED, is_by_evidence=False, candidates=())
    async with house(tmp_path, nobodys) as home:
        await home.weigh("a", "62.0")
        await home.weigh("g", "40.0", minute=3)
    async with house(tmp_path) as home:
        await home.attributor.look()
        assert 2 == await home.store.attributions.waiting_count()
        await home.inbox.set_aside([(await home.find("g")).number], PAGE)
    async with house(tmp_path, replace(nobodys, person_id=BRUNO)) as home:
        assert (BRUNO, None) == (await home.whose("a"), await home.whose("g"))
        assert 0 == await home.store.attributions.waiting_count()


_Step = tuple[int, PersonId | str | None]
_CHOICE = st.tuples(st.integers(0, 3), st.sampled_from([ANNE, BRUNO, None, "undo"]))


@given(choices=st.lists(_CHOICE, max_size=12))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_order_of_choices_ends_in_the_figures_of_the_last(
    choices: list[_Step], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Figures, outbox and owners are those of a house in which only what counts at the end was ever said."""

    async def live(steps: Sequence[_Step], folder: Path) -> tuple[object, object, list[PersonId | None]]:
        async with house(folder, clock=HandClock()) as home:
            await home.agree(ANNE, BRUNO)
            names = [f"w-{n}" for n in range(4)]
            for n, name in enumerate(names):
                await home.weigh(name, f"{70 + n}", days_ago=n)
            numbers = [(await home.find(name)).number for name in names]
            for which, choice in steps:
                if choice == "undo":
                    try:
                        await home.inbox.undo(numbers[which], PAGE)
                    except PermanentError:
                        continue
                elif choice is None:
                    await home.inbox.set_aside([numbers[which]], PAGE)
                else:
                    await home.inbox.assign([numbers[which]], PersonId(choice), PAGE)
                await home.planner.plan_readings()
                await home.figures()
            owners = [await home.whose(name) for name in names]
            leaving = [(r.draft.identity, r.draft.resource) for r in await home.rows() if r.state == "pending"]
            assert await home.store.registry.verify_audit() is None
            return await home.figures(), sorted(leaving), owners

    figures, leaving, owners = asyncio.run(live(choices, tmp_path_factory.mktemp("any")))
    final: list[_Step] = [(n, owner) for n, owner in enumerate(owners)]
    assert (figures, leaving, owners) == asyncio.run(live(final, tmp_path_factory.mktemp("last")))


@pytest.mark.parametrize("is_withdrawn_first", [False, True])
async def test_what_nobody_will_read_back_is_to_be_looked_for(tmp_path: Path, is_withdrawn_first: bool) -> None:
    """The answer was lost, the consent withdrawn, the weigh-in not theirs: whether it arrived never gets known, so a
    person is told to look."""
    async with house(tmp_path, OWNED) as home:
        await home.agree(ANNE)
        await home.weigh("a", "62.2")
        await home.rows()
        registry = home.store.registry
        (row,) = await registry.lease(MES, NOW, lease_s=60)
        await registry.settle(row.outbox_id, DepartureState.UNKNOWN, NOW, not_before=NOW)

        async def withdraw() -> None:
            await registry.withdraw(ANNE, DataType.WEIGHT, MES, NOW)
            assert [] == await registry.lease(MES, NOW, lease_s=60)

        if is_withdrawn_first:
            await withdraw()
        await home.inbox.set_aside([(await home.find("a")).number], PAGE)
        await home.rows()
        if not is_withdrawn_first:
            assert [] == await registry.corrections()
            await withdraw()
        (found,) = await registry.corrections()
        assert (DepartureState.CANCELLED, Correction.REMOVE) == (found.state, found.correction)
