"""What a meter has recorded and no longer holds: its memory went round before it was read.

A memory gives up its oldest record first. So when the record of the watermark is gone and the oldest one that is left
does not follow it, the records in between are lost; while the record of the watermark is still there, numbers that are
missing behind it were never given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.devices.glucose import GlucoseMeasurement
from gateway.devices.procedures.glucose_watermark import GlucoseWatermark
from gateway.devices.procedures.requests import Mark

__all__ = ["GAP_FACT", "GlucoseGap", "gap_before", "gap_of_new_life"]

GAP_FACT: Final = "glucose.gap"
"""Begins the name of each fact; the epoch and the first number that is missing end it."""
_NUMBERS: Final = 0x10000
_HALF: Final = 0x8000


@dataclass(frozen=True, slots=True)
class GlucoseGap:
    """Records that nobody will ever read.

    Attributes:
        epoch: life of the record counter that they belonged to.
        first, last: their numbers, both included, by the counter, which may pass 65535; `last` None: not known.
        after, before: ISO base times of the records around the gap, by the meter's internal clock; None: not known.
    """

    epoch: int
    first: int
    last: int | None
    after: str | None = None
    before: str | None = None

    @property
    def count(self) -> int | None:
        """How many; None when that is not known."""
        return None if self.last is None else (self.last - self.first) % _NUMBERS + 1

    @property
    def sentence(self) -> str:
        """For people, without values."""
        if self.last is None:
            return f"the meter numbers its records anew; whether it lost any from record {self.first} on is not known"
        if self.first == self.last:
            return f"record {self.first} is lost: the meter overwrote it before it was read"
        return f"records {self.first} to {self.last} are lost: the meter overwrote them before they were read"

    @property
    def mark(self) -> Mark:
        """The fact, the same however often it is found."""
        return Mark(
            f"{GAP_FACT}.{self.epoch}.{self.first}",
            {
                "first": self.first,
                "last": self.last,
                "count": self.count,
                "after": self.after,
                "before": self.before,
                "why": self.sentence,
            },
        )


def gap_before(held: Iterable[GlucoseMeasurement], watermark: GlucoseWatermark) -> GlucoseGap | None:
    """What is missing between the watermark, whose record the meter no longer holds, and the records it holds."""
    read = watermark.sequence
    if read is None:
        return None
    ahead = [((record.sequence - read) % _NUMBERS, record) for record in held]
    distance, oldest = min(
        ((distance, record) for distance, record in ahead if 0 < distance < _HALF),
        key=lambda entry: entry[0],
        default=(1, None),
    )
    if oldest is None or distance == 1:
        return None
    return GlucoseGap(
        epoch=watermark.epoch,
        first=(read + 1) % _NUMBERS,
        last=(oldest.sequence - 1) % _NUMBERS,
        after=watermark.base_time,
        before=None if oldest.base_time is None else oldest.base_time.isoformat(),
    )


def gap_of_new_life(watermark: GlucoseWatermark) -> GlucoseGap | None:
    """The counter began again, and the last record that was read is gone: what came after it may be gone too."""
    if watermark.sequence is None:
        return None
    return GlucoseGap(watermark.epoch, (watermark.sequence + 1) % _NUMBERS, None, after=watermark.base_time)
