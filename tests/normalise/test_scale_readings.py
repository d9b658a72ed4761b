"""Scale measurements become readings: one key per weigh-in, canonical units, nothing invented."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.body_composition import BodyCompositionMeasurement, parse_body_composition_measurement
from gateway.devices.weight_scale import WeightMeasurement, parse_weight_measurement
from gateway.errors import MalformedFrame
from gateway.model import Absent, DeviceId, Metric, Reading, SourceKind, TimeQuality, Unit
from gateway.normalise.contact import Contact, Normalised
from gateway.normalise.scale import body_composition_readings, weight_readings

STAMP = datetime(2025, 2, 3, 4, 5, 6)  # noqa: DTZ001 -- a device's own clock has no zone
CONTACT = Contact(
    device_id=DeviceId("scale"),
    zone=ZoneInfo("Europe/Paris"),
    received_at=datetime(2025, 2, 3, 3, 5, 30, tzinfo=UTC),
    source=SourceKind.BLUETOOTH,
)
WEIGHT = parse_weight_measurement(bytes.fromhex("0eaa37e907020304050602f300b006"))
COMPOSITION = parse_body_composition_measurement(bytes.fromhex("0606fb00e9070203040506027413aa37"))


def by_metric(normalised: Normalised) -> dict[Metric, Reading]:
    """The readings, each metric once."""
    found = {reading.metric: reading for reading in normalised.readings}
    assert len(found) == len(normalised.readings)
    return found


def test_weight_worked_example() -> None:
    """The worked frame gives mass, body mass index and height with the scale's own time."""
    readings = by_metric(weight_readings(WEIGHT, CONTACT, frame=3))
    expected = {
        Metric.BODY_MASS: (Decimal("71.25"), Unit.KG, False),
        Metric.BODY_MASS_INDEX: (Decimal("24.3"), Unit.KG_M2, True),
        Metric.BODY_HEIGHT: (Decimal("171.2"), Unit.M, False),
    }
    assert expected == {
        metric: (reading.value, reading.original_unit, reading.context.is_device_derived)
        for metric, reading in readings.items()
    }
    mass = readings[Metric.BODY_MASS]
    assert mass.record_key == "2025-02-03T04:05:06#2#14250"
    assert mass.context.weigh_in == "2025-02-03T04:05:06#2"
    assert (mass.context.user_index, mass.device_time, mass.frame) == (2, STAMP, 3)
    assert (mass.effective_at, mass.utc_offset_min) == (datetime(2025, 2, 3, 3, 5, 6, tzinfo=UTC), 60)
    assert mass.time_quality is TimeQuality.DEVICE


def test_composition_worked_example() -> None:
    """The worked body composition gives mass, fat and impedance."""
    readings = by_metric(body_composition_readings(COMPOSITION, CONTACT))
    expected = {
        Metric.BODY_MASS: (Decimal("71.25"), False),
        Metric.BODY_FAT_PERCENTAGE: (Decimal("25.1"), True),
        Metric.IMPEDANCE: (Decimal("498.0"), False),
    }
    assert expected == {
        metric: (reading.value, reading.context.is_device_derived) for metric, reading in readings.items()
    }


def test_the_pair_is_one_reading() -> None:
    """Body mass and height of 2A9D and 2A9C of one weigh-in are equal, key and content."""
    weight = by_metric(weight_readings(WEIGHT, CONTACT, frame=0))
    composition = by_metric(body_composition_readings(replace(COMPOSITION, height=Decimal("1.712")), CONTACT, frame=1))
    for metric in (Metric.BODY_MASS, Metric.BODY_HEIGHT):
        assert weight[metric] == composition[metric]
    weigh_ins = {reading.context.weigh_in for reading in (*weight.values(), *composition.values())}
    assert weigh_ins == {"2025-02-03T04:05:06#2"}


def test_every_composition_field() -> None:
    """Each field lands in its metric, canonical, with the unit that was sent; pounds become exact kilograms."""
    hundred = Decimal("100.00")
    measurement = BodyCompositionMeasurement(
        body_fat_percent=Decimal("25.1"),
        mass_unit=Unit.LB,
        height_unit=Unit.INCH,
        time_stamp=STAMP,
        basal_metabolism_kj=Decimal(7000),
        muscle_percent=Decimal("40.0"),
        muscle_mass=hundred,
        fat_free_mass=hundred,
        soft_lean_mass=hundred,
        body_water_mass=hundred,
        impedance_ohm=Decimal("498.0"),
        weight=hundred,
        raw_weight=10000,
        height=Decimal("67.5"),
    )
    normalised = body_composition_readings(measurement, CONTACT)
    mass_kg = Decimal("45.359237")
    expected = {
        Metric.BODY_FAT_PERCENTAGE: Decimal("25.1"),
        Metric.BASAL_METABOLISM: Decimal(7000),
        Metric.MUSCLE_PERCENTAGE: Decimal(40),
        Metric.MUSCLE_MASS: mass_kg,
        Metric.FAT_FREE_MASS: mass_kg,
        Metric.SOFT_LEAN_MASS: mass_kg,
        Metric.BODY_WATER_MASS: mass_kg,
        Metric.IMPEDANCE: Decimal(498),
        Metric.BODY_MASS: mass_kg,
        Metric.BODY_HEIGHT: Decimal("171.45"),
    }
    readings = by_metric(normalised)
    assert expected == {metric: reading.value for metric, reading in readings.items()}
    assert (hundred, Unit.LB) == (
        readings[Metric.FAT_FREE_MASS].original_value,
        readings[Metric.FAT_FREE_MASS].original_unit,
    )
    assert normalised.problems == ()
    assert {reading.record_key for metric, reading in readings.items() if metric is not Metric.BODY_MASS} == {
        "2025-02-03T04:05:06#-"
    }
    assert readings[Metric.BODY_MASS].record_key == "2025-02-03T04:05:06#-#10000"


def test_user_zero_is_a_user() -> None:
    """User 0 has a name of its own in the key; an unknown user is a dash."""
    keys = [weight_readings(replace(WEIGHT, user_index=user), CONTACT).readings[0].record_key for user in (0, None)]
    assert keys == ["2025-02-03T04:05:06#0#14250", "2025-02-03T04:05:06#-#14250"]


def test_failed_weight() -> None:
    """A failed measurement is one absent body mass, without index or height."""
    failed = replace(WEIGHT, weight=None, raw_weight=0xFFFF)
    readings = by_metric(weight_readings(failed, CONTACT))
    assert {metric: r.absent for metric, r in readings.items()} == {Metric.BODY_MASS: Absent.UNSUCCESSFUL}
    assert readings[Metric.BODY_MASS].record_key.endswith("#65535")


def test_failed_fat_keeps_the_weight() -> None:
    """Failed body fat is absent, and what was measured beside it stays."""
    readings = by_metric(body_composition_readings(replace(COMPOSITION, body_fat_percent=None), CONTACT))
    assert readings[Metric.BODY_FAT_PERCENTAGE].absent is Absent.UNSUCCESSFUL
    assert Decimal("71.25") == readings[Metric.BODY_MASS].value
    failed = replace(COMPOSITION, weight=None, raw_weight=0xFFFF)
    assert by_metric(body_composition_readings(failed, CONTACT))[Metric.BODY_MASS].absent is Absent.UNSUCCESSFUL


def test_implausible_field_alone_is_set_aside() -> None:
    """One impossible field becomes a problem that names no value; the others are kept."""
    normalised = body_composition_readings(replace(COMPOSITION, body_fat_percent=Decimal("97.3")), CONTACT)
    assert set(by_metric(normalised)) == {Metric.BODY_MASS, Metric.IMPEDANCE}
    assert len(normalised.problems) == 1
    assert "body_fat_percentage" in normalised.problems[0]
    assert "97" not in normalised.problems[0]
    heavy = weight_readings(replace(WEIGHT, weight=Decimal("1.5")), CONTACT)
    assert set(by_metric(heavy)) == {Metric.BODY_MASS_INDEX, Metric.BODY_HEIGHT}
    assert len(heavy.problems) == 1


@pytest.mark.parametrize(
    ("is_live", "quality"), [(True, TimeQuality.RECEIVED), (False, TimeQuality.UNKNOWN)], ids=["live", "stored"]
)
def test_without_time_stamp(is_live: bool, quality: TimeQuality) -> None:
    """Without a usable time the key and the instant come from the reception, marked as such."""
    contact = replace(CONTACT, is_live=is_live)
    mass = weight_readings(replace(WEIGHT, time_stamp=None), contact).readings[0]
    assert mass.record_key == "rx-2025-02-03T03:05:30+00:00#2#14250"
    assert (mass.time_quality, mass.effective_at, mass.device_time) == (quality, CONTACT.received_at, None)
    assert not [letter for letter in mass.record_key if not "!" <= letter <= "~"]


def test_wrong_clock_is_corrected_and_kept() -> None:
    """A measured offset moves the instant; the scale's own time and the key stay as they were said."""
    contact = replace(CONTACT, clock_offset=timedelta(hours=-1))
    mass = weight_readings(WEIGHT, contact).readings[0]
    assert mass.time_quality is TimeQuality.CORRECTED
    assert mass.effective_at == datetime(2025, 2, 3, 2, 5, 6, tzinfo=UTC)
    assert mass.device_time == STAMP
    assert mass.record_key == "2025-02-03T04:05:06#2#14250"


def test_epoch_and_source_come_from_the_contact() -> None:
    """Epoch, device and transport are those of the contact."""
    contact = replace(CONTACT, epoch=2, source=SourceKind.SIMULATED)
    mass = weight_readings(WEIGHT, contact).readings[0]
    assert (mass.device_id, mass.epoch, mass.provenance.source) == ("scale", 2, SourceKind.SIMULATED)


@given(st.integers(0, 0xFFFF), st.booleans())
def test_pounds_and_kilograms_are_exact(raw_weight: int, is_imperial: bool) -> None:
    """Every raw weight gives the exact kilograms, or a problem, never both and never a rounded one."""
    frame = bytes((is_imperial,)) + raw_weight.to_bytes(2, "little")
    normalised = weight_readings(parse_weight_measurement(frame), CONTACT)
    mass_kg = raw_weight * (Decimal("0.0045359237") if is_imperial else Decimal("0.005"))
    if raw_weight == 0xFFFF:
        assert [reading.absent for reading in normalised.readings] == [Absent.UNSUCCESSFUL]
    elif Metric.BODY_MASS.info.is_plausible(mass_kg):
        assert [mass_kg] == [reading.value for reading in normalised.readings]
    else:
        assert (normalised.readings, len(normalised.problems)) == ((), 1)


@given(st.binary(min_size=3, max_size=30))
def test_any_decodable_frame_normalises(frame: bytes) -> None:
    """Whatever decodes also normalises, twice to the same readings."""
    with contextlib.suppress(MalformedFrame):
        weight: WeightMeasurement = parse_weight_measurement(frame)
        assert weight_readings(weight, CONTACT) == weight_readings(weight, CONTACT)
    with contextlib.suppress(MalformedFrame):
        composition = parse_body_composition_measurement(frame)
        assert body_composition_readings(composition, CONTACT) == body_composition_readings(composition, CONTACT)
