"""Keeps day figures up to date and answers for periods. Only days that changed are computed again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta

from gateway.clinical.glucose import glucose_day, glucose_period, local_day_bounds
from gateway.clinical.weight import weight_day, weight_trend
from gateway.model import GlucoseDay, GlucosePeriod, Metric, Person, PersonId, Reading, WeightTrend
from gateway.ports import Clock, DirtyDay, ReadingStore

__all__ = ["Summaries"]

_TREND_DAYS = 120
_SETTLE_S = 0.25
_LOOK_S = 60.0
_ZONE_SLACK = timedelta(hours=26)
_DAY = timedelta(days=1)


class Summaries:
    """Day figures and periods for the people of this gateway."""

    def __init__(self, store: ReadingStore, clock: Clock, people: Mapping[PersonId, Person]) -> None:
        self._store = store
        self._clock = clock
        self._people = people

    async def refresh(self) -> int:
        """Compute every day that changed since; returns how many."""
        done = 0
        while dirty := await self._store.dirty_days():
            for day in dirty:
                await self._compute(day)
            done += len(dirty)
        return done

    async def run(self, changed: asyncio.Event, computed: Callable[[], None], *, look_s: float = _LOOK_S) -> None:
        """Refresh whenever `changed` is set, then call `computed`; for ever.

        Also every `look_s` seconds: a command beside this process writes without a word to it.
        """
        while True:
            if await self.refresh():
                computed()
            with suppress(TimeoutError):
                async with asyncio.timeout(look_s):
                    await changed.wait()
            changed.clear()
            await asyncio.sleep(_SETTLE_S)  # one computation for a burst

    async def recompute(self, person_id: PersonId) -> int:
        """Compute every stored glucose day anew, for after the order of the sources was changed; returns how many.

        Raises:
            KeyError: nobody of that id.
        """
        person = self._people[person_id]
        days = await self._store.glucose_days(person_id, date.min, date.max)
        for day in days:
            stored = await self._around(person, day.local_day, 0)
            await self._store.save_glucose_day(self._glucose_day(person, day.local_day, stored))
        return len(days)

    async def _compute(self, dirty: DirtyDay) -> None:
        person = self._people.get(dirty.person_id)
        if person is None or dirty.metric not in (Metric.GLUCOSE_INTERSTITIAL, Metric.BODY_MASS):
            await self._store.clear_dirty(dirty)
        elif dirty.metric is Metric.GLUCOSE_INTERSTITIAL:
            await self._compute_glucose(person, dirty)
        else:
            start, end = local_day_bounds(dirty.local_day, person.time_zone)
            stored = await self._store.readings(
                person_id=person.person_id,
                metrics=(dirty.metric,),
                start=start - _ZONE_SLACK,  # a reading's day is that of its own offset, wherever the person was
                end=end + _ZONE_SLACK,
            )
            weigh_in = weight_day(dirty.person_id, dirty.local_day, [item.reading for item in stored])
            await self._store.save_weight_day(dirty.person_id, dirty.local_day, weigh_in, dirty)

    async def _compute_glucose(self, person: Person, dirty: DirtyDay) -> None:
        """The day, and its neighbours where several devices tell glucose: which of them counts in the first minutes of
        a day depends on the last ones of the day before."""
        latest = await self._store.latest(person.person_id)
        is_alone = len({item.reading.device_id for item in latest if item.reading.metric is dirty.metric}) < 2
        stored = await self._around(person, dirty.local_day, 0 if is_alone else 1)
        if not is_alone:
            for local_day in (dirty.local_day - _DAY, dirty.local_day + _DAY):
                if any(reading.local_day == local_day for reading in stored):
                    await self._store.save_glucose_day(self._glucose_day(person, local_day, stored))
        await self._store.save_glucose_day(self._glucose_day(person, dirty.local_day, stored), dirty)

    async def _around(self, person: Person, local_day: date, days: int) -> list[Reading]:
        """Every interstitial reading of that day and of so many before and after it, and some more."""
        start, _ = local_day_bounds(local_day - days * _DAY, person.time_zone)
        _, end = local_day_bounds(local_day + days * _DAY, person.time_zone)
        stored = await self._store.readings(
            person_id=person.person_id,
            metrics=(Metric.GLUCOSE_INTERSTITIAL,),
            start=start - _ZONE_SLACK,  # a reading's day is that of its own offset, wherever the person was
            end=end + _ZONE_SLACK,
        )
        return [item.reading for item in stored]

    @staticmethod
    def _glucose_day(person: Person, local_day: date, readings: Sequence[Reading]) -> GlucoseDay:
        return glucose_day(person.person_id, local_day, readings, person.time_zone, person.glucose_sources)

    def today(self, person_id: PersonId) -> date:
        """The person's calendar day now.

        Raises:
            KeyError: nobody of that id.
        """
        return self._clock.now().astimezone(self._people[person_id].time_zone).date()

    async def glucose(self, person_id: PersonId, last_day: date, days: int) -> GlucosePeriod:
        """Figures of `days` local days ending with `last_day`.

        Raises:
            KeyError: nobody of that id.
        """
        zone = self._people[person_id].time_zone
        first_day = last_day - timedelta(days=days - 1)
        stored = await self._store.glucose_days(person_id, first_day, last_day)
        return glucose_period(person_id, stored, first_day, last_day, zone, now=self._clock.now())

    async def weight(self, person_id: PersonId) -> WeightTrend | None:
        """Weight trend up to the newest weigh-in of the last four months.

        Raises:
            KeyError: nobody of that id.
        """
        last_day = self.today(person_id)
        days = await self._store.weight_days(person_id, last_day - timedelta(days=_TREND_DAYS), last_day)
        return weight_trend(person_id, days)
