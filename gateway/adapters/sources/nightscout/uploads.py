"""Entries into readings: made durable, then answered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from gateway.adapters.sources.nightscout.answers import compact
from gateway.devices.nightscout import DECODER, ParsedEntry
from gateway.errors import StoreUnavailable
from gateway.model import (
    Absent,
    Batch,
    CommitReceipt,
    DeviceId,
    PersonId,
    Provenance,
    Quarantined,
    QuarantineReason,
    RawFrame,
    Reading,
    SourceKind,
    StoredReading,
)
from gateway.normalise.contact import Contact
from gateway.normalise.reported import Parsed, ReportedMeasurement, ReportedRecord, readings_of
from gateway.ports import AccessToken, Clock, DeviceSighting, Intake

__all__ = ["Counters", "Uploads"]

_AT_ONCE: Final = 500
_SIGHTED_EVERY_S: Final = 60.0
_MOST_DEVICES: Final = 10_000
_LONGEST_FRAME: Final = 65_536
_PROVENANCE = Provenance(SourceKind.HTTP, DECODER)


@dataclass(slots=True)
class Counters:
    """What came in since the start.

    Attributes:
        entries: received, repetitions included.
        added, corrected: readings that were new, or new versions.
        quarantined: entries and bodies set aside.
        ignored: calibrations.
        documents: treatments and the like that were kept.
        documents_refused: too long.
        unavailable: requests answered 503.
    """

    entries: int = 0
    added: int = 0
    corrected: int = 0
    quarantined: int = 0
    ignored: int = 0
    documents: int = 0
    documents_refused: int = 0
    unavailable: int = 0


class Uploads:
    """Stores what a token's device uploads."""

    def __init__(self, intake: Intake, clock: Clock, zone_of: Callable[[PersonId], tzinfo], counters: Counters) -> None:
        self._intake = intake
        self._clock = clock
        self._zone_of = zone_of
        self._counters = counters
        self._sighted_at: dict[DeviceId, float] = {}

    async def store(self, token: AccessToken, entries: Sequence[ParsedEntry], channel: str) -> CommitReceipt:
        """Durable when it returns. Each entry's own JSON is kept beside its reading; what is wrong with one entry sets
        that entry aside.

        Args:
            channel: of the raw payloads, e.g. `nightscout/v1/entries`.

        Raises:
            StoreUnavailable: not everything is durable; the client repeats all of it, which changes nothing twice.
        """
        total = CommitReceipt()
        for start in range(0, len(entries), _AT_ONCE):
            if start:
                await asyncio.sleep(0)  # the others' turn: thousands of entries take a while
            receipt = await self._intake.submit(self._batch(token, entries[start : start + _AT_ONCE], channel))
            total = CommitReceipt(
                total.added + receipt.added,
                total.corrected + receipt.corrected,
                total.known + receipt.known,
                total.quarantined + receipt.quarantined,
            )
        self._counters.entries += len(entries)
        self._counters.added += total.added
        self._counters.corrected += total.corrected
        await self._sight(token.device_id)
        return total

    async def withdraw(self, token: AccessToken, stored: StoredReading, channel: str) -> None:
        """The source takes a reading back: a version without a value; the earlier ones are kept."""
        reading = stored.reading
        frame = self._frame(token, compact({"record": reading.record_key, "isValid": False}), channel)
        record = ReportedRecord(
            reading.record_key,
            reading.epoch,
            reading.effective_at,
            (ReportedMeasurement(reading.metric, None, None, absent=Absent.WITHDRAWN),),
            reading.context,
            is_withdrawn=True,
        )
        decoded = readings_of(Parsed((record,)), self._contact(token), _PROVENANCE, frame=0)
        await self._intake.submit(Batch(readings=decoded.readings, frames=(frame,)))

    async def set_aside(
        self, token: AccessToken, body: bytes, reason: QuarantineReason, detail: str, channel: str
    ) -> None:
        """Keep the beginning of a body that is no JSON."""
        frame = RawFrame(token.device_id, SourceKind.HTTP, channel, body[:_LONGEST_FRAME], self._clock.now())
        await self._intake.submit(Batch(quarantined=(Quarantined(frame, reason, detail),)))
        self._counters.quarantined += 1

    def _batch(self, token: AccessToken, entries: Sequence[ParsedEntry], channel: str) -> Batch:
        contact = self._contact(token)
        readings: list[Reading] = []
        frames: list[RawFrame] = []
        quarantined: list[Quarantined] = []
        for entry in entries:
            if entry.is_ignored:
                self._counters.ignored += 1
                continue
            frame = self._frame(token, compact(entry.document), channel)
            if entry.problem is not None:
                quarantined.append(Quarantined(frame, entry.problem.reason, entry.problem.detail))
            elif entry.record is not None:
                decoded = readings_of(Parsed((entry.record,)), contact, _PROVENANCE, frame=len(frames))
                if decoded.readings:
                    frames.append(frame)
                    readings += decoded.readings
                quarantined += [Quarantined(frame, problem.reason, problem.detail) for problem in decoded.problems]
        self._counters.quarantined += len(quarantined)
        return Batch(tuple(readings), tuple(frames), tuple(quarantined))

    def _frame(self, token: AccessToken, text: str, channel: str) -> RawFrame:
        return RawFrame(token.device_id, SourceKind.HTTP, channel, text.encode()[:_LONGEST_FRAME], self._clock.now())

    def _contact(self, token: AccessToken) -> Contact:
        return Contact(
            token.device_id,
            self._zone_of(token.person_id),
            self._clock.now(),
            SourceKind.HTTP,
            clock_is_trusted=self._clock.is_trusted,
        )

    async def _sight(self, device_id: DeviceId) -> None:
        now = self._clock.monotonic()
        last = self._sighted_at.get(device_id)
        if last is not None and now - last < _SIGHTED_EVERY_S:
            return
        if len(self._sighted_at) >= _MOST_DEVICES:
            self._sighted_at.clear()
        self._sighted_at[device_id] = now
        with contextlib.suppress(StoreUnavailable):  # the readings are safe; the next upload says it again
            await self._intake.sighted(DeviceSighting(device_id, self._clock.now()))
