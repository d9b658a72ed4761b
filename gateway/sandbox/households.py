"""Simulated households around one scale: who steps onto it when, and what it shows. The truth is known.

Nothing here uses the attribution's own model, so that its figures mean something: masses wander about a course, days
hang together, evenings and clothes add to them, tails are heavy, guests come for days, somebody holds the cat. Equal
seeds give equal households.

Sizes: a morning differs from the next by about 0.5 % of the mass, an evening is 0.4 to 1.3 kg above it, clothes
weigh a kilogram or two. Fluid: +3.5 kg in six days; dialysis: 2 to 3 kg between sessions.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from gateway.model import PersonId

__all__ = [
    "Course",
    "Home",
    "Resident",
    "Stepping",
    "dialysis",
    "diet",
    "family",
    "growing",
    "leg_lost",
    "oedema",
    "pregnancy",
    "steady",
    "steppings",
]

Course = Callable[[float], float]
"""Days since the beginning to kilograms above the starting mass."""

_BEGIN: Final = date(2026, 1, 5)
_MINUTES: Final = 1440
_TENTH: Final = Decimal("0.1")
_TWENTIETH: Final = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class Stepping:
    """One stepping onto the scale.

    Attributes:
        person_id: whose body it was, alone; None: somebody or something else, or a resident holding something.
        what: `resident`, `guest`, `child`, `animal`, `luggage` or `holding`.
    """

    person_id: PersonId | None
    what: str
    at: datetime
    local_minute: int
    local_day: date
    mass_kg: Decimal
    impedance_ohm: Decimal | None
    slot: int | None


@dataclass(frozen=True, slots=True)
class Resident:
    """Somebody who lives there.

    Attributes:
        course: what the mass does over the months.
        per_day: how often the person is weighed, 0 to 1 a day.
        minute: of the day, usually.
        other_hour: share of weigh-ins at any waking hour instead.
        away: first and last day of absences.
    """

    person_id: PersonId
    mass_kg: float
    course: Course
    per_day: float = 0.8
    minute: float = 430
    other_hour: float = 0.15
    noise: float = 0.005
    rise_kg: float = 0.8
    impedance_ohm: float = 500
    slot: int | None = None
    away: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Home:
    """A household and its scale."""

    seed: int
    residents: tuple[Resident, ...]
    days: int = 180
    guests: float = 0.02
    has_impedance: bool = False
    has_slots: bool = False
    wrong_slot: float = 0.03
    step_kg: Decimal = field(default=_TWENTIETH)


def steady(day: float) -> float:
    """Nothing but wandering."""
    return 0.0 * day


def diet(start: int, weekly_kg: float, weeks: int) -> Course:
    """Losing, then keeping it."""
    return lambda day: -weekly_kg * min(max(day - start, 0), weeks * 7) / 7


def oedema(start: int) -> Course:
    """Fluid: 3.5 kg in six days, kept for three, gone in a week."""

    def course(day: float) -> float:
        since = day - start
        if since <= 0:
            return 0.0
        return 3.5 * min(since / 6, 1.0, max(0.0, 1 - (since - 9) / 7))

    return course


def dialysis(gain_kg: float) -> Course:
    """Three sessions a week, each taking what came since the last."""
    sessions = (0.6, 2.6, 4.6, 7.6)

    def course(day: float) -> float:
        in_week = day % 7
        last = max((session for session in sessions if session <= in_week), default=-2.4)
        return gain_kg * (in_week - last) / 2

    return course


def pregnancy(birth: int) -> Course:
    """0.45 kg a week, then a birth and a fortnight of losing water."""

    def course(day: float) -> float:
        gained = 0.45 * min(day, birth) / 7
        return gained if day < birth else gained - 5.5 - 3.5 * min((day - birth) / 14, 1.0)

    return course


def growing(yearly_kg: float) -> Course:
    """A child."""
    return lambda day: yearly_kg * day / 365


def leg_lost(day_of_loss: int) -> Course:
    """An amputation; the person is away for the weeks around it if `Resident.away` says so."""
    return lambda day: -7.5 if day >= day_of_loss else 0.0


def family(
    seed: int,
    masses_kg: Sequence[float],
    courses: Sequence[Course] | None = None,
    away: Mapping[int, tuple[int, int]] | None = None,
    **changes: object,
) -> Home:
    """A household of people of these masses with habits of their own.

    Args:
        seed: of everything.
        masses_kg: at the beginning, one for each.
        courses: one for each; steady without.
        away: first and last day of an absence by number of the person, instead of a holiday by chance.
        changes: other fields of `Home`.
    """
    draw = random.Random(f"family {seed}")
    shared_minute = draw.gauss(430, 40)
    residents = []
    for number, mass_kg in enumerate(masses_kg):
        is_evening = draw.random() < 0.25
        together = draw.random() < 0.5
        minute = draw.gauss(1290, 45) if is_evening else shared_minute if together else draw.gauss(440, 60)
        residents.append(
            Resident(
                PersonId(f"person-{number + 1}"),
                mass_kg,
                steady if courses is None else courses[number],
                per_day=draw.choice((0.25, 0.6, 0.8, 0.95)),
                minute=minute,
                other_hour=draw.uniform(0.05, 0.3),
                noise=draw.uniform(0.003, 0.0065),
                rise_kg=draw.uniform(0.4, 1.3) * min(mass_kg / 70, 1.2),
                impedance_ohm=draw.gauss(505, 65),
                slot=number + 1,
                away=_absences(draw),
            )
        )
        if away is not None and number in away:
            residents[-1] = replace(residents[-1], away=(away[number],))
    return replace(Home(seed, tuple(residents)), **changes)  # type: ignore[arg-type]


def _absences(draw: random.Random) -> tuple[tuple[int, int], ...]:
    """Most people go away once in half a year, for two to four weeks."""
    if draw.random() < 0.3:
        return ()
    first = draw.randrange(30, 150)
    return ((first, first + draw.randrange(10, 29)),)


def steppings(home: Home) -> list[Stepping]:
    """Everything that the scale sees, in order of time."""
    found: list[Stepping] = []
    for resident in home.residents:
        found += _of_resident(home, resident)
    draw = random.Random(f"guests {home.seed}")
    expected = len(found) * home.guests / (1 - home.guests)
    wanted = int(expected) + (draw.random() < expected % 1)
    others: list[Stepping] = []
    while len(others) < wanted:
        others += _others(home, found, draw)
    return sorted(found + others[:wanted], key=lambda each: (each.at, each.mass_kg, each.person_id or ""))


def _of_resident(home: Home, resident: Resident) -> Iterator[Stepping]:
    draw = random.Random(f"resident {home.seed} {resident.person_id}")
    wander = draw.gauss(0, 0.008 * resident.mass_kg)
    swing = 0.0
    weekly_kg = draw.uniform(0, 0.004) * resident.mass_kg
    for day in range(home.days):
        # a month's memory; days hang together a little, and some differ more than they should
        wander += -wander / 30 + draw.gauss(0, 0.002 * resident.mass_kg)
        tail = math.sqrt(5 / draw.gammavariate(2.5, 2))
        swing = 0.35 * swing + draw.gauss(0, resident.noise * resident.mass_kg * 0.75) * tail
        if draw.random() >= resident.per_day or any(first <= day <= last for first, last in resident.away):
            continue
        minute = draw.uniform(400, 1380) if draw.random() < resident.other_hour else draw.gauss(resident.minute, 35)
        minute_of_day = int(minute) % _MINUTES
        base = resident.mass_kg + resident.course(day + minute_of_day / _MINUTES) + wander + swing
        weekend = weekly_kg * ((day % 7) in (0, 6))
        returned = 1.2 * any(0 < day - last <= 5 for _, last in resident.away) * min(1.0, resident.mass_kg / 70)
        mass = base + weekend + returned + _day_part(resident, minute_of_day, draw) + _clothes(resident, minute, draw)
        yield _stepping(home, resident.person_id, "resident", day, minute_of_day, mass, resident, draw)
        if draw.random() < 0.04:  # once more, to be sure
            again = min(minute_of_day + 1, _MINUTES - 1)
            yield _stepping(home, resident.person_id, "resident", day, again, mass, resident, draw)


def _day_part(resident: Resident, minute: int, draw: random.Random) -> float:
    """What was eaten and drunk since the morning: most of it at meals."""
    meals = (0.3 * (minute > 450), 0.35 * (minute > 760), 0.35 * (minute > 1180))
    return resident.rise_kg * sum(meals) * draw.lognormvariate(0, 0.35)


def _clothes(resident: Resident, minute: float, draw: random.Random) -> float:
    is_dressed = draw.random() < (0.06 if minute < 600 else 0.35)
    return abs(draw.gauss(1.1, 0.5)) * min(1.0, resident.mass_kg / 60) if is_dressed else 0.0


def _others(home: Home, known: Sequence[Stepping], draw: random.Random) -> Iterator[Stepping]:
    """One visit, or one odd thing, near a moment when the scale is in use anyway."""
    moment = draw.choice(known)
    day = (moment.local_day - _BEGIN).days
    kind = draw.random()
    if kind < 0.5:
        mass = max(draw.gauss(76, 15), 40)
        for stay in range(draw.choice((1, 1, 1, 2, 3, 4))):
            minute = int(draw.uniform(400, 1380))
            yield _stepping(home, None, "guest", day + stay, minute, mass + draw.gauss(0, 0.5), None, draw)
        return
    minute = int(draw.uniform(480, 1320))
    if kind < 0.7:
        yield _stepping(home, None, "child", day, minute, draw.uniform(10, 50), None, draw)
    elif kind < 0.78:
        yield _stepping(home, None, "animal", day, minute, draw.uniform(2.5, 30), None, draw)
    elif kind < 0.9:
        yield _stepping(home, None, "luggage", day, minute, draw.uniform(5, 28), None, draw)
    else:
        holder = next(each for each in home.residents if each.person_id == moment.person_id)
        mass = float(moment.mass_kg) + draw.uniform(3, 22)
        yield _stepping(home, None, "holding", day, minute, mass, holder, draw)


def _stepping(
    home: Home,
    person_id: PersonId | None,
    what: str,
    day: int,
    minute: int,
    mass_kg: float,
    body: Resident | None,
    draw: random.Random,
) -> Stepping:
    mass_kg = max(mass_kg, 0.5)
    shown = (Decimal(str(round(mass_kg, 4))) / home.step_kg).quantize(Decimal(1)) * home.step_kg
    local_day = _BEGIN + timedelta(days=day)
    at = datetime(local_day.year, local_day.month, local_day.day, tzinfo=UTC) + timedelta(minutes=minute)
    seconds = draw.randrange(60)
    ohm: Decimal | None = None
    if home.has_impedance and what in {"resident", "guest", "child", "holding"} and draw.random() < 0.95:
        usual = body.impedance_ohm if body is not None else draw.gauss(505, 70)
        # warm feet after a shower, cold ones, a shifted stance
        ohm = Decimal(
            round(max(usual * (1 + draw.gauss(0, 0.022) + (draw.random() < 0.05) * draw.gauss(0, 0.08)), 150))
        )
    slot: int | None = None
    if home.has_slots:
        own = body.slot if body is not None else None
        is_wrong = own is None or draw.random() < home.wrong_slot
        slot = draw.choice([each.slot for each in home.residents]) if is_wrong else own
    return Stepping(
        person_id, what, at + timedelta(seconds=seconds), minute, local_day, shown.quantize(_TENTH / 10), ohm, slot
    )
