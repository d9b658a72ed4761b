"""Following a continuous glucose sensor: CGM Service 181F.

    feature (is there a CRC?) -> status -> session start (written once, when the sensor asks for the time) -> run time
    -> subscribe -> report what was missed, from the offset after the last one -> live, until the link drops

Every notification is kept at once. The checkpoint moves with the live records only once the answer to the report is
complete: before that, an outage could be stepped over. The therapy (start, stop, calibration, alerts) is never touched.

Source: Bluetooth Continuous Glucose Monitoring Profile 1.0.1.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.devices import racp
from gateway.devices.cgm import (
    CgmFeature,
    CgmRecord,
    SessionStart,
    parse_cgm_feature,
    parse_cgm_measurement,
    parse_cgm_status,
    parse_session_run_time,
    parse_session_start_time,
    write_session_start_time,
)
from gateway.devices.procedures.requests import (
    CgmSample,
    Close,
    Frame,
    Keep,
    Mark,
    Outcome,
    Patience,
    Read,
    Request,
    Spoiled,
    Subscribe,
    Write,
)
from gateway.devices.racp import RacpCount, RacpOpCode, RacpResponseCode
from gateway.errors import MalformedFrame

__all__ = ["CGM_CHECKPOINT", "CgmSession"]

CGM_CHECKPOINT: Final = "cgm.session"
_MEASUREMENT: Final = "2aa7"
_FEATURE: Final = "2aa8"
_STATUS: Final = "2aa9"
_START: Final = "2aaa"
_RUN_TIME: Final = "2aab"
_RACP: Final = "2a52"
_TIME_WANTED: Final = "time_synchronisation_required"
_IN_PROGRESS: Final = frozenset({0xFE, 0x80})
_LAST_OFFSET: Final = 0xFFFF
_SAME_SESSION: Final = timedelta(minutes=1)
"""Two session starts closer than this are one: a sensor that computes its start may round differently."""


class _Step(enum.Enum):
    FEATURE = enum.auto()
    STATUS = enum.auto()
    START = enum.auto()
    START_WRITTEN = enum.auto()
    RUN_TIME = enum.auto()
    CATCHING_UP = enum.auto()
    ABORTING = enum.auto()
    LIVE = enum.auto()
    DONE = enum.auto()


class CgmSession:
    """One connection to a sensor.

    Args:
        local_now: aware, the owner's wall clock and zone now; written to a sensor that does not know the time.
        state: the last durable checkpoint `cgm.session`, or None.

    Attributes:
        run_time_h: expected life of the sensor from the session start, hours; None until read.
    """

    def __init__(self, local_now: datetime, state: Mapping[str, str | int | bool | None] | None = None) -> None:
        self._local_now = local_now
        self._session_start, self._offset = _parsed(state or {})
        self._step = _Step.FEATURE
        self._feature: CgmFeature | None = None
        self._wants_time = False
        self._has_records_access = True
        self._heard: int | None = None
        self._asked_all = False
        self._held: list[bytes] = []
        self.run_time_h: int | None = None

    @property
    def is_done(self) -> bool:
        """Whether the session cannot go on."""
        return self._step is _Step.DONE

    @property
    def patience(self) -> Patience:
        """A sensor speaks every few minutes, and may be out of its own range for hours."""
        return Patience.FOREVER if self._step is _Step.LIVE else Patience.ANSWER

    def start(self) -> list[Request]:
        """The feature first: it decides how every other frame is read."""
        return [Read(_FEATURE)]

    def on_read(self, char: str, data: bytes) -> list[Request]:
        """The four characteristics that say where the session stands."""
        try:
            match char, self._step:
                case ("2aa8", _Step.FEATURE):
                    self._feature = parse_cgm_feature(data)
                    self._step = _Step.STATUS
                    return [Read(_STATUS)]
                case ("2aa9", _Step.STATUS):
                    self._wants_time = _TIME_WANTED in parse_cgm_status(data, has_crc=self._has_crc).status
                    self._step = _Step.START
                    return [Read(_START)]
                case ("2aaa", _Step.START | _Step.START_WRITTEN):
                    return self._on_start(data)
                case ("2aaa", _Step.LIVE):
                    return self._on_start_again(data)
                case ("2aab", _Step.RUN_TIME):
                    self.run_time_h = parse_session_run_time(data, has_crc=self._has_crc)
                    return self._catch_up()
                case _:
                    return []
        except MalformedFrame as error:
            if char == _RUN_TIME:
                return self._catch_up()
            keep = Keep(spoiled=(Spoiled(Frame(char, data), str(error)),))
            self._step = _Step.DONE
            return [keep, Close(Outcome.REFUSED, f"unreadable {char}")]

    def on_notify(self, char: str, data: bytes) -> list[Request]:
        """Records, live or from the memory, and answers of the control point."""
        if self._step is _Step.DONE:
            return []
        if char == _RACP:
            return self._on_answer(data)
        return self._take(data) if char == _MEASUREMENT else []

    def on_kept(self) -> list[Request]:
        """Nothing waits for it: the sensor keeps its records for the whole session."""
        return []

    def on_refused(self, char: str, att_code: int) -> list[Request]:
        """Status, run time and record access may be missing; feature, start and measurement may not."""
        match char, self._step:
            case ("2aa9", _Step.STATUS):
                self._step = _Step.START
                return [Read(_START)]
            case ("2aab", _Step.RUN_TIME):
                return self._catch_up()
            case ("2aaa", _Step.START_WRITTEN):
                return []
            case ("2aaa", _Step.LIVE):
                return self._close(Outcome.RETRY_LATER, "the session start cannot be read again")
            case ("2a52", _Step.CATCHING_UP):
                if att_code in _IN_PROGRESS:
                    return self._close(Outcome.RETRY_LATER, f"attribute error {att_code:#04x} on {char}")
                return self._go_live()
            case (_, _Step.DONE | _Step.LIVE):
                return []
            case _:
                return self._close(Outcome.REFUSED, f"attribute error {att_code:#04x} on {char}")

    def on_silence(self) -> list[Request]:
        """Only an answer can be overdue: abort the report, and leave if even that stays unanswered."""
        match self._step:
            case _Step.LIVE | _Step.DONE:
                return []
            case _Step.CATCHING_UP:
                self._step = _Step.ABORTING
                return [Write(_RACP, racp.abort())]
            case _:
                return self._close(Outcome.SILENT, "no answer")

    def on_link_lost(self) -> list[Request]:
        """Everything that came is kept already, but for what waits for its session start."""
        self._step = _Step.DONE
        held, self._held = self._held, []
        return [Keep(loose=tuple(Frame(_MEASUREMENT, data) for data in held))] if held else []

    # --- the session --------------------------------------------------------------------------------------------

    @property
    def _has_crc(self) -> bool:
        return self._feature is not None and self._feature.has_crc

    def _on_start(self, data: bytes) -> list[Request]:
        said = parse_session_start_time(data, has_crc=self._has_crc)
        was_written = self._step is _Step.START_WRITTEN
        if (self._wants_time or not said.is_set) and not was_written:
            self._step = _Step.START_WRITTEN
            now = write_session_start_time(self._local_now, has_crc=self._has_crc)
            return [Write(_START, now), Read(_START)]
        if not self._begin(said):
            return self._close(Outcome.RETRY_LATER, "the sensor does not know when its session began")
        self._step = _Step.RUN_TIME
        return [Read(_RUN_TIME)]

    def _on_start_again(self, data: bytes) -> list[Request]:
        """The offset went back: a late record of this session, or the first of a new one."""
        if not self._begin(parse_session_start_time(data, has_crc=self._has_crc)):
            return self._close(Outcome.RETRY_LATER, "the sensor does not know when its session began")
        held, self._held = self._held, []
        return [request for frame in held for request in self._take(frame, is_verified=True)]

    def _begin(self, said: SessionStart) -> bool:
        """Adopt the session that the sensor speaks of; False when it does not know its start."""
        zone = self._local_now.tzinfo
        start = said.start if zone is None else said.start_in(zone)
        if start is None:
            return False
        if self._session_start is None or abs(start - self._session_start) > _SAME_SESSION:
            self._session_start, self._offset, self._heard = start, None, None
        return True

    def _catch_up(self) -> list[Request]:
        self._step = _Step.CATCHING_UP
        self._asked_all = self._offset == _LAST_OFFSET
        first = 0 if self._offset is None or self._asked_all else self._offset + 1
        selection = racp.all_records() if self._asked_all else racp.time_offset_at_least(first)
        return [Subscribe(_MEASUREMENT), Subscribe(_RACP), Write(_RACP, racp.report(selection))]

    def _on_answer(self, data: bytes) -> list[Request]:
        try:
            answer = racp.parse_racp_response(data)
        except MalformedFrame as error:
            return [self._kept(spoiled=Spoiled(Frame(_RACP, data), str(error)))]
        if self._step is _Step.ABORTING:
            return self._close(Outcome.SILENT, "aborted")
        is_ours = not isinstance(answer, RacpCount) and answer.request == RacpOpCode.REPORT_RECORDS
        if self._step is not _Step.CATCHING_UP or isinstance(answer, RacpCount) or not is_ours:
            return []
        if answer.is_success:
            self._step = _Step.LIVE
            return [self._kept()] if self._advance() else []
        if answer.code in {RacpResponseCode.PROCEDURE_NOT_COMPLETED, RacpResponseCode.SERVER_BUSY}:
            return self._close(Outcome.RETRY_LATER, f"record access code {int(answer.code)}")
        if answer.code == RacpResponseCode.OP_CODE_NOT_SUPPORTED or self._asked_all:
            return self._go_live()
        self._asked_all = True
        return [Write(_RACP, racp.report_all())]

    def _go_live(self) -> list[Request]:
        """A sensor without a readable memory: what is heard is all there is."""
        self._has_records_access = False
        self._step = _Step.LIVE
        return [self._kept()] if self._advance() else []

    def _close(self, outcome: Outcome, detail: str) -> list[Request]:
        self._step = _Step.DONE
        return [Close(outcome, detail)]

    # --- the records --------------------------------------------------------------------------------------------

    def _take(self, data: bytes, *, is_verified: bool = False) -> list[Request]:
        frame = Frame(_MEASUREMENT, data)
        try:
            records = parse_cgm_measurement(data, has_crc=self._has_crc)
        except MalformedFrame as error:
            return [self._kept(spoiled=Spoiled(frame, str(error)))]
        newest = max(record.time_offset_min for record in records)
        if self._step is _Step.LIVE and not is_verified and self._offset is not None and newest < self._offset:
            self._held.append(data)
            return [Read(_START)] if len(self._held) == 1 else []
        self._heard = newest if self._heard is None else max(self._heard, newest)
        is_further = self._step is _Step.LIVE and self._advance()
        return [self._kept(records, frame, with_mark=is_further)]

    def _advance(self) -> bool:
        """Let the checkpoint follow what has come; whether it moved."""
        heard = self._heard
        if heard is None or (self._offset is not None and heard <= self._offset):
            return False
        self._offset = heard
        return True

    def _kept(
        self,
        records: tuple[CgmRecord, ...] = (),
        frame: Frame | None = None,
        *,
        spoiled: Spoiled | None = None,
        with_mark: bool = True,
    ) -> Keep:
        start = self._session_start
        samples: tuple[CgmSample, ...] = ()
        if start is not None and frame is not None:
            samples = tuple(CgmSample(record, start, self._feature, (frame,)) for record in records)
        mark = None
        if with_mark and spoiled is None and start is not None:
            mark = Mark(CGM_CHECKPOINT, {"session_start": start.isoformat(), "offset": self._offset})
        return Keep(
            records=samples,
            spoiled=() if spoiled is None else (spoiled,),
            mark=mark,
            is_told_once=not self._has_records_access,
        )


def _parsed(state: Mapping[str, str | int | bool | None]) -> tuple[datetime | None, int | None]:
    """Session start (aware, UTC) and last offset of a checkpoint; what no checkpoint says counts as None."""
    text, offset = state.get("session_start"), state.get("offset")
    try:
        start = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None, None
    if start is None or start.tzinfo is None:
        return None, None
    is_offset = isinstance(offset, int) and 0 <= offset <= _LAST_OFFSET
    return start.astimezone(UTC), offset if is_offset and isinstance(offset, int) else None
