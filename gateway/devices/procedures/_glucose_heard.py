"""What a meter has told in one visit, and what of it has been kept."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from gateway.devices.glucose import GlucoseContext, GlucoseMeasurement
from gateway.devices.procedures.requests import Frame, GlucoseRecord, Keep, Spoiled

__all__ = ["Heard", "Key"]

Key = tuple[int, datetime | None]
"""Number and base time of a record."""
_LONG_AGO: Final = datetime.min  # noqa: DTZ901 -- before every base time, which has no zone


class Heard:
    """Records, contexts and payloads that could not be read.

    Attributes:
        spoiled_measurements: how many records of the report that runs could not be read.
    """

    def __init__(self) -> None:
        self._records: dict[Key, tuple[GlucoseMeasurement, Frame]] = {}
        self._contexts: dict[int, tuple[GlucoseContext, Frame]] = {}
        self._fresh: dict[Key, None] = {}
        self._spoiled: list[Spoiled] = []
        self._orphans: set[Frame] = set()
        self.spoiled_measurements = 0

    def __len__(self) -> int:
        """How many records."""
        return len(self._records)

    def clear(self) -> None:
        """They belong to another life of the counter: forget them; what could not be read stays."""
        self._records.clear()
        self._contexts.clear()
        self._fresh.clear()

    def add_measurement(self, measurement: GlucoseMeasurement, frame: Frame) -> None:
        """One record."""
        key = (measurement.sequence, measurement.base_time)
        if key not in self._records or self._records[key][1] != frame:
            self._records[key] = (measurement, frame)
            self._fresh[key] = None

    def add_context(self, context: GlucoseContext, frame: Frame) -> None:
        """One context, whose record may have been kept without it."""
        known = self._contexts.get(context.sequence)
        self._contexts[context.sequence] = (context, frame)
        if known is None or known[1] != frame:
            self._fresh.update((key, None) for key in self._records if key[0] == context.sequence)

    def add_spoiled(self, spoiled: Spoiled, *, is_measurement: bool = False) -> None:
        """One payload to set aside."""
        self._spoiled.append(spoiled)
        self.spoiled_measurements += is_measurement

    @property
    def keys(self) -> Collection[Key]:
        """Every record."""
        return self._records.keys()

    @property
    def complete(self) -> set[Key]:
        """Records that lack nothing."""
        return {key for key, (m, _) in self._records.items() if not m.has_context or m.sequence in self._contexts}

    @property
    def numbers(self) -> set[int]:
        """Numbers of every record."""
        return {sequence for sequence, _ in self._records}

    @property
    def measurements(self) -> list[GlucoseMeasurement]:
        """In the order in which they came."""
        return [measurement for measurement, _ in self._records.values()]

    def give(self, keys: Collection[Key], *, is_dual: bool = False) -> Keep:
        """What has not been given out yet: records of `keys`, contexts without a record, what could not be read.

        `is_dual`: a number whose context was promised and has not come may be ketone.
        """
        records = []
        current_offset_min = self._current_offset_min
        for key in [key for key in self._fresh if key in keys]:
            del self._fresh[key]
            measurement, frame = self._records[key]
            context, *more = self._contexts.get(measurement.sequence, (None,))
            is_undecided = is_dual and measurement.has_context and context is None
            records.append(
                GlucoseRecord(measurement, context, (frame, *more), current_offset_min, is_undecided=is_undecided)
            )
        numbers = self.numbers
        orphans = [f for n, (_, f) in self._contexts.items() if n not in numbers and f not in self._orphans]
        self._orphans.update(orphans)
        spoiled, self._spoiled = tuple(self._spoiled), []
        return Keep(tuple(records), spoiled, tuple(orphans))

    @property
    def _current_offset_min(self) -> int | None:
        """Time offset of the newest record that has come: what lies between the meter's two clocks now."""
        newest = max(self.measurements, key=lambda m: (m.base_time or _LONG_AGO, m.sequence), default=None)
        return None if newest is None else newest.time_offset_min
