"""One reading an interval out of a stream. Pure.

A belt says its number every second, and nobody reads 86 400 of them a day. Of each interval the sample in the middle
stays, with its own payload and its own instant: a number that the device did say, which one stray beat does not move.
The interval begins with the first usable sample, so that a stream taken up again in the same minute repeats no name.

What is not closed yet is in memory only: if the gateway dies, at most one interval of a stream is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from gateway.devices.heart_rate import HeartRateMeasurement
from gateway.devices.procedures import VitalSample
from gateway.devices.pulse_oximeter import PlxContinuousMeasurement
from gateway.normalise.contact import Contact
from gateway.normalise.vital_signs import live_value

__all__ = ["LIVE_INTERVAL", "HeardSample", "LiveSamples", "is_live"]

LIVE_INTERVAL: Final = timedelta(minutes=1)
_MOST: Final = 4096


@dataclass(frozen=True, slots=True)
class HeardSample:
    """A sample of a stream and the moment at which it came."""

    sample: VitalSample
    contact: Contact


def is_live(sample: VitalSample) -> bool:
    """Whether it is one of a stream."""
    return isinstance(sample.measurement, HeartRateMeasurement | PlxContinuousMeasurement)


class LiveSamples:
    """What one contact has streamed in the interval that is open.

    Args:
        interval: how far apart the readings are; 0: every sample stays.
    """

    def __init__(self, interval: timedelta = LIVE_INTERVAL) -> None:
        self._interval = interval
        self._open: list[tuple[Decimal, HeardSample]] = []

    def add(self, sample: VitalSample, contact: Contact) -> HeardSample | None:
        """Take `sample`, heard at `contact.received_at`; the middle one of an interval that has ended with it, or None.

        A sample without a result (no contact with the skin, still settling) does not count.
        """
        measurement = sample.measurement
        if not isinstance(measurement, HeartRateMeasurement | PlxContinuousMeasurement):
            return None
        value = live_value(measurement, sample.features)
        closed = self.flush() if self._is_over(contact) else None
        if value is not None:
            self._open.append((value, HeardSample(sample, contact)))
        return closed

    def flush(self) -> HeardSample | None:
        """The contact is over: the middle sample of what was still open, or None."""
        ranked = sorted(self._open, key=lambda entry: entry[0])
        self._open = []
        return ranked[(len(ranked) - 1) // 2][1] if ranked else None

    def _is_over(self, contact: Contact) -> bool:
        if not self._open:
            return False
        passed = contact.received_at - self._open[0][1].contact.received_at
        has_stepped_back = passed < timedelta()
        return passed >= self._interval or has_stepped_back or len(self._open) >= _MOST
