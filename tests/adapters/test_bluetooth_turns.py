"""Who may connect now: the order of the queue, without a radio."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from bluetooth_kit import FrozenClock
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.sources.bluetooth.radio.turns import Turn, Turns


class MovableClock(FrozenClock):
    """Stands still until it is moved."""

    def __init__(self) -> None:
        super().__init__()
        self.at_s = 0.0

    def monotonic(self) -> float:
        return self.at_s


class Bench:
    """One slot, and devices that note when they were served."""

    def __init__(self, slots: int = 1) -> None:
        self.clock = MovableClock()
        self.turns = Turns(self.clock, slots, random.Random(1))
        self.served: list[str] = []
        self.asleep: set[str] = set()

    @asynccontextmanager
    async def busy(self, name: str = "first") -> AsyncIterator[Turn]:
        async with self.turns.turn(name, awake_since_s=0, wake_s=None, is_awake=lambda: True) as turn:
            assert turn is not None
            yield turn

    async def want(self, name: str, wake_s: float | None, during: Callable[[Turn], None] | None = None) -> None:
        awake_since_s = self.clock.at_s
        is_awake = lambda: name not in self.asleep  # noqa: E731
        async with self.turns.turn(name, awake_since_s=awake_since_s, wake_s=wake_s, is_awake=is_awake) as turn:
            if turn is None:
                return
            self.served.append(name)
            if during is not None:
                during(turn)


async def settled() -> None:
    """Let every task reach its next wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_whose_window_closes_first_is_served_first() -> None:
    """A meter that is awake for 20 s goes before a scale that stays, although it came later."""
    bench = Bench()
    async with asyncio.TaskGroup() as tasks, bench.busy():
        tasks.create_task(bench.want("scale", None))
        await settled()
        bench.clock.at_s = 5
        tasks.create_task(bench.want("slow meter", 30))
        tasks.create_task(bench.want("quick meter", 20))
        await settled()
    assert ["quick meter", "slow meter", "scale"] == bench.served


async def test_nobody_waits_for_ever() -> None:
    """A scale that has waited for a minute goes before every meter that wakes then."""
    bench = Bench()
    async with asyncio.TaskGroup() as tasks, bench.busy():
        tasks.create_task(bench.want("scale", None))
        await settled()
        for at_s in (10, 30, 50):
            bench.clock.at_s = at_s
            tasks.create_task(bench.want(f"meter at {at_s}", 20))
            await settled()
    assert ["meter at 10", "meter at 30", "scale", "meter at 50"] == bench.served


async def test_device_that_fell_asleep_in_the_queue_costs_no_slot() -> None:
    """It is not tried; its next advertisement asks again."""
    bench = Bench()
    async with asyncio.TaskGroup() as tasks, bench.busy():
        tasks.create_task(bench.want("asleep", 1))
        tasks.create_task(bench.want("awake", None))
        await settled()
        bench.asleep.add("asleep")
    assert ["awake"] == bench.served


async def test_who_only_follows_is_asked_to_leave() -> None:
    """A sensor that holds its link hangs up when somebody waits, the longest holder first, and no sooner."""
    bench = Bench(slots=2)
    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
        old = await stack.enter_async_context(bench.busy("old"))
        young = await stack.enter_async_context(bench.busy("young"))
        bench.turns.follows(old)
        bench.clock.at_s = 1
        bench.turns.follows(young)
        assert not old.is_leaving
        tasks.create_task(bench.want("meter", 20))
        await settled()
        assert (True, False) == (old.is_leaving, young.is_leaving)


async def test_who_still_reads_is_not_interrupted() -> None:
    """Somebody waits, but the holder has not read everything: it leaves when it has."""
    bench = Bench()
    async with asyncio.TaskGroup() as tasks, bench.busy() as reading:
        tasks.create_task(bench.want("meter", 20))
        await settled()
        assert not reading.is_leaving
        bench.turns.follows(reading)
        assert reading.is_leaving


async def test_radio_without_a_slot_is_left_alone_for_longer_each_time() -> None:
    """C5: the pause doubles up to half a minute, a follower is asked to leave, and a connection ends the pauses."""
    bench = Bench(slots=3)
    async with bench.busy() as follower:
        bench.turns.follows(follower)
        pauses = []
        for _ in range(8):
            bench.turns.exhausted()
            pauses.append(bench.turns.pause_s)
        assert follower.is_leaving
    assert all(
        0.7 * base <= pause <= 1.3 * base for base, pause in zip((1, 2, 4, 8, 16, 30, 30, 30), pauses, strict=True)
    )
    bench.turns.connected()
    bench.turns.exhausted()
    assert 0.7 <= bench.turns.pause_s <= 1.3


async def test_wish_that_is_cancelled_gives_its_slot_back() -> None:
    """In the queue, between the grant and its news, and while it is held."""
    bench = Bench()
    async with bench.busy():
        queued = asyncio.create_task(bench.want("queued", None))
        granted = asyncio.create_task(bench.want("granted", 1))
        await settled()
        queued.cancel()
        await settled()
    granted.cancel()
    await asyncio.wait([queued, granted])
    assert (0, 0) == (bench.turns.held, bench.turns.waiting)
    await bench.want("next", None)
    assert ["next"] == bench.served


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 120), st.one_of(st.none(), st.integers(5, 60))), max_size=20))
def test_everybody_who_stays_awake_is_served_once(wishes: list[tuple[int, int | None]]) -> None:
    """Whatever comes in whatever order: each is served, once, and never more at a time than there are slots."""

    async def day() -> None:
        bench = Bench(slots=2)
        at_once: list[int] = []
        async with asyncio.TaskGroup() as tasks, bench.busy("a"), bench.busy("b"):
            for number, (at_s, wake_s) in enumerate(sorted(wishes, key=lambda wish: wish[0])):
                bench.clock.at_s = at_s
                tasks.create_task(bench.want(str(number), wake_s, lambda _turn: at_once.append(bench.turns.held)))
                await settled()
        assert sorted(map(str, range(len(wishes)))) == sorted(bench.served)
        assert all(held <= 2 for held in at_once)

    asyncio.run(day())


async def test_a_device_that_slept_while_the_link_was_busy_is_not_forgotten() -> None:
    """It falls asleep in the queue before the only link begins to follow: it leaves the queue, so that it may ask again
    when it wakes, and then the follower makes room."""
    bench = Bench()
    async with asyncio.TaskGroup() as tasks, bench.busy() as turn:
        tasks.create_task(bench.want("scale", None))
        await settled()
        bench.asleep.add("scale")
        bench.turns.follows(turn)
        await settled()
        assert 0 == bench.turns.waiting
        bench.asleep.clear()
        tasks.create_task(bench.want("scale", None))
        await settled()
        assert turn.is_leaving
    assert ["scale"] == bench.served
