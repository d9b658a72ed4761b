"""Synthetic people: glucose and weight that look like life, the same for the same seed on every machine.

The curve can be asked for any instant without walking there, so a demonstration that is started again goes on where it
was. It imitates the shape of real data for trying out software; it is not a physiological model.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal

from gateway.model import (
    Bound,
    BoundKind,
    Context,
    DeviceId,
    Meal,
    Metric,
    Provenance,
    Reading,
    SourceKind,
    TimeQuality,
    Unit,
)

__all__ = ["FingerStick", "SyntheticPerson", "WeighIn", "synthetic_readings"]

_RANGE_MG_DL = (40, 400)
_SENSOR_DAYS = 14


@dataclass(frozen=True, slots=True)
class FingerStick:
    """One capillary test: local wall clock, whole mg/dL, relation to the meal."""

    local_time: datetime
    glucose_mg_dl: int
    meal: Meal


@dataclass(frozen=True, slots=True)
class WeighIn:
    """One weigh-in: local wall clock, kilograms with two decimals, body fat in percent with one."""

    local_time: datetime
    mass_kg: Decimal
    fat_percent: Decimal


@dataclass(frozen=True, slots=True)
class _Eaten:
    at: datetime
    rise_mg_dl: float
    peak_min: float
    is_treated: bool


class SyntheticPerson:
    """Somebody with type 1 diabetes, three meals a day and a bathroom scale; everything follows from `seed`."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        stable = random.Random(f"person/{seed}")
        self._base_mg_dl = stable.uniform(118, 132)
        self._mass_kg = stable.uniform(62, 84)
        self._fat_percent = stable.uniform(18, 30)

    def _day(self, day: date, what: str) -> random.Random:
        return random.Random(f"{what}/{self._seed}/{day.isoformat()}")

    def _meals(self, day: date) -> list[_Eaten]:
        dice = self._day(day, "meals")
        eaten = []
        for hour, size in ((7.3, 125), (12.6, 140), (19.6, 135)):
            minutes = round(60 * (hour + dice.gauss(0, 0.35)))
            rise = max(10.0, dice.gauss(size, 50))
            eaten.append(
                _Eaten(
                    datetime.combine(day, time()) + timedelta(minutes=minutes),
                    rise,
                    dice.uniform(45, 75),
                    dice.random() < 0.88,
                )
            )
        return eaten

    def glucose_mg_dl(self, local_time: datetime) -> int:
        """Glucose at a naive local time, whole mg/dL, not limited to any sensor's range (20..600)."""
        value = self._base_mg_dl
        minute = local_time.hour * 60 + local_time.minute + local_time.second / 60
        value += 14 * math.exp(-(((minute - 380) / 110) ** 2))  # before waking
        for days_ago in (0, 1):
            day = local_time.date() - timedelta(days=days_ago)
            for meal in self._meals(day):
                since = (local_time - meal.at).total_seconds() / 60
                if since <= 0:
                    continue
                value += meal.rise_mg_dl * (since / meal.peak_min) * math.exp(1 - since / meal.peak_min)
                if meal.is_treated:
                    later = since / 130
                    value -= 0.5 * meal.rise_mg_dl * later * math.exp(1 - later)
        drift = self._day(local_time.date(), "drift")
        for hours in (5.0, 2.3, 0.9):
            value += drift.gauss(0, 11) * math.sin(2 * math.pi * minute / (60 * hours) + drift.uniform(0, 6.28))
        if value < 75:
            value = 75 - 0.5 * (75 - value)  # the body resists a fall
        noise = random.Random(f"noise/{self._seed}/{local_time.isoformat(timespec='minutes')}")
        return round(min(600.0, max(20.0, value + noise.gauss(0, 2.2))))

    def finger_sticks(self, day: date) -> list[FingerStick]:
        """Three or four tests of one local day, ascending."""
        dice = self._day(day, "sticks")
        sticks = []
        plan = ((6.9, Meal.FASTING), (12.1, Meal.PREPRANDIAL), (14.4, Meal.POSTPRANDIAL), (22.3, Meal.BEDTIME))
        for hour, meal in plan:
            if meal is Meal.POSTPRANDIAL and dice.random() < 0.4:
                continue
            at = datetime.combine(day, time()) + timedelta(seconds=round(3600 * hour + dice.gauss(0, 900)))
            blood = self.glucose_mg_dl(at + timedelta(minutes=8))  # interstitial fluid follows blood by minutes
            sticks.append(FingerStick(at, max(20, round(blood * dice.gauss(1, 0.04))), meal))
        return sorted(sticks, key=lambda stick: stick.local_time)

    def weigh_in(self, day: date) -> WeighIn | None:
        """The weigh-in of a morning; one day in eight nobody steps on the scale."""
        dice = self._day(day, "scale")
        if dice.random() < 0.125:
            return None
        at = datetime.combine(day, time(6, 50)) + timedelta(seconds=round(dice.gauss(0, 1200)))
        slow = 0.9 * math.sin(2 * math.pi * day.toordinal() / 75)
        mass = Decimal(round((self._mass_kg + slow + dice.gauss(0, 0.3)) * 20)) / 20
        fat = Decimal(round((self._fat_percent + slow / 2 + dice.gauss(0, 0.3)) * 10)) / 10
        return WeighIn(at, mass.quantize(Decimal("0.01")), fat)


def synthetic_readings(
    person: SyntheticPerson, first_day: date, days: int, zone: tzinfo, *, prefix: str = "sim"
) -> Iterator[Reading]:
    """Readings of a sensor, a meter and a scale for `days` local days, ascending within each day.

    Args:
        prefix: begins the three device ids, `<prefix>-cgm`, `<prefix>-meter`, `<prefix>-scale`.
    """
    meter_record = 0
    for number in range(days):
        day = first_day + timedelta(days=number)
        found = list(_sensor_day(person, first_day, day, zone, DeviceId(f"{prefix}-cgm")))
        for stick in person.finger_sticks(day):
            meter_record += 1
            found.append(_meter_reading(stick, meter_record, zone, DeviceId(f"{prefix}-meter")))
        if (weigh_in := person.weigh_in(day)) is not None:
            found += _scale_readings(weigh_in, zone, DeviceId(f"{prefix}-scale"))
        yield from sorted(found, key=lambda reading: (reading.effective_at, reading.key))


def _utc(local_time: datetime, zone: tzinfo) -> datetime:
    return local_time.replace(tzinfo=zone).astimezone(UTC)


def _offset_min(instant: datetime, zone: tzinfo) -> int:
    offset = instant.astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)


_ORIGIN = Provenance(SourceKind.SIMULATED, "synthesis")


def _sensor_day(
    person: SyntheticPerson, first_day: date, day: date, zone: tzinfo, device_id: DeviceId
) -> Iterator[Reading]:
    sensor = (day - first_day).days // _SENSOR_DAYS
    session_start = _utc(datetime.combine(first_day + timedelta(days=sensor * _SENSOR_DAYS), time()), zone)
    at, end = _utc(datetime.combine(day, time()), zone), _utc(datetime.combine(day + timedelta(days=1), time()), zone)
    lost = random.Random(f"lost/{device_id}/{day.isoformat()}/{first_day.isoformat()}")
    while at < end:
        offset_min = round((at - session_start).total_seconds() / 60)
        if lost.random() >= 0.012 and not (sensor and offset_min < 60):  # single losses; warm-up of a new sensor
            local_time = at.astimezone(zone).replace(tzinfo=None)
            mg_dl = person.glucose_mg_dl(local_time)
            low, high = _RANGE_MG_DL
            bound = None
            if not low <= mg_dl <= high:
                bound = Bound(
                    BoundKind.BELOW if mg_dl < low else BoundKind.ABOVE, Decimal(low if mg_dl < low else high)
                )
            value = Decimal(mg_dl) if bound is None else None
            yield Reading(
                device_id=device_id,
                epoch=0,
                record_key=f"{session_start:%Y-%m-%dT%H:%M:%SZ}+{offset_min}",
                metric=Metric.GLUCOSE_INTERSTITIAL,
                value=value,
                bound=bound,
                original_value=value,
                original_unit=Unit.MG_DL if value is not None else None,
                effective_at=at,
                utc_offset_min=_offset_min(at, zone),
                time_quality=TimeQuality.DEVICE,
                received_at=at,
                provenance=_ORIGIN,
                context=Context(sample_type="interstitial_fluid", sample_location="subcutaneous_tissue"),
            )
        at += timedelta(minutes=5)


def _meter_reading(stick: FingerStick, number: int, zone: tzinfo, device_id: DeviceId) -> Reading:
    at = _utc(stick.local_time, zone)
    value = Decimal(stick.glucose_mg_dl)
    return Reading(
        device_id=device_id,
        epoch=0,
        record_key=f"{number}@{stick.local_time.isoformat()}",
        metric=Metric.GLUCOSE_CAPILLARY,
        value=value,
        original_value=value,
        original_unit=Unit.MG_DL,
        effective_at=at,
        utc_offset_min=_offset_min(at, zone),
        time_quality=TimeQuality.DEVICE,
        received_at=at,
        provenance=_ORIGIN,
        device_time=stick.local_time,
        context=Context(meal=stick.meal, sample_type="capillary_whole_blood", sample_location="finger"),
    )


def _scale_readings(weigh_in: WeighIn, zone: tzinfo, device_id: DeviceId) -> list[Reading]:
    at = _utc(weigh_in.local_time, zone)
    key = f"{weigh_in.local_time.isoformat()}#1"
    return [
        Reading(
            device_id=device_id,
            epoch=0,
            record_key=key,
            metric=metric,
            value=value,
            original_value=value,
            original_unit=metric.info.unit,
            effective_at=at,
            utc_offset_min=_offset_min(at, zone),
            time_quality=TimeQuality.DEVICE,
            received_at=at,
            provenance=_ORIGIN,
            device_time=weigh_in.local_time,
            context=Context(user_index=1, weigh_in=key, is_device_derived=derived),
        )
        for metric, value, derived in (
            (Metric.BODY_MASS, weigh_in.mass_kg, False),
            (Metric.BODY_FAT_PERCENTAGE, weigh_in.fat_percent, True),
        )
    ]
