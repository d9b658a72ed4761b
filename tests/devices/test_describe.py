"""Payloads in words: the right names, exact numbers, and no surprise for any bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
import simplejson
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.describe import (
    CHARACTERISTICS,
    SERVICE_DATA_FORMATS,
    UnknownFormat,
    describe_characteristic,
    describe_service_data,
    short_uuid,
)
from gateway.devices.onetouch import ONETOUCH_NOTIFY
from gateway.errors import MalformedFrame
from gateway.sandbox.frames_device import (
    encode_battery_status,
    encode_bond_feature,
    encode_certifications,
    encode_local_time_information,
    encode_pnp_id,
    encode_reference_time,
    encode_registered_user,
)
from gateway.sandbox.peripherals.onetouch import onetouch_frame

SUPPORTED = [
    *("2a08", "2a0f", "2a14", "2a18", "2a19", "2a1c", "2a1d", "2a1e", "2a21", "2a23", "2a24", "2a25", "2a26", "2a27"),
    *("2a28", "2a29", "2a2a", "2a2b", "2a34", "2a35", "2a36", "2a37", "2a38", "2a49", "2a50", "2a51", "2a52", "2a5e"),
    *("2a5f", "2a60", "2a80", "2a85", "2a8a", "2a8c", "2a8e", "2a90", "2a98", "2a99", "2a9a", "2a9b", "2a9c", "2a9d"),
    *("2a9e", "2a9f", "2aa4", "2aa5", "2aa7", "2aa8", "2aa9", "2aaa", "2aab", "2aac", "2b37", "2bed"),
    ONETOUCH_NOTIFY,
]
PARIS = ZoneInfo("Europe/Paris")
STAMP = "2025-02-03T04:05:06"


def described(uuid: str, payload: str, *, has_crc: bool | None = None) -> dict[str, object]:
    """The description of a payload given in hex."""
    return describe_characteristic(uuid, bytes.fromhex(payload), has_crc=has_crc)


def assert_contains(expected: Mapping[str, object], actual: Mapping[str, object]) -> None:
    """Every expected field is there with its exact value and type."""
    assert dict(expected) == {name: actual.get(name, "missing") for name in expected}
    assert [type(expected[name]) for name in expected] == [type(actual[name]) for name in expected]


def test_every_promised_format_is_there() -> None:
    """The registry holds the promised characteristics and service data."""
    assert list(CHARACTERISTICS) == SUPPORTED
    assert list(SERVICE_DATA_FORMATS) == ["181b", "181d", "fcd2"]


def test_description_begins_with_what_it_is() -> None:
    """UUID and name come first, in any spelling of the UUID."""
    for uuid in ("2a18", "0x2A18", "2A18", " 00002a18-0000-1000-8000-00805F9B34FB "):
        description = described(uuid, "0bd204e9070203040506b5ff89b0114000")
        assert list(description.items())[:2] == [("characteristic", "2a18"), ("name", "Glucose Measurement")]


def test_glucose_in_mass_units() -> None:
    """The worked kg/L record: exact mg/dL, user-facing time, bound from the status."""
    assert_contains(
        {
            "sequence_number": 1234,
            "base_time": STAMP,
            "time_offset_min": -75,
            "user_facing_time": "2025-02-03T02:50:06",
            "glucose_kg_l": Decimal("0.00137"),
            "glucose_mg_dl": 137,
            "bound": "below",
            "sample_type": "capillary_whole_blood",
            "sample_location": "finger",
            "status": ["result_below_device_range"],
            "context_follows": False,
        },
        described("2a18", "0bd204e9070203040506b5ff89b0114000"),
    )


def test_glucose_in_molar_units() -> None:
    """The worked mol/L record, with both everyday units."""
    assert_contains(
        {
            "sequence_number": 7,
            "glucose_mol_l": Decimal("0.0058"),
            "glucose_mmol_l": Decimal("5.8"),
            "glucose_mg_dl": Decimal("104.490422"),
            "sample_type": "undetermined_plasma",
            "status": [],
        },
        described("2a18", "060700e90702030405063ac018"),
    )


@pytest.mark.parametrize(
    ("sfloat", "name", "word"),
    [
        ("fe07", "bound", "above"),
        ("0208", "bound", "below"),
        ("ff07", "not_available", "not_a_number"),
        ("0008", "not_available", "not_at_this_resolution"),
        ("0108", "not_available", "reserved"),
    ],
)
def test_glucose_specials(sfloat: str, name: str, word: str) -> None:
    """A special value is named and never shown as a number."""
    description = described("2a18", f"020700e9070203040506{sfloat}11")
    assert word == description[name]
    assert not [field for field in description if field.startswith("glucose_")]


def test_glucose_without_concentration_or_time() -> None:
    """A record that carries a status only says so; an unknown date is null."""
    description = described("2a18", "080700000000000000000100")
    assert_contains({"base_time": None, "user_facing_time": None, "status": ["battery_low"]}, description)
    assert not [field for field in description if field.startswith(("glucose_", "sample_"))]


def test_glucose_context() -> None:
    """The worked context, and one with every field."""
    assert_contains(
        {"sequence_number": 1234, "carbohydrate": "lunch", "carbohydrate_g": 45, "meal": "preprandial"},
        described("2a34", "03d204022dd001"),
    )
    everything = "7f0100" + "012dd0" + "02" + "51" + "840332" + "0119d0" + "46f0"
    assert_contains(
        {
            "carbohydrate": "breakfast",
            "meal": "postprandial",
            "tester": "self",
            "health": "no_health_issues",
            "exercise_duration_s": 900,
            "exercise_intensity_percent": 50,
            "medication": "rapid_acting_insulin",
            "medication_ml": 25,
            "hba1c_percent": 7,
        },
        described("2a34", everything),
    )


def test_glucose_context_medication_mass() -> None:
    """A medication in kilograms is given in milligrams; an exercise overrun is a bound."""
    assert_contains(
        {"medication_mg": 25, "exercise_duration_s": None, "exercise_duration_s_bound": "above"},
        described("2a34", "180100" + "ffff32" + "0119a0"),
    )


def test_record_access() -> None:
    """Counts and results have words."""
    assert_contains({"response": "number_of_records", "count": 5}, described("2a52", "05000500"))
    assert_contains(
        {"request": "report_records", "result": "no_records_found", "result_code": 6}, described("2a52", "06000106")
    )


def test_cgm_records() -> None:
    """Several records of one notification, with and without CRC, told or found out."""
    with_crc = "080065002c018145080068003101e7eb"
    expected = [
        {"time_offset_min": 300, "glucose_mg_dl": 101, "status": []},
        {"time_offset_min": 305, "glucose_mg_dl": 104, "status": []},
    ]
    for has_crc in (True, None):
        assert_contains({"has_crc": True, "records": expected}, described("2aa7", with_crc, has_crc=has_crc))
    with pytest.raises(MalformedFrame):
        described("2aa7", with_crc, has_crc=False)
    trend = {
        "time_offset_min": 725,
        "glucose_mg_dl": 164,
        "trend_mg_dl_min": Decimal("-1.3"),
        "status": ["rate_of_increase_exceeded"],
    }
    for has_crc in (False, None):
        description = described("2aa7", "0921a400d50220f3ff", has_crc=has_crc)
        assert_contains({"has_crc": False, "records": [trend]}, description)


def test_cgm_bound() -> None:
    """A result outside the sensor's range is a bound beside what the sensor sent."""
    records = described("2aa7", "072028000500" + "40")["records"]
    expected = {"time_offset_min": 5, "glucose_mg_dl": 40, "bound": "below", "status": ["result_below_device_range"]}
    assert [expected] == records


def test_cgm_session() -> None:
    """Feature, status, session start and run time have their units."""
    assert_contains(
        {"has_crc": False, "features": ["trend_information"], "sample_type": "interstitial_fluid"},
        described("2aa8", "00800059ffff"),
    )
    assert_contains({"time_offset_min": 300, "status": ["calibration_required"]}, described("2aa9", "2c01000800"))
    assert_contains(
        {"local_time": STAMP, "time_zone_min": 60, "dst_offset_min": 60, "session_start": "2025-02-03T02:05:06+00:00"},
        described("2aaa", "e90702030405060404"),
    )
    assert_contains({"run_time_h": 336}, described("2aab", "5001"))


def test_cgm_control_point() -> None:
    """Each kind of answer has its own words."""
    assert_contains({"response": "communication_interval", "interval_min": 5}, described("2aac", "0305"))
    assert_contains({"alert": "hypo", "level_mg_dl": 55}, described("2aac", "0f3700"))
    assert_contains({"alert": "rate_of_decrease", "level_mg_dl_min": -2}, described("2aac", "15fe0f"))
    assert_contains({"result": "success", "result_code": 1, "request_code": 2}, described("2aac", "1c0201"))
    assert_contains(
        {"response": "calibration", "record_number": 1, "glucose_mg_dl": 120, "next_calibration_min": None},
        described("2aac", "06" + "7800" + "2c01" + "11" + "ffff" + "0100" + "00"),
    )


def test_weight() -> None:
    """Kilograms always, pounds where the scale speaks them, nothing for a failed measurement."""
    assert_contains(
        {
            "mass_kg": Decimal("71.25"),
            "time_stamp": STAMP,
            "user_index": 2,
            "bmi_kg_m2": Decimal("24.3"),
            "height_m": Decimal("1.712"),
        },
        described("2a9d", "0eaa37e907020304050602f300b006"),
    )
    assert_contains(
        {"mass_kg": Decimal("71.350079801"), "mass_lb": Decimal("157.3"), "user_index": None},
        described("2a9d", "01723d"),
    )
    imperial = described("2a9d", "09723df300a302")
    assert_contains({"height_m": Decimal("1.7145"), "height_in": Decimal("67.5")}, imperial)
    failed = described("2a9d", "00ffff")
    assert_contains({"not_available": "unsuccessful"}, failed)
    assert "mass_kg" not in failed


def test_body_composition() -> None:
    """The worked frame, and one in pounds with every field."""
    assert_contains(
        {
            "body_fat_percent": Decimal("25.1"),
            "impedance_ohm": 498,
            "mass_kg": Decimal("71.25"),
            "user_index": 2,
            "is_multiple_packet": False,
        },
        described("2a9c", "0606fb00e9070203040506027413aa37"),
    )
    everything = described("2a9c", "f90b" + "fb00" + "701b" + "9001" + "1027" * 4 + "7413" + "a302")
    assert_contains(
        {
            "basal_metabolism_kj": 7024,
            "muscle_percent": 40,
            "muscle_mass_lb": 100,
            "muscle_mass_kg": Decimal("45.359237"),
            "fat_free_mass_lb": 100,
            "soft_lean_mass_lb": 100,
            "body_water_mass_lb": 100,
            "impedance_ohm": 498,
            "height_in": Decimal("67.5"),
        },
        everything,
    )


def test_features_and_user_data() -> None:
    """Features, user control, counters and indices."""
    assert_contains(
        {
            "features": ["time_stamp", "bmi"],
            "mass_resolution_kg": Decimal("0.005"),
            "height_resolution_m": Decimal("0.001"),
        },
        described("2a9e", "bd010000"),
    )
    assert_contains({"features": ["impedance", "weight"]}, described("2a9b", "00030000"))
    assert_contains({"request": "consent", "result": "user_not_authorized"}, described("2a9f", "200205"))
    assert_contains({"request": "register_new_user", "user_index": 7}, described("2a9f", "20010107"))
    assert_contains({"database_change_increment": 258}, described("2a99", "02010000"))
    assert_contains({"user_index": None}, described("2a9a", "ff"))


def test_clock_information_battery() -> None:
    """Clock, identity and battery."""
    assert_contains(
        {"local_time": STAMP, "fraction_s": Decimal("0.5"), "day_of_week": 1, "adjust_reason": ["manual"]},
        described("2a2b", "e9070203040506018001"),
    )
    assert_contains({"time_zone_min": 60, "dst_offset_min": 60, "utc_offset_min": 120}, described("2a0f", "0404"))
    assert_contains({"date_time": STAMP}, described("2a08", "e9070203040506"))
    assert_contains({"battery_percent": 87}, described("2a19", "57"))
    assert_contains({"system_id": "123456FFFE9ABCDE"}, described("2a23", "debc9afeff563412"))
    assert_contains({"manufacturer": "Roche"}, described("2a29", b"Roche\0\xff".hex()))
    assert_contains({"vendor_source": "bluetooth_sig", "vendor_id": 0x170}, described("2a50", "01700101001302"))


def test_facts_users_and_bonds() -> None:
    """What a device says about itself, its users and its bonds, from the virtual devices' own octets."""
    for uuid, frame, expected in (
        ("2a14", encode_reference_time(1, 8, 2, 3), {"source": "network_time_protocol", "accuracy_s": 1}),
        ("2a14", encode_reference_time(9, 255, 255, 255), {"source": None, "hours_since_update": None}),
        ("2a0f", encode_local_time_information(datetime(2025, 6, 2, 12, tzinfo=PARIS)), {"utc_offset_min": 120}),
        ("2a50", encode_pnp_id(1, 0x0611, 7, 0x0213), {"vendor_source": "bluetooth_sig", "vendor_id": 0x0611}),
        (
            "2a2a",
            encode_certifications([(2, 1, b"\x01\x02"), (9, 0, b"")]),
            {
                "certifications": [
                    {"body": "continua", "structure": 1, "data": "0102"},
                    {"body": "unknown_9", "structure": 0, "data": ""},
                ]
            },
        ),
        ("2a80", b"\x37", {"age_a": 55}),
        ("2a85", bytes.fromhex("b2070203"), {"date_of_birth": "1970-02-03", "year": 1970}),
        ("2a8a", b"Camille", {"first_name": "Camille"}),
        ("2a8c", b"\x01", {"gender": "female"}),
        ("2a8e", b"\xa8\x00", {"height_cm": 168}),
        ("2a90", b"Martin\0x", {"last_name": "Martin"}),
        ("2a98", b"\xaa\x37", {"mass_kg": Decimal("71.25")}),
        ("2aa4", b"\x03", {"request": "delete_own_bond_le", "has_authorization_code": False}),
        ("2aa5", encode_bond_feature(0x10), {"features": ["delete_own_bond_le"]}),
        ("2b37", encode_registered_user(7, "Camille")[0], {"user_index": 7, "user_name": "Camille"}),
        ("2b37", encode_registered_user(7, "x" * 30)[1], {"is_first": False, "is_last": True, "counter": 1}),
        ("2bed", encode_battery_status(40, level=2), {"battery_percent": 40, "charge_level": "low", "is_wired": False}),
        ("2bed", bytes.fromhex("04c37005"), {"charge_level": "good", "needs_service": True, "is_faulty": True}),
    ):
        assert_contains(expected, describe_characteristic(uuid, frame))


@pytest.mark.parametrize("payload", ["0001", "00010000", "0001000401000005", "00010005010000010000"])
def test_certifications_whose_lengths_do_not_fit(payload: str) -> None:
    """The list says how long it is; anything else is malformed."""
    with pytest.raises(MalformedFrame):
        described("2a2a", payload)


def test_service_data() -> None:
    """The worked advertisements of both Xiaomi scales, in any spelling of the UUID."""
    first = describe_service_data("0x181D", bytes.fromhex("224632e9070203040506"))
    assert list(first)[:2] == ["service_data", "name"]
    assert_contains({"mass_kg": Decimal("64.35"), "is_stable": True, "is_removed": False, "time_stamp": STAMP}, first)
    second = describe_service_data("181b", bytes.fromhex("0226e9070203040506e7014632"))
    assert_contains({"service_data": "181b", "mass_kg": Decimal("64.35"), "impedance_ohm": 487}, second)
    bthome = describe_service_data("fcd2", bytes.fromhex("40002a015f062319"))
    assert_contains({"packet_id": 42, "battery_percent": 95, "mass_kg": Decimal("64.35")}, bthome)
    catty = describe_service_data("181d", bytes.fromhex("304632e9070203040506"))
    assert_contains({"mass_kg": Decimal("64.35"), "mass_jin": Decimal("128.7")}, catty)


def test_onetouch_packets() -> None:
    """A record, a count, and a piece of a longer frame."""
    record = onetouch_frame(b"\x06" + bytes.fromhex("bd5101007b000001000000"))
    described = describe_characteristic(ONETOUCH_NOTIFY.upper(), b"\x01" + record)
    expected = {"result": "ok", "time": "2000-01-02T00:01:01", "glucose_mg_dl": 123, "is_control_solution": False}
    assert_contains(expected | {"mark": 1, "error": 0}, described)
    count, refusal = (b"\x01" + onetouch_frame(payload) for payload in (b"\x06\x05\0", b"\x07"))
    assert_contains({"record_count": 5}, describe_characteristic(ONETOUCH_NOTIFY, count))
    assert_contains({"packet": "further", "number": 1}, describe_characteristic(ONETOUCH_NOTIFY, b"\x41abc"))
    assert_contains({"result": "not_allowed"}, describe_characteristic(ONETOUCH_NOTIFY, refusal))


@pytest.mark.parametrize("uuid", ["2a3f", "zz", "", "0000fe95-0000-1000-8000-00805f9b34fb", "2a18" * 40])
def test_unknown_format(uuid: str) -> None:
    """An unknown UUID is refused with the list of known ones."""
    with pytest.raises(UnknownFormat) as caught:
        describe_characteristic(uuid, b"")
    assert caught.value.known == tuple(SUPPORTED)
    assert "2a18" in str(caught.value)
    with pytest.raises(LookupError):
        describe_service_data(uuid, b"")


def test_short_uuid() -> None:
    """Only UUIDs built on the Bluetooth base have a short form."""
    assert short_uuid("af9df7a1-e595-11e3-96b4-0002a5d5c51b") is None
    assert short_uuid("00002AA7-0000-1000-8000-00805f9b34fb") == "2aa7"


@given(st.sampled_from(SUPPORTED), st.binary(max_size=40), st.sampled_from([True, False, None]))
def test_any_bytes_describe_or_are_malformed(uuid: str, payload: bytes, has_crc: bool | None) -> None:
    """Any payload gives JSON or MalformedFrame."""
    with contextlib.suppress(MalformedFrame):
        simplejson.dumps(describe_characteristic(uuid, payload, has_crc=has_crc), use_decimal=True, allow_nan=False)


@given(st.sampled_from(["181b", "181d", "fcd2"]), st.binary(min_size=8, max_size=14))
def test_any_service_data_describes_or_is_malformed(uuid: str, payload: bytes) -> None:
    """Any service data gives JSON or MalformedFrame."""
    with contextlib.suppress(MalformedFrame):
        simplejson.dumps(describe_service_data(uuid, payload), use_decimal=True, allow_nan=False)


@given(st.text(max_size=80), st.binary(max_size=4))
def test_any_uuid_is_known_or_refused(uuid: str, payload: bytes) -> None:
    """Any text as UUID gives a description, MalformedFrame or UnknownFormat."""
    for describe in (describe_characteristic, describe_service_data):
        with contextlib.suppress(MalformedFrame, UnknownFormat):
            describe(uuid, payload)
