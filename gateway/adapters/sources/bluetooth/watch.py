"""One configured device: when it may be connected, and what people are told about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bleak.backends.device import BLEDevice

from gateway.adapters.sources.bluetooth.states import DeviceState, LinkState
from gateway.devices.drivers import Driver, Opening
from gateway.devices.procedures import Close, Facts, Outcome, Procedure
from gateway.model import Device
from gateway.ports import Clock
from gateway.settings import BluetoothSettings

__all__ = ["Found", "Watch"]

_QUICK_RETRIES: Final = 3
_STATES: Final = {
    Outcome.COMPLETE: LinkState.ASLEEP,
    Outcome.NEEDS_PAIRING: LinkState.NEEDS_PAIRING,
}
_PERSON_MUST_ACT: Final = frozenset({Outcome.NEEDS_PAIRING, Outcome.CONSENT_REFUSED, Outcome.REFUSED})


@dataclass(frozen=True, slots=True)
class Found:
    """An advertisement that is worth a connection."""

    device: BLEDevice
    driver: Driver
    open: Callable[[Opening], Procedure]


class Watch:
    """Holds at most one advertisement, and only while a connection is wanted: one attempt per advertisement.

    Attributes:
        device: the configured device.
        state: what people see.
        wants_bond: it hung up on us without a word: pair first next time.
        consent_was_refused: the scale's code is not tried again until `retry`.
        not_before: monotonic seconds; advertisements before it are not answered.
        knows_identity: what the device says about itself has been read since the start.
        identity: what it said then; its family may show in nothing else.
    """

    def __init__(
        self, device: Device, clock: Clock, settings: BluetoothSettings, on_change: Callable[[], None]
    ) -> None:
        self.device = device
        self.state = DeviceState(device.device_id, LinkState.ASLEEP, clock.now())
        self.wants_bond = False
        self.consent_was_refused = False
        self.knows_identity = False
        self.identity = Facts()
        self._clock = clock
        self._settings = settings
        self._on_change = on_change
        self._is_idle = False
        self.not_before = clock.monotonic()
        self._found: asyncio.Queue[Found] = asyncio.Queue(maxsize=1)
        self._quick_retries = 0

    @property
    def is_wanted(self) -> bool:
        """Whether an advertisement heard now would be answered by a connection."""
        return self._is_idle and self._found.empty() and self._clock.monotonic() >= self.not_before

    def offer(self, found: Found) -> None:
        """From the scanner: dropped unless it is wanted."""
        if self.is_wanted:
            self._found.put_nowait(found)

    async def next_found(self) -> Found:
        """Wait for an advertisement that begins after this call and after the pause."""
        self._is_idle = True
        found = await self._found.get()
        self._is_idle = False
        return found

    def enter(self, state: LinkState, detail: str | None = None) -> None:
        """Change what people see; `since` moves only when something changed."""
        if (state, detail) != (self.state.state, self.state.detail):
            self.state = DeviceState(self.device.device_id, state, self._clock.now(), detail)
            self._on_change()

    def retry(self) -> None:
        """A person has done something about it: forget pauses and refusals."""
        self.not_before = self._clock.monotonic()
        self._quick_retries = 0
        self.consent_was_refused = False

    def settle(self, closed: Close, *, records_kept: int, lasted_s: float) -> None:
        """After a contact: the state to show and the pause before the next one.

        A link that broke in mid-transfer is taken up again at once, a few times: a meter sleeps after half a minute.
        """
        settings = self._settings
        is_moving = records_kept > 0 or lasted_s > settings.retry_s
        if closed.outcome is Outcome.COMPLETE:
            pause_s, self._quick_retries = settings.revisit_s, 0
        elif closed.outcome is Outcome.LINK_LOST and is_moving and self._quick_retries < _QUICK_RETRIES:
            pause_s = 0.0
            self._quick_retries = 0 if lasted_s > settings.retry_s else self._quick_retries + 1
        elif closed.outcome in _PERSON_MUST_ACT:
            pause_s = max(settings.retry_s, settings.revisit_s)
        else:
            pause_s, self._quick_retries = settings.retry_s, 0
        self.not_before = self._clock.monotonic() + pause_s
        if closed.outcome is Outcome.CONSENT_REFUSED:
            self.consent_was_refused = True
        if closed.outcome is Outcome.LINK_LOST and is_moving:
            self.enter(LinkState.ASLEEP)
        elif closed.outcome is Outcome.COMPLETE and self.consent_was_refused:
            self.enter(LinkState.FAILED, Outcome.CONSENT_REFUSED.value)
        else:
            detail = None if closed.outcome is Outcome.COMPLETE else closed.outcome.value
            self.enter(_STATES.get(closed.outcome, LinkState.FAILED), detail)
