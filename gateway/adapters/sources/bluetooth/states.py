"""What people can be told about a Bluetooth device right now."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.model import DeviceId

__all__ = ["DeviceState", "LinkState"]


class LinkState(enum.StrEnum):
    """Where the gateway stands with a device."""

    ASLEEP = "asleep"
    """Nothing to do until it advertises."""
    CONNECTING = "connecting"
    READING = "reading"
    NEEDS_PAIRING = "needs_pairing"
    """It does not accept us: a person must pair it, perhaps again."""
    SESSION_ENDED = "session_ended"
    """A sensor that was stopped or has lived its time; looked at now and then, in case a new one begins."""
    FAILED = "failed"
    """The last contact ended badly; it is tried again."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """State of one configured device.

    Attributes:
        since: UTC, gateway clock.
        detail: why, in words without values; None when there is nothing to explain.
        clock_offset: our local time minus the device's at the last contact; None: not measured.
        can_set_clock: whether its clock can be set over the link.
    """

    device_id: DeviceId
    state: LinkState
    since: datetime
    detail: str | None = None
    clock_offset: timedelta | None = None
    can_set_clock: bool = False
