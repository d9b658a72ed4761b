"""Who may connect now: a few connection slots, and a queue in which the device that sleeps first is served first.

Each wish has a time by which it should be served, fixed when it comes: the end of the device's wake window, or a minute
from now for a device that stays. The earliest goes first. Since these times are fixed and later wishes have later ones,
nobody is passed over for ever: a scale that stays is before every meter that wakes after its minute is up.

A device that holds its link to follow what happens (a sensor) is asked to hang up when somebody waits and no slot is
free; it queues again like the others.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from gateway.ports import Clock

__all__ = ["Turn", "Turns"]

_STAYS_S: Final = 60.0
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0


@dataclass(eq=False, slots=True)
class Turn:
    """A slot that is held.

    Attributes:
        name: of the device, for logs.
        waited_s: how long it was queued.
        is_leaving: the holder should hang up as soon as it owes its device nothing.
        on_leave: called once when that is wished for.
        on_lost: called when the radio is gone, and every link with it.
        following_since_s: monotonic, since when it only follows what happens; None: it still has something to do.
    """

    name: str
    waited_s: float = 0.0
    is_leaving: bool = False
    on_leave: Callable[[], None] | None = None
    on_lost: Callable[[], None] | None = None
    following_since_s: float | None = None

    def leave(self) -> None:
        """Ask the holder to hang up. Idempotent."""
        if not self.is_leaving:
            self.is_leaving = True
            if self.on_leave is not None:
                self.on_leave()


@dataclass(eq=False, slots=True)
class _Wish:
    name: str
    serve_by_s: float
    is_awake: Callable[[], bool]
    granted: asyncio.Future[Turn | None]


class Turns:
    """The slots of one radio.

    Args:
        slots: connections at once, 1 or more.
        chance: for jitter.

    Attributes:
        on_alive: called when a link has been made or has brought something: the radio works.
    """

    def __init__(self, clock: Clock, slots: int, chance: random.Random) -> None:
        self._clock = clock
        self._slots = slots
        self._chance = chance
        self._held: list[Turn] = []
        self._wishes: list[_Wish] = []
        self._not_before_s = -math.inf
        self._pause_s = _FIRST_PAUSE_S
        self._timer: asyncio.TimerHandle | None = None
        self.on_alive: Callable[[], None] = _nothing
        self._is_free = asyncio.Event()
        self._is_free.set()

    @property
    def held(self) -> int:
        """Slots in use."""
        return len(self._held)

    @property
    def is_full(self) -> bool:
        """Whether a device that comes now has to wait."""
        return len(self._held) >= self._slots

    @property
    def pause_s(self) -> float:
        """How long nobody is served from now on, because the radio said that it has no slot; 0: not at all."""
        return max(0.0, self._not_before_s - self._clock.monotonic())

    @property
    def waiting(self) -> int:
        """Devices in the queue."""
        return len(self._wishes)

    @asynccontextmanager
    async def turn(
        self, name: str, *, awake_since_s: float, wake_s: float | None, is_awake: Callable[[], bool]
    ) -> AsyncIterator[Turn | None]:
        """Wait for a slot and hold it for the length of the block; None when the device fell asleep in the queue.

        Args:
            name: of the device.
            awake_since_s: monotonic, when it woke.
            wake_s: how long it can be reached from then; None: long.
            is_awake: whether it still is, asked when its turn comes.
        """
        came_s = self._clock.monotonic()
        serve_by_s = came_s + _STAYS_S if wake_s is None else awake_since_s + wake_s
        wish = _Wish(name, serve_by_s, is_awake, asyncio.get_running_loop().create_future())
        self._wishes.append(wish)
        self._serve(just_came=wish)
        turn: Turn | None = None
        try:
            turn = await wish.granted
            if turn is not None:
                turn.waited_s = self._clock.monotonic() - came_s
            yield turn
        finally:
            if wish in self._wishes:
                self._wishes.remove(wish)
            if turn is None and wish.granted.done() and not wish.granted.cancelled():
                turn = wish.granted.result()  # cancelled between the grant and its news
            if turn is not None:
                self._held.remove(turn)
                if not self._held:
                    self._is_free.set()
                self._serve()

    def follows(self, turn: Turn) -> None:
        """The holder has read everything and only follows what happens: it may be asked to leave."""
        if turn.following_since_s is None:
            turn.following_since_s = self._clock.monotonic()
            self._forget_sleepers()
            self._make_room()

    def exhausted(self) -> None:
        """The radio says that it has no slot, whatever we thought: wait, longer each time, and make room."""
        self._not_before_s = self._clock.monotonic() + self._pause_s * self._chance.uniform(0.75, 1.25)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._make_room(is_urgent=True)

    def connected(self) -> None:
        """A connection was made: the radio has slots."""
        self._pause_s = _FIRST_PAUSE_S
        self.on_alive()

    def names(self) -> tuple[str, ...]:
        """The devices that hold a slot."""
        return tuple(turn.name for turn in self._held)

    @property
    def is_followed(self) -> bool:
        """Whether a link is held on which nothing is due for minutes."""
        return any(turn.following_since_s is not None for turn in self._held)

    def lose_links(self) -> None:
        """The radio is gone: no holder need wait for its device any more."""
        for turn in tuple(self._held):
            if turn.on_lost is not None:
                turn.on_lost()

    async def wait_free(self, timeout_s: float) -> None:
        """Ask who only follows to leave, and wait until no slot is held, or for `timeout_s`."""
        for turn in self._held:
            turn.leave()
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_free.wait()
        except TimeoutError:
            return

    # --- inside -------------------------------------------------------------------------------------------------

    def _serve(self, just_came: _Wish | None = None) -> None:
        """Grant free slots, the earliest first; drop who fell asleep."""
        if self.pause_s:
            if self._timer is None and self._wishes:
                self._timer = asyncio.get_running_loop().call_later(self.pause_s, self._waited)
            return
        while self._wishes and len(self._held) < self._slots:
            wish = min(self._wishes, key=lambda wish: wish.serve_by_s)
            self._wishes.remove(wish)
            if wish.granted.done():
                continue
            turn = Turn(wish.name) if wish is just_came or wish.is_awake() else None
            if turn is not None:
                self._held.append(turn)
                self._is_free.clear()
            wish.granted.set_result(turn)
        self._make_room()

    def _waited(self) -> None:
        self._timer = None
        self._serve()

    def _forget_sleepers(self) -> None:
        """Who fell asleep while the slots were busy asks again when it wakes; in the queue it could not, and the
        follower would never hear of it.
        """
        for wish in [wish for wish in self._wishes if not wish.is_awake()]:
            self._wishes.remove(wish)
            if not wish.granted.done():
                wish.granted.set_result(None)

    def _make_room(self, *, is_urgent: bool = False) -> None:
        """Ask the follower that has been at it for longest, one for each that waits and has no slot coming."""
        if not is_urgent and len(self._held) < self._slots:
            return
        waiting = sum(wish.is_awake() for wish in self._wishes)
        leaving = sum(turn.is_leaving for turn in self._held)
        followers = sorted(
            (turn for turn in self._held if turn.following_since_s is not None and not turn.is_leaving),
            key=lambda turn: turn.following_since_s or 0.0,
        )
        wanted = max(waiting, 1 if is_urgent else 0) - leaving
        for turn in followers[: max(0, wanted)]:
            turn.leave()


def _nothing() -> None:
    """Nobody wants to know."""
