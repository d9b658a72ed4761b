"""Glucose figures: by hand, at every boundary, and against a second method."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clinical.glucose import (
    GlucoseRange,
    glucose_day,
    glucose_management_indicator_percent,
    glucose_period,
    glucose_range,
    local_day_bounds,
)
from gateway.model import (
    Absent,
    Bound,
    BoundKind,
    Context,
    DeviceId,
    GlucoseDay,
    Metric,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    TimeQuality,
    Unit,
)

PARIS = ZoneInfo("Europe/Paris")
CAMILLE = PersonId("camille")
DAY = date(2026, 3, 10)
FAR = datetime(2030, 1, 1, tzinfo=UTC)


def _reading(
    at: datetime, value: Decimal | int | None, *, device: str = "sensor", bound: Bound | None = None
) -> Reading:
    offset = at.astimezone(PARIS).utcoffset()
    assert offset is not None
    return Reading(
        device_id=DeviceId(device),
        epoch=0,
        record_key=at.isoformat(),
        metric=Metric.GLUCOSE_INTERSTITIAL,
        value=None if value is None else Decimal(value),
        bound=bound,
        effective_at=at,
        utc_offset_min=round(offset.total_seconds() / 60),
        time_quality=TimeQuality.DEVICE,
        received_at=at,
        provenance=Provenance(SourceKind.SIMULATED, "test"),
    )


def _stream(
    values: Sequence[int | Decimal], *, day: date = DAY, every_min: int = 5, device: str = "sensor", late_s: int = 0
) -> list[Reading]:
    start, _ = local_day_bounds(day, PARIS)
    first = start + timedelta(seconds=late_s)
    return [
        _reading(first + timedelta(minutes=number * every_min), value, device=device)
        for number, value in enumerate(values)
    ]


def _day(readings: Sequence[Reading], day: date = DAY) -> GlucoseDay:
    return glucose_day(CAMILLE, day, readings, PARIS)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ("53.99", Unit.MG_DL, GlucoseRange.VERY_LOW),
        ("54", Unit.MG_DL, GlucoseRange.LOW),
        ("69.99", Unit.MG_DL, GlucoseRange.LOW),
        ("70", Unit.MG_DL, GlucoseRange.IN_RANGE),
        ("180", Unit.MG_DL, GlucoseRange.IN_RANGE),
        ("180.01", Unit.MG_DL, GlucoseRange.HIGH),
        ("250", Unit.MG_DL, GlucoseRange.HIGH),
        ("250.01", Unit.MG_DL, GlucoseRange.VERY_HIGH),
        ("2.9", Unit.MMOL_L, GlucoseRange.VERY_LOW),
        ("3.0", Unit.MMOL_L, GlucoseRange.LOW),
        ("3.8", Unit.MMOL_L, GlucoseRange.LOW),
        ("3.9", Unit.MMOL_L, GlucoseRange.IN_RANGE),
        ("10.0", Unit.MMOL_L, GlucoseRange.IN_RANGE),
        ("10.1", Unit.MMOL_L, GlucoseRange.HIGH),
        ("13.9", Unit.MMOL_L, GlucoseRange.HIGH),
        ("14.0", Unit.MMOL_L, GlucoseRange.VERY_HIGH),
        ("0.53", Unit.G_L, GlucoseRange.VERY_LOW),
        ("0.54", Unit.G_L, GlucoseRange.LOW),
        ("0.70", Unit.G_L, GlucoseRange.IN_RANGE),
        ("1.80", Unit.G_L, GlucoseRange.IN_RANGE),
        ("1.81", Unit.G_L, GlucoseRange.HIGH),
        ("2.51", Unit.G_L, GlucoseRange.VERY_HIGH),
    ],
)
def test_boundaries(value: str, unit: Unit, expected: GlucoseRange) -> None:
    """Each boundary of the consensus belongs to the range that the consensus says, in each unit."""
    assert expected is glucose_range(Decimal(value), unit)


@given(st.decimals(10, 1000, places=2))
def test_the_ranges_leave_no_gap(value: Decimal) -> None:
    """Every value is in exactly the range that its distance to the thresholds says; nothing falls between 69 and 70."""
    crossed = [value >= 54, value >= 70, value > 180, value > 250]
    assert list(GlucoseRange)[sum(crossed)] is glucose_range(value)


@pytest.mark.parametrize(("mean", "expected"), [("154", "6.99368"), ("100", "5.702"), ("0", "3.31")])
def test_gmi_formula(mean: str, expected: str) -> None:
    """The indicator is Bergenstal's, unrounded; a mean of 154 mg/dL prints as 6.99."""
    assert Decimal(expected) == glucose_management_indicator_percent(Decimal(mean))


def test_a_day_by_hand() -> None:
    """Counts, sums and extremes of a handful of readings equal what pencil and paper give."""
    day = _day(_stream([50, 54, 69, 70, 100, 180, 181, 250, 251]))
    assert (9, Decimal(1205), Decimal(215739)) == (day.count, day.total_mg_dl, day.total_squares)
    assert (1, 2, 3, 2, 1) == (day.very_low, day.low, day.in_range, day.high, day.very_high)
    assert (Decimal(50), Decimal(251), 5, 288) == (
        day.minimum_mg_dl,
        day.maximum_mg_dl,
        day.interval_min,
        day.slots_expected,
    )
    start, _ = local_day_bounds(DAY, PARIS)
    assert (start, start + timedelta(minutes=40)) == (day.first_at, day.last_at)


def test_an_empty_day() -> None:
    """A day without readings is zeros and nothing, with the slots that it had."""
    day = _day([])
    assert (0, Decimal(0), None, None, None, None, 288) == (
        day.count,
        day.total_mg_dl,
        day.minimum_mg_dl,
        day.maximum_mg_dl,
        day.first_at,
        day.last_at,
        day.slots_expected,
    )


def test_only_sensor_results_of_that_day_count() -> None:
    """Other days, finger-sticks, control solutions, absent numbers and unknown times stay out."""
    (good,) = _stream([100])
    yesterday = _reading(good.effective_at - timedelta(seconds=1), 300)
    stick = replace(good, record_key="s", metric=Metric.GLUCOSE_CAPILLARY, value=Decimal(300))
    control = replace(good, record_key="c", context=Context(is_control_solution=True), value=Decimal(300))
    absent = replace(good, record_key="a", value=None, absent=Absent.UNTRUSTWORTHY)
    unknown = replace(good, record_key="u", time_quality=TimeQuality.UNKNOWN, value=Decimal(300))
    day = _day([yesterday, stick, control, absent, unknown, good])
    assert (1, Decimal(100)) == (day.count, day.total_mg_dl)


@pytest.mark.parametrize(
    ("bound", "entered", "counts"),
    [
        (Bound(BoundKind.BELOW, Decimal(40)), 39, (1, 0, 0, 0, 1, 0)),
        (Bound(BoundKind.ABOVE, Decimal(400)), 401, (0, 0, 0, 1, 0, 1)),
        (Bound(BoundKind.ABOVE, Decimal(500)), 501, (0, 0, 0, 1, 0, 1)),
        (Bound(BoundKind.BELOW), 39, (1, 0, 0, 0, 1, 0)),
        (Bound(BoundKind.ABOVE), 401, (0, 0, 0, 1, 0, 1)),
    ],
)
def test_bounds(bound: Bound, entered: int, counts: tuple[int, ...]) -> None:
    """LO and HI count in the outermost ranges and enter the mean one beyond the sensor's limit, and are counted."""
    start, _ = local_day_bounds(DAY, PARIS)
    day = _day([_reading(start, None, bound=bound)])
    assert Decimal(entered) == day.total_mg_dl
    assert counts == (day.very_low, day.low, day.high, day.very_high, day.clipped_low, day.clipped_high)


def test_a_value_is_judged_in_the_unit_it_was_measured_in() -> None:
    """10.0 mmol/L is in range although it is 180.2 mg/dL; 3.9 mmol/L too, although other factors make it 70.3."""
    start, _ = local_day_bounds(DAY, PARIS)
    readings = [
        replace(
            _reading(start + timedelta(minutes=5 * n), Decimal(mmol) * Decimal("18.01559")),
            original_value=Decimal(mmol),
            original_unit=Unit.MMOL_L,
        )
        for n, mmol in enumerate(("10.0", "10.1", "3.9", "3.8", "13.9", "14.0", "3.0", "2.9"))
    ]
    day = _day(readings)
    assert (1, 2, 2, 2, 1) == (day.very_low, day.low, day.in_range, day.high, day.very_high)


@pytest.mark.parametrize(
    ("day", "slots"),
    [(date(2026, 3, 29), 276), (date(2026, 10, 25), 300), (date(2026, 3, 28), 288), (date(2028, 2, 29), 288)],
)
def test_e10_days_when_clocks_change(day: date, slots: int) -> None:
    """The short day in March has 276 slots, the long one in October 300, a leap day 288; a full sensor is 100 %."""
    start, end = local_day_bounds(day, PARIS)
    readings = [_reading(start + timedelta(minutes=5 * n), 100) for n in range(slots)]
    assert end == readings[-1].effective_at + timedelta(minutes=5)
    figures = glucose_day(CAMILLE, day, readings, PARIS)
    assert (slots, slots) == (figures.count, figures.slots_expected)
    period = glucose_period(CAMILLE, [figures], day, day, PARIS, now=FAR)
    assert Decimal(100) == period.sensor_active_percent


@pytest.mark.parametrize(
    ("first", "last", "slots"),
    [
        (date(2026, 3, 20), date(2026, 4, 2), 4020),
        (date(2026, 10, 20), date(2026, 11, 2), 4044),
        (date(2028, 2, 20), date(2028, 3, 4), 4032),
        (date(2028, 2, 28), date(2028, 3, 1), 864),
    ],
)
def test_e10_periods_over_a_short_a_long_and_a_leap_day(first: date, last: date, slots: int) -> None:
    """A fortnight is 4,020, 4,044 or 4,032 slots of five minutes: half of them are 50 %, to the last digit."""
    days, number = [], 0
    for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
        start, end = local_day_bounds(day, PARIS)
        count = (end - start) // timedelta(minutes=5)
        readings = [_reading(start + timedelta(minutes=5 * n), 100) for n in range(count)]
        number += count
        days.append(glucose_day(CAMILLE, day, readings, PARIS))
    assert slots == number
    period = glucose_period(CAMILLE, days, first, last, PARIS, now=FAR)
    assert (slots, Decimal(100)) == (period.count, period.sensor_active_percent)
    half = [replace(day, count=day.count // 2) for day in days]
    assert Decimal(50) == glucose_period(CAMILLE, half, first, last, PARIS, now=FAR).sensor_active_percent


@pytest.mark.parametrize(("every_min", "slots"), [(1, 1440), (5, 288), (15, 96)])
def test_cadence(every_min: int, slots: int) -> None:
    """A sensor of 1, 5 or 15 minutes is measured by its own cadence: half a day is 50 % for each."""
    day = _day(_stream([120] * (slots // 2), every_min=every_min))
    assert (every_min, slots) == (day.interval_min, day.slots_expected)
    period = glucose_period(CAMILLE, [day], DAY, DAY, PARIS, now=FAR)
    assert Decimal(50) == period.sensor_active_percent


def test_jitter_and_holes_do_not_change_the_cadence() -> None:
    """A five-minute sensor that drifts by seconds and loses readings is still a five-minute sensor."""
    readings = _stream([120] * 100)
    holey = [
        replace(r, effective_at=r.effective_at + timedelta(seconds=n % 7))
        for n, r in enumerate(readings)
        if n % 11 not in {3, 4}
    ]
    assert 5 == _day(holey).interval_min


def test_long_holes_are_not_steps() -> None:
    """A sensor of which three short stretches arrived is not a quarter-hour sensor."""
    readings = [r for n, r in enumerate(_stream([120] * 288)) if n in {0, 1, 100, 101, 200, 201}]
    assert 5 == _day(readings).interval_min


def test_a_sparse_day_does_not_tell_the_cadence() -> None:
    """A last day with a handful of readings, far apart, is measured by the cadence of the days before it."""
    tomorrow = DAY + timedelta(days=1)
    full = _day(_stream([120] * 288))
    sparse = _day(_stream([120] * 3, day=tomorrow, every_min=15), tomorrow)
    assert [5, 15] == [full.interval_min, sparse.interval_min]
    period = glucose_period(CAMILLE, [full, sparse], DAY, tomorrow, PARIS, now=FAR)
    assert Decimal(100 * 291) / 576 == period.sensor_active_percent


@pytest.mark.parametrize("late_s", [0, 2, 149, -1])
def test_two_devices_that_hear_the_same_sensor_count_once(late_s: int) -> None:
    """A second collector within 150 s adds nothing, though it heard less; the person's own order says whose counts."""
    first = _stream([100] * 50, device="phone")
    second = _stream([300] * 20, device="hub", late_s=late_s)
    readings = [r for r in [*first, *second] if r.local_day == DAY]
    day = glucose_day(CAMILLE, DAY, readings, PARIS, [DeviceId("phone")])
    assert Decimal(100) == day.maximum_mg_dl
    assert (50, Decimal(5000), 5) == (day.count, day.total_mg_dl, day.interval_min)
    other_way = glucose_day(CAMILLE, DAY, readings, PARIS, [DeviceId("hub")])
    assert Decimal(300) == other_way.maximum_mg_dl
    assert 50 <= other_way.count <= 51


def test_what_the_day_before_tells_decides_the_first_minutes() -> None:
    """A copy a minute after midnight of what the preferred device told a minute before it is not counted again."""
    start, _ = local_day_bounds(DAY, PARIS)
    before = _reading(start - timedelta(minutes=1), 100, device="a")
    after = _reading(start + timedelta(minutes=1), 101, device="b")
    assert (0, 1) == (_day([before, after]).count, _day([after]).count)


def test_the_cadence_is_that_of_what_counts() -> None:
    """An app that tells every minute beside a sensor that counts every five does not make the day look empty."""
    sensor = _stream([100] * 289, device="a")  # up to the next midnight
    day = _day([*sensor, *_stream([100] * 1440, every_min=1, device="b", late_s=20)])
    assert (288, 5, 288) == (day.count, day.interval_min, day.slots_expected)


def test_a_sensor_that_follows_another_counts_whole() -> None:
    """When a sensor is replaced during the day, the readings of both count."""
    morning = _stream([100] * 100, device="first")
    evening = [replace(r, device_id=DeviceId("second")) for r in _stream([140] * 288)[160:]]
    day = _day([*evening, *morning])
    assert (228, Decimal(100 * 100 + 128 * 140)) == (day.count, day.total_mg_dl)


@given(st.permutations(list(range(12))))
def test_order_of_arrival_does_not_matter(order: list[int]) -> None:
    """Late blocks, in any order, give the same figures."""
    readings = [*_stream([90, 100, 110, 190, 260, 60]), *_stream([91] * 6, device="other", late_s=30)]
    assert _day(readings) == _day([readings[n] for n in order])


def _fortnight(active: Sequence[int], value: int = 154) -> list[GlucoseDay]:
    return [
        _day(_stream([value] * count, day=DAY + timedelta(days=n)), DAY + timedelta(days=n))
        for n, count in enumerate(active)
    ]


def _period(days: Sequence[GlucoseDay], length: int = 14, now: datetime = FAR) -> tuple[bool, Decimal | None]:
    period = glucose_period(CAMILLE, days, DAY, DAY + timedelta(days=length - 1), PARIS, now=now)
    return period.is_sufficient, period.gmi_percent


def test_sufficiency_is_judged_unrounded() -> None:
    """69.99 % is not 70 %: with one reading less than 70 % of the slots there is no indicator."""
    # the fortnight from 10 March has no change of clocks: 4032 slots, of which 2822.4 are 70 %
    assert (True, Decimal("6.99368")) == _period(_fortnight([202] * 13 + [197]))
    assert (False, None) == _period(_fortnight([202] * 13 + [196]))


def test_thirteen_days_are_not_enough() -> None:
    """A full sensor of 13 days gives figures, but no indicator."""
    assert (False, None) == _period(_fortnight([288] * 13), length=13)
    assert (True, Decimal("6.99368")) == _period(_fortnight([288] * 14))


def test_days_that_are_missing_count_against_the_sensor() -> None:
    """Ten full days of fourteen are 71.4 % and enough; nine are not."""
    assert [True, False] == [_period(_fortnight([288] * full))[0] for full in (10, 9)]


def test_slots_after_now_are_not_expected() -> None:
    """At noon of its first day, a sensor without losses is 100 % active, not 50."""
    start, _ = local_day_bounds(DAY, PARIS)
    day = _day(_stream([120] * 144))
    period = glucose_period(CAMILLE, [day], DAY, DAY, PARIS, now=start + timedelta(hours=12))
    assert Decimal(100) == period.sensor_active_percent
    tomorrow = DAY + timedelta(days=1)
    future = glucose_period(CAMILLE, [], tomorrow, tomorrow, PARIS, now=start)
    assert (None, 0, None) == (future.sensor_active_percent, future.count, future.mean_mg_dl)


def test_spread_needs_thirty_readings() -> None:
    """With 29 readings there is a mean and no standard deviation; with 30 there are both."""
    few, enough = (_day(_stream([100, 140] * half)) for half in (14, 15))
    for day, expected in ((few, None), (enough, Decimal(20) * (Decimal(30) / 29).sqrt())):
        period = glucose_period(CAMILLE, [day], DAY, DAY, PARIS, now=FAR)
        assert Decimal(120) == period.mean_mg_dl
        assert (expected is None) is (period.sd_mg_dl is None)
        if expected is not None and period.sd_mg_dl is not None:
            assert abs(expected - period.sd_mg_dl) < Decimal("1e-20")


def test_days_outside_the_period_are_passed_over() -> None:
    """What was stored for other days does not leak into a period."""
    days = _fortnight([288] * 3)
    period = glucose_period(CAMILLE, days, DAY + timedelta(days=1), DAY + timedelta(days=1), PARIS, now=FAR)
    assert (1, 288) == (period.days_of_wear, period.count)


_VALUE = st.integers(40, 400) | st.sampled_from([None])


@given(st.lists(st.lists(_VALUE, max_size=40), min_size=1, max_size=5))
def test_merging_days_equals_computing_over_all_readings(days: list[list[int | None]]) -> None:
    """A period merged from stored days gives the figures of a plain computation over every reading."""
    first, last = DAY, DAY + timedelta(days=len(days) - 1)
    stored, plain = [], []
    for number, values in enumerate(days):
        day = first + timedelta(days=number)
        present = [v for v in values if v is not None]
        readings = [
            _reading(local_day_bounds(day, PARIS)[0] + timedelta(minutes=5 * n), v)
            for n, v in enumerate(values)
            if v is not None
        ]
        figures = _day(readings, day)
        stored.append(replace(figures, interval_min=5))
        plain += present
    period = glucose_period(CAMILLE, stored, first, last, PARIS, now=FAR)
    assert (len(plain), sum(1 for day in days if any(v is not None for v in day))) == (
        period.count,
        period.days_of_wear,
    )
    if not plain:
        assert (None, None) == (period.mean_mg_dl, period.in_range_percent)
        return
    assert period.mean_mg_dl is not None
    assert statistics.fmean(plain) == pytest.approx(float(period.mean_mg_dl), rel=1e-12)
    shares = [
        period.very_low_percent, period.low_percent, period.in_range_percent, period.high_percent,
        period.very_high_percent,
    ]  # fmt: skip
    limits = [(0, 54), (54, 70), (70, 180.5), (180.5, 250.5), (250.5, 9999)]
    expected = [100 * sum(low <= v < high for v in plain) / len(plain) for low, high in limits]
    assert expected == [pytest.approx(float(share), abs=1e-9) for share in shares if share is not None]
    if len(plain) >= 30:
        assert period.sd_mg_dl is not None
        assert period.cv_percent is not None
        spread = statistics.stdev(plain)
        assert spread == pytest.approx(float(period.sd_mg_dl), rel=1e-9, abs=1e-9)
        assert 100 * spread / statistics.fmean(plain) == pytest.approx(float(period.cv_percent), rel=1e-9, abs=1e-9)
