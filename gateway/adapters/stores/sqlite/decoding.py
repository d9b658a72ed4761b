"""Rows of the tables back into readings: the path that every page and every summary waits for.

Two habits of Python make the plain way slow, and both are avoided here (14 days of a sensor are 4,032 readings):

- `sqlite3` gives the interpreter lock away around every row, so that a reader beside a busy thread waits its turn once
  a row. `fetch_rows` has SQLite put all rows into one answer, column by column, as JSON: one turn, whatever the number.
- A frozen dataclass sets each of its fields through a call. Here the fields are set on a twin with the same slots that
  is not frozen, which then takes the class of the value. Nothing is checked anew: `encode_reading` wrote what the
  constructor had accepted.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, make_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from gateway.adapters.stores.sqlite.codec import READING_COLUMNS, TIMING_CODES, UNIT_CODES, ReadingRow, Series
from gateway.model import (
    Absent,
    Bound,
    BoundKind,
    Context,
    Meal,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    StoredReading,
)

__all__ = ["decode_provenance", "decode_readings", "fetch_rows"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the device's own wall clock has no zone
_NO_CONTEXT = Context()
_UNIT_OF_CODE = {code: unit for unit, code in UNIT_CODES.items()}
_TIMING_OF_CODE = {code: timing for timing, code in TIMING_CODES.items()}
_ARRAYS = ", ".join(f"json_group_array({name.strip()})" for name in READING_COLUMNS.split(","))

_CONTEXT_DECODERS: dict[str, Callable[[str], object]] = {
    "meal": Meal,
    "status": tuple,
    "carbohydrate_g": Decimal,
    "medication_mg": Decimal,
    "medication_ml": Decimal,
    "hba1c_percent": Decimal,
    "trend_mg_dl_min": Decimal,
    "quality_percent": Decimal,
}


def fetch_rows(
    connection: sqlite3.Connection, sql: str, parameters: Mapping[str, object] | tuple[object, ...]
) -> list[ReadingRow]:
    """The rows of a SELECT of `READING_COLUMNS`; it must end in a LIMIT, without which its order may be dropped."""
    arrays = connection.execute(f"SELECT {_ARRAYS} FROM ({sql})", parameters).fetchone()  # noqa: S608 - our own texts
    return list(zip(*map(json.loads, arrays), strict=True))


def decode_provenance(text: str) -> Provenance:
    """The provenance that `encode_reading` wrote as `text`."""
    is_retained = text.startswith("retained ")
    text = text.removeprefix("retained ")
    is_unconfirmed = text.startswith("unconfirmed ")
    source, _, decoder = text.removeprefix("unconfirmed ").partition(":")
    return Provenance(SourceKind(source), decoder, is_retained, is_unconfirmed)


def decode_readings(
    rows: Iterable[ReadingRow],
    series: Mapping[int, Series],
    people: Mapping[int, PersonId],
    provenances: Mapping[int, Provenance],
) -> list[StoredReading]:
    """The stored readings of rows of `READING_COLUMNS`, given what their numbers stand for; person "" is nobody."""
    decoded: list[StoredReading] = []
    for (
        row_id,
        series_number,
        person,
        record_key,
        effective_at,
        utc_offset_min,
        time_quality,
        received_at,
        provenance,
        value,
        original_value,
        original_unit,
        device_time,
        extra,
        raw_id,
    ) in rows:
        device_id, epoch, metric = series[series_number]
        bound, absent, context = (None, None, _NO_CONTEXT) if extra is None else _from_extra(extra)
        number = None if value is None else Decimal(value)
        original = number
        if original_value != value:
            original = None if original_value is None else Decimal(original_value)
        quality, method = _TIMING_OF_CODE[time_quality]
        reading = _ReadingTwin(
            device_id,
            epoch,
            record_key,
            metric,
            _EPOCH + timedelta(0, 0, effective_at),
            utc_offset_min,
            quality,
            _EPOCH + timedelta(0, 0, received_at),
            provenances[provenance],
            number,
            bound,
            absent,
            original,
            None if original_unit is None else _UNIT_OF_CODE[original_unit],
            context,
            None if device_time is None else _NAIVE_EPOCH + timedelta(0, 0, device_time),
            method,
            None,
        )
        reading.__class__ = Reading
        stored = _StoredTwin(reading, people[person] or None, row_id, raw_id)
        stored.__class__ = StoredReading
        decoded.append(stored)
    return decoded


@lru_cache(maxsize=1024)
def _from_extra(text: str) -> tuple[Bound | None, Absent | None, Context]:
    extra = json.loads(text)
    bound: Bound | None = None
    if (pair := extra.pop("bound", None)) is not None:
        bound = Bound(BoundKind(pair[0]), None if pair[1] is None else Decimal(pair[1]))
    absent = Absent(word) if (word := extra.pop("absent", None)) is not None else None
    for name, decoder in _CONTEXT_DECODERS.items():
        if name in extra:
            extra[name] = decoder(extra[name])
    return bound, absent, Context(**extra)


def _twin(value_class: type) -> Any:
    """A class with the slots of a frozen dataclass, in its order and all of them required, that is not frozen."""
    names = [(field.name, object) for field in fields(value_class)]
    return make_dataclass(f"_{value_class.__name__}Twin", names, slots=True, eq=False)


_ReadingTwin = _twin(Reading)
_StoredTwin = _twin(StoredReading)
