"""What holds for every question."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import BEGIN, of, person, weighed

from gateway.attribution import Candidate, PastWeighIn, WeighIn, attribute
from gateway.model import DeviceId, PersonId

MASSES = st.decimals(Decimal("0.05"), Decimal(650), places=2, allow_nan=False, allow_infinity=False)
OHMS = st.none() | st.decimals(Decimal(1), Decimal(6500), places=0, allow_nan=False, allow_infinity=False)
MINUTES = st.integers(0, 1439)
TIMES = st.integers(-4000, 4000).map(lambda hours: BEGIN + timedelta(hours=hours))
NAMES = st.sampled_from(["Anne", "anne", "bob", "user1", ""])
PASTS = st.builds(PastWeighIn, TIMES, MINUTES, MASSES, OHMS, st.booleans())
HISTORIES = st.lists(PASTS, max_size=12).map(tuple)
SLOTS = st.none() | st.integers(0, 255)
WEIGH_INS = st.builds(
    WeighIn,
    st.just(DeviceId("scale")),
    st.just("1"),
    TIMES,
    MINUTES,
    st.just(BEGIN.date()),
    st.none()
    | MASSES
    | st.sampled_from([Decimal(0), Decimal(-1), Decimal("NaN"), Decimal("1e400"), Decimal("1e-400")]),
    OHMS | st.just(Decimal(0)),
    SLOTS,
    st.none() | NAMES,
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
PEOPLE = st.lists(
    st.builds(
        Candidate,
        st.sampled_from([PersonId(name) for name in "abcde"]),
        HISTORIES,
        SLOTS,
        st.frozensets(NAMES, max_size=2),
        st.booleans(),
    ),
    max_size=4,
    unique_by=lambda each: each.person_id,
)


@settings(max_examples=200, deadline=None)
@given(WEIGH_INS, PEOPLE)
def test_probabilities_make_one(weigh_in: WeighIn, people: list[Candidate]) -> None:
    """No plausible question raises; every answer is a distribution over the people and somebody else, with a reason."""
    verdict = attribute(weigh_in, people)
    assert {each.person_id for each in people} == set(verdict.probabilities)
    every = [*verdict.probabilities.values(), verdict.somebody_else]
    assert all(math.isfinite(each) and 0 <= each <= 1 for each in every)
    assert math.isclose(1, sum(every), rel_tol=1e-9)
    assert verdict.reasons
    assert verdict.person_id is None or verdict.person_id in verdict.probabilities


@settings(max_examples=100, deadline=None)
@given(st.data(), WEIGH_INS, PEOPLE)
def test_order_does_not_matter(data: st.DataObject, weigh_in: WeighIn, people: list[Candidate]) -> None:
    """Any order of the people and of each history gives the same verdict, to the last digit."""
    shuffled = [
        Candidate(
            each.person_id,
            tuple(data.draw(st.permutations(each.history))),
            each.slot,
            each.names,
            each.is_sole_owner,
        )
        for each in data.draw(st.permutations(people))
    ]
    assert attribute(weigh_in, people) == attribute(weigh_in, shuffled)


@pytest.mark.parametrize("sign", [1, -1], ids=["heavier", "lighter"])
def test_more_distance_never_hurts(sign: int) -> None:
    """Two people: the farther the other is, the more probable is the right one."""
    scale = of(70)
    said = []
    for apart_tenths in range(0, 300, 2):
        other = tuple(
            PastWeighIn(each.at, each.local_minute, each.mass_kg + sign * Decimal(apart_tenths) / 10, None, False)
            for each in scale
        )
        people = [person("ann", scale), person("bob", other)]
        said.append(attribute(weighed(70), people).probabilities[PersonId("ann")])
    assert said == sorted(said)
