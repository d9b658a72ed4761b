"""The house rules about who may import what, and what each module declares."""

from __future__ import annotations

import ast
import functools
import gc
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent
PURE_ROOMS = ("model", "devices", "normalise", "clinical", "fhir", "attribution")
FORBIDDEN = frozenset(
    {
        "aiohttp",
        "asyncio",
        "bleak",
        "http",
        "os",
        "paho",
        "random",
        "socket",
        "sqlite3",
        "subprocess",
        "threading",
        "time",
        "urllib",
    }
)
PORT_METHODS = frozenset({"commit", "deliver", "run"})
CLOCK_METHODS = frozenset({"now", "today", "utcnow"})
CLOCK_CLASSES = frozenset({"date", "datetime"})


def source_files() -> list[PurePosixPath]:
    """Every module of the package, relative to the repository."""
    return sorted(PurePosixPath(path.relative_to(ROOT).as_posix()) for path in (ROOT / "gateway").rglob("*.py"))


FILES = source_files()
PURE_FILES = [path for path in FILES if len(path.parts) > 2 and path.parts[1] in PURE_ROOMS]
ADAPTER_FILES = [path for path in FILES if path.parts[1] == "adapters"]


def parsed(path: PurePosixPath) -> ast.Module:
    """The syntax tree of one module.

    CPython 3.11 fails when a collection in mid-parse runs somebody's finalizer (python/cpython issue 106905).
    """
    gc.disable()
    try:
        return ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))
    finally:
        gc.enable()


def package_of(path: PurePosixPath) -> list[str]:
    """Dotted parts of the package that holds `path`."""
    return list(path.parent.parts)


def imports(tree: ast.AST, path: PurePosixPath) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything imported anywhere in a module, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path)
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, module
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def is_within(name: str, package: str) -> bool:
    """Whether the dotted `name` is `package` or lies in it."""
    return name == package or name.startswith(f"{package}.")


def clock_calls(tree: ast.AST) -> Iterator[int]:
    """Lines that ask the machine for the current time through datetime or date."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value
        name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
        if node.func.attr in CLOCK_METHODS and name in CLOCK_CLASSES:
            yield node.lineno


def impurities(tree: ast.AST, path: PurePosixPath) -> list[str]:
    """What a pure room must not contain."""
    found = [f"{path}:{line} imports {name}" for line, name in imports(tree, path) if name.split(".")[0] in FORBIDDEN]
    return found + [f"{path}:{line} reads the clock" for line in clock_calls(tree)]


def unit_of(parts: tuple[str, ...]) -> str | None:
    """The folder or module directly below `gateway.adapters.<kind>` that `parts` lies in; None above that level."""
    return ".".join(parts[:4]) if len(parts) >= 4 else None


def is_port(tree: ast.Module) -> bool:
    """Whether a module holds a class with the defining method of a port."""
    return any(
        isinstance(member, ast.AsyncFunctionDef) and member.name in PORT_METHODS
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for member in node.body
    )


@functools.cache
def adapters() -> frozenset[str]:
    """Every adapter: a folder of a kind, or a module of a kind that implements a port by itself."""
    units = {path: unit_of(path.with_suffix("").parts) for path in ADAPTER_FILES}
    return frozenset(
        unit
        for path, unit in units.items()
        if unit is not None and path.name != "__init__.py" and (len(path.parts) > 4 or is_port(parsed(path)))
    )


def foreign_adapters(tree: ast.AST, path: PurePosixPath, known: frozenset[str]) -> list[str]:
    """Imports of another kind of adapter, or of another adapter of the same kind; what they share is common ground."""
    parts = path.with_suffix("").parts
    found = []
    for line, name in imports(tree, path):
        other = tuple(name.split("."))
        if not is_within(name, "gateway.adapters") or len(other) < 3:
            continue
        unit = unit_of(other)
        if other[:3] != parts[:3] or (unit in known and unit != unit_of(parts)):
            found.append(f"{path}:{line} imports {name}")
    return found


def may_use_sandbox(path: PurePosixPath) -> bool:
    """Whether a module may import the sandbox."""
    is_demo = path.parts[1].startswith("demo")
    return path.parts[1] in {"sandbox", "cli.py", "commands"} or is_demo


def bound_names(body: list[ast.stmt]) -> Iterator[str]:
    """Names that the top level of a module binds."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                yield from (name.id for name in ast.walk(target) if isinstance(name, ast.Name))
        elif isinstance(node, ast.If | ast.Try):
            yield from bound_names(node.body)
            yield from bound_names(node.orelse)
            if isinstance(node, ast.Try):
                yield from bound_names([inner for handler in node.handlers for inner in handler.body])


def declared_names(tree: ast.Module) -> list[str] | None:
    """The literal content of `__all__`; None when there is none, or it is not a literal."""
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            value = ast.literal_eval(node.value) if isinstance(node.value, ast.List | ast.Tuple) else None
            return None if value is None else [str(name) for name in value]
    return None


def test_the_rooms_exist() -> None:
    """The rules below look at real folders."""
    assert set(PURE_ROOMS) == {path.parts[1] for path in PURE_FILES}
    assert ADAPTER_FILES


@pytest.mark.parametrize("path", PURE_FILES, ids=str)
def test_pure_rooms_do_no_io(path: PurePosixPath) -> None:
    """Domain, decoders, normalising, clinical figures and FHIR mapping reach no network, disk, thread or clock."""
    assert impurities(parsed(path), path) == []


@pytest.mark.parametrize("path", PURE_FILES, ids=str)
def test_pure_rooms_look_inward(path: PurePosixPath) -> None:
    """A pure room knows the other pure rooms and the errors, nothing else of the gateway."""
    inside = ("gateway.errors", *(f"gateway.{room}" for room in PURE_ROOMS))
    outward = [
        f"{path}:{line} imports {name}"
        for line, name in imports(parsed(path), path)
        if is_within(name, "gateway") and name != "gateway" and not any(is_within(name, room) for room in inside)
    ]
    assert outward == []


@pytest.mark.parametrize("path", ADAPTER_FILES, ids=str)
def test_adapters_do_not_know_each_other(path: PurePosixPath) -> None:
    """An adapter imports no other adapter."""
    assert foreign_adapters(parsed(path), path, adapters()) == []


@pytest.mark.parametrize("path", [path for path in FILES if not may_use_sandbox(path)], ids=str)
def test_sandbox_stays_outside(path: PurePosixPath) -> None:
    """Only the command line and the demonstration can reach the sandbox."""
    used = [f"{path}:{line}" for line, name in imports(parsed(path), path) if is_within(name, "gateway.sandbox")]
    assert used == []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_module_declares_its_names(path: PurePosixPath) -> None:
    """`__all__` is a literal list without repetition, and every name in it is bound in the module."""
    tree = parsed(path)
    bound = set(bound_names(tree.body))
    is_bare_package = path.name == "__init__.py" and not bound - {"annotations"}
    if is_bare_package or path.name == "__main__.py":
        return
    declared = declared_names(tree)
    assert declared is not None, f"{path} has no literal __all__"
    assert sorted(set(declared)) == sorted(declared)
    assert sorted(set(declared) - bound) == []


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio",
        "import os.path",
        "from urllib.parse import quote",
        "def f():\n    import sqlite3",
        "from datetime import datetime\nx = datetime.now()",
        "import datetime\nx = datetime.datetime.utcnow()",
        "from datetime import date\nx = date.today()",
    ],
)
def test_the_rule_sees_impurity(source: str) -> None:
    """Each kind of offence is found."""
    assert len(impurities(ast.parse(source), PurePosixPath("gateway/model/x.py"))) >= 1


def test_the_rule_allows_purity() -> None:
    """Values of time, and a clock that was handed in, are no offence."""
    source = (
        "from datetime import datetime, time\nimport math\ndef f(clock, seen):\n    return clock.now(), seen.date()"
    )
    assert impurities(ast.parse(source), PurePosixPath("gateway/model/x.py")) == []


@pytest.mark.parametrize(
    ("source", "offences"),
    [
        ("from gateway.adapters.sources.mqtt.client import X", 2),
        ("from gateway.adapters.sources import mqtt", 1),
        ("from ..mqtt import client", 2),
        ("from gateway.adapters.stores.codec import X", 2),
        ("from gateway.adapters.sources.bluetooth.session import X", 0),
        ("from .session import X", 0),
        ("from gateway.adapters.sources.gatt import X", 0),
        ("from gateway.model import Reading", 0),
    ],
)
def test_the_rule_sees_other_adapters(source: str, offences: int) -> None:
    """Imports of a neighbour or of another kind are found; one's own modules and common ground are not."""
    path = PurePosixPath("gateway/adapters/sources/bluetooth/source.py")
    known = frozenset({"gateway.adapters.sources.bluetooth", "gateway.adapters.sources.mqtt"})
    assert offences == len(foreign_adapters(ast.parse(source), path, known))


def test_the_rule_knows_the_adapters() -> None:
    """The adapters that exist are recognised."""
    assert {"gateway.adapters.sources.mqtt", "gateway.adapters.stores.sqlite"} <= adapters()
