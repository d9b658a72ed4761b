"""From the unit that a device speaks to the metric's canonical one."""

from __future__ import annotations

from decimal import Decimal

from gateway.errors import Implausible
from gateway.model import Metric, Unit, convert

__all__ = ["to_canonical"]

_MOST_DIGITS = 12


def to_canonical(metric: Metric, value: Decimal, unit: Unit) -> Decimal:
    """`value` in `metric.info.unit`, exact and unrounded.

    Raises:
        Implausible: not finite, a unit that does not measure this metric, or outside the plausible range. Nothing is
            clipped: the caller quarantines the bytes. The message holds no value.
    """
    info = metric.info
    if not value.is_finite():
        raise Implausible(f"{metric.value} is not a finite number")
    if unit not in info.units:
        raise Implausible(f"{metric.value} cannot be measured in {unit.value}")
    # asked before any arithmetic: with an absurd exponent it would overflow or take for ever
    is_measurable = abs(value.adjusted()) <= _MOST_DIGITS
    canonical = convert(value, unit, info.unit) if is_measurable else None
    if canonical is None or not info.is_plausible(canonical):
        raise Implausible(f"{metric.value} outside {info.lowest} to {info.highest} {info.unit.value}")
    return canonical
