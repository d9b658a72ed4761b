"""Weight: the weigh-in that counts for a day, the smoothed trend, the weekly change.

Trend: the Hacker's Diet's exponential smoothing (J. Walker), 10 % a day, stretched over missing days. Weekly change:
least-squares slope of the last 28 days.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal

from gateway.model import Metric, PersonId, Reading, WeightDay, WeightTrend

__all__ = ["weight_day", "weight_trend"]

_USUAL_KG = (Decimal(20), Decimal(300))
_KEPT_PER_DAY = Decimal("0.9")
_SEGMENT_GAP_DAYS = 14
_SLOPE_DAYS = 28
_SLOPE_MINIMUM = 8


def weight_day(person_id: PersonId, local_day: date, readings: Iterable[Reading]) -> WeightDay | None:
    """The first usual weigh-in (20 to 300 kg) of the local day; None when there is none."""
    candidates = [
        (reading.effective_at, reading.key, reading.value)
        for reading in readings
        if reading.metric is Metric.BODY_MASS
        and reading.is_result
        and reading.value is not None
        and reading.local_day == local_day
        and _USUAL_KG[0] <= reading.value <= _USUAL_KG[1]
    ]
    if not candidates:
        return None
    measured_at, _, mass_kg = min(candidates)
    return WeightDay(person_id, local_day, mass_kg, measured_at)


def weight_trend(person_id: PersonId, days: Sequence[WeightDay]) -> WeightTrend | None:
    """Trend up to the newest of `days`; None without any.

    Args:
        days: one per local day, in any order. The trend starts anew after more than 14 days without weight, and gains
            nothing from more than about three months of history.
    """
    if not days:
        return None
    ordered = sorted(days, key=lambda day: day.local_day)
    trend_kg, previous = ordered[0].mass_kg, ordered[0].local_day
    for day in ordered[1:]:
        gap = (day.local_day - previous).days
        if gap > _SEGMENT_GAP_DAYS:
            trend_kg = day.mass_kg
        else:
            trend_kg += (1 - _KEPT_PER_DAY**gap) * (day.mass_kg - trend_kg)
        previous = day.local_day
    last = ordered[-1]
    recent = [day for day in ordered if day.local_day > last.local_day - timedelta(days=_SLOPE_DAYS)]
    return WeightTrend(
        person_id=person_id,
        last_day=last.local_day,
        last_kg=last.mass_kg,
        last_at=last.measured_at,
        trend_kg=trend_kg,
        weekly_change_kg=_weekly_change_kg(recent, last.local_day),
        days=len(recent),
    )


def _weekly_change_kg(days: Sequence[WeightDay], last_day: date) -> Decimal | None:
    if len(days) < _SLOPE_MINIMUM:
        return None
    xs = [Decimal((day.local_day - last_day).days) for day in days]
    mean_x = sum(xs, Decimal(0)) / len(xs)
    mean_kg = sum((day.mass_kg for day in days), Decimal(0)) / len(days)
    spread = sum(((x - mean_x) ** 2 for x in xs), Decimal(0))
    together = sum(((x - mean_x) * (day.mass_kg - mean_kg) for x, day in zip(xs, days, strict=True)), Decimal(0))
    return 7 * together / spread
