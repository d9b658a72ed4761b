"""The arithmetic of the drawings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from gateway.web.charts import DayCurve, day_curve, weight_curve

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 3, 20, 23, 0, tzinfo=UTC)


def _at(minutes: int, mg_dl: int) -> tuple[datetime, Decimal]:
    """Minutes after the left edge."""
    return NOW - timedelta(hours=24) + timedelta(minutes=minutes), Decimal(mg_dl)


def _curve(readings: list[tuple[datetime, Decimal]], sticks: list[tuple[datetime, Decimal]] | None = None) -> DayCurve:
    return day_curve(readings, sticks or [], NOW, PARIS)


def test_places_by_hand() -> None:
    """An hour is 30 units, 350 mg/dL is the top, 0 the bottom; above the top stays at the top."""
    curve = _curve([_at(0, 350), _at(10, 175), _at(20, 0), _at(30, 400)], [_at(720, 70)])
    assert ("M0.0 0.0L5.0 150.0L10.0 300.0L15.0 0.0",) == curve.lines
    assert ((360.0, 240.0),) == curve.sticks
    assert (15.0, 0.0) == curve.last


def test_the_hours_below_are_the_persons() -> None:
    """The right edge is now: local midnight here, and every sixth local hour is named."""
    assert ((180.0, 6), (360.0, 12), (540.0, 18), (720.0, 0)) == _curve([]).hours


def test_an_hour_that_is_missing_or_exists_twice() -> None:
    """When clocks change, the named hours stand 5 or 7 hours apart and the curve goes on evenly."""
    for day, expected in (
        (datetime(2026, 3, 29, 20, tzinfo=UTC), 150.0),
        (datetime(2026, 10, 25, 20, tzinfo=UTC), 210.0),
    ):
        hours = {hour: x for x, hour in day_curve([], [], day, PARIS).hours}
        assert expected == hours[6] - hours[0]


def test_gaps_stay_open() -> None:
    """A hole of more than sixteen minutes is not bridged; a lonely reading is a dash."""
    assert 1 == len(_curve([_at(0, 100), _at(16, 100)]).lines)
    holey = _curve([_at(0, 100), _at(17, 100), _at(22, 100), _at(60, 100)])
    assert ["M0.0 214.3h1", "M8.5 214.3L11.0 214.3", "M30.0 214.3h1"] == list(holey.lines)


def test_what_lies_outside_the_day_is_left_out() -> None:
    """Older than 24 hours or later than now is not drawn."""
    curve = _curve([_at(-5, 100), _at(1445, 100)], [_at(-1, 100)])
    assert ((), (), None) == (curve.lines, curve.sticks, curve.last)


@given(st.lists(st.tuples(st.integers(0, 1440), st.integers(10, 1000)), max_size=50))
def test_every_point_lies_in_the_box(points: list[tuple[int, int]]) -> None:
    """No value, however high, is drawn outside the frame."""
    curve = _curve([], [_at(minutes, mg_dl) for minutes, mg_dl in points])
    assert all(0 <= x <= 720 and 0 <= y <= 300 for x, y in curve.sticks)


def test_weights() -> None:
    """Today is at the right, 27 days ago at the left; a small change does not fill the frame."""
    assert weight_curve([(0, Decimal(70))]) is None
    curve = weight_curve([(27, Decimal("70.0")), (0, Decimal("70.2"))])
    assert curve is not None
    assert (Decimal("69.1"), Decimal("71.1")) == (curve.low_kg, curve.high_kg)
    assert ((5.0, 43.5), (275.0, 36.5)) == curve.dots


@given(st.lists(st.tuples(st.integers(0, 27), st.decimals(20, 300, places=2)), min_size=2, max_size=28))
def test_every_weight_lies_in_the_box(days: list[tuple[int, Decimal]]) -> None:
    """Dots stay within the frame of 280 x 80, whatever the spread."""
    curve = weight_curve(days)
    assert curve is not None
    assert all(0 <= x <= 280 and 0 <= y <= 80 for x, y in curve.dots)
