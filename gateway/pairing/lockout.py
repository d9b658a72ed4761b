"""Patience with those who guess passkeys."""

from __future__ import annotations

from typing import Final

from gateway.ports import Clock

__all__ = ["Lockout"]

_FREE_TRIES: Final = 3
_FIRST_WAIT_S: Final = 60.0
_LONGEST_WAIT_S: Final = 3600.0
_MOST_DEVICES: Final = 256


class Lockout:
    """After three wrong passkeys in a row for one device, each wrong one closes the way to it for twice as long."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wrong: dict[str, tuple[int, float]] = {}

    def wait_s(self, address: str) -> float:
        """Seconds until that device may be tried again; 0: now."""
        _, until = self._wrong.get(address, (0, 0.0))
        return max(0.0, until - self._clock.monotonic())

    def failed(self, address: str) -> None:
        """The digits were wrong."""
        wrong = self._wrong.pop(address, (0, 0.0))[0] + 1
        until = 0.0
        if wrong >= _FREE_TRIES:
            wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(20, wrong - _FREE_TRIES))
            until = self._clock.monotonic() + wait_s
        self._wrong[address] = (wrong, until)
        if len(self._wrong) > _MOST_DEVICES:
            del self._wrong[next(iter(self._wrong))]

    def succeeded(self, address: str) -> None:
        """Begin anew."""
        self._wrong.pop(address, None)
