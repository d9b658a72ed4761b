"""Synthetic people: the same for the same seed, and like life enough to try things out."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from gateway.cli import main
from gateway.model import Metric, Reading
from gateway.sandbox.synthesis import SyntheticPerson, synthetic_readings

PARIS = ZoneInfo("Europe/Paris")
FIRST = date(2026, 3, 1)
# of `gateway simulate readings --days 15 --seed 7`: whoever changes it changes what every example in the
# documentation shows
GOLDEN = "0e315e2c35c7f8394ea1d171db702622b59135a6f599444252866aac3b928af5"


@pytest.fixture(scope="module")
def fortnight() -> list[Reading]:
    """Fifteen days of the person with seed 7."""
    return list(synthetic_readings(SyntheticPerson(7), FIRST, 15, PARIS))


def test_the_command_gives_the_same_bytes_for_ever(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`gateway simulate readings` with the documented arguments gives the documented bytes, on every machine."""
    assert 0 == main(["simulate", "readings", "--days", "15", "--seed", "7"])
    assert GOLDEN == hashlib.sha256(capfdbinary.readouterr().out).hexdigest()


def test_a_curve_can_be_asked_anywhere() -> None:
    """The value at an instant does not depend on what was asked before, so a demonstration can be resumed."""
    at = datetime(2026, 3, 9, 14, 35)  # noqa: DTZ001 - the person's wall clock
    walked = SyntheticPerson(7)
    for minutes in range(0, 600, 5):
        walked.glucose_mg_dl(at - timedelta(minutes=minutes))
    assert SyntheticPerson(7).glucose_mg_dl(at) == walked.glucose_mg_dl(at)


def test_people_differ() -> None:
    """Another seed is another person."""
    noon = [datetime(2026, 3, day, 12, 0) for day in range(1, 15)]  # noqa: DTZ001
    first, second = ([SyntheticPerson(seed).glucose_mg_dl(at) for at in noon] for seed in (7, 8))
    assert first != second


def test_the_readings_are_what_devices_send(fortnight: list[Reading]) -> None:
    """A sensor every five minutes with losses and a warm-up, finger-sticks with meal marks, one weigh-in most days."""
    counts = Counter(reading.metric for reading in fortnight)
    assert 15 * 288 * 0.97 < counts[Metric.GLUCOSE_INTERSTITIAL] < 15 * 288
    assert 45 <= counts[Metric.GLUCOSE_CAPILLARY] <= 60
    assert 9 <= counts[Metric.BODY_MASS] <= 15
    assert counts[Metric.BODY_MASS] == counts[Metric.BODY_FAT_PERCENTAGE]
    assert all(r.context.meal is not None for r in fortnight if r.metric is Metric.GLUCOSE_CAPILLARY)
    sensors = {r.record_key.split("+")[0] for r in fortnight if r.metric is Metric.GLUCOSE_INTERSTITIAL}
    assert {"2026-02-28T23:00:00Z", "2026-03-14T23:00:00Z"} == sensors


def test_every_value_is_plausible_and_every_key_unique(fortnight: list[Reading]) -> None:
    """Nothing that is made here would be set aside, and no two records share an identity."""
    assert [] == [r.key for r in fortnight if r.value is not None and not r.metric.info.is_plausible(r.value)]
    assert len(fortnight) == len({reading.key for reading in fortnight})
    assert {True} == {r.bound is None or r.value is None for r in fortnight}


def test_glucose_looks_like_life(fortnight: list[Reading]) -> None:
    """Most of the time in range, some of it above, a little below, and never a jump that no body can make."""
    values = [r.value for r in fortnight if r.metric is Metric.GLUCOSE_INTERSTITIAL and r.value is not None]
    in_range = sum(70 <= value <= 180 for value in values) / len(values)
    assert 0.5 < in_range < 0.95
    assert Decimal(180) < max(values)
    steps = [abs(later - earlier) for earlier, later in pairwise(values)]
    assert Decimal(40) > sorted(steps)[int(len(steps) * 0.999)]


def test_the_short_day_is_short() -> None:
    """On the day when clocks go forward, no reading falls into the hour that does not exist."""
    day = date(2026, 3, 29)
    readings = list(synthetic_readings(SyntheticPerson(7), day, 1, PARIS))
    sensor = [r for r in readings if r.metric is Metric.GLUCOSE_INTERSTITIAL]
    assert {60, 120} == {r.utc_offset_min for r in sensor}
    assert 260 < len(sensor) <= 276
    assert 2 not in {r.local_time.hour for r in sensor}
    assert {day} == {r.local_day for r in readings}
