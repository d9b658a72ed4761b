"""How far measurements that nobody signed are trusted: how many in a while, and how far from the one before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from gateway.model import Unit, convert

__all__ = ["TOO_MANY", "WeighInTrust"]

TOO_MANY: Final = "more weigh-ins in ten minutes than people can make"
_WINDOW: Final = timedelta(minutes=10)
_MOST_IN_WINDOW: Final = 10
_USUAL_CHANGE: Final = Decimal(10)
"""Kilograms between two weights of one person that need no remark."""


@dataclass(slots=True)
class WeighInTrust:
    """Rate limit and plausibility of one device; `last_kg`: the weight before."""

    last_kg: Decimal | None = None
    _begun_at: datetime | None = None
    _count: int = 0

    def admits(self, heard_at: datetime) -> bool:
        """Count one more weigh-in; whether it is still within the limit."""
        if self._begun_at is None or not timedelta() <= heard_at - self._begun_at < _WINDOW:
            self._begun_at, self._count = heard_at, 0
        self._count += 1
        return self._count <= _MOST_IN_WINDOW

    @property
    def is_first_refusal(self) -> bool:
        """Whether the weigh-in counted last is the first one above the limit."""
        return self._count == _MOST_IN_WINDOW + 1

    def is_unusual(self, mass: Decimal, unit: Unit) -> bool:
        """Whether `mass` is far from the one before, which it then takes the place of."""
        mass_kg, before = convert(mass, unit, Unit.KG), self.last_kg
        self.last_kg = mass_kg
        return before is not None and abs(mass_kg - before) > _USUAL_CHANGE
