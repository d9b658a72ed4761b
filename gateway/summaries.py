"""Keeps day figures up to date and answers for periods. Only days that changed are computed again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import date, timedelta

from gateway.clinical.glucose import glucose_day, glucose_period, local_day_bounds
from gateway.clinical.weight import weight_day, weight_trend
from gateway.model import GlucosePeriod, Metric, Person, PersonId, WeightTrend
from gateway.ports import Clock, DirtyDay, ReadingStore

__all__ = ["Summaries"]

_TREND_DAYS = 120
_SETTLE_S = 0.25
_ZONE_SLACK = timedelta(hours=26)


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

    async def run(self, changed: asyncio.Event, computed: Callable[[], None]) -> None:
        """Refresh whenever `changed` is set, then call `computed`; for ever."""
        while True:
            if await self.refresh():
                computed()
            await changed.wait()
            changed.clear()
            await asyncio.sleep(_SETTLE_S)  # one computation for a burst

    async def _compute(self, dirty: DirtyDay) -> None:
        person = self._people.get(dirty.person_id)
        if person is None or dirty.metric not in (Metric.GLUCOSE_INTERSTITIAL, Metric.BODY_MASS):
            await self._store.clear_dirty(dirty)
            return
        start, end = local_day_bounds(dirty.local_day, person.time_zone)
        stored = await self._store.readings(
            person_id=dirty.person_id,
            metrics=(dirty.metric,),
            start=start - _ZONE_SLACK,  # a reading's day is that of its own offset, wherever the person was
            end=end + _ZONE_SLACK,
        )
        readings = [item.reading for item in stored]
        if dirty.metric is Metric.GLUCOSE_INTERSTITIAL:
            figures = glucose_day(dirty.person_id, dirty.local_day, readings, person.time_zone)
            await self._store.save_glucose_day(figures, dirty)
        else:
            weigh_in = weight_day(dirty.person_id, dirty.local_day, readings)
            await self._store.save_weight_day(dirty.person_id, dirty.local_day, weigh_in, dirty)

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
