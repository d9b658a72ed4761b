"""FHIR JSON text <-> resources, with exact decimals in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NoReturn, TypeVar

import simplejson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gateway.errors import PermanentError
from gateway.fhir.r4.base import FhirModel, plain_decimal
from gateway.fhir.r4.resources import AnyResource, Resource

__all__ = ["FhirError", "from_json", "from_json_as", "to_json"]

R = TypeVar("R", bound=Resource)
_ADAPTER: TypeAdapter[AnyResource] = TypeAdapter(AnyResource)
_MAX_PRUNING_ROUNDS = 8


class FhirError(PermanentError):
    """The text is not JSON, or not a resource of the subset; `problems` holds (path, sentence) pairs without values."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {text}" if path else text for path, text in problems[:10]))
        self.problems = tuple(problems)


def to_json(resource: FhirModel) -> str:
    """Compact FHIR JSON: no nulls, no empty arrays or objects, decimals as plain numbers with the digits they have."""
    return simplejson.dumps(
        _emit(resource.model_dump(mode="python", exclude_none=True)),
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
    )


def from_json(text: str | bytes, *, lenient: bool = False) -> AnyResource:
    """Read one resource of any type.

    Args:
        text: the JSON, UTF-8 when bytes.
        lenient: drop elements that the subset does not know instead of refusing them; for what a server answers.

    Raises:
        FhirError: not JSON, or not a resource.
    """
    data = _load(text)
    for _ in range(_MAX_PRUNING_ROUNDS if lenient else 0):
        try:
            return _ADAPTER.validate_python(data)
        except ValidationError as error:
            unknown = [e["loc"] for e in error.errors(include_url=False) if e["type"] == "extra_forbidden"]
            if not unknown:
                break
            for location in unknown:
                _drop(data, location)
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        problems = [(_path(e["loc"]), _sentence(e)) for e in error.errors(include_url=False)]
        raise FhirError(problems) from None


def from_json_as(kind: type[R], text: str | bytes, *, lenient: bool = False) -> R:
    """Read one resource that must be a `kind`. Raises FhirError, also when it is another resource type."""
    resource = from_json(text, lenient=lenient)
    if not isinstance(resource, kind):
        raise FhirError([("resourceType", f"expected {kind.__name__}")])
    return resource


def _emit(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: done for key, item in value.items() if (done := _emit(item)) not in (None, [], {})}
    if isinstance(value, list | tuple):
        return [_emit(item) for item in value]
    if isinstance(value, Decimal):
        return simplejson.RawJSON(plain_decimal(value))
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice in one object")
    return found


def _load(text: str | bytes) -> dict[str, Any]:
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        data = simplejson.loads(decoded, use_decimal=True, parse_constant=_refuse_constant, object_pairs_hook=_object)
    except (ValueError, ArithmeticError, RecursionError):
        raise FhirError([("", "not valid JSON")]) from None
    if not isinstance(data, dict):
        raise FhirError([("", "not a JSON object")])
    return data


def _drop(data: Any, location: Sequence[int | str]) -> None:
    node = data
    for part in location[:-1]:
        if isinstance(node, list):
            node = node[int(part)]
        elif part in node:  # a part that is not in the data names a branch of a union
            node = node[part]
    node.pop(location[-1], None)


def _path(location: Sequence[int | str]) -> str:
    text = ""
    for part in location:
        name = str(part)[:64]
        text += f"[{name}]" if isinstance(part, int) else (f".{name}" if text else name)
    return text


def _sentence(error: ErrorDetails) -> str:
    return "unknown element" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
