"""SFLOAT and FLOAT are decoded exactly, over every code."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.ieee11073 import FloatSpecial, SfloatSpecial, parse_float32, parse_sfloat, shifted
from gateway.errors import MalformedFrame


def test_every_sfloat_code_is_a_special_or_its_exact_number() -> None:
    """Of 65,536 codes five are specials and every other one is mantissa x 10^exponent, both signed."""
    specials = {0x07FE: "POS_INF", 0x07FF: "NAN", 0x0800: "NRES", 0x0801: "RESERVED", 0x0802: "NEG_INF"}
    for exponent in range(-8, 8):
        for mantissa in range(-2048, 2048):
            raw = (exponent & 0xF) << 12 | (mantissa & 0xFFF)
            found = parse_sfloat(raw)
            if raw in specials:
                assert SfloatSpecial[specials[raw]] is found
            else:
                assert Decimal(f"{mantissa}E{exponent}") == found


def test_special_codes_exist_with_exponent_zero_only() -> None:
    """The mantissa of NaN with another exponent is an ordinary number."""
    assert Decimal("0.02047") == parse_sfloat(0xB7FF)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (0xFF0000EA, Decimal("23.4")),
        (0x80000001, Decimal("1E-128")),
        (0x7FFFFFFF, Decimal("-1E+127")),
        (0xFEFFFFFF, Decimal("-0.01")),
        (0xFF7FFFFF, Decimal("838860.7")),
        (0x007FFFFD, Decimal(8388605)),
        (0x00800003, Decimal(-8388605)),
        (0x007FFFFF, FloatSpecial.NAN),
        (0x00800000, FloatSpecial.NRES),
        (0x007FFFFE, FloatSpecial.POS_INF),
        (0x00800002, FloatSpecial.NEG_INF),
        (0x00800001, FloatSpecial.RESERVED),
    ],
)
def test_float_codes(raw: int, expected: Decimal | FloatSpecial) -> None:
    """Specials, signs and the extreme exponents of the 32-bit format are read as the standard says."""
    assert expected == parse_float32(raw)


@given(st.integers(-(2**23), 2**23 - 1), st.integers(-128, 127))
def test_float_is_exact(mantissa: int, exponent: int) -> None:
    """Every FLOAT that is no special equals its mantissa times its power of ten."""
    found = parse_float32((exponent & 0xFF) << 24 | (mantissa & 0xFFFFFF))
    assert isinstance(found, FloatSpecial) or Decimal(f"{mantissa}E{exponent}") == found


@pytest.mark.parametrize("raw", [-1, 0x1_0000_0000])
def test_words_of_another_width_are_malformed(raw: int) -> None:
    """A number that is no 16-bit (32-bit) word is refused."""
    with pytest.raises(MalformedFrame):
        parse_sfloat(raw)
    with pytest.raises(MalformedFrame):
        parse_float32(raw)


def test_shifting_is_exact_and_writes_no_exponent() -> None:
    """A value moved by powers of ten keeps every digit and reads like a number of daily life."""
    assert [
        ("137", str(shifted(Decimal("137E-5"), 5))),
        ("120", str(shifted(Decimal("1.2E+2")))),
        ("5.80", str(shifted(Decimal("5.80E-3"), 3))),
    ] == [(text, text) for text in ("137", "120", "5.80")]
