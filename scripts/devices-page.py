#!/usr/bin/env python3
"""Write the tables of docs/devices.md from the code and its tests: scripts/devices-page.py [--check]

With --check nothing is written; the exit status is 1 when the page is not what the code says. Two tables stand between
markers: what `gateway decode` knows (fields and special values from the source of each describer, tests from the files
below tests/ that call its decoder or describe its payloads), and the drivers with their quirks.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gateway import devices
from gateway.devices import describe
from gateway.devices.drivers import Driver, load_drivers
from gateway.devices.quirks import Quirks

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "devices.md"
MARK = "<!-- made by scripts/devices-page.py: {} -->"
END = "<!-- end -->"
_PUTS_SFLOAT = frozenset({"put_sfloat", "sfloat_words", "_put_concentration"})
_WORDS = {
    "bound": "above or below the range",
    "not_available": "not available, with the reason",
}


def describers() -> dict[tuple[str, str], Callable[..., object]]:
    """(short UUID, name) -> the function that puts it into words, of every table of the describing modules."""
    found: dict[tuple[str, str], Callable[..., object]] = {}
    for module in pkgutil.iter_modules(devices.__path__):
        if not module.name.startswith(("_describe", "describe")):
            continue
        for value in vars(importlib.import_module(f"gateway.devices.{module.name}")).values():
            if isinstance(value, dict):
                for uuid, entry in value.items():
                    if isinstance(entry, tuple) and len(entry) == 2 and callable(entry[1]):
                        found[uuid, entry[0]] = entry[1]
    return found


def reached(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """`function` and what it calls, as far as it is a describer or a decoder of `gateway.devices`."""
    found: list[Callable[..., Any]] = []
    todo = [function]
    while todo:
        each = inspect.unwrap(todo.pop())
        if isinstance(each, functools.partial):
            todo += [each.func, *(value for value in (*each.args, *each.keywords.values()) if callable(value))]
            continue
        if each in found or not inspect.isfunction(each) or not each.__module__.startswith("gateway.devices"):
            continue
        found.append(each)
        if not each.__name__.startswith("parse_"):
            held = inspect.getclosurevars(each).nonlocals.values()
            named = (each.__globals__.get(n.id) for n in ast.walk(tree(each)) if isinstance(n, ast.Name))
            todo += [value for value in (*held, *named) if callable(value)]
    return found


def tree(function: Callable[..., Any]) -> ast.AST:
    """The syntax of a function."""
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


def keys(node: ast.AST) -> Iterator[str]:
    """Names under which a describer puts something."""
    for each in ast.walk(node):
        texts: list[ast.expr | None] = []
        if isinstance(each, ast.Dict):
            texts = list(each.keys)
        elif isinstance(each, ast.Subscript) and isinstance(each.ctx, ast.Store):
            texts = [each.slice]
        elif isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and "put" in each.func.id:
            texts = each.args[1:2]
        elif isinstance(each, ast.For) and isinstance(each.iter, ast.Tuple):
            texts = [pair.elts[0] for pair in each.iter.elts if isinstance(pair, ast.Tuple)]
        yield from (
            text.value
            for text in texts
            if isinstance(text, ast.Constant)
            and isinstance(text.value, str)
            and re.fullmatch(r"[a-z0-9_]+", text.value)
        )


def fields_and_specials(functions: list[Callable[..., Any]]) -> tuple[list[str], list[str]]:
    """What a describer can say, and which special values it knows."""
    fields: dict[str, None] = {}
    specials: dict[str, None] = {}
    for each in functions:
        if each.__name__.startswith("parse_"):
            continue
        if each.__name__ in _PUTS_SFLOAT:
            specials["NaN, NRes, +INF, -INF, reserved"] = None
        if each.__module__.endswith("_describe_common"):
            continue
        held = [value for value in inspect.getclosurevars(each).nonlocals.values() if isinstance(value, str)]
        for key in (*held, *keys(tree(each))):
            word = next((word for end, word in _WORDS.items() if key == end or key.endswith(f"_{end}")), None)
            (fields if word is None else specials)[key if word is None else word] = None
    return list(fields), list(specials)


def mentions(function: ast.AST, *, with_texts: bool) -> Iterator[str]:
    """Names that a function and its decorators use; `with_texts`: also UUIDs that stand there as text."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif with_texts and isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@functools.cache
def tests() -> dict[str, list[tuple[str, str]]]:
    """Decoder or UUID -> (file, test) of every test that uses it, also through a helper of its file."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        functions = [n for n in module.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        used = {f.name: set(mentions(f, with_texts=path.name == "test_describe.py")) for f in functions}
        for name, names in used.items():
            if not name.startswith("test_"):
                continue
            direct = names | set().union(*(used[helper] for helper in names & used.keys()))
            for decoder in direct:
                if decoder.startswith("parse_") or re.fullmatch(r"[0-9a-f]{4}", decoder):
                    found.setdefault(decoder, []).append((path.name, name))
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One format."""

    uuid: str
    name: str
    is_service_data: bool
    decoders: list[str]
    fields: list[str]
    specials: list[str]
    tests: list[tuple[str, str]]


def rows() -> list[Row]:
    """Every format that `gateway decode` knows."""
    known = describers()
    found = []
    lists = ((describe.CHARACTERISTICS, False), (describe.SERVICE_DATA_FORMATS, True))
    for uuid, name, is_service_data in [(u, n, s) for names, s in lists for u, n in names.items()]:
        functions = reached(known[uuid, name])
        decoders = sorted({each.__name__ for each in functions if each.__name__.startswith("parse_")})
        fields, specials = fields_and_specials(functions)
        proofs = sorted({proof for used in (*decoders, uuid) for proof in tests().get(used, [])})
        found.append(Row(uuid, name, is_service_data, decoders, fields, specials, proofs))
    return found


def formats() -> str:
    """The first table."""
    lines = ["| UUID | name | fields | special values | decoder | tests |", "|---|---|---|---|---|---|"]
    for row in rows():
        files = sorted({file for file, _ in row.tests})
        proof = f"{len(row.tests)} in {', '.join(files)}"
        uuid = f"{row.uuid} (service data)" if row.is_service_data else row.uuid
        lines.append(
            f"| {uuid} | {row.name} | {', '.join(f'`{f}`' for f in row.fields)} | {'; '.join(row.specials) or '-'} "
            f"| {', '.join(f'`{d}`' for d in row.decoders)} | {proof} |"
        )
    return "\n".join(lines)


def quirks(driver: Driver) -> str:
    """In which a family differs from the standard."""
    usual = Quirks()
    said = []
    for each in dataclasses.fields(Quirks):
        value = getattr(driver.quirks, each.name)
        if value != getattr(usual, each.name):
            said.append(each.name if value is True else f"{each.name}={getattr(value, 'value', value)}")
    return ", ".join(f"`{word}`" for word in said) or "-"


def drivers() -> str:
    """The second table."""
    lines = ["| driver | devices | how it is read | quirks |", "|---|---|---|---|"]
    for driver in load_drivers():
        how = " and ".join(
            word for word, is_so in (("link", driver.open), ("advertisements", driver.listen)) if is_so is not None
        )
        kinds = ", ".join(sorted(kind.value for kind in driver.kinds))
        title = f"{driver.title}: {kinds}" if driver.title else kinds
        lines.append(f"| `{driver.name}` | {title} | {how} | {quirks(driver)} |")
    return "\n".join(lines)


def page() -> str:
    """The page with fresh tables."""
    text = PAGE.read_text(encoding="utf-8")
    for name, make in (("formats", formats), ("drivers", drivers)):
        mark = MARK.format(name)
        head, found, rest = text.partition(mark)
        _, end, tail = rest.partition(END)
        if not found or not end:
            raise SystemExit(f"{PAGE} has no place for the table {name!r}: {mark} ... {END}")
        text = f"{head}{mark}\n\n{make()}\n\n{END}{tail}"
    return text


def main() -> int:
    """Write or compare."""
    fresh = page()
    if "--check" in sys.argv[1:]:
        return int(fresh != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
