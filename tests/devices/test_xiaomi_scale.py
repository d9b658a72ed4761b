"""Xiaomi scales: what their advertisements say."""

from __future__ import annotations

import contextlib
from decimal import Decimal

import pytest
from encoders_scale import STAMP, mi_body_composition, mi_scale
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.xiaomi_scale import MiScaleMeasurement, parse_mi_body_composition, parse_mi_scale_v1
from gateway.errors import MalformedFrame
from gateway.model import Unit


def test_worked_mi_scale() -> None:
    """The worked example of the first scale gives each of its fields."""
    expected = MiScaleMeasurement(Decimal("64.35"), Unit.KG, 12870, STAMP, is_stable=True, is_removed=False)
    assert expected == parse_mi_scale_v1(bytes.fromhex("224632e9070203040506"))


def test_worked_body_composition_scale() -> None:
    """The worked example of the body composition scale gives each of its fields."""
    expected = MiScaleMeasurement(
        Decimal("64.35"), Unit.KG, 12870, STAMP, is_stable=True, is_removed=False, impedance_ohm=Decimal(487)
    )
    assert expected == parse_mi_body_composition(bytes.fromhex("0226e9070203040506e7014632"))


@pytest.mark.parametrize("control", range(256))
def test_every_control_octet(control: int) -> None:
    """Unit, stable and removed come from their own bits; two units at once are refused."""
    is_lb, is_jin = bool(control & 1), bool(control & 0x10)
    if is_lb and is_jin:
        with pytest.raises(MalformedFrame):
            parse_mi_scale_v1(mi_scale(control, 12870))
        return
    decoded = parse_mi_scale_v1(mi_scale(control, 12870))
    unit = Unit.LB if is_lb else Unit.JIN if is_jin else Unit.KG
    mass = Decimal("64.35") if unit is Unit.KG else Decimal("128.70")
    expected = (mass, unit, bool(control & 0x20), bool(control & 0x80), None)
    assert expected == (
        decoded.weight,
        decoded.weight_unit,
        decoded.is_stable,
        decoded.is_removed,
        decoded.impedance_ohm,
    )


@pytest.mark.parametrize(
    ("unit", "control", "raw_impedance", "expected"),
    [
        (2, 0x22, 487, Decimal(487)),
        (2, 0x22, 1, Decimal(1)),
        (2, 0x22, 2999, Decimal(2999)),
        (2, 0x22, 0, None),
        (2, 0x22, 3000, None),
        (2, 0x22, 0xFFFE, None),
        (2, 0x22, 0xFFFD, None),
        (2, 0x20, 487, None),
    ],
)
def test_impedance_rule(unit: int, control: int, raw_impedance: int, expected: Decimal | None) -> None:
    """An impedance counts only when flagged valid and between 1 and 2999 ohm."""
    assert expected == parse_mi_body_composition(mi_body_composition(unit, control, raw_impedance, 12870)).impedance_ohm


@pytest.mark.parametrize(
    ("unit", "control", "expected"),
    [
        (2, 0x20, (Decimal("64.35"), Unit.KG, True, False)),
        (3, 0x20, (Decimal("128.70"), Unit.LB, True, False)),
        (2, 0x60, (Decimal("128.70"), Unit.JIN, True, False)),
        (2, 0xA0, (Decimal("64.35"), Unit.KG, True, True)),
        (2, 0x00, (Decimal("64.35"), Unit.KG, False, False)),
    ],
)
def test_body_composition_flags(unit: int, control: int, expected: tuple[Decimal, Unit, bool, bool]) -> None:
    """The units sit in two octets, the state in the second."""
    decoded = parse_mi_body_composition(mi_body_composition(unit, control, 0, 12870))
    assert expected == (decoded.weight, decoded.weight_unit, decoded.is_stable, decoded.is_removed)


def test_two_units_at_once() -> None:
    """Pounds and jin together are refused."""
    with pytest.raises(MalformedFrame):
        parse_mi_body_composition(mi_body_composition(3, 0x60, 0, 12870))


@given(st.binary(max_size=16))
def test_any_frame_parses_or_is_malformed(frame: bytes) -> None:
    """No byte string makes a parser raise anything else."""
    with contextlib.suppress(MalformedFrame):
        parse_mi_scale_v1(frame)
        assert len(frame) == 10
    with contextlib.suppress(MalformedFrame):
        parse_mi_body_composition(frame)
        assert len(frame) == 13
