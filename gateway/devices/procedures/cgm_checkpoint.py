"""How far a sensor's session has been read, and the day on which it was last asked how it is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.devices.procedures.requests import Mark

__all__ = ["CGM_CHECKPOINT", "LAST_OFFSET", "CgmCheckpoint"]

CGM_CHECKPOINT: Final = "cgm.session"
LAST_OFFSET: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class CgmCheckpoint:
    """None: not known yet.

    Attributes:
        session_start: aware, UTC; with the offset it names each record.
        offset: last minute of the session up to which everything was read, 0..65535.
        asked_on: ISO date.
    """

    session_start: datetime | None = None
    offset: int | None = None
    asked_on: str | None = None

    @classmethod
    def of(cls, state: Mapping[str, str | int | bool | None] | None) -> CgmCheckpoint:
        """From a checkpoint; what no `mark` wrote counts as None."""
        state = state or {}
        text, offset, asked_on = state.get("session_start"), state.get("offset"), state.get("asked_on")
        try:
            start = datetime.fromisoformat(text) if isinstance(text, str) else None
        except ValueError:
            return cls()
        if start is None or start.tzinfo is None:
            return cls()
        is_offset = isinstance(offset, int) and 0 <= offset <= LAST_OFFSET
        return cls(
            start.astimezone(UTC),
            offset if is_offset and isinstance(offset, int) else None,
            asked_on if isinstance(asked_on, str) else None,
        )

    @property
    def mark(self) -> Mark | None:
        """The checkpoint that says this; None while the session is not known."""
        if self.session_start is None:
            return None
        state: dict[str, str | int | bool | None] = {
            "session_start": self.session_start.isoformat(),
            "offset": self.offset,
        }
        return Mark(CGM_CHECKPOINT, state if self.asked_on is None else state | {"asked_on": self.asked_on})
