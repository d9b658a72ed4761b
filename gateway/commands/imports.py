"""`gateway import`: reading lines, and the exports of other programs."""

from __future__ import annotations

import argparse
import asyncio
import sys
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.commands.common import (
    BAD_INPUT,
    Commands,
    OpenedStore,
    add_config,
    input_lines,
    opened,
    settings_of,
    utc_now,
    write_line,
)
from gateway.commands.weigh_ins import attribute_imported
from gateway.devices.files import FORMATS, FileFormat, FileOptions, recognise, to_text
from gateway.devices.passerelle_fields import Refused
from gateway.errors import ConfigurationError
from gateway.file_import import Imported, import_contents
from gateway.model import Batch, Person, Reading, Unit
from gateway.reading_json import parse_readings

__all__ = ["register"]

_CHUNK: Final = 500
_LARGEST_FILE: Final = 256 * 1024 * 1024
_LARGEST_UNPACKED: Final = 512 * 1024 * 1024
_MOST_MEMBERS: Final = 500
_HIGHEST_RATIO: Final = 200
_PROBLEMS_SHOWN: Final = 20
_LINES: Final = "lines"


def register(commands: Commands) -> None:
    """Add the command."""
    importer = commands.add_parser(
        "import",
        help="store readings from a file: reading lines, or another program's export",
        description="Importing twice adds nothing. Reading lines become those of the person who owns their device; an "
        "export is one person's, and --person says whose.",
    )
    add_config(importer)
    importer.add_argument(
        "--format",
        choices=["auto", _LINES, *(each.name for each in FORMATS)],
        default="auto",
        help="default: recognised by the file itself",
    )
    importer.add_argument("--person", metavar="ID", help="whose export it is")
    importer.add_argument(
        "--date-order", choices=["dmy", "mdy"], help="of dates such as 03-04-2026, where the file does not tell"
    )
    importer.add_argument("--mass-unit", choices=["kg", "lb"], default="kg", help="of an openScale export; default: kg")
    importer.add_argument("--time-zone", metavar="ZONE", help="in which its times are; default: the person's")
    importer.add_argument("--dry-run", action="store_true", help="only say what would be added")
    importer.add_argument("file", metavar="FILE", help="'-' is standard input (reading lines only)")
    importer.set_defaults(run=lambda arguments: asyncio.run(_import(arguments)))


async def _import(arguments: argparse.Namespace) -> int:
    if arguments.format == _LINES or arguments.file == "-":
        return await _import_lines(arguments)
    found = list(_recognised(arguments))
    if not found:
        if arguments.format == "auto" and not zipfile.is_zipfile(arguments.file):
            return await _import_lines(arguments)
        raise ConfigurationError([("", f"{arguments.file} holds nothing that this command reads; see --format")])
    settings = settings_of(arguments)
    people, devices = settings.household()
    person = next((each for each in people if each.person_id == arguments.person), None)
    if person is None:
        names = ", ".join(sorted(each.person_id for each in people)) or "nobody yet: add [[people]]"
        raise ConfigurationError([("--person", f"say whose file it is: {names}")])
    if arguments.time_zone:
        person = replace(person, time_zone=_zone(arguments.time_zone))
    options = FileOptions(arguments.date_order, Unit(arguments.mass_unit), person.time_zone)
    status = 0
    async with opened(settings, must_exist=False) as store:
        await store.registry.declare(people, devices)
        for title, text, file_format in found:
            status = max(status, await _import_one(title, text, file_format, options, person, store, arguments.dry_run))
    return status


async def _import_one(
    title: str,
    text: str,
    file_format: FileFormat,
    options: FileOptions,
    person: Person,
    store: OpenedStore,
    is_dry_run: bool,
) -> int:
    try:
        contents = file_format.parse(text, options)
    except Refused as error:
        write_line(f"gateway import: {title}: {error}", sys.stderr)
        return BAD_INPUT
    result = await import_contents(
        contents,
        file_format,
        person,
        store.readings,
        store.registry,
        received_at=utc_now(),
        is_dry_run=is_dry_run,
    )
    _report(title, file_format, result, person, is_dry_run)
    return BAD_INPUT if result.problems else 0


def _report(title: str, file_format: FileFormat, result: Imported, person: Person, is_dry_run: bool) -> None:
    write_line(f"{title}: {file_format.title}, for {person.person_id}")
    for device_id, name in sorted(result.devices.items()):
        write_line(f"  device  {device_id}  ({name})")
    for metric, count in sorted(result.metrics.items()):
        first, last = (at.astimezone(person.time_zone).date() if at else None for at in (count.first, count.last))
        write_line(f"  {metric.value}: {count.read} from {first} to {last}, {count.new} not stored yet")
    for word, rows in sorted(result.ignored.items()):
        write_line(f"  not collected: {word} ({rows})")
    for line, reason in result.problems[:_PROBLEMS_SHOWN]:
        write_line(f"gateway import: {title}: line {line}: {reason}", sys.stderr)
    if len(result.problems) > _PROBLEMS_SHOWN:
        write_line(f"gateway import: {title}: and {len(result.problems) - _PROBLEMS_SHOWN} more", sys.stderr)
    if is_dry_run:
        new = sum(count.new for count in result.metrics.values())
        write_line(f"  {new} readings would be added; nothing was stored (dry run).")
    else:
        write_line(f"  {result.added} new, {result.corrected} corrected, {result.known} known already.")


def _recognised(arguments: argparse.Namespace) -> Iterator[tuple[str, str, FileFormat]]:
    """The files that are of a known format: the file itself, or the tables of an archive."""
    wanted = next((each for each in FORMATS if each.name == arguments.format), None)
    for title, content in _contents(Path(arguments.file)):
        try:
            text = to_text(content)
        except Refused as error:
            if wanted is not None:
                raise ConfigurationError([("", f"{title}: {error}")]) from error
            continue
        file_format = recognise(text) if wanted is None or title != arguments.file else wanted
        if file_format is not None and wanted in (None, file_format):
            yield title, text, file_format


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    if not path.is_file():
        raise ConfigurationError([("", f"there is no file {path}")])
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigurationError([("", f"{path} has more than {_LARGEST_FILE >> 20} MB; import it in parts")])
        if not zipfile.is_zipfile(path):
            yield str(path), path.read_bytes()
            return
        with zipfile.ZipFile(path) as archive:
            yield from _members(path, archive)
    except OSError as error:
        raise ConfigurationError([("", f"cannot read {path}: {error.strerror}")]) from error
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise ConfigurationError(
            [("", f"{path} is a damaged, encrypted or unusual archive; unpack it first")]
        ) from error


def _members(path: Path, archive: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    """Tables and JSON of an archive; what unpacks to far more than it is does not get unpacked."""
    members = [each for each in archive.infolist() if each.filename.lower().endswith((".csv", ".json"))]
    total = sum(each.file_size for each in members)
    if len(members) > _MOST_MEMBERS or total > _LARGEST_UNPACKED:
        raise ConfigurationError([("", f"{path} holds too much; unpack it and import its files one by one")])
    for member in members:
        if member.file_size > _HIGHEST_RATIO * max(1, member.compress_size):
            raise ConfigurationError([("", f"{path} is packed too tightly to be an export; unpack it first")])
        with archive.open(member) as stream:
            content = stream.read(member.file_size + 1)
        if len(content) > member.file_size:
            raise ConfigurationError([("", f"{path} says something else about itself than it holds")])
        yield f"{path}/{member.filename}", content


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError([("--time-zone", "not a time zone of the IANA list; write Europe/Paris")]) from None


async def _import_lines(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    status = held = new = added = corrected = 0
    present: dict[str, set[str]] = {}
    with input_lines(arguments.file) as lines:
        async with opened(settings, must_exist=False) as store:
            people, devices = settings.household()
            await store.registry.declare(people, devices)
            for chunk, problems in _chunks(lines):
                for number, reason in problems:
                    write_line(f"gateway import: line {number}: {reason}", sys.stderr)
                    status = BAD_INPUT
                held += len(chunk)
                if arguments.dry_run:
                    new += await _count_new(store, chunk, present)
                elif chunk:
                    receipt = await store.readings.commit(Batch(readings=tuple(chunk)))
                    added, corrected = added + receipt.added, corrected + receipt.corrected
            if not arguments.dry_run:
                await attribute_imported(settings, store)
    if arguments.dry_run:
        write_line(f"{held} readings could be imported, {new} of them not stored yet; nothing was stored (dry run).")
    else:
        write_line(
            f"{held} readings read: {added} new, {corrected} corrected, {held - added - corrected} known already."
        )
    return status


def _chunks(lines: Iterable[bytes]) -> Iterator[tuple[list[Reading], list[tuple[int, str]]]]:
    readings: list[Reading] = []
    problems: list[tuple[int, str]] = []
    for item in parse_readings(lines, received_at=utc_now()):
        if len(item) == 2:
            problems.append(item)
        else:
            readings.append(item[1])
        if len(readings) + len(problems) >= _CHUNK:
            yield readings, problems
            readings, problems = [], []
    yield readings, problems


async def _count_new(store: OpenedStore, readings: list[Reading], present: dict[str, set[str]]) -> int:
    new = 0
    for reading in readings:
        if reading.device_id not in present:
            stored = await store.readings.readings(device_id=reading.device_id)
            present[reading.device_id] = {each.reading.key for each in stored}
        if reading.key not in present[reading.device_id]:
            present[reading.device_id].add(reading.key)
            new += 1
    return new
