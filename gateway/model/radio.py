"""What can be told about a Bluetooth radio and what it hears."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from gateway.model.ids import DeviceId
from gateway.model.people import DeviceKind

__all__ = ["Neighbour", "RadioReport", "RadioState"]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A device that the radio has heard lately, ours or not.

    Attributes:
        address: Bluetooth address, upper case; personal data of whoever carries the device.
        name: local name as sent, cut to 64 characters; None when not sent.
        rssi_dbm: strength of the last packet; None when not known.
        driver: name of the driver that claims its advertisement; None: nothing that we can read.
        kind: what it is by that driver; None likewise.
        device_id: the enrolled device with this address; None: not one of ours.
        first_heard_at, last_heard_at: UTC, gateway clock.
        not_read: recognised and not readable: name of the reason among `gateway.devices.models.NOT_READ`; None: nothing
            is known about it, or a driver claims it.
    """

    address: str
    name: str | None
    rssi_dbm: int | None
    driver: str | None
    kind: DeviceKind | None
    device_id: DeviceId | None
    first_heard_at: datetime
    last_heard_at: datetime
    not_read: str | None = None


class RadioState(enum.StrEnum):
    """What a radio is able to do now."""

    STARTING = "starting"
    HEARING = "hearing"
    """It hears devices: one of ours that is silent is asleep or away."""
    QUIET = "quiet"
    """Nothing is heard, for too short a time to call it deaf."""
    DEAF = "deaf"
    """Nothing at all has been heard for so long that the radio itself must be at fault."""
    RECOVERING = "recovering"
    """A rung of the recovery ladder is being tried."""
    ABSENT = "absent"
    """The adapter, or the Bluetooth service, is not there."""
    BLOCKED = "blocked"
    """A switch (rfkill) or missing permission keeps it off."""


@dataclass(frozen=True, slots=True)
class RadioReport:
    """One radio, now.

    Attributes:
        name: for people: adapter and its address, or the name of a proxy.
        address: the adapter's own Bluetooth address; None while it is absent.
        state: see `RadioState`.
        since: UTC, since when.
        last_heard_at: UTC, the last packet from anybody; None: never since the start.
        devices_heard: distinct devices of the last minutes.
        advice: what a person can do, as a stable word for the page's texts; None: nothing.
    """

    name: str
    address: str | None
    state: RadioState
    since: datetime
    last_heard_at: datetime | None
    devices_heard: int
    advice: str | None = None
