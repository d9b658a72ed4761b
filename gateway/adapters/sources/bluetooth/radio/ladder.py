"""The recovery ladder: what is tried, in which order, when a radio is stuck or hears nothing any more.

Start the scan again; switch the adapter off and on; reset it; tell the person. Each rung is bounded in time, is tried
once in an episode and is logged once. An episode ends when a packet is heard, and the next one begins at the bottom.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Episode", "Pace", "Rung", "Silences"]


class Rung(enum.StrEnum):
    """Lowest first."""

    RESTART_SCAN = "restart_scan"
    POWER_CYCLE = "power_cycle"
    RESET = "reset"
    TELL = "tell"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things may take; the defaults are those of a house, tests are quicker. All in seconds.

    Attributes:
        quiet_s: silence that is worth a word.
        silence_s: silence after which the first rung is tried.
        listen_s: how long is listened after a rung before the next.
        rung_s: limit of one rung.
        start_s, stop_s: limits of starting and stopping a scan.
        rungs: what may be tried, lowest first; a guest beside a running gateway switches nothing off (and ends no
            link).
        first_pause_s, longest_pause_s: between attempts while there is no adapter; doubles.
    """

    quiet_s: float = 60.0
    silence_s: float = 300.0
    listen_s: float = 60.0
    rung_s: float = 60.0
    rungs: tuple[Rung, ...] = tuple(Rung)
    start_s: float = 15.0
    stop_s: float = 5.0
    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0


@dataclass(slots=True)
class Episode:
    """One trouble, from its first sign to the next packet.

    Attributes:
        tried: rungs so far.
        has_failed: the adapter has answered with an error in this episode: silence alone has not.
    """

    tried: tuple[Rung, ...] = ()
    has_failed: bool = False

    @property
    def is_over_the_top(self) -> bool:
        """Everything was tried, and the person told."""
        return Rung.TELL in self.tried

    def next_rung(self, rungs: tuple[Rung, ...]) -> Rung | None:
        """The first of `rungs` not tried, which counts as tried from now on; None: nothing is left."""
        rung = next((rung for rung in rungs if rung not in self.tried), None)
        if rung is not None:
            self.tried = (*self.tried, rung)
        return rung


@dataclass(slots=True)
class Silences:
    """How long this place is silent of itself, learned since the start: a lonely house is not a deaf radio.

    Attributes:
        has_heard: anybody, ever.
        longest_s: the longest silence that ended without our doing.
    """

    has_heard: bool = False
    longest_s: float = 0.0

    def ended(self, lasted_s: float, *, by_itself: bool) -> None:
        """A packet came after `lasted_s`; `by_itself`: no rung was tried shortly before."""
        self.has_heard = True
        if by_itself:
            self.longest_s = max(self.longest_s, lasted_s)

    def is_unusual(self, lasted_s: float) -> bool:
        """Whether a place that was heard before has never been so quiet, by a factor of two."""
        return self.has_heard and lasted_s > 2 * self.longest_s
