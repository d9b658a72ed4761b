"""What the commands share: arguments, output, opening the store, running asynchronous work."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

import simplejson

from gateway.errors import ConfigurationError
from gateway.ports import AccessTokens, Attributions, Enrolments, Ledger, Quarantine, ReadingStore, Registry
from gateway.settings import Settings, load_settings

__all__ = [
    "BAD_INPUT",
    "DEFAULT_CONFIG",
    "Commands",
    "OpenedStore",
    "add_config",
    "dump",
    "input_lines",
    "local_day",
    "opened",
    "output",
    "settings_of",
    "utc_now",
    "write_line",
]

BAD_INPUT: Final = 2
DEFAULT_CONFIG: Final = Path("/etc/passerelle/hub.toml")


class Commands(Protocol):
    """What `argparse`'s sub-parser object offers."""

    def add_parser(self, name: str, **kwargs: Any) -> argparse.ArgumentParser:
        """Add one command."""
        ...


class OpenedStore(Protocol):
    """An opened database: its ports."""

    @property
    def readings(self) -> ReadingStore:
        """Readings and day figures."""
        ...

    @property
    def registry(self) -> Registry:
        """People, devices, consents, the outbox."""
        ...

    @property
    def access(self) -> AccessTokens:
        """Tokens of programs outside."""
        ...

    @property
    def enrolments(self) -> Enrolments:
        """Devices that people added."""
        ...

    @property
    def quarantine(self) -> Quarantine:
        """What was set aside."""
        ...

    @property
    def ledger(self) -> Ledger:
        """When the gateway could not hear, and why."""
        ...

    @property
    def attributions(self) -> Attributions:
        """Weigh-ins and whose they are."""
        ...


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--config FILE`."""
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help=f"configuration (default: {DEFAULT_CONFIG})"
    )


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The configuration that `--config` names. Raises ConfigurationError."""
    return load_settings(arguments.config)


def local_day(text: str) -> date:
    """An argument such as 2026-03-01."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date; write 2026-03-01") from None


def dump(data: object) -> str:
    """Compact JSON with exact decimals."""
    return simplejson.dumps(data, use_decimal=True, separators=(",", ":"), ensure_ascii=False)


def write_line(text: str, stream: TextIO | None = None) -> None:
    """One line to standard output (or `stream`)."""
    (stream or sys.stdout).write(text + "\n")


@contextmanager
def output(path: str) -> Iterator[TextIO]:
    """The file called `path`, for its owner only; standard output for `-`. Raises ConfigurationError."""
    if path == "-":
        yield sys.stdout
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise ConfigurationError([("", f"cannot write {path}: {error.strerror}")]) from error
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
        yield stream


@contextmanager
def input_lines(path: str) -> Iterator[Iterable[bytes]]:
    """Lines of the file called `path`, of standard input for `-`. Raises ConfigurationError."""
    if path == "-":
        yield sys.stdin.buffer
        return
    if not Path(path).is_file():
        raise ConfigurationError([("", f"there is no file {path}")])
    try:
        opened_file = Path(path).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigurationError([("", f"cannot read {path}: {error.strerror}")]) from error
    with opened_file as stream:
        yield stream


@asynccontextmanager
async def opened(settings: Settings, *, must_exist: bool = True) -> AsyncIterator[OpenedStore]:
    """The store of this configuration; works beside a running gateway.

    Raises:
        ConfigurationError: there is no database yet and `must_exist`.
    """
    from gateway.adapters.stores.sqlite import SqliteStore
    from gateway.clock import SystemClock

    path = settings.store.path
    if must_exist and not path.exists():
        raise ConfigurationError([("store.path", f"no database at {path} yet; `gateway run` makes it")])
    async with SqliteStore.open(path, clock=SystemClock()) as store:
        yield store


def utc_now() -> datetime:
    """The present instant, for commands that record one."""
    return datetime.now(UTC)
