"""Files of other programs into the store: which device a row belongs to, what is new, and what could not be read.

A file is one person's. Each device that it names becomes a device of the gateway, `<format>-<its name>`, owned by that
person; a device that belongs to somebody else already stops the import. Every row keeps its text as the raw payload;
a row that gives nothing goes into the quarantine, as everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gateway.devices.files import FileContents, FileFormat, FileRow, FileSource
from gateway.errors import PermanentError
from gateway.model import (
    Batch,
    Device,
    DeviceId,
    Metric,
    Person,
    PersonId,
    Provenance,
    Quarantined,
    RawFrame,
    Reading,
    ReadingKey,
    SourceKind,
)
from gateway.normalise.contact import Contact
from gateway.normalise.reported import Parsed, Problem, readings_of
from gateway.ports import ReadingStore, Registry

__all__ = ["Imported", "MetricCount", "OwnedByAnother", "import_contents"]

_ROWS_PER_BATCH = 500
_LONGEST_ID = 64


class OwnedByAnother(PermanentError):
    """A device of the file belongs to somebody else."""


@dataclass(slots=True)
class MetricCount:
    """What a file holds of one metric.

    Attributes:
        read: readings in the file.
        new: not stored before.
        first, last: their instants, UTC.
    """

    read: int = 0
    new: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def add(self, at: datetime, *, is_new: bool) -> None:
        """Count one reading."""
        self.read += 1
        self.new += is_new
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)


@dataclass(slots=True)
class Imported:
    """What became of a file.

    Attributes:
        metrics: by metric.
        devices: ids, with their titles in the file.
        problems: (line, value-free reason).
        ignored: rows that are not collected, by the format's word.
        added, corrected, known: what the store said; zero in a dry run.
    """

    metrics: dict[Metric, MetricCount] = field(default_factory=dict)
    devices: dict[DeviceId, str] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    ignored: Mapping[str, int] = field(default_factory=dict)
    added: int = 0
    corrected: int = 0
    known: int = 0


async def import_contents(
    contents: FileContents,
    file_format: FileFormat,
    person: Person,
    store: ReadingStore,
    registry: Registry,
    *,
    received_at: datetime,
    is_dry_run: bool = False,
) -> Imported:
    """Store what a file holds, in batches that are durable one by one; importing it again adds nothing.

    Raises:
        OwnedByAnother: nothing was stored.
        StoreUnavailable: what was stored so far stays; importing again completes it.
    """
    result = Imported(ignored=contents.ignored)
    known_devices = {device.device_id: device for device in await registry.devices()}
    devices: dict[FileSource, DeviceId] = {}
    for row in contents.rows:
        if row.source not in devices:
            device_id = _device_id(file_format.name, row.source, person.person_id)
            owner = known_devices[device_id].person_id if device_id in known_devices else None
            if owner is not None and owner != person.person_id:
                raise OwnedByAnother(f"{device_id} belongs to {owner}; is this file really {person.person_id}'s?")
            devices[row.source] = device_id
            result.devices[device_id] = _title(row.source, file_format)
    if not is_dry_run:
        await registry.declare((), [_device(source, each, file_format, person) for source, each in devices.items()])
    present = await _present(store, frozenset(devices.values()), _metrics(contents))
    for rows in _chunks(contents.rows):
        batch = _batch(rows, devices, file_format, person, received_at, result)
        for reading in batch.readings:
            count = result.metrics.setdefault(reading.metric, MetricCount())
            count.add(reading.effective_at, is_new=reading.key not in present)
            present.add(reading.key)
        if not is_dry_run:
            receipt = await store.commit(batch)
            result.added += receipt.added
            result.corrected += receipt.corrected
            result.known += receipt.known
    return result


def _chunks(rows: Sequence[FileRow]) -> Iterator[Sequence[FileRow]]:
    for start in range(0, len(rows), _ROWS_PER_BATCH):
        yield rows[start : start + _ROWS_PER_BATCH]


def _batch(
    rows: Sequence[FileRow],
    devices: Mapping[FileSource, DeviceId],
    file_format: FileFormat,
    person: Person,
    received_at: datetime,
    result: Imported,
) -> Batch:
    provenance = Provenance(SourceKind.FILE, f"file.{file_format.name}")
    readings: list[Reading] = []
    frames: list[RawFrame] = []
    quarantined: list[Quarantined] = []
    for row in rows:
        device_id = devices[row.source]
        channel = f"file/{file_format.name}"
        frame = RawFrame(device_id, SourceKind.FILE, channel, row.raw.encode("utf-8", "replace"), received_at)
        contact = Contact(device_id, person.time_zone, received_at, SourceKind.FILE)
        problems = () if row.problem is None else (row.problem,)
        decoded = readings_of(Parsed(row.records, problems), contact, provenance, frame=len(frames))
        if decoded.readings:
            frames.append(frame)
            readings += decoded.readings
        if decoded.problems:
            first: Problem = decoded.problems[0]
            result.problems.append((row.line, first.detail))
            quarantined.append(Quarantined(frame, first.reason, first.detail))
    return Batch(tuple(readings), tuple(frames), tuple(quarantined))


async def _present(store: ReadingStore, devices: frozenset[DeviceId], metrics: frozenset[Metric]) -> set[ReadingKey]:
    """What the store has of the devices; only the names are held, of however many readings."""
    present: set[ReadingKey] = set()
    if not metrics:
        return present
    async for chunk in store.export(metrics=metrics):
        present.update(each.reading.key for each in chunk if each.reading.device_id in devices)
    return present


def _metrics(contents: FileContents) -> frozenset[Metric]:
    return frozenset(each.metric for row in contents.rows for record in row.records for each in record.measurements)


def _device_id(format_name: str, source: FileSource, person_id: PersonId) -> DeviceId:
    name = re.sub(r"[^a-z0-9]+", "-", (source.name or "").lower()).strip("-")
    return DeviceId(f"{format_name}-{name or person_id}"[:_LONGEST_ID].rstrip("-"))


def _title(source: FileSource, file_format: FileFormat) -> str:
    """What the file calls the device, if a terminal can show that."""
    return source.title if source.title.isprintable() else file_format.title


def _device(source: FileSource, device_id: DeviceId, file_format: FileFormat, person: Person) -> Device:
    title = _title(source, file_format)
    return Device(
        device_id,
        source.kind,
        f"{title} ({file_format.title})"[:80] if title != file_format.title else title,
        person_id=person.person_id,
        serial=(source.name or None) and source.name[:64] if source.name and source.name.isprintable() else None,
    )
