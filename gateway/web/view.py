"""What the page shows, gathered from the ports in one go. Knows no HTML."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

import simplejson

from gateway.care import Care, Caretaker
from gateway.clinical.one_stream import one_stream
from gateway.clinical.twins import one_result_each
from gateway.model import (
    BoundKind,
    Departure,
    DepartureState,
    Device,
    GlucosePeriod,
    Meal,
    Metric,
    Person,
    PersonId,
    Reading,
    StoredReading,
    TimeMethod,
    Unit,
    WeightTrend,
)
from gateway.ports import Attributions, Clock, Radios, ReadingStore, Registry, Stranger
from gateway.summaries import Summaries
from gateway.web.charts import DayCurve, WeightCurve, day_curve, weight_curve
from gateway.web.leftovers import Leftovers, OpenGap
from gateway.web.radio_words import RadioLine
from gateway.web.vital_signs import VITAL_METRICS, VitalRow, vital_rows

__all__ = ["DeviceRow", "LatestGlucose", "Page", "PersonPanel", "SentRow", "View", "doubt_of"]

_FRESH = {True: timedelta(minutes=20), False: timedelta(days=2)}
_SENT_ROWS = 12
_ARROWS = {
    "TripleUp": "⇈",
    "DoubleUp": "⇈",
    "SingleUp": "↑",
    "FortyFiveUp": "↗",
    "Flat": "→",
    "FortyFiveDown": "↘",
    "SingleDown": "↓",
    "DoubleDown": "⇊",
    "TripleDown": "⇊",
}
_SETTLED = (DepartureState.REJECTED, DepartureState.CANCELLED)


@dataclass(frozen=True, slots=True)
class LatestGlucose:
    """The newest sensor value: a number or the side of the range it fell off."""

    mg_dl: Decimal | None
    bound: BoundKind | None
    arrow: str
    age: timedelta


@dataclass(frozen=True, slots=True)
class Stick:
    """One finger-stick of today or yesterday; `doubt`: how its time is uncertain, a key of the texts."""

    local_time: datetime
    mg_dl: Decimal | None
    bound: BoundKind | None
    meal: Meal | None
    doubt: str | None = None


@dataclass(frozen=True, slots=True)
class PersonPanel:
    """Everything about one person."""

    person_id: PersonId
    name: str
    unit: Unit
    latest: LatestGlucose | None
    today: GlucosePeriod
    fortnight: GlucosePeriod
    curve: DayCurve
    sticks: tuple[Stick, ...]
    weight: WeightTrend | None
    weight_age: timedelta | None
    weight_curve: WeightCurve | None
    body_fat_percent: Decimal | None
    vital_signs: tuple[VitalRow, ...] = ()

    @property
    def has_glucose(self) -> bool:
        """Whether there is any glucose to show; somebody with a scale alone gets no empty charts."""
        return bool(self.latest or self.sticks or self.fortnight.count or self.today.count)


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device: who, what, when it was last heard, whether that is recent for its kind, what it wants of a person."""

    device: Device
    owner: str | None
    age: timedelta | None
    is_fresh: bool
    cares: tuple[Care, ...] = ()
    gap: OpenGap | None = None


@dataclass(frozen=True, slots=True)
class SentRow:
    """One outbox row in words."""

    departure: Departure
    person: str
    destination: str
    local_time: datetime
    age: timedelta
    value: Decimal | None
    unit: str
    fhir: str


@dataclass(frozen=True, slots=True)
class Page:
    """The whole page.

    Attributes:
        unattributed: devices whose readings wait for an owner; scales have an inbox of their own.
        radios: empty without any.
        weigh_ins: how many weigh-ins ask whose they are.
        corrections: how many things sent are to be put right in a health space.
        strangers: heard over MQTT and not recorded.
    """

    now: datetime
    people: tuple[PersonPanel, ...]
    devices: tuple[DeviceRow, ...]
    sent: tuple[SentRow, ...]
    accepted: int
    waiting: int
    refused: int
    has_destination: bool
    unattributed: int
    quarantined: int
    mismatched: int
    radios: tuple[RadioLine, ...] = ()
    strangers: tuple[Stranger, ...] = ()
    weigh_ins: int = 0
    corrections: int = 0


def trend_arrow(rate_mg_dl_min: Decimal | None) -> str:
    """The usual arrow for a rate of change: beyond 3, 2 and 1 mg/dL per minute; empty when unknown."""
    if rate_mg_dl_min is None:
        return ""
    for limit, up, down in ((3, "⇈", "⇊"), (2, "↑", "↓"), (1, "↗", "↘")):
        if abs(rate_mg_dl_min) > limit:
            return up if rate_mg_dl_min > 0 else down
    return "→"


def doubt_of(reading: Reading) -> str | None:
    """A key of the texts for a time that is an estimate or may be an hour off; None for one that is as good as any."""
    if reading.time_method is TimeMethod.NEIGHBOURS:
        return "time_estimated"
    return "time_ambiguous" if reading.time_method is TimeMethod.CLOCK_AMBIGUOUS else None


class View:
    """Gathers pages; holds no state of its own."""

    def __init__(
        self,
        store: ReadingStore,
        registry: Registry,
        summaries: Summaries,
        clock: Clock,
        people: Mapping[PersonId, Person],
        destinations: Mapping[str, str],
        radios: Radios | None = None,
        house: tzinfo = UTC,
        caretaker: Caretaker | None = None,
        strangers: Callable[[], tuple[Stranger, ...]] | None = None,
        leftovers: Leftovers | None = None,
        attributions: Attributions | None = None,
    ) -> None:
        self._strangers = strangers
        self._store = store
        self._registry = registry
        self._summaries = summaries
        self._clock = clock
        self._people = people
        self._destinations = destinations
        self._radios = radios
        self._house = house
        self._caretaker = caretaker
        self.leftovers = leftovers
        self._attributions = attributions

    async def is_answering(self) -> None:
        """Return when the store does. Raises StoreUnavailable."""
        await self._store.quarantined(limit=1)

    async def page(self) -> Page:
        """The state of everything, now."""
        now = self._clock.now()
        latest = await self._store.latest()
        devices = await self._registry.devices()
        cares = {} if self._caretaker is None else await self._caretaker.look(devices, latest)
        counts = await self._registry.departure_counts()
        departures = await self._registry.departures(limit=_SENT_ROWS)
        set_aside, mismatched = (0, 0) if self.leftovers is None else await self.leftovers.counts()
        gaps = {} if self.leftovers is None else await self.leftovers.open_gaps()
        ownerless = {device.device_id for device in devices if device.person_id is None and not device.is_by_evidence}
        return Page(
            now=now,
            people=tuple([await self._panel(person, latest, now) for person in self._people.values()]),
            devices=tuple(
                replace(self._device(d, latest, now, cares.get(d.device_id, ())), gap=gaps.get(d.device_id))
                for d in devices
            ),
            sent=tuple(self._sent(departure, now) for departure in departures),
            accepted=counts.get(DepartureState.DONE, 0),
            waiting=sum(counts.get(s, 0) for s in DepartureState if s not in (*_SETTLED, DepartureState.DONE)),
            refused=sum(counts.get(s, 0) for s in _SETTLED),
            has_destination=bool(self._destinations),
            unattributed=len(ownerless & {item.reading.device_id for item in latest if item.person_id is None}),
            quarantined=set_aside,
            mismatched=mismatched,
            radios=self._radio_lines(devices) or (),
            strangers=() if self._strangers is None else self._strangers(),
            weigh_ins=0 if self._attributions is None else await self._attributions.waiting_count(),
            corrections=len(await self._registry.corrections()),
        )

    async def radios(self) -> tuple[RadioLine, ...] | None:
        """Every radio, now; None: Bluetooth is off."""
        return None if self._radios is None else self._radio_lines(await self._registry.devices())

    def _radio_lines(self, devices: Sequence[Device]) -> tuple[RadioLine, ...] | None:
        if self._radios is None:
            return None
        heard = {neighbour.address for neighbour in self._radios.neighbours()}
        asleep = [d.display_name for d in devices if d.address is not None and d.address.upper() not in heard]
        return RadioLine.of(self._radios.reports(), asleep, self._house)

    async def _panel(self, person: Person, latest: list[StoredReading], now: datetime) -> PersonPanel:
        today = self._summaries.today(person.person_id)
        stored = await self._store.readings(
            person_id=person.person_id,
            metrics=(Metric.GLUCOSE_INTERSTITIAL, Metric.GLUCOSE_CAPILLARY),
            start=now - timedelta(hours=50),
            end=now + timedelta(minutes=15),
        )
        readings = [item.reading for item in stored if item.reading.is_result]
        first = person.glucose_sources
        sensor = one_stream([r for r in readings if r.metric is Metric.GLUCOSE_INTERSTITIAL], first)
        sticks = one_result_each([r for r in readings if r.metric is Metric.GLUCOSE_CAPILLARY], first)
        weights = await self._store.weight_days(person.person_id, today - timedelta(days=27), today)
        trend = await self._summaries.weight(person.person_id)
        mine = [item.reading for item in latest if item.person_id == person.person_id and item.reading.is_result]
        fat = max(
            (r for r in mine if r.metric is Metric.BODY_FAT_PERCENTAGE), key=lambda r: r.effective_at, default=None
        )
        return PersonPanel(
            person_id=person.person_id,
            name=person.display_name,
            unit=person.glucose_unit,
            latest=self._latest(sensor or mine, now),
            today=await self._summaries.glucose(person.person_id, today, 1),
            fortnight=await self._summaries.glucose(person.person_id, today - timedelta(days=1), 14),
            curve=day_curve(
                [(r.effective_at, r.value) for r in sensor if r.value is not None],
                [(r.effective_at, r.value) for r in sticks if r.value is not None],
                now,
                person.time_zone,
            ),
            sticks=tuple(
                Stick(r.local_time, r.value, r.bound.kind if r.bound else None, r.context.meal, doubt_of(r))
                for r in reversed(sticks[-4:])
            ),
            weight=trend,
            weight_age=now - trend.last_at if trend else None,
            weight_curve=weight_curve([((today - day.local_day).days, day.mass_kg) for day in weights]),
            body_fat_percent=fat.value if fat else None,
            vital_signs=await self._vital_signs(person, latest, now),
        )

    async def _vital_signs(self, person: Person, latest: list[StoredReading], now: datetime) -> tuple[VitalRow, ...]:
        metrics = {item.reading.metric for item in latest if item.person_id == person.person_id}
        return await vital_rows(self._store, person.person_id, metrics & VITAL_METRICS, now)

    @staticmethod
    def _latest(mine: list[Reading], now: datetime) -> LatestGlucose | None:
        sensor = [r for r in mine if r.metric is Metric.GLUCOSE_INTERSTITIAL]
        if not sensor:
            return None
        newest = max(sensor, key=lambda reading: reading.effective_at)
        return LatestGlucose(
            mg_dl=newest.value,
            bound=newest.bound.kind if newest.bound else None,
            arrow=trend_arrow(newest.context.trend_mg_dl_min) or _ARROWS.get(newest.context.trend_arrow or "", ""),
            age=now - newest.effective_at,
        )

    def _device(self, device: Device, latest: list[StoredReading], now: datetime, cares: tuple[Care, ...]) -> DeviceRow:
        owner = self._people.get(device.person_id) if device.person_id is not None else None
        sharers = [self._people[each].display_name for each in device.candidates if each in self._people]
        readings = [item.reading for item in latest if item.reading.device_id == device.device_id]
        continuous = any(reading.metric is Metric.GLUCOSE_INTERSTITIAL for reading in readings)
        age = now - device.last_heard_at if device.last_heard_at else None
        return DeviceRow(
            device=device,
            owner=owner.display_name if owner else " · ".join(sharers) or None,
            age=age,
            is_fresh=age is not None and age < _FRESH[continuous],
            cares=cares,
        )

    def _sent(self, departure: Departure, now: datetime) -> SentRow:
        draft = departure.draft
        person = self._people.get(draft.person_id)
        zone = person.time_zone if person else None
        resource = json.loads(draft.resource, parse_float=Decimal)
        value, unit = _stated(resource)
        return SentRow(
            departure=departure,
            person=person.display_name if person else draft.person_id,
            destination=self._destinations.get(draft.destination_id, draft.destination_id),
            local_time=draft.effective_at.astimezone(zone).replace(tzinfo=None),
            age=now - (departure.decided_at or departure.created_at),
            value=value,
            unit=unit,
            fhir=simplejson.dumps(resource, use_decimal=True, indent=2, ensure_ascii=False),
        )


def _stated(resource: dict[str, Any]) -> tuple[Decimal | None, str]:
    """The quantity that a transaction bundle states, and its unit text."""
    for entry in resource.get("entry", ()):
        quantity = entry.get("resource", {}).get("valueQuantity")
        if quantity:
            return Decimal(quantity["value"]), str(quantity.get("unit", ""))
    return None, ""
