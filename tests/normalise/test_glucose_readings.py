"""Records of glucose meters become readings: number, bound or reason, with their context and their instant."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.glucose import (
    GLUCOSE_STATUS,
    ConcentrationUnit,
    GlucoseContext,
    GlucoseMeasurement,
    MedicationUnit,
)
from gateway.devices.ieee11073 import SfloatSpecial
from gateway.model import (
    Absent,
    Bound,
    BoundKind,
    Context,
    DeviceId,
    Meal,
    Metric,
    Provenance,
    Reading,
    SourceKind,
    TimeMethod,
    TimeQuality,
    Unit,
)
from gateway.normalise.contact import Contact
from gateway.normalise.glucose import glucose_readings

RECEIVED = datetime(2025, 2, 3, 12, 0, tzinfo=UTC)
BASE = datetime(2025, 2, 3, 4, 5, 6)  # noqa: DTZ001
CONTACT = Contact(DeviceId("meter"), ZoneInfo("Europe/Paris"), RECEIVED, SourceKind.BLUETOOTH, epoch=2)
RECORD = GlucoseMeasurement(
    sequence=1234,
    base_time=BASE,
    time_offset_min=-75,
    concentration=Decimal("137E-5"),
    unit=ConcentrationUnit.KG_L,
    sample_type="capillary_whole_blood",
    sample_location="finger",
)
ERRORS = (
    "sensor_malfunction",
    "sample_too_small",
    "strip_insertion_error",
    "strip_type_incorrect",
    "sensor_temperature_too_high",
    "sensor_temperature_too_low",
    "read_interrupted",
    "general_fault",
)


def _reading(record: GlucoseMeasurement, context: GlucoseContext | None = None, contact: Contact = CONTACT) -> Reading:
    """The one reading of a record without problems."""
    normalised = glucose_readings(record, context, contact)
    assert normalised.problems == ()
    (reading,) = normalised.readings
    return reading


def test_a_plain_record() -> None:
    """Every field of a good record has its place."""
    expected = Reading(
        device_id=DeviceId("meter"),
        epoch=2,
        record_key="1234@2025-02-03T04:05:06",
        metric=Metric.GLUCOSE_CAPILLARY,
        effective_at=datetime(2025, 2, 3, 1, 50, 6, tzinfo=UTC),
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=RECEIVED,
        provenance=Provenance(SourceKind.BLUETOOTH, "gatt.2a18"),
        value=Decimal(137),
        original_value=Decimal(137),
        original_unit=Unit.MG_DL,
        context=Context(sample_type="capillary_whole_blood", sample_location="finger"),
        device_time=datetime(2025, 2, 3, 2, 50, 6),  # noqa: DTZ001
        time_method=TimeMethod.CLOCK_UNCHECKED,
    )
    (reading,) = glucose_readings(RECORD, None, CONTACT, frame=3).readings
    assert expected == reading
    assert str(reading.value) == "137"
    assert reading.frame == 3


def test_molar_concentration() -> None:
    """mmol/L is kept as sent and converted exactly."""
    reading = _reading(replace(RECORD, concentration=Decimal("58E-4"), unit=ConcentrationUnit.MOL_L))
    assert str(reading.original_value) == "5.8"
    assert reading.original_unit is Unit.MMOL_L
    assert Decimal("5.8") * Decimal("18.01559") == reading.value


def test_interstitial_sample() -> None:
    """A meter that says interstitial fluid measures interstitial glucose."""
    record = replace(RECORD, sample_type="interstitial_fluid", sample_location="subcutaneous_tissue")
    assert _reading(record).metric is Metric.GLUCOSE_INTERSTITIAL


@pytest.mark.parametrize("name", ["battery_low", "time_fault"])
def test_status_that_does_not_touch_the_value(name: str) -> None:
    """A low battery or a doubtful clock leaves the number in force, and is told."""
    reading = _reading(replace(RECORD, status=(name,)))
    assert (Decimal(137), (name,)) == (reading.value, reading.context.status)


@pytest.mark.parametrize("name", ERRORS)
def test_errors_make_the_value_untrustworthy(name: str) -> None:
    """A number measured with an error is kept as sent and used for nothing."""
    reading = _reading(replace(RECORD, status=(name,)))
    assert (Absent.UNTRUSTWORTHY, None, Decimal(137)) == (reading.absent, reading.value, reading.original_value)


@pytest.mark.parametrize(
    ("status", "concentration", "kind"),
    [
        (("result_above_device_range",), RECORD.concentration, BoundKind.ABOVE),
        (("result_below_device_range",), RECORD.concentration, BoundKind.BELOW),
        (("result_above_device_range",), None, BoundKind.ABOVE),
        (("result_below_device_range",), Decimal("-1E-5"), BoundKind.BELOW),
        (("result_above_device_range",), SfloatSpecial.NAN, BoundKind.ABOVE),
        ((), SfloatSpecial.POS_INF, BoundKind.ABOVE),
        ((), SfloatSpecial.NEG_INF, BoundKind.BELOW),
        (("result_above_device_range",), SfloatSpecial.POS_INF, BoundKind.ABOVE),
    ],
)
def test_bounds(status: tuple[str, ...], concentration: Decimal | SfloatSpecial | None, kind: BoundKind) -> None:
    """HI and LO are bounds without a limit, never numbers."""
    reading = _reading(replace(RECORD, status=status, concentration=concentration))
    assert (Bound(kind), None, None) == (reading.bound, reading.value, reading.absent)


@pytest.mark.parametrize(
    ("status", "concentration"),
    [
        (("result_above_device_range", "result_below_device_range"), RECORD.concentration),
        (("result_above_device_range",), SfloatSpecial.NEG_INF),
        (("result_below_device_range", "strip_type_incorrect"), RECORD.concentration),
        (("general_fault",), SfloatSpecial.POS_INF),
    ],
)
def test_contradictions_are_untrustworthy(status: tuple[str, ...], concentration: Decimal | SfloatSpecial) -> None:
    """High and low at once, or a bound beside an error, says nothing about the person."""
    reading = _reading(replace(RECORD, status=status, concentration=concentration))
    assert reading.absent is Absent.UNTRUSTWORTHY


@pytest.mark.parametrize(
    ("concentration", "absent"),
    [
        (SfloatSpecial.NAN, Absent.NOT_A_NUMBER),
        (SfloatSpecial.NRES, Absent.NOT_AT_THIS_RESOLUTION),
        (SfloatSpecial.RESERVED, Absent.RESERVED),
        (None, Absent.NOT_INCLUDED),
    ],
)
def test_no_number(concentration: SfloatSpecial | None, absent: Absent) -> None:
    """A record without a number says why, and has no original value."""
    reading = _reading(replace(RECORD, concentration=concentration))
    assert (absent, None, None) == (reading.absent, reading.original_value, reading.original_unit)


@pytest.mark.parametrize("concentration", [Decimal("-1E-5"), Decimal("-0.1"), Decimal(0), Decimal("2E-2")])
def test_impossible_numbers_give_no_reading(concentration: Decimal) -> None:
    """A negative or implausible number is a problem that names no value, and no reading."""
    normalised = glucose_readings(replace(RECORD, concentration=concentration), None, CONTACT)
    assert normalised.readings == ()
    (problem,) = normalised.problems
    assert problem.startswith("glucose_capillary")
    assert str(concentration.scaleb(5)) not in problem.split()


@pytest.mark.parametrize(
    ("sample_type", "location"), [("control_solution", "finger"), ("capillary_whole_blood", "control_solution")]
)
def test_control_solution_is_stored_and_marked(sample_type: str, location: str) -> None:
    """A test of the meter is kept and is no result."""
    reading = _reading(replace(RECORD, sample_type=sample_type, sample_location=location))
    assert Decimal(137) == reading.value
    assert reading.context.is_control_solution
    assert not reading.is_result


@pytest.mark.parametrize("status", [(), ("result_above_device_range",)])
def test_ketone_records_are_not_glucose(status: tuple[str, ...]) -> None:
    """A ketone record supersedes what was stored under its key before its context was known, and shows no number."""
    record = replace(RECORD, status=status)
    stored = _reading(record)
    normalised = glucose_readings(record, GlucoseContext(1234, meal="ketone"), CONTACT)
    (reading,) = normalised.readings
    assert stored.key == reading.key
    assert (Absent.UNTRUSTWORTHY, None, None) == (reading.absent, reading.value, reading.bound)
    assert (None, None) == (reading.original_value, reading.original_unit)
    assert ("ketone", *status) == reading.context.status
    assert not reading.is_result
    assert len(normalised.problems) == 1


def test_full_context() -> None:
    """Masses become grams and milligrams, words stay words, and "not available" is silence."""
    context = GlucoseContext(
        sequence=1234,
        carbohydrate_kind="lunch",
        carbohydrate_kg=Decimal("45E-3"),
        meal="preprandial",
        tester="self",
        health="not_available",
        exercise_duration_s=1800,
        exercise_intensity_percent=60,
        medication_kind="rapid_acting_insulin",
        medication_amount=Decimal("7E-5"),
        medication_unit=MedicationUnit.KG,
        hba1c_percent=Decimal("6.1"),
    )
    expected = Context(
        meal=Meal.PREPRANDIAL,
        carbohydrate_g=Decimal(45),
        carbohydrate_kind="lunch",
        exercise_duration_s=1800,
        exercise_intensity_percent=60,
        medication_kind="rapid_acting_insulin",
        medication_mg=Decimal(70),
        hba1c_percent=Decimal("6.1"),
        tester="self",
        sample_type="capillary_whole_blood",
        status=("battery_low",),
    )
    record = replace(RECORD, status=("battery_low",), sample_location="not_available")
    found = _reading(record, context).context
    assert expected == found
    assert [str(found.carbohydrate_g), str(found.medication_mg)] == ["45", "70"]


@pytest.mark.parametrize("meal", list(Meal))
def test_every_meal(meal: Meal) -> None:
    """The five meals of the standard are the five of the model."""
    assert meal is _reading(RECORD, GlucoseContext(1234, meal=meal.value)).context.meal


def test_context_in_litres_with_specials_and_unknown_meal() -> None:
    """Litres become millilitres; specials and meals without a name are left out."""
    context = GlucoseContext(
        sequence=1234,
        meal="reserved_9",
        carbohydrate_kg=SfloatSpecial.NAN,
        medication_amount=Decimal("12E-6"),
        medication_unit=MedicationUnit.LITRE,
        hba1c_percent=SfloatSpecial.NRES,
    )
    found = _reading(RECORD, context).context
    expected = Context(medication_ml=Decimal("0.012"), sample_type="capillary_whole_blood", sample_location="finger")
    assert expected == found


def test_impossible_context_costs_only_its_field() -> None:
    """A negative amount or an intensity above 100 % is a problem; the glucose stands."""
    context = GlucoseContext(
        sequence=1234, carbohydrate_kg=Decimal("-0.1"), hba1c_percent=Decimal(-1), exercise_intensity_percent=101
    )
    normalised = glucose_readings(RECORD, context, CONTACT)
    (reading,) = normalised.readings
    assert Decimal(137) == reading.value
    assert _reading(RECORD).context == reading.context
    assert len(normalised.problems) == 3


def test_context_of_another_record_is_refused() -> None:
    """Pairing by sequence number is the caller's promise."""
    with pytest.raises(ValueError):
        glucose_readings(RECORD, GlucoseContext(1235), CONTACT)


def test_wrong_clock_is_corrected_and_never_rewritten() -> None:
    """The offset measured at contact moves the instant; the device's own time and the key stay."""
    offset = timedelta(hours=1, minutes=2)
    reading = _reading(RECORD, contact=replace(CONTACT, clock_offset=offset))
    expected = _reading(RECORD)
    assert (expected.effective_at + offset, TimeQuality.CORRECTED) == (reading.effective_at, reading.time_quality)
    assert (expected.device_time, expected.key) == (reading.device_time, reading.key)


def test_time_fault_leaves_the_instant_unknown() -> None:
    """A meter that doubts its own clock is believed; what it said is kept."""
    reading = _reading(replace(RECORD, status=("time_fault",)))
    assert TimeQuality.UNKNOWN is reading.time_quality
    assert (RECEIVED, RECORD.user_time) == (reading.effective_at, reading.device_time)


def test_no_usable_time() -> None:
    """Without base time or offset the instant is unknown, or reception for a live record; the key stays stable."""
    lost = _reading(replace(RECORD, base_time=None))
    assert lost.time_quality is TimeQuality.UNKNOWN
    assert lost.record_key == "1234@unknown"
    assert lost.device_time is None
    moved = _reading(replace(RECORD, time_offset_min=None))
    assert (TimeQuality.UNKNOWN, _reading(RECORD).key) == (moved.time_quality, moved.key)
    live = _reading(replace(RECORD, base_time=None), contact=replace(CONTACT, is_live=True))
    assert (TimeQuality.RECEIVED, live.received_at) == (live.time_quality, live.effective_at)


@given(
    st.one_of(st.none(), st.sampled_from(SfloatSpecial), st.builds(Decimal, st.integers(-2048, 2047))),
    st.integers(-8, 7),
    st.sampled_from(ConcentrationUnit),
    st.sets(st.sampled_from(GLUCOSE_STATUS)),
    st.one_of(st.none(), st.datetimes(min_value=datetime(1582, 1, 1))),  # noqa: DTZ001
    st.one_of(st.none(), st.integers(-32767, 32766)),
)
def test_every_record_is_a_reading_or_a_problem(
    concentration: Decimal | SfloatSpecial | None,
    exponent: int,
    unit: ConcentrationUnit,
    status: set[str],
    base_time: datetime | None,
    offset_min: int | None,
) -> None:
    """Whatever a meter says, there is exactly one reading or exactly one problem, and the key fits the store."""
    number = concentration.scaleb(exponent) if isinstance(concentration, Decimal) else concentration
    record = GlucoseMeasurement(
        sequence=7,
        base_time=base_time,
        time_offset_min=offset_min,
        concentration=number,
        unit=None if number is None else unit,
        status=tuple(sorted(status)),
    )
    normalised = glucose_readings(record, None, CONTACT)
    assert len(normalised.readings) + len(normalised.problems) == 1
    for reading in normalised.readings:
        assert " " not in reading.record_key
        assert reading.record_key.isascii()
        assert reading.value is None or reading.value > 0


def test_all_pairs_of_status_bits() -> None:
    """No pair of status bits lets a number through that one of the two forbids."""
    harmless = {"battery_low", "time_fault"}
    for pair in product(GLUCOSE_STATUS, repeat=2):
        reading = _reading(replace(RECORD, status=tuple(sorted(set(pair)))))
        assert harmless.issuperset(pair) == (reading.value is not None)


def _at(time_offset_min: int | None, clock_offset: timedelta | None, current_offset_min: int | None) -> Reading:
    record = replace(RECORD, time_offset_min=time_offset_min)
    contact = replace(CONTACT, clock_offset=clock_offset)
    (reading,) = glucose_readings(record, None, contact, current_offset_min=current_offset_min).readings
    return reading


@pytest.mark.parametrize("was_min", [0, 60, -120, 30_000, None])
@pytest.mark.parametrize("now_min", [0, 60, -720])
@pytest.mark.parametrize("behind", [timedelta(seconds=5), timedelta(minutes=9), timedelta(hours=-3)])
def test_e3_clock_set_by_the_user_between_two_records(was_min: int | None, now_min: int, behind: timedelta) -> None:
    """Whatever the display showed then: the internal clock ran on, and the clock in force was measured at contact."""
    instant = RECEIVED - timedelta(days=1)
    device_now = RECEIVED.astimezone(CONTACT.zone).replace(tzinfo=None) - behind
    base_time = device_now - timedelta(minutes=now_min) - (RECEIVED - instant)
    record = replace(RECORD, base_time=base_time, time_offset_min=was_min)
    contact = replace(CONTACT, clock_offset=behind)
    (reading,) = glucose_readings(record, None, contact, current_offset_min=now_min).readings
    assert abs(reading.effective_at - instant) <= timedelta(minutes=1)
    assert record.user_time == reading.device_time


def test_display_time_stands_where_the_clock_was_not_measured() -> None:
    """Without a measurement nobody knows which of the two clocks was right."""
    for now_min in (None, -75, 0):
        assert _at(-75, None, None) == _at(-75, None, now_min)
    assert TimeQuality.UNKNOWN is _at(None, timedelta(), None).time_quality


def test_future_of_an_untrusted_clock_is_no_fault_of_the_meter() -> None:
    """A hub that woke in 1970 does not make the meter's times unknown."""
    early = replace(CONTACT, received_at=datetime(1970, 1, 1, tzinfo=UTC), clock_is_trusted=False)
    reading = _reading(RECORD, contact=early)
    assert (_reading(RECORD).effective_at, TimeQuality.DEVICE) == (reading.effective_at, reading.time_quality)
