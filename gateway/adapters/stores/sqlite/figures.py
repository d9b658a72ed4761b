"""Figures of days: which are out of date, and what was last computed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import fields
from datetime import date
from decimal import Decimal
from typing import Any

from gateway.adapters.stores.sqlite.codec import (
    METRIC_CODES,
    METRIC_OF_CODE,
    compact,
    day_number,
    day_of,
    instant,
    micros,
    optional_instant,
    optional_micros,
)
from gateway.errors import PermanentError
from gateway.model import GlucoseDay, PersonId, WeightDay
from gateway.ports import DirtyDay

__all__ = [
    "clear_dirty",
    "dirty_days",
    "glucose_days",
    "person_number",
    "save_glucose_day",
    "save_weight_day",
    "weight_days",
]

_DECIMALS = ("total_mg_dl", "total_squares", "minimum_mg_dl", "maximum_mg_dl")
_INSTANTS = ("first_at", "last_at")
_COUNTS = tuple(
    field.name for field in fields(GlucoseDay) if field.name not in {*_DECIMALS, *_INSTANTS, "person_id", "local_day"}
)


def person_number(connection: sqlite3.Connection, person_id: PersonId) -> int:
    """The number of a declared person. Raises PermanentError: nobody is called that."""
    row = connection.execute("SELECT id FROM person WHERE person_id = ? AND id <> 0", (person_id,)).fetchone()
    if row is None:
        raise PermanentError("nobody of that id was declared")
    return int(row[0])


def dirty_days(connection: sqlite3.Connection, limit: int) -> list[DirtyDay]:
    """Days out of date, oldest change first."""
    rows = connection.execute(
        "SELECT p.person_id, d.metric, d.local_day, d.version FROM dirty_day d JOIN person p ON p.id = d.person"
        " ORDER BY d.version LIMIT ?",
        (limit,),
    )
    return [DirtyDay(PersonId(name), METRIC_OF_CODE[code], day_of(day), version) for name, code, day, version in rows]


def clear_dirty(connection: sqlite3.Connection, dirty: DirtyDay | None) -> None:
    """Forget that a day is out of date, unless it changed since `dirty` was read."""
    if dirty is not None:
        connection.execute(
            "DELETE FROM dirty_day WHERE version = ? AND person = ? AND metric = ? AND local_day = ?",
            (
                dirty.version,
                person_number(connection, dirty.person_id),
                METRIC_CODES[dirty.metric],
                day_number(dirty.local_day),
            ),
        )


def save_glucose_day(connection: sqlite3.Connection, day: GlucoseDay, dirty: DirtyDay | None) -> None:
    """Replace the figures of one day and clear `dirty`."""
    figures: dict[str, object] = {name: getattr(day, name) for name in _COUNTS}
    for name in _DECIMALS:
        value = getattr(day, name)
        figures[name] = None if value is None else str(value)
    for name in _INSTANTS:
        figures[name] = optional_micros(getattr(day, name))
    connection.execute(
        "INSERT INTO glucose_day VALUES (?, ?, ?)"
        " ON CONFLICT (person, local_day) DO UPDATE SET figures = excluded.figures",
        (person_number(connection, day.person_id), day_number(day.local_day), compact(figures)),
    )
    clear_dirty(connection, dirty)


def glucose_days(connection: sqlite3.Connection, person_id: PersonId, first: date, last: date) -> list[GlucoseDay]:
    """Stored days first..last, ascending."""
    rows = connection.execute(
        "SELECT g.local_day, g.figures FROM glucose_day g JOIN person p ON p.id = g.person"
        " WHERE p.person_id = ? AND g.local_day BETWEEN ? AND ? ORDER BY g.local_day",
        (person_id, day_number(first), day_number(last)),
    )
    return [_glucose_day(person_id, day, json.loads(text)) for day, text in rows]


def _glucose_day(person_id: PersonId, day: int, figures: dict[str, Any]) -> GlucoseDay:
    decoders: dict[str, Callable[[Any], object]] = dict.fromkeys(_DECIMALS, _decimal)
    decoders |= dict.fromkeys(_INSTANTS, optional_instant)
    for name, decoder in decoders.items():
        figures[name] = decoder(figures[name])
    return GlucoseDay(person_id=person_id, local_day=day_of(day), **figures)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def save_weight_day(
    connection: sqlite3.Connection, person_id: PersonId, local_day: date, day: WeightDay | None, dirty: DirtyDay | None
) -> None:
    """Replace or remove the weigh-in of one day and clear `dirty`."""
    person, number = person_number(connection, person_id), day_number(local_day)
    if day is None:
        connection.execute("DELETE FROM weight_day WHERE person = ? AND local_day = ?", (person, number))
    else:
        connection.execute(
            "INSERT INTO weight_day VALUES (?, ?, ?, ?) ON CONFLICT (person, local_day)"
            " DO UPDATE SET mass_kg = excluded.mass_kg, measured_at = excluded.measured_at",
            (person, number, str(day.mass_kg), micros(day.measured_at)),
        )
    clear_dirty(connection, dirty)


def weight_days(connection: sqlite3.Connection, person_id: PersonId, first: date, last: date) -> list[WeightDay]:
    """Stored days first..last, ascending."""
    rows = connection.execute(
        "SELECT w.local_day, w.mass_kg, w.measured_at FROM weight_day w JOIN person p ON p.id = w.person"
        " WHERE p.person_id = ? AND w.local_day BETWEEN ? AND ? ORDER BY w.local_day",
        (person_id, day_number(first), day_number(last)),
    )
    return [WeightDay(person_id, day_of(day), Decimal(mass), instant(at)) for day, mass, at in rows]
