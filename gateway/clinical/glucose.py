"""Interstitial glucose: one local day, and periods merged from days.

Definitions: international consensus on CGM metrics (Danne 2017, Diabetes Care 40:1631; Battelino 2019, Diabetes Care
42:1593); GMI: Bergenstal 2018, Diabetes Care 41:2275. Percentages are shares of readings.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from itertools import pairwise
from statistics import median

from gateway.clinical.one_stream import one_stream
from gateway.model import Bound, BoundKind, DeviceId, GlucoseDay, GlucosePeriod, Metric, PersonId, Reading, Unit

__all__ = [
    "MINIMUM_ACTIVE_PERCENT",
    "MINIMUM_DAYS",
    "GlucoseRange",
    "glucose_day",
    "glucose_management_indicator_percent",
    "glucose_period",
    "glucose_range",
    "local_day_bounds",
]

MINIMUM_DAYS = 14
MINIMUM_ACTIVE_PERCENT = Decimal(70)
_MINIMUM_FOR_SPREAD = 30
_CADENCES_MIN = (1, 5, 15)
_DEFAULT_CADENCE_MIN = 5
_LONGEST_STEP_MIN = 20
_SPARSE = 12  # a day with fewer readings does not tell its sensor's cadence
# a sensor that does not say where its range ends: the range that most sensors share
_LOWEST_MG_DL, _HIGHEST_MG_DL = Decimal(40), Decimal(400)
# very low | low | in range | high | very high, in the unit that the sensor spoke
_THRESHOLDS: dict[Unit, tuple[Decimal, Decimal, Decimal, Decimal]] = {
    Unit.MG_DL: (Decimal(54), Decimal(70), Decimal(180), Decimal(250)),
    Unit.MMOL_L: (Decimal("3.0"), Decimal("3.9"), Decimal("10.0"), Decimal("13.9")),
    Unit.G_L: (Decimal("0.54"), Decimal("0.70"), Decimal("1.80"), Decimal("2.50")),
}


class GlucoseRange(enum.StrEnum):
    """The five disjoint ranges of the consensus."""

    VERY_LOW = "very_low"
    LOW = "low"
    IN_RANGE = "in_range"
    HIGH = "high"
    VERY_HIGH = "very_high"


def glucose_range(value: Decimal, unit: Unit = Unit.MG_DL) -> GlucoseRange:
    """The range of a glucose value, judged in the unit it was measured in.

    In mg/dL: < 54, 54..<70, 70..180, >180..250, >250; 10.0 mmol/L is in range although it is 180.2 mg/dL.

    Raises:
        KeyError: `unit` is not a glucose unit.
    """
    very_low, low, high, very_high = _THRESHOLDS[unit]
    if value < very_low:
        return GlucoseRange.VERY_LOW
    if value < low:
        return GlucoseRange.LOW
    if value <= high:
        return GlucoseRange.IN_RANGE
    return GlucoseRange.HIGH if value <= very_high else GlucoseRange.VERY_HIGH


def glucose_management_indicator_percent(mean_mg_dl: Decimal) -> Decimal:
    """GMI in %: 3.31 + 0.02392 x mean glucose in mg/dL, unrounded (Bergenstal 2018)."""
    return Decimal("3.31") + Decimal("0.02392") * mean_mg_dl


def local_day_bounds(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """First instant of `day` and of the next one in `zone`, UTC: 23, 24 or 25 hours apart."""
    start = datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
    end = datetime.combine(day + timedelta(days=1), time(), tzinfo=zone).astimezone(UTC)
    return start, end


@dataclass(frozen=True, slots=True)
class _Point:
    at: datetime
    mg_dl: Decimal
    where: GlucoseRange
    clipped: BoundKind | None


def _point(reading: Reading) -> _Point:
    """The point of a result."""
    if reading.value is not None:
        if reading.original_value is not None and reading.original_unit in _THRESHOLDS:
            where = glucose_range(reading.original_value, reading.original_unit)
        else:
            where = glucose_range(reading.value)
        return _Point(reading.effective_at, reading.value, where, None)
    bound = reading.bound or Bound(BoundKind.BELOW)
    is_low = bound.kind is BoundKind.BELOW
    limit = bound.limit or (_LOWEST_MG_DL if is_low else _HIGHEST_MG_DL)
    entered = limit - 1 if is_low else limit + 1
    where = GlucoseRange.VERY_LOW if is_low else GlucoseRange.VERY_HIGH
    return _Point(reading.effective_at, entered, where, bound.kind)


def _cadence_min(points: Sequence[_Point]) -> int:
    """The nominal minutes between two readings: the usual cadence nearest to the median step."""
    steps = [(later.at - earlier.at).total_seconds() / 60 for earlier, later in pairwise(points)]
    steps = [step for step in steps if step <= _LONGEST_STEP_MIN]  # longer ones are holes
    if not steps:
        return _DEFAULT_CADENCE_MIN
    typical = median(steps)
    return min(_CADENCES_MIN, key=lambda cadence: abs(cadence - typical))


def glucose_day(
    person_id: PersonId, local_day: date, readings: Iterable[Reading], zone: tzinfo, first: Sequence[DeviceId] = ()
) -> GlucoseDay:
    """Exact statistics of one local day; what several devices tell within 150 s of each other counts once.

    Args:
        readings: of this person, each identity once; only interstitial results of that local day count. Those of the
            minutes around it decide which of two devices counts at its ends.
        zone: the person's zone, for the length of the day.
        first: the person's own order of devices, see `one_stream`.
    """
    start, end = local_day_bounds(local_day, zone)
    results = [r for r in readings if r.metric is Metric.GLUCOSE_INTERSTITIAL and r.is_result]
    points = [_point(reading) for reading in one_stream(results, first) if reading.local_day == local_day]
    cadence_min = _cadence_min(points)
    ranges = Counter(point.where for point in points)
    clipped = Counter(point.clipped for point in points)
    values = [point.mg_dl for point in points]
    return GlucoseDay(
        person_id=person_id,
        local_day=local_day,
        count=len(points),
        total_mg_dl=sum(values, Decimal(0)),
        total_squares=sum((value * value for value in values), Decimal(0)),
        minimum_mg_dl=min(values, default=None),
        maximum_mg_dl=max(values, default=None),
        very_low=ranges[GlucoseRange.VERY_LOW],
        low=ranges[GlucoseRange.LOW],
        in_range=ranges[GlucoseRange.IN_RANGE],
        high=ranges[GlucoseRange.HIGH],
        very_high=ranges[GlucoseRange.VERY_HIGH],
        clipped_low=clipped[BoundKind.BELOW],
        clipped_high=clipped[BoundKind.ABOVE],
        interval_min=cadence_min,
        slots_expected=_slots(start, end, cadence_min),
        first_at=points[0].at if points else None,
        last_at=points[-1].at if points else None,
    )


def _slots(start: datetime, end: datetime, cadence_min: int) -> int:
    return max(0, int((end - start) / timedelta(minutes=cadence_min)))


def glucose_period(
    person_id: PersonId,
    days: Sequence[GlucoseDay],
    first_day: date,
    last_day: date,
    zone: tzinfo,
    *,
    now: datetime,
) -> GlucosePeriod:
    """Merge stored days into one period; the same figures as a computation over all its readings.

    Args:
        days: of this person; days outside the period are passed over, days that are missing count as empty.
        now: aware; slots after it are not expected.
    """
    inside = [day for day in days if first_day <= day.local_day <= last_day and day.count]
    votes: Counter[int] = Counter()
    for day in inside:
        votes[day.interval_min] += day.count
    usual_min = votes.most_common(1)[0][0] if votes else _DEFAULT_CADENCE_MIN
    cadence_of = {day.local_day: day.interval_min for day in inside if day.count >= _SPARSE}
    expected = 0
    for number in range((last_day - first_day).days + 1):
        local_day = first_day + timedelta(days=number)
        start, end = local_day_bounds(local_day, zone)
        expected += _slots(start, min(end, now), cadence_of.get(local_day, usual_min))
    count = sum(day.count for day in inside)
    active = min(Decimal(100), Decimal(100 * count) / expected) if expected else None
    total = sum((day.total_mg_dl for day in inside), Decimal(0))
    mean = total / count if count else None
    sd = cv = None
    if count >= _MINIMUM_FOR_SPREAD and mean is not None:
        squares = sum((day.total_squares for day in inside), Decimal(0))
        sd = (max(Decimal(0), squares - total * total / count) / (count - 1)).sqrt()
        cv = 100 * sd / mean
    is_sufficient = (
        (last_day - first_day).days + 1 >= MINIMUM_DAYS and active is not None and active >= MINIMUM_ACTIVE_PERCENT
    )

    def share(readings: int) -> Decimal | None:
        return Decimal(100 * readings) / count if count else None

    return GlucosePeriod(
        person_id=person_id,
        first_day=first_day,
        last_day=last_day,
        days_of_wear=len(inside),
        count=count,
        sensor_active_percent=active,
        mean_mg_dl=mean,
        sd_mg_dl=sd,
        cv_percent=cv,
        gmi_percent=glucose_management_indicator_percent(mean) if is_sufficient and mean is not None else None,
        very_low_percent=share(sum(day.very_low for day in inside)),
        low_percent=share(sum(day.low for day in inside)),
        in_range_percent=share(sum(day.in_range for day in inside)),
        high_percent=share(sum(day.high for day in inside)),
        very_high_percent=share(sum(day.very_high for day in inside)),
        is_sufficient=is_sufficient,
        clipped_low=sum(day.clipped_low for day in inside),
        clipped_high=sum(day.clipped_high for day in inside),
    )
