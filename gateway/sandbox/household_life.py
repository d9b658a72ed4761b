"""Months of a simulated household with the inbox: what is filed, what waits, who answers, and who is mistaken."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from gateway.attribution import Candidate, PastWeighIn, Policy, Verdict, WeighIn, attribute
from gateway.model import DeviceId, PersonId
from gateway.sandbox.households import Home, Stepping, steppings

__all__ = ["Answers", "Outcome", "asked_of", "lived", "nearest_last", "nearest_within"]

_SCALE = DeviceId("scale")


@dataclass(frozen=True, slots=True)
class Answers:
    """How the household treats its inbox.

    Attributes:
        share: of what waits is answered, 0 to 1.
        days: since the beginning; later nobody looks at the inbox any more. None: they go on.
        delay_days: mean time until an answer.
        mistaken: share of answers that name the wrong resident.
    """

    share: float = 0.9
    days: int | None = None
    delay_days: float = 0.7
    mistaken: float = 0.003


@dataclass(frozen=True, slots=True)
class Outcome:
    """One stepping and what the engine said."""

    stepping: Stepping
    verdict: Verdict

    @property
    def is_filed(self) -> bool:
        return self.verdict.person_id is not None

    @property
    def is_wrong(self) -> bool:
        """Filed to somebody whose weigh-in it was not."""
        return self.is_filed and self.verdict.person_id != self.stepping.person_id


def asked_of(stepping: Stepping, number: int) -> WeighIn:
    """The question about one stepping."""
    return WeighIn(
        device_id=_SCALE,
        name=str(number),
        at=stepping.at,
        local_minute=stepping.local_minute,
        local_day=stepping.local_day,
        mass_kg=stepping.mass_kg,
        impedance_ohm=stepping.impedance_ohm,
        user_index=stepping.slot,
        user_name=None,
        is_live=True,
        is_unauthenticated=False,
        before_enrolment=False,
    )


def _past(stepping: Stepping, *, is_confirmed: bool) -> PastWeighIn:
    return PastWeighIn(
        stepping.at, stepping.local_minute, stepping.mass_kg, stepping.impedance_ohm, is_confirmed=is_confirmed
    )


def lived(home: Home, answers: Answers | None = None, policy: Policy | None = None) -> list[Outcome]:
    """Live through the months, beginning with an empty store. What is filed wrongly stays so: nobody notices.

    An answer "not us" changes nobody's history.
    """
    answers = answers or Answers()
    policy = policy or Policy()
    draw = random.Random(f"answers {home.seed}")
    histories: dict[PersonId, list[PastWeighIn]] = {each.person_id: [] for each in home.residents}
    waiting: list[tuple[datetime, int, PersonId, PastWeighIn]] = []
    found: list[Outcome] = []
    everything = steppings(home)
    for number, stepping in enumerate(everything):
        waiting.sort(key=lambda each: each[:2])
        while waiting and waiting[0][0] <= stepping.at:
            _, _, person_id, past = waiting.pop(0)
            histories[person_id].append(past)
        verdict = attribute(asked_of(stepping, number), _candidates(home, histories), policy)
        found.append(Outcome(stepping, verdict))
        if verdict.person_id is not None:
            histories[verdict.person_id].append(_past(stepping, is_confirmed=False))
            continue
        day = (stepping.at - everything[0].at).days
        is_answered = draw.random() < answers.share and (answers.days is None or day < answers.days)
        who = _answer(home, stepping, answers, draw)
        delay = timedelta(days=draw.expovariate(1 / answers.delay_days))
        if is_answered and who is not None:
            waiting.append((stepping.at + delay, number, who, _past(stepping, is_confirmed=True)))
    return found


def _answer(home: Home, stepping: Stepping, answers: Answers, draw: random.Random) -> PersonId | None:
    if draw.random() < answers.mistaken:
        return draw.choice(
            [each.person_id for each in home.residents if each.person_id != stepping.person_id] or [None]
        )
    return stepping.person_id


def _candidates(home: Home, histories: Mapping[PersonId, list[PastWeighIn]]) -> list[Candidate]:
    return [
        Candidate(
            each.person_id,
            tuple(histories[each.person_id][-200:]),
            each.slot if home.has_slots else None,
            frozenset(),
            is_sole_owner=len(home.residents) == 1,
        )
        for each in home.residents
    ]


def nearest_last(everything: Iterable[Stepping]) -> list[tuple[Stepping, PersonId | None]]:
    """The usual rule, for comparison: whoever's last mass is nearest. Each person's first weigh-in is told to it."""
    return nearest_within(everything, None)


def nearest_within(everything: Iterable[Stepping], tolerance: Decimal | None) -> list[tuple[Stepping, PersonId | None]]:
    """The same with a limit, as a share of the last mass; beyond it a person is asked and answers rightly."""
    last: dict[PersonId, Decimal] = {}
    found: list[tuple[Stepping, PersonId | None]] = []
    for stepping in everything:
        mass, who = stepping.mass_kg, stepping.person_id
        if who is not None and who not in last:
            last[who] = mass
            found.append((stepping, None))
            continue
        near = min(last, key=lambda each: (abs(last[each] - mass), each), default=None)
        if near is not None and tolerance is not None and abs(last[near] - mass) > tolerance * last[near]:
            near = None
        found.append((stepping, near))
        if (taken := near or who) is not None:
            last[taken] = mass
    return found
