"""One configured device: when it may be connected, and what people are told about it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gateway.adapters.sources.bluetooth.radio.manager import RadioManager
from gateway.adapters.sources.bluetooth.radio.neighbourhood import Heard
from gateway.adapters.sources.bluetooth.session import MADE_ROOM
from gateway.adapters.sources.bluetooth.states import DeviceState, LinkState
from gateway.devices.drivers import Driver, Opening
from gateway.devices.procedures import Close, Facts, Outcome, Procedure
from gateway.devices.procedures.scale_session import CONSENT_UNANSWERED
from gateway.model import Device
from gateway.ports import Clock
from gateway.settings import BluetoothSettings

if TYPE_CHECKING:
    from gateway.adapters.sources.bluetooth.visit import Visit

__all__ = ["GIVEN_UP", "NO_SLOT", "Found", "Watch"]

GIVEN_UP: Final = "given_up"
"""Detail of a contact that we ended, for a person who needs the device or because the radio went: no fault of it."""
NO_SLOT: Final = "no_slot"
"""Detail of a contact that did not begin because the radio had no connection left: no fault of the device."""


_QUICK_RETRIES: Final = 3
_ENDED_VISITS: Final = 12
"""How many times longer than usual a sensor is left alone that has nothing more to say."""
_STATES: Final = {
    Outcome.COMPLETE: LinkState.ASLEEP,
    Outcome.NEEDS_PAIRING: LinkState.NEEDS_PAIRING,
    Outcome.SESSION_ENDED: LinkState.SESSION_ENDED,
}
_MOST_UNANSWERED: Final = 2
"""Scales lock a user after three wrong codes, and one that hangs up over a wrong code has counted it all the same."""
_ROOM_S: Final = 60.0
_MOST_DOUBLINGS: Final = 3
_PERSON_MUST_ACT: Final = frozenset({Outcome.NEEDS_PAIRING, Outcome.CONSENT_REFUSED, Outcome.REFUSED})


@dataclass(frozen=True, slots=True)
class Found:
    """An advertisement that is worth a connection, and the radio that heard it."""

    heard: Heard
    driver: Driver
    open: Callable[[Opening], Procedure]
    manager: RadioManager


class Watch:
    """Holds at most one advertisement, and only while a connection is wanted: one attempt per advertisement.

    Attributes:
        device: the configured device.
        state: what people see.
        wants_bond: it hung up on us without a word: pair first next time.
        cut_off: points for links in a row to a bonded device that ended before anything was answered.
        consent_was_refused: the scale's code is not tried again until `retry`.
        not_before: monotonic seconds; advertisements before it are not answered.
        bonded_with: name of the radio that has keys for it, as far as is known.
        unreached_by: name of the radio that last failed to connect to it: another that hears it goes first.
        visit: the contact that goes on now.
        told: what has been logged about it, by the name of the fact.
        knows_identity: what the device says about itself has been read since the start.
        identity: what it said then; its family may show in nothing else.
        clock_offset: our local time minus the device's at the last contact; None: not measured.
        can_set_clock: whether its clock can be set over the link.
    """

    def __init__(
        self,
        device: Device,
        clock: Clock,
        settings: BluetoothSettings,
        on_change: Callable[[], None],
        chance: random.Random | None = None,
    ) -> None:
        self.device = device
        self.state = DeviceState(device.device_id, LinkState.ASLEEP, clock.now())
        self.wants_bond = False
        self.cut_off = 0
        self.consent_was_refused = False
        self.told: dict[str, str] = {}
        self.knows_identity = False
        self.identity = Facts()
        self.clock_offset: timedelta | None = None
        self.can_set_clock = False
        self._clock = clock
        self._settings = settings
        self._on_change = on_change
        self._chance = chance
        self.bonded_with: str | None = None
        self.unreached_by: str | None = None
        self.visit: Visit | None = None
        self._is_idle = False
        self._rests = asyncio.Event()
        self._rests.set()
        self.not_before = clock.monotonic()
        self._found: asyncio.Queue[Found] = asyncio.Queue(maxsize=1)
        self._quick_retries = 0
        self._unanswered_consents = 0
        self._failures = 0

    @property
    def is_wanted(self) -> bool:
        """Whether an advertisement heard now would be answered by a connection."""
        return self._is_idle and self._found.empty() and self._clock.monotonic() >= self.not_before

    @contextmanager
    def visiting(self, visit: Visit) -> Iterator[None]:
        """`visit` goes on for the length of the block."""
        self.visit = visit
        self._rests.clear()
        try:
            yield
        finally:
            self.visit = None
            self._rests.set()

    async def at_rest(self) -> None:
        """Return when no contact goes on."""
        await self._rests.wait()

    def offer(self, found: Found) -> None:
        """From the scanner: dropped unless it is wanted."""
        if self.is_wanted:
            self._found.put_nowait(found)

    async def next_found(self) -> Found:
        """Wait for an advertisement that begins after this call and after the pause."""
        self._is_idle = True
        try:
            return await self._found.get()
        finally:
            self._is_idle = False

    def enter(self, state: LinkState, detail: str | None = None) -> None:
        """Change what people see; `since` moves only when something changed."""
        if (state, detail) != (self.state.state, self.state.detail):
            self.state = DeviceState(self.device.device_id, state, self._clock.now(), detail)
            self._on_change()

    def retry(self) -> None:
        """A person has done something about it: forget pauses and refusals."""
        self.not_before = self._clock.monotonic()
        self._quick_retries = self._failures = self.cut_off = 0
        self.consent_was_refused = self.wants_bond = False
        self.unreached_by = None
        self._unanswered_consents = 0

    def settle(
        self,
        closed: Close,
        *,
        records_kept: int,
        lasted_s: float,
        wake_s: float | None = None,
        link_hold_s: float = 0.0,
    ) -> None:
        """After a contact: the state to show and the pause before the next one.

        A link that broke in mid-transfer is taken up again at once, a few times: a meter sleeps after half a minute.
        One that could not be made to a device with a short wake window is tried again within that window. A device
        that keeps failing is left alone for longer each time, with jitter, so that several do not come together. A code
        that a scale leaves unanswered twice in a row is not tried again, as if it had been refused.

        Args:
            wake_s: the device's wake window; None: long.
            link_hold_s: how long the platform keeps a link after it was given back.
        """
        settings = self._settings
        if closed.detail in {GIVEN_UP, NO_SLOT}:
            self.enter(LinkState.ASLEEP)
            return
        if closed.detail == CONSENT_UNANSWERED:
            self._unanswered_consents += 1
            if self._unanswered_consents >= _MOST_UNANSWERED:
                closed = Close(Outcome.CONSENT_REFUSED, CONSENT_UNANSWERED)
        elif closed.outcome is Outcome.COMPLETE:
            self._unanswered_consents = 0
        is_moving = records_kept > 0 or lasted_s > settings.retry_s
        if closed.outcome is Outcome.COMPLETE:
            pause_s, self._quick_retries = settings.revisit_s, 0
        elif closed.outcome is Outcome.LINK_LOST and is_moving and self._quick_retries < _QUICK_RETRIES:
            pause_s = 0.0
            self._quick_retries = 0 if lasted_s > settings.retry_s else self._quick_retries + 1
        elif closed.outcome is Outcome.SESSION_ENDED:
            pause_s, self._quick_retries = _ENDED_VISITS * settings.revisit_s, 0
        elif closed.outcome in _PERSON_MUST_ACT:
            pause_s = max(settings.retry_s, settings.revisit_s)
        elif closed.outcome is Outcome.LINK_LOST and wake_s is not None and self._quick_retries < _QUICK_RETRIES:
            pause_s = min(settings.retry_s, wake_s / 10)
            self._quick_retries += 1
        else:
            pause_s, self._quick_retries = self._longer(settings.retry_s), 0
            self._failures += 1
        if records_kept > 0 and lasted_s > settings.retry_s:
            self._failures = 0  # a sensor's contacts end by a lost link, well or not
        if closed.outcome is Outcome.COMPLETE:
            self._failures = 0
            if closed.detail == MADE_ROOM:
                pause_s = min(pause_s, _ROOM_S)
        self.not_before = self._clock.monotonic() + (max(pause_s, link_hold_s) if pause_s else 0.0)
        if closed.outcome is Outcome.CONSENT_REFUSED:
            self.consent_was_refused = True
        if closed.outcome is Outcome.LINK_LOST and is_moving:
            self.enter(LinkState.ASLEEP)
        elif closed.outcome is Outcome.COMPLETE and self.consent_was_refused:
            self.enter(LinkState.FAILED, Outcome.CONSENT_REFUSED.value)
        else:
            is_telling = closed.outcome in {Outcome.COMPLETE, Outcome.SESSION_ENDED}
            detail = closed.detail if is_telling else closed.outcome.value
            if detail == MADE_ROOM:
                detail = None
            self.enter(_STATES.get(closed.outcome, LinkState.FAILED), detail)

    def _longer(self, pause_s: float) -> float:
        """Doubled with each failure in a row, eight times at most; a little more or less from the second on."""
        doubled = pause_s * float(2 ** min(self._failures, _MOST_DOUBLINGS))
        return doubled * self._chance.uniform(0.8, 1.2) if self._chance is not None and self._failures else doubled
