"""Short ways to write down a household and a weigh-in."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from gateway.attribution import Candidate, PastWeighIn, WeighIn
from gateway.model import DeviceId, PersonId

__all__ = ["BEGIN", "after", "of", "person", "weighed"]

BEGIN = datetime(2026, 1, 1, 6, 30, tzinfo=UTC)


def weighed(mass_kg: float | Decimal | None, day: float = 60, **changes: Any) -> WeighIn:
    """A live weigh-in, by default on day 60 at 06:30."""
    at = BEGIN + timedelta(days=day)
    fields: dict[str, Any] = {
        "device_id": DeviceId("scale"),
        "name": "1",
        "at": at,
        "local_minute": at.hour * 60 + at.minute,
        "local_day": at.date(),
        "mass_kg": None if mass_kg is None else Decimal(str(mass_kg)),
        "impedance_ohm": None,
        "user_index": None,
        "user_name": None,
        "is_live": True,
        "is_unauthenticated": False,
        "before_enrolment": False,
    }
    return WeighIn(**(fields | changes))


def after(mass_kg: float, day: float, *, is_confirmed: bool = False, **changes: Any) -> PastWeighIn:
    """One entry of a history."""
    at = BEGIN + timedelta(days=day)
    minute = changes.pop("local_minute", at.hour * 60 + at.minute)
    ohm = changes.pop("impedance_ohm", None)
    return PastWeighIn(at, minute, Decimal(str(round(mass_kg, 2))), ohm, is_confirmed)


def of(mass_kg: float, days: int = 60, seed: int = 0, **changes: Any) -> tuple[PastWeighIn, ...]:
    """A daily history up to the day before `days`, scattered by 0.4 kg for 70 kg."""
    draw = random.Random(f"{seed} {days}")
    return tuple(after(mass_kg + draw.gauss(0, 0.0055 * mass_kg), day, **changes) for day in range(days))


def person(name: str, history: tuple[PastWeighIn, ...] = (), **changes: Any) -> Candidate:
    """Somebody of the household."""
    fields: dict[str, Any] = {"slot": None, "names": frozenset(), "is_sole_owner": False}
    return Candidate(PersonId(name), history, **(fields | changes))
