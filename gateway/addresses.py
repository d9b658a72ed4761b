"""Which device has which Bluetooth address: those of the configuration, and those that people enrolled since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.model import Device, DeviceId
from gateway.pairing.household import beside_configuration
from gateway.ports import Clock, Enrolments

__all__ = ["AddressBook"]

_FRESH_S: Final = 5.0


class AddressBook:
    """Implements `Addresses`. Enrolments are looked up again after five seconds, not for every message.

    Args:
        configured: the devices of the file; they win over enrolled ones.
    """

    def __init__(self, configured: Sequence[Device], enrolments: Enrolments, clock: Clock) -> None:
        self._configured = tuple(configured)
        self._enrolments = enrolments
        self._clock = clock
        self._read_at: float | None = None
        self._devices: dict[str, DeviceId] = {}

    async def device_of(self, address: str) -> DeviceId | None:
        """See `Addresses.device_of`."""
        return (await self._book()).get(address.upper())

    async def address_of(self, device_id: DeviceId) -> str | None:
        """See `Addresses.address_of`."""
        return next((address for address, each in (await self._book()).items() if each == device_id), None)

    async def _book(self) -> dict[str, DeviceId]:
        now = self._clock.monotonic()
        if self._read_at is None or now - self._read_at >= _FRESH_S:
            enrolled, _ = beside_configuration(self._configured, await self._enrolments.enrolments())
            devices = [*self._configured, *(each.device for each in enrolled)]
            self._devices = {each.address.upper(): each.device_id for each in devices if each.address is not None}
            self._read_at = now
        return self._devices
