"""Weight: the weigh-in that counts, the trend, the weekly change."""

from __future__ import annotations

import statistics
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clinical.weight import weight_day, weight_trend
from gateway.model import (
    Absent,
    DeviceId,
    Metric,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    TimeQuality,
    WeightDay,
)

CAMILLE = PersonId("camille")
DAY = date(2026, 3, 10)


def _weigh_in(hour: int, mass_kg: str, *, key: str | None = None) -> Reading:
    at = datetime(2026, 3, 10, hour, 0, tzinfo=UTC)
    return Reading(
        device_id=DeviceId("scale"),
        epoch=0,
        record_key=key or f"{hour}",
        metric=Metric.BODY_MASS,
        value=Decimal(mass_kg),
        effective_at=at,
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=at,
        provenance=Provenance(SourceKind.SIMULATED, "test"),
    )


def _days(masses: dict[int, str]) -> list[WeightDay]:
    return [
        WeightDay(
            CAMILLE,
            DAY + timedelta(days=number),
            Decimal(mass),
            datetime(2026, 3, 10, 6, 0, tzinfo=UTC) + timedelta(days=number),
        )
        for number, mass in masses.items()
    ]


def test_the_first_usual_weigh_in_counts() -> None:
    """The earliest weigh-in of the day counts, whatever order they arrive in."""
    readings = [_weigh_in(19, "71.2"), _weigh_in(6, "70.4"), _weigh_in(7, "70.5")]
    expected = WeightDay(CAMILLE, DAY, Decimal("70.4"), readings[1].effective_at)
    assert expected == weight_day(CAMILLE, DAY, readings)


def test_a_suitcase_is_not_a_weigh_in() -> None:
    """Less than 20 or more than 300 kg is passed over; both limits count."""
    assert weight_day(CAMILLE, DAY, [_weigh_in(6, "11.95"), _weigh_in(7, "300.01")]) is None
    for mass in ("20", "300"):
        found = weight_day(CAMILLE, DAY, [_weigh_in(6, "19.99"), _weigh_in(7, mass)])
        assert found is not None
        assert Decimal(mass) == found.mass_kg


def test_what_does_not_count() -> None:
    """Other days, other metrics, failed weighings and unknown times give no weigh-in."""
    good = _weigh_in(6, "70")
    others = [
        replace(good, metric=Metric.MUSCLE_MASS),
        replace(good, value=None, absent=Absent.UNSUCCESSFUL),
        replace(good, time_quality=TimeQuality.UNKNOWN),
        replace(good, effective_at=datetime(2026, 3, 10, 23, 30, tzinfo=UTC)),
    ]
    assert weight_day(CAMILLE, DAY, others) is None


def test_trend_by_hand() -> None:
    """Each day moves the trend a tenth of the way; two missing days count as two."""
    trend = weight_trend(CAMILLE, _days({0: "70", 1: "71", 3: "69"}))
    assert trend is not None
    # 70 + 0.1 = 70.1; then 1 - 0.9^2 = 0.19 of the way to 69
    assert Decimal("70.1") + Decimal("0.19") * (Decimal(69) - Decimal("70.1")) == trend.trend_kg
    assert (Decimal(69), DAY + timedelta(days=3), 3, None) == (
        trend.last_kg,
        trend.last_day,
        trend.days,
        trend.weekly_change_kg,
    )


def test_a_long_silence_starts_anew() -> None:
    """After 14 days the trend goes on; after 15 it starts at the new weight."""
    for gap, restarts in ((14, False), (15, True)):
        trend = weight_trend(CAMILLE, _days({0: "70", gap: "80"}))
        assert trend is not None
        assert restarts is (trend.trend_kg == 80)


def test_no_weigh_in_no_trend() -> None:
    """Without weight there is no trend, and with one weigh-in it is that weight."""
    assert weight_trend(CAMILLE, []) is None
    only = weight_trend(CAMILLE, _days({0: "70.25"}))
    assert only is not None
    assert (Decimal("70.25"), None) == (only.trend_kg, only.weekly_change_kg)


@pytest.mark.parametrize(("count", "expected"), [(7, None), (8, Decimal("0.7"))])
def test_weekly_change_needs_eight_days(count: int, expected: Decimal | None) -> None:
    """100 g more each day are 700 g a week, once there are eight days."""
    trend = weight_trend(CAMILLE, _days({n: str(70 + Decimal(n) / 10) for n in range(count)}))
    assert trend is not None
    assert expected == trend.weekly_change_kg


def test_weekly_change_looks_back_28_days() -> None:
    """What lies 28 days or more before the last weigh-in does not bend the weekly change."""
    steady = dict.fromkeys(range(1, 29), "70")
    trend = weight_trend(CAMILLE, _days({0: "90", **steady}))
    assert trend is not None
    assert (28, Decimal(0)) == (trend.days, trend.weekly_change_kg)


@given(st.dictionaries(st.integers(0, 40), st.decimals(50, 90, places=2), min_size=1, max_size=30))
def test_against_a_second_method(masses: dict[int, Decimal]) -> None:
    """Trend and weekly change equal a floating-point computation by another road."""
    trend = weight_trend(CAMILLE, list(reversed(_days({n: str(mass) for n, mass in masses.items()}))))
    assert trend is not None
    ordered = sorted(masses)
    expected = float(masses[ordered[0]])
    for before, day in pairwise(ordered):
        gap = day - before
        expected = float(masses[day]) if gap > 14 else expected * 0.9**gap + float(masses[day]) * (1 - 0.9**gap)
    assert expected == pytest.approx(float(trend.trend_kg), rel=1e-12)
    recent = [n for n in ordered if n > ordered[-1] - 28]
    assert len(recent) == trend.days
    if len(recent) >= 8:
        slope, _ = statistics.linear_regression(recent, [float(masses[n]) for n in recent])
        assert trend.weekly_change_kg is not None
        assert 7 * slope == pytest.approx(float(trend.weekly_change_kg), abs=1e-9)
