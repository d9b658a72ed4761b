"""The doorway of every reading: durable first, then everybody who follows is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gateway.changes import Changes
from gateway.model import Batch, Checkpoint, CommitReceipt, DeviceId, Reading, SourceKind
from gateway.normalise.repeats import REPEATABLE, without_repeats
from gateway.ports import DeviceSighting, ReadingStore, Registry

__all__ = ["StoreIntake"]

_CLOCKS_DIFFER_BY = timedelta(days=1)
"""How far apart one result may lie on the time scale when it was corrected at two contacts."""


def _may_repeat(reading: Reading) -> bool:
    """Whether it comes out of a meter's memory, which may tell it again under another number."""
    return reading.metric in REPEATABLE and reading.provenance.source is SourceKind.BLUETOOTH


class StoreIntake:
    """Implements `Intake` over a store."""

    def __init__(self, store: ReadingStore, registry: Registry, changes: Changes) -> None:
        self._store = store
        self._registry = registry
        self._changes = changes

    async def submit(self, batch: Batch) -> CommitReceipt:
        """See `Intake.submit`."""
        batch, repeats = await self._once(batch)
        receipt = await self._store.commit(batch)
        receipt = replace(receipt, known=receipt.known + repeats)
        if receipt.added or receipt.corrected or receipt.quarantined:
            self._changes.announce()
        return receipt

    async def _once(self, batch: Batch) -> tuple[Batch, int]:
        """`batch` without results that are stored under another name, and how many they were; payloads all stay."""
        suspects = [reading for reading in batch.readings if _may_repeat(reading)]
        if not suspects:
            return batch, 0
        instants = [reading.effective_at for reading in suspects]
        known = [
            stored.reading
            for device_id in {reading.device_id for reading in suspects}
            for stored in await self._store.readings(
                device_id=device_id,
                metrics=REPEATABLE,
                start=min(instants) - _CLOCKS_DIFFER_BY,
                end=max(instants) + _CLOCKS_DIFFER_BY,
            )
        ]
        kept = without_repeats(batch.readings, known)
        return replace(batch, readings=kept), len(batch.readings) - len(kept)

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        """See `Intake.checkpoint`."""
        return await self._store.checkpoint(device_id, name)

    async def sighted(self, sighting: DeviceSighting) -> None:
        """See `Intake.sighted`."""
        await self._registry.sighted(sighting)
        self._changes.announce()
