"""The access code, and patience with those who guess it."""

from __future__ import annotations

import hmac
from typing import Final

import structlog
from pydantic import SecretStr

from gateway.errors import ConfigurationError
from gateway.ports import Clock

__all__ = ["SHORTEST_CODE", "Door"]

SHORTEST_CODE: Final = 8
_FREE_TRIES = 5
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 300.0
_log = structlog.get_logger()


class Door:
    """Compares codes in constant time; after five wrong ones in a row every further wrong one closes it for longer.

    The pause is the same for everybody: addresses are cheap in a house network. While it lasts nobody enters, and the
    right code does not count as a try.
    """

    def __init__(self, code: SecretStr, clock: Clock) -> None:
        """Raises ConfigurationError when the code has fewer than eight characters."""
        if len(code.get_secret_value()) < SHORTEST_CODE:
            raise ConfigurationError([("web.access_code_file", f"the code needs {SHORTEST_CODE} characters at least")])
        self._code = code.get_secret_value().encode()
        self._clock = clock
        self._wrong = 0
        self._closed_until = 0.0

    def wait_s(self) -> float:
        """Seconds until the next try counts; 0 when it does now."""
        return max(0.0, self._closed_until - self._clock.monotonic())

    def opens(self, given: bytes) -> bool:
        """Whether `given` is the code and the door is not closed."""
        if self.wait_s() > 0:
            return False
        if hmac.compare_digest(given, self._code):
            self._wrong = 0
            return True
        self._wrong += 1
        if self._wrong >= _FREE_TRIES:
            pause_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(20, self._wrong - _FREE_TRIES))
            self._closed_until = self._clock.monotonic() + pause_s
            _log.warning("web.access_code_guessed", tries=self._wrong, closed_s=pause_s)
        return False
