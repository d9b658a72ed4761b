"""Setting a device's clock: only after its error is durable, and believed only once it has been read back.

The error was measured at the same contact, and what the device had stored until then has been read and corrected by
it. It is kept as the fact `device.clock` before the clock is touched: a record that was made before and comes later is
still corrected by it, whatever happens in between.

Source: Bluetooth Current Time Service 1.1 (2A2B, written with an adjust reason); Date Time (2A08) inside the Glucose
Service, as some meters have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.devices.current_time import AdjustReason, build_current_time, parse_current_time
from gateway.devices.date_time import parse_date_time, write_date_time
from gateway.devices.procedures.requests import Close, Keep, Mark, Outcome, Patience, Read, Request, Write
from gateway.devices.quirks import ClockAccess
from gateway.errors import MalformedFrame

__all__ = ["CLOCK_FACT", "TOLERATED_OFFSET", "ClockChange", "ClockSetting", "is_worth_setting", "settable_clock"]

CLOCK_FACT: Final = "device.clock"
TOLERATED_OFFSET: Final = timedelta(seconds=10)
"""A clock that is off by no more is left alone."""
_CHARS: Final[Mapping[ClockAccess, str]] = {ClockAccess.CURRENT_TIME: "2a2b", ClockAccess.DATE_TIME: "2a08"}


@dataclass(frozen=True, slots=True)
class ClockChange:
    """The last time that we set a device's clock.

    Attributes:
        set_to: naive, the wall clock that it was given.
        offset: our local time minus the device's, measured just before: holds for what it recorded until then.
    """

    set_to: datetime
    offset: timedelta

    @classmethod
    def of(cls, state: Mapping[str, str | int | bool | None] | None) -> ClockChange | None:
        """From the fact; None for anything that no `mark` wrote."""
        state = state or {}
        text, offset_s = state.get("set_to"), state.get("offset_s")
        if not isinstance(text, str) or not isinstance(offset_s, int):
            return None
        try:
            set_to, offset = datetime.fromisoformat(text), timedelta(seconds=offset_s)
        except (ValueError, OverflowError):
            return None
        return cls(set_to, offset) if set_to.tzinfo is None else None

    @property
    def mark(self) -> Mark:
        """The fact that says this."""
        offset_s = round(self.offset.total_seconds())
        return Mark(CLOCK_FACT, {"set_to": self.set_to.isoformat(), "offset_s": offset_s})

    def is_before(self, device_time: datetime) -> bool:
        """Whether a record with that stamp was made by the clock as it was before.

        Where the clock was fast, the stamps of some minutes exist twice: they count as those of the clock as it is.
        """
        return device_time < min(self.set_to, self.set_to - self.offset) + timedelta(seconds=1)


def is_worth_setting(offset: timedelta | None) -> bool:
    """Whether a clock with this measured error should be set; one whose error is not known is never set."""
    return offset is not None and abs(offset) > TOLERATED_OFFSET


def settable_clock(access: ClockAccess) -> str | None:
    """The characteristic to write; None for a clock that only its maker or its owner can set."""
    return _CHARS.get(access)


class ClockSetting:
    """One attempt on one link.

    Args:
        local_now: naive, the owner's wall clock now.
        offset: our local time minus the device's, measured at this contact.
        char: `2a2b` or `2a08`.

    Attributes:
        is_verified: the device was read back and shows the new time.
    """

    def __init__(self, local_now: datetime, offset: timedelta, *, char: str = "2a2b") -> None:
        self._change = ClockChange(local_now.replace(microsecond=0), offset)
        self._char = char
        self._refusal: str | None = None
        self._is_done = False
        self.is_verified = False

    @property
    def is_done(self) -> bool:
        """Whether it was tried."""
        return self._is_done

    @property
    def patience(self) -> Patience:
        """Reads and writes are answered or refused."""
        return Patience.ANSWER

    def start(self) -> list[Request]:
        """The error first."""
        return [Keep(facts=(self._change.mark,))]

    def on_kept(self) -> list[Request]:
        """The error is durable: now the clock, and a look at it."""
        return [] if self._is_done else [Write(self._char, self._frame()), Read(self._char)]

    def on_read(self, char: str, data: bytes) -> list[Request]:
        """Whether the device shows what it was told."""
        if self._is_done or char != self._char:
            return []
        shown = self._shown(data)
        self.is_verified = shown is not None and abs(shown - self._change.set_to) <= TOLERATED_OFFSET
        if self.is_verified:
            return self._close(Outcome.COMPLETE, None)
        return self._close(Outcome.REFUSED, self._refusal or "the clock does not show the time it was given")

    def on_refused(self, char: str, att_code: int) -> list[Request]:
        """A clock that cannot be written is looked at nevertheless; one that cannot be read is not believed."""
        if self._is_done or char != self._char:
            return []
        if self._refusal is None:
            self._refusal = f"attribute error {att_code:#04x} on {char}"
            return []
        return self._close(Outcome.REFUSED, self._refusal)

    def on_notify(self, char: str, data: bytes) -> list[Request]:
        """Nothing is subscribed to for this."""
        del char, data
        return []

    def on_silence(self) -> list[Request]:
        """No answer to either."""
        return [] if self._is_done else self._close(Outcome.SILENT, self._refusal or "no answer")

    def on_link_lost(self) -> list[Request]:
        """Whether the clock was set is seen at the next contact, by its error."""
        self._is_done = True
        return []

    def _frame(self) -> bytes:
        if self._char == "2a08":
            return write_date_time(self._change.set_to)
        return build_current_time(self._change.set_to, AdjustReason.EXTERNAL_REFERENCE)

    def _shown(self, data: bytes) -> datetime | None:
        try:
            return parse_date_time(data) if self._char == "2a08" else parse_current_time(data).local
        except MalformedFrame:
            return None

    def _close(self, outcome: Outcome, detail: str | None) -> list[Request]:
        self._is_done = True
        return [Close(outcome, detail)]
