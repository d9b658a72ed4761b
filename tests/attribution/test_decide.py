"""Whose weigh-in it is: single questions with known answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from people import after, of, person, weighed

from gateway.attribution import PastWeighIn, Policy, attribute
from gateway.model import PersonId

ANN_ID, BOB_ID = PersonId("ann"), PersonId("bob")
ANN, BOB = person("ann", of(70)), person("bob", of(78, seed=1))


@pytest.mark.parametrize(("mass_kg", "who"), [(70.0, "ann"), (69.5, "ann"), (78.0, "bob"), (78.6, "bob")])
def test_a_usual_mass_is_filed(mass_kg: float, who: str) -> None:
    """Two adults 8 kg apart are told apart by their usual masses."""
    verdict = attribute(weighed(mass_kg), [ANN, BOB])
    assert who == verdict.person_id
    assert "mass_fits" == verdict.reasons[0]


def test_between_two_people_it_waits() -> None:
    """A mass halfway between two people is nobody's for sure."""
    assert attribute(weighed(74.0), [ANN, BOB]).person_id is None


def test_people_a_kilogram_apart_are_asked() -> None:
    """F1: mass alone does not separate a kilogram."""
    verdict = attribute(weighed(70.4), [person("ann", of(70)), person("bob", of(71, seed=1))])
    assert None is verdict.person_id
    assert "two_fit" == verdict.reasons[0]
    assert {True} == {probability > 0.05 for probability in verdict.probabilities.values()}


@pytest.mark.parametrize("mass_kg", [3.5, 11.95, 15.0, 25.0, 45.0, 58.2, 90.0, 120.0, 250.0])
@pytest.mark.parametrize("people", [(ANN,), (ANN, BOB)], ids=["alone", "two"])
def test_guests_animals_and_luggage_wait(mass_kg: float, people: tuple[object, ...]) -> None:
    """F2: what is far from everybody is filed to nobody, also when the household is one person."""
    verdict = attribute(weighed(mass_kg), [each for each in (ANN, BOB) if each in people])
    assert None is verdict.person_id
    assert "far_from_trend" == verdict.reasons[0]


def test_somebody_holding_a_baby_waits() -> None:
    """F2: 70 kg and a baby of 4.5 kg is neither of the two people."""
    assert attribute(weighed(74.5), [ANN, BOB]).person_id is None


@pytest.mark.parametrize("mass_kg", [15.0, 25.0, 95.0])
@pytest.mark.parametrize("is_confirmed", [False, True], ids=["filed", "confirmed by a person"])
def test_one_wrong_entry_does_not_flip(mass_kg: float, is_confirmed: bool) -> None:
    """F2: after a child, a suitcase, a stranger in the history the person is still known; the next like it waits."""
    history = (*of(70), after(mass_kg, 59.5, is_confirmed=is_confirmed))
    people = [person("ann", history), BOB]
    assert "ann" == attribute(weighed(70.1), people).person_id
    assert "bob" == attribute(weighed(78.1), people).person_id
    recovered = [person("ann", (*history, after(70.2, 60), after(69.9, 61))), BOB]
    assert None is attribute(weighed(mass_kg, 62), recovered).person_id


def test_one_wrong_entry_of_the_other_person_does_not_flip() -> None:
    """Bob's weigh-in filed to Ann by mistake: Bob's next is not filed to Ann, Ann's next is hers."""
    people = [person("ann", (*of(70), after(78.2, 59.5, is_confirmed=True))), BOB]
    assert attribute(weighed(78.1), people).person_id in (None, "bob")
    assert "ann" == attribute(weighed(70.1), people).person_id


def test_a_stranger_filed_nowhere_changes_nothing() -> None:
    """F2: asking about a stranger leaves no trace; the next verdict is the same to the last digit."""
    before = attribute(weighed(70.2), [ANN, BOB])
    for mass_kg in (15, 25, 58.2, 76, 4):
        attribute(weighed(mass_kg), [ANN, BOB])
    assert before == attribute(weighed(70.2), [ANN, BOB])


@pytest.mark.parametrize("mass_kg", [62.5, 66.0, 73.5, 77.5])
def test_a_sudden_change_asks(mass_kg: float) -> None:
    """F6: several kilograms overnight wait, though there is nobody else whose it could be."""
    verdict = attribute(weighed(mass_kg), [ANN])
    assert (None, "far_from_trend") == (verdict.person_id, verdict.reasons[0])


def test_fluid_of_six_days_is_never_somebody_elses() -> None:
    """F6: +3.5 kg in six days towards a person 5 kg heavier: each day is filed to its owner or asked."""
    history, bob = of(70), person("bob", of(75, seed=1))
    for day in range(8):
        mass_kg = round(70 + 3.5 * min(day + 1, 6) / 6, 2)
        verdict = attribute(weighed(mass_kg, 60 + day), [person("ann", history), bob])
        assert verdict.person_id in (None, "ann")
        history = (*history, after(mass_kg, 60 + day, is_confirmed=verdict.person_id is None))


@pytest.mark.parametrize("change_kg", [-8.0, -4.0, 4.0, 30.0])
def test_the_model_follows_what_a_person_confirmed(change_kg: float) -> None:
    """F6: range is no filter: two confirmed weigh-ins at a new level, and the third is filed."""
    mass_kg = 70 + change_kg
    history = (*of(70), after(mass_kg, 60, is_confirmed=True), after(mass_kg + 0.2, 61, is_confirmed=True))
    assert "ann" == attribute(weighed(mass_kg + 0.1, 62), [person("ann", history)]).person_id


def test_a_long_absence_widens_what_is_possible() -> None:
    """3 kg are a surprise after a day and not after a year; neither is filed without asking."""
    soon, late = (attribute(weighed(73, day), [ANN]) for day in (60, 420))
    assert [(None, "far_from_trend"), (None, "long_gap")] == [
        (each.person_id, each.reasons[0]) for each in (soon, late)
    ]
    assert "ann" == attribute(weighed(70, 80), [ANN]).person_id


def test_a_missing_person_and_a_doubled_one_ask() -> None:
    """Somebody weighed daily stays away; another, weighed each morning, seems to be weighed twice: that waits."""
    ann = person("ann", of(78, 30))
    bob = person("bob", of(70, seed=1))
    hour = timedelta(hours=1)
    again = replace(weighed(70.2, 59), at=weighed(70.2, 59).at + hour)
    assert "somebody_is_missing" == attribute(again, [ann, bob]).reasons[0]
    assert "bob" == attribute(again, [person("ann", of(78, 59)), bob]).person_id
    assert "bob" == attribute(weighed(70.2), [ann, bob]).person_id


def test_without_history_nobody_is_guessed() -> None:
    """Nothing is known of anybody: it waits, whatever the slot says."""
    people = [person("ann", slot=1), person("bob", slot=2)]
    verdict = attribute(weighed(70, user_index=1), people)
    assert (None, "no_history", "slot") == (verdict.person_id, *verdict.reasons[:2])


def test_the_first_weigh_in_of_the_only_owner_is_filed() -> None:
    """The scale has one owner: the first live weigh-in is theirs; one read out of a memory is asked."""
    ann = person("ann", is_sole_owner=True)
    verdict = attribute(weighed(70), [ann])
    assert ("ann", "sole_owner") == (verdict.person_id, verdict.reasons[0])
    assert attribute(weighed(70, is_live=False), [ann]).person_id is None
    assert attribute(weighed(5), [ann]).person_id is None


def test_a_guest_on_the_only_owners_scale_waits() -> None:
    """Being the only owner does not make later weigh-ins theirs."""
    assert attribute(weighed(84), [person("ann", of(70), is_sole_owner=True)]).person_id is None


def test_a_memory_from_before_waits() -> None:
    """F4: what the scale remembers from before we knew it is never dumped on anyone."""
    verdict = attribute(weighed(70, before_enrolment=True), [replace(ANN, is_sole_owner=True)])
    assert (None, "memory_before_enrolment") == (verdict.person_id, verdict.reasons[0])


def test_a_memory_from_before_with_a_slot_is_filed() -> None:
    """F4: the bonded slot says whose it is, and the mass agrees."""
    people = [replace(ANN, slot=1), replace(BOB, slot=2)]
    assert "ann" == attribute(weighed(70, before_enrolment=True, user_index=1), people).person_id


def test_slots_separate_people_of_one_mass() -> None:
    """Two people of the same mass: the slot tips the scales, and agrees with impedance it decides."""

    def history(seed: int, ohm: int) -> tuple[PastWeighIn, ...]:
        return tuple(
            replace(past, impedance_ohm=Decimal(ohm + index % 5)) for index, past in enumerate(of(70, seed=seed))
        )

    ann = replace(ANN, history=history(0, 480), slot=1)
    bob = replace(BOB, history=history(1, 590), slot=2)
    alone = attribute(weighed(70.2), [ann, bob])
    slot = attribute(weighed(70.2, user_index=1), [ann, bob])
    both = attribute(weighed(70.2, user_index=1, impedance_ohm=Decimal(481)), [ann, bob])
    assert None is alone.person_id
    assert alone.probabilities[ANN_ID] < slot.probabilities[ANN_ID] < both.probabilities[ANN_ID]
    assert ("ann", "mass_fits", "slot", "impedance_fits") == (both.person_id, *both.reasons)


def test_a_wrong_slot_does_not_overrule_the_mass() -> None:
    """Bob stands on the scale while Ann's slot is selected: it is not filed to Ann."""
    people = [replace(ANN, slot=1), replace(BOB, slot=2)]
    verdict = attribute(weighed(78, user_index=1), people)
    assert verdict.person_id in (None, "bob")
    assert verdict.probabilities[BOB_ID] > 0.9


def test_the_unknown_slot_says_nothing() -> None:
    """Weight Scale Service: user 255 is nobody."""
    people = [replace(ANN, slot=1), replace(BOB, slot=2)]
    assert attribute(weighed(70, user_index=255), people) == attribute(weighed(70), people)


def test_a_configured_name_is_strong() -> None:
    """The source's name separates people of one mass, whatever its case; a name nobody has hardly counts."""
    ann, bob = person("ann", of(70), names=frozenset({"Anne"})), person("bob", of(70, seed=1), names=frozenset({"Bob"}))
    plain = attribute(weighed(70.2), [ann, bob])
    named = attribute(weighed(70.2, user_name="ANNE"), [ann, bob])
    other = attribute(weighed(70.2, user_name="user1"), [ann, bob])
    assert (None, None) == (plain.person_id, other.person_id)
    assert named.probabilities[ANN_ID] > 0.95 > plain.probabilities[ANN_ID]
    assert "named" in named.reasons
    assert pytest.approx(plain.probabilities[ANN_ID], abs=0.02) == other.probabilities[ANN_ID]


def test_the_hour_separates_a_morning_person_from_an_evening_person() -> None:
    """Habit moves the odds and excludes nobody."""
    evening = tuple(replace(past, local_minute=1290) for past in of(71, seed=1))
    people = [person("ann", of(70)), person("bob", evening)]
    morning, night = attribute(weighed(70.3), people), attribute(weighed(70.9, local_minute=1290), people)
    assert morning.probabilities[ANN_ID] > 0.9
    assert night.probabilities[BOB_ID] > 0.8
    assert min(*morning.probabilities.values(), *night.probabilities.values()) > 0.001


def test_an_open_broadcast_needs_more() -> None:
    """A weigh-in that anyone could have sent waits where the same one, proven, would be filed."""
    policy = Policy(file_above=0.9, file_above_unauthenticated=0.99999)
    assert "ann" == attribute(weighed(70), [ANN, BOB], policy).person_id
    verdict = attribute(weighed(70, is_unauthenticated=True), [ANN, BOB], policy)
    assert (None, "anyone_could_have_sent_it") == (verdict.person_id, verdict.reasons[0])


def test_a_late_arrival_is_judged_by_its_own_time() -> None:
    """A weigh-in of day 30 told on day 90 is compared with what was filed around day 30, before and after."""
    history = tuple(after(70 - day / 10, day) for day in range(90) if day != 30)
    assert "ann" == attribute(weighed(67.0, 30), [person("ann", history)]).person_id
    assert None is attribute(weighed(61.2, 30), [person("ann", history)]).person_id


def test_a_weigh_in_without_mass_waits() -> None:
    """Nothing to file."""
    assert ("no_mass",) == attribute(weighed(None), [ANN]).reasons[:1]


def test_nobody_to_ask_about() -> None:
    """A scale of nobody: it is somebody else's."""
    verdict = attribute(weighed(70), [])
    assert (None, 1.0, ("nobody_known",)) == (verdict.person_id, verdict.somebody_else, verdict.reasons)


def test_a_person_twice_is_refused() -> None:
    """Two candidates of one name would share a probability."""
    with pytest.raises(ValueError, match="only once"):
        attribute(weighed(70), [ANN, ANN])


def test_the_second_person_s_first_weigh_ins_are_not_taken_for_the_first_ones() -> None:
    """Right after the beginning, with one person known by a weigh-in or two and one not at all, it waits."""
    few = person("ann", (after(70, 57), after(70.2, 58), after(70.1, 59)))
    verdict = attribute(weighed(70.1), [few, person("bob")])
    assert (None, "short_history") == (verdict.person_id, verdict.reasons[0])
    assert "ann" == attribute(weighed(70.1), [replace(few, is_sole_owner=True)]).person_id
