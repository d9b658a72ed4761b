"""Reading the new records of a LifeScan OneTouch meter, which has a protocol of its own.

    subscribe -> clock -> highest number -> number of records
    -> the record of the watermark: still the same one? else the counter has started again: next epoch
    -> what an earlier visit left open, downwards -> what is new, downwards -> close

One request at a time. Each packet of the meter is acknowledged before anything else is written. A request that stays
unanswered is written again after two seconds, five times at most. An answer does not say which record it holds: answers
equal to the one before are taken for its repetitions and passed over, as many as the request was written, since a slow
meter may answer each of them. Records go downwards, newest first, since a
meter sleeps soon: what has come is kept as a run, and the watermark moves up once nothing is open below the run.

Source: the maintained open-source drivers of these meters; there is no public specification.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gateway.devices.onetouch import (
    ONETOUCH_NOTIFY,
    ONETOUCH_WRITE,
    OneTouchResult,
    PacketKind,
    acknowledgement,
    parse_clock,
    parse_count,
    parse_highest,
    parse_onetouch_frame,
    parse_record,
    read_clock,
    read_count,
    read_highest,
    read_record,
    split_packet,
)
from gateway.devices.procedures.glucose_gap import GlucoseGap
from gateway.devices.procedures.requests import (
    Close,
    Frame,
    GlucoseRecord,
    Keep,
    Mark,
    Outcome,
    Patience,
    Request,
    Spoiled,
    Subscribe,
    Write,
)
from gateway.errors import MalformedFrame

__all__ = ["ONETOUCH_CHECKPOINT", "OneTouchFetch"]

ONETOUCH_CHECKPOINT: Final = "onetouch.records"
_RETRIES: Final = 5
_KEEP_EVERY: Final = 16
_LAST_NUMBER: Final = 0xFFFF


class _Step(enum.Enum):
    CLOCK = enum.auto()
    HIGHEST = enum.auto()
    COUNT = enum.auto()
    VERIFYING = enum.auto()
    READING = enum.auto()
    DONE = enum.auto()


@dataclass(frozen=True, slots=True)
class _Progress:
    """How far a meter has been read.

    Attributes:
        epoch: life of the record counter.
        done: every record up to this number is durable.
        top, bottom: every record of this run above `done` is durable too; both `done` when there is no run.
        witness: number and payload of the newest durable record, as `7#hex`; None: nothing has been read.
    """

    epoch: int = 0
    done: int = 0
    top: int = 0
    bottom: int = 0
    witness: str | None = None

    @classmethod
    def of(cls, state: Mapping[str, str | int | bool | None] | None) -> _Progress:
        state = state or {}
        numbers = [state.get(name) for name in ("epoch", "done", "top", "bottom")]
        epoch, done, top, bottom = (number if isinstance(number, int) else -1 for number in numbers)
        witness = state.get("witness")
        if epoch < 0 or not 0 <= done <= bottom <= top <= _LAST_NUMBER:
            return cls(max(epoch, 0))
        return cls(epoch, done, top, bottom, witness if isinstance(witness, str) else None)

    @property
    def mark(self) -> Mark:
        return Mark(
            ONETOUCH_CHECKPOINT,
            {
                "epoch": self.epoch,
                "done": self.done,
                "top": self.top,
                "bottom": self.bottom,
                "witness": self.witness,
            },
        )

    def with_record(self, number: int) -> _Progress:
        """One more is durable: the next below the run, or the first of a new run."""
        if self.top == self.done:
            return replace(self, top=number, bottom=number)
        return replace(self, bottom=number)

    def closed_above(self, lowest: int) -> _Progress:
        """Nothing is open any more down to `lowest`, the oldest record that the meter still has."""
        if self.top > self.done and self.bottom <= max(self.done + 1, lowest):
            return replace(self, done=self.top, bottom=self.top)
        return self


class OneTouchFetch:
    """One visit to a OneTouch meter.

    Args:
        local_now: aware, the owner's wall clock, to compare the meter's clock with.
        state: the last durable checkpoint `onetouch.records`, or None.
        clock_is_trusted: whether `local_now` can be right; where not, the meter's clock is not compared.
    """

    def __init__(
        self,
        local_now: datetime,
        state: Mapping[str, str | int | bool | None] | None = None,
        *,
        clock_is_trusted: bool = True,
    ) -> None:
        self._now = local_now.replace(tzinfo=None) if clock_is_trusted else None
        self._durable = self._progress = _Progress.of(state)
        self._step = _Step.CLOCK
        self._clock_offset: timedelta | None = None
        self._highest = 0
        self._lowest = self._expected_lowest = 1
        self._asked = b""
        self._number = 0
        self._tries = 0
        self._is_unreadable = False
        self._parts: list[bytes] = []
        self._packets: list[bytes] = []
        self._parts_left = 0
        self._last_answer: bytes | None = None
        self._repeats_due = 0
        self._facts: list[Mark] = []
        self._lost: str | None = None
        self._records: list[GlucoseRecord] = []
        self._spoiled: list[Spoiled] = []
        self._after_keep: list[Request] = []

    @property
    def is_done(self) -> bool:
        """Whether the visit is over."""
        return self._step is _Step.DONE

    @property
    def patience(self) -> Patience:
        """Every request is written again after two seconds."""
        return Patience.SHORT

    def start(self) -> list[Request]:
        """Listen, then ask for the clock."""
        return [Subscribe(ONETOUCH_NOTIFY), *self._ask(read_clock())]

    def on_read(self, char: str, data: bytes) -> list[Request]:
        """Nothing is read."""
        del char, data
        return []

    def on_notify(self, char: str, data: bytes) -> list[Request]:
        """A packet: acknowledged at once, and understood when its frame is whole."""
        if self._step is _Step.DONE or char != ONETOUCH_NOTIFY:
            return []
        try:
            kind, number, content = split_packet(data)
        except MalformedFrame as error:
            return self._spoil(data, str(error))
        if kind is PacketKind.ACKNOWLEDGEMENT:
            return []
        acknowledged: list[Request] = [Write(ONETOUCH_WRITE, acknowledgement(number))]
        if kind is PacketKind.FIRST:
            self._parts, self._packets, self._parts_left = [], [], number
        elif not self._parts or number != self._parts_left:
            return acknowledged
        self._parts.append(content)
        self._packets.append(data)
        self._parts_left -= 1
        if self._parts_left > 0:
            return acknowledged
        frame, self._parts = b"".join(self._parts), []
        return acknowledged + self._on_frame(frame)

    def on_kept(self) -> list[Request]:
        """Only now is the next record asked for."""
        requests, self._after_keep = self._after_keep, []
        return requests

    def on_refused(self, char: str, att_code: int) -> list[Request]:
        """Without its two characteristics nothing can be said."""
        return [] if self._step is _Step.DONE else self._finish(Outcome.REFUSED, f"attribute error {att_code:#04x}")

    def on_silence(self) -> list[Request]:
        """Ask again, a few times."""
        if self._step is _Step.DONE:
            return []
        if self._tries > _RETRIES:
            if self._is_unreadable and self._step in {_Step.VERIFYING, _Step.READING}:
                return self._on_missing()
            return self._finish(Outcome.SILENT, "no answer")
        self._tries += 1
        self._repeats_due = min(self._repeats_due, 1)  # what is that late will not come any more
        return [Write(ONETOUCH_WRITE, self._asked)]

    def on_link_lost(self) -> list[Request]:
        """Keep what has come."""
        requests = [] if self._step is _Step.DONE else self._keep()
        self._step = _Step.DONE
        return requests

    # --- asking -------------------------------------------------------------------------------------------------

    def _ask(self, packet: bytes) -> list[Request]:
        self._asked, self._tries, self._is_unreadable = packet, 1, False
        return [Write(ONETOUCH_WRITE, packet)]

    def _verify(self) -> list[Request]:
        """Is the newest record that was read still the same one?"""
        witness = self._progress.witness
        if self._highest < self._progress.top:
            return self._begin_epoch()
        self._declare_lost()
        number, _, payload = (witness or "").partition("#")
        if not payload or not number.isdecimal() or not self._lowest <= int(number) <= self._highest:
            return self._next()
        self._step, self._number = _Step.VERIFYING, int(number)
        return self._ask(read_record(self._number))

    def _declare_lost(self) -> None:
        """What lay above the watermark and is older than the oldest record that is left was overwritten unread."""
        progress = self._progress
        open_to = progress.bottom if progress.top > progress.done else self._highest + 1
        first, last = progress.done + 1, min(self._lowest, open_to) - 1
        if progress.done and first <= last:
            gap = GlucoseGap(progress.epoch, first, last)
            self._facts, self._lost = [gap.mark], gap.sentence

    def _begin_epoch(self) -> list[Request]:
        self._facts, self._lost = [], None
        self._progress = _Progress(self._progress.epoch + 1)
        return self._next()

    def _next(self) -> list[Request]:
        """The next record that is not durable yet, or the end."""
        self._step = _Step.READING
        self._progress = self._progress.closed_above(self._lowest)
        progress = self._progress
        if progress.top > progress.done:
            self._number = progress.bottom - 1
        elif self._highest > progress.done and self._highest >= self._lowest:
            self._number = self._highest
        else:
            return self._finish(Outcome.COMPLETE)
        return self._ask(read_record(self._number))

    # --- hearing ------------------------------------------------------------------------------------------------

    def _on_frame(self, frame: bytes) -> list[Request]:
        if frame == self._last_answer and self._repeats_due:
            self._repeats_due -= 1
            return []
        tries = self._tries
        try:
            answer = parse_onetouch_frame(frame)
            if answer.result == OneTouchResult.NOT_ALLOWED:
                return self._finish(Outcome.NEEDS_PAIRING, "not allowed")
            handle: Callable[[bytes], list[Request]] = {
                _Step.CLOCK: self._on_clock,
                _Step.HIGHEST: self._on_highest,
                _Step.COUNT: self._on_count,
                _Step.VERIFYING: self._on_witness,
            }.get(self._step, self._on_record)
            if answer.result == OneTouchResult.OK:
                requests = handle(answer.data)
            elif self._step in {_Step.VERIFYING, _Step.READING}:
                if self._step is _Step.READING and self._number >= self._expected_lowest:
                    self._lowest = max(1, self._lowest - 1)  # a number without a record: the oldest lies one lower
                requests = self._on_missing()
            else:
                return self._finish(Outcome.REFUSED, f"result {answer.result}")
        except MalformedFrame as error:
            return self._spoil(b"".join(self._packets), str(error))
        self._last_answer, self._repeats_due = frame, tries
        return requests

    def _on_clock(self, data: bytes) -> list[Request]:
        clock = parse_clock(data)
        if self._now is not None:
            self._clock_offset = timedelta(seconds=round((self._now - clock).total_seconds()))
        self._step = _Step.HIGHEST
        return self._ask(read_highest())

    def _on_highest(self, data: bytes) -> list[Request]:
        highest = parse_highest(data)
        if highest > _LAST_NUMBER:
            return []  # the clock once more: it was asked twice, and both answers have come
        self._highest = highest
        self._step = _Step.COUNT
        return self._ask(read_count())

    def _on_count(self, data: bytes) -> list[Request]:
        self._lowest = self._expected_lowest = max(1, self._highest - parse_count(data) + 1)
        return self._verify()

    def _on_witness(self, data: bytes) -> list[Request]:
        parse_record(data)
        is_same = self._progress.witness == _witness(self._number, data)
        return self._next() if is_same else self._begin_epoch()

    def _on_record(self, data: bytes) -> list[Request]:
        record = parse_record(data)
        frames = tuple(Frame(ONETOUCH_NOTIFY, packet) for packet in self._packets)
        self._records.append(
            GlucoseRecord(
                record.measurement(self._number),
                None,
                frames,
                clock_offset=self._clock_offset,
                decoder="onetouch",
            )
        )
        self._pass(_witness(self._number, data))
        return self._go_on()

    def _on_missing(self) -> list[Request]:
        """The meter has no such record: nothing to wait for below it or in its place."""
        if self._step is _Step.VERIFYING:
            return self._next()
        self._pass(None)
        return self._go_on()

    def _pass(self, witness: str | None) -> None:
        """The record of `_number` will be durable with the next `Keep`."""
        is_newest = self._number > self._progress.top
        self._progress = self._progress.with_record(self._number)
        if is_newest and witness is not None:
            self._progress = replace(self._progress, witness=witness)

    def _go_on(self) -> list[Request]:
        return self._next() if len(self._records) < _KEEP_EVERY else self._keep_then(self._next())

    def _spoil(self, payload: bytes, detail: str) -> list[Request]:
        """Set it aside; the request is written again once nothing more comes, and what never reads well is passed."""
        self._is_unreadable = True
        self._spoiled.append(Spoiled(Frame(ONETOUCH_NOTIFY, payload), detail))
        return []

    # --- keeping ------------------------------------------------------------------------------------------------

    def _keep(self) -> list[Request]:
        self._progress = self._progress.closed_above(self._lowest)
        mark = self._progress.mark if self._progress != self._durable else None
        if not self._records and not self._spoiled and mark is None and not self._facts:
            return []
        keep = Keep(
            tuple(self._records),
            tuple(self._spoiled),
            epoch=self._progress.epoch,
            mark=mark,
            facts=tuple(self._facts),
        )
        self._durable = self._progress
        self._records, self._spoiled, self._facts = [], [], []
        return [keep]

    def _keep_then(self, requests: list[Request]) -> list[Request]:
        kept = self._keep()
        if not kept or any(isinstance(request, Keep) for request in requests):
            return requests
        self._after_keep = requests
        return kept

    def _finish(self, outcome: Outcome, detail: str | None = None) -> list[Request]:
        kept = self._keep()
        self._step = _Step.DONE
        close = Close(outcome, detail or self._lost)
        if not kept:
            return [close]
        self._after_keep = [close]
        return kept


def _witness(number: int, data: bytes) -> str:
    return f"{number}#{data.hex()}"
