"""Tables of text: the header may come after a few lines of its own, and the separator depends on the country."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from gateway.devices.passerelle_fields import Refused

__all__ = ["Cells", "find_header", "number", "rows_after", "to_text"]

_SEPARATORS = (",", ";", "\t")
_HEADER_WITHIN = 20
_LONGEST_LINE = 20_000
_MOST_CELLS = 400
_LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
_NUMBER = re.compile(r"-?[0-9]{1,12}(?:[.,][0-9]{1,20})?", re.ASCII)


class Cells(NamedTuple):
    """One row: its line in the file, its cells without the spaces around them, and the line as it stands."""

    line: int
    cells: tuple[str, ...]
    raw: str

    def at(self, index: int | None) -> str:
        """The cell, empty where the row is shorter or there is no such column."""
        return self.cells[index] if index is not None and 0 <= index < len(self.cells) else ""


class _Header(NamedTuple):
    line: int
    separator: str
    names: tuple[str, ...]


def to_text(content: bytes) -> str:
    """The text of a file: UTF-8 with or without a mark, or UTF-16 with one.

    Raises:
        Refused: neither.
    """
    try:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return content.decode("utf-16")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused("not UTF-8 text; save the export again as UTF-8") from None


def find_header(text: str, is_header: Callable[[Sequence[str]], bool]) -> _Header | None:
    """The first of the first lines that is the header, and the separator with which it is one."""
    lines = text[: _LONGEST_LINE * _HEADER_WITHIN].splitlines()[:_HEADER_WITHIN]
    for index, line in enumerate(lines):
        if len(line) > _LONGEST_LINE:
            continue
        for separator in _SEPARATORS:
            names = _split(line, separator)
            if names is not None and is_header(names):
                return _Header(index + 1, separator, names)
    return None


def _split(line: str, separator: str) -> tuple[str, ...] | None:
    try:
        rows = list(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        return None
    return tuple(cell.strip() for cell in rows[0]) if rows and len(rows[0]) <= _MOST_CELLS else None


def rows_after(text: str, header: _Header) -> Iterator[Cells]:
    """The rows below the header, empty ones left out.

    Raises:
        Refused: a line is not such a table's.
    """
    lines = (match[0] for match in _LINE.finditer(text))  # one after the other: a file has a million
    for _ in range(header.line):
        next(lines, None)
    first = header.line + 1
    taken: list[str] = []

    def feed() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    reader = csv.reader(feed(), delimiter=header.separator, strict=True)
    line = first
    while True:
        taken.clear()
        try:
            cells = next(reader, None)
        except csv.Error:
            raise Refused(f"line {line} is not a row of the table: a quotation mark that does not end?") from None
        if cells is None:
            return
        if len(cells) > _MOST_CELLS:
            raise Refused(f"line {line} has more than {_MOST_CELLS} cells")
        if any(cell.strip() for cell in cells):
            yield Cells(line, tuple(cell.strip() for cell in cells), "".join(taken).rstrip("\r\n")[:_LONGEST_LINE])
        line += max(1, len(taken))


def number(text: str) -> Decimal | None:
    """A number with a point or a comma for its decimals; None: it is none."""
    if _NUMBER.fullmatch(text) is None:
        return None
    try:
        return Decimal(text.replace(",", "."))
    except InvalidOperation:
        return None
