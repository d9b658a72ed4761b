"""The doorway of every reading: durable first, then everybody who follows is told."""

from __future__ import annotations

from gateway.changes import Changes
from gateway.model import Batch, Checkpoint, CommitReceipt, DeviceId
from gateway.ports import DeviceSighting, ReadingStore, Registry

__all__ = ["StoreIntake"]


class StoreIntake:
    """Implements `Intake` over a store."""

    def __init__(self, store: ReadingStore, registry: Registry, changes: Changes) -> None:
        self._store = store
        self._registry = registry
        self._changes = changes

    async def submit(self, batch: Batch) -> CommitReceipt:
        """See `Intake.submit`."""
        receipt = await self._store.commit(batch)
        if receipt.added or receipt.corrected or receipt.quarantined:
            self._changes.announce()
        return receipt

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        """See `Intake.checkpoint`."""
        return await self._store.checkpoint(device_id, name)

    async def sighted(self, sighting: DeviceSighting) -> None:
        """See `Intake.sighted`."""
        await self._registry.sighted(sighting)
        self._changes.announce()
