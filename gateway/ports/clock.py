"""Time, injected."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """Time, injected."""

    def now(self) -> datetime:
        """Current instant, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    @property
    def is_trusted(self) -> bool:
        """False while the machine's clock cannot be right: no device clock is then measured against it, or set."""
        ...
