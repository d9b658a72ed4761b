"""Patience with those who guess secrets: each wrong one is answered later than the one before.

The right secret is never made to wait: it is too long to be guessed, and a phone in the same house, or behind the same
router, must not lose readings because another one was set up with a wrong secret.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import Final

import structlog

from gateway.ports import Clock

__all__ = ["Patience"]

_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 5.0
_FORGOTTEN_AFTER_S: Final = 600.0
_MOST_ADDRESSES: Final = 1000
_MOST_WAITING: Final = 32
_GLOBAL_FREE: Final = 20
_GLOBAL_WINDOW_S: Final = 60.0
_LOGGED_EVERY_S: Final = 60.0
_log = structlog.get_logger()


class Patience:
    """Remembers wrong tries by address, and all of them together."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tries: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._recent: deque[float] = deque(maxlen=10_000)
        self._waiting = 0
        self._logged_at: float | None = None
        self.wrong = 0
        """Wrong tries since the start."""

    async def wrong_try(self, address: str) -> bool:
        """Count it and wait; False: too many wait already, answer at once that there were too many."""
        wait_s = self._note(address)
        if self._waiting >= _MOST_WAITING:
            return False
        self._waiting += 1
        try:
            await asyncio.sleep(wait_s)
        finally:
            self._waiting -= 1
        return True

    def right(self, address: str) -> None:
        """Somebody there knows a secret."""
        self._tries.pop(address, None)

    def _note(self, address: str) -> float:
        now = self._clock.monotonic()
        self.wrong += 1
        count, last = self._tries.pop(address, (0, now))
        count = 1 if now - last > _FORGOTTEN_AFTER_S else count + 1
        self._tries[address] = (count, now)
        if len(self._tries) > _MOST_ADDRESSES:
            self._tries.popitem(last=False)
        self._recent.append(now)
        while now - self._recent[0] > _GLOBAL_WINDOW_S:
            self._recent.popleft()
        if self._logged_at is None or now - self._logged_at >= _LOGGED_EVERY_S:
            self._logged_at = now
            _log.warning("nightscout.secret_wrong", tries=self.wrong)
        of_address = _FIRST_WAIT_S * 2.0 ** min(count - 1, 16)
        of_all = _FIRST_WAIT_S * max(0, len(self._recent) - _GLOBAL_FREE)
        return min(_LONGEST_WAIT_S, max(of_address, of_all))
