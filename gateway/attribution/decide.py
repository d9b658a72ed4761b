"""Whose weigh-in it is, by Bayes, and whether that is sure enough to file it without asking."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gateway.attribution.absence import is_one_missing_while_another_repeats
from gateway.attribution.hints import (
    anybody_density,
    hour_density,
    impedance_density,
    is_named,
    is_slot,
    name_factor,
    slot_factor,
    stranger_density,
    strangers_impedance_density,
)
from gateway.attribution.mass import density, surprise, trend
from gateway.attribution.model import Candidate, Policy, Verdict, WeighIn
from gateway.model import PersonId

__all__ = ["attribute"]

_RATE_DAYS: Final = 60
_RATE_PRIOR: Final = 10
_RATE_MOST: Final = 40
_HEAVIEST_KG: Final = 1000.0
_USUAL: Final = Policy()
_TOLD: Final = 1.5
"""A hint is told when it makes the person so many times more, or less, likely than a stranger."""


@dataclass(frozen=True, slots=True)
class _Fit:
    """One candidate before the weigh-in: `score` is prior times likelihood, `tail` the surprise of the mass."""

    candidate: Candidate
    score: float
    tail: float | None
    is_identified: bool
    hints: tuple[str, ...]


def attribute(weigh_in: WeighIn, candidates: Sequence[Candidate], policy: Policy = _USUAL) -> Verdict:
    """Say whose weigh-in it is, and file it or let it wait.

    Args:
        weigh_in: what was measured.
        candidates: everybody of the household whose it may be, each once, in any order.
        policy: the thresholds.

    Returns:
        The verdict. Equal questions get equal answers: neither order nor repetition of asking matters.

    Raises:
        ValueError: a person is among the candidates twice.
    """
    ordered = sorted(candidates, key=lambda each: each.person_id)
    if len({each.person_id for each in ordered}) < len(ordered):
        raise ValueError("a person may be a candidate only once")
    if not ordered:
        return Verdict(None, {}, 1.0, ("nobody_known",))
    mass_kg = _positive(weigh_in.mass_kg)
    fits, somebody_else = _weighed(weigh_in, mass_kg, ordered, policy)
    total = somebody_else + sum(fit.score for fit in fits)
    probabilities = {fit.candidate.person_id: fit.score / total for fit in fits}
    best = max(fits, key=lambda fit: fit.score)
    return _verdict(weigh_in, mass_kg, fits, best, probabilities, somebody_else / total, policy)


def _positive(value: Decimal | None) -> float | None:
    """A mass or an impedance as a number; None when it is none or cannot be one."""
    if value is None or not value.is_finite() or value <= 0:
        return None
    found = float(value)
    return found if math.isfinite(found) and found > 0 else None


def _weighed(
    weigh_in: WeighIn, mass_kg: float | None, candidates: Sequence[Candidate], policy: Policy
) -> tuple[list[_Fit], float]:
    """Each candidate's score, and that of somebody else."""
    slots = {each.slot for each in candidates if each.slot is not None}
    is_known_name = any(is_named(weigh_in, each) for each in candidates)
    rates = [_rate(weigh_in, each) for each in candidates]
    ohm = _positive(weigh_in.impedance_ohm)
    fits = []
    for candidate, rate in zip(candidates, rates, strict=True):
        prior = (1 - policy.somebody_else) * rate / sum(rates)
        score = prior * slot_factor(weigh_in, candidate, slots) * name_factor(weigh_in, candidate, is_known_name)
        hour = hour_density(candidate.history, weigh_in.local_minute)
        hints = ["unusual_hour"] if hour < 1 / _TOLD else []
        score *= hour
        if ohm is not None:
            ratio = impedance_density(candidate.history, ohm) / strangers_impedance_density(ohm)
            hints += ["impedance_fits"] if ratio > _TOLD else ["impedance_differs"] if ratio < 1 / _TOLD else []
            score *= ratio
        tail = None
        if mass_kg is not None:
            found = trend(candidate.history, weigh_in.at)
            if found is None:
                score *= anybody_density(mass_kg)
            else:
                score *= density(found, mass_kg, weigh_in.local_minute)
                tail = surprise(found, mass_kg, weigh_in.local_minute)
        is_identified = is_slot(weigh_in, candidate) or is_named(weigh_in, candidate)
        fits.append(_Fit(candidate, score, tail, is_identified, tuple(hints)))
    other = policy.somebody_else * slot_factor(weigh_in, None, slots) * name_factor(weigh_in, None, is_known_name)
    return fits, other * (1.0 if mass_kg is None else stranger_density(mass_kg))


def _rate(weigh_in: WeighIn, candidate: Candidate) -> float:
    """How often the person is weighed at that time, bounded so that nobody is ever out of the question."""
    reach_s = _RATE_DAYS * 86400
    near = sum(abs((past.at - weigh_in.at).total_seconds()) <= reach_s for past in candidate.history)
    return _RATE_PRIOR + min(near, _RATE_MOST)


def _verdict(
    weigh_in: WeighIn,
    mass_kg: float | None,
    fits: Sequence[_Fit],
    best: _Fit,
    probabilities: Mapping[PersonId, float],
    somebody_else: float,
    policy: Policy,
) -> Verdict:
    """The decision about the likeliest person."""
    probability = probabilities[best.candidate.person_id]
    evidence = _evidence(weigh_in, best)
    unsure = _doubt(weigh_in, mass_kg, fits, best, probability, policy)
    if unsure is not None:
        return Verdict(None, probabilities, somebody_else, (unsure, *evidence))
    main = "sole_owner" if best.tail is None else "mass_fits"
    return Verdict(best.candidate.person_id, probabilities, somebody_else, (main, *evidence))


def _evidence(weigh_in: WeighIn, best: _Fit) -> tuple[str, ...]:
    found = ["slot"] if is_slot(weigh_in, best.candidate) else []
    found += ["named"] if is_named(weigh_in, best.candidate) else []
    return (*found, *best.hints)


def _doubt(
    weigh_in: WeighIn, mass_kg: float | None, fits: Sequence[_Fit], best: _Fit, probability: float, policy: Policy
) -> str | None:
    """Why the weigh-in has to wait; None when it need not."""
    if mass_kg is None:
        return "no_mass"
    if mass_kg > _HEAVIEST_KG:
        return "implausible_mass"
    if not weigh_in.is_time_known and not best.is_identified:
        return "time_unknown"
    if weigh_in.before_enrolment and not best.is_identified:
        return "memory_before_enrolment"
    needed = policy.file_above_unauthenticated if weigh_in.is_unauthenticated else policy.file_above
    if best.tail is None:
        may_be_first = best.candidate.is_sole_owner and weigh_in.is_live and not weigh_in.before_enrolment
        return None if may_be_first and probability >= policy.first_above else "no_history"
    needed_entries = policy.fewest * (2 if any(fit.tail is None for fit in fits) else 1)
    is_excused = best.is_identified or best.candidate.is_sole_owner
    if len(best.candidate.history) < needed_entries and not is_excused:
        return "short_history"
    limit = policy.surprising_below_identified if best.is_identified else policy.surprising_below
    if best.tail < limit:
        return "far_from_trend"
    apart_s = min(abs((past.at - weigh_in.at).total_seconds()) for past in best.candidate.history)
    if apart_s > policy.known_for_days * 86400 and not best.is_identified:
        return "long_gap"
    if probability < needed:
        if probability >= policy.file_above:
            return "anyone_could_have_sent_it"
        others = [fit for fit in fits if fit is not best and fit.score > (1 - needed) * best.score]
        if any(fit.tail is None for fit in others) and all(fit.tail is None for fit in others):
            return "person_without_history"
        return "two_fit" if others else "may_be_somebody_else"
    if not best.is_identified:
        others_there = [fit.candidate for fit in fits if fit is not best]
        if is_one_missing_while_another_repeats(weigh_in, best.candidate, others_there):
            return "somebody_is_missing"
    return None
