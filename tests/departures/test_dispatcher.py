"""Sending: what happens to a row for each thing that can happen to it."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outbox_kit import (
    ANNE,
    BRUNO,
    MES,
    NOW,
    OTHER,
    REFUSED_BY_SPACE,
    HandClock,
    MemoryRegistry,
    ScriptedSpace,
    allowed,
    consent,
    draft,
)

from gateway.departures.dispatcher import Dispatcher, Route
from gateway.departures.policy import DispatchPolicy, retry_delay_s
from gateway.errors import (
    AccountMismatch,
    OutcomeUnknown,
    RateLimited,
    ReauthNeeded,
    Rejected,
    StoreUnavailable,
    TransientError,
)
from gateway.model import DataType, DepartureState, DestinationId, OutboxId, PersonId

POLICY = DispatchPolicy()
DAY_S = 86_400.0


class RunningClock(HandClock):
    """Time that begins at NOW and goes by itself."""

    def __init__(self) -> None:
        super().__init__()
        self._started = time.monotonic()

    def now(self) -> datetime:
        """The instant."""
        return NOW + timedelta(seconds=time.monotonic() - self._started)


class Bench:
    """A dispatcher over the memory registry with Anne's and Bruno's consents for weight."""

    def __init__(self, *rows: tuple[int, PersonId]) -> None:
        self.clock = HandClock()
        self.registry = MemoryRegistry()
        self.space = ScriptedSpace()
        self.rows = rows or ((1, ANNE),)
        self.dispatcher = self.restarted()

    def restarted(self) -> Dispatcher:
        """A new process over the same registry."""
        return Dispatcher(self.registry, [Route(self.space, 60.0)], self.clock, chance=random.Random(7), policy=POLICY)

    async def ready(self) -> Bench:
        """Consents granted, rows planned."""
        for person in (ANNE, BRUNO):
            await self.registry.grant(consent(person))
        await self.registry.plan([draft(number, person=person) for number, person in self.rows], (), NOW)
        return self

    async def after(self, seconds: float) -> int:
        """Let time pass and send what is due."""
        self.clock.advance(seconds)
        return await self.dispatcher.drain()


async def test_delivered_once() -> None:
    """A delivered row is done, with its name there, and never sent again."""
    bench = await Bench().ready()
    await bench.after(0)
    await bench.after(DAY_S)
    row = bench.registry.row()
    assert (["d1"], DepartureState.DONE, "remote-d1") == (bench.space.deliveries, row.state, row.remote_id)


async def test_refusal_is_final_and_stops_nobody() -> None:
    """G10: a refused row keeps the diagnostics; the next one goes."""
    bench = await Bench((1, ANNE), (2, ANNE)).ready()
    bench.space.script = [Rejected("refused by the health space (422)", status=422, diagnostics=("moment\n missing",))]
    await bench.after(0)
    await bench.after(DAY_S)
    assert [DepartureState.REJECTED, DepartureState.DONE] == bench.registry.states()
    assert bench.registry.row().reason == "refused by the health space (422) | moment missing"
    assert ["d1", "d2"] == bench.space.deliveries


async def test_transient_failure_is_retried_for_ever() -> None:
    """G2: three days of failures drop nothing; attempts become rare and the row is still sent in the end."""
    bench = await Bench().ready()
    bench.space.script = [TransientError("unavailable") for _ in range(40)]
    for _ in range(3 * 24 * 12):
        await bench.after(300)
        if bench.space.script:
            assert bench.registry.row().state is DepartureState.PENDING
    assert len(bench.space.deliveries) < 24 * 3 * 2 + 20
    for _ in range(50):
        await bench.after(3600)
    assert ["d1"] == bench.space.kept
    assert bench.registry.row().state is DepartureState.DONE


async def test_outage_pauses_the_destination() -> None:
    """G2: a hundred rows in an outage make a handful of attempts, not a hundred; afterwards all of them leave."""
    bench = await Bench(*((number, ANNE) for number in range(1, 101))).ready()
    bench.space.script = [TransientError("unavailable") for _ in range(5)]
    await bench.after(0)
    assert len(bench.space.deliveries) == POLICY.pause_after
    for _ in range(40):
        await bench.after(60)
    assert {DepartureState.DONE} == set(bench.registry.states())


async def test_rate_limit_is_honoured_per_person() -> None:
    """G1: the wait asked for is kept for that person, others go on; an absurd one is capped at an hour."""
    bench = await Bench((1, ANNE), (2, ANNE), (3, BRUNO)).ready()
    bench.space.script = [RateLimited("patience", retry_after_s=1e12)]
    await bench.after(0)
    assert ["d1", "d3"] == bench.space.deliveries
    await bench.after(3599)
    assert ["d1", "d3"] == bench.space.deliveries
    await bench.after(1)
    assert ["d3", "d1", "d2"] == bench.space.kept


@pytest.mark.parametrize("error", [ReauthNeeded("closed"), AccountMismatch("not this patient's")])
async def test_account_that_needs_a_person_is_parked(error: Exception) -> None:
    """G7, G9: that account's rows wait a day untried, others go on, nothing is lost."""
    bench = await Bench((1, ANNE), (2, BRUNO), (3, ANNE)).ready()
    bench.space.script = [error]
    await bench.after(0)
    assert ["d1", "d2"] == bench.space.deliveries
    assert [DepartureState.PENDING, DepartureState.DONE, DepartureState.PENDING] == bench.registry.states()
    await bench.after(DAY_S - 1)
    assert ["d1", "d2"] == bench.space.deliveries
    assert (1, 0) == (bench.registry.row().attempts, bench.registry.row(3).attempts)
    await bench.after(1)
    assert ["d2", "d1", "d3"] == bench.space.kept


async def test_e7_a_hold_is_no_longer_because_the_clock_was_set_back() -> None:
    """What is left alone is counted by the clock that nobody sets: an hour is an hour, two hours back or not."""
    bench = await Bench((1, ANNE), (2, ANNE)).ready()
    uptime = {"s": 0.0}
    bench.clock.monotonic = lambda: uptime["s"]  # type: ignore[method-assign]
    bench.space.script = [RateLimited("patience", retry_after_s=3600)]
    await bench.after(0)
    bench.clock.advance(-7200)
    for row in (1, 2):  # as the keeper of the clock does with what the outbox holds
        held = bench.registry.rows[OutboxId(row)]
        due = held.departure.not_before - timedelta(seconds=7200)
        held.departure = replace(held.departure, not_before=due)
    for step_s, sent in ((3599, []), (1, ["d1", "d2"])):
        uptime["s"] += step_s
        await bench.after(step_s)
        assert sent == bench.space.kept


async def test_lost_answer_is_read_back() -> None:
    """G5: what may have been applied is looked for after a short while and not sent again."""
    bench = await Bench().ready()
    bench.space.loses = 1
    await bench.after(0)
    assert (DepartureState.UNKNOWN, 0) == (bench.registry.row().state, bench.space.finds)
    await bench.after(POLICY.settle_s)
    row = bench.registry.row()
    assert (["d1"], DepartureState.DONE, "remote-d1") == (bench.space.kept, row.state, row.remote_id)


async def test_what_is_certainly_not_there_is_sent_again() -> None:
    """An unknown row that reading back does not find goes back to the queue, and waits like after any failure."""
    bench = await Bench().ready()
    bench.space.script = [OutcomeUnknown("lost")]
    await bench.after(0)
    await bench.after(POLICY.settle_s)
    assert (["d1"], DepartureState.PENDING) == (bench.space.deliveries, bench.registry.row().state)
    await bench.after(POLICY.base_s)
    assert (["d1", "d1"], ["d1"]) == (bench.space.deliveries, bench.space.kept)


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        (TransientError("down"), 3600.0),
        (RateLimited("patience", retry_after_s=60), 3600.0),
        (OutcomeUnknown("too many pages"), 3600.0),
        (ReauthNeeded("closed"), DAY_S),
        (REFUSED_BY_SPACE, DAY_S),
        (Rejected("refused", status=400), DAY_S),
    ],
)
async def test_unknown_row_is_never_repeated_unread(error: Exception, wait_s: float) -> None:
    """While reading back fails, for whatever reason, the row stays unknown and is not sent."""
    bench = await Bench().ready()
    bench.space.loses = 1
    bench.space.searches = [error]
    await bench.after(0)
    await bench.after(POLICY.settle_s)
    assert DepartureState.UNKNOWN is bench.registry.row().state
    await bench.after(wait_s)
    assert (["d1"], DepartureState.DONE) == (bench.space.deliveries, bench.registry.row().state)
    assert bench.registry.withdrawals == 0


async def test_crash_while_sending_is_read_back() -> None:
    """A4: a process that died after the POST leaves a row that the next one looks for before repeating."""
    bench = await Bench().ready()
    (row,) = await bench.registry.lease(MES, NOW, lease_s=60.0)
    await bench.space.deliver(row, still_allowed=allowed)
    bench.dispatcher = bench.restarted()
    await bench.after(30)
    assert bench.space.finds == 0
    await bench.after(31)
    assert (["d1"], DepartureState.DONE) == (bench.space.deliveries, bench.registry.row().state)


async def test_withdrawal_before_the_lease() -> None:
    """H1: withdrawn while queued: nothing is sent."""
    bench = await Bench().ready()
    await bench.registry.withdraw(ANNE, DataType.WEIGHT, MES, NOW)
    await bench.after(0)
    assert ([], [DepartureState.CANCELLED]) == (bench.space.deliveries, bench.registry.states())


async def test_withdrawal_between_lease_and_socket() -> None:
    """H1: withdrawn after the lease and before the write: nothing is sent, and our consent is not ended again."""
    bench = await Bench().ready()

    def withdraw() -> None:
        bench.registry.granted[(ANNE, DataType.WEIGHT, MES)] = consent(withdrawn_at=bench.clock.now())

    bench.space.hesitates = withdraw
    await bench.after(0)
    assert ([], [DepartureState.CANCELLED]) == (bench.space.deliveries, bench.registry.states())
    assert bench.registry.withdrawals == 0


async def test_clock_that_goes_back_cancels_nothing() -> None:
    """A clock before the consent, at the lease or at the socket, leaves the row waiting; later it is sent once."""
    bench = await Bench().ready()
    bench.space.hesitates = lambda: bench.clock.advance(-70 * DAY_S)
    await bench.after(0)
    assert ([], [DepartureState.PENDING]) == (bench.space.deliveries, bench.registry.states())
    bench.space.hesitates = None
    await bench.after(0)
    assert ([], [DepartureState.PENDING]) == (bench.space.deliveries, bench.registry.states())
    await bench.after(70 * DAY_S)
    assert (["d1"], [DepartureState.DONE]) == (bench.space.deliveries, bench.registry.states())


async def test_nothing_is_sent_by_an_untrusted_clock() -> None:
    """While the clock cannot be right no row is leased, also when that is noticed at the socket."""
    bench = await Bench().ready()
    bench.clock.trusted = False
    assert await bench.after(0) == 0
    bench.clock.trusted = True
    bench.space.hesitates = lambda: setattr(bench.clock, "trusted", False)
    await bench.after(0)
    assert ([], [DepartureState.PENDING]) == (bench.space.deliveries, bench.registry.states())
    bench.clock.trusted, bench.space.hesitates = True, None
    await bench.after(0)
    assert ["d1"] == bench.space.kept


async def test_lost_answers_back_off_although_searching_works() -> None:
    """A space that loses every answer and finds nothing is tried ever more rarely, not in a loop."""
    bench = await Bench().ready()
    bench.space.script = [OutcomeUnknown("lost") for _ in range(1000)]
    for _ in range(24 * 60):
        await bench.after(60)
    assert 5 < len(bench.space.deliveries) < 50
    assert bench.registry.row().state in (DepartureState.PENDING, DepartureState.UNKNOWN)


async def test_lost_answers_pause_the_destination() -> None:
    """Lost answers in a row count as failures: a hundred rows make a handful of attempts."""
    bench = await Bench(*((number, ANNE) for number in range(1, 101))).ready()
    bench.space.script = [OutcomeUnknown("lost") for _ in range(100)]
    await bench.after(0)
    assert len(bench.space.deliveries) == POLICY.pause_after


async def test_restart_tries_a_held_account_at_once() -> None:
    """G7: whoever corrects the credentials and restarts does not wait a day; the rows kept their turn."""
    bench = await Bench((1, ANNE), (2, ANNE)).ready()
    bench.space.script = [ReauthNeeded("closed")]
    await bench.after(0)
    assert {NOW} == {bench.registry.row(number).not_before for number in (1, 2)}
    bench.dispatcher = bench.restarted()
    await bench.after(0)
    assert ["d1", "d2"] == bench.space.kept


async def test_unforeseen_error_parks_its_row_only() -> None:
    """A bug met at one row, in sending or in reading back, stops neither the others nor the dispatcher."""
    bench = await Bench((1, ANNE), (2, ANNE)).ready()
    bench.space.script = [RuntimeError("a bug")]
    bench.space.searches = [KeyError("another")]
    await bench.after(0)
    assert [DepartureState.UNKNOWN, DepartureState.DONE] == bench.registry.states()
    assert bench.registry.row().reason == "unforeseen error (RuntimeError)"
    await bench.after(DAY_S - 1)
    assert bench.space.finds == 0
    await bench.after(1)
    assert (1, DepartureState.UNKNOWN) == (bench.space.finds, bench.registry.row().state)
    await bench.after(DAY_S)
    await bench.after(POLICY.base_s)
    assert ["d2", "d1"] == bench.space.kept


async def test_lane_that_breaks_stops_no_other() -> None:
    """P8: an error that no lane foresaw ends in that lane's supervisor; the other lane goes on."""
    bench = await Bench().ready()
    await bench.registry.grant(consent(destination=OTHER))
    arrived, broken = asyncio.Event(), asyncio.Event()
    other = ScriptedSpace(OTHER, script=[arrived.set])
    lease = bench.registry.lease

    async def failing(destination_id: DestinationId, *args: object, **options: object) -> list[object]:
        if destination_id == MES:
            broken.set()
            raise RuntimeError("a bug")
        return await lease(destination_id, *args, **options)  # type: ignore[arg-type, return-value]

    bench.registry.lease = failing  # type: ignore[assignment, method-assign]
    routes = [Route(bench.space, 60.0), Route(other, 60.0)]
    dispatcher = Dispatcher(bench.registry, routes, bench.clock, chance=random.Random(1))
    task = asyncio.create_task(dispatcher.run(), name="dispatcher")
    await broken.wait()
    await bench.registry.plan([draft(9, destination=OTHER)], (), NOW)
    dispatcher.wake()
    await arrived.wait()
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_dispatcher_sleeps_until_the_next_row() -> None:
    """A row that becomes due before the next poll is sent when it is due."""
    bench = await Bench().ready()
    await bench.registry.plan([draft(2)], (), NOW, not_before=NOW + timedelta(milliseconds=80))
    arrived = asyncio.Event()
    bench.space.script = [lambda: None, arrived.set]
    clock = RunningClock()
    dispatcher = Dispatcher(bench.registry, [Route(bench.space, 60.0)], clock, chance=random.Random(1))
    task = asyncio.create_task(dispatcher.run(), name="dispatcher")
    async with asyncio.timeout(10):  # less than the poll
        await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_withdrawal_on_the_wire() -> None:
    """H1: withdrawn while the request is on its way: that row is recorded as sent, the next one is not sent."""
    bench = await Bench((1, ANNE), (2, ANNE)).ready()

    def withdraw() -> None:
        bench.registry.granted[(ANNE, DataType.WEIGHT, MES)] = consent(withdrawn_at=bench.clock.now())

    bench.space.script = [withdraw]
    await bench.after(0)
    assert ["d1"] == bench.space.kept
    assert [DepartureState.DONE, DepartureState.CANCELLED] == bench.registry.states()


async def test_withdrawal_while_unknown() -> None:
    """H1: withdrawn before a repeat: what was not there is not sent again."""
    bench = await Bench().ready()
    bench.space.script = [OutcomeUnknown("lost")]
    await bench.after(0)
    await bench.registry.withdraw(ANNE, DataType.WEIGHT, MES, bench.clock.now())
    await bench.after(DAY_S)
    assert ["d1"] == bench.space.deliveries
    assert bench.space.kept == []


async def test_consent_expires_on_time() -> None:
    """H2: a consent that ended while the process slept sends nothing."""
    bench = await Bench().ready()
    await bench.registry.grant(consent(expires_at=NOW + timedelta(hours=1)))
    await bench.after(3600)
    assert ([], [DepartureState.CANCELLED]) == (bench.space.deliveries, bench.registry.states())


async def test_space_without_consent_ends_ours() -> None:
    """G8: a 403 for want of consent cancels the person's queue, once, and others go on."""
    bench = await Bench((1, ANNE), (2, ANNE), (3, BRUNO)).ready()
    bench.space.script = [REFUSED_BY_SPACE]
    await bench.after(0)
    await bench.after(DAY_S)
    assert ["d1", "d3"] == bench.space.deliveries
    expected = [DepartureState.CANCELLED, DepartureState.CANCELLED, DepartureState.DONE]
    assert (expected, 1) == (bench.registry.states(), bench.registry.withdrawals)


async def test_destinations_are_independent() -> None:
    """P8: a destination that is down stops no other."""
    bench = await Bench().ready()
    other = ScriptedSpace(OTHER)
    await bench.registry.grant(consent(destination=OTHER))
    await bench.registry.plan([draft(9, destination=OTHER)], (), NOW)
    bench.space.script = [TransientError("down")] * 9
    routes = [Route(bench.space, 60.0), Route(other, 60.0)]
    await Dispatcher(bench.registry, routes, bench.clock, chance=random.Random(1)).drain()
    assert ["d9"] == other.kept


async def test_running_dispatcher_wakes_up() -> None:
    """New rows leave as soon as the dispatcher is woken, and a lost store is survived."""
    bench = Bench()
    for person in (ANNE, BRUNO):
        await bench.registry.grant(consent(person))
    arrived, failed = asyncio.Event(), asyncio.Event()
    bench.space.script = [arrived.set]
    lease = bench.registry.lease

    async def flaky(*args: object, **options: object) -> list[object]:
        if not failed.is_set():
            failed.set()
            raise StoreUnavailable("disk full")
        return await lease(*args, **options)  # type: ignore[arg-type, return-value]

    bench.registry.lease = flaky  # type: ignore[assignment, method-assign]
    task = asyncio.create_task(bench.dispatcher.run(), name="dispatcher")
    await failed.wait()
    await bench.registry.plan([draft()], (), NOW)
    bench.dispatcher.wake()
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ["d1"] == bench.space.deliveries


@given(
    failures=st.integers(min_value=-3, max_value=10_000),
    asked_s=st.floats(allow_nan=False),
    seed=st.integers(min_value=0, max_value=99),
)
def test_delay_is_bounded(failures: int, asked_s: float, seed: int) -> None:
    """No count of failures and nothing a space asks for gives a wait outside nothing to one hour."""
    delay_s = retry_delay_s(POLICY, failures, random.Random(seed), at_least_s=asked_s)
    assert 0 < delay_s <= POLICY.ceiling_s
    assert delay_s >= min(asked_s, POLICY.ceiling_s)


EVENTS = st.sampled_from(["ok", "transient", "limited", "lost", "not_applied", "crash", "search_down"])


@given(st.lists(EVENTS, max_size=25), st.integers(min_value=1, max_value=4))
async def test_nothing_is_kept_twice(events: list[str], count: int) -> None:
    """P2: whatever happens on the way, each row arrives exactly once."""
    bench = await Bench(*((number, ANNE) for number in range(1, count + 1))).ready()
    for event in events:
        match event:
            case "transient":
                bench.space.script.append(TransientError("down"))
            case "limited":
                bench.space.script.append(RateLimited("patience", retry_after_s=30))
            case "not_applied":
                bench.space.script.append(OutcomeUnknown("lost"))
            case "lost":
                bench.space.loses += 1
            case "search_down":
                bench.space.searches.append(TransientError("down"))
            case "crash":
                for row in await bench.registry.lease(MES, bench.clock.now(), lease_s=60.0):
                    if row.state is DepartureState.LEASED:
                        bench.space.kept.append(row.draft.identity)
                bench.dispatcher = bench.restarted()
        await bench.after(45)
    for _ in range(60):
        await bench.after(3600)
    assert sorted(f"d{number}" for number in range(1, count + 1)) == sorted(bench.space.kept)
    assert {DepartureState.DONE} == set(bench.registry.states())
