"""A glucose value in a cell: a number, or a word for beyond the measuring range in the languages of the exports."""

from __future__ import annotations

from gateway.devices.files.table import number
from gateway.model import BoundKind, Metric, Unit
from gateway.normalise.reported import ReportedMeasurement

__all__ = ["glucose_measurement", "glucose_unit"]

_BELOW = frozenset({"low", "lo", "bas", "basse", "faible", "niedrig", "bajo", "bassa", "basso", "laag", "baixo"})
_ABOVE = frozenset({"high", "hi", "haut", "haute", "élevé", "élevée", "hoch", "alto", "alta", "hoog"})


def glucose_unit(column: str) -> Unit | None:
    """The unit that a column's title names."""
    title = column.lower().replace(" ", "")
    if "mg/dl" in title:
        return Unit.MG_DL
    return Unit.MMOL_L if "mmol/l" in title else None


def glucose_measurement(metric: Metric, text: str, unit: Unit) -> ReportedMeasurement | None:
    """The measurement of a cell; None: neither a number nor such a word.

    A word says beyond which end of the range, not where that end is.
    """
    word = text.lower()
    if word in _BELOW:
        return ReportedMeasurement(metric, None, None, BoundKind.BELOW)
    if word in _ABOVE:
        return ReportedMeasurement(metric, None, None, BoundKind.ABOVE)
    value = number(text)
    return None if value is None else ReportedMeasurement(metric, value, unit)
