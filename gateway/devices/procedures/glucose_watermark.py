"""How far a glucose meter has been read.

A meter numbers its records with 16 bits. The number may start again (repair, factory reset): then another life of the
counter, an epoch, begins. It may also pass 65535 and go on at 0, which is the same life.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.devices.glucose import GlucoseMeasurement
from gateway.devices.procedures.requests import Mark

__all__ = ["GLUCOSE_CHECKPOINT", "LAST_SEQUENCE", "GlucoseRun", "GlucoseWatermark"]

GLUCOSE_CHECKPOINT = "glucose.records"
LAST_SEQUENCE = 0xFFFF
_NUMBERS = 0x10000
_HALF = 0x8000
_FIRST_SEQUENCES = (0, 1)


@dataclass(frozen=True, slots=True)
class GlucoseRun:
    """An unbroken run of records out of a dump that broke off: worth a watermark if the memory begins in it.

    Attributes:
        first, last: numbers of its ends, 0..65535.
        base_time: ISO text of the base time of `last`; None when it has none.
    """

    first: int
    last: int
    base_time: str | None = None


@dataclass(frozen=True, slots=True)
class GlucoseWatermark:
    """The newest record below which nothing is missing.

    Attributes:
        epoch: life of the record counter, 0 for the first that was seen.
        sequence: that record's number, 0..65535; None: nothing is known to be complete.
        base_time: ISO text of that record's base time; None when it has none.
        run: what an interrupted first dump has brought, while nobody knows whether the memory begins there.
    """

    epoch: int = 0
    sequence: int | None = None
    base_time: str | None = None
    run: GlucoseRun | None = None

    @classmethod
    def of(cls, state: Mapping[str, str | int | bool | None] | None) -> GlucoseWatermark:
        """From a checkpoint; anything that no `mark` wrote counts as "nothing read yet"."""
        state = state or {}
        epoch, sequence, base_time = state.get("epoch"), state.get("sequence"), state.get("base_time")
        if not isinstance(epoch, int) or epoch < 0:
            return cls()
        if not isinstance(sequence, int) or not 0 <= sequence <= LAST_SEQUENCE:
            return cls(epoch, run=_run(state))
        return cls(epoch, sequence, base_time if isinstance(base_time, str) else None)

    @property
    def mark(self) -> Mark:
        """The checkpoint that says this."""
        state: dict[str, str | int | bool | None] = {
            "epoch": self.epoch,
            "sequence": self.sequence,
            "base_time": self.base_time,
        }
        if self.run is not None:
            state |= {"run_first": self.run.first, "run_last": self.run.last, "run_base_time": self.run.base_time}
        return Mark(GLUCOSE_CHECKPOINT, state)

    @property
    def next_epoch(self) -> GlucoseWatermark:
        """Nothing read yet of the counter's next life."""
        return GlucoseWatermark(self.epoch + 1)

    @property
    def is_near_wrap(self) -> bool:
        """Whether the counter may have passed 65535 since."""
        return self.sequence is not None and self.sequence >= _HALF

    def begun_by(self, oldest: GlucoseMeasurement | None) -> GlucoseWatermark:
        """The watermark once `oldest`, the first record of the memory, is known: the run counts if it begins in it."""
        run = self.run
        if run is None or oldest is None or not run.first <= oldest.sequence <= run.last:
            return GlucoseWatermark(self.epoch)
        return GlucoseWatermark(self.epoch, run.last, run.base_time)

    def skipping_to(self, sequence: int) -> GlucoseWatermark:
        """The watermark past records that are lost: `sequence` is the number of the last of them, 0..65535."""
        return GlucoseWatermark(self.epoch, sequence)

    def contradicts(self, record: GlucoseMeasurement) -> bool:
        """Whether `record`, said to be the one of our own number, is another: the counter has started again."""
        if record.sequence != self.sequence:
            return False
        ours, theirs = self.base_time, _text(record.base_time)
        return ours is not None and theirs is not None and ours != theirs

    def is_above(self, record: GlucoseMeasurement) -> bool:
        """Whether `record` has a lower number than ours: for a newest record, a counter that wrapped or began again."""
        return self.sequence is not None and record.sequence < self.sequence

    def is_after(self, record: GlucoseMeasurement) -> bool:
        """Whether `record` has an older base time than ours: odd for a record with a higher number."""
        theirs = _text(record.base_time)
        return self.base_time is not None and theirs is not None and theirs < self.base_time

    def is_doubted_by(self, arrived: Sequence[GlucoseMeasurement], *, is_everything: bool) -> bool:
        """Whether records do not fit into the life that this belongs to; `is_everything`: there are no others."""
        if self.sequence is None:
            return False
        own = [record for record in arrived if record.sequence == self.sequence]
        if own:
            return any(self.contradicts(record) for record in own)
        if is_everything:
            return bool(arrived) and all(self.is_above(record) for record in arrived)
        return any(self.is_after(record) for record in arrived if record.sequence > self.sequence)

    def past(self, records: Iterable[GlucoseMeasurement]) -> GlucoseWatermark:
        """The watermark when all of `records` is there and nothing else was found."""
        best = self
        for record in records:
            if best.sequence is None or best._is_ahead(record.sequence):
                best = best._at(record)
        return best

    def along(
        self, arrived: Sequence[GlucoseMeasurement], complete: Collection[tuple[int, datetime | None]]
    ) -> GlucoseWatermark:
        """The watermark when the transfer broke off: over an unbroken run of `complete` records only.

        Without a watermark the run must have arrived in order, and begin with the first number there is: a meter may
        send its records in any order, and what has not come yet must not be skipped. Elsewhere it is kept as a `run`.
        """
        by_number = {record.sequence: record for record in arrived if (record.sequence, record.base_time) in complete}
        best = self
        if self.sequence is None:
            for place, record in enumerate(arrived):
                in_order = record.sequence == arrived[0].sequence + place
                if not in_order or record.sequence not in by_number:
                    break
                is_first = arrived[0].sequence in _FIRST_SEQUENCES
                best = best._at(record) if is_first else best._running(arrived[0], record)
            return best
        while best.sequence is not None and (best.sequence + 1) % _NUMBERS in by_number:
            best = best._at(by_number.pop((best.sequence + 1) % _NUMBERS))
        return best

    def _at(self, record: GlucoseMeasurement) -> GlucoseWatermark:
        return GlucoseWatermark(self.epoch, record.sequence, _text(record.base_time))

    def _running(self, first: GlucoseMeasurement, last: GlucoseMeasurement) -> GlucoseWatermark:
        return replace(self, run=GlucoseRun(first.sequence, last.sequence, _text(last.base_time)))

    def _is_ahead(self, sequence: int) -> bool:
        return self.sequence is not None and 0 < (sequence - self.sequence) % _NUMBERS < _HALF


def _run(state: Mapping[str, str | int | bool | None]) -> GlucoseRun | None:
    first, last, base_time = state.get("run_first"), state.get("run_last"), state.get("run_base_time")
    if not isinstance(first, int) or not isinstance(last, int) or not 0 <= first <= last <= LAST_SEQUENCE:
        return None
    return GlucoseRun(first, last, base_time if isinstance(base_time, str) else None)


def _text(base_time: datetime | None) -> str | None:
    return None if base_time is None else base_time.isoformat()
