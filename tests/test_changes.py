"""The broadcast of "look again"."""

from __future__ import annotations

import asyncio
import contextlib

from gateway.changes import Changes


async def test_every_follower_hears() -> None:
    """One announcement wakes every follower, and each clears only its own event."""
    changes = Changes()
    with changes.follow() as first, changes.follow() as second:
        changes.announce()
        first.clear()
        assert [False, True] == [first.is_set(), second.is_set()]


async def test_nothing_queues_up() -> None:
    """Many changes while nobody looks are one change."""
    changes = Changes()
    with changes.follow() as follower:
        for _ in range(1000):
            changes.announce()
        await asyncio.wait_for(follower.wait(), 1)
        follower.clear()
        assert not follower.is_set()


async def test_who_left_is_forgotten() -> None:
    """A follower that leaves, even by an error, is not told any more."""
    changes = Changes()
    with contextlib.suppress(LookupError), changes.follow() as follower:
        raise LookupError
    changes.announce()
    assert not follower.is_set()


async def test_a_change_before_following_is_not_told() -> None:
    """Whoever begins to follow looks for himself first: only later changes are told."""
    changes = Changes()
    changes.announce()
    with changes.follow() as follower:
        assert not follower.is_set()
