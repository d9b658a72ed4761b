"""Bluetooth radios and the keys they keep."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gateway.model import Neighbour, RadioReport

__all__ = ["Bonds", "PairingQuestions", "Radios"]


class Radios(Protocol):
    """What the pages, the commands and the pairing may know of the radios, and ask of them."""

    def neighbours(self) -> tuple[Neighbour, ...]:
        """Devices heard in the last minutes, strongest first; bounded."""
        ...

    def reports(self) -> tuple[RadioReport, ...]:
        """Every radio, now."""
        ...

    async def changed(self) -> None:
        """Return at the next change of a report."""
        ...

    def hold(self, address: str) -> AbstractAsyncContextManager[None]:
        """Leave the device with this address to the caller (who pairs it) for the length of the block."""
        ...


class PairingQuestions(Protocol):
    """What a radio asks a person while it makes one bond. Each question ends in an answer or in PairingFailed."""

    def connected(self) -> None:
        """The device has been reached."""
        ...

    async def passkey(self) -> int:
        """The six digits that the device shows, 0..999999."""
        ...

    async def is_same(self, digits: int) -> bool:
        """Whether the device shows these six digits too, 0..999999."""
        ...

    def show(self, digits: int) -> None:
        """The person must type these six digits on the device, 0..999999."""
        ...

    def allows_unproven(self) -> bool:
        """Whether a link without proof of who is at the other end is good enough for this device."""
        ...


class Bonds(Protocol):
    """The keys that one radio keeps, and how they are made."""

    async def run(self) -> None:
        """Be ready to bond, for ever: what this radio needs to have running meanwhile."""
        ...

    async def bond(self, address: str, questions: PairingQuestions) -> None:
        """Make a new bond with the device at `address`, in place of an older one; one call at a time.

        Afterwards there is no link. When it fails or is cancelled, there is no bond either.

        Raises:
            PairingFailed: no bond.
        """
        ...

    async def unbond(self, address: str) -> bool:
        """Forget the keys on our side; False: there were none.

        Raises:
            PairingFailed: NO_BLUETOOTH.
        """
        ...

    async def bonded(self) -> frozenset[str]:
        """Addresses of which keys are kept, upper case; empty as well when nobody can tell."""
        ...
