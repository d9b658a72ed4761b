"""From the unit that a device speaks to the canonical one."""

from __future__ import annotations

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Implausible
from gateway.model import Metric, Unit
from gateway.normalise.quantity import to_canonical


@pytest.mark.parametrize(
    ("metric", "value", "unit", "expected"),
    [
        (Metric.GLUCOSE_CAPILLARY, "5.6", Unit.MMOL_L, "100.887304"),
        (Metric.GLUCOSE_CAPILLARY, "0.98", Unit.G_L, "98"),
        (Metric.GLUCOSE_INTERSTITIAL, "101", Unit.MG_DL, "101"),
        (Metric.BODY_MASS, "154.32", Unit.LB, "69.9983745384"),
        (Metric.BODY_HEIGHT, "1.72", Unit.M, "172"),
        (Metric.BODY_TEMPERATURE, "98.6", Unit.FAHRENHEIT, "37"),
    ],
)
def test_canonical_values_by_hand(metric: Metric, value: str, unit: Unit, expected: str) -> None:
    """The canonical value is exact and unrounded."""
    assert Decimal(expected) == to_canonical(metric, Decimal(value), unit)


@pytest.mark.parametrize(
    ("metric", "value", "unit"),
    [
        (Metric.GLUCOSE_CAPILLARY, "9.99", Unit.MG_DL),
        (Metric.GLUCOSE_CAPILLARY, "1000.01", Unit.MG_DL),
        (Metric.GLUCOSE_CAPILLARY, "100", Unit.MMOL_L),
        (Metric.BODY_MASS, "1.99", Unit.KG),
        (Metric.BODY_MASS, "-70", Unit.KG),
        (Metric.OXYGEN_SATURATION, "101", Unit.PERCENT),
        (Metric.BODY_MASS, "70", Unit.MG_DL),
        (Metric.GLUCOSE_CAPILLARY, "NaN", Unit.MG_DL),
        (Metric.GLUCOSE_CAPILLARY, "sNaN", Unit.MG_DL),
        (Metric.GLUCOSE_CAPILLARY, "Infinity", Unit.MMOL_L),
        (Metric.GLUCOSE_CAPILLARY, "9E+999999", Unit.MMOL_L),
        (Metric.BODY_TEMPERATURE, "9E+999999", Unit.FAHRENHEIT),
        (Metric.BODY_TEMPERATURE, "1E-999999", Unit.FAHRENHEIT),
    ],
)
def test_what_cannot_be_is_refused(metric: Metric, value: str, unit: Unit) -> None:
    """A value out of range, in a unit of something else, or no number is refused: nothing is clipped or guessed."""
    with pytest.raises(Implausible):
        to_canonical(metric, Decimal(value), unit)


@given(st.sampled_from(list(Metric)), st.decimals(), st.sampled_from(list(Unit)))
def test_total(metric: Metric, value: Decimal, unit: Unit) -> None:
    """Every decimal in every unit gives a plausible value or `Implausible`, never another error."""
    with contextlib.suppress(Implausible):
        assert metric.info.is_plausible(to_canonical(metric, value, unit))


def test_the_message_holds_no_value() -> None:
    """What goes into logs and quarantine names the metric and its range, not the measured value."""
    with pytest.raises(Implausible) as caught:
        to_canonical(Metric.BODY_MASS, Decimal("777.77"), Unit.KG)
    assert "777" not in str(caught.value)
