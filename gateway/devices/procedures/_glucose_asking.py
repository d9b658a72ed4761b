"""How a meter is asked for its new records, and what it has turned out not to understand.

    >= number -> a range of numbers -> everything
    count, then report -> records and count in one -> records without a count

Source: Bluetooth Glucose Service 1.0, Record Access Control Point.
"""

from __future__ import annotations

from collections.abc import Collection

from gateway.devices import racp
from gateway.devices.procedures._glucose_heard import Key
from gateway.devices.procedures._glucose_steps import UNFILTERED, UNKNOWN_OPERATOR
from gateway.devices.procedures.glucose_watermark import LAST_SEQUENCE, GlucoseWatermark
from gateway.devices.racp import RacpOpCode, RacpResponseCode

__all__ = ["Asking"]


class Asking:
    """The questions of one visit.

    Attributes:
        is_for_all: everything is asked for, not only what lies past the watermark.
        combines: the meter is asked for records and count in one, because it does not know how to count.
        expected: how many records the meter says there are; None: it has not said.
        rounds: how many reports have been asked for since anything was expected of them.
    """

    def __init__(self, base: GlucoseWatermark) -> None:
        self.is_for_all = False
        self.combines = False
        self.expected: int | None = None
        self.rounds = 0
        self._is_for_range = False
        self.begin_at(base)

    def begin_at(self, base: GlucoseWatermark) -> None:
        """Ask for what lies past `base`; for everything where nothing is complete, or no number follows."""
        self.is_for_all = base.sequence is None or base.sequence == LAST_SEQUENCE

    def begin_again(self) -> None:
        """Ask for everything, and expect nothing of it yet."""
        self.is_for_all, self.expected, self.rounds = True, None, 0

    @property
    def report_op(self) -> RacpOpCode:
        """What the answer to a report will name."""
        return RacpOpCode.COMBINED_REPORT if self.combines else RacpOpCode.REPORT_RECORDS

    def count(self, base: GlucoseWatermark) -> bytes:
        """How many are there?"""
        return racp.count(self._selection(base))

    def report(self, base: GlucoseWatermark) -> bytes:
        """One more round."""
        self.rounds += 1
        return (racp.combined_report if self.combines else racp.report)(self._selection(base))

    def repeat(self) -> None:
        """The last report was not heard: asking for it again is no further round."""
        self.rounds -= 1

    def finds_another_way(self, code: int) -> bool:
        """Whether a report that was refused with `code` can be asked for differently; then it should be, at once."""
        if self.combines and code == RacpResponseCode.OP_CODE_NOT_SUPPORTED:
            self.combines = False
            self.repeat()
        elif code in UNKNOWN_OPERATOR and not self.is_for_all and not self._is_for_range:
            self._is_for_range = True
            self.repeat()
        elif code in UNFILTERED and not self.is_for_all:
            self.begin_again()
        else:
            return False
        return True

    def missing(self, base: GlucoseWatermark, heard: Collection[Key]) -> int:
        """How many of the expected records are not among `heard`; 0 where nothing is expected."""
        if self.expected is None:
            return 0
        lowest = -1 if self.is_for_all or base.sequence is None else base.sequence
        return max(0, self.expected - sum(1 for sequence, _ in heard if sequence > lowest))

    def _selection(self, base: GlucoseWatermark) -> racp.Selection:
        sequence = base.sequence
        if self.is_for_all or sequence is None or sequence == LAST_SEQUENCE:
            return racp.all_records()
        if self._is_for_range:
            return racp.sequence_within(sequence + 1, LAST_SEQUENCE)
        return racp.sequence_at_least(sequence + 1)
