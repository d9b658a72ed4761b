"""Figures made from readings: one local day, and periods merged from days.

A day carries exact sufficient statistics (counts, sums, sums of squares), so that a period is merged from its days
without touching readings and gives the same numbers as a computation over all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from gateway.model.ids import PersonId

__all__ = ["GlucoseDay", "GlucosePeriod", "WeightDay", "WeightTrend"]


@dataclass(frozen=True, slots=True)
class GlucoseDay:
    """Interstitial glucose of one person on one local calendar day.

    Attributes:
        count: cleaned readings (one per slot), bounds included.
        total_mg_dl, total_squares: sum and sum of squares; a bound enters at its limit -1 / +1 mg/dL.
        minimum_mg_dl, maximum_mg_dl: of the same values; None when count is 0.
        very_low: < 54; low: 54..<70; in_range: 70..180; high: >180..250; very_high: >250 mg/dL; they add up to `count`.
        clipped_low, clipped_high: how many of the values were bounds.
        interval_min: nominal minutes between two readings of the sensor.
        slots_expected: slots of the whole local day (288 of 5 minutes; 276 or 300 when clocks change).
        first_at, last_at: first and last reading, UTC; None when count is 0.
    """

    person_id: PersonId
    local_day: date
    count: int
    total_mg_dl: Decimal
    total_squares: Decimal
    minimum_mg_dl: Decimal | None
    maximum_mg_dl: Decimal | None
    very_low: int
    low: int
    in_range: int
    high: int
    very_high: int
    clipped_low: int
    clipped_high: int
    interval_min: int
    slots_expected: int
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class GlucosePeriod:
    """Interstitial glucose over consecutive local days, by the CGM consensus (Danne 2017, Battelino 2019).

    Attributes:
        first_day, last_day: inclusive.
        days_of_wear: days with at least one reading.
        count: cleaned readings.
        sensor_active_percent: slots with a reading / slots of the window x 100; the window ends with the last day, or
            now when that day is not over. None without any slot.
        mean_mg_dl, sd_mg_dl, cv_percent: None where there are too few readings (1; 30; 30).
        gmi_percent: Glucose Management Indicator; None unless `is_sufficient`.
        very_low_percent .. very_high_percent: the five disjoint ranges; None without readings.
        is_sufficient: at least 14 days and at least 70 % sensor-active.
        clipped_low, clipped_high: bounds among the readings.
    """

    person_id: PersonId
    first_day: date
    last_day: date
    days_of_wear: int
    count: int
    sensor_active_percent: Decimal | None
    mean_mg_dl: Decimal | None
    sd_mg_dl: Decimal | None
    cv_percent: Decimal | None
    gmi_percent: Decimal | None
    very_low_percent: Decimal | None
    low_percent: Decimal | None
    in_range_percent: Decimal | None
    high_percent: Decimal | None
    very_high_percent: Decimal | None
    is_sufficient: bool
    clipped_low: int
    clipped_high: int

    @property
    def days(self) -> int:
        """Calendar days in the period."""
        return (self.last_day - self.first_day).days + 1


@dataclass(frozen=True, slots=True)
class WeightDay:
    """The first plausible weigh-in of one local day."""

    person_id: PersonId
    local_day: date
    mass_kg: Decimal
    measured_at: datetime


@dataclass(frozen=True, slots=True)
class WeightTrend:
    """Weight of one person up to `last_day`.

    Attributes:
        last_kg, last_at: newest weigh-in.
        trend_kg: exponentially smoothed, 10 % a day (Hacker's Diet).
        weekly_change_kg: least-squares slope of the last 28 days x 7; None with fewer than 8 daily values.
        days: daily values in the last 28 days.
    """

    person_id: PersonId
    last_day: date
    last_kg: Decimal
    last_at: datetime
    trend_kg: Decimal
    weekly_change_kg: Decimal | None
    days: int
