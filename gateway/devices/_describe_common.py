"""Words and numbers that every description is made of; JSON-ready: int, Decimal, str, bool, None, list, dict."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal

from gateway.devices.ieee11073 import SfloatSpecial
from gateway.model import Absent, BoundKind, Unit, convert

__all__ = ["Description", "iso", "number", "put_height", "put_mass", "put_sfloat", "sfloat_words", "word"]

Description = dict[str, object]

_NOT_AVAILABLE = {
    SfloatSpecial.NAN: Absent.NOT_A_NUMBER,
    SfloatSpecial.NRES: Absent.NOT_AT_THIS_RESOLUTION,
    SfloatSpecial.RESERVED: Absent.RESERVED,
}
_BOUNDS = {SfloatSpecial.POS_INF: BoundKind.ABOVE, SfloatSpecial.NEG_INF: BoundKind.BELOW}


def number(value: Decimal) -> int | Decimal:
    """The shortest exact form of a finite `value`: whole numbers as int."""
    whole = value.to_integral_value()
    return int(whole) if whole == value else value.normalize()


def iso(instant: datetime | None) -> str | None:
    """ISO 8601 text; None stays None."""
    return None if instant is None else instant.isoformat()


def word(names: type[enum.IntEnum], code: int) -> str:
    """snake_case name of `code`, or `unknown_<code>`."""
    try:
        return names(code).name.lower()
    except ValueError:
        return f"unknown_{code}"


def sfloat_words(special: SfloatSpecial) -> tuple[str, str]:
    """What a special says: (`bound`, `above` | `below`) or (`not_available`, reason)."""
    bound = _BOUNDS.get(special)
    return ("not_available", _NOT_AVAILABLE[special].value) if bound is None else ("bound", bound.value)


def put_sfloat(into: Description, name: str, value: Decimal | SfloatSpecial | None, *, factor: int = 1) -> None:
    """Add `value` x `factor` under `name`; nothing for None; for a special, null and its reason beside it."""
    if isinstance(value, Decimal):
        into[name] = number(value * factor)
    elif value is not None:
        kind, reason = sfloat_words(value)
        into[name] = None
        into[f"{name}_{kind}"] = reason


def put_mass(into: Description, name: str, value: Decimal | None, unit: Unit) -> None:
    """Add `<name>_kg`, exact, and `<name>_lb` or `<name>_jin` when it was sent so; nothing for None."""
    if value is None:
        return
    into[f"{name}_kg"] = number(convert(value, unit, Unit.KG))
    if unit is not Unit.KG:
        into[f"{name}_{unit.value}"] = number(value)


def put_height(into: Description, value: Decimal | None, unit: Unit) -> None:
    """Add `height_m`, exact, and `height_in` when it was sent so; nothing for None."""
    if value is None:
        return
    height_cm = convert(value, unit, Unit.CM)
    into["height_m"] = number(height_cm.scaleb(-2))
    if unit is Unit.INCH:
        into["height_in"] = number(value)
