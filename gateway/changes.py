"""Tells those who follow that something changed. Each follower has its own event; nothing queues up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Changes"]


class Changes:
    """A broadcast of "look again", without content."""

    def __init__(self) -> None:
        self._followers: set[asyncio.Event] = set()

    def announce(self) -> None:
        """Set every follower's event. Must be called from the event loop's thread."""
        for follower in self._followers:
            follower.set()

    @contextmanager
    def follow(self) -> Iterator[asyncio.Event]:
        """An event that is set at every change; clear it before looking."""
        follower = asyncio.Event()
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)
