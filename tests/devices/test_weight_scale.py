"""Weight Scale Service: every flag, every length, nothing guessed."""

from __future__ import annotations

import contextlib
import itertools
from decimal import Decimal

import pytest
from encoders_scale import STAMP, STAMP_OCTETS, weight
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.weight_scale import (
    Resolution,
    WeightMeasurement,
    parse_weight_measurement,
    parse_weight_scale_feature,
)
from gateway.errors import MalformedFrame
from gateway.model import Unit

WORD = st.integers(0, 0xFFFF)


def test_worked_metric_frame() -> None:
    """The worked example in kilograms gives each of its fields."""
    expected = WeightMeasurement(
        weight=Decimal("71.25"),
        weight_unit=Unit.KG,
        raw_weight=14250,
        time_stamp=STAMP,
        user_index=2,
        bmi_kg_m2=Decimal("24.3"),
        height=Decimal("1.712"),
        height_unit=Unit.M,
    )
    assert expected == parse_weight_measurement(bytes.fromhex("0eaa37e907020304050602f300b006"))


def test_worked_imperial_frame() -> None:
    """Pounds stay pounds."""
    expected = WeightMeasurement(Decimal("157.30"), Unit.LB, 15730, height_unit=Unit.INCH)
    assert expected == parse_weight_measurement(bytes.fromhex("01723d"))


@given(
    raw=WORD,
    is_imperial=st.booleans(),
    has_time=st.booleans(),
    user=st.none() | st.integers(0, 255),
    extra=st.none() | st.tuples(WORD, WORD),
    reserved=st.integers(0, 15).map(lambda bits: bits << 4),
)
def test_round_trip(
    raw: int, is_imperial: bool, has_time: bool, user: int | None, extra: tuple[int, int] | None, reserved: int
) -> None:
    """Whatever was encoded, with any flags and reserved bits, is decoded again, exactly."""
    frame = weight(
        raw,
        is_imperial=is_imperial,
        time_stamp=STAMP_OCTETS if has_time else None,
        user=user,
        bmi_and_height=extra,
        reserved=reserved,
    )
    mass_step, height_step = ("0.01", "0.1") if is_imperial else ("0.005", "0.001")
    expected = WeightMeasurement(
        weight=None if raw == 0xFFFF else raw * Decimal(mass_step),
        weight_unit=Unit.LB if is_imperial else Unit.KG,
        raw_weight=raw,
        time_stamp=STAMP if has_time else None,
        user_index=None if user == 255 else user,
        bmi_kg_m2=None if extra is None else extra[0] * Decimal("0.1"),
        height=None if extra is None else extra[1] * Decimal(height_step),
        height_unit=Unit.INCH if is_imperial else Unit.M,
        reserved_flags=reserved,
    )
    assert expected == parse_weight_measurement(frame)


@pytest.mark.parametrize("flags", range(256))
def test_length_follows_the_flags_exactly(flags: int) -> None:
    """Of all lengths, only the one that the flags announce is accepted."""
    length = 3 + 7 * (flags >> 1 & 1) + (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    accepted = []
    for size in range(1, 20):
        with contextlib.suppress(MalformedFrame):
            parse_weight_measurement(bytes((flags,)) + bytes(size - 1))
            accepted.append(size)
    assert [length] == accepted


@pytest.mark.parametrize("octets", ["00000000000000", "e907021f040506", "e9070203180506", "ffffffffffffff"])
def test_impossible_time_is_no_time(octets: str) -> None:
    """An unknown or impossible date leaves the weight usable."""
    measurement = parse_weight_measurement(weight(14250, time_stamp=bytes.fromhex(octets)))
    assert (Decimal("71.250"), None) == (measurement.weight, measurement.time_stamp)


@given(st.binary(max_size=24))
def test_any_frame_parses_or_is_malformed(frame: bytes) -> None:
    """No byte string makes either parser raise anything else."""
    with contextlib.suppress(MalformedFrame):
        parse_weight_measurement(frame)
    with contextlib.suppress(MalformedFrame):
        parse_weight_scale_feature(frame)


def test_feature_fields() -> None:
    """The feature word names its fields and both resolutions."""
    feature = parse_weight_scale_feature((0b111 | 7 << 3 | 3 << 7).to_bytes(4, "little"))
    assert (feature.has_time_stamp, feature.has_multiple_users, feature.has_bmi) == (True, True, True)
    assert Resolution(Decimal("0.005"), Decimal("0.01")) == feature.mass_resolution
    assert Resolution(Decimal("0.001"), Decimal("0.1")) == feature.height_resolution


def test_feature_codes_without_meaning() -> None:
    """Not specified and reserved resolutions are unknown, not an error."""
    for mass, height in itertools.product((0, *range(8, 16)), (0, *range(4, 8))):
        feature = parse_weight_scale_feature((mass << 3 | height << 7).to_bytes(4, "little"))
        assert (feature.mass_resolution, feature.height_resolution) == (None, None)


def test_resolution_never_scales() -> None:
    """Whatever resolution a scale claims, the same frame gives the same weight."""
    frame = weight(14250)
    weights = set()
    for code in range(16):
        parse_weight_scale_feature((code << 3).to_bytes(4, "little"))
        weights.add(parse_weight_measurement(frame).weight)
    assert {Decimal("71.25")} == weights


@pytest.mark.parametrize("size", [0, 3, 5])
def test_feature_length(size: int) -> None:
    """A feature word has four octets."""
    with pytest.raises(MalformedFrame):
        parse_weight_scale_feature(bytes(size))
