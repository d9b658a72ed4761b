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

__all__ = ["GLUCOSE_CHECKPOINT", "LAST_SEQUENCE", "GlucoseWatermark"]

GLUCOSE_CHECKPOINT = "glucose.records"
LAST_SEQUENCE = 0xFFFF
_NUMBERS = 0x10000
_HALF = 0x8000
_FIRST_SEQUENCES = (0, 1)


@dataclass(frozen=True, slots=True)
class GlucoseWatermark:
    """The newest record below which nothing is missing.

    Attributes:
        epoch: life of the record counter, 0 for the first that was seen.
        sequence: that record's number, 0..65535; None: nothing is known to be complete.
        base_time: ISO text of that record's base time; None when it has none.
    """

    epoch: int = 0
    sequence: int | None = None
    base_time: str | None = None

    @classmethod
    def of(cls, state: Mapping[str, str | int | bool | None] | None) -> GlucoseWatermark:
        """From a checkpoint; anything that no `mark` wrote counts as "nothing read yet"."""
        state = state or {}
        epoch, sequence, base_time = state.get("epoch"), state.get("sequence"), state.get("base_time")
        if not isinstance(epoch, int) or epoch < 0:
            return cls()
        if not isinstance(sequence, int) or not 0 <= sequence <= LAST_SEQUENCE:
            return cls(epoch)
        return cls(epoch, sequence, base_time if isinstance(base_time, str) else None)

    @property
    def mark(self) -> Mark:
        """The checkpoint that says this."""
        return Mark(GLUCOSE_CHECKPOINT, {"epoch": self.epoch, "sequence": self.sequence, "base_time": self.base_time})

    @property
    def next_epoch(self) -> GlucoseWatermark:
        """Nothing read yet of the counter's next life."""
        return GlucoseWatermark(self.epoch + 1)

    def contradicts(self, record: GlucoseMeasurement) -> bool:
        """Whether `record`, the newest or the one of our own number, proves that the counter has started again."""
        if self.sequence is None or record.sequence > self.sequence:
            return False
        if record.sequence < self.sequence:
            return not self._is_ahead(record.sequence)
        ours, theirs = self.base_time, _text(record.base_time)
        return ours is not None and theirs is not None and ours != theirs

    def is_after(self, record: GlucoseMeasurement) -> bool:
        """Whether `record` has an older base time than ours: odd for a record with a higher number."""
        theirs = _text(record.base_time)
        return self.base_time is not None and theirs is not None and theirs < self.base_time

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

        Without a watermark the run must have begun at the first number there is, and arrived in order: a meter may send
        its records in any order, and what has not come yet must not be skipped.
        """
        by_number = {record.sequence: record for record in arrived if (record.sequence, record.base_time) in complete}
        best = self
        if self.sequence is None:
            for place, record in enumerate(arrived):
                in_order = record.sequence == arrived[0].sequence + place
                if arrived[0].sequence not in _FIRST_SEQUENCES or not in_order or record.sequence not in by_number:
                    break
                best = best._at(record)
            return best
        while best.sequence is not None and (best.sequence + 1) % _NUMBERS in by_number:
            best = best._at(by_number.pop((best.sequence + 1) % _NUMBERS))
        return best

    def _at(self, record: GlucoseMeasurement) -> GlucoseWatermark:
        return replace(self, sequence=record.sequence, base_time=_text(record.base_time))

    def _is_ahead(self, sequence: int) -> bool:
        return self.sequence is not None and 0 < (sequence - self.sequence) % _NUMBERS < _HALF


def _text(base_time: datetime | None) -> str | None:
    return None if base_time is None else base_time.isoformat()
