"""The closed set of units that devices send, with exact conversions to the canonical ones.

Quantities stay `Decimal` from the wire to the screen. One glucose factor, 18.01559 mg/dL per mmol/L, is used
everywhere (the one of Nightscout, Tidepool and xDrip+), so that two copies of one reading agree.
"""

from __future__ import annotations

import enum
from decimal import Decimal
from fractions import Fraction

__all__ = ["MG_DL_PER_MMOL_L", "Unit", "convert"]

MG_DL_PER_MMOL_L = Decimal("18.01559")


class Unit(enum.StrEnum):
    """A unit by the text that people and our JSON use; `ucum` gives its UCUM code."""

    MG_DL = "mg/dL"
    MMOL_L = "mmol/L"
    G_L = "g/L"
    KG = "kg"
    LB = "lb"
    JIN = "jin"
    KG_M2 = "kg/m2"
    PERCENT = "%"
    CM = "cm"
    M = "m"
    INCH = "in"
    OHM = "Ohm"
    KJ = "kJ"
    KCAL = "kcal"
    MMHG = "mmHg"
    KPA = "kPa"
    PER_MIN = "/min"
    CELSIUS = "Cel"
    FAHRENHEIT = "degF"
    ONE = "1"

    @property
    def ucum(self) -> str:
        """The UCUM code, as FHIR wants it (`jin`, the market catty of 500 g, has none and is not sent)."""
        return _UCUM.get(self, self.value)


_UCUM = {
    Unit.LB: "[lb_av]",
    Unit.INCH: "[in_i]",
    Unit.MMHG: "mm[Hg]",
    Unit.KPA: "kPa",
    Unit.FAHRENHEIT: "[degF]",
}

# (from, to) -> (factor, offset): to = from * factor + offset, exact
_LINEAR: dict[tuple[Unit, Unit], tuple[Decimal, Decimal]] = {
    (Unit.MMOL_L, Unit.MG_DL): (MG_DL_PER_MMOL_L, Decimal(0)),
    (Unit.G_L, Unit.MG_DL): (Decimal(100), Decimal(0)),
    (Unit.LB, Unit.KG): (Decimal("0.45359237"), Decimal(0)),
    (Unit.JIN, Unit.KG): (Decimal("0.5"), Decimal(0)),
    (Unit.M, Unit.CM): (Decimal(100), Decimal(0)),
    (Unit.INCH, Unit.CM): (Decimal("2.54"), Decimal(0)),
    (Unit.KCAL, Unit.KJ): (Decimal("4.184"), Decimal(0)),
    (Unit.KPA, Unit.MMHG): (Decimal("7.50061683"), Decimal(0)),
}


def convert(value: Decimal, source: Unit, target: Unit) -> Decimal:
    """Convert `value` from `source` to `target`.

    Multiplications are exact. The reverse direction divides and keeps 28 significant digits, and
    Fahrenheit goes through a fraction of the same precision.

    Raises:
        ValueError: the two units do not measure the same thing.
    """
    if source is target:
        return value
    if (pair := _LINEAR.get((source, target))) is not None:
        return value * pair[0] + pair[1]
    if (pair := _LINEAR.get((target, source))) is not None:
        return (value - pair[1]) / pair[0]
    if (source, target) == (Unit.FAHRENHEIT, Unit.CELSIUS):
        exact = (Fraction(value) - 32) * Fraction(5, 9)
        return Decimal(exact.numerator) / Decimal(exact.denominator)
    raise ValueError(f"no conversion from {source.value} to {target.value}")
