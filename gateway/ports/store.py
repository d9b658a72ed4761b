"""Readings, raw payloads, checkpoints and day figures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from gateway.model import (
    Batch,
    Checkpoint,
    CommitReceipt,
    DeviceId,
    GlucoseDay,
    Metric,
    PersonId,
    Quarantined,
    RawFrame,
    Reading,
    StoredReading,
    WeightDay,
)

__all__ = ["DirtyDay", "ReadingStore"]


@dataclass(frozen=True, slots=True)
class DirtyDay:
    """A local day whose figures are out of date. `version` grows with every further change of that day."""

    person_id: PersonId
    metric: Metric
    local_day: date
    version: int


class ReadingStore(Protocol):
    """Readings, their raw payloads, checkpoints and day figures."""

    async def commit(self, batch: Batch) -> CommitReceipt:
        """Durable (fsync) when it returns; concurrent calls share one fsync; all of the batch or nothing.

        Any number of repetitions in any order gives the same store. The same key with other content is a correction:
        the version received last is current (equal times: the larger content digest), earlier versions are kept.
        Device ids that are not registered are created without an owner.
        """
        ...

    async def retime(self, moved: Sequence[tuple[StoredReading, Reading]]) -> int:
        """Give stored readings whose time nobody has said another place: an estimate, or none; returns how many moved.

        Only where the reading is still the one that was read, and still unplaced. An estimate is no sighting: whoever
        knows the time of the record replaces it.
        """
        ...

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        """The last committed checkpoint of that name, or None."""
        ...

    async def facts(self, device_id: DeviceId | None = None) -> list[Checkpoint]:
        """Every checkpoint and fact of that device, or of all, by device id and name."""
        ...

    async def readings(
        self,
        *,
        person_id: PersonId | None = None,
        device_id: DeviceId | None = None,
        metrics: Collection[Metric] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> list[StoredReading]:
        """Current readings with start <= effective_at < end, ordered by effective_at; None means "any"."""
        ...

    async def changed(
        self, person_id: PersonId, metrics: Collection[Metric], *, after: datetime, limit: int
    ) -> list[StoredReading]:
        """Readings whose current version was received after that instant, by reception, withdrawn ones too.

        More than `limit` where several came at the same instant as the last: whoever goes on from there misses none.
        """
        ...

    async def recorded_as(
        self, person_id: PersonId, record_key: str, metrics: Collection[Metric]
    ) -> list[StoredReading]:
        """Readings of one person with that record key, of whichever device and epoch, withdrawn ones too."""
        ...

    async def last_change(self, person_id: PersonId, metrics: Collection[Metric]) -> datetime | None:
        """When the newest current version of these readings was received; None: there are none."""
        ...

    def export(
        self, *, person_id: PersonId | None = None, metrics: Collection[Metric] | None = None, chunk: int = 1000
    ) -> AsyncIterator[list[StoredReading]]:
        """Everything, oldest first, in chunks of bounded memory, from one consistent snapshot of row ids."""
        ...

    async def latest(self, person_id: PersonId | None = None) -> list[StoredReading]:
        """The newest reading of each (person, device, metric) by effective_at."""
        ...

    async def raw(self, raw_id: int) -> RawFrame | None:
        """The payload that a reading was decoded from, while it is kept."""
        ...

    async def quarantined(self, *, limit: int = 100) -> list[Quarantined]:
        """Payloads set aside and not resolved, newest first; see `Quarantine` for more about them."""
        ...

    async def dirty_days(self, *, limit: int = 200) -> list[DirtyDay]:
        """Days whose figures must be computed again, oldest change first (attributed readings only)."""
        ...

    async def save_glucose_day(self, day: GlucoseDay, dirty: DirtyDay | None = None) -> None:
        """Replace the figures of that day; clears `dirty` unless the day changed again meanwhile."""
        ...

    async def save_weight_day(
        self, person_id: PersonId, local_day: date, day: WeightDay | None, dirty: DirtyDay | None = None
    ) -> None:
        """Replace (None: remove) the weigh-in that counts for that day; clears `dirty` likewise."""
        ...

    async def clear_dirty(self, dirty: DirtyDay) -> None:
        """Forget `dirty` unless the day changed again: for metrics without day figures."""
        ...

    async def glucose_days(self, person_id: PersonId, first: date, last: date) -> list[GlucoseDay]:
        """Stored days in first..last inclusive, ascending; days without readings are left out."""
        ...

    async def weight_days(self, person_id: PersonId, first: date, last: date) -> list[WeightDay]:
        """Stored days in first..last inclusive, ascending."""
        ...
