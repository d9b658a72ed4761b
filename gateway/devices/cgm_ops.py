"""CGM Specific Ops Control Point (2AAC): what a gateway may ask a sensor, and every answer that a sensor can give.

Calibrating, starting or stopping a session, and setting alerts act on a therapy; the standard has op codes for them and
this module has none, so that no caller can send one by mistake. The one thing that can be set is how often the sensor
notifies, which changes neither what it measures nor when it warns; it takes the owner's permission all the same.

Source: Bluetooth Continuous Glucose Monitoring Service 1.0, CGM Specific Ops Control Point.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gateway.devices._reader import FrameReader
from gateway.devices.crc import append_crc, strip_crc
from gateway.devices.glucose import sample_words, set_bits
from gateway.devices.ieee11073 import SfloatSpecial, parse_sfloat
from gateway.errors import MalformedFrame

__all__ = [
    "NEWEST_CALIBRATION",
    "AlertKind",
    "AlertLevel",
    "Calibration",
    "CgmOpsResponse",
    "CgmOpsResponseCode",
    "CgmOpsResult",
    "CgmReadOp",
    "CommunicationInterval",
    "get_alert_level",
    "get_calibration",
    "get_communication_interval",
    "parse_cgm_ops_response",
    "set_communication_interval",
]

NEWEST_CALIBRATION: Final = 0xFFFF
"""Record number that stands for the newest calibration."""

_INTERVAL_RESPONSE: Final = 0x03
_CALIBRATION_RESPONSE: Final = 0x06
_RESPONSE_CODE: Final = 0x1C
_SET_INTERVAL: Final = 0x01
_LONGEST_INTERVAL_MIN: Final = 60
_CALIBRATION_STATUS: Final = ("calibration_rejected", "calibration_out_of_range", "calibration_pending")
_NO_CALIBRATION_PLANNED: Final = 0xFFFF


class CgmReadOp(enum.IntEnum):
    """Op codes of requests: only those that change nothing."""

    GET_COMMUNICATION_INTERVAL = 0x02
    GET_CALIBRATION = 0x05
    GET_PATIENT_HIGH = 0x08
    GET_PATIENT_LOW = 0x0B
    GET_HYPO = 0x0E
    GET_HYPER = 0x11
    GET_RATE_OF_DECREASE = 0x14
    GET_RATE_OF_INCREASE = 0x17


class AlertKind(enum.Enum):
    """The alerts of a sensor; the first four in mg/dL, the rates in mg/dL per minute."""

    PATIENT_HIGH = "patient_high"
    PATIENT_LOW = "patient_low"
    HYPO = "hypo"
    HYPER = "hyper"
    RATE_OF_DECREASE = "rate_of_decrease"
    RATE_OF_INCREASE = "rate_of_increase"


_ALERT_REQUESTS: Final = {
    AlertKind.PATIENT_HIGH: CgmReadOp.GET_PATIENT_HIGH,
    AlertKind.PATIENT_LOW: CgmReadOp.GET_PATIENT_LOW,
    AlertKind.HYPO: CgmReadOp.GET_HYPO,
    AlertKind.HYPER: CgmReadOp.GET_HYPER,
    AlertKind.RATE_OF_DECREASE: CgmReadOp.GET_RATE_OF_DECREASE,
    AlertKind.RATE_OF_INCREASE: CgmReadOp.GET_RATE_OF_INCREASE,
}
# the response to each of these requests has the next op code
_ALERT_RESPONSES: Final = {int(request) + 1: kind for kind, request in _ALERT_REQUESTS.items()}


class CgmOpsResponseCode(enum.IntEnum):
    """How a procedure ended."""

    SUCCESS = 1
    OP_CODE_NOT_SUPPORTED = 2
    INVALID_OPERAND = 3
    PROCEDURE_NOT_COMPLETED = 4
    PARAMETER_OUT_OF_RANGE = 5


@dataclass(frozen=True, slots=True)
class CommunicationInterval:
    """How often the sensor notifies.

    Attributes:
        interval_min: minutes; None when periodic notification is off or as fast as the sensor can.
        is_off, is_fastest: which of the two.
    """

    interval_min: int | None
    is_off: bool = False
    is_fastest: bool = False


@dataclass(frozen=True, slots=True)
class Calibration:
    """One stored calibration.

    Attributes:
        glucose_mg_dl: the value that the sensor was calibrated with.
        time_offset_min: when, minutes since the session start.
        sample_type, sample_location: of the reference sample, words as for glucose meters.
        next_calibration_min: when the next one is due, minutes since the session start; 0: at once; None: none planned.
        record_number: 0..65535.
        status: `calibration_rejected`, `calibration_out_of_range`, `calibration_pending`: those that are set, sorted.
    """

    glucose_mg_dl: Decimal | SfloatSpecial
    time_offset_min: int
    sample_type: str
    sample_location: str
    next_calibration_min: int | None
    record_number: int
    status: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AlertLevel:
    """Where an alert is set: mg/dL, or mg/dL per minute for the two rates."""

    kind: AlertKind
    level: Decimal | SfloatSpecial


@dataclass(frozen=True, slots=True)
class CgmOpsResult:
    """The sensor ends a procedure without data.

    Attributes:
        request: op code of the request.
        code: a `CgmOpsResponseCode`, or the plain number of a code that has no name yet.
    """

    request: int
    code: int

    @property
    def is_success(self) -> bool:
        """Whether the sensor did what was asked."""
        return self.code == CgmOpsResponseCode.SUCCESS


CgmOpsResponse = CommunicationInterval | Calibration | AlertLevel | CgmOpsResult


def get_communication_interval(*, has_crc: bool) -> bytes:
    """How often does the sensor notify? Answered by a `CommunicationInterval`."""
    return _request(CgmReadOp.GET_COMMUNICATION_INTERVAL, b"", has_crc=has_crc)


def set_communication_interval(interval_min: int, *, has_crc: bool) -> bytes:
    """Notify every so many minutes, 1..60. Answered by a `CgmOpsResult`; ValueError outside.

    0 (off) and 255 (as fast as it can) exist and are not offered: one stops the readings, the other eats the battery.
    """
    if not 1 <= interval_min <= _LONGEST_INTERVAL_MIN:
        raise ValueError(f"a communication interval is 1 to {_LONGEST_INTERVAL_MIN} minutes")
    frame = bytes((_SET_INTERVAL, interval_min))
    return append_crc(frame) if has_crc else frame


def get_calibration(record_number: int = NEWEST_CALIBRATION, *, has_crc: bool) -> bytes:
    """Which calibration is stored under that number, 0..65535? Answered by a `Calibration`; ValueError outside."""
    if not 0 <= record_number <= 0xFFFF:
        raise ValueError("a calibration record number has 16 bits")
    return _request(CgmReadOp.GET_CALIBRATION, record_number.to_bytes(2, "little"), has_crc=has_crc)


def get_alert_level(kind: AlertKind, *, has_crc: bool) -> bytes:
    """Where is that alert set? Answered by an `AlertLevel`."""
    return _request(_ALERT_REQUESTS[kind], b"", has_crc=has_crc)


def parse_cgm_ops_response(frame: bytes, *, has_crc: bool) -> CgmOpsResponse:
    """Decode an indication of 2AAC: op code, operand, and the CRC when `has_crc`.

    The communication interval is accepted in one octet (0xFF: fastest) and in two (0xFFFF: fastest).

    Raises:
        MalformedFrame: an op code that no sensor sends, a wrong length, or a CRC that does not fit.
    """
    reader = FrameReader(strip_crc(frame, "2AAC") if has_crc else frame, "2AAC")
    op_code = reader.u8()
    response: CgmOpsResponse
    if op_code == _INTERVAL_RESPONSE:
        response = _interval(reader)
    elif op_code == _CALIBRATION_RESPONSE:
        response = _calibration(reader)
    elif op_code in _ALERT_RESPONSES:
        response = AlertLevel(_ALERT_RESPONSES[op_code], parse_sfloat(reader.u16()))
    elif op_code == _RESPONSE_CODE:
        response = CgmOpsResult(request=reader.u8(), code=_named(reader.u8()))
    else:
        raise MalformedFrame(f"2AAC: {op_code:#04x} is not the op code of an answer")
    reader.finish()
    return response


def _interval(reader: FrameReader) -> CommunicationInterval:
    is_wide = reader.remaining > 1
    minutes = reader.u16() if is_wide else reader.u8()
    if minutes == 0:
        return CommunicationInterval(None, is_off=True)
    if minutes == (0xFFFF if is_wide else 0xFF):
        return CommunicationInterval(None, is_fastest=True)
    return CommunicationInterval(minutes)


def _calibration(reader: FrameReader) -> Calibration:
    glucose_mg_dl = parse_sfloat(reader.u16())
    time_offset_min = reader.u16()
    sample_type, sample_location = sample_words(reader.u8())
    next_min = reader.u16()
    return Calibration(
        glucose_mg_dl=glucose_mg_dl,
        time_offset_min=time_offset_min,
        sample_type=sample_type,
        sample_location=sample_location,
        next_calibration_min=None if next_min == _NO_CALIBRATION_PLANNED else next_min,
        record_number=reader.u16(),
        status=set_bits(reader.u8(), _CALIBRATION_STATUS),
    )


def _request(op_code: CgmReadOp, operand: bytes, *, has_crc: bool) -> bytes:
    frame = bytes((op_code,)) + operand
    return append_crc(frame) if has_crc else frame


def _named(code: int) -> int:
    try:
        return CgmOpsResponseCode(code)
    except ValueError:
        return code
