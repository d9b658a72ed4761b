"""What the dialects share: numbers of a flat JSON object, names of people, addresses and topic levels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from gateway.devices.dialects.shape import Said
from gateway.devices.passerelle_fields import Refused, read_decimal, strict_json
from gateway.model import Metric, QuarantineReason, Unit
from gateway.normalise.reported import Problem, ReportedMeasurement

__all__ = [
    "Field",
    "collect",
    "json_object",
    "no_address",
    "problem_of",
    "read_address",
    "said_nothing_of",
    "user_hint",
]

_ADDRESS = re.compile(r"[0-9A-Fa-f]{12}|[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")
_LONGEST_NAME = 64
_LONGEST_NUMBER = 20


class Field(NamedTuple):
    """One key of a JSON object and what its number measures.

    Attributes:
        key: as the program writes it.
        metric: what it measures.
        unit: in which it is sent.
        is_derived: made by a formula out of weight and impedance.
    """

    key: str
    metric: Metric
    unit: Unit
    is_derived: bool = False


def json_object(payload: bytes) -> dict[str, object]:
    """The payload as a JSON object, its numbers exact.

    Raises:
        Refused: not JSON (see `strict_json`), or no object.
    """
    document = strict_json(payload)
    if type(document) is not dict:
        raise Refused("not a JSON object")
    return document


def collect(
    document: Mapping[str, object], fields: Iterable[Field]
) -> tuple[tuple[ReportedMeasurement, ...], tuple[Problem, ...]]:
    """The numbers of these fields, and what was wrong with the others.

    A key that is missing, `null` or zero was not measured: these programs write 0 for what they do not have.
    """
    measurements: list[ReportedMeasurement] = []
    problems: list[Problem] = []
    for field in fields:
        value = document.get(field.key)
        if value is None:
            continue
        try:
            number = read_decimal(value, field.key)
        except Refused as error:
            problems.append(problem_of(error))
            continue
        if number != Decimal(0):
            measurements.append(
                ReportedMeasurement(field.metric, number, field.unit, is_device_derived=field.is_derived)
            )
    return tuple(measurements), tuple(problems)


def user_hint(value: object) -> str | None:
    """A name or number of a user, as text that can be shown; None for anything else."""
    if type(value) is Decimal:
        return whole_number(value)
    if type(value) is not str:
        return None
    name = value.strip()
    return name if 1 <= len(name) <= _LONGEST_NAME and name.isprintable() else None


def whole_number(value: Decimal) -> str | None:
    """A number that names something, as text: `118` however it was written; None where it is not whole, or too long."""
    if not value.adjusted() < _LONGEST_NUMBER or value != value.to_integral_value():
        return None
    return str(int(value))


def read_address(value: object) -> str | None:
    """A Bluetooth address with or without colons as `AA:BB:CC:DD:EE:FF`; None for anything else."""
    if type(value) is not str or _ADDRESS.fullmatch(value) is None:
        return None
    digits = value.replace(":", "").upper()
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def no_address(_: str) -> None:
    """`Dialect.address_of` of a dialect whose topics name no device."""


def problem_of(error: Refused) -> Problem:
    """Why a part of a message gave nothing."""
    return Problem(error.reason, str(error))


def said_nothing_of(detail: str, reason: QuarantineReason = QuarantineReason.MALFORMED) -> Said:
    """A message that gave nothing, for one reason."""
    return Said(problems=(Problem(reason, detail),))
