"""Record Access Control Point (2A52): requests for stored records, and the answers to them.

Sources: Bluetooth Glucose Service 1.0 and Continuous Glucose Monitoring Service 1.0, Record Access Control Point.
The procedure that deletes stored records exists in the standard and has no place here: a gateway only reads.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from gateway.devices._reader import FrameReader
from gateway.devices.date_time import write_date_time
from gateway.errors import MalformedFrame

__all__ = [
    "RacpCount",
    "RacpFilter",
    "RacpOpCode",
    "RacpOperator",
    "RacpResponseCode",
    "RacpResult",
    "Selection",
    "abort",
    "all_records",
    "combined_report",
    "count",
    "count_all",
    "count_from_sequence",
    "count_from_time_offset",
    "first_record",
    "last_record",
    "parse_racp_response",
    "report",
    "report_all",
    "report_first",
    "report_from_sequence",
    "report_from_time_offset",
    "report_last",
    "report_sequence_range",
    "report_time_offset_range",
    "sequence_at_least",
    "sequence_at_most",
    "sequence_within",
    "time_offset_at_least",
    "time_offset_at_most",
    "time_offset_within",
    "user_time_at_least",
    "user_time_at_most",
    "user_time_within",
]


class RacpOpCode(enum.IntEnum):
    """First octet of a request or an answer."""

    REPORT_RECORDS = 0x01
    ABORT = 0x03
    REPORT_COUNT = 0x04
    COUNT_RESPONSE = 0x05
    RESPONSE_CODE = 0x06
    COMBINED_REPORT = 0x07
    COMBINED_REPORT_RESPONSE = 0x08


class RacpOperator(enum.IntEnum):
    """Second octet: how the operand selects records."""

    NULL = 0x00
    ALL = 0x01
    AT_MOST = 0x02
    AT_LEAST = 0x03
    WITHIN = 0x04
    """Both ends included."""
    FIRST = 0x05
    LAST = 0x06


class RacpFilter(enum.IntEnum):
    """First octet of an operand: what the operator compares."""

    SEQUENCE = 0x01
    """Glucose Service: sequence number u16. The same code in the CGM service compares the time offset."""
    TIME_OFFSET = 0x01
    """CGM service: minutes since the session start, u16."""
    USER_TIME = 0x02
    """Glucose Service only, optional: user-facing time, Date Time."""


class RacpResponseCode(enum.IntEnum):
    """How a procedure ended."""

    SUCCESS = 1
    OP_CODE_NOT_SUPPORTED = 2
    INVALID_OPERATOR = 3
    OPERATOR_NOT_SUPPORTED = 4
    INVALID_OPERAND = 5
    NO_RECORDS_FOUND = 6
    ABORT_UNSUCCESSFUL = 7
    PROCEDURE_NOT_COMPLETED = 8
    OPERAND_NOT_SUPPORTED = 9
    SERVER_BUSY = 10


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records a request means: the operator and its operand (filter type and limits, or nothing)."""

    operator: RacpOperator
    operand: bytes = b""


@dataclass(frozen=True, slots=True)
class RacpCount:
    """The device says how many records a selection holds, 0..65535.

    `is_combined` is True for the answer to a combined report, whose records have been sent already.
    """

    count: int
    is_combined: bool = False


@dataclass(frozen=True, slots=True)
class RacpResult:
    """The device ends a procedure.

    Attributes:
        request: op code of the request, of `RacpOpCode` in general.
        code: a `RacpResponseCode`, or the plain number of a code that has no name yet.
    """

    request: int
    code: int

    @property
    def is_success(self) -> bool:
        """Whether all went well; finding no records counts as such."""
        return self.code in {RacpResponseCode.SUCCESS, RacpResponseCode.NO_RECORDS_FOUND}


def all_records() -> Selection:
    """Everything that is stored."""
    return Selection(RacpOperator.ALL)


def first_record() -> Selection:
    """The oldest record."""
    return Selection(RacpOperator.FIRST)


def last_record() -> Selection:
    """The newest record."""
    return Selection(RacpOperator.LAST)


def sequence_at_least(minimum: int) -> Selection:
    """Sequence number >= `minimum`, 0..65535; ValueError outside."""
    return _selection(RacpOperator.AT_LEAST, RacpFilter.SEQUENCE, _u16(minimum))


def sequence_at_most(maximum: int) -> Selection:
    """Sequence number <= `maximum`, 0..65535; ValueError outside."""
    return _selection(RacpOperator.AT_MOST, RacpFilter.SEQUENCE, _u16(maximum))


def sequence_within(minimum: int, maximum: int) -> Selection:
    """`minimum` <= sequence number <= `maximum`; ValueError when outside 0..65535 or out of order."""
    return _selection(RacpOperator.WITHIN, RacpFilter.SEQUENCE, _u16_range(minimum, maximum))


def time_offset_at_least(minimum_min: int) -> Selection:
    """CGM: minutes since the session start >= `minimum_min`, 0..65535; ValueError outside."""
    return _selection(RacpOperator.AT_LEAST, RacpFilter.TIME_OFFSET, _u16(minimum_min))


def time_offset_at_most(maximum_min: int) -> Selection:
    """CGM: minutes since the session start <= `maximum_min`, 0..65535; ValueError outside."""
    return _selection(RacpOperator.AT_MOST, RacpFilter.TIME_OFFSET, _u16(maximum_min))


def time_offset_within(minimum_min: int, maximum_min: int) -> Selection:
    """CGM: minutes since the session start in that closed range; ValueError outside 0..65535 or out of order."""
    return _selection(RacpOperator.WITHIN, RacpFilter.TIME_OFFSET, _u16_range(minimum_min, maximum_min))


def user_time_at_least(earliest: datetime) -> Selection:
    """Glucose: user-facing time, the meter's own wall clock, not before `earliest`."""
    return _selection(RacpOperator.AT_LEAST, RacpFilter.USER_TIME, write_date_time(earliest))


def user_time_at_most(latest: datetime) -> Selection:
    """Glucose: user-facing time, the meter's own wall clock, not after `latest`."""
    return _selection(RacpOperator.AT_MOST, RacpFilter.USER_TIME, write_date_time(latest))


def user_time_within(earliest: datetime, latest: datetime) -> Selection:
    """Glucose: user-facing time from `earliest` to `latest`, both included; ValueError when out of order."""
    if earliest > latest:
        raise ValueError("the range ends before it begins")
    return _selection(RacpOperator.WITHIN, RacpFilter.USER_TIME, write_date_time(earliest) + write_date_time(latest))


def report(selection: Selection) -> bytes:
    """Send me these records; answered by notifications and a `RacpResult`."""
    return _request(RacpOpCode.REPORT_RECORDS, selection)


def count(selection: Selection) -> bytes:
    """How many are there? Answered by a `RacpCount`, or a `RacpResult` on refusal."""
    return _request(RacpOpCode.REPORT_COUNT, selection)


def combined_report(selection: Selection) -> bytes:
    """Send me these records and then their number; answered by notifications and a `RacpCount`. Newer devices only."""
    return _request(RacpOpCode.COMBINED_REPORT, selection)


def abort() -> bytes:
    """Stop what you are doing; answered by a `RacpResult` whose request is ABORT."""
    return bytes((RacpOpCode.ABORT, RacpOperator.NULL))


def report_all() -> bytes:
    """Report everything that is stored."""
    return report(all_records())


def report_first() -> bytes:
    """Report the oldest record."""
    return report(first_record())


def report_last() -> bytes:
    """Report the newest record."""
    return report(last_record())


def report_from_sequence(minimum: int) -> bytes:
    """Report records from that sequence number on, 0..65535; ValueError outside."""
    return report(sequence_at_least(minimum))


def report_sequence_range(minimum: int, maximum: int) -> bytes:
    """Report a closed range of sequence numbers; ValueError outside 0..65535 or out of order."""
    return report(sequence_within(minimum, maximum))


def report_from_time_offset(minimum_min: int) -> bytes:
    """CGM: report records from that minute of the session on, 0..65535; ValueError outside."""
    return report(time_offset_at_least(minimum_min))


def report_time_offset_range(minimum_min: int, maximum_min: int) -> bytes:
    """CGM: report a closed range of minutes; ValueError outside 0..65535 or out of order."""
    return report(time_offset_within(minimum_min, maximum_min))


def count_all() -> bytes:
    """Count everything that is stored."""
    return count(all_records())


def count_from_sequence(minimum: int) -> bytes:
    """Count records from that sequence number on, 0..65535; ValueError outside."""
    return count(sequence_at_least(minimum))


def count_from_time_offset(minimum_min: int) -> bytes:
    """CGM: count records from that minute of the session on, 0..65535; ValueError outside."""
    return count(time_offset_at_least(minimum_min))


def parse_racp_response(frame: bytes) -> RacpCount | RacpResult:
    """Decode an indication of 2A52: exactly 4 octets, `op, 00, operand`.

    Raises:
        MalformedFrame: another length, an operator that is not null, an op code that no device sends.
    """
    reader = FrameReader(frame, "2A52")
    op_code, operator = reader.u8(), reader.u8()
    if operator != RacpOperator.NULL:
        raise MalformedFrame(f"2A52: an answer has the null operator, got {operator:#04x}")
    answer: RacpCount | RacpResult
    if op_code in {RacpOpCode.COUNT_RESPONSE, RacpOpCode.COMBINED_REPORT_RESPONSE}:
        answer = RacpCount(reader.u16(), is_combined=op_code == RacpOpCode.COMBINED_REPORT_RESPONSE)
    elif op_code == RacpOpCode.RESPONSE_CODE:
        answer = RacpResult(request=reader.u8(), code=_named(reader.u8()))
    else:
        raise MalformedFrame(f"2A52: {op_code:#04x} is not the op code of an answer")
    reader.finish()
    return answer


def _named(code: int) -> int:
    try:
        return RacpResponseCode(code)
    except ValueError:
        return code


def _request(op_code: RacpOpCode, selection: Selection) -> bytes:
    return bytes((op_code, selection.operator)) + selection.operand


def _selection(operator: RacpOperator, filter_type: RacpFilter, limits: bytes) -> Selection:
    return Selection(operator, bytes((filter_type,)) + limits)


def _u16(number: int) -> bytes:
    if not 0 <= number <= 0xFFFF:
        raise ValueError("a record number has 16 bits")
    return number.to_bytes(2, "little")


def _u16_range(minimum: int, maximum: int) -> bytes:
    if minimum > maximum:
        raise ValueError("the range ends before it begins")
    return _u16(minimum) + _u16(maximum)
