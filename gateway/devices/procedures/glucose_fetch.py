"""Reading the new records of a glucose meter: Glucose Service 1808 with its Record Access Control Point.

    subscribe, read the feature
    after a first dump that broke off -> look at the oldest record: did what came begin there?
    count what lies past the watermark
      nothing -> look at the newest record: a lower number -> is the record of the watermark still there?
      some    -> look at the record of the watermark: is it still the same one? if it is gone, at the oldest one left:
                 what lies between them is lost, which is declared
    report -> wait for what is late -> keep -> (something is missing: report once more) -> close

A meter that cannot count is asked for records and count in one, a newer request, before it is asked for records alone;
one that does not know ">= number" for a range of numbers before everything.

Records are durable before the watermark passes them, and before the next request is written. A record whose context is
promised and has not come is not kept before the report has been answered in full: a dual meter says only in the context
that a number is ketone. If the context stays away even then, the record is kept without it.

Source: Bluetooth Glucose Profile 1.0, record access; Glucose Service 1.0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from gateway.devices import racp
from gateway.devices.glucose import (
    GlucoseContext,
    GlucoseMeasurement,
    parse_glucose_feature,
    parse_glucose_measurement,
    parse_glucose_measurement_context,
)
from gateway.devices.procedures._glucose_asking import Asking
from gateway.devices.procedures._glucose_heard import Heard, Key
from gateway.devices.procedures._glucose_steps import BUSY, WITNESSING
from gateway.devices.procedures._glucose_steps import Step as _Step
from gateway.devices.procedures.glucose_gap import GlucoseGap, gap_before, gap_of_new_life
from gateway.devices.procedures.glucose_watermark import GlucoseWatermark
from gateway.devices.procedures.requests import (
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
from gateway.devices.racp import RacpCount, RacpOpCode, RacpResponseCode, RacpResult
from gateway.errors import MalformedFrame

__all__ = ["FEATURE_FACT", "GlucoseFetch"]

FEATURE_FACT: Final = "glucose.feature"

_MEASUREMENT: Final = "2a18"
_CONTEXT: Final = "2a34"
_FEATURE: Final = "2a51"
_RACP: Final = "2a52"
_IN_PROGRESS: Final = frozenset({0xFE, 0x80})
_NO_RECORDS: Final = RacpResponseCode.NO_RECORDS_FOUND


class GlucoseFetch:
    """One visit to a meter.

    Args:
        state: the last durable checkpoint `glucose.records`, or None.
        is_dual: the meter marks ketone in the context only: a number whose context stays away is not told, and the
            watermark stays below it, so that it is asked for again.
    """

    def __init__(
        self,
        state: Mapping[str, str | int | bool | None] | None = None,
        *,
        is_dual: bool = False,
    ) -> None:
        self._is_dual = is_dual
        self._durable = GlucoseWatermark.of(state)
        self._base = self._durable
        self._step = _Step.SUBSCRIBING
        self._asking = Asking(self._base)
        self._gap: GlucoseGap | None = None
        self._suspected: GlucoseGap | None = None
        self._facts: list[Mark] = []
        self._has_news = False
        self._is_same_life = False
        self._newest: GlucoseMeasurement | None = None
        self._has_looked = False
        self._was_cleared = False
        self._heard = Heard()
        self._witness: GlucoseMeasurement | None = None
        self._awaits_witness = False
        self._interrupted = self._step
        self._after_keep: list[Request] = []

    @property
    def is_done(self) -> bool:
        """Whether the visit is over."""
        return self._step is _Step.DONE

    @property
    def patience(self) -> Patience:
        """A short one while only latecomers are waited for."""
        if self._step is _Step.SETTLING and self._is_dual:
            return Patience.LATECOMER
        return Patience.QUIET if self._step is _Step.SETTLING or self._awaits_witness else Patience.ANSWER

    def start(self) -> list[Request]:
        """Subscribe before anything is asked, as the service demands."""
        return [Subscribe(_MEASUREMENT), Subscribe(_CONTEXT), Subscribe(_RACP), Read(_FEATURE)]

    def on_read(self, char: str, data: bytes) -> list[Request]:
        """What the meter can detect is a fact about it: a status bit that it cannot set says nothing when clear."""
        if char == _FEATURE and self._step is _Step.SUBSCRIBING:
            self._take_feature(data)
        return self._begin() if char == _FEATURE and self._step is _Step.SUBSCRIBING else []

    def on_notify(self, char: str, data: bytes) -> list[Request]:
        """A record, its context, or an answer of the control point."""
        if self._step is _Step.DONE:
            return []
        try:
            if char == _RACP:
                return self._on_answer(racp.parse_racp_response(data))
            if char == _MEASUREMENT:
                self._take_measurement(parse_glucose_measurement(data), Frame(char, data))
            elif char == _CONTEXT:
                self._take_context(parse_glucose_measurement_context(data), Frame(char, data))
        except MalformedFrame as error:
            spoiled = Spoiled(Frame(char, data), str(error))
            self._heard.add_spoiled(spoiled, is_measurement=char == _MEASUREMENT)
        if self._awaits_witness and self._witness is not None:
            return self._on_witness()
        return self._settle() if self._step is _Step.SETTLING else []

    def on_kept(self) -> list[Request]:
        """Only now may the meter be asked for more."""
        requests, self._after_keep = self._after_keep, []
        return requests

    def on_refused(self, char: str, att_code: int) -> list[Request]:
        """The context is optional, the feature is not needed; everything else ends the visit."""
        if self._step is _Step.DONE or char == _CONTEXT:
            return []
        if char == _FEATURE:
            return self._begin() if self._step is _Step.SUBSCRIBING else []
        if char == _RACP and att_code in _IN_PROGRESS and not self._was_cleared:
            self._was_cleared = True
            self._interrupted, self._step = self._step, _Step.CLEARING
            return [Write(_RACP, racp.abort())]
        outcome = Outcome.RETRY_LATER if att_code in _IN_PROGRESS else Outcome.REFUSED
        return self._finish(outcome, f"attribute error {att_code:#04x} on {char}")

    def on_silence(self) -> list[Request]:
        """What is late has not come, or the meter has died in mid-sentence: abort, then give up."""
        match self._step:
            case _Step.SETTLING:
                return self._conclude()
            case step if step in WITNESSING and self._awaits_witness:
                return self._on_witness()
            case _Step.DONE:
                return []
            case _Step.ABORTING | _Step.SUBSCRIBING:
                return self._finish(Outcome.SILENT, "no answer")
            case _:
                self._step = _Step.ABORTING
                return [Write(_RACP, racp.abort())]

    def on_link_lost(self) -> list[Request]:
        """Keep what has come; the watermark moves over an unbroken run only."""
        requests = self._partial()
        self._step = _Step.DONE
        return requests

    # --- asking -------------------------------------------------------------------------------------------------

    def _begin(self) -> list[Request]:
        return self._count() if self._base.run is None else self._ask_one(_Step.LOOKING_AT_OLDEST, racp.first_record())

    def _ask_one(self, step: _Step, selection: racp.Selection) -> list[Request]:
        self._step, self._witness = step, None
        return [Write(_RACP, racp.report(selection))]

    def _count(self) -> list[Request]:
        self._step = _Step.COUNTING
        return [Write(_RACP, self._asking.count(self._base))]

    def _probe(self) -> list[Request]:
        """Before a report: is the record of the watermark still the one that was read?"""
        sequence = self._base.sequence
        if self._asking.is_for_all or sequence is None or self._is_same_life:
            return self._report()
        return self._ask_one(_Step.PROBING, racp.sequence_within(sequence, sequence))

    def _report(self) -> list[Request]:
        self._step = _Step.REPORTING
        self._heard.spoiled_measurements = 0
        return [Write(_RACP, self._asking.report(self._base))]

    def _look_at_newest(self) -> list[Request]:
        if self._base.sequence is None or self._is_same_life or self._has_looked:
            return self._finish(Outcome.COMPLETE)
        self._has_looked = True
        return self._ask_one(_Step.LOOKING_AT_NEWEST, racp.last_record())

    def _verify(self) -> list[Request]:
        """Nothing lies past the watermark, and yet the newest record is another: wrapped, or started again?"""
        sequence = self._base.sequence
        if sequence is None:
            return self._finish(Outcome.COMPLETE)
        return self._ask_one(_Step.VERIFYING, racp.sequence_within(sequence, sequence))

    def _report_all(self) -> list[Request]:
        self._asking.begin_again()
        return self._report()

    def _begin_epoch(self) -> list[Request]:
        """The counter has started again: everything that the meter holds belongs to its new life."""
        self._declare(gap_of_new_life(self._base))
        self._base = self._base.next_epoch
        self._is_same_life = True
        self._heard.clear()
        self._asking.begin_again()
        return self._count()

    # --- hearing ------------------------------------------------------------------------------------------------

    def _take_feature(self, data: bytes) -> None:
        try:
            feature = parse_glucose_feature(data)
        except MalformedFrame as error:
            self._heard.add_spoiled(Spoiled(Frame(_FEATURE, data), str(error)))
            return
        said = {"features": " ".join(feature.features), "detectable_status": " ".join(feature.detectable_status)}
        self._facts.append(Mark(FEATURE_FACT, said))

    def _take_measurement(self, measurement: GlucoseMeasurement, frame: Frame) -> None:
        if self._step in WITNESSING:
            self._witness = measurement
        else:
            self._heard.add_measurement(measurement, frame)

    def _take_context(self, context: GlucoseContext, frame: Frame) -> None:
        if self._step not in WITNESSING:
            self._heard.add_context(context, frame)

    def _on_answer(self, answer: RacpCount | RacpResult) -> list[Request]:
        if self._step is _Step.ABORTING:
            return self._finish(Outcome.SILENT, "aborted")
        if self._step is _Step.CLEARING:
            return self._resume()
        if self._step is _Step.COUNTING:
            return self._on_count(answer)
        if self._step is _Step.CHECKING_GAP:
            return self._on_gap_counted(answer)
        if isinstance(answer, RacpCount):
            is_report = self._step is _Step.REPORTING and self._asking.combines and answer.is_combined
            return self._on_combined(answer.count) if is_report else []
        if answer.request != (self._asking.report_op if self._step is _Step.REPORTING else RacpOpCode.REPORT_RECORDS):
            return []
        is_witnessing = self._step in WITNESSING
        if (is_witnessing or self._step is _Step.REPORTING) and answer.code in BUSY:
            return self._finish(Outcome.RETRY_LATER, f"record access code {int(answer.code)}")
        if is_witnessing:
            self._awaits_witness = self._witness is None and answer.code == RacpResponseCode.SUCCESS
            return [] if self._awaits_witness else self._on_witness(is_refused=not answer.is_success)
        return self._on_reported(answer) if self._step is _Step.REPORTING else []

    def _on_count(self, answer: RacpCount | RacpResult) -> list[Request]:
        if isinstance(answer, RacpCount):
            self._asking.expected = answer.count
            return self._probe() if answer.count else self._look_at_newest()
        if answer.request != RacpOpCode.REPORT_COUNT:
            return []
        if answer.code in BUSY:
            return self._finish(Outcome.RETRY_LATER, f"record access code {int(answer.code)}")
        if answer.code == RacpResponseCode.NO_RECORDS_FOUND:
            return self._look_at_newest()
        self._asking.combines = answer.code == RacpResponseCode.OP_CODE_NOT_SUPPORTED
        return self._probe()

    def _on_combined(self, count: int) -> list[Request]:
        """The records have been sent, and this is how many there should be."""
        self._asking.expected = count
        code = RacpResponseCode.SUCCESS if count else _NO_RECORDS
        return self._on_reported(RacpResult(RacpOpCode.COMBINED_REPORT, code))

    def _on_oldest_left(self) -> list[Request]:
        """The record of the watermark is gone: what follows it is lost up to the oldest that is left."""
        oldest = self._witness
        gap = None if oldest is None else gap_before([oldest], self._base)
        if oldest is None or gap is None or gap.last is None or gap.last < gap.first:
            return self._report()
        if self._base.is_after(oldest):
            return self._begin_epoch()
        self._suspected, self._step = gap, _Step.CHECKING_GAP
        return [Write(_RACP, racp.count(racp.sequence_within(gap.first, gap.last)))]

    def _on_gap_counted(self, answer: RacpCount | RacpResult) -> list[Request]:
        """Only where the meter itself says that it holds none of them are records given up."""
        gap = self._suspected
        if isinstance(answer, RacpResult) and answer.request != RacpOpCode.REPORT_COUNT:
            return []
        holds_none = answer.count == 0 if isinstance(answer, RacpCount) else answer.code == _NO_RECORDS
        if gap is None or gap.last is None or not holds_none:
            return self._report()
        self._declare(gap)
        self._base = self._base.skipping_to(gap.last)
        self._asking.begin_at(self._base)
        report = self._report()
        self._after_keep = report
        return self._keep(self._base, ())

    def _on_witness(self, *, is_refused: bool = False) -> list[Request]:
        """The single record that was asked for has come, or will not come; the meter may not know such a request."""
        self._awaits_witness = False
        witness = self._witness
        if self._step is _Step.LOOKING_AT_OLDEST:
            self._base = self._base.begun_by(witness)
            self._asking.begin_at(self._base)
            return self._count()
        if witness is not None and self._base.contradicts(witness):
            return self._begin_epoch()
        is_own = witness is not None and witness.sequence == self._base.sequence
        match self._step:
            case _Step.LOOKING_AT_NEWEST:
                self._newest = witness
                is_lower = witness is not None and self._base.is_above(witness)
                return self._verify() if is_lower or is_refused else self._finish(Outcome.COMPLETE)
            case _Step.VERIFYING:
                return self._on_verified(is_own=is_own, is_refused=is_refused)
            case _Step.BOUNDING:
                return self._on_oldest_left()
            case _:
                self._is_same_life = is_own
                is_gone = witness is None and not is_refused
                return self._ask_one(_Step.BOUNDING, racp.first_record()) if is_gone else self._report()

    def _on_verified(self, *, is_own: bool, is_refused: bool) -> list[Request]:
        """A newest record below the watermark: a wrap only if the record of the watermark is still there."""
        if is_own:
            self._is_same_life = True
            is_suspect = self._newest is not None or self._base.is_near_wrap
            return self._report_all() if is_suspect else self._finish(Outcome.COMPLETE)
        return self._report_all() if is_refused or self._newest is None else self._begin_epoch()

    def _on_reported(self, answer: RacpResult) -> list[Request]:
        if answer.is_success:
            if answer.code == RacpResponseCode.NO_RECORDS_FOUND and not len(self._heard):
                return self._look_at_newest()
            if self._is_epoch_in_doubt:
                return self._begin_epoch()
            self._step = _Step.SETTLING
            return self._settle()
        if self._asking.finds_another_way(answer.code):
            return self._report()
        return self._finish(Outcome.REFUSED, f"record access code {int(answer.code)}")

    @property
    def _is_epoch_in_doubt(self) -> bool:
        """Whether what came does not fit the watermark, and the record of the watermark did not vouch for it."""
        if self._base.sequence is None or self._is_same_life:
            return False
        return self._base.is_doubted_by(self._heard.measurements, is_everything=self._asking.is_for_all)

    # --- keeping ------------------------------------------------------------------------------------------------

    @property
    def _missing(self) -> int:
        return self._asking.missing(self._base, self._heard.keys)

    def _settle(self) -> list[Request]:
        """Latecomers: the meter's answer may overtake its last records, and a context its measurement."""
        is_whole = not self._missing and len(self._heard.complete) == len(self._heard)
        return self._conclude() if is_whole else []

    def _conclude(self) -> list[Request]:
        if self._missing and self._asking.rounds < 2:
            partial = self._keep_complete()
            again = self._report()
            if not partial:
                return again
            self._after_keep = again
            return partial
        return self._finish(Outcome.COMPLETE)

    def _keep(self, watermark: GlucoseWatermark, keys: Collection[Key]) -> list[Request]:
        given = self._heard.give(keys, is_dual=self._is_dual)
        mark = watermark.mark if watermark != self._durable else None
        if given == Keep() and mark is None and not self._has_news:
            return []
        facts, self._facts, self._has_news = tuple(self._facts), [], False
        self._durable = watermark
        return [replace(given, epoch=self._base.epoch, mark=mark, facts=facts)]

    def _keep_complete(self) -> list[Request]:
        """What lacks nothing; the rest is asked for again."""
        complete = self._heard.complete
        return self._keep(self._base.along(self._heard.measurements, complete), complete)

    def _partial(self) -> list[Request]:
        return [] if self._step is _Step.DONE or self._is_epoch_in_doubt else self._keep_complete()

    def _declare(self, gap: GlucoseGap | None) -> None:
        if gap is not None:
            self._gap, self._has_news = gap, True
            self._facts.append(gap.mark)

    def _finish(self, outcome: Outcome, detail: str | None = None) -> list[Request]:
        is_gone = self._asking.is_for_all and not self._is_same_life and self._base.sequence not in self._heard.numbers
        if outcome is Outcome.COMPLETE and is_gone and not self._missing:
            self._declare(gap_before(self._heard.measurements, self._base))
        if self._gap is not None and detail is None:
            detail = self._gap.sentence
        if outcome is not Outcome.COMPLETE:
            kept = self._partial()
        elif self._missing > self._heard.spoiled_measurements:
            kept = self._keep(self._base.along(self._heard.measurements, self._heard.keys), self._heard.keys)
        elif self._is_dual and len(self._heard.complete) < len(self._heard):
            kept = self._keep(self._base.along(self._heard.measurements, self._heard.complete), self._heard.keys)
        else:
            kept = self._keep(self._base.past(self._heard.measurements), self._heard.keys)
        close = Close(outcome, detail)
        self._step = _Step.DONE
        if not kept:
            return [close]
        self._after_keep = [close]
        return kept

    def _resume(self) -> list[Request]:
        """Ask again what the meter was too busy to hear."""
        match self._interrupted:
            case _Step.LOOKING_AT_OLDEST:
                return self._begin()
            case _Step.PROBING | _Step.BOUNDING | _Step.CHECKING_GAP:
                return self._probe()
            case _Step.REPORTING:
                self._asking.repeat()
                return self._report()
            case _Step.LOOKING_AT_NEWEST:
                self._has_looked = False
                return self._look_at_newest()
            case _Step.VERIFYING:
                return self._verify()
            case _:
                return self._count()
