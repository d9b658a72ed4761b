"""Measurements of vital signs -> readings: units, absent values, trust, time and identity."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.blood_pressure import parse_blood_pressure_measurement
from gateway.devices.heart_rate import parse_heart_rate_measurement
from gateway.devices.pulse_oximeter import (
    PlxFeatures,
    parse_plx_continuous_measurement,
    parse_plx_features,
    parse_plx_spot_check,
)
from gateway.devices.thermometer import parse_temperature_measurement
from gateway.errors import MalformedFrame
from gateway.model import Absent, Bound, BoundKind, DeviceId, Metric, Reading, SourceKind, TimeQuality, Unit
from gateway.normalise.contact import Contact, Normalised
from gateway.normalise.vital_signs import (
    blood_pressure_readings,
    continuous_oximetry_readings,
    heart_rate_readings,
    live_value,
    spot_check_readings,
    temperature_readings,
)
from gateway.sandbox.frames_vital_signs import (
    encode_blood_pressure,
    encode_continuous_oximetry,
    encode_heart_rate,
    encode_plx_features,
    encode_spot_check,
    encode_temperature,
)
from gateway.sandbox.records import SfloatSpecial
from gateway.sandbox.records_vital_signs import CuffReading, HeartBeat, OximetrySample, SpotCheck, Temperature

NOW = datetime(2025, 6, 2, 10, 0, tzinfo=UTC)
STAMP = datetime(2025, 6, 2, 11, 40)  # noqa: DTZ001 -- a device's own clock has no zone
CONTACT = Contact(DeviceId("d"), ZoneInfo("Europe/Paris"), NOW, SourceKind.BLUETOOTH)
SYSTOLIC, DIASTOLIC, MEAN, PULSE, SATURATION = (
    Metric.BLOOD_PRESSURE_SYSTOLIC,
    Metric.BLOOD_PRESSURE_DIASTOLIC,
    Metric.BLOOD_PRESSURE_MEAN,
    Metric.HEART_RATE,
    Metric.OXYGEN_SATURATION,
)
ONGOING, EARLY, VALIDATED, QUALIFIED, STORED = 0x20, 0x40, 0x80, 0x100, 0x200


def pressures(sent: CuffReading, contact: Contact = CONTACT) -> Normalised:
    return blood_pressure_readings(parse_blood_pressure_measurement(encode_blood_pressure(sent)), contact, frame=0)


def spot(sent: SpotCheck, contact: Contact = CONTACT, features: PlxFeatures | None = None) -> Normalised:
    return spot_check_readings(parse_plx_spot_check(encode_spot_check(sent)), contact, features=features)


def values(normalised: Normalised) -> dict[Metric, Decimal | Bound | Absent | None]:
    assert not normalised.problems
    return {r.metric: r.value or r.bound or r.absent for r in normalised.readings}


def only(normalised: Normalised) -> Reading:
    (reading,) = normalised.readings
    return reading


# --- blood pressure -------------------------------------------------------------------------------------------------


def test_one_measurement_is_one_record() -> None:
    """Pressures, mean and pulse share record key, instant, user and status."""
    normalised = pressures(
        CuffReading(
            Decimal(120), Decimal(80), Decimal(93), time_stamp=STAMP, pulse_per_min=Decimal(72), user=2, status=4
        )
    )
    assert {SYSTOLIC: Decimal(120), DIASTOLIC: Decimal(80), MEAN: Decimal(93), PULSE: Decimal(72)} == values(normalised)
    assert {"2025-06-02T11:40:00#2#00780050005d"} == {r.record_key for r in normalised.readings}
    assert {(2, ("irregular_pulse",))} == {(r.context.user_index, r.context.status) for r in normalised.readings}
    assert {(NOW - timedelta(minutes=20), TimeQuality.DEVICE, STAMP)} == {
        (r.effective_at, r.time_quality, r.device_time) for r in normalised.readings
    }


def test_kilopascals_are_converted_exactly() -> None:
    """The canonical value is exact, and what the cuff sent is kept."""
    systolic, diastolic = pressures(CuffReading(Decimal("16.0"), Decimal("10.7"), unit=Unit.KPA)).readings
    assert (Decimal("120.009869280"), Decimal("16.0"), Unit.KPA) == (
        systolic.value,
        systolic.original_value,
        systolic.original_unit,
    )
    assert Decimal("80.256600081") == diastolic.value


@pytest.mark.parametrize("mean", [None, Decimal(0), SfloatSpecial.NRES])
@pytest.mark.parametrize("pulse", [None, Decimal(0), SfloatSpecial.NAN])
def test_what_a_cuff_leaves_empty_is_no_reading(
    mean: Decimal | SfloatSpecial | None, pulse: Decimal | SfloatSpecial | None
) -> None:
    """Mean and pulse are NaN or 0 where the cuff has nothing to say."""
    sent = CuffReading(Decimal(120), Decimal(80), mean, pulse_per_min=pulse)
    assert {SYSTOLIC, DIASTOLIC} == values(pressures(sent)).keys()


def test_failed_measurement_is_absent() -> None:
    """Three times NaN is a failure, whatever else was sent."""
    sent = CuffReading(None, None, time_stamp=STAMP, pulse_per_min=Decimal(70), status=1)
    assert {SYSTOLIC: Absent.UNSUCCESSFUL, DIASTOLIC: Absent.UNSUCCESSFUL} == values(pressures(sent))


def test_single_special_is_what_it_says() -> None:
    """One pressure without a number does not spoil the other; an infinity is a bound."""
    assert {SYSTOLIC: Absent.NOT_A_NUMBER, DIASTOLIC: Decimal(80)} == values(pressures(CuffReading(None, Decimal(80))))
    assert {SYSTOLIC: Bound(BoundKind.ABOVE), DIASTOLIC: Decimal(80)} == values(
        pressures(CuffReading(SfloatSpecial.POS_INF, Decimal(80)))
    )


def test_implausible_pressures_give_problems() -> None:
    """Outside its range a field is left out; a pair that contradicts itself is left out whole."""
    partly = pressures(CuffReading(Decimal(301), Decimal(80)))
    assert ([DIASTOLIC], 1) == ([r.metric for r in partly.readings], len(partly.problems))
    for systolic, diastolic in ((80, 80), (80, 120)):
        whole = pressures(CuffReading(Decimal(systolic), Decimal(diastolic)))
        assert ((), 1) == (whole.readings, len(whole.problems))
        assert str(systolic) not in whole.problems[0]


def test_measurement_without_a_time_is_of_now() -> None:
    """A cuff without a clock tells what it has just measured; two in the same visit are two."""
    first = pressures(CuffReading(Decimal(120), Decimal(80)))
    later = pressures(CuffReading(Decimal(120), Decimal(80)), replace(CONTACT, received_at=NOW + timedelta(minutes=1)))
    assert {TimeQuality.RECEIVED} == {r.time_quality for r in first.readings}
    assert first.readings[0].key != later.readings[0].key


def test_measurement_told_twice_is_one() -> None:
    """After a lost confirmation a cuff tells it again: the same key, and nothing else but the reception has changed."""
    sent = CuffReading(Decimal(120), Decimal(80), Decimal(93), time_stamp=STAMP, pulse_per_min=Decimal(72))
    later = replace(CONTACT, received_at=NOW + timedelta(hours=5))
    first, again = pressures(sent).readings, pressures(sent, later).readings
    assert first == tuple(replace(reading, received_at=NOW) for reading in again)


def test_impossible_time_is_no_time() -> None:
    """A date that does not exist leaves the instant unknown, and sending it again changes nothing."""
    frame = bytes.fromhex("02 7800 5000 5d00 0000 00 00 00 00 00")
    first, again = (
        blood_pressure_readings(
            parse_blood_pressure_measurement(frame), replace(CONTACT, received_at=NOW + timedelta(minutes=minutes))
        )
        for minutes in (0, 9)
    )
    assert {TimeQuality.UNKNOWN} == {r.time_quality for r in first.readings}
    assert [r.key for r in first.readings] == [r.key for r in again.readings]


def test_wrong_clock_is_corrected_and_not_rewritten() -> None:
    """The offset measured at contact moves the instant; the cuff's own time stays."""
    contact = replace(CONTACT, clock_offset=timedelta(hours=-2))
    (systolic, _) = pressures(CuffReading(Decimal(120), Decimal(80), time_stamp=STAMP), contact).readings
    assert (TimeQuality.CORRECTED, NOW - timedelta(hours=2, minutes=20), STAMP) == (
        systolic.time_quality,
        systolic.effective_at,
        systolic.device_time,
    )


# --- temperature ----------------------------------------------------------------------------------------------------


def test_temperature_in_both_units() -> None:
    """Fahrenheit becomes Celsius; the measurement's own site goes before the thermometer's."""

    def read(sent: Temperature) -> Reading:
        return only(temperature_readings(parse_temperature_measurement(encode_temperature(sent)), CONTACT, site="body"))

    warm = read(Temperature(Decimal("98.6"), Unit.FAHRENHEIT, STAMP, 9))
    assert (Decimal(37), Decimal("98.6"), "tympanum") == (
        warm.value,
        warm.original_value,
        warm.context.sample_location,
    )
    assert "2025-06-02T11:40:00#ff0003da" == warm.record_key
    assert "body" == read(Temperature(Decimal("37.0"))).context.sample_location
    assert Absent.NOT_A_NUMBER is read(Temperature(None)).absent


def test_implausible_temperature_is_a_problem() -> None:
    """Room temperature is nobody's."""
    normalised = temperature_readings(
        parse_temperature_measurement(encode_temperature(Temperature(Decimal("21.5")))), CONTACT
    )
    assert ((), 1) == (normalised.readings, len(normalised.problems))


# --- heart rate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beat", "expected"),
    [
        (HeartBeat(72), Decimal(72)),
        (HeartBeat(300, has_contact=True), Decimal(300)),
        (HeartBeat(0), None),
        (HeartBeat(72, has_contact=False), None),
    ],
)
def test_heart_rate_needs_a_pulse_and_contact(beat: HeartBeat, expected: Decimal | None) -> None:
    """0 beats and a belt that hangs in the air are no results; both ways of asking agree."""
    measurement = parse_heart_rate_measurement(encode_heart_rate(beat))
    readings = heart_rate_readings(measurement, CONTACT, site="chest").readings
    assert [expected] * (expected is not None) == [r.value for r in readings]
    assert expected == live_value(measurement)


# --- oximetry -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "is_trusted"),
    [
        (None, True),
        (VALIDATED, True),
        (QUALIFIED | STORED, True),
        (0, False),
        (ONGOING, False),
        (EARLY, False),
        (VALIDATED | EARLY, False),
        *((VALIDATED | 1 << bit, False) for bit in (10, 11, 12, 13, 14, 15)),
    ],
)
def test_status_decides_about_trust(status: int | None, is_trusted: bool) -> None:
    """Only what is validated or fully qualified counts, or what says nothing of itself; never demonstration or test."""
    normalised = spot(SpotCheck(Decimal(97), Decimal(60), STAMP, measurement_status=status))
    expected: dict[Metric, Decimal | Absent] = {SATURATION: Decimal(97), PULSE: Decimal(60)}
    assert (expected if is_trusted else {SATURATION: Absent.UNTRUSTWORTHY}) == values(normalised)


@pytest.mark.parametrize("bit", range(16))
def test_sensor_faults_outrank_the_status(bit: int) -> None:
    """A sensor that is off, displaced or broken makes the number untrustworthy; a weak signal does not."""
    normalised = spot(SpotCheck(Decimal(97), None, STAMP, measurement_status=VALIDATED, device_status=1 << bit))
    is_fault = bit in {1, 3, 7, 8, 11, 13, 14, 15}
    assert {SATURATION: Absent.UNTRUSTWORTHY if is_fault else Decimal(97)} == values(normalised)


def test_oximeter_that_cannot_vouch_is_believed() -> None:
    """One whose features know neither word can never say them; its doubts count all the same."""
    cannot = parse_plx_features(encode_plx_features(0, ONGOING | EARLY, None))
    can = parse_plx_features(encode_plx_features(0, ONGOING | VALIDATED, None))
    plain = SpotCheck(Decimal(97), None, measurement_status=ONGOING)
    assert {SATURATION: Decimal(97)} == values(spot(plain, features=cannot))
    assert {SATURATION: Absent.UNTRUSTWORTHY} == values(spot(plain, features=can))
    early = SpotCheck(Decimal(97), None, measurement_status=EARLY)
    assert {SATURATION: Absent.UNTRUSTWORTHY} == values(spot(early, features=cannot))


def test_live_and_stored_spot_check_are_one_reading() -> None:
    """Key and content do not depend on whether it came out of the memory."""
    sent = SpotCheck(Decimal(97), Decimal(60), STAMP, measurement_status=VALIDATED | ONGOING)
    live, stored = (
        spot_check_readings(parse_plx_spot_check(encode_spot_check(sent, from_memory=from_memory)), CONTACT).readings
        for from_memory in (False, True)
    )
    assert live == stored


def test_clock_that_was_never_set_counts_only_when_measured() -> None:
    """Its times are of no day unless the difference to ours is known."""
    sent = SpotCheck(Decimal(97), None, STAMP, is_clock_unset=True)
    unknown = only(spot(sent))
    assert (TimeQuality.UNKNOWN, STAMP) == (unknown.time_quality, unknown.device_time)
    known = only(spot(sent, replace(CONTACT, clock_offset=timedelta(minutes=-10))))
    assert (TimeQuality.CORRECTED, NOW - timedelta(minutes=30)) == (known.time_quality, known.effective_at)


def test_settling_stream_gives_nothing() -> None:
    """NaN, 0 and early estimates are no results; both ways of asking agree."""
    for sent, expected in (
        (OximetrySample(None, None), None),
        (OximetrySample(Decimal(0), Decimal(0)), None),
        (OximetrySample(Decimal(97), Decimal(60), measurement_status=EARLY), None),
        (OximetrySample(Decimal(97), None, measurement_status=VALIDATED), Decimal(97)),
    ):
        measurement = parse_plx_continuous_measurement(encode_continuous_oximetry(sent))
        readings = continuous_oximetry_readings(measurement, CONTACT).readings
        assert [expected] * (expected is not None) == [r.value for r in readings]
        assert expected == live_value(measurement)


@given(st.binary(max_size=22), st.booleans())
def test_whatever_was_decoded_is_normalised(frame: bytes, is_late: bool) -> None:
    """Any decodable bytes give readings and problems, never an exception; keys are printable and short."""
    contact = replace(CONTACT, clock_offset=timedelta(days=400)) if is_late else CONTACT
    found: list[Normalised] = []
    with contextlib.suppress(MalformedFrame):
        found.append(blood_pressure_readings(parse_blood_pressure_measurement(frame), contact))
    with contextlib.suppress(MalformedFrame):
        found.append(temperature_readings(parse_temperature_measurement(frame), contact))
    with contextlib.suppress(MalformedFrame):
        found.append(spot_check_readings(parse_plx_spot_check(frame), contact))
    with contextlib.suppress(MalformedFrame):
        found.append(continuous_oximetry_readings(parse_plx_continuous_measurement(frame), contact))
    with contextlib.suppress(MalformedFrame):
        found.append(heart_rate_readings(parse_heart_rate_measurement(frame), contact))
    for normalised in found:
        for reading in normalised.readings:
            assert reading.record_key.isascii()
            assert reading.record_key.isprintable()
            assert " " not in reading.record_key
            assert 1 <= len(reading.record_key) <= 128
