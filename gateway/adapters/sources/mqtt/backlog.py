"""Whether what arrives now was published now, or has waited in the broker while nobody read it.

MQTT puts no time on a message. After a pause, a broker sends what it kept in one go; what comes from then on without a
break may be that. The rule errs on the side of "unknown": it costs a weigh-in of the first seconds its time, never
gives one the wrong hour.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Backlog"]

_SHORT_ABSENCE_S: Final = 60.0
"""An absence that moves no weigh-in by more than a minute needs no care."""
_BREAK_S: Final = 1.0
_LONGEST_S: Final = 300.0
"""Where messages never pause, the queue is taken for drained after so long."""


class Backlog:
    """Follows one subscription. All instants are monotonic seconds."""

    def __init__(self) -> None:
        self._stopped_at: float | None = None
        self._began_at: float | None = None
        self._last_at = 0.0

    def stopped(self, now: float) -> None:
        """Nothing is read from now on: the connection is lost, or we hold enough."""
        if self._stopped_at is None:
            self._stopped_at = now

    def resumed(self, now: float, *, has_queue: bool) -> None:
        """Reading goes on; `has_queue`: the broker has kept our session."""
        is_short = self._stopped_at is not None and now - self._stopped_at <= _SHORT_ABSENCE_S
        if not has_queue:
            self._began_at = None
        elif not is_short:
            self._began_at = self._last_at = now
        elif self._began_at is not None:
            self._last_at = now
        self._stopped_at = None

    def is_draining(self, now: float) -> bool:
        """Something has arrived; whether it may have waited."""
        if self._began_at is None:
            return False
        if now - self._last_at > _BREAK_S or now - self._began_at > _LONGEST_S:
            self._began_at = None
            return False
        self._last_at = now
        return True
