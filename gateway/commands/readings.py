"""`gateway readings`: what is stored, as JSON lines or CSV."""

from __future__ import annotations

import argparse
import asyncio
import csv
from collections.abc import Callable
from typing import TextIO

from gateway.commands.common import (
    Commands,
    add_config,
    opened,
    output,
    settings_of,
    write_line,
)
from gateway.model import Metric, PersonId, Reading, StoredReading
from gateway.reading_json import dump_reading

__all__ = ["register"]

_COLUMNS = (
    "effective_at", "local_time", "person", "device", "metric", "value", "unit", "bound", "absent", "original_value",
    "original_unit", "meal", "is_control_solution", "time_quality", "time_method", "device_time", "received_at",
    "record",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def register(commands: Commands) -> None:
    """Add the commands."""
    parser = commands.add_parser("readings", help="list or export what is stored")
    add_config(parser)
    parser.add_argument("--person", metavar="ID", help="only this person's")
    parser.add_argument("--metric", choices=[m.value for m in Metric], action="append", help="only these (repeatable)")
    parser.add_argument("--format", choices=["jsonl", "csv"], default="jsonl", help="default: jsonl")
    parser.add_argument("--latest", action="store_true", help="only the newest of each device and metric")
    parser.add_argument("--output", default="-", metavar="FILE", help="default: standard output")
    parser.set_defaults(run=lambda arguments: asyncio.run(_export(arguments)))


async def _export(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    metrics = [Metric(name) for name in arguments.metric] if arguments.metric else None
    person_id = PersonId(arguments.person) if arguments.person else None
    async with opened(settings) as store:
        with output(arguments.output) as stream:
            write = _csv_writer(stream) if arguments.format == "csv" else _line_writer(stream)
            if arguments.latest:
                for item in await store.readings.latest(person_id):
                    if metrics is None or item.reading.metric in metrics:
                        write(item)
                return 0
            async for chunk in store.readings.export(person_id=person_id, metrics=metrics):
                for item in chunk:
                    write(item)
    return 0


def _line_writer(stream: TextIO) -> Callable[[StoredReading], None]:
    return lambda item: write_line(dump_reading(item.reading, item.person_id), stream)


def _csv_writer(stream: TextIO) -> Callable[[StoredReading], None]:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)

    def write(item: StoredReading) -> None:
        writer.writerow([_cell(value) for value in _row(item.reading, item.person_id)])

    return write


def _row(reading: Reading, person_id: PersonId | None) -> list[object]:
    return [
        reading.effective_at.isoformat(),
        reading.local_time.isoformat(),
        person_id,
        reading.device_id,
        reading.metric.value,
        reading.value,
        reading.metric.info.unit.value if reading.value is not None else None,
        reading.bound.kind.value if reading.bound else None,
        reading.absent.value if reading.absent else None,
        reading.original_value,
        reading.original_unit.value if reading.original_unit else None,
        reading.context.meal.value if reading.context.meal else None,
        "yes" if reading.context.is_control_solution else None,
        reading.time_quality.value,
        reading.time_method.value if reading.time_method else None,
        reading.device_time.isoformat() if reading.device_time else None,
        reading.received_at.isoformat(),
        reading.record_key,
    ]


def _cell(value: object) -> object:
    """Text that a spreadsheet would run as a formula is quoted; numbers are not text."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value
