"""Bare numbers on a topic of their own: what ESPHome and Home Assistant publish as the state of a sensor."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from gateway.devices.dialects.shape import Entity, Said, Untimed
from gateway.model import QuarantineReason
from gateway.normalise.reported import Problem, ReportedMeasurement

__all__ = ["is_without_value", "said_of_number"]

_NOTHING: Final = frozenset({"", "nan", "none", "null", "unavailable", "unknown"})
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
_LONGEST: Final = 24


def is_without_value(payload: bytes) -> bool:
    """Whether the payload says that there is no value: empty, NaN, `None`, or a state of Home Assistant's own."""
    return len(payload) <= _LONGEST and payload.decode("ascii", "replace").strip().lower() in _NOTHING


def said_of_number(payload: bytes, entity: Entity) -> Said:
    """The measurement that a bare number is; its other half may come on another topic.

    A text that is no number goes to the quarantine; a decimal comma is one of them, for nobody can tell it from a
    separator of thousands.
    """
    text = payload.decode("ascii", "replace").strip() if len(payload) <= _LONGEST else ""
    if _NUMBER.fullmatch(text) is None:
        return Said(problems=(Problem(QuarantineReason.MALFORMED, f"{entity.metric.value} is not a number"),))
    number = Decimal(text)
    measurement = ReportedMeasurement(entity.metric, number, entity.unit)
    return Said(untimed=(Untimed((measurement,), is_partial=True),))
