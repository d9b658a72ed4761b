"""Decoders of cuffs, belts, thermometers and oximeters: total, exact, and the opposite of the sandbox's encoders."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.blood_pressure import (
    BLOOD_PRESSURE_STATUS,
    parse_blood_pressure_feature,
    parse_blood_pressure_measurement,
    parse_intermediate_cuff_pressure,
)
from gateway.devices.heart_rate import SensorContact, parse_body_sensor_location, parse_heart_rate_measurement
from gateway.devices.ieee11073 import FloatSpecial, SfloatSpecial
from gateway.devices.pulse_oximeter import (
    DEVICE_AND_SENSOR_STATUS,
    MEASUREMENT_STATUS,
    parse_plx_continuous_measurement,
    parse_plx_features,
    parse_plx_spot_check,
)
from gateway.devices.thermometer import (
    TEMPERATURE_SITES,
    parse_intermediate_temperature,
    parse_measurement_interval,
    parse_temperature_measurement,
    parse_temperature_type,
)
from gateway.errors import MalformedFrame
from gateway.model import Unit
from gateway.sandbox import frames_vital_signs as encode
from gateway.sandbox.records import SfloatSpecial as Sent
from gateway.sandbox.records_vital_signs import CuffReading, HeartBeat, OximetrySample, SpotCheck, Temperature

STAMP = datetime(2025, 2, 3, 4, 5, 6)  # noqa: DTZ001 -- a device's own clock has no zone
PARSERS: list[Callable[[bytes], object]] = [
    parse_blood_pressure_measurement,
    parse_intermediate_cuff_pressure,
    parse_blood_pressure_feature,
    parse_heart_rate_measurement,
    parse_body_sensor_location,
    parse_temperature_measurement,
    parse_intermediate_temperature,
    parse_temperature_type,
    parse_measurement_interval,
    parse_plx_spot_check,
    parse_plx_continuous_measurement,
    parse_plx_features,
]
EXACT = [
    (parse_blood_pressure_measurement, {0x01: 0, 0x02: 7, 0x04: 2, 0x08: 1, 0x10: 2}, 7),
    (parse_intermediate_cuff_pressure, {0x01: 0, 0x02: 7, 0x04: 2, 0x08: 1, 0x10: 2}, 7),
    (parse_temperature_measurement, {0x01: 0, 0x02: 7, 0x04: 1}, 5),
    (parse_plx_spot_check, {0x01: 7, 0x02: 2, 0x04: 3, 0x08: 2, 0x10: 0}, 5),
    (parse_plx_continuous_measurement, {0x01: 4, 0x02: 4, 0x04: 2, 0x08: 3, 0x10: 2}, 5),
]


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(frame=st.binary(max_size=24))
def test_any_frame_parses_or_is_malformed(parse: Callable[[bytes], object], frame: bytes) -> None:
    """No byte string can make a parser raise anything else."""
    with contextlib.suppress(MalformedFrame):
        parse(frame)


@pytest.mark.parametrize(("parse", "sizes", "least"), EXACT, ids=lambda value: getattr(value, "__name__", ""))
@given(data=st.data())
def test_length_is_what_the_flags_say(
    parse: Callable[[bytes], object], sizes: dict[int, int], least: int, data: st.DataObject
) -> None:
    """For every flag octet, reserved bits included, exactly one length is taken."""
    flags = data.draw(st.integers(0, 255))
    length = least + sum(size for bit, size in sizes.items() if flags & bit)
    frame = bytes((flags,)) + data.draw(st.binary(min_size=length - 1, max_size=length - 1))
    parse(frame)
    for wrong in (frame[:-1], frame + b"\x00"):
        with pytest.raises(MalformedFrame):
            parse(wrong)


# --- blood pressure -------------------------------------------------------------------------------------------------


def test_blood_pressure_worked_example() -> None:
    """120/80 (93) mmHg, 72 beats, user 1, irregular pulse above the range, octet for octet."""
    measurement = parse_blood_pressure_measurement(bytes.fromhex("1e 7800 5000 5d00 e9070203040506 4800 01 0c00"))
    assert (Decimal(120), Decimal(80), Decimal(93), Unit.MMHG) == (
        measurement.systolic,
        measurement.diastolic,
        measurement.mean,
        measurement.unit,
    )
    assert (STAMP, Decimal(72), 1) == (measurement.time_stamp, measurement.pulse_per_min, measurement.user_index)
    assert ("irregular_pulse", "pulse_rate_above_range") == measurement.status
    assert (0x78, 0x50, 0x5D) == measurement.raw


@pytest.mark.parametrize("is_kpa", [False, True])
@pytest.mark.parametrize("present", list(itertools.product((False, True), repeat=4)))
def test_blood_pressure_round_trip(is_kpa: bool, present: tuple[bool, ...]) -> None:
    """Whatever is sent or left out, the decoder says what the encoder was given."""
    has_time, has_pulse, has_user, has_status = present
    sent = CuffReading(
        Decimal("16.0") if is_kpa else Decimal(120),
        Decimal("10.7") if is_kpa else Decimal(80),
        Decimal("12.4") if is_kpa else Decimal(93),
        Unit.KPA if is_kpa else Unit.MMHG,
        STAMP if has_time else None,
        Decimal("71.5") if has_pulse else None,
        3 if has_user else None,
        0x0023 if has_status else None,
    )
    heard = parse_blood_pressure_measurement(encode.encode_blood_pressure(sent))
    assert (sent.systolic, sent.diastolic, sent.mean, sent.unit, sent.time_stamp, sent.pulse_per_min, sent.user) == (
        heard.systolic,
        heard.diastolic,
        heard.mean,
        heard.unit,
        heard.time_stamp,
        heard.pulse_per_min,
        heard.user_index,
    )
    assert has_time == heard.is_time_sent
    assert (("body_movement", "cuff_too_loose", "improper_position") if has_status else ()) == heard.status
    cuff = parse_intermediate_cuff_pressure(encode.encode_cuff_pressure(sent))
    assert (sent.systolic, sent.unit, sent.time_stamp, heard.status) == (
        cuff.pressure,
        cuff.unit,
        cuff.time_stamp,
        cuff.status,
    )


def test_every_status_word_of_a_cuff() -> None:
    """Bits 3 and 4 are one number; its fourth value and unknown bits are kept as reserved."""
    words: set[str] = set()
    for status in range(0x40):
        heard = parse_blood_pressure_measurement(
            encode.encode_blood_pressure(CuffReading(Decimal(120), Decimal(80), status=status))
        )
        words.update(heard.status)
        assert (0x18 if status & 0x18 == 0x18 else 0) == heard.reserved_status
    assert set(BLOOD_PRESSURE_STATUS) == words
    strange = encode.encode_blood_pressure(CuffReading(Decimal(120), Decimal(80), status=0x8040))
    assert 0x8040 == parse_blood_pressure_measurement(strange).reserved_status


def test_failed_measurement_is_three_times_no_number() -> None:
    """NaN in all three is a failure; NaN in the mean alone is how many cuffs leave it out."""
    failed = parse_blood_pressure_measurement(encode.encode_blood_pressure(CuffReading(None, None)))
    assert failed.is_unsuccessful
    without_mean = parse_blood_pressure_measurement(
        encode.encode_blood_pressure(CuffReading(Decimal(120), Decimal(80)))
    )
    assert (False, SfloatSpecial.NAN) == (without_mean.is_unsuccessful, without_mean.mean)


@pytest.mark.parametrize("special", list(Sent))
def test_specials_of_a_pressure_are_data(special: Sent) -> None:
    """Each of the five words comes out as what it says."""
    heard = parse_blood_pressure_measurement(encode.encode_blood_pressure(CuffReading(special, Decimal(80))))
    assert SfloatSpecial[special.name] is heard.systolic


def test_unknown_user_and_impossible_time() -> None:
    """User 255 is nobody, and a date that does not exist is no time, though one was sent."""
    frame = bytes.fromhex("0a 7800 5000 5d00 0000 00 00 00 00 00 ff")
    heard = parse_blood_pressure_measurement(frame)
    assert (None, None, True) == (heard.user_index, heard.time_stamp, heard.is_time_sent)


def test_blood_pressure_feature() -> None:
    """Bits in words; all nine that have a meaning."""
    assert ("body_movement_detection", "multiple_bonds") == parse_blood_pressure_feature(b"\x21\x00").supported
    assert 9 == len(parse_blood_pressure_feature(b"\xff\xff").supported)


# --- heart rate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0, 72, 255, 256, 300])
@pytest.mark.parametrize("contact", [None, False, True])
@pytest.mark.parametrize("energy", [None, 0, 65535])
@pytest.mark.parametrize("intervals", [(), (1024,), (853, 0, 65535)])
def test_heart_rate_round_trip(rate: int, contact: bool | None, energy: int | None, intervals: tuple[int, ...]) -> None:
    """Narrow and wide rates, contact, energy and any number of intervals."""
    heard = parse_heart_rate_measurement(encode.encode_heart_rate(HeartBeat(rate, contact, energy, intervals)))
    expected = {None: SensorContact.NOT_SUPPORTED, False: SensorContact.NOT_DETECTED, True: SensorContact.DETECTED}
    assert (rate, expected[contact], energy, intervals) == (
        heard.heart_rate_per_min,
        heard.contact,
        heard.energy_kj,
        heard.rr_intervals_1024,
    )
    assert (rate > 0 and contact is not False) == heard.is_usable


def test_heart_rate_worked_example() -> None:
    """72 beats with contact, 10 kJ, one interval of 853/1024 s."""
    heard = parse_heart_rate_measurement(bytes.fromhex("1e 48 0a00 5503"))
    assert (72, SensorContact.DETECTED, 10, (853,)) == (
        heard.heart_rate_per_min,
        heard.contact,
        heard.energy_kj,
        heard.rr_intervals_1024,
    )


@pytest.mark.parametrize("frame", ["", "00", "01 48", "10 48 55", "00 48 5503", "08 48 0a"])
def test_half_a_heart_rate_is_malformed(frame: str) -> None:
    """Missing octets, half an interval, and octets that no flag announces."""
    with pytest.raises(MalformedFrame):
        parse_heart_rate_measurement(bytes.fromhex(frame))


def test_body_sensor_locations() -> None:
    """Seven places; other codes mean nothing."""
    assert ["other", "chest", "wrist", "finger", "hand", "ear_lobe", "foot", None] == [
        parse_body_sensor_location(bytes((code,))) for code in range(8)
    ]


# --- thermometer ----------------------------------------------------------------------------------------------------


def test_temperature_worked_example() -> None:
    """37.2 Cel in the ear, and 99.0 degF without more."""
    heard = parse_temperature_measurement(bytes.fromhex("06 740100ff e9070203040506 03"))
    assert (Decimal("37.2"), Unit.CELSIUS, STAMP, "ear") == (
        heard.temperature,
        heard.unit,
        heard.time_stamp,
        heard.site,
    )
    assert (Decimal("99.0"), Unit.FAHRENHEIT) == (
        (other := parse_temperature_measurement(bytes.fromhex("01 de0300ff"))).temperature,
        other.unit,
    )


@pytest.mark.parametrize("unit", [Unit.CELSIUS, Unit.FAHRENHEIT])
@pytest.mark.parametrize("time_stamp", [None, STAMP])
@pytest.mark.parametrize("site", [None, *TEMPERATURE_SITES, 0, 10, 255])
def test_temperature_round_trip(unit: Unit, time_stamp: datetime | None, site: int | None) -> None:
    """Both units, time and every type; a reserved type is no place."""
    sent = Temperature(Decimal("36.84"), unit, time_stamp, site)
    frame = encode.encode_temperature(sent)
    heard = parse_temperature_measurement(frame)
    assert (sent.temperature, unit, time_stamp, time_stamp is not None) == (
        heard.temperature,
        heard.unit,
        heard.time_stamp,
        heard.is_time_sent,
    )
    assert (None if site is None else TEMPERATURE_SITES.get(site)) == heard.site
    assert heard == parse_intermediate_temperature(frame)


@pytest.mark.parametrize("special", list(FloatSpecial))
def test_specials_of_a_temperature_are_data(special: FloatSpecial) -> None:
    """Each of the five words comes out as what it says."""
    heard = parse_temperature_measurement(b"\x00" + special.value.to_bytes(4, "little"))
    assert special is heard.temperature


def test_type_and_interval() -> None:
    """The characteristics around the measurement."""
    assert ["mouth", None] == [parse_temperature_type(b"\x06"), parse_temperature_type(b"\x0a")]
    assert [0, 3600] == [parse_measurement_interval(b"\x00\x00"), parse_measurement_interval(b"\x10\x0e")]


# --- oximeter -------------------------------------------------------------------------------------------------------


def test_spot_check_worked_example() -> None:
    """97 %, 68 beats, validated, low perfusion, amplitude 2.5 %, clock not set."""
    heard = parse_plx_spot_check(bytes.fromhex("1f 6100 4400 e9070203040506 8000 200000 19f0"))
    assert (Decimal(97), Decimal(68), STAMP, True) == (
        heard.values.saturation_percent,
        heard.values.pulse_per_min,
        heard.time_stamp,
        heard.is_clock_unset,
    )
    assert (("validated_data",), ("low_perfusion",), Decimal("2.5")) == (
        heard.measurement_status,
        heard.device_status,
        heard.pulse_amplitude_percent,
    )


@pytest.mark.parametrize("present", list(itertools.product((False, True), repeat=5)))
def test_spot_check_round_trip(present: tuple[bool, ...]) -> None:
    """Every combination of fields and of the clock flag."""
    has_time, has_status, has_device, has_amplitude, is_clock_unset = present
    sent = SpotCheck(
        Decimal("96.5"),
        Decimal(61),
        STAMP if has_time else None,
        0x8020 if has_status else None,
        0x8001 if has_device else None,
        Decimal("1.2") if has_amplitude else None,
        is_clock_unset,
    )
    heard = parse_plx_spot_check(encode.encode_spot_check(sent))
    assert (sent.saturation_percent, sent.pulse_per_min, sent.time_stamp, sent.amplitude_percent, is_clock_unset) == (
        heard.values.saturation_percent,
        heard.values.pulse_per_min,
        heard.time_stamp,
        heard.pulse_amplitude_percent,
        heard.is_clock_unset,
    )
    assert (("measurement_ongoing", "invalid_measurement") if has_status else None) == heard.measurement_status
    assert (("extended_display_update", "sensor_disconnected") if has_device else None) == heard.device_status
    stored = parse_plx_spot_check(encode.encode_spot_check(sent, from_memory=True))
    assert has_status == ("data_from_storage" in (stored.measurement_status or ()))


@pytest.mark.parametrize("present", list(itertools.product((False, True), repeat=5)))
def test_continuous_round_trip(present: tuple[bool, ...]) -> None:
    """Every combination of pairs and fields."""
    has_fast, has_slow, has_status, has_device, has_amplitude = present
    sent = OximetrySample(
        Decimal(95),
        Decimal(70),
        (Decimal(94), Decimal(71)) if has_fast else None,
        (Decimal(96), Decimal(69)) if has_slow else None,
        0x0100 if has_status else None,
        0 if has_device else None,
        Decimal(3) if has_amplitude else None,
    )
    heard = parse_plx_continuous_measurement(encode.encode_continuous_oximetry(sent))
    pairs = [
        None if pair is None else (pair.saturation_percent, pair.pulse_per_min)
        for pair in (heard.values, heard.fast, heard.slow)
    ]
    assert [(Decimal(95), Decimal(70)), sent.fast, sent.slow] == pairs
    assert (("fully_qualified_data",) if has_status else None) == heard.measurement_status
    assert (() if has_device else None) == heard.device_status
    assert sent.amplitude_percent == heard.pulse_amplitude_percent


def test_settling_values_are_specials() -> None:
    """While the sensor settles it says NaN, not a number."""
    heard = parse_plx_continuous_measurement(encode.encode_continuous_oximetry(OximetrySample(None, None)))
    assert (SfloatSpecial.NAN, SfloatSpecial.NAN) == (heard.values.saturation_percent, heard.values.pulse_per_min)


def test_every_status_bit_of_an_oximeter() -> None:
    """Each bit has its word; those without are kept apart."""
    for bit in range(16):
        heard = parse_plx_spot_check(encode.encode_spot_check(SpotCheck(None, None, measurement_status=1 << bit)))
        word = MEASUREMENT_STATUS.get(bit)
        assert ((word,) if word else (), 0 if word else 1 << bit) == (heard.measurement_status, heard.reserved_status)
    for bit in range(24):
        heard = parse_plx_spot_check(encode.encode_spot_check(SpotCheck(None, None, device_status=1 << bit)))
        word = DEVICE_AND_SENSOR_STATUS.get(bit)
        assert ((word,) if word else (), 0 if word else 1 << bit + 16) == (heard.device_status, heard.reserved_status)


@pytest.mark.parametrize("measurement", [None, 0x0180])
@pytest.mark.parametrize("device", [None, 0x000020])
def test_features_round_trip(measurement: int | None, device: int | None) -> None:
    """The two support fields are there when their bits say so."""
    heard = parse_plx_features(encode.encode_plx_features(0x000C, measurement, device))
    assert {"spot_check_storage", "spot_check_time_stamp"} <= set(heard.supported)
    assert (None if measurement is None else ("validated_data", "fully_qualified_data")) == heard.measurement_status
    assert (None if device is None else ("low_perfusion",)) == heard.device_status
