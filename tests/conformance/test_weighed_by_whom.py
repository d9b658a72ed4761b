"""Whose weigh-in it is, on a sample of weights that somebody else made: fluid, a stranger, an object, an hour wrong.

PASSERELLE_CLINICAL_DATA names a folder with `weights.csv` (see `test_clinical_sample.py`).
"""

from __future__ import annotations

import csv
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.attribution import Candidate, PastWeighIn, Verdict, WeighIn, attribute
from gateway.model import DeviceId, PersonId

pytestmark = pytest.mark.conformance

OWNER, OTHER = PersonId("p2"), PersonId("p1")
POUND_KG = Decimal("0.45359237")
STRANGER_KG, OBJECT_KG = Decimal("58.20"), Decimal("11.95")
FLUID_BEGINS = datetime(2026, 2, 28, tzinfo=UTC)
Weighed = tuple[str, datetime, int, Decimal]


@pytest.fixture(scope="module")
def weights() -> list[Weighed]:
    """Everything of the two people of 2026 with a clock that was set: whose row, instant, local minute, kilograms."""
    given = os.environ.get("PASSERELLE_CLINICAL_DATA")
    if not given:
        pytest.skip("PASSERELLE_CLINICAL_DATA is not set: name the folder of the clinical sample to run this test")
    path = Path(given) / "weights.csv"
    if not path.is_file():
        pytest.fail(f"PASSERELLE_CLINICAL_DATA: there is no weights.csv in {given}")
    found = set()
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            at = datetime.fromisoformat(row["time_utc"]).astimezone(UTC)
            if row["patient"] not in {"P1", "P2"} or at.year < 2026:
                continue
            local = at + timedelta(minutes=int(row["utc_offset_min"]))
            mass_kg = Decimal(row["value"]) * (POUND_KG if row["unit"] == "lb" else 1)
            found.add((row["patient"].lower(), at, local.hour * 60 + local.minute, mass_kg))
    return sorted(found, key=lambda each: each[1])


def _lived(weights: list[Weighed]) -> list[tuple[Weighed, Verdict]]:
    """Both on one scale, in order of time; what waits is answered as the sample says, strangers with "not us"."""
    histories: dict[PersonId, list[PastWeighIn]] = {OWNER: [], OTHER: []}
    found = []
    for number, (who, at, minute, mass_kg) in enumerate(weights):
        weigh_in = WeighIn(
            device_id=DeviceId("scale-2"),
            name=str(number),
            at=at,
            local_minute=minute,
            local_day=at.date(),
            mass_kg=mass_kg,
            impedance_ohm=None,
            user_index=None,
            user_name=None,
            is_live=True,
            is_unauthenticated=False,
            before_enrolment=False,
        )
        people = [
            Candidate(person_id, tuple(history), None, frozenset(), is_sole_owner=False)
            for person_id, history in histories.items()
        ]
        verdict = attribute(weigh_in, people)
        found.append(((who, at, minute, mass_kg), verdict))
        is_stranger = mass_kg in {STRANGER_KG, OBJECT_KG}
        owner = verdict.person_id or (None if is_stranger else PersonId(who))
        if owner is not None:
            past = PastWeighIn(at, minute, mass_kg, None, is_confirmed=verdict.person_id is None)
            histories[owner].append(past)
    return found


def test_the_stranger_and_the_object_wait(weights: list[Weighed]) -> None:
    """Neither is filed to anybody."""
    verdicts = [verdict for row, verdict in _lived(weights) if row[3] in {STRANGER_KG, OBJECT_KG}]
    assert [None, None] == [each.person_id for each in verdicts]


def test_the_days_of_fluid_are_filed_or_asked(weights: list[Weighed]) -> None:
    """+3.5 kg in six days, and the loss after it, are the owner's or wait; never the other person's."""
    fluid = [
        verdict
        for row, verdict in _lived(weights)
        if FLUID_BEGINS <= row[1] < FLUID_BEGINS + timedelta(days=20) and row[0] == OWNER and row[3] > STRANGER_KG
    ]
    assert len(fluid) >= 10
    assert {each.person_id for each in fluid} <= {OWNER, None}


def test_most_of_it_is_filed_and_nothing_wrongly(weights: list[Weighed]) -> None:
    """Two people some fifteen kilograms apart: the ordinary days need nobody."""
    ordinary = [(row, verdict) for row, verdict in _lived(weights) if row[3] not in {STRANGER_KG, OBJECT_KG}]
    assert [] == [row for row, verdict in ordinary if verdict.person_id not in (None, row[0])]
    assert sum(verdict.person_id is not None for _, verdict in ordinary) >= 0.7 * len(ordinary)
