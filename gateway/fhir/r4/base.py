"""What every FHIR element and resource of the subset shares: strictness, exact decimals, primitive formats.

Source: FHIR R4 4.0.1, Data Types (regular expressions of the primitives) and JSON representation.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "Code",
    "FhirBoolean",
    "FhirDateTime",
    "FhirDecimal",
    "FhirId",
    "FhirInstant",
    "FhirInteger",
    "FhirModel",
    "FhirString",
    "FhirUri",
    "UnsignedInt",
    "format_datetime",
    "parse_datetime",
    "plain_decimal",
]

_MAX_DIGITS = 40
_MAX_EXPONENT = 30
_DATE = r"[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?(Z|[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_FULL = re.compile(r"([0-9-]{10})T([0-9:]{8})(?:\.([0-9]+))?(Z|[+-][0-9]{2}:[0-9]{2})")


def plain_decimal(value: Decimal) -> str:
    """`value` as a JSON number without exponent and without a negative zero; trailing zeros are kept."""
    return format(value.copy_abs() if value.is_zero() else value, "f")


def format_datetime(instant: datetime, utc_offset_min: int) -> str:
    """`instant` (aware) as a FHIR dateTime in whole seconds, written with that UTC offset.

    Args:
        instant: aware; fractions of a second are cut off.
        utc_offset_min: minutes east of UTC, -14 h to +14 h.
    """
    zone = timezone(timedelta(minutes=utc_offset_min))
    return instant.astimezone(zone).replace(microsecond=0).isoformat()


def parse_datetime(text: str) -> datetime | None:
    """The instant (UTC, microseconds) of a FHIR dateTime with a time and an offset; None for a partial or odd one."""
    if (match := _FULL.fullmatch(text)) is None:
        return None
    day, clock, fraction, zone = match.groups()
    digits = (fraction or "0")[:6].ljust(6, "0")
    try:
        return datetime.fromisoformat(f"{day}T{clock}.{digits}{zone.replace('Z', '+00:00')}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise ValueError("must be a JSON number")  # noqa: TRY004 (pydantic reports ValueError as a fault of the input)
    return Decimal(value)


def _bounded(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise ValueError("must be finite")
    if len(value.as_tuple().digits) > _MAX_DIGITS or abs(value.adjusted()) > _MAX_EXPONENT:
        raise ValueError("has too many digits")
    return value


FhirDecimal = Annotated[Decimal, BeforeValidator(_number), AfterValidator(_bounded)]
"""Exact: built from `Decimal` or a JSON number, never from a float or a string; at most 40 digits."""

FhirString = Annotated[str, Field(min_length=1, max_length=1_048_576)]
FhirUri = Annotated[str, Field(pattern=r"^\S+$")]
FhirId = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,64}$")]
Code = Annotated[str, Field(pattern=r"^\S+( \S+)*$")]
FhirBoolean = Annotated[bool, Field(strict=True)]
FhirInteger = Annotated[int, Field(strict=True, ge=-(2**31), le=2**31 - 1)]
UnsignedInt = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
FhirDateTime = Annotated[str, Field(pattern=rf"^{_DATE}({_TIME})?)?)?$")]
"""Kept as text, because a FHIR dateTime may stop at the day, the month or the year."""
FhirInstant = Annotated[str, Field(pattern=rf"^{_DATE}{_TIME}))$")]


class FhirModel(BaseModel):
    """Root of every element: frozen, unknown elements forbidden, attribute names exactly those of the JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)
