"""The clock of a machine that may not know the time: a small board has no battery, and starts in the past.

It is believed when the kernel says that something keeps it right (NTP), when that was so earlier in this boot, or when
a real-time clock with a battery agrees with it. Never before `EARLIEST_NOW`; and without the kernel's word not before
the newest instant that an earlier run noted while it was sure: such a clock has stepped back.

While it is not believed, it tells no wall clock at all but an order: the machine's uptime from a base that lies after
everything that was ever received. So the receptions of such a spell keep their order, differ from all others, and move
together once the error is known. The base belongs to the boot: a process that starts again in it goes on with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.clock import EARLIEST_NOW, LinuxMachine, Machine
from gateway.model import ClockSession, UntrustedSpell

__all__ = ["Found", "HubClock", "Lost", "Stepped"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SLACK: Final = timedelta(minutes=5)
_BATTERY_AGREES: Final = timedelta(minutes=10)
_NOTICED_US: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """The time is known now; it is `step` later than was told."""

    step: timedelta


@dataclass(frozen=True, slots=True)
class Lost:
    """The time is not known any more."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """A clock that is believed was set: it tells `step` more than its own pace."""

    step: timedelta


class HubClock:
    """Implements `Clock`. What it tells changes its character only in `begin` and `look`, never between.

    Args:
        machine: where the facts come from.
        is_believed: a person says that the machine's clock is right (`[gateway] clock = "trusted"`).
    """

    def __init__(self, machine: Machine | None = None, *, is_believed: bool = False) -> None:
        self._machine = machine or LinuxMachine()
        self._is_believed = is_believed
        self._floor = EARLIEST_NOW
        self._after = EARLIEST_NOW
        self._session = ClockSession(self._machine.boot_id())
        self._is_lost = not self._has_evidence()
        self._base_us = self._wall_less_boot_us()

    def now(self) -> datetime:
        """Current instant, aware, UTC; while `is_trusted` is False only an order."""
        us = self._base_us + self._machine.boot_us() if self._is_lost else self._machine.wall_us()
        return _EPOCH + us * _MICROSECOND

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._machine.monotonic()

    @property
    def is_trusted(self) -> bool:
        """Whether `now` is the time."""
        return not self._is_lost

    @property
    def session(self) -> ClockSession:
        """What is known about this boot."""
        return self._session

    def begin(self, known: ClockSession | None, floor: datetime | None, newest: datetime | None) -> None:
        """Take up what an earlier process of this boot knew.

        Args:
            known: this boot's session; None: it is the first process of it.
            floor: the newest instant noted while sure; None: never.
            newest: the newest reception of anything.
        """
        self._session = known or ClockSession(self._machine.boot_id())
        self._floor = max(EARLIEST_NOW, floor or EARLIEST_NOW)
        self._after = max(self._floor, newest or EARLIEST_NOW)
        spell = self._session.spell
        if spell is not None and spell.ended_us is None:
            self._is_lost, self._base_us = True, spell.base_us  # `look` ends it, if it can
        elif self._has_evidence():
            self._believe()
        else:
            self._lose()

    def look(self) -> Found | Lost | Stepped | None:
        """Look at the machine again; what has changed since the last time."""
        has_evidence = self._has_evidence()
        if self._is_lost:
            if not has_evidence:
                return None
            spell = self._session.spell
            step_us = self._wall_less_boot_us() - self._base_us
            if spell is not None:
                ended = replace(spell, ended_us=self._machine.boot_us(), step_us=step_us)
                self._session = replace(self._session, spell=ended)
            self._believe()
            return Found(step_us * _MICROSECOND)
        if not has_evidence:
            self._lose()
            return Lost()
        before_us = self._base_us
        self._believe()
        moved_us = self._base_us - before_us
        return Stepped(moved_us * _MICROSECOND) if abs(moved_us) >= _NOTICED_US else None

    def note(self) -> datetime | None:
        """The instant, as a floor for what comes after; None while it is not known."""
        if self._is_lost:
            return None
        self._floor = self.now()
        return self._floor

    def repaired(self) -> None:
        """The history of the last spell has been repaired."""
        if (spell := self._session.spell) is not None:
            self._session = replace(self._session, spell=replace(spell, is_repaired=True))

    def _believe(self) -> None:
        self._is_lost = False
        self._base_us = self._wall_less_boot_us()
        if self._machine.is_synchronised():
            self._session = replace(self._session, was_synchronised=True)
            self._floor = EARLIEST_NOW  # what the network says now outweighs what was noted

    def _lose(self) -> None:
        """Begin a spell, after everything that was received and told so far."""
        boot_us = self._machine.boot_us()
        told_us = 0 if self._is_lost else self._base_us + boot_us
        after_us = (self._after - _EPOCH) // _MICROSECOND + 1
        first_us = max(self._machine.wall_us(), after_us, told_us)
        self._is_lost, self._base_us = True, first_us - boot_us
        self._session = replace(self._session, spell=UntrustedSpell(self._base_us, boot_us))

    def _wall_less_boot_us(self) -> int:
        return self._machine.wall_us() - self._machine.boot_us()

    def _has_evidence(self) -> bool:
        now = _EPOCH + self._machine.wall_us() * _MICROSECOND
        if now < EARLIEST_NOW:
            return False
        if self._is_believed or self._machine.is_synchronised():
            return True
        if now < self._floor - _SLACK:
            return False
        if self._session.was_synchronised:
            return True
        battery = self._machine.battery_clock()
        return battery is not None and battery >= EARLIEST_NOW and abs(battery - now) <= _BATTERY_AGREES
