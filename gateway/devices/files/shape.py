"""What a file format is: how it is recognised, and what its text holds.

The parsers are pure: text in, records out. Which person the records belong to, and what is new, is decided by whoever
imports them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Literal, NamedTuple

from gateway.model import DeviceKind, Unit
from gateway.normalise.reported import Problem, ReportedRecord

__all__ = ["DateOrder", "FileContents", "FileFormat", "FileOptions", "FileRow", "FileSource"]

DateOrder = Literal["dmy", "mdy"]


@dataclass(frozen=True, slots=True)
class FileOptions:
    """What a person adds where the file does not say it.

    Attributes:
        date_order: of dates such as 03-04-2026; None: found in the file, or the file is refused.
        mass_unit: of an export that names none.
        zone: the person's time zone, for the hour that exists twice.
    """

    date_order: DateOrder | None = None
    mass_unit: Unit = Unit.KG
    zone: tzinfo = UTC


class FileSource(NamedTuple):
    """The device that a row speaks of, as far as the file names it.

    Attributes:
        name: serial number or other name in the file; None: it names none.
        kind: what it is.
        title: make and model in the file's words, for people.
    """

    name: str | None
    kind: DeviceKind
    title: str


class FileRow(NamedTuple):
    """One row that holds measurements, or failed to.

    Attributes:
        line: number in the file, from 1; of a JSON file the position in its list, from 1.
        source: the device.
        records: what it says; none with a problem.
        problem: why it gives nothing.
        raw: the row as it stands, for the archive.
    """

    line: int
    source: FileSource
    records: tuple[ReportedRecord, ...]
    problem: Problem | None
    raw: str


@dataclass(frozen=True, slots=True)
class FileContents:
    """Everything in one file.

    Attributes:
        rows: in the file's order.
        ignored: what is not collected, by a word of the format, with the number of rows.
    """

    rows: tuple[FileRow, ...]
    ignored: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileFormat:
    """One format.

    Attributes:
        name: of the command line; the decoder of its readings is `file.<name>`.
        title: the program that writes such files.
        recognises: whether a text is of this format; looks at its beginning only.
        parse: the contents; raises `Refused` where the whole file cannot be read, with a sentence that says what to do.
    """

    name: str
    title: str
    recognises: Callable[[str], bool]
    parse: Callable[[str, FileOptions], FileContents]
