"""A destination outside the house."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from gateway.model import Departure, DestinationId

__all__ = ["HealthSpace"]


class HealthSpace(Protocol):
    """A destination that keeps a person's health data."""

    @property
    def destination_id(self) -> DestinationId:
        """Which destination this is."""
        ...

    async def deliver(self, departure: Departure, *, still_allowed: Callable[[], Awaitable[bool]]) -> str:
        """Send the resource; returns what the space calls it.

        `still_allowed` is awaited immediately before each request that carries the resource: when it says no, nothing
        is sent and ConsentWithdrawn is raised.

        Raises:
            StoreUnavailable: `still_allowed` could not tell; nothing was applied.
            RateLimited, TransientError: certainly not applied, try later.
            Rejected: certainly not applied, never try again.
            OutcomeUnknown: may have been applied.
            ReauthNeeded, ConsentWithdrawn, AccountMismatch: certainly not applied; stop the account or person.
        """
        ...

    async def find(self, departure: Departure) -> str | None:
        """Look whether the space already holds what `departure` states; its name there, or None. Same errors."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
