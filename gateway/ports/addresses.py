"""Which device has which Bluetooth address."""

from __future__ import annotations

from typing import Protocol

from gateway.model import DeviceId

__all__ = ["Addresses"]


class Addresses(Protocol):
    """The devices that are collected from, by address; those enrolled while we run, too."""

    async def device_of(self, address: str) -> DeviceId | None:
        """The device with this address (`AA:BB:CC:DD:EE:FF`); None: nobody enrolled it."""
        ...

    async def address_of(self, device_id: DeviceId) -> str | None:
        """The address of a device; None: it has none, or is not known."""
        ...
