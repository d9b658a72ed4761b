"""Statements over many rows of parameters at once.

The rows are a `VALUES` list whose length is a power of two, so that a dozen prepared statements serve every group; what
is left over is filled with rows of NULL, which the statements drop. `{marks}` in a template stands for the list.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain

__all__ = ["MOST_ROWS", "compare_rows", "execute_rows"]

MOST_ROWS = 512
"""Rows of one statement; more are split."""


@lru_cache(maxsize=64)
def _statement(template: str, rows: int, width: int, more: str) -> str:
    row = f"({','.join('?' * width)})"
    return template.format(marks=",".join([row] * rows), more=more)


def _chunks(rows: Sequence[tuple[object, ...]]) -> Iterator[tuple[int, list[object]]]:
    """Number of rows of the statement and its flat parameters."""
    for start in range(0, len(rows), MOST_ROWS):
        part = rows[start : start + MOST_ROWS]
        size = 1 << (len(part) - 1).bit_length()
        parameters = list(chain.from_iterable(part))
        parameters += [None] * ((size - len(part)) * len(part[0]))
        yield size, parameters


def execute_rows(
    connection: sqlite3.Connection, template: str, rows: Sequence[tuple[object, ...]], after: tuple[object, ...] = ()
) -> int:
    """Run a changing statement over `rows`, followed by the parameters `after`; returns how many rows it changed."""
    changed = 0
    for size, parameters in _chunks(rows):
        sql = _statement(template, size, len(rows[0]), "")
        parameters += after
        changed += connection.execute(sql, parameters).rowcount
    return changed


def compare_rows(
    connection: sqlite3.Connection, template: str, rows: Sequence[tuple[object, ...]]
) -> list[tuple[int, int, int]]:
    """Run a statement whose one answer is a JSON array of (ordinal, row id, claim), in order of ordinals.

    Each row gets its ordinal as a last column, called `ordinal`.
    """
    answers: list[tuple[int, int, int]] = []
    numbered = [(*row, ordinal) for ordinal, row in enumerate(rows)]
    for size, parameters in _chunks(numbered):
        sql = _statement(template, size, len(numbered[0]), ", ordinal")
        answers += [tuple(answer) for answer in json.loads(connection.execute(sql, parameters).fetchone()[0])]
    return sorted(answers)
