"""How a sensor is set: its interval, alert levels and calibrations, asked at its Specific Ops Control Point 2AAC.

    interval -> (set it, where its owner wants another) -> six alert levels -> newest calibration, and those before it

Asked once a day and sensor, after everything missed has been read; live notifications go on meanwhile. One request at a
time, a bounded number in all. What the sensor does not know is passed over, and silence ends the inquiry, never the
session. Nothing here starts, stops or calibrates.

Source: Bluetooth Continuous Glucose Monitoring Service 1.0.2, CGM Specific Ops Control Point.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Final

from gateway.devices.cgm_ops import (
    NEWEST_CALIBRATION,
    AlertKind,
    AlertLevel,
    Calibration,
    CgmOpsResponse,
    CgmOpsResult,
    CommunicationInterval,
    get_alert_level,
    get_calibration,
    get_communication_interval,
    parse_cgm_ops_response,
    set_communication_interval,
)
from gateway.devices.procedures.requests import Frame, Keep, Mark, Request, Spoiled, Subscribe, Write
from gateway.errors import MalformedFrame

__all__ = ["CGM_CALIBRATION_FACT", "CGM_SETTINGS_FACT", "CgmInquiry"]

CGM_SETTINGS_FACT: Final = "cgm.settings"
CGM_CALIBRATION_FACT: Final = "cgm.calibration"
_OPS: Final = "2aac"
_MOST_CALIBRATIONS: Final = 8


class CgmInquiry:
    """One round of questions.

    Args:
        has_crc: whether the sensor's frames end in an E2E-CRC, ours too.
        asked_on: ISO date of today, kept with the answers.
        interval_min: what the owner wants the sensor to notify at, 1..60 minutes; None: leave it.
    """

    def __init__(self, *, has_crc: bool, asked_on: str, interval_min: int | None = None) -> None:
        self._has_crc = has_crc
        self._interval_min = interval_min
        self._todo = deque(
            [
                get_communication_interval(has_crc=has_crc),
                *(get_alert_level(kind, has_crc=has_crc) for kind in AlertKind),
                get_calibration(NEWEST_CALIBRATION, has_crc=has_crc),
            ]
        )
        self._asked: bytes | None = None
        self._settings: dict[str, str | int | bool | None] = {"asked_on": asked_on}
        self._newest: Calibration | None = None
        self._calibrations = 0
        self._frames: list[Frame] = []
        self._spoiled: list[Spoiled] = []
        self._is_over = False
        self._has_asked = False

    @property
    def is_open(self) -> bool:
        """Whether an answer is due."""
        return self._asked is not None

    def start(self) -> list[Request]:
        """Listen, then the first question."""
        return [Subscribe(_OPS), *self._next()]

    def on_answer(self, data: bytes) -> list[Request]:
        """An indication of 2AAC; the next question, or what was learned in all."""
        if self._asked is None:
            return []
        self._has_asked = True
        try:
            answer = parse_cgm_ops_response(data, has_crc=self._has_crc)
        except MalformedFrame as error:
            self._spoiled.append(Spoiled(Frame(_OPS, data), str(error)))
            return self._next()
        if not self._is_due(answer):
            return []
        self._frames.append(Frame(_OPS, data))
        self._take(answer)
        return self._next()

    def give_up(self, *, is_missing: bool = False) -> list[Request]:
        """Refused or unanswered: what came so far. `is_missing`: the sensor has no such control point."""
        if self._is_over:
            return []
        self._todo.clear()
        self._asked = None
        self._has_asked = self._has_asked or not is_missing
        return self._next()

    def _next(self) -> list[Request]:
        self._asked = self._todo.popleft() if self._todo else None
        if self._asked is not None:
            return [Write(_OPS, self._asked)]
        self._is_over = True
        if not self._has_asked:
            return []
        facts = [Mark(CGM_SETTINGS_FACT, self._settings)]
        if self._newest is not None:
            facts.append(Mark(CGM_CALIBRATION_FACT, _calibration_state(self._newest, self._calibrations)))
        return [Keep(spoiled=tuple(self._spoiled), loose=tuple(self._frames), facts=tuple(facts))]

    def _is_due(self, answer: CgmOpsResponse) -> bool:
        """Whether it answers what was asked: the answer to a question has the next op code."""
        asked = self._asked or b"\0"
        if isinstance(answer, CgmOpsResult):
            return answer.request == asked[0]
        if isinstance(answer, AlertLevel):
            return get_alert_level(answer.kind, has_crc=self._has_crc) == asked
        example = get_communication_interval if isinstance(answer, CommunicationInterval) else get_calibration
        return example(has_crc=self._has_crc)[0] == asked[0]

    def _take(self, answer: CgmOpsResponse) -> None:
        match answer:
            case CommunicationInterval():
                self._settings |= {
                    "interval_min": answer.interval_min,
                    "is_off": answer.is_off,
                    "is_fastest": answer.is_fastest,
                }
                if self._interval_min is not None and answer.interval_min != self._interval_min:
                    self._todo.appendleft(set_communication_interval(self._interval_min, has_crc=self._has_crc))
            case AlertLevel(kind, level):
                self._settings[kind.value] = str(level) if isinstance(level, Decimal) else None
            case Calibration():
                self._take_calibration(answer)
            case CgmOpsResult() if self._interval_min is not None and answer.request == self._set_op:
                name = "interval_set_to_min" if answer.is_success else "interval_refused_with"
                self._settings[name] = self._interval_min if answer.is_success else int(answer.code)
            case _:
                pass

    def _take_calibration(self, calibration: Calibration) -> None:
        """The newest comes first, the others follow by falling number."""
        self._calibrations += 1
        if self._newest is None:
            self._newest = calibration
        if self._calibrations < _MOST_CALIBRATIONS and 0 < calibration.record_number < NEWEST_CALIBRATION:
            self._todo.append(get_calibration(calibration.record_number - 1, has_crc=self._has_crc))

    @property
    def _set_op(self) -> int:
        return set_communication_interval(1, has_crc=False)[0]


def _calibration_state(newest: Calibration, count: int) -> dict[str, str | int | bool | None]:
    glucose = newest.glucose_mg_dl
    return {
        "record_number": newest.record_number,
        "glucose_mg_dl": str(glucose) if isinstance(glucose, Decimal) else None,
        "time_offset_min": newest.time_offset_min,
        "next_calibration_min": newest.next_calibration_min,
        "status": " ".join(newest.status),
        "read": count,
    }
