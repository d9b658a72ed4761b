"""What a person's past weigh-ins say about the next one: a level that moves, with its uncertainty.

A level in continuous time, kept as a few normal curves side by side ("levels"), because the past often allows more than
one story: it moves slowly, it moves fast for a while (fluid, dialysis), it has leapt (an amputation, a birth), or one
entry is wrong. Each new entry is weighed against every story and none is discarded for being far away, only made
unlikely, so that one wrong entry neither convinces nor excludes and the next ones decide.

The pieces are textbook: the scalar Kalman filter, two modes of movement (Blom and Bar-Shalom 1988), and the
probabilistic data association update (Bar-Shalom and Tse 1975) for an entry that may be an outlier. Sizes are shares of
the mass: 0.5 % of it from one morning to the next, 1 % more in the evening.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.attribution.model import PastWeighIn

__all__ = ["Level", "Trend", "day_rise", "density", "surprise", "trend"]

_NOISE: Final = 0.0055
_NOISE_FLOOR_KG: Final = 0.25
_NOISE_PRIOR_COUNT: Final = 6
"""A person's own scatter counts as much as the general one after this many pairs of days."""
_NOISE_PAIR_DAYS: Final = 3.5
_RISE: Final = 0.011
"""Evening above morning."""
_RISE_DOUBT: Final = 0.5
_CALM: Final = 0.0017
"""Share of the mass per square root of a day."""
_DRIFT: Final = 0.00007
"""Share of the mass per day, in one direction: tells after months without a weigh-in."""
_UNSETTLED: Final = 0.010
_CALM_DAYS: Final = 120.0
_UNSETTLED_DAYS: Final = 10.0
_OUTLIER: Final = 0.02
_LEAP_CONFIRMED: Final = 0.02
_LEAP: Final = 0.002
_ROUGH: Final = 0.2
_ROUGH_FACTOR: Final = 4.0
"""Some days scatter more: which share of them, and how much more, as variances."""
_ODD: Final = 0.01
_ODD_SIZE: Final = 0.03
"""Heavy clothes, a foot on the wall: how often the next weigh-in is odd, and by what share of the mass."""
_FAR: Final = 0.05
"""Scale of what leaps, and entries that are somebody else's, are away, as a share of the mass."""
_LEVELS: Final = 4
_ENTRIES: Final = 40
_MINUTES: Final = 1440
_LOWEST_MINUTE: Final = 360
_HIGHEST_MINUTE: Final = 1320
_TINY: Final = 1e-300
_DAY_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Level:
    """One story about the person's morning mass: normal with this mean and variance, weight 0 to 1 among all."""

    mean_kg: float
    variance: float
    weight: float
    is_unsettled: bool


@dataclass(frozen=True, slots=True)
class Trend:
    """What is believed about the morning mass at one instant, and how much one weigh-in scatters about it."""

    levels: tuple[Level, ...]
    noise_kg: float


def day_rise(local_minute: int) -> float:
    """How far into the daily rise a minute lies: 0 at six in the morning, 1 at ten in the evening."""
    since = (local_minute - _LOWEST_MINUTE) % _MINUTES
    up = _HIGHEST_MINUTE - _LOWEST_MINUTE
    return since / up if since <= up else (_MINUTES - since) / (_MINUTES - up)


def trend(history: Sequence[PastWeighIn], at: datetime) -> Trend | None:
    """Belief about a person's morning mass at `at`; None without history.

    Args:
        history: in any order; entries after `at` are used as well, going backwards in time.
    """
    if not history:
        return None
    ordered = sorted(history, key=lambda past: (past.at, past.mass_kg, past.local_minute, past.is_confirmed))
    points = [_point(past, at) for past in ordered]
    before = [point for point in points if point.days <= 0][-_ENTRIES:]
    after = [point for point in points if point.days > 0][:_ENTRIES]
    noise_kg = _own_noise(before or after)
    past = _follow(before, noise_kg)
    future = _follow(after[::-1], noise_kg)
    return Trend(_joined(past, future, before, after), noise_kg)


def density(found: Trend, mass_kg: float, local_minute: int) -> float:
    """Likelihood per kilogram that the person's next weigh-in shows `mass_kg` at that time of the day."""
    value, noise = _morning(mass_kg, local_minute, found.noise_kg)
    total = 0.0
    for level in found.levels:
        apart = value - level.mean_kg
        near = (1 - _ROUGH) * _normal(apart, level.variance + noise)
        near += _ROUGH * _normal(apart, level.variance + _ROUGH_FACTOR * noise)
        total += level.weight * ((1 - _ODD) * near + _ODD * _far(apart, level.mean_kg, _ODD_SIZE))
    return total


def surprise(found: Trend, mass_kg: float, local_minute: int) -> float:
    """Probability, 0 to 1, that an ordinary weigh-in of the person is at least as far out as this one."""
    value, noise = _morning(mass_kg, local_minute, found.noise_kg)
    return sum(
        level.weight * math.erfc(abs(value - level.mean_kg) / math.sqrt(2 * (level.variance + noise)))
        for level in found.levels
    )


@dataclass(frozen=True, slots=True)
class _Point:
    """One entry as the filter sees it: days from the instant in question, brought to the morning."""

    days: float
    morning_kg: float
    rise_variance: float
    is_confirmed: bool


def _point(past: PastWeighIn, at: datetime) -> _Point:
    mass_kg = float(past.mass_kg)
    rise = _RISE * mass_kg * day_rise(past.local_minute)
    return _Point((past.at - at).total_seconds() / _DAY_S, mass_kg - rise, (_RISE_DOUBT * rise) ** 2, past.is_confirmed)


def _morning(mass_kg: float, local_minute: int, noise_kg: float) -> tuple[float, float]:
    """A weigh-in brought to the morning, and the variance of what it says."""
    rise = _RISE * mass_kg * day_rise(local_minute)
    return mass_kg - rise, noise_kg**2 + (_RISE_DOUBT * rise) ** 2


def _usual_noise(mass_kg: float) -> float:
    return math.hypot(_NOISE_FLOOR_KG, _NOISE * mass_kg)


def _own_noise(points: Sequence[_Point]) -> float:
    """Scatter of one weigh-in in kg, learnt from neighbours at most a few days apart; a large step counts as three."""
    usual = _usual_noise(sorted(point.morning_kg for point in points)[len(points) // 2]) ** 2
    total, count = usual * _NOISE_PRIOR_COUNT, float(_NOISE_PRIOR_COUNT)
    for earlier, later in itertools.pairwise(points):
        if later.days - earlier.days <= _NOISE_PAIR_DAYS:
            total += min((later.morning_kg - earlier.morning_kg) ** 2 / 2, 9 * usual)
            count += 1
    return math.sqrt(total / count)


def _normal(distance: float, variance: float) -> float:
    return math.exp(-0.5 * distance * distance / variance) / math.sqrt(2 * math.pi * variance)


def _far(distance: float, mass_kg: float, size: float = _FAR) -> float:
    scale = size * abs(mass_kg) + _NOISE_FLOOR_KG
    ratio = distance / scale
    return 1 / (math.pi * scale * (1 + ratio * ratio))


def _follow(points: Sequence[_Point], noise_kg: float) -> tuple[Level, ...]:
    """The levels at the instant in question after `points`, the farthest first; empty without any."""
    if not points:
        return ()
    first = points[0]
    levels: tuple[Level, ...] = (Level(first.morning_kg, noise_kg**2 + first.rise_variance, 1.0, False),)
    days = first.days
    for point in points[1:]:
        levels = _learnt(_moved(levels, abs(point.days - days)), point, noise_kg)
        days = point.days
    return _moved(levels, abs(days))


def _moved(levels: Iterable[Level], days: float) -> tuple[Level, ...]:
    """The levels some days further on: wider, and perhaps in the other way of moving."""
    leaving = 1 / _CALM_DAYS + 1 / _UNSETTLED_DAYS
    settled = math.exp(-leaving * days)
    often = (1 / _CALM_DAYS) / leaving
    moved = []
    for level in levels:
        size = abs(level.mean_kg)
        unsettled = settled * level.is_unsettled + (1 - settled) * often
        calm_growth = (_CALM * size) ** 2 * days + (_DRIFT * size * days) ** 2
        fast_growth = (_UNSETTLED * size) ** 2 * days + (_DRIFT * size * days) ** 2
        moved.append(Level(level.mean_kg, level.variance + calm_growth, level.weight * (1 - unsettled), False))
        moved.append(Level(level.mean_kg, level.variance + fast_growth, level.weight * unsettled, True))
    return _fewer(moved)


def _learnt(levels: Sequence[Level], point: _Point, noise_kg: float) -> tuple[Level, ...]:
    """The levels after an entry: each is drawn to it as far as it explains it; a leap to it is one more story."""
    noise = noise_kg**2 + point.rise_variance
    found = []
    leap = 0.0
    for level in levels:
        distance = point.morning_kg - level.mean_kg
        variance = level.variance + noise
        far = _far(distance, level.mean_kg)
        near = (1 - _OUTLIER) * _normal(distance, variance)
        explained = near / (near + _OUTLIER * far)
        gain = level.variance / variance
        step = gain * distance
        spread = (1 - explained * gain) * level.variance + explained * (1 - explained) * step * step
        weight = level.weight * (near + _OUTLIER * far)
        found.append(Level(level.mean_kg + explained * step, spread, weight, level.is_unsettled))
        leap += level.weight * far
    leap *= _LEAP_CONFIRMED if point.is_confirmed else _LEAP
    found.append(Level(point.morning_kg, noise, leap, False))
    return _fewer(found)


def _fewer(levels: Sequence[Level]) -> tuple[Level, ...]:
    """Those that nearly agree as one, the least likely left out, weights adding to 1."""
    kept: list[Level] = []
    for level in sorted(levels, key=lambda each: (-each.weight, each.mean_kg, each.is_unsettled)):
        for index, other in enumerate(kept):
            is_near = (level.mean_kg - other.mean_kg) ** 2 < min(level.variance, other.variance)
            if other.is_unsettled == level.is_unsettled and is_near:
                kept[index] = _merged(other, level)
                break
        else:
            kept.append(level)
    kept = sorted(kept, key=lambda each: (-each.weight, each.mean_kg, each.is_unsettled))[:_LEVELS]
    total = sum(level.weight for level in kept)
    if total < _TINY:
        return tuple(Level(each.mean_kg, each.variance, 1 / len(kept), each.is_unsettled) for each in kept)
    return tuple(
        Level(each.mean_kg, each.variance, each.weight / total, each.is_unsettled)
        for each in kept
        if each.weight > 1e-6 * total
    )


def _merged(one: Level, other: Level) -> Level:
    weight = one.weight + other.weight
    if weight < _TINY:
        return one
    share = other.weight / weight
    mean = one.mean_kg + share * (other.mean_kg - one.mean_kg)
    spread = share * (1 - share) * (other.mean_kg - one.mean_kg) ** 2
    variance = one.variance + share * (other.variance - one.variance) + spread
    return Level(mean, variance, weight, one.is_unsettled)


def _joined(
    past: tuple[Level, ...], future: tuple[Level, ...], before: Sequence[_Point], after: Sequence[_Point]
) -> tuple[Level, ...]:
    """What the time before and the time after say together; where they contradict each other, the nearer one."""
    if not past or not future:
        return past or future
    both = []
    for one in past:
        for other in future:
            variance = one.variance + other.variance
            mean = (one.mean_kg * other.variance + other.mean_kg * one.variance) / variance
            weight = one.weight * other.weight * _normal(one.mean_kg - other.mean_kg, variance)
            is_unsettled = one.is_unsettled or other.is_unsettled
            both.append(Level(mean, one.variance * other.variance / variance, weight, is_unsettled))
    if sum(level.weight for level in both) < 1e-12:
        return past if -before[-1].days <= after[0].days else future
    return _fewer(both)
