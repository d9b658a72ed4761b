"""Glucose measurement, context and feature: every field, every flag, and nothing but MalformedFrame."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest
from encoders_glucose import encode_context, encode_measurement, encode_sfloat
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.glucose import (
    GLUCOSE_STATUS,
    ConcentrationUnit,
    GlucoseContext,
    GlucoseFeature,
    GlucoseMeasurement,
    MedicationUnit,
    parse_glucose_feature,
    parse_glucose_measurement,
    parse_glucose_measurement_context,
)
from gateway.devices.ieee11073 import SfloatSpecial
from gateway.errors import MalformedFrame
from gateway.model import Unit, convert

BASE = datetime(2025, 2, 3, 4, 5, 6)  # noqa: DTZ001
FULL = GlucoseMeasurement(
    sequence=1234,
    base_time=BASE,
    time_offset_min=-75,
    has_context=True,
    concentration=Decimal("137E-5"),
    unit=ConcentrationUnit.KG_L,
    sample_type="capillary_whole_blood",
    sample_location="finger",
    status=("result_below_device_range", "time_fault"),
)
FULL_CONTEXT = GlucoseContext(
    sequence=1234,
    extended_flags=0x5A,
    carbohydrate_kind="lunch",
    carbohydrate_kg=Decimal("45E-3"),
    meal="preprandial",
    tester="self",
    health="no_health_issues",
    exercise_duration_s=1800,
    exercise_intensity_percent=60,
    medication_kind="rapid_acting_insulin",
    medication_amount=Decimal("7E-5"),
    medication_unit=MedicationUnit.KG,
    hba1c_percent=Decimal("6.1"),
)


def _said(flags: int) -> GlucoseMeasurement:
    """What remains of FULL when only the fields of `flags` are sent."""
    record = replace(FULL, has_context=bool(flags & 0x10))
    if not flags & 0x01:
        record = replace(record, time_offset_min=0)
    if not flags & 0x02:
        record = replace(record, concentration=None, unit=None, sample_type=None, sample_location=None)
    elif flags & 0x04:
        record = replace(record, unit=ConcentrationUnit.MOL_L)
    return record if flags & 0x08 else replace(record, status=())


def _said_context(flags: int) -> GlucoseContext:
    """What remains of FULL_CONTEXT when only the fields of `flags` are sent."""
    context = FULL_CONTEXT if flags & 0x80 else replace(FULL_CONTEXT, extended_flags=None)
    if not flags & 0x01:
        context = replace(context, carbohydrate_kind=None, carbohydrate_kg=None)
    if not flags & 0x02:
        context = replace(context, meal=None)
    if not flags & 0x04:
        context = replace(context, tester=None, health=None)
    if not flags & 0x08:
        context = replace(context, exercise_duration_s=None, exercise_intensity_percent=None)
    if not flags & 0x10:
        context = replace(context, medication_kind=None, medication_amount=None, medication_unit=None)
    elif flags & 0x20:
        context = replace(context, medication_unit=MedicationUnit.LITRE)
    return context if flags & 0x40 else replace(context, hba1c_percent=None)


def test_worked_example_in_mg_dl() -> None:
    """A record with offset, mass concentration and status is read as the meter showed it."""
    record = parse_glucose_measurement(bytes.fromhex("0bd204e9070203040506b5ff89b0114000"))
    assert replace(FULL, has_context=False, status=("result_below_device_range",)) == record
    assert datetime(2025, 2, 3, 2, 50, 6) == record.user_time  # noqa: DTZ001
    assert (Decimal(137), Unit.MG_DL) == record.everyday_concentration


def test_worked_example_in_mmol_l() -> None:
    """A record with molar concentration and without offset is read exactly."""
    record = parse_glucose_measurement(bytes.fromhex("060700e90702030405063ac018"))
    expected = GlucoseMeasurement(
        sequence=7,
        base_time=BASE,
        concentration=Decimal("0.0058"),
        unit=ConcentrationUnit.MOL_L,
        sample_type="undetermined_plasma",
        sample_location="finger",
    )
    assert expected == record
    assert (Decimal("5.8"), Unit.MMOL_L) == record.everyday_concentration
    assert record.base_time == record.user_time


@pytest.mark.parametrize("flags", range(256))
def test_measurement_round_trip_over_all_flags(flags: int) -> None:
    """Every combination of flags, reserved ones too, gives exactly the announced fields at exactly one length."""
    frame = encode_measurement(FULL, flags)
    assert 10 + 2 * (flags & 1) + 3 * (flags >> 1 & 1) + 2 * (flags >> 3 & 1) == len(frame)
    assert _said(flags) == parse_glucose_measurement(frame)
    for wrong in (*(frame[:end] for end in range(len(frame))), frame + b"\x00", frame + b"\x00\x00"):
        with pytest.raises(MalformedFrame):
            parse_glucose_measurement(wrong)


@pytest.mark.parametrize("flags", range(256))
def test_context_round_trip_over_all_flags(flags: int) -> None:
    """Every combination of context flags gives exactly the announced fields at exactly one length."""
    frame = encode_context(FULL_CONTEXT, flags)
    assert _said_context(flags) == parse_glucose_measurement_context(frame)
    for wrong in (*(frame[:end] for end in range(len(frame))), frame + b"\x00"):
        with pytest.raises(MalformedFrame):
            parse_glucose_measurement_context(wrong)


@given(st.binary(max_size=24))
def test_any_octets_are_a_value_or_malformed(frame: bytes) -> None:
    """No byte string makes a parser raise anything but MalformedFrame."""
    with contextlib.suppress(MalformedFrame):
        record = parse_glucose_measurement(frame)
        _ = (record.user_time, record.everyday_concentration)
    with contextlib.suppress(MalformedFrame):
        parse_glucose_measurement_context(frame)
    with contextlib.suppress(MalformedFrame):
        parse_glucose_feature(frame)


@pytest.mark.parametrize("offset_min", [0x7FFF, -0x8000])
def test_offset_overrun_and_underrun_mean_unknown_time(offset_min: int) -> None:
    """A meter that cannot say its offset has no user-facing time, and keeps its base time."""
    record = parse_glucose_measurement(encode_measurement(replace(FULL, time_offset_min=offset_min), 0x01))
    expected = (BASE, None, None)
    assert expected == (record.base_time, record.time_offset_min, record.user_time)


@given(st.integers(-0x7FFF, 0x7FFE))
def test_every_other_offset_is_added(offset_min: int) -> None:
    """User-facing time minus base time is the offset, whatever its size and sign."""
    record = parse_glucose_measurement(encode_measurement(replace(FULL, time_offset_min=offset_min), 0x01))
    assert record.user_time is not None
    assert offset_min * 60 == (record.user_time - BASE).total_seconds()


def test_unknown_base_time_and_the_end_of_time() -> None:
    """Without a base time, or past the year 9999, there is no user-facing time."""
    assert parse_glucose_measurement(encode_measurement(replace(FULL, base_time=None), 0x01)).user_time is None
    assert replace(FULL, base_time=datetime(9999, 12, 31, 23, 59, 59), time_offset_min=1).user_time is None  # noqa: DTZ001


@pytest.mark.parametrize("special", list(SfloatSpecial))
def test_special_concentrations_are_data(special: SfloatSpecial) -> None:
    """NaN, NRES, infinities and the reserved code come through as themselves."""
    record = parse_glucose_measurement(encode_measurement(replace(FULL, concentration=special), 0x02))
    assert special is record.concentration
    assert record.everyday_concentration is None


@pytest.mark.parametrize("bit", range(16))
def test_each_status_bit(bit: int) -> None:
    """Each status bit has its own name; reserved bits have none."""
    frame = encode_measurement(FULL, 0x08)[:-2] + (1 << bit).to_bytes(2, "little")
    assert ((GLUCOSE_STATUS[bit],) if bit < 12 else ()) == parse_glucose_measurement(frame).status


@pytest.mark.parametrize(
    ("octet", "sample_type", "location", "is_control"),
    [
        (0xF8, "undetermined_plasma", "not_available", False),
        (0x1A, "control_solution", "finger", True),
        (0x41, "capillary_whole_blood", "control_solution", True),
        (0x59, "interstitial_fluid", "subcutaneous_tissue", False),
        (0x6B, "reserved_11", "reserved_6", False),
        (0x00, "reserved_0", "reserved_0", False),
    ],
)
def test_sample_type_and_location(octet: int, sample_type: str, location: str, is_control: bool) -> None:
    """Type is the low nibble, location the high one; control solution shows in either."""
    record = parse_glucose_measurement(encode_measurement(FULL, 0x02)[:-1] + bytes((octet,)))
    assert (sample_type, location, is_control) == (
        record.sample_type,
        record.sample_location,
        record.is_control_solution,
    )


def test_worked_context() -> None:
    """Lunch of 45 g before the meal."""
    context = parse_glucose_measurement_context(bytes.fromhex("03d204022dd001"))
    assert (
        GlucoseContext(1234, carbohydrate_kind="lunch", carbohydrate_kg=Decimal("0.045"), meal="preprandial") == context
    )


def test_ketone_mark_and_exercise_overrun() -> None:
    """Meal 6 marks a ketone record; a duration of 0xFFFF is too long to say."""
    context = parse_glucose_measurement_context(bytes.fromhex("0a010006ffff32"))
    expected = GlucoseContext(1, meal="ketone", exercise_intensity_percent=50, is_exercise_overrun=True)
    assert expected == context
    assert context.is_ketone


def test_context_specials_and_reserved_codes() -> None:
    """Specials stay specials and unknown codes keep their number."""
    nan = encode_sfloat(SfloatSpecial.NAN)
    context = parse_glucose_measurement_context(b"\x57\x01\x00\x09" + nan + b"\x07\xe6\x08" + nan + nan)
    expected = GlucoseContext(
        sequence=1,
        carbohydrate_kind="reserved_9",
        carbohydrate_kg=SfloatSpecial.NAN,
        meal="reserved_7",
        tester="reserved_6",
        health="reserved_14",
        medication_kind="reserved_8",
        medication_amount=SfloatSpecial.NAN,
        medication_unit=MedicationUnit.KG,
        hba1c_percent=SfloatSpecial.NAN,
    )
    assert expected == context


def test_feature_tells_what_can_be_detected() -> None:
    """A feature bit names the status bits that the meter can ever set."""
    assert GlucoseFeature(
        ("low_battery_detection", "multiple_bonds", "result_high_low_detection"),
        ("battery_low", "result_above_device_range", "result_below_device_range"),
    ) == parse_glucose_feature(bytes.fromhex("2104"))
    assert tuple(sorted(GLUCOSE_STATUS)) == parse_glucose_feature(b"\xff\xff").detectable_status


@pytest.mark.parametrize("frame", [b"", b"\x00", b"\x00\x00\x00"])
def test_feature_of_another_length(frame: bytes) -> None:
    """The feature has exactly two octets."""
    with pytest.raises(MalformedFrame):
        parse_glucose_feature(frame)


@given(st.integers(1, 1000))
def test_mg_dl_survives_the_molar_scale(mg_dl: int) -> None:
    """A whole number of mg/dL converted to mmol/L and back is the same whole number."""
    mmol_l = convert(Decimal(mg_dl), Unit.MG_DL, Unit.MMOL_L)
    assert mg_dl == round(convert(mmol_l, Unit.MMOL_L, Unit.MG_DL))
