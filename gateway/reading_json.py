"""Readings as JSON lines: the one text format that `simulate`, `readings`, `import` and `fhir` share.

One JSON object a line. Needed: `device`, `record`, `metric`, `effective_at`, and one of `value` with `unit`, `bound`,
`absent`. Numbers are exact decimals. The page docs/reading-lines.md describes every field.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Self

import simplejson
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.errors import Implausible, MalformedFrame
from gateway.model import (
    Absent,
    Bound,
    BoundKind,
    Context,
    DeviceId,
    Meal,
    Metric,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    TimeMethod,
    TimeQuality,
    Unit,
    is_identifier,
)
from gateway.normalise.quantity import to_canonical

__all__ = ["dump_reading", "parse_reading", "parse_readings", "reading_to_json"]

_MAX_LINE = 65_536
_FIRST_YEAR, _LAST_YEAR = 1900, 2999
_HIGHEST_EPOCH = 2**31 - 1


def _id(text: str) -> str:
    if not is_identifier(text):
        raise ValueError("use 1 to 64 lower-case letters, digits, '-' and '_'")
    return text


def _naive(instant: datetime) -> datetime:
    if instant.tzinfo is not None:
        raise ValueError("a device's own clock has no zone: leave out the 'Z' or offset")
    return instant


def _storable(instant: datetime) -> datetime:
    if not _FIRST_YEAR <= instant.year <= _LAST_YEAR:
        raise ValueError(f"the year lies outside {_FIRST_YEAR} to {_LAST_YEAR}")
    return instant


Id = Annotated[str, AfterValidator(_id)]
Instant = Annotated[AwareDatetime, AfterValidator(_storable)]
Finite = Annotated[Decimal, Field(allow_inf_nan=False, max_digits=30)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Amount(_Strict):
    value: Finite
    unit: Unit


class _Bound(_Strict):
    kind: BoundKind
    limit: Finite | None = None


class _Provenance(_Strict):
    source: SourceKind = SourceKind.FILE
    decoder: str = Field(default="reading_lines", max_length=64)
    is_retained: bool = False
    is_unconfirmed: bool = False


class _Context(_Strict):
    meal: Meal | None = None
    carbohydrate_g: Finite | None = None
    carbohydrate_kind: str | None = None
    exercise_duration_s: int | None = Field(default=None, ge=0, le=65_535)
    exercise_intensity_percent: int | None = Field(default=None, ge=0, le=100)
    medication_kind: str | None = None
    medication_mg: Finite | None = None
    medication_ml: Finite | None = None
    hba1c_percent: Finite | None = None
    tester: str | None = None
    health: str | None = None
    sample_type: str | None = None
    sample_location: str | None = None
    is_control_solution: bool = False
    trend_mg_dl_min: Finite | None = None
    quality_percent: Finite | None = None
    status: tuple[str, ...] = ()
    user_index: int | None = Field(default=None, ge=0, le=254)
    weigh_in: str | None = Field(default=None, max_length=128)
    is_device_derived: bool = False
    user_name: str | None = Field(default=None, max_length=64)
    trend_arrow: str | None = Field(default=None, max_length=32)
    noise_level: int | None = Field(default=None, ge=0, le=5)
    recorded_by: str | None = Field(default=None, max_length=64)
    note: str | None = Field(default=None, max_length=200)


class _Line(_Strict):
    device: Id
    epoch: int = Field(default=0, ge=0, le=_HIGHEST_EPOCH)
    record: str = Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")
    metric: Metric
    value: Finite | None = None
    unit: Unit | None = None
    bound: _Bound | None = None
    absent: Absent | None = None
    original: _Amount | None = None
    context: _Context = _Context()
    device_time: Annotated[datetime, AfterValidator(_naive)] | None = None
    effective_at: Instant
    utc_offset_min: int | None = Field(default=None, ge=-14 * 60, le=14 * 60)
    time_quality: TimeQuality = TimeQuality.DEVICE
    time_method: TimeMethod | None = None
    received_at: Instant | None = None
    provenance: _Provenance = _Provenance()
    person: Id | None = None

    @model_validator(mode="after")
    def _one_result(self) -> Self:
        if (self.value is None) + (self.bound is None) + (self.absent is None) != 2:
            raise ValueError("give exactly one of value, bound, absent")
        if (self.value is None) is not (self.unit is None):
            raise ValueError("value and unit go together")
        return self


def _compact(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None and value is not False and value != ()}


def _utc(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def reading_to_json(reading: Reading, person_id: PersonId | None = None) -> dict[str, Any]:
    """The reading as JSON-ready values (Decimals stay Decimals); fields that say nothing are left out."""
    line: dict[str, Any] = {
        "device": reading.device_id,
        "epoch": reading.epoch,
        "record": reading.record_key,
        "metric": reading.metric.value,
    }
    if reading.value is not None:
        line |= {"value": reading.value, "unit": reading.metric.info.unit.value}
    if reading.bound is not None:
        line["bound"] = _compact({"kind": reading.bound.kind.value, "limit": reading.bound.limit})
    if reading.absent is not None:
        line["absent"] = reading.absent.value
    if reading.original_value is not None and reading.original_unit is not None:
        line["original"] = {"value": reading.original_value, "unit": reading.original_unit.value}
    if context := _compact(dataclasses.asdict(reading.context)):
        line["context"] = context
    if reading.device_time is not None:
        line["device_time"] = reading.device_time.isoformat()
    line |= {
        "effective_at": _utc(reading.effective_at),
        "utc_offset_min": reading.utc_offset_min,
        "time_quality": reading.time_quality.value,
        **({} if reading.time_method is None else {"time_method": reading.time_method.value}),
        "received_at": _utc(reading.received_at),
        "provenance": _compact(dataclasses.asdict(reading.provenance)),
    }
    if person_id is not None:
        line["person"] = person_id
    return line


def dump_reading(reading: Reading, person_id: PersonId | None = None) -> str:
    """One line, without its line end."""
    return simplejson.dumps(
        reading_to_json(reading, person_id), use_decimal=True, separators=(",", ":"), ensure_ascii=False
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError as error:  # an exponent that no arithmetic can hold
        raise ValueError("not a number that can be stored") from error


def parse_reading(line: str | bytes, *, received_at: datetime) -> tuple[Reading, PersonId | None]:
    """Read one line.

    Args:
        line: at most 64 KiB of JSON.
        received_at: for lines that do not say when they were received; aware, UTC.

    Raises:
        MalformedFrame: not such a line; the message names the field, not its value.
        Implausible: a value outside the range of its metric.
    """
    if len(line) > _MAX_LINE:
        raise MalformedFrame(f"a line may hold {_MAX_LINE} characters at most")
    try:
        data = json.loads(line, parse_float=_decimal, parse_constant=_refuse_constant)
        parsed = _Line.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "line"
        raise MalformedFrame(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error
    except (ValueError, RecursionError) as error:
        raise MalformedFrame("not a JSON object") from error
    return _reading(parsed, received_at), PersonId(parsed.person) if parsed.person else None


def _reading(line: _Line, received_at: datetime) -> Reading:
    value, original = line.value, line.original
    if value is not None and line.unit is not None:
        if original is None and line.unit is not line.metric.info.unit:
            original = _Amount(value=value, unit=line.unit)
        value = to_canonical(line.metric, value, line.unit)
    if line.utc_offset_min is not None:
        offset_min = line.utc_offset_min
    else:
        offset = line.effective_at.utcoffset()
        offset_min = 0 if offset is None else round(offset.total_seconds() / 60)
    return Reading(
        device_id=DeviceId(line.device),
        epoch=line.epoch,
        record_key=line.record,
        metric=line.metric,
        value=value,
        bound=Bound(line.bound.kind, line.bound.limit) if line.bound else None,
        absent=line.absent,
        original_value=original.value if original else None,
        original_unit=original.unit if original else None,
        context=Context(**line.context.model_dump()),
        device_time=line.device_time,
        effective_at=line.effective_at.astimezone(UTC),
        utc_offset_min=offset_min,
        time_quality=line.time_quality,
        received_at=(line.received_at or received_at).astimezone(UTC),
        provenance=Provenance(**line.provenance.model_dump()),
        time_method=line.time_method,
    )


def parse_readings(
    lines: Iterable[str | bytes], *, received_at: datetime
) -> Iterator[tuple[int, Reading, PersonId | None] | tuple[int, str]]:
    """Read many lines: (line number, reading, person), or (line number, reason) for one that cannot be used."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            reading, person_id = parse_reading(line, received_at=received_at)
        except (MalformedFrame, Implausible) as error:
            yield number, str(error)
        else:
            yield number, reading, person_id
