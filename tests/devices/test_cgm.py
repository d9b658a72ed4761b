"""Continuous glucose: measurement, feature, status, session start and run time, with and without CRC."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from encoders_glucose import encode_cgm_record, reference_crc
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.cgm import (
    CGM_FEATURES,
    CGM_STATUS,
    CgmFeature,
    CgmRecord,
    CgmStatus,
    SessionStart,
    parse_cgm_feature,
    parse_cgm_measurement,
    parse_cgm_status,
    parse_session_run_time,
    parse_session_start_time,
    write_session_start_time,
)
from gateway.devices.ieee11073 import SfloatSpecial
from gateway.errors import MalformedFrame

FULL = CgmRecord(
    time_offset_min=725,
    glucose_mg_dl=Decimal(164),
    trend_mg_dl_min=Decimal("-1.3"),
    quality_percent=Decimal("99.5"),
    status=("battery_low", "calibration_recommended", "rate_of_increase_exceeded"),
)
PARIS = ZoneInfo("Europe/Paris")
EXAMPLE_START = "e90702030405060404"


def _said(flags: int) -> CgmRecord:
    """What remains of FULL when only the fields of `flags` are sent."""
    octets = (("battery_low", 0x80), ("calibration_recommended", 0x40), ("rate_of_increase_exceeded", 0x20))
    return replace(
        FULL,
        trend_mg_dl_min=FULL.trend_mg_dl_min if flags & 0x01 else None,
        quality_percent=FULL.quality_percent if flags & 0x02 else None,
        status=tuple(name for name, flag in octets if flags & flag),
    )


def test_worked_example_of_two_records_with_crc() -> None:
    """One notification may hold several records, each under its own CRC."""
    frame = bytes.fromhex("080065002c018145" + "080068003101e7eb")
    expected = (CgmRecord(300, Decimal(101)), CgmRecord(305, Decimal(104)))
    assert expected == parse_cgm_measurement(frame, has_crc=True)


def test_worked_example_with_warning_and_trend() -> None:
    """A falling trend beside a warning of rising: both are given, neither is reconciled."""
    frame = bytes.fromhex("0921a400d50220f3ff")
    expected = CgmRecord(725, Decimal(164), Decimal("-1.3"), None, ("rate_of_increase_exceeded",))
    assert (expected,) == parse_cgm_measurement(frame, has_crc=False)


@pytest.mark.parametrize("has_crc", [False, True])
@pytest.mark.parametrize("flags", range(256))
def test_round_trip_over_all_flags(flags: int, has_crc: bool) -> None:
    """Every combination of flags gives exactly the announced fields at exactly one length, with CRC and without."""
    frame = encode_cgm_record(FULL, flags, has_crc=has_crc)
    assert (_said(flags),) == parse_cgm_measurement(frame, has_crc=has_crc)
    for wrong in (*(frame[:end] for end in range(len(frame))), frame + b"\x00"):
        with pytest.raises(MalformedFrame):
            parse_cgm_measurement(wrong, has_crc=has_crc)
    with pytest.raises(MalformedFrame):
        parse_cgm_measurement(frame, has_crc=not has_crc)


@pytest.mark.parametrize("bit", range(24))
def test_each_status_bit(bit: int) -> None:
    """The octets come as status, calibration/temperature, warning; each bit has its own name, reserved bits none."""
    frame = bytes((9, 0xE0)) + bytes.fromhex("64000500") + (1 << bit).to_bytes(3, "little")
    (record,) = parse_cgm_measurement(frame, has_crc=False)
    name = CGM_STATUS[bit]
    assert (() if name is None else (name,)) == record.status


@given(
    st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 2047), st.integers(0, 255)), max_size=8), st.booleans()
)
def test_records_concatenate(said: list[tuple[int, int, int]], has_crc: bool) -> None:
    """k records in one notification are k records, and cutting the last one anywhere is malformed."""
    numbers = [
        (offset, Decimal(glucose) if glucose < 2046 else SfloatSpecial.NAN, flags) for offset, glucose, flags in said
    ]
    records = [
        (replace(FULL, time_offset_min=offset, glucose_mg_dl=glucose), flags) for offset, glucose, flags in numbers
    ]
    octets = [encode_cgm_record(record, flags, has_crc=has_crc) for record, flags in records]
    frame = b"".join(octets)
    if not records:
        with pytest.raises(MalformedFrame):
            parse_cgm_measurement(frame, has_crc=has_crc)
        return
    found = parse_cgm_measurement(frame, has_crc=has_crc)
    assert [(r.time_offset_min, r.glucose_mg_dl) for r, _ in records] == [
        (r.time_offset_min, r.glucose_mg_dl) for r in found
    ]
    for cut in range(1, len(octets[-1])):
        with pytest.raises(MalformedFrame):
            parse_cgm_measurement(frame[:-cut], has_crc=has_crc)


@pytest.mark.parametrize("flags", [0x00, 0x03, 0xE3])
def test_any_bit_flip_under_crc_is_detected(flags: int) -> None:
    """No single wrong bit passes, in the size, the flags, the values or the CRC."""
    frame = encode_cgm_record(FULL, flags, has_crc=True)
    for position in range(len(frame) * 8):
        wrong = bytearray(frame)
        wrong[position // 8] ^= 1 << position % 8
        with pytest.raises(MalformedFrame):
            parse_cgm_measurement(bytes(wrong), has_crc=True)


@pytest.mark.parametrize(
    "frame", ["", "00", "0500640005", "050064000500", "0600640005", "07006400050000", "06006400050000"]
)
def test_sizes_that_lie(frame: str) -> None:
    """A size below six, beyond the end, or other than the flags explain is malformed."""
    with pytest.raises(MalformedFrame):
        parse_cgm_measurement(bytes.fromhex(frame), has_crc=False)


@given(st.binary(max_size=40), st.booleans())
def test_any_octets_are_a_value_or_malformed(frame: bytes, has_crc: bool) -> None:
    """No byte string makes a parser raise anything but MalformedFrame."""
    with contextlib.suppress(MalformedFrame):
        parse_cgm_measurement(frame, has_crc=has_crc)
    with contextlib.suppress(MalformedFrame):
        parse_cgm_feature(frame)
    with contextlib.suppress(MalformedFrame):
        parse_cgm_status(frame, has_crc=has_crc)
    with contextlib.suppress(MalformedFrame):
        session = parse_session_start_time(frame, has_crc=has_crc)
        _ = (session.start, session.start_in(PARIS))
    with contextlib.suppress(MalformedFrame):
        parse_session_run_time(frame, has_crc=has_crc)


@given(st.binary(min_size=9, max_size=9))
def test_any_session_start_has_an_instant_or_none(frame: bytes) -> None:
    """Whatever date, zone and daylight saving are sent, the start is an aware UTC instant or None."""
    session = parse_session_start_time(frame, has_crc=False)
    for start in (session.start, session.start_in(PARIS)):
        assert start is None or start.tzinfo is UTC


def test_feature_with_crc() -> None:
    """The feature names what the sensor does, and its own CRC is verified when it announces one."""
    body = bytes.fromhex("009001" + "59")
    expected = CgmFeature(("e2e_crc", "quality", "trend_information"), "interstitial_fluid", "subcutaneous_tissue")
    found = parse_cgm_feature(body + reference_crc(body))
    assert expected == found
    assert found.has_crc
    for position in range(48):
        wrong = bytearray(body + reference_crc(body))
        wrong[position // 8] ^= 1 << position % 8
        with pytest.raises(MalformedFrame):
            parse_cgm_feature(bytes(wrong))


def test_feature_without_crc() -> None:
    """A sensor without CRC fills the field with 0xFFFF; every feature bit has its name."""
    found = parse_cgm_feature(bytes.fromhex("ffefff59ffff"))
    assert tuple(sorted(set(CGM_FEATURES) - {"e2e_crc"})) == found.features
    assert not found.has_crc


@pytest.mark.parametrize("frame", ["", "00800059", "00800059ff", "00800059ffff00", "008000590000"])
def test_malformed_features(frame: str) -> None:
    """The feature has six octets, the last two of which mean something."""
    with pytest.raises(MalformedFrame):
        parse_cgm_feature(bytes.fromhex(frame))


def test_status() -> None:
    """The status tells the minute of the session and the bits of now."""
    body = bytes.fromhex("2c01" + "010180")
    expected = CgmStatus(300, ("result_above_device_range", "session_stopped", "time_synchronisation_required"))
    assert expected == parse_cgm_status(body, has_crc=False)
    assert expected == parse_cgm_status(body + reference_crc(body), has_crc=True)


def test_run_time() -> None:
    """Ten days are 240 hours."""
    body = (expected := 240).to_bytes(2, "little")
    assert expected == parse_session_run_time(body, has_crc=False)
    assert expected == parse_session_run_time(body + reference_crc(body), has_crc=True)


@pytest.mark.parametrize("length", [0, 1, 2, 4, 6, 8, 10, 12])
def test_fixed_lengths(length: int) -> None:
    """Status, start and run time have one length each, and the CRC is neither optional nor free."""
    frame = b"\x01" * length
    if length != 5:
        with pytest.raises(MalformedFrame):
            parse_cgm_status(frame, has_crc=False)
    if length != 9:
        with pytest.raises(MalformedFrame):
            parse_session_start_time(frame, has_crc=False)
    if length != 2:
        with pytest.raises(MalformedFrame):
            parse_session_run_time(frame, has_crc=False)
    for parse in (parse_cgm_status, parse_session_start_time, parse_session_run_time):
        with pytest.raises(MalformedFrame):
            parse(frame, has_crc=True)


def test_session_start_worked_example() -> None:
    """Local time minus zone minus daylight saving is the instant."""
    session = parse_session_start_time(bytes.fromhex(EXAMPLE_START), has_crc=False)
    expected = SessionStart(True, datetime(2025, 2, 3, 4, 5, 6), 60, 60)  # noqa: DTZ001
    assert expected == session
    assert datetime(2025, 2, 3, 2, 5, 6, tzinfo=UTC) == session.start


@pytest.mark.parametrize(
    ("zone_and_dst", "minutes_east"),
    [("0400", 60), ("0404", 120), ("d000", -720), ("3800", 840), ("1602", 360), ("ec08", -180), ("1700", 345)],
)
def test_quarter_hours_and_daylight_saving(zone_and_dst: str, minutes_east: int) -> None:
    """Zones count signed quarter hours; daylight saving adds 0, 30, 60 or 120 minutes."""
    session = parse_session_start_time(bytes.fromhex("e9070203040506" + zone_and_dst), has_crc=False)
    local = datetime(2025, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert local - timedelta(minutes=minutes_east) == session.start


@pytest.mark.parametrize("zone_and_dst", ["8000", "04ff", "80ff", "3900", "cf00", "0403"])
def test_unknown_zone_falls_back_on_the_owner(zone_and_dst: str) -> None:
    """Without a complete zone there is no instant by itself, but there is one in the owner's zone."""
    session = parse_session_start_time(bytes.fromhex("e9070703040506" + zone_and_dst), has_crc=False)
    assert session.start is None
    assert datetime(2025, 7, 3, 2, 5, 6, tzinfo=UTC) == session.start_in(PARIS)


def test_never_set_and_impossible_starts() -> None:
    """All zero is "never set"; an impossible date is set, and has no instant."""
    never = parse_session_start_time(bytes(9), has_crc=False)
    expected = SessionStart(is_set=False, local_time=None, zone_offset_min=0, dst_offset_min=0)
    assert expected == never
    impossible = parse_session_start_time(bytes.fromhex("e907021f0000000400"), has_crc=False)
    expected = SessionStart(is_set=True, local_time=None, zone_offset_min=60, dst_offset_min=0)
    assert expected == impossible
    for session in (never, impossible):
        assert session.start is None
        assert session.start_in(PARIS) is None


@pytest.mark.parametrize("has_crc", [False, True])
@pytest.mark.parametrize(
    "zone", ["Europe/Paris", "Europe/Dublin", "Asia/Kathmandu", "Australia/Lord_Howe", "Etc/GMT+12"]
)
@pytest.mark.parametrize("month", [1, 7])
def test_written_session_start_is_read_back(zone: str, month: int, has_crc: bool) -> None:
    """What the client writes denotes the same instant when a sensor answers it, summer and winter."""
    wall = datetime(2025, month, 15, 12, 30, 15, tzinfo=ZoneInfo(zone))
    frame = write_session_start_time(wall, has_crc=has_crc)
    assert wall.astimezone(UTC) == parse_session_start_time(frame, has_crc=has_crc).start


def test_written_octets() -> None:
    """Summer time in Paris is one hour of zone and one of daylight saving."""
    wall = datetime(2025, 7, 3, 4, 5, 6, tzinfo=PARIS)
    expected = bytes.fromhex("e90707030405060404")
    assert expected == write_session_start_time(wall, has_crc=False)


def test_zone_that_cannot_be_written() -> None:
    """A zone off the quarter hour is sent as unknown, and a time without zone is refused."""
    odd = datetime(2025, 7, 3, 4, 5, 6, tzinfo=timezone(timedelta(minutes=52)))
    expected = bytes.fromhex("e907070304050680ff")
    assert expected == write_session_start_time(odd, has_crc=False)
    with pytest.raises(ValueError):
        write_session_start_time(odd.replace(tzinfo=None), has_crc=False)
