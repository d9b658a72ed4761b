"""What a synthetic person's cuff, thermometer, oximeter and belt would show, the same for the same seed everywhere.

As `synthesis`: shapes of real data for trying out software, no physiological model.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal

__all__ = ["BloodPressure", "SyntheticVitals"]

_WARM_UP_S = 20


@dataclass(frozen=True, slots=True)
class BloodPressure:
    """One result of a cuff: whole mmHg, and beats a minute."""

    systolic: int
    diastolic: int
    mean: int
    pulse_per_min: int


class SyntheticVitals:
    """Vital signs of somebody in fair health; everything follows from `seed` and the naive local time."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        stable = random.Random(f"vitals/{seed}")
        self._systolic = stable.uniform(118, 142)
        self._diastolic = stable.uniform(72, 88)
        self._pulse_per_min = stable.uniform(58, 76)
        self._saturation_percent = stable.uniform(95.5, 98)
        self._temperature_c = stable.uniform(36.6, 36.9)

    def habit(self, day: date, what: str, *hours: float) -> list[datetime]:
        """When somebody does `what` on that day, at about these hours: ascending, whole seconds."""
        dice = random.Random(f"habit/{what}/{self._seed}/{day.isoformat()}")
        midnight = datetime.combine(day, time())
        return sorted(midnight + timedelta(seconds=round(3600 * hour + dice.gauss(0, 600))) for hour in hours)

    def _dice(self, at: datetime, what: str) -> random.Random:
        return random.Random(f"{what}/{self._seed}/{at.isoformat(timespec='minutes')}")

    def blood_pressure(self, at: datetime) -> BloodPressure:
        """Highest in the late afternoon."""
        dice = self._dice(at, "pressure")
        daily = 5 * math.sin(2 * math.pi * (at.hour - 11) / 24)
        systolic = round(self._systolic + daily + dice.gauss(0, 5))
        diastolic = round(self._diastolic + daily / 2 + dice.gauss(0, 3))
        return BloodPressure(systolic, diastolic, round(diastolic + (systolic - diastolic) / 3), self.pulse(at))

    def pulse(self, at: datetime) -> int:
        """At rest, beats a minute."""
        return round(self._pulse_per_min + self._dice(at, "pulse").gauss(0, 3))

    def saturation_percent(self, at: datetime) -> Decimal:
        """Oxygen saturation, whole percent."""
        return Decimal(min(100, round(self._saturation_percent + self._dice(at, "saturation").gauss(0, 0.7))))

    def temperature_c(self, at: datetime) -> Decimal:
        """Body temperature, degrees Celsius with one decimal; warmest in the evening."""
        daily = 0.25 * math.sin(2 * math.pi * (at.hour - 12) / 24)
        tenths = round(10 * (self._temperature_c + daily + self._dice(at, "temperature").gauss(0, 0.1)))
        return Decimal(tenths).scaleb(-1)

    def walk(self, at: datetime, seconds: int) -> list[int]:
        """Heart rate in each second of a walk, beats a minute: it rises, then stays."""
        dice, rest = self._dice(at, "walk"), self.pulse(at)
        top = rest + dice.uniform(30, 50)
        return [
            round(top - (top - rest) * math.exp(-second / _WARM_UP_S) + dice.gauss(0, 1)) for second in range(seconds)
        ]
