"""One weigh-in of an export as records: what was measured, and what the scale's or the app's formula made of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from gateway.model import Context, Metric, Unit
from gateway.normalise.reported import ReportedMeasurement, ReportedRecord

__all__ = ["Weighed", "weigh_in_records"]


class Weighed(NamedTuple):
    """One value of a weigh-in; `is_derived`: computed by a formula, not measured."""

    metric: Metric
    number: Decimal
    unit: Unit
    is_derived: bool


def weigh_in_records(name: str, time: datetime, values: Iterable[Weighed]) -> tuple[ReportedRecord, ...]:
    """At most two records under one name; 0 means "not measured" and gives nothing."""
    records = []
    told = [value for value in values if value.number != 0]
    for is_derived in (False, True):
        measurements = tuple(
            ReportedMeasurement(value.metric, value.number, value.unit)
            for value in told
            if value.is_derived is is_derived
        )
        if measurements:
            context = Context(weigh_in=name, is_device_derived=is_derived)
            records.append(ReportedRecord(name, 0, time, measurements, context))
    return tuple(records)
