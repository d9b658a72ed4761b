"""Evidence beside the mass: impedance, the hour, the slot, the name; and what strangers' masses are like.

Every figure here is a likelihood that may be multiplied with the others. None is ever zero: feet may be dry, habits
change, and people stand on a scale while another user is selected on it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

from gateway.attribution.model import Candidate, PastWeighIn, WeighIn

__all__ = [
    "UNKNOWN_SLOT",
    "anybody_density",
    "hour_density",
    "impedance_density",
    "is_named",
    "is_slot",
    "name_factor",
    "slot_factor",
    "stranger_density",
    "strangers_impedance_density",
]

UNKNOWN_SLOT: Final = 255
"""Bluetooth Weight Scale Service 1.0, User ID: unknown user."""

_MINUTES: Final = 1440
_HABIT_MINUTES: Final = 50.0
_HABIT_SHARE: Final = 0.7
_HABIT_ENTRIES: Final = 40
_HABIT_PRIOR_COUNT: Final = 5
_OWN_SLOT: Final = 0.97
_OTHER_SLOT: Final = 0.03
_OWN_NAME: Final = 0.98
_OTHER_NAME: Final = 0.02
_UNNAMED: Final = 0.3
_IMPEDANCE_ENTRIES: Final = 15
_IMPEDANCE_NOISE: Final = 0.03
_IMPEDANCE_PRIOR_COUNT: Final = 5
_IMPEDANCE_OF_PEOPLE: Final = (510.0, 80.0)
_TWICE_PI: Final = 2 * math.pi


def _normal(distance: float, scale: float) -> float:
    return math.exp(-0.5 * (distance / scale) ** 2) / (scale * math.sqrt(_TWICE_PI))


def _student(distance: float, scale: float) -> float:
    """Student's t with four degrees of freedom."""
    return 0.375 / (scale * math.pow(1 + (distance / scale) ** 2 / 4, 2.5))


def _adult(mass_kg: float) -> float:
    return 0.6 * _student(mass_kg - 68, 13) + 0.4 * _student(mass_kg - 88, 16)


def _between(mass_kg: float, low: float, high: float) -> float:
    """Any size alike, as a ratio, from `low` to `high`; falling off quickly beyond."""
    inside = 1 / (mass_kg * math.log(high / low))
    beyond = max(low / mass_kg, mass_kg / high, 1.0)
    return inside / beyond**3


def anybody_density(mass_kg: float) -> float:
    """Likelihood per kg of a person of whom nothing is known."""
    return 0.85 * _adult(mass_kg) + 0.15 * _between(mass_kg, 8, 60)


def stranger_density(mass_kg: float) -> float:
    """Likelihood per kg of whatever else may stand on a scale: guests, children, animals, luggage."""
    return 0.6 * _adult(mass_kg) + 0.2 * _between(mass_kg, 8, 60) + 0.2 * _between(mass_kg, 2, 250)


def hour_density(history: Sequence[PastWeighIn], local_minute: int) -> float:
    """How usual the minute is for the person, 1 where nothing is known or no hour is preferred."""
    if not history:
        return 1.0
    recent = sorted(history, key=lambda past: (past.at, past.local_minute))[-_HABIT_ENTRIES:]
    near = 0.0
    for past in recent:
        apart = abs(past.local_minute - local_minute) % _MINUTES
        near += _normal(min(apart, _MINUTES - apart), _HABIT_MINUTES)
    # some imagined weigh-ins at any hour keep a short history from being a habit
    share = _HABIT_SHARE * len(recent) / (len(recent) + _HABIT_PRIOR_COUNT)
    return 1 - share + share * _MINUTES * near / len(recent)


def strangers_impedance_density(ohm: float) -> float:
    """Likelihood per ohm of somebody of whom nothing is known, from foot to foot."""
    return _student(ohm - _IMPEDANCE_OF_PEOPLE[0], _IMPEDANCE_OF_PEOPLE[1])


def impedance_density(history: Sequence[PastWeighIn], ohm: float) -> float:
    """Likelihood per ohm of this impedance for the person; that of strangers without impedances in `history`."""
    ordered = sorted((past.at, float(past.impedance_ohm)) for past in history if past.impedance_ohm is not None)
    known = [each for _, each in ordered[-_IMPEDANCE_ENTRIES:] if math.isfinite(each) and each > 0]
    anybody = strangers_impedance_density(ohm)
    if not known:
        return anybody
    middle = sorted(known)[len(known) // 2]
    usual = (_IMPEDANCE_NOISE * middle) ** 2
    total = usual * _IMPEDANCE_PRIOR_COUNT + sum(min((each - middle) ** 2, 9 * usual) for each in known)
    scale = math.sqrt(total / (_IMPEDANCE_PRIOR_COUNT + len(known)) * (1 + 1 / len(known)))
    return 0.95 * _student(ohm - middle, scale) + 0.05 * anybody


def is_slot(weigh_in: WeighIn, candidate: Candidate) -> bool:
    """Whether the scale says that its user is the candidate's."""
    return candidate.slot is not None and weigh_in.user_index == candidate.slot and candidate.slot != UNKNOWN_SLOT


def is_named(weigh_in: WeighIn, candidate: Candidate) -> bool:
    """Whether the source's name is configured as the candidate's."""
    name = weigh_in.user_name
    return name is not None and name.casefold() in {each.casefold() for each in candidate.names}


def slot_factor(weigh_in: WeighIn, candidate: Candidate | None, slots: Collection[int]) -> float:
    """How often this slot is selected when it is the candidate; None: somebody else. 1 where the scale says nothing."""
    if weigh_in.user_index in (None, UNKNOWN_SLOT):
        return 1.0
    several = len(slots) + 1
    if candidate is None or candidate.slot is None:
        return 1 / several
    return _OWN_SLOT if candidate.slot == weigh_in.user_index else _OTHER_SLOT / max(len(slots), 1)


def name_factor(weigh_in: WeighIn, candidate: Candidate | None, is_known: bool) -> float:
    """How often the source says this name when it is the candidate; None: somebody else.

    Args:
        weigh_in: what was measured.
        candidate: somebody, or None.
        is_known: whether the name is configured for anyone. One that is not says little: it may be anybody's.
    """
    if weigh_in.user_name is None:
        return 1.0
    if not is_known:
        return 0.5 if candidate is not None and candidate.names else 1.0
    if candidate is not None and is_named(weigh_in, candidate):
        return _OWN_NAME
    return _OTHER_NAME if candidate is not None and candidate.names else _UNNAMED
