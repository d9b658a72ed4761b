"""Following a continuous glucose sensor: CGM Service 181F.

    feature (is there a CRC?) -> status -> session start (written once, when the sensor asks for the time) -> run time
    -> subscribe -> report what was missed, from the offset after the last one -> live, until the link drops

Every notification is kept at once. The checkpoint moves with the live records only once the answer to the report is
complete: before that, an outage could be stepped over. A live record that leaves out more than a sensor's usual step is
an outage too: what lies between is asked for before the checkpoint passes it. The therapy (start, stop, calibration,
alerts) is never touched.

A session that was stopped, or whose time has run out and that brings nothing more, ends the contact once all of it has
been read. The next contact follows whatever session the sensor is in then.

Source: Bluetooth Continuous Glucose Monitoring Profile 1.0.2; Service 1.0.2, E2E-CRC. The service protects its frames
by a CRC alone: no counter is read (none is known for this service). What a counter would show, a
record lost or repeated, shows in the time offsets, which name each record.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
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
from gateway.devices.procedures.cgm_checkpoint import CGM_CHECKPOINT, LAST_OFFSET, CgmCheckpoint
from gateway.devices.procedures.cgm_inquiry import CgmInquiry
from gateway.devices.procedures.requests import (
    ATT_NOT_FOUND,
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

__all__ = ["CGM_CHECKPOINT", "CGM_ENDED_FACT", "CgmSession"]

CGM_ENDED_FACT: Final = "cgm.ended"
_MEASUREMENT: Final = "2aa7"
_FEATURE: Final = "2aa8"
_STATUS: Final = "2aa9"
_START: Final = "2aaa"
_RUN_TIME: Final = "2aab"
_RACP: Final = "2a52"
_OPS: Final = "2aac"
_STOPPED: Final = "session_stopped"
_TIME_WANTED: Final = "time_synchronisation_required"
_IN_PROGRESS: Final = frozenset({0xFE, 0x80})
_SAME_SESSION: Final = timedelta(minutes=1)
"""Two session starts closer than this are one: a sensor that computes its start may round differently."""
_DRIFT: Final = timedelta(minutes=30)
"""A sensor that computes its start from a clock that is set or drifts may move it by less than this."""
_USUAL_STEP_MIN: Final = 5
_LONGEST_STEP_MIN: Final = 15
"""No sensor speaks more rarely; a longer step that was heard was an outage, and teaches nothing."""
_STEPS_LEARNED: Final = 12


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
        clock_is_trusted: whether `local_now` can be right; a sensor is never told a time that is not.
        interval_min: at what interval its owner wants it to notify, 1..60 minutes; None: leave it alone.

    Attributes:
        run_time_h: expected life of the sensor from the session start, hours; None until read.
    """

    def __init__(
        self,
        local_now: datetime,
        state: Mapping[str, str | int | bool | None] | None = None,
        *,
        clock_is_trusted: bool = True,
        interval_min: int | None = None,
    ) -> None:
        self._local_now = local_now
        self._clock_is_trusted = clock_is_trusted
        self._interval_min = interval_min
        self._inquiry: CgmInquiry | None = None
        self._is_stopped = False
        read = CgmCheckpoint.of(state)
        self._session_start, self._offset, self._asked_on = read.session_start, read.offset, read.asked_on
        self._step = _Step.FEATURE
        self._feature: CgmFeature | None = None
        self._wants_time = False
        self._has_records_access = True
        self._status_offset: int | None = None
        self._steps: deque[int] = deque(maxlen=_STEPS_LEARNED)
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
        is_asking = self._inquiry is not None and self._inquiry.is_open
        return Patience.LONG if self._step is _Step.LIVE and not is_asking else Patience.ANSWER

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
                    status = parse_cgm_status(data, has_crc=self._has_crc)
                    self._wants_time, self._status_offset = _TIME_WANTED in status.status, status.time_offset_min
                    self._is_stopped = _STOPPED in status.status
                    self._step = _Step.START
                    return [Read(_START)]
                case ("2aaa", _Step.START | _Step.START_WRITTEN):
                    return self._on_start(data)
                case ("2aaa", _Step.LIVE | _Step.CATCHING_UP) if self._held:
                    return self._on_start_again(data)
                case ("2aab", _Step.RUN_TIME):
                    self.run_time_h = parse_session_run_time(data, has_crc=self._has_crc)
                    return self._catch_up()
                case _:
                    return []
        except MalformedFrame as error:
            keep = Keep(spoiled=(Spoiled(Frame(char, data), str(error)),))
            if char == _RUN_TIME:
                return [keep, *self._catch_up()]
            return [keep, *self._close(Outcome.REFUSED, f"unreadable {char}")]

    def on_notify(self, char: str, data: bytes) -> list[Request]:
        """Records, live or from the memory, and answers of the control point."""
        if self._step is _Step.DONE:
            return []
        if char == _RACP:
            return self._on_answer(data)
        if char == _OPS and self._inquiry is not None:
            return self._learned(self._inquiry.on_answer(data))
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
            case ("2aaa", _Step.LIVE | _Step.CATCHING_UP) if self._held:
                return self._close(Outcome.RETRY_LATER, "the session start cannot be read again")
            case ("2a52", _Step.CATCHING_UP):
                if att_code in _IN_PROGRESS:
                    return self._close(Outcome.RETRY_LATER, f"attribute error {att_code:#04x} on {char}")
                return self._go_live()
            case ("2aac", _) if self._inquiry is not None:
                return self._learned(self._inquiry.give_up(is_missing=att_code == ATT_NOT_FOUND))
            case (_, _Step.DONE | _Step.LIVE):
                return []
            case _:
                return self._close(Outcome.REFUSED, f"attribute error {att_code:#04x} on {char}")

    def on_silence(self) -> list[Request]:
        """Only an answer can be overdue: abort the report, and leave if even that stays unanswered."""
        match self._step:
            case _Step.LIVE if self._inquiry is not None and self._inquiry.is_open:
                return self._learned(self._inquiry.give_up())
            case _Step.LIVE | _Step.DONE:
                return []
            case _Step.CATCHING_UP:
                self._step = _Step.ABORTING
                return [Write(_RACP, racp.abort())]
            case _:
                return self._close(Outcome.SILENT, "no answer")

    def on_link_lost(self) -> list[Request]:
        """Everything that came is kept already, but for what waits for its session start, and today's answers.

        A sensor that hangs up over a question is not asked again today.
        """
        inquiry = self._inquiry
        learned = self._learned(inquiry.give_up()) if inquiry is not None and inquiry.is_open else []
        self._step = _Step.DONE
        return [*learned, *self._release()]

    # --- the session --------------------------------------------------------------------------------------------

    @property
    def _has_crc(self) -> bool:
        return self._feature is not None and self._feature.has_crc

    def _on_start(self, data: bytes) -> list[Request]:
        said = parse_session_start_time(data, has_crc=self._has_crc)
        if self._is_stopped and not said.is_set:
            return self._close(Outcome.SESSION_ENDED, "no session is running")
        may_write = self._step is not _Step.START_WRITTEN and self._clock_is_trusted and not self._is_stopped
        if (self._wants_time or not said.is_set) and may_write:
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
        if not self._is_same_session(start):
            self._session_start, self._offset, self._heard, self._asked_on = start, None, None, None
        self._status_offset = None
        return True

    def _is_same_session(self, start: datetime) -> bool:
        """Whether `start` is the start that is known already, said a little differently.

        A session that follows another begins after its last record; so a shift that is smaller than what has been read
        of the session is no new one. The first start that was heard stays: it is part of the name of every record.
        """
        if self._session_start is None:
            return False
        shift = abs(start - self._session_start)
        if shift <= _SAME_SESSION:
            return True
        now, read = self._status_offset, self._offset
        if now is not None and read is not None and now < read:
            return False
        elapsed_min = read if read is not None else now
        return elapsed_min is not None and shift < min(_DRIFT, timedelta(minutes=elapsed_min))

    def _catch_up(self) -> list[Request]:
        self._asked_all = self._offset == LAST_OFFSET
        return [Subscribe(_MEASUREMENT), Subscribe(_RACP), self._ask()]

    def _ask(self) -> Request:
        """For everything after the checkpoint."""
        self._step = _Step.CATCHING_UP
        first = 0 if self._offset is None else min(self._offset + 1, LAST_OFFSET)
        selection = racp.all_records() if self._asked_all else racp.time_offset_at_least(first)
        return Write(_RACP, racp.report(selection))

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
            return self._begin_live()
        if answer.code in {RacpResponseCode.PROCEDURE_NOT_COMPLETED, RacpResponseCode.SERVER_BUSY}:
            return self._close(Outcome.RETRY_LATER, f"record access code {int(answer.code)}")
        if answer.code == RacpResponseCode.OP_CODE_NOT_SUPPORTED or self._asked_all:
            return self._go_live()
        self._asked_all = True
        return [Write(_RACP, racp.report_all())]

    def _go_live(self) -> list[Request]:
        """A sensor without a readable memory: what is heard is all there is."""
        self._has_records_access = False
        return self._begin_live()

    def _begin_live(self) -> list[Request]:
        """All that was missed is there: is more to come?"""
        self._step = _Step.LIVE
        kept: list[Request] = [self._kept()] if self._advance() else []
        if (why := self._why_over()) is not None:
            return [*kept, *self._end(why)]
        today = self._local_now.date().isoformat()
        if self._asked_on == today or self._inquiry is not None:
            return kept
        self._inquiry = CgmInquiry(has_crc=self._has_crc, asked_on=today, interval_min=self._interval_min)
        return [*kept, *self._inquiry.start()]

    def _learned(self, requests: list[Request]) -> list[Request]:
        """The answers of today, with the checkpoint that says that they were asked for."""
        if not any(isinstance(request, Keep) for request in requests):
            return requests
        self._asked_on = self._local_now.date().isoformat()
        return [replace(request, mark=self._mark) if isinstance(request, Keep) else request for request in requests]

    def _why_over(self) -> str | None:
        """A stopped session, or one whose time has run out without a record from after it; None: it goes on."""
        if self._is_stopped:
            return "the session was stopped"
        start, run_time_h = self._session_start, self.run_time_h
        if start is None or not run_time_h or not self._clock_is_trusted:
            return None
        life = timedelta(hours=run_time_h)
        is_alive = self._offset is not None and timedelta(minutes=self._offset) > life
        if is_alive or self._local_now - start < life:
            return None
        ended = (start + life).astimezone(self._local_now.tzinfo)
        return f"the sensor's time ended at {ended.isoformat(timespec='minutes')}"

    def _end(self, why: str) -> list[Request]:
        start = self._session_start
        state = {"session_start": None if start is None else start.isoformat(), "why": why, "offset": self._offset}
        return [Keep(facts=(Mark(CGM_ENDED_FACT, state),)), *self._close(Outcome.SESSION_ENDED, why)]

    def _close(self, outcome: Outcome, detail: str) -> list[Request]:
        self._step = _Step.DONE
        return [*self._release(), Close(outcome, detail)]

    def _release(self) -> list[Request]:
        """What waits for its session start is kept at least as it came."""
        held, self._held = self._held, []
        return [Keep(loose=tuple(Frame(_MEASUREMENT, data) for data in held))] if held else []

    # --- the records --------------------------------------------------------------------------------------------

    def _take(self, data: bytes, *, is_verified: bool = False) -> list[Request]:
        frame = Frame(_MEASUREMENT, data)
        try:
            records = parse_cgm_measurement(data, has_crc=self._has_crc)
        except MalformedFrame as error:
            return [self._kept(spoiled=Spoiled(frame, str(error)))]
        offsets = sorted(record.time_offset_min for record in records)
        newest = offsets[-1]
        if self._step is _Step.LIVE and not is_verified and self._offset is not None and newest < self._offset:
            self._held.append(data)
            return [Read(_START)] if len(self._held) == 1 else []
        is_gap = self._step is _Step.LIVE and self._has_records_access and self._leaves_a_gap(offsets)
        self._learn_step(offsets)
        self._heard = newest if self._heard is None else max(self._heard, newest)
        if self._step is _Step.LIVE:
            self._is_stopped = _STOPPED in max(records, key=lambda record: record.time_offset_min).status
        if is_gap:
            return [self._kept(records, frame, with_mark=False), self._ask()]
        is_further = self._step is _Step.LIVE and self._advance()
        kept: list[Request] = [self._kept(records, frame, with_mark=is_further)]
        is_over = self._is_stopped and self._step is _Step.LIVE
        return [*kept, *self._end("the session was stopped")] if is_over else kept

    def _leaves_a_gap(self, offsets: Sequence[int]) -> bool:
        """Whether a live notification (minutes, ascending) lies further behind the checkpoint than usual."""
        if self._offset is None:
            return False
        known = [self._offset, *(offset for offset in offsets if offset > self._offset)]
        usual_min = min(self._steps, default=_USUAL_STEP_MIN)
        return any(2 * (later - earlier) > 3 * usual_min for earlier, later in pairwise(known))

    def _learn_step(self, offsets: Sequence[int]) -> None:
        heard = offsets if self._heard is None else [self._heard, *offsets]
        self._steps.extend(
            later - earlier for earlier, later in pairwise(heard) if 0 < later - earlier <= _LONGEST_STEP_MIN
        )

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
        mark = self._mark if with_mark and spoiled is None else None
        return Keep(
            records=samples,
            spoiled=() if spoiled is None else (spoiled,),
            mark=mark,
            is_told_once=not self._has_records_access,
        )

    @property
    def _mark(self) -> Mark | None:
        return CgmCheckpoint(self._session_start, self._offset, self._asked_on).mark
