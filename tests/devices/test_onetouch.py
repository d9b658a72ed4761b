"""Frames of OneTouch meters."""

from __future__ import annotations

import contextlib
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices import onetouch
from gateway.devices.crc import crc16_ccitt_false
from gateway.devices.onetouch import OneTouchAnswer, PacketKind, parse_onetouch_frame, parse_record, split_packet
from gateway.errors import MalformedFrame
from gateway.sandbox.peripherals.onetouch import onetouch_crc, onetouch_frame


def test_check_value() -> None:
    """The catalogue's check value of CRC-16/CCITT-FALSE."""
    assert 0x29B1 == crc16_ccitt_false(b"123456789")


@given(st.binary(max_size=40))
def test_crc_agrees_with_another_way_to_compute_it(data: bytes) -> None:
    """The virtual meter computes it bit by bit."""
    assert onetouch_crc(data) == crc16_ccitt_false(data)


def test_requests_are_those_of_the_drivers_in_use() -> None:
    """Delimiters, length and little-endian CRC stand where those drivers put them."""
    clock = onetouch.read_clock()
    assert bytes.fromhex("0102090003200203") == clock[:8]
    assert crc16_ccitt_false(clock[1:8]) == int.from_bytes(clock[8:], "little")
    assert bytes.fromhex("01020a0003b3390503") == onetouch.read_record(1337)[:9]
    assert bytes.fromhex("01020900032700") == onetouch.read_count()[:7]
    assert bytes.fromhex("01020a00030a020603") == onetouch.read_highest()[:9]
    assert b"\x81" == onetouch.acknowledgement(1)


def test_worked_record() -> None:
    """One record: time by the meter's clock since 2000, mg/dL, control solution."""
    data = (86_400 + 61).to_bytes(4, "little") + (123).to_bytes(2, "little") + bytes((0, 1, 0, 0, 0))
    record = parse_record(data)
    assert (datetime(2000, 1, 2, 0, 1, 1), 123, False, 1, 0) == (  # noqa: DTZ001
        record.time,
        record.glucose_mg_dl,
        record.is_control_solution,
        record.mark,
        record.error,
    )
    measurement = record.measurement(7)
    assert (7, Decimal("0.00123"), ()) == (measurement.sequence, measurement.concentration, measurement.status)


@pytest.mark.parametrize(
    ("mg_dl", "error", "status", "is_number"),
    [
        (0, 0, (), False),
        (19, 0, ("result_below_device_range",), True),
        (20, 0, (), True),
        (600, 0, (), True),
        (601, 0, ("result_above_device_range",), True),
        (100, 5, ("general_fault",), True),
    ],
)
def test_special_values(mg_dl: int, error: int, status: tuple[str, ...], is_number: bool) -> None:
    """0 is no reading, LO and HI are bounds, an error octet makes the number untrustworthy."""
    record = onetouch.OneTouchRecord(datetime(2025, 1, 1), mg_dl, False, 0, error)  # noqa: DTZ001
    measurement = record.measurement(1)
    assert (status, is_number) == (measurement.status, measurement.concentration is not None)


@given(st.binary(min_size=1, max_size=30))
def test_round_trip(payload: bytes) -> None:
    """What the virtual meter frames is read again."""
    assert OneTouchAnswer(payload[0], payload[1:]) == parse_onetouch_frame(onetouch_frame(payload))


@given(st.binary(min_size=1, max_size=20), st.data())
def test_a_flipped_bit_is_noticed(payload: bytes, data: st.DataObject) -> None:
    """No single flipped bit passes."""
    frame = bytearray(onetouch_frame(payload))
    place = data.draw(st.integers(0, len(frame) * 8 - 1))
    frame[place // 8] ^= 1 << place % 8
    with pytest.raises(MalformedFrame):
        parse_onetouch_frame(bytes(frame))


@given(st.binary(max_size=40))
def test_any_octets_are_a_value_or_malformed(data: bytes) -> None:
    """No other exception, in any parser."""
    for parse in (
        parse_onetouch_frame,
        split_packet,
        parse_record,
        onetouch.parse_clock,
        onetouch.parse_count,
        onetouch.parse_highest,
    ):
        with contextlib.suppress(MalformedFrame):
            parse(data)


def test_kinds_of_packets() -> None:
    """First, further, acknowledgement; another kind is malformed."""
    assert (PacketKind.FIRST, 2, b"x") == split_packet(b"\x02x")
    assert (PacketKind.FURTHER, 1, b"y") == split_packet(b"\x41y")
    assert (PacketKind.ACKNOWLEDGEMENT, 1, b"") == split_packet(b"\x81")
    with pytest.raises(MalformedFrame):
        split_packet(b"\xc1")
