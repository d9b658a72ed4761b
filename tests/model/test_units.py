"""Units: exact conversions between a closed set."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Unit, convert

PAIRS = [
    (Unit.MMOL_L, Unit.MG_DL),
    (Unit.G_L, Unit.MG_DL),
    (Unit.LB, Unit.KG),
    (Unit.JIN, Unit.KG),
    (Unit.M, Unit.CM),
    (Unit.INCH, Unit.CM),
    (Unit.KCAL, Unit.KJ),
    (Unit.KPA, Unit.MMHG),
]


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        ("5.5", Unit.MMOL_L, Unit.MG_DL, "99.085745"),
        ("10.0", Unit.MMOL_L, Unit.MG_DL, "180.15590"),
        ("1.20", Unit.G_L, Unit.MG_DL, "120"),
        ("154.3", Unit.LB, Unit.KG, "69.989302691"),
        ("140", Unit.JIN, Unit.KG, "70.0"),
        ("1.72", Unit.M, Unit.CM, "172"),
        ("68", Unit.INCH, Unit.CM, "172.72"),
        ("1500", Unit.KCAL, Unit.KJ, "6276"),
        ("16", Unit.KPA, Unit.MMHG, "120.00986928"),
        ("98.6", Unit.FAHRENHEIT, Unit.CELSIUS, "37"),
        ("180", Unit.MG_DL, Unit.G_L, "1.8"),
    ],
)
def test_conversions_by_hand(value: str, source: Unit, target: Unit, expected: str) -> None:
    """Every conversion gives the figure that was worked out by hand, to the last digit."""
    assert Decimal(expected) == convert(Decimal(value), source, target)


@given(st.sampled_from(PAIRS), st.decimals("0.01", "9999", places=2))
def test_there_and_back(pair: tuple[Unit, Unit], value: Decimal) -> None:
    """A value that goes to the canonical unit and back is the same value to at least 20 digits."""
    source, target = pair
    back = convert(convert(value, source, target), target, source)
    assert abs(back - value) <= value * Decimal("1e-20")


@given(st.sampled_from(list(Unit)), st.decimals(allow_nan=False, allow_infinity=False))
def test_same_unit_changes_nothing(unit: Unit, value: Decimal) -> None:
    """Converting to the same unit keeps value and digits."""
    assert value.as_tuple() == convert(value, unit, unit).as_tuple()


@pytest.mark.parametrize(
    ("source", "target"), [(Unit.KG, Unit.MG_DL), (Unit.PERCENT, Unit.KG), (Unit.MMOL_L, Unit.G_L), (Unit.CM, Unit.KG)]
)
def test_unlike_units_are_refused(source: Unit, target: Unit) -> None:
    """Two units without a stated conversion never give a number."""
    with pytest.raises(ValueError, match="no conversion"):
        convert(Decimal(1), source, target)


def test_ucum_codes() -> None:
    """Every unit has the UCUM code that FHIR wants; only the catty has none of its own."""
    expected = {
        "mg/dL": "mg/dL", "mmol/L": "mmol/L", "g/L": "g/L", "kg": "kg", "lb": "[lb_av]", "jin": "jin", "kg/m2": "kg/m2",
        "%": "%", "cm": "cm", "m": "m", "in": "[in_i]", "Ohm": "Ohm", "kJ": "kJ", "kcal": "kcal", "mmHg": "mm[Hg]",
        "kPa": "kPa", "/min": "/min", "Cel": "Cel", "degF": "[degF]", "1": "1",
    }  # fmt: skip
    assert expected == {unit.value: unit.ucum for unit in Unit}
