"""Which device has which Bluetooth address, and which addresses nobody enrolled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.model import DeviceId

__all__ = ["Addresses", "Stranger"]


@dataclass(frozen=True, slots=True)
class Stranger:
    """A scale that somebody else's radio hears and that nobody enrolled, such as the neighbour's.

    Attributes:
        address: `AA:BB:CC:DD:EE:FF`.
        dialect: name of the dialect that it came by.
        messages: how many were heard, none of them recorded.
        heard_at: the last one, aware, UTC.
    """

    address: str
    dialect: str
    messages: int
    heard_at: datetime


class Addresses(Protocol):
    """The devices that are collected from, by address; those enrolled while we run, too."""

    async def device_of(self, address: str) -> DeviceId | None:
        """The device with this address (`AA:BB:CC:DD:EE:FF`); None: nobody enrolled it."""
        ...

    async def address_of(self, device_id: DeviceId) -> str | None:
        """The address of a device; None: it has none, or is not known."""
        ...
