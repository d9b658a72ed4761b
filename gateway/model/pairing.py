"""Pairing as a person sees it: one attempt, its state, and why it failed; and the device that came of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime

from gateway.model.ids import DeviceId
from gateway.model.people import Device, DeviceKind

__all__ = ["Enrolment", "Farewell", "PairingAttempt", "PairingFailure", "PairingState"]


class PairingState(enum.StrEnum):
    """Where an attempt stands."""

    LOOKING = "looking"
    """It is not heard yet: switch it on, come near."""
    CONNECTING = "connecting"
    WANTS_PASSKEY = "wants_passkey"
    """The device shows six digits; the person types them here."""
    WANTS_COMPARISON = "wants_comparison"
    """Both sides show six digits; the person says whether they are the same."""
    SHOWS_PASSKEY = "shows_passkey"
    """The person types on the device what is shown here."""
    PAIRING = "pairing"
    PAIRED = "paired"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self in {
            PairingState.PAIRED,
            PairingState.FAILED,
            PairingState.CANCELLED,
            PairingState.TIMED_OUT,
        }


class PairingFailure(enum.StrEnum):
    """Why there is no bond."""

    NOT_HEARD = "not_heard"
    """It did not show itself in time."""
    UNREACHABLE = "unreachable"
    """It was heard, but no connection came about or it was lost."""
    WRONG_PASSKEY = "wrong_passkey"
    """The digits were not those of the device."""
    DIFFERENT_DIGITS = "different_digits"
    """The person said that the two sides do not show the same."""
    REFUSED = "refused"
    """The device does not want to; often it is not in its pairing mode, or it keeps another bond."""
    UNPROVEN = "unproven"
    """It offered a link without proof of who it is, where its family must give one."""
    NOBODY_ANSWERED = "nobody_answered"
    """The question was not answered in time."""
    NO_BLUETOOTH = "no_bluetooth"
    """The adapter or the Bluetooth service is not there, or does not let us."""
    INTERRUPTED = "interrupted"
    """The gateway itself had to stop."""


class Farewell(enum.StrEnum):
    """What became of a device's own memory of us when a person unpaired it; ours is gone in every case."""

    FORGOTTEN = "forgotten"
    """The device has deleted its bond with us."""
    UNABLE = "unable"
    """It was reached and cannot, or does not want to: its owner deletes the bond in its menu."""
    NOT_REACHED = "not_reached"
    """It was out of range, asleep, or the link broke."""
    NO_BOND = "no_bond"
    """There was none."""


@dataclass(frozen=True, slots=True)
class PairingAttempt:
    """One attempt to pair one device.

    Attributes:
        attempt_id: names it in answers; random.
        address: Bluetooth address, upper case.
        name: as it advertises; None: nothing was sent.
        driver: name of the driver that claims it; None while it has not been heard.
        kind: what it is by that driver.
        device_id: the enrolled device with this address; None: a new one.
        state: see `PairingState`.
        since: UTC, since when.
        digits: six digits to compare or to type on the device; None in every other state. Never logged.
        failure: set in FAILED and TIMED_OUT.
        is_authenticated: PAIRED: whether a person's digits proved who is at the other end.
        is_bonded: PAIRED: whether keys were made; a device that only broadcasts has none.
        locked_s: seconds for which this device's passkey cannot be tried again; 0: now.
    """

    attempt_id: str
    address: str
    name: str | None
    driver: str | None
    kind: DeviceKind | None
    device_id: DeviceId | None
    state: PairingState
    since: datetime
    digits: str | None = field(default=None, repr=False)
    failure: PairingFailure | None = None
    is_authenticated: bool | None = None
    is_bonded: bool | None = None
    locked_s: int = 0


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A device that a person added without the configuration file.

    Attributes:
        device: as it was named; its owner is in it.
        enrolled_at: UTC.
        is_authenticated: whether digits proved who it is when it was paired.
        scale_user: the owner's slot on a scale, 0..254; its consent code is in a secret file, not here.
        may_set_clock: a person allows the gateway to set its clock.
        withdrawn_at: UTC; it is not collected from any more, its readings stay. None: it is.
    """

    device: Device
    enrolled_at: datetime
    is_authenticated: bool
    scale_user: int | None = None
    withdrawn_at: datetime | None = None
    may_set_clock: bool = False
