"""Bond Management Service: what a device can forget, and the one request that is ours to make."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices import bond_management
from gateway.devices.bond_management import (
    BondRequest,
    delete_own_bond,
    parse_bond_control_point,
    parse_bond_feature,
)
from gateway.errors import MalformedFrame
from gateway.sandbox.frames_device import encode_bond_feature


@pytest.mark.parametrize(
    ("bits", "can", "wants_code"),
    [(0x10, True, False), (0x20, False, True), (0x30, True, True), (0x0400, False, False)],
)
def test_feature(bits: int, can: bool, wants_code: bool) -> None:
    """Only "the bond of the requesting device, over LE" counts for us."""
    feature = parse_bond_feature(encode_bond_feature(bits))
    assert (can, wants_code) == (feature.can_forget_us, feature.wants_code)


def test_feature_may_go_on() -> None:
    """Bit 7 of the third octet announces another; what it means is not known yet."""
    assert ("delete_own_bond_le",) == parse_bond_feature(b"\x10\x00\x80\x01").features
    with pytest.raises(MalformedFrame):
        parse_bond_feature(b"\x10\x00\x00\x01")


def test_control_point() -> None:
    """The op code, and that a code came with it; never the code."""
    assert BondRequest(3, has_code=False) == parse_bond_control_point(b"\x03")
    assert BondRequest(6, has_code=True) == parse_bond_control_point(b"\x06secret")


def test_no_builder_ends_the_bonds_of_others() -> None:
    """One request can be built: forget me, over LE."""
    builders = [name for name in bond_management.__all__ if name[0].islower() and not name.startswith("parse_")]
    assert ["delete_own_bond"] == builders
    assert b"\x03" == delete_own_bond()


@given(frame=st.binary(max_size=80))
def test_any_bytes_are_a_value_or_malformed(frame: bytes) -> None:
    """No other exception, whatever the octets."""
    with contextlib.suppress(MalformedFrame):
        parse_bond_feature(frame)
    with contextlib.suppress(MalformedFrame):
        parse_bond_control_point(frame)
