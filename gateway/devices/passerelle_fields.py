"""The field types of our own MQTT format: strict JSON, numbers, times, words and the context object.

Every function takes what `json` gave and returns the domain's type, or raises `Refused` with a sentence without values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache, partial
from typing import Any, TypeVar

from gateway.errors import MalformedFrame
from gateway.model import Context, Meal, QuarantineReason

__all__ = [
    "Refused",
    "read_boolean",
    "read_choice",
    "read_context",
    "read_decimal",
    "read_integer",
    "read_text",
    "read_time",
    "record_key_from",
    "strict_json",
]

T = TypeVar("T")

_MAX_NUMBER_TEXT = 24
_MAX_EXPONENT = 9
_DECIMAL_TEXT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_TIME = re.compile(
    r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-][0-2][0-9]:[0-5][0-9])?"
)
_WORD = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
_TOKEN = re.compile(r"[!-~]{1,64}")
_MEALS = {meal.value: meal for meal in Meal}


class Refused(MalformedFrame):
    """A message or record that gives no reading; `reason` is what the quarantine files it under."""

    def __init__(self, message: str, reason: QuarantineReason = QuarantineReason.MALFORMED) -> None:
        super().__init__(message)
        self.reason = reason


def strict_json(payload: bytes, *, longest_number: int = _MAX_NUMBER_TEXT) -> object:
    """UTF-8 JSON as Python values, every number an exact `Decimal`.

    Args:
        longest_number: characters that a number may have; programs that compute with decimals write more digits than
            any device measures.

    Raises:
        Refused: not UTF-8, not JSON, nested too deeply, a key twice in one object, NaN or Infinity, a longer number.
    """
    try:
        document: object = _decoder(longest_number).decode(payload.decode("utf-8"))
    except UnicodeDecodeError:
        raise Refused("not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise Refused(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise Refused("nested too deeply") from None
    return document


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused("a key appears twice in one object")
    return found


def _number(text: str, longest: int = _MAX_NUMBER_TEXT) -> Decimal:
    if len(text) > longest:
        raise Refused(f"a number has more than {longest} characters")
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent that no arithmetic can hold
        raise Refused("a number is beyond all bounds") from None


def _constant(_: str) -> Decimal:
    raise Refused("NaN and Infinity are not JSON numbers")


@lru_cache(maxsize=8)
def _decoder(longest_number: int) -> json.JSONDecoder:
    number = partial(_number, longest=longest_number)
    return json.JSONDecoder(object_pairs_hook=_object, parse_float=number, parse_int=number, parse_constant=_constant)


def read_decimal(value: object, what: str) -> Decimal:
    """A JSON number, or the same characters as a string; at most nine digits before, nine zeros after the point."""
    if type(value) is str and _DECIMAL_TEXT.fullmatch(value) is not None:
        value = _number(value)
    if type(value) is not Decimal:
        raise Refused(f"{what} is not a number")
    if not -_MAX_EXPONENT <= value.adjusted() < _MAX_EXPONENT:
        raise Refused(f"{what} is not a number of ordinary size")
    return value


def read_integer(value: object, what: str, lowest: int, highest: int) -> int:
    """A whole JSON number in lowest..highest."""
    if type(value) is not Decimal or not lowest <= value <= highest or value != int(value):
        raise Refused(f"{what} is not a whole number from {lowest} to {highest}")
    return int(value)


def read_boolean(value: object, what: str) -> bool:
    """`true` or `false`, nothing that resembles them."""
    if type(value) is not bool:
        raise Refused(f"{what} is not true or false")
    return value


def read_choice(value: object, what: str, choices: dict[str, T]) -> T:
    """One of the words of a closed list."""
    if type(value) is not str or value not in choices:
        raise Refused(f"{what} is not one of {', '.join(choices)}")
    return choices[value]


def read_text(value: object, what: str, longest: int) -> str:
    """1 to `longest` printable characters (no control characters, no lone surrogates)."""
    if type(value) is not str or not 1 <= len(value) <= longest or not value.isprintable():
        raise Refused(f"{what} is not a text of 1 to {longest} printable characters")
    return value


def read_time(value: object) -> datetime:
    """RFC 3339 with seconds: aware with an offset, naive (the device's wall clock) without one."""
    if type(value) is not str or _TIME.fullmatch(value) is None:
        raise Refused("time is not RFC 3339 with seconds, with or without an offset")
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise Refused("time is not a date and time that exist") from None


def record_key_from(time: datetime) -> str:
    """A record key for a device that numbers nothing: one instant, one key, whatever offset it was written with."""
    if time.tzinfo is None:
        return f"t{time.isoformat()}"
    return f"t{time.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"


def _word(value: object, what: str) -> str:
    if type(value) is not str or _WORD.fullmatch(value) is None:
        raise Refused(f"{what} is not a word of lower-case letters, digits and _")
    return value


def _token(value: object, what: str) -> str:
    if type(value) is not str or _TOKEN.fullmatch(value) is None:
        raise Refused(f"{what} is not 1 to 64 printable ASCII characters without spaces")
    return value


def _words(value: object, what: str) -> tuple[str, ...]:
    if type(value) is not list or len(value) > 32:
        raise Refused(f"{what} is not an array of at most 32 words")
    return tuple(sorted({_word(each, what) for each in value}))


def _amount(value: object, what: str) -> Decimal:
    amount = read_decimal(value, what)
    if not 0 <= amount <= 100_000:
        raise Refused(f"{what} is not in 0..100000")
    return amount


def _percent(value: object, what: str) -> Decimal:
    amount = read_decimal(value, what)
    if not 0 <= amount <= 100:
        raise Refused(f"{what} is not in 0..100")
    return amount


_CONTEXT: dict[str, Callable[[object, str], Any]] = {
    "meal": lambda value, what: read_choice(value, what, _MEALS),
    "carbohydrate_g": _amount,
    "carbohydrate_kind": _word,
    "exercise_duration_s": lambda value, what: read_integer(value, what, 0, 86_400),
    "exercise_intensity_percent": lambda value, what: read_integer(value, what, 0, 100),
    "medication_kind": _word,
    "medication_mg": _amount,
    "medication_ml": _amount,
    "hba1c_percent": _percent,
    "tester": _word,
    "health": _word,
    "sample_type": _word,
    "sample_location": _word,
    "is_control_solution": read_boolean,
    "trend_mg_dl_min": read_decimal,
    "quality_percent": _percent,
    "status": _words,
    "user_index": lambda value, what: read_integer(value, what, 0, 254),
    "weigh_in": _token,
    "is_device_derived": read_boolean,
    "user_name": lambda value, what: read_text(value, what, 64),
    "trend_arrow": lambda value, what: read_text(value, what, 32),
    "noise_level": lambda value, what: read_integer(value, what, 0, 5),
    "recorded_by": lambda value, what: read_text(value, what, 64),
    "note": lambda value, what: read_text(value, what, 200),
}


def read_context(value: object) -> Context:
    """The `context` object of a record: the fields of `Context`, all optional, no other."""
    if type(value) is not dict:
        raise Refused("context is not an object")
    if unknown := value.keys() - _CONTEXT.keys():
        raise Refused(f"{len(unknown)} unknown key(s) in the context")
    return Context(**{key: _CONTEXT[key](each, key) for key, each in value.items()})
