"""The doorway of every reading: durable first, then everybody who follows is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, timedelta, tzinfo
from typing import Final

import structlog

from gateway.changes import Changes
from gateway.model import Batch, Checkpoint, CommitReceipt, DeviceId, Reading, SourceKind
from gateway.normalise.neighbours import Gap, is_unplaced, sequence_of, settled
from gateway.normalise.repeats import REPEATABLE, without_repeats
from gateway.ports import DeviceSighting, ReadingStore, Registry

__all__ = ["StoreIntake"]

_log: Final = structlog.get_logger()
_CLOCKS_DIFFER_BY = timedelta(days=1)
"""How far apart one result may lie on the time scale when it was corrected at two contacts."""


def _may_repeat(reading: Reading) -> bool:
    """Whether it comes out of a meter's memory, which may tell it again under another number."""
    return reading.metric in REPEATABLE and reading.provenance.source is SourceKind.BLUETOOTH


def _concerns(reading: Reading, gaps: tuple[Gap, ...]) -> bool:
    """Whether it has no time of its own, or tells more about those that have none."""
    sequence = sequence_of(reading)
    if sequence is None or not _may_repeat(reading):
        return False
    return is_unplaced(reading) or any(gap.holds(reading.epoch, sequence) for gap in gaps)


class StoreIntake:
    """Implements `Intake` over a store."""

    def __init__(
        self,
        store: ReadingStore,
        registry: Registry,
        changes: Changes,
        *,
        zone_of: Callable[[DeviceId], tzinfo] = lambda _: UTC,
    ) -> None:
        """`zone_of`: the zone of a device's owner, for what a meter's own stamps say."""
        self._store = store
        self._registry = registry
        self._changes = changes
        self._zone_of = zone_of
        self._gaps: dict[DeviceId, tuple[Gap, ...]] = {}

    async def submit(self, batch: Batch) -> CommitReceipt:
        """See `Intake.submit`."""
        batch, repeats = await self._once(batch)
        receipt = await self._store.commit(batch)
        if receipt.added or receipt.corrected or receipt.quarantined:
            self._changes.announce()  # at once: it is durable, whatever becomes of the rest
        if await self._settle(batch):
            self._changes.announce()
        return replace(receipt, known=receipt.known + repeats)

    async def _settle(self, batch: Batch) -> int:
        """Place records of meters whose time nobody has said, by what is known around them now; how many moved.

        After the batch is durable, and from the store alone: what a crash leaves undone is done with the next batch of
        that device.
        """
        moved = 0
        for device_id in {reading.device_id for reading in batch.readings if _may_repeat(reading)}:
            mine = [reading for reading in batch.readings if reading.device_id == device_id]
            gaps = self._gaps.get(device_id)
            if gaps is not None and not any(_concerns(reading, gaps) for reading in mine):
                continue
            stored = {
                found.reading: found for found in await self._store.readings(device_id=device_id, metrics=REPEATABLE)
            }
            places, self._gaps[device_id] = settled(stored, self._zone_of(device_id))
            if places:
                count = await self._store.retime([(stored[old], new) for old, new in places.items()])
                _log.info("intake.times_settled", device=device_id, readings=count)
                moved += count
        return moved

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
