"""Record access: every request octet by octet, every answer, and no way to delete."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices import racp
from gateway.devices.racp import RacpCount, RacpOpCode, RacpResponseCode, RacpResult, Selection, parse_racp_response
from gateway.errors import MalformedFrame

EARLY = datetime(2025, 2, 3, 4, 5, 6)  # noqa: DTZ001
LATE = datetime(2025, 2, 4, 0, 0, 0)  # noqa: DTZ001

SELECTIONS = [
    (racp.all_records(), "01"),
    (racp.sequence_at_most(0x0102), "02010201"),
    (racp.sequence_at_least(42), "03012a00"),
    (racp.sequence_within(1, 0xFFFF), "04010100ffff"),
    (racp.time_offset_at_most(300), "02012c01"),
    (racp.time_offset_at_least(301), "03012d01"),
    (racp.time_offset_within(300, 305), "04012c013101"),
    (racp.user_time_at_most(EARLY), "0202e9070203040506"),
    (racp.user_time_at_least(EARLY), "0302e9070203040506"),
    (racp.user_time_within(EARLY, LATE), "0402e9070203040506e9070204000000"),
    (racp.first_record(), "05"),
    (racp.last_record(), "06"),
]


@pytest.mark.parametrize(("selection", "octets"), SELECTIONS)
@pytest.mark.parametrize(("build", "op"), [(racp.report, "01"), (racp.count, "04"), (racp.combined_report, "07")])
def test_every_request(build: Callable[[Selection], bytes], op: str, selection: Selection, octets: str) -> None:
    """Each op code with each operator and filter is the sequence of octets in the standard."""
    assert op + octets == build(selection).hex()


@pytest.mark.parametrize(
    ("request_octets", "expected"),
    [
        (racp.report_all(), "0101"),
        (racp.report_first(), "0105"),
        (racp.report_last(), "0106"),
        (racp.report_from_sequence(42), "0103012a00"),
        (racp.report_sequence_range(1, 2), "01040101000200"),
        (racp.report_from_time_offset(301), "0103012d01"),
        (racp.report_time_offset_range(300, 305), "0104012c013101"),
        (racp.count_all(), "0401"),
        (racp.count_from_sequence(42), "0403012a00"),
        (racp.count_from_time_offset(301), "0403012d01"),
        (racp.abort(), "0300"),
    ],
)
def test_named_requests(request_octets: bytes, expected: str) -> None:
    """The requests of everyday use match the examples of the standard."""
    assert expected == request_octets.hex()


def test_nothing_deletes() -> None:
    """Op code 2 (delete stored records) has no name and no builder."""
    assert 0x02 not in {op.value for op in RacpOpCode}
    assert not [name for name in dir(racp) if "delete" in name.lower()]


@pytest.mark.parametrize("number", [-1, 0x10000])
def test_numbers_have_sixteen_bits(number: int) -> None:
    """A limit that does not fit is refused before it is sent."""
    for build in (racp.report_from_sequence, racp.count_from_sequence, racp.report_from_time_offset):
        with pytest.raises(ValueError):
            build(number)


def test_ranges_are_in_order() -> None:
    """A range that ends before it begins is refused before it is sent."""
    for build in (racp.sequence_within, racp.time_offset_within):
        with pytest.raises(ValueError):
            build(2, 1)
    with pytest.raises(ValueError):
        racp.user_time_within(LATE, EARLY)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("05000500", RacpCount(5)),
        ("05000000", RacpCount(0)),
        ("0800ffff", RacpCount(65535, is_combined=True)),
        ("06000101", RacpResult(RacpOpCode.REPORT_RECORDS, RacpResponseCode.SUCCESS)),
        ("06000301", RacpResult(RacpOpCode.ABORT, RacpResponseCode.SUCCESS)),
        ("06000106", RacpResult(RacpOpCode.REPORT_RECORDS, RacpResponseCode.NO_RECORDS_FOUND)),
        ("06000409", RacpResult(RacpOpCode.REPORT_COUNT, RacpResponseCode.OPERAND_NOT_SUPPORTED)),
        ("060001c8", RacpResult(1, 200)),
    ],
)
def test_answers(frame: str, expected: RacpCount | RacpResult) -> None:
    """Counts and results are told apart; a code without a name keeps its number."""
    assert expected == parse_racp_response(bytes.fromhex(frame))


def test_success_includes_nothing_to_fetch() -> None:
    """Success and "no records found" end well, every other code does not."""
    assert {1, 6} == {code for code in range(256) if RacpResult(1, code).is_success}


@pytest.mark.parametrize(
    "frame", ["", "06", "0600", "060001", "0600010100", "050005", "0500050000", "05010500", "01010000"]
)
def test_malformed_answers(frame: str) -> None:
    """Another length, a non-null operator, or an op code of a client is malformed."""
    with pytest.raises(MalformedFrame):
        parse_racp_response(bytes.fromhex(frame))


@given(st.binary(max_size=8))
def test_any_octets_are_an_answer_or_malformed(frame: bytes) -> None:
    """No byte string makes the parser raise anything but MalformedFrame."""
    with contextlib.suppress(MalformedFrame):
        parse_racp_response(frame)
