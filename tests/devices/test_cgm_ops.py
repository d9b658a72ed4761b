"""Specific operations of a sensor: requests that only read, and every answer."""

from __future__ import annotations

import contextlib
from decimal import Decimal

import pytest
from encoders_glucose import reference_crc
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices import cgm_ops
from gateway.devices.cgm_ops import (
    AlertKind,
    AlertLevel,
    Calibration,
    CgmOpsResponse,
    CgmOpsResponseCode,
    CgmOpsResult,
    CgmReadOp,
    CommunicationInterval,
    get_alert_level,
    get_calibration,
    get_communication_interval,
    parse_cgm_ops_response,
    set_communication_interval,
)
from gateway.devices.ieee11073 import SfloatSpecial
from gateway.errors import MalformedFrame

ANSWERS: list[tuple[str, CgmOpsResponse]] = [
    ("0300", CommunicationInterval(None, is_off=True)),
    ("0305", CommunicationInterval(5)),
    ("03ff", CommunicationInterval(None, is_fastest=True)),
    ("030000", CommunicationInterval(None, is_off=True)),
    ("030500", CommunicationInterval(5)),
    ("03ff00", CommunicationInterval(255)),
    ("032c01", CommunicationInterval(300)),
    ("03ffff", CommunicationInterval(None, is_fastest=True)),
    (
        "06" + "7800" + "3c00" + "11" + "ffff" + "0300" + "05",
        Calibration(
            glucose_mg_dl=Decimal(120),
            time_offset_min=60,
            sample_type="capillary_whole_blood",
            sample_location="finger",
            next_calibration_min=None,
            record_number=3,
            status=("calibration_pending", "calibration_rejected"),
        ),
    ),
    (
        "06" + "ff07" + "0000" + "59" + "0000" + "ffff" + "02",
        Calibration(
            SfloatSpecial.NAN, 0, "interstitial_fluid", "subcutaneous_tissue", 0, 0xFFFF, ("calibration_out_of_range",)
        ),
    ),
    ("09b400", AlertLevel(AlertKind.PATIENT_HIGH, Decimal(180))),
    ("0c4600", AlertLevel(AlertKind.PATIENT_LOW, Decimal(70))),
    ("0f3600", AlertLevel(AlertKind.HYPO, Decimal(54))),
    ("12fa00", AlertLevel(AlertKind.HYPER, Decimal(250))),
    ("15ecff", AlertLevel(AlertKind.RATE_OF_DECREASE, Decimal("-2.0"))),
    ("1814f0", AlertLevel(AlertKind.RATE_OF_INCREASE, Decimal("2.0"))),
    ("1c0201", CgmOpsResult(CgmReadOp.GET_COMMUNICATION_INTERVAL, CgmOpsResponseCode.SUCCESS)),
    ("1c0502", CgmOpsResult(CgmReadOp.GET_CALIBRATION, CgmOpsResponseCode.OP_CODE_NOT_SUPPORTED)),
    ("1c08c8", CgmOpsResult(8, 200)),
]


@pytest.mark.parametrize("has_crc", [False, True])
@pytest.mark.parametrize(("octets", "expected"), ANSWERS)
def test_every_answer(octets: str, expected: CgmOpsResponse, has_crc: bool) -> None:
    """Each answer of the table is read, under CRC and without; too few octets or too many are malformed."""
    body = bytes.fromhex(octets)
    frame = body + reference_crc(body) if has_crc else body
    assert expected == parse_cgm_ops_response(frame, has_crc=has_crc)
    shortest = 2 if body[0] == 0x03 and not has_crc else len(frame)
    for end in range(shortest):
        with pytest.raises(MalformedFrame):
            parse_cgm_ops_response(frame[:end], has_crc=has_crc)
    with pytest.raises(MalformedFrame):
        parse_cgm_ops_response(frame + bytes(2), has_crc=has_crc)


@pytest.mark.parametrize(
    ("expected", "request_octets"),
    [
        ("02", get_communication_interval(has_crc=False)),
        ("05ffff", get_calibration(has_crc=False)),
        ("050300", get_calibration(3, has_crc=False)),
        ("08", get_alert_level(AlertKind.PATIENT_HIGH, has_crc=False)),
        ("0b", get_alert_level(AlertKind.PATIENT_LOW, has_crc=False)),
        ("0e", get_alert_level(AlertKind.HYPO, has_crc=False)),
        ("11", get_alert_level(AlertKind.HYPER, has_crc=False)),
        ("14", get_alert_level(AlertKind.RATE_OF_DECREASE, has_crc=False)),
        ("17", get_alert_level(AlertKind.RATE_OF_INCREASE, has_crc=False)),
    ],
)
def test_requests(expected: str, request_octets: bytes) -> None:
    """Requests are the octets of the standard."""
    assert expected == request_octets.hex()


def test_requests_carry_their_crc() -> None:
    """A sensor with CRC wants one on what it is sent."""
    assert b"\x02" + reference_crc(b"\x02") == get_communication_interval(has_crc=True)
    assert b"\x05\x03\x00" + reference_crc(b"\x05\x03\x00") == get_calibration(3, has_crc=True)
    assert b"\x08" + reference_crc(b"\x08") == get_alert_level(AlertKind.PATIENT_HIGH, has_crc=True)


@pytest.mark.parametrize("number", [-1, 0x10000])
def test_calibration_number_has_sixteen_bits(number: int) -> None:
    """A record number that does not fit is refused before it is sent."""
    with pytest.raises(ValueError):
        get_calibration(number, has_crc=False)


def test_nothing_acts_on_a_therapy() -> None:
    """No op code that calibrates, resets, starts, stops or sets an alert exists here, nor a function that sends one.

    How often the sensor notifies can be set, which changes neither what it measures nor when it warns.
    """
    acting = {0x01, 0x04, 0x07, 0x0A, 0x0D, 0x10, 0x13, 0x16, 0x19, 0x1A, 0x1B}
    assert acting.isdisjoint(CgmReadOp)
    functions = {name for name in cgm_ops.__all__ if name.islower() and callable(getattr(cgm_ops, name))}
    getters = {"get_alert_level", "get_calibration", "get_communication_interval"}
    assert getters | {"parse_cgm_ops_response", "set_communication_interval"} == functions


def test_interval_is_set_within_an_hour() -> None:
    """1 to 60 minutes, with the CRC where the sensor has one; neither off nor as fast as it can."""
    assert b"\x01\x05" == set_communication_interval(5, has_crc=False)
    assert b"\x01\x3c" + reference_crc(b"\x01\x3c") == set_communication_interval(60, has_crc=True)
    for interval_min in (0, 61, 255):
        with pytest.raises(ValueError):
            set_communication_interval(interval_min, has_crc=False)


@pytest.mark.parametrize("op_code", sorted(set(range(256)) - {0x03, 0x06, 0x09, 0x0C, 0x0F, 0x12, 0x15, 0x18, 0x1C}))
def test_other_op_codes_are_malformed(op_code: int) -> None:
    """An op code that no sensor sends is malformed."""
    with pytest.raises(MalformedFrame):
        parse_cgm_ops_response(bytes((op_code, 0, 0)), has_crc=False)


@given(st.binary(max_size=16), st.booleans())
def test_any_octets_are_an_answer_or_malformed(frame: bytes, has_crc: bool) -> None:
    """No byte string makes the parser raise anything but MalformedFrame."""
    with contextlib.suppress(MalformedFrame):
        parse_cgm_ops_response(frame, has_crc=has_crc)
