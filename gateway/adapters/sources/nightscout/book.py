"""What followers are told: one person's glucose, of all devices, as Nightscout's entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from gateway.adapters.sources.nightscout.answers import beside
from gateway.clinical.one_stream import NEAR
from gateway.clinical.twins import told_once
from gateway.devices.nightscout import (
    LOOKED_BACK,
    EntryQuery,
    changes,
    entry_of,
    entry_v3_of,
    id_of,
    instant_of_id,
    is_entry,
    named_key,
    record_identifier,
)
from gateway.devices.nightscout.direction import Change
from gateway.devices.nightscout.query import Condition
from gateway.errors import MalformedFrame
from gateway.model import Absent, DeviceId, Metric, Person, PersonId, StoredReading
from gateway.ports import Clock, ReadingStore

__all__ = ["GLUCOSE", "MOST_ANSWERED", "EntryBook"]

GLUCOSE: Final = (Metric.GLUCOSE_INTERSTITIAL, Metric.GLUCOSE_CAPILLARY)
MOST_ANSWERED: Final = 10_000
"""Entries in one answer at most, whatever was asked for: 35 days at five minutes."""
_METRIC_OF: Final[Mapping[str, Metric]] = {
    "sgv": Metric.GLUCOSE_INTERSTITIAL,
    "mbg": Metric.GLUCOSE_CAPILLARY,
}
_MARGIN: Final = 50
_MOST_READ: Final = 60_000
_BEFORE: Final = LOOKED_BACK + 3 * NEAR


class EntryBook:
    """Reads the store for followers; nothing of another person is ever looked at."""

    def __init__(
        self, readings: ReadingStore, clock: Clock, answered_days: int, people: Mapping[PersonId, Person]
    ) -> None:
        self._readings = readings
        self._people = people
        self._clock = clock
        self._reach = timedelta(days=answered_days)

    async def search(self, person_id: PersonId, query: EntryQuery, *, is_v3: bool = False) -> list[dict[str, object]]:
        """The answer to a question, at most `MOST_ANSWERED` entries; what several devices tell is told once."""
        now = self._clock.now()
        start, end = query.window(now)
        start = now - self._reach if start is None else max(start, now - self._reach)
        metrics = tuple(_METRIC_OF[word] for word in query.types())
        if not metrics or (end is not None and end <= start):
            return []
        wanted = query.skip + min(query.limit, MOST_ANSWERED)
        is_by_time = query.order in {"date", "dateString", "sysTime", "mills"}
        limit = wanted + _MARGIN if is_by_time else _MOST_READ
        tell = entry_v3_of if is_v3 else entry_of
        is_descending = query.is_descending or not is_by_time
        while True:  # what is withdrawn, told by others or not asked for does not count
            found = await self._readings.readings(
                person_id=person_id,
                metrics=metrics,
                start=start - _BEFORE,  # neighbours decide which of several devices is told, and the change of a value
                end=None if end is None else end + NEAR,
                newest_first=is_descending,
                limit=min(limit, _MOST_READ),
            )
            is_cut = len(found) == min(limit, _MOST_READ)
            edge = found[-1].reading.effective_at if is_cut else None
            answering = partial(self._answering, person_id, query, found, start, end, edge, tell)
            documents = await beside(answering, len(found))
            if len(documents) >= wanted or not is_cut or limit >= _MOST_READ:
                return (await beside(partial(query.answer, documents), len(documents)))[:MOST_ANSWERED]
            limit *= 4

    def _answering(
        self,
        person_id: PersonId,
        query: EntryQuery,
        found: list[StoredReading],
        start: datetime,
        end: datetime | None,
        edge: datetime | None,
        tell: Callable[[StoredReading], dict[str, object]],
    ) -> list[dict[str, object]]:
        """The documents of `found` that lie in the time asked for, away from where it was cut, and are accepted."""
        return [
            document
            for each, change in self._told(person_id, found)
            if (edge is None or abs(each.reading.effective_at - edge) > _BEFORE)
            and start <= each.reading.effective_at
            and (end is None or each.reading.effective_at < end)
            and query.accepts(document := tell(each) | _said_of(each, change))
        ]

    def _told(self, person_id: PersonId, found: list[StoredReading]) -> list[tuple[StoredReading, Change | None]]:
        """What is told of it, oldest first; of several devices that tell the same, one."""
        person = self._people.get(person_id)
        entries = [each for each in found if _is_told(each)]
        once = told_once(entries, () if person is None else person.glucose_sources)
        told = sorted((each for each in entries if each.row_id in once), key=lambda each: each.reading.effective_at)
        known = changes(each.reading for each in told if each.reading.metric is Metric.GLUCOSE_INTERSTITIAL)
        return [(each, known.get(each.reading.key)) for each in told]

    async def newest(self, person_id: PersonId) -> list[dict[str, object]]:
        """The newest sensor value, or nothing."""
        return await self.search(person_id, EntryQuery((Condition("type", "eq", ("sgv",)),), limit=1))

    async def named(self, person_id: PersonId, name: str, *, first: DeviceId | None = None) -> StoredReading | None:
        """The reading that an answer calls `name` (`_id` or `identifier`), withdrawn or not; that of the device `first`
        before others."""
        found: list[StoredReading] = []
        if (second := instant_of_id(name)) is not None:
            close = await self._readings.readings(
                person_id=person_id, metrics=GLUCOSE, start=second, end=second + timedelta(seconds=1)
            )
            found = [each for each in close if name in {id_of(each.reading), record_identifier(each.reading)}]
        if not found:
            try:
                key = named_key(name)
            except MalformedFrame:
                return None
            found = await self._readings.recorded_as(person_id, key, GLUCOSE)
        found.sort(key=lambda stored: (stored.reading.device_id == first, stored.row_id), reverse=True)
        return found[0] if found else None

    async def changed(self, person_id: PersonId, after: datetime, limit: int) -> list[dict[str, object]]:
        """v3 documents of what was received after that instant, in that order, what was withdrawn too.

        This is how two stores are kept alike, so that every device's entries are in it.
        """
        while found := await self._readings.changed(person_id, GLUCOSE, after=after, limit=limit):
            told = [entry_v3_of(each) for each in found if _is_told(each) or each.reading.absent is Absent.WITHDRAWN]
            if told:
                return told
            after = found[-1].reading.received_at  # an empty answer says that there is nothing more
        return []

    async def last_change(self, person_id: PersonId) -> datetime | None:
        """When the newest of it was received."""
        return await self._readings.last_change(person_id, GLUCOSE)


def _said_of(stored: StoredReading, change: Change | None) -> dict[str, object]:
    """The change of a value; its arrow only where its source sent neither an arrow nor a rate."""
    if change is None:
        return {}
    context = stored.reading.context
    if context.trend_arrow is None and context.trend_mg_dl_min is None:
        return change._asdict()
    return {"delta": change.delta}


def _is_told(stored: StoredReading) -> bool:
    return is_entry(stored.reading)
