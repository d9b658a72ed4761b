"""Records as sources report them in words (JSON, CSV, forms) -> readings.

A decoder of such a format says what stands there: `ReportedRecord`. What follows is the same for all of them: canonical
unit, plausible range, place on the time scale.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from gateway.errors import Implausible
from gateway.model import (
    Absent,
    Bound,
    BoundKind,
    Context,
    Metric,
    Provenance,
    QuarantineReason,
    Reading,
    TimeQuality,
    Unit,
)
from gateway.normalise.contact import Contact
from gateway.normalise.quantity import to_canonical
from gateway.normalise.times import place_device_time, place_instant, place_reception

__all__ = ["NO_CONTEXT", "Decoded", "Parsed", "Problem", "ReportedMeasurement", "ReportedRecord", "readings_of"]

NO_CONTEXT = Context()


class Problem(NamedTuple):
    """Why a part of a message gave no reading; `detail` holds no value."""

    reason: QuarantineReason
    detail: str


class ReportedMeasurement(NamedTuple):
    """One metric as it was sent: a number, a bound (`number` is then its limit, if any), or an absence.

    `is_device_derived` marks what a formula made of the others (fat, muscle, water...), as in `Context`.
    """

    metric: Metric
    number: Decimal | None
    unit: Unit | None
    bound: BoundKind | None = None
    absent: Absent | None = None
    is_device_derived: bool = False


class ReportedRecord(NamedTuple):
    """One record of a source.

    Attributes:
        record_key: the source's own name for it, or derived from what it says; 1-128 printable ASCII characters.
        epoch: life of the device's record counter.
        time: aware (an instant), naive (the device's wall clock), or None.
        measurements: at least one, each metric once.
        context: what was said around them.
        is_withdrawn: the source takes the record back; its measurements then name only the metrics concerned.
    """

    record_key: str
    epoch: int
    time: datetime | None
    measurements: tuple[ReportedMeasurement, ...]
    context: Context = NO_CONTEXT
    is_withdrawn: bool = False


class Parsed(NamedTuple):
    """The records of a message and what was wrong with the others."""

    records: tuple[ReportedRecord, ...] = ()
    problems: tuple[Problem, ...] = ()


class Decoded(NamedTuple):
    """The readings of a message and what was wrong with the rest; `problems` non-empty means "quarantine it too"."""

    readings: tuple[Reading, ...] = ()
    problems: tuple[Problem, ...] = ()


def readings_of(parsed: Parsed, contact: Contact, provenance: Provenance, *, frame: int | None = None) -> Decoded:
    """Readings of what was parsed; an implausible measurement is left out and named, its neighbours stay.

    Args:
        parsed: records of one device, and the problems found so far, which are handed on.
        contact: the device, its owner's zone and the reception; `is_live` false where a record without a time cannot
            be taken for news (a retained message, a file).
        provenance: put into every reading.
        frame: index of the payload in the batch.
    """
    readings: list[Reading] = []
    problems = list(parsed.problems)
    received_at, trusted = contact.received_at, contact.clock_is_trusted
    for record in parsed.records:
        time = record.time
        if time is None:
            placed = place_reception(received_at, contact.zone, is_live=contact.is_live, clock_is_trusted=trusted)
        elif time.tzinfo is None:
            placed = place_device_time(
                time, received_at, contact.zone, clock_offset=contact.clock_offset, clock_is_trusted=trusted
            )
        else:
            placed = place_instant(time, received_at, contact.zone, clock_is_trusted=trusted)
            # an instant that was believed needs no wall clock beside it; one that was not is kept as the device said it
            time = None if placed.quality is TimeQuality.DEVICE else time.replace(tzinfo=None)
        said, derived = record.context, None
        for measurement in record.measurements:
            number, unit = measurement.number, measurement.unit
            absent, bound = measurement.absent, measurement.bound
            canonical: Decimal | None = None
            if record.is_withdrawn:
                number, unit, bound, absent = None, None, None, Absent.WITHDRAWN
            elif number is not None and unit is not None:
                try:
                    canonical = to_canonical(measurement.metric, number, unit)
                except Implausible as error:
                    problems.append(Problem(QuarantineReason.IMPLAUSIBLE, str(error)))
                    continue
            if measurement.is_device_derived:
                derived = derived or replace(said, is_device_derived=True)
            readings.append(
                Reading(
                    device_id=contact.device_id,
                    epoch=record.epoch,
                    record_key=record.record_key,
                    metric=measurement.metric,
                    effective_at=placed.effective_at,
                    utc_offset_min=placed.utc_offset_min,
                    time_quality=placed.quality,
                    received_at=received_at,
                    provenance=provenance,
                    value=None if bound is not None else canonical,
                    bound=None if bound is None else Bound(bound, canonical),
                    absent=absent,
                    original_value=number,
                    original_unit=unit,
                    context=derived if derived is not None and measurement.is_device_derived else said,
                    device_time=time,
                    time_method=placed.method,
                    frame=frame,
                )
            )
    return Decoded(tuple(readings), tuple(problems))
