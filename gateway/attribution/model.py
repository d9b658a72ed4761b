"""What the question "whose weigh-in is it" is made of, and the shape of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from gateway.model import DeviceId, PersonId

__all__ = ["Candidate", "PastWeighIn", "Policy", "Verdict", "WeighIn"]


@dataclass(frozen=True, slots=True)
class WeighIn:
    """One weigh-in that has no person yet: what one stepping onto a scale gave.

    Attributes:
        device_id: the scale.
        name: what its record is called there; together with `device_id` it names the weigh-in.
        at: the instant, UTC.
        local_minute: minutes since local midnight, 0 to 1439.
        local_day: the day on the wall calendar.
        mass_kg: None when the scale gave none.
        impedance_ohm: of the body, between the feet; None when not measured.
        user_index: the scale's own user slot; None when it says none.
        user_name: the user as the source calls them; None when it says none.
        is_live: told when it happened, not read out of a memory later.
        is_unauthenticated: anyone nearby could have sent it.
        before_enrolment: from a memory, older than the gateway's acquaintance with the scale.
        is_time_known: False while nobody knows when it was; `at` is then when it was told.
    """

    device_id: DeviceId
    name: str
    at: datetime
    local_minute: int
    local_day: date
    mass_kg: Decimal | None
    impedance_ohm: Decimal | None
    user_index: int | None
    user_name: str | None
    is_live: bool
    is_unauthenticated: bool
    before_enrolment: bool
    is_time_known: bool = True


@dataclass(frozen=True, slots=True)
class PastWeighIn:
    """One weigh-in that is filed to a person; `is_confirmed` when a person did that or agreed to it."""

    at: datetime
    local_minute: int
    mass_kg: Decimal
    impedance_ohm: Decimal | None
    is_confirmed: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody whose weigh-in it may be.

    Attributes:
        person_id: each person once among the candidates of one question.
        history: what is filed to the person, in any order. Entries later than the weigh-in in question count too.
        slot: the user slot of this scale that is bonded to the person.
        names: how sources call the person, as configured; compared without case.
        is_sole_owner: nobody else owns this scale.
    """

    person_id: PersonId
    history: tuple[PastWeighIn, ...]
    slot: int | None
    names: frozenset[str]
    is_sole_owner: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where the weigh-in goes, and why.

    Attributes:
        person_id: to whom it is filed; None: it waits for a person to say.
        probabilities: one for each candidate, 0 to 1.
        somebody_else: the probability of a guest, a child, an animal, a suitcase; with `probabilities` it makes 1.
        reasons: words in snake_case, the decisive one first. They hold no value of a reading.
    """

    person_id: PersonId | None
    probabilities: Mapping[PersonId, float]
    somebody_else: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """When a weigh-in is filed without asking.

    Attributes:
        file_above: probability of the person that suffices.
        file_above_unauthenticated: the same where anyone nearby could have sent it.
        first_above: the same for the first weigh-in of a scale's sole owner, about whom nothing is known yet.
        surprising_below: a mass this far out, as a two-sided tail probability of the person's own prediction, asks
            whatever the other people's masses are.
        surprising_below_identified: the same where the slot or a configured name says that it is the person.
        known_for_days: with no weigh-in of the person nearer than this it asks, unless slot or name say who it is.
        fewest: weigh-ins filed to a person before more are filed without asking, twice as many while another candidate
            has none at all: that person's first ones must not be taken for theirs. Not with slot, name, sole owner.
        somebody_else: how often it is nobody of the household, before anything is looked at.
    """

    file_above: float = 0.995
    file_above_unauthenticated: float = 0.998
    first_above: float = 0.96
    surprising_below: float = 0.01
    surprising_below_identified: float = 0.001
    known_for_days: float = 120.0
    fewest: int = 3
    somebody_else: float = 0.03
