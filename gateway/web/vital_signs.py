"""The newest blood pressure, heart rate, saturation and temperature of one person. Knows no HTML."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from gateway.model import Metric, PersonId, Reading
from gateway.ports import ReadingStore

__all__ = ["VITAL_METRICS", "VitalRow", "vital_rows"]

_ONE_VALUE: Final = (Metric.HEART_RATE, Metric.OXYGEN_SATURATION, Metric.BODY_TEMPERATURE)
VITAL_METRICS: Final = frozenset({Metric.BLOOD_PRESSURE_SYSTOLIC, Metric.BLOOD_PRESSURE_DIASTOLIC, *_ONE_VALUE})
"""What `vital_rows` looks for."""
_UNITS: Final = {Metric.HEART_RATE: "/min", Metric.OXYGEN_SATURATION: "%", Metric.BODY_TEMPERATURE: "°C"}
_LOOKED_AT: Final = 50
"""How many of the newest are looked at: a measurement that failed must not hide the one before it."""
_AHEAD: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class VitalRow:
    """One line.

    Attributes:
        word: name of its words in `Texts`.
        numbers: one number, or systolic and diastolic.
        decimals: to show of each.
        unit: as people write it.
        age: since it was measured.
    """

    word: str
    numbers: tuple[Decimal, ...]
    decimals: int
    unit: str
    age: timedelta


async def vital_rows(
    store: ReadingStore, person_id: PersonId, present: Collection[Metric], now: datetime
) -> tuple[VitalRow, ...]:
    """A line for each vital sign that has a number.

    Args:
        store: where the readings are.
        person_id: whose.
        present: metrics that this person has at all, so that nothing is asked for the others.
        now: aware.
    """
    rows = []
    if {Metric.BLOOD_PRESSURE_SYSTOLIC, Metric.BLOOD_PRESSURE_DIASTOLIC} <= set(present):
        systolic = await _newest(store, person_id, Metric.BLOOD_PRESSURE_SYSTOLIC, now)
        diastolic = await _newest(store, person_id, Metric.BLOOD_PRESSURE_DIASTOLIC, now)
        rows += _pressure(systolic, diastolic, now)
    for metric in _ONE_VALUE:
        if metric in present:
            found = await _newest(store, person_id, metric, now)
            rows += [
                VitalRow(metric.value, (value,), metric.info.decimals, _UNITS[metric], now - reading.effective_at)
                for reading, value in found[:1]
            ]
    return tuple(rows)


def _pressure(
    systolic: list[tuple[Reading, Decimal]], diastolic: list[tuple[Reading, Decimal]], now: datetime
) -> list[VitalRow]:
    """Both pressures of the newest measurement that has both: they share device and record."""
    by_record = {(r.device_id, r.epoch, r.record_key): value for r, value in diastolic}
    for reading, high in systolic:
        low = by_record.get((reading.device_id, reading.epoch, reading.record_key))
        if low is not None:
            return [VitalRow("blood_pressure", (high, low), 0, "mmHg", now - reading.effective_at)]
    return []


async def _newest(
    store: ReadingStore, person_id: PersonId, metric: Metric, now: datetime
) -> list[tuple[Reading, Decimal]]:
    """Newest first, results with a number only."""
    stored = await store.readings(
        person_id=person_id, metrics=(metric,), end=now + _AHEAD, newest_first=True, limit=_LOOKED_AT
    )
    readings = [item.reading for item in stored if item.reading.is_result]
    return [(reading, reading.value) for reading in readings if reading.value is not None]
