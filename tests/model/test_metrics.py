"""The catalogue of metrics: complete and consistent."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from gateway.model import CATALOGUE, DataType, Metric, convert


def _loinc_check_digit(code: str) -> int:
    """Modulus 10 of the digits before the hyphen, as LOINC's manual (appendix C) gives it."""
    total = 0
    for place, digit in enumerate(reversed(code)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled // 10 + doubled % 10
    return -total % 10


def test_every_metric_has_an_entry() -> None:
    """Nothing can be measured that the catalogue does not describe."""
    assert set(Metric) == set(CATALOGUE)


def test_every_data_type_is_used() -> None:
    """A consent never speaks of a family without any metric."""
    assert set(DataType) == {info.data_type for info in CATALOGUE.values()}


@pytest.mark.parametrize("metric", list(Metric))
def test_an_entry_is_consistent(metric: Metric) -> None:
    """Canonical unit first, every unit convertible to it, a range that is one, decimals that people can read."""
    info = metric.info
    assert info.unit is info.units[0]
    assert len(info.units) == len(set(info.units))
    for unit in info.units:
        assert convert(Decimal(2), unit, info.unit) > convert(Decimal(1), unit, info.unit)
    assert 0 < info.lowest < info.highest
    assert info.decimals in {0, 1, 2}


@pytest.mark.parametrize("metric", list(Metric))
def test_the_plausible_range_is_inclusive(metric: Metric) -> None:
    """Both ends of the range are plausible, the next value on either side is not."""
    info = metric.info
    step = Decimal("0.001")
    assert [True, True, False, False] == [
        info.is_plausible(value) for value in (info.lowest, info.highest, info.lowest - step, info.highest + step)
    ]


def test_codes_are_well_formed_and_unique() -> None:
    """A LOINC code has a right check digit, an MDC code lies in a partition, and no two metrics share one."""
    loincs = [info.loinc for info in CATALOGUE.values() if info.loinc is not None]
    for loinc in loincs:
        assert re.fullmatch(r"[0-9]{3,5}-[0-9]", loinc)
        digits, check = loinc.split("-")
        assert _loinc_check_digit(digits) == int(check), loinc
    assert len(loincs) == len(set(loincs))
    mdcs = [info.mdc for info in CATALOGUE.values() if info.mdc is not None]
    assert {2} == {mdc >> 16 for mdc in mdcs}
    assert len(mdcs) == len(set(mdcs))


def test_both_kinds_of_glucose_fall_under_one_consent() -> None:
    """A person who agrees that glucose leaves means finger-sticks and sensor alike."""
    assert {DataType.GLUCOSE} == {Metric.GLUCOSE_CAPILLARY.info.data_type, Metric.GLUCOSE_INTERSTITIAL.info.data_type}
