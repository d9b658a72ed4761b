"""Reading a glucose meter whose record numbers name nothing: 0 is the newest, so that every test renumbers them all.

    subscribe, read the feature
    count everything, look at the record that the meter calls its last
      both as at the last complete visit -> close
      else -> report everything -> wait for what is late -> keep -> close

Whichever end of its memory a meter calls the last: a new test changes the count, or in a full memory both ends of it.

A record is named by its base time and its value. Everything is read again whenever anything is new, because no filter
can be trusted: numbers move, and a filter by time would pass over a test made after the clock was set back. Reading a
record twice changes nothing. There are no epochs: a memory that was cleared and begins again brings other base times.

Source: Bluetooth Glucose Profile 1.0, record access; the numbering was reported of FORA / TaiDoc meters.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from gateway.devices import racp
from gateway.devices.glucose import (
    GlucoseContext,
    GlucoseMeasurement,
    parse_glucose_measurement,
    parse_glucose_measurement_context,
)
from gateway.devices.ieee11073 import SfloatSpecial
from gateway.devices.procedures.glucose_watermark import GLUCOSE_CHECKPOINT
from gateway.devices.procedures.requests import (
    Close,
    Frame,
    GlucoseRecord,
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
from gateway.devices.racp import RacpCount, RacpOpCode, RacpResponseCode, RacpResult
from gateway.errors import MalformedFrame

__all__ = ["GlucoseDump"]

_MEASUREMENT: Final = "2a18"
_CONTEXT: Final = "2a34"
_FEATURE: Final = "2a51"
_RACP: Final = "2a52"
_IN_PROGRESS: Final = frozenset({0xFE, 0x80})
_BUSY: Final = frozenset(
    {RacpResponseCode.PROCEDURE_NOT_COMPLETED, RacpResponseCode.SERVER_BUSY, RacpResponseCode.ABORT_UNSUCCESSFUL}
)
_Name = tuple[datetime | None, Decimal | SfloatSpecial | None]


class _Step(enum.Enum):
    SUBSCRIBING = enum.auto()
    COUNTING = enum.auto()
    LOOKING = enum.auto()
    REPORTING = enum.auto()
    SETTLING = enum.auto()
    ABORTING = enum.auto()
    DONE = enum.auto()


class GlucoseDump:
    """One visit to a meter that numbers its records backwards.

    Args:
        state: the last durable checkpoint `glucose.records`, or None.
        is_dual: the meter marks ketone in the context only: a number whose context stays away is not told, and the
            visit does not count as complete.
    """

    def __init__(self, state: Mapping[str, str | int | bool | None] | None = None, *, is_dual: bool = False) -> None:
        state = state or {}
        self._known_count = state.get("count")
        self._known_last = state.get("last")
        self._is_dual = is_dual
        self._step = _Step.SUBSCRIBING
        self._count: int | None = None
        self._last: GlucoseMeasurement | None = None
        self._records: dict[tuple[int, _Name], tuple[GlucoseMeasurement, Frame]] = {}
        self._contexts: dict[int, tuple[GlucoseContext, Frame]] = {}
        self._spoiled: list[Spoiled] = []
        self._after_keep: list[Request] = []

    @property
    def is_done(self) -> bool:
        """Whether the visit is over."""
        return self._step is _Step.DONE

    @property
    def patience(self) -> Patience:
        """A short one while only latecomers are waited for."""
        if self._step is _Step.SETTLING:
            return Patience.LATECOMER if self._is_dual else Patience.QUIET
        return Patience.ANSWER

    def start(self) -> list[Request]:
        """Subscribe before anything is asked, as the service demands."""
        return [Subscribe(_MEASUREMENT), Subscribe(_CONTEXT), Subscribe(_RACP), Read(_FEATURE)]

    def on_read(self, char: str, data: bytes) -> list[Request]:
        """The feature says what the meter can detect; nothing here depends on it."""
        del data
        return self._begin() if char == _FEATURE and self._step is _Step.SUBSCRIBING else []

    def on_notify(self, char: str, data: bytes) -> list[Request]:
        """A record, its context, or an answer of the control point."""
        if self._step is _Step.DONE:
            return []
        frame = Frame(char, data)
        try:
            match char:
                case "2a52":
                    return self._on_answer(racp.parse_racp_response(data))
                case "2a18":
                    self._take(parse_glucose_measurement(data), frame)
                case "2a34" if self._step is not _Step.LOOKING:
                    context = parse_glucose_measurement_context(data)
                    self._contexts[context.sequence] = (context, frame)
                case _:
                    return []
        except MalformedFrame as error:
            self._spoiled.append(Spoiled(frame, str(error)))
        return self._settle() if self._step is _Step.SETTLING else []

    def on_kept(self) -> list[Request]:
        """The records are durable."""
        requests, self._after_keep = self._after_keep, []
        return requests

    def on_refused(self, char: str, att_code: int) -> list[Request]:
        """The context is optional, the feature is not needed; everything else ends the visit."""
        if self._step is _Step.DONE or char == _CONTEXT:
            return []
        if char == _FEATURE:
            return self._begin() if self._step is _Step.SUBSCRIBING else []
        outcome = Outcome.RETRY_LATER if att_code in _IN_PROGRESS else Outcome.REFUSED
        return self._finish(outcome, f"attribute error {att_code:#04x} on {char}")

    def on_silence(self) -> list[Request]:
        """What is late has not come, or the meter has died in mid-sentence: abort, then give up."""
        match self._step:
            case _Step.DONE:
                return []
            case _Step.SETTLING:
                return self._finish(Outcome.COMPLETE)
            case _Step.ABORTING | _Step.SUBSCRIBING:
                return self._finish(Outcome.SILENT, "no answer")
            case _:
                self._step = _Step.ABORTING
                return [Write(_RACP, racp.abort())]

    def on_link_lost(self) -> list[Request]:
        """Keep what has come and lacks nothing; the next visit reads everything again."""
        requests: list[Request] = [] if self._step is _Step.DONE else self._keep(is_whole=False)
        self._step = _Step.DONE
        return requests

    # --- asking -------------------------------------------------------------------------------------------------

    def _begin(self) -> list[Request]:
        self._step = _Step.COUNTING
        return [Write(_RACP, racp.count_all())]

    def _look(self) -> list[Request]:
        """Is its last record the one that was the last? A meter that cannot say so is read whole."""
        self._step = _Step.LOOKING
        return [Write(_RACP, racp.report_last())]

    def _report(self) -> list[Request]:
        self._step = _Step.REPORTING
        return [Write(_RACP, racp.report_all())]

    def _on_answer(self, answer: RacpCount | RacpResult) -> list[Request]:
        if self._step is _Step.ABORTING:
            return self._finish(Outcome.SILENT, "aborted")
        if isinstance(answer, RacpResult) and answer.code in _BUSY:
            return self._finish(Outcome.RETRY_LATER, f"record access code {int(answer.code)}")
        match self._step:
            case _Step.COUNTING:
                self._count = answer.count if isinstance(answer, RacpCount) else None
                return self._look()
            case _Step.LOOKING:
                is_known = self._last is not None and _name_text(self._last) == self._known_last
                is_as_many = self._count is not None and self._count == self._known_count
                return self._finish(Outcome.COMPLETE) if is_known and is_as_many else self._report()
            case _Step.REPORTING if isinstance(answer, RacpResult) and answer.request == RacpOpCode.REPORT_RECORDS:
                if not answer.is_success:
                    return self._finish(Outcome.REFUSED, f"record access code {int(answer.code)}")
                self._step = _Step.SETTLING
                return self._settle()
            case _:
                return []

    # --- hearing and keeping ------------------------------------------------------------------------------------

    def _take(self, measurement: GlucoseMeasurement, frame: Frame) -> None:
        if self._step is _Step.LOOKING:
            self._last = measurement
        else:
            self._records[measurement.sequence, _name(measurement)] = (measurement, frame)

    def _is_complete(self, measurement: GlucoseMeasurement) -> bool:
        return not measurement.has_context or measurement.sequence in self._contexts

    @property
    def _is_whole(self) -> bool:
        has_all = self._count is None or len(self._records) >= self._count
        return has_all and all(self._is_complete(measurement) for measurement, _ in self._records.values())

    def _settle(self) -> list[Request]:
        return self._finish(Outcome.COMPLETE) if self._is_whole else []

    def _finish(self, outcome: Outcome, detail: str | None = None) -> list[Request]:
        was_read = self._step is _Step.SETTLING
        kept = self._keep(is_whole=was_read)
        self._step = _Step.DONE
        close = Close(outcome, detail)
        if not kept:
            return [close]
        self._after_keep = [close]
        return kept

    def _keep(self, *, is_whole: bool) -> list[Request]:
        """Everything that has come; while the report runs, only what does not wait for its context."""
        records: list[GlucoseRecord] = []
        seen: Counter[_Name] = Counter()
        for measurement, frame in sorted(self._records.values(), key=lambda entry: -entry[0].sequence):
            name = _name(measurement)
            occurrence, seen[name] = seen[name], seen[name] + 1
            if not is_whole and not self._is_complete(measurement):
                continue
            context, *more = self._contexts.get(measurement.sequence, (None,))
            is_undecided = self._is_dual and measurement.has_context and context is None
            records.append(
                GlucoseRecord(measurement, context, (frame, *more), occurrence=occurrence, is_undecided=is_undecided)
            )
        mark = self._mark() if is_whole and self._is_whole and not self._spoiled else None
        if not records and not self._spoiled and mark is None:
            return []
        return [Keep(tuple(records), tuple(self._spoiled), mark=mark)]

    def _mark(self) -> Mark | None:
        """What a visit that finds nothing new will find: as many records, and the same one to be called the last."""
        if self._count is None or self._last is None:
            return None
        return Mark(GLUCOSE_CHECKPOINT, {"epoch": 0, "count": self._count, "last": _name_text(self._last)})


def _name(measurement: GlucoseMeasurement) -> _Name:
    return measurement.base_time, measurement.concentration


def _name_text(measurement: GlucoseMeasurement) -> str:
    """A name that fits into a checkpoint."""
    base_time = measurement.base_time
    value = measurement.concentration
    text = value.name if isinstance(value, SfloatSpecial) else str(value)
    return f"{'unknown' if base_time is None else base_time.isoformat()}#{text}"
