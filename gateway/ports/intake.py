"""What readings come from, and what they are handed to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.model import Batch, Checkpoint, CommitReceipt, DeviceId

__all__ = ["DeviceSighting", "Intake", "Source"]


@dataclass(frozen=True, slots=True)
class DeviceSighting:
    """What a source learned about a device beside its readings. None means "nothing new".

    A sighting of an unknown `device_id` creates a device of kind `unknown` without an owner.
    """

    device_id: DeviceId
    heard_at: datetime
    manufacturer: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None
    system_id: str | None = None
    battery_percent: int | None = None


class Intake(Protocol):
    """What a source hands readings to."""

    async def submit(self, batch: Batch) -> CommitReceipt:
        """Make `batch` durable; idempotent. Only after this returns may the sender be told "received".

        Waits while the store is busy: that is the back-pressure. Raises StoreUnavailable: acknowledge nothing.
        """
        ...

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        """The last durable checkpoint of that name, or None."""
        ...

    async def sighted(self, sighting: DeviceSighting) -> None:
        """Record that a device was heard and what it said about itself."""
        ...


class Source(Protocol):
    """Something that readings come from. Runs until cancelled; never raises for one bad device or payload."""

    @property
    def name(self) -> str:
        """For logs and task names."""
        ...

    async def run(self, intake: Intake) -> None:
        """Collect for ever, handing everything to `intake`."""
        ...
