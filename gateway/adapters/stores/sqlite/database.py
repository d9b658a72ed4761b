"""One SQLite file: how it is created, opened and what its errors mean.

Every connection uses WAL with `synchronous=FULL`, so that a commit that returned survives a power cut, enforces foreign
keys, and waits for a lock instead of failing. A lock is never taken for damage, and a damaged file is never replaced.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import ConfigurationError, StoreUnavailable

__all__ = ["connect", "prepare_file", "rollback", "translated", "unavailable_reason"]

_LEAST_SQLITE = (3, 38, 0)
"""First release with the `->>` operator."""

_REASONS = {
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_PROTOCOL: "locked",
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_IOERR: "input_output",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_PERM: "permission",
    sqlite3.SQLITE_CANTOPEN: "cannot_open",
    sqlite3.SQLITE_NOMEM: "memory",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "not_a_database",
}


def unavailable_reason(error: BaseException) -> str | None:
    """A word for what keeps the file from being used; None when the statement itself is at fault."""
    code = getattr(error, "sqlite_errorcode", None)
    return _REASONS.get(code & 0xFF) if isinstance(code, int) else None


@contextmanager
def translated() -> Iterator[None]:
    """Turn SQLite's errors about the file into `StoreUnavailable`; errors in statements pass through."""
    try:
        yield
    except sqlite3.Error as error:
        reason = unavailable_reason(error)
        if reason is None:
            raise
        raise StoreUnavailable(f"the store cannot be used: {reason}") from error


def prepare_file(path: Path) -> None:
    """Create the folder and an empty file with mode 0600; take rights of others away from an existing one.

    Raises:
        ConfigurationError: this SQLite library is too old.
        StoreUnavailable: the folder or file cannot be created or used.
    """
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:
        raise ConfigurationError([("store", f"SQLite 3.38 or newer is needed, not {sqlite3.sqlite_version}")])
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise StoreUnavailable(f"the store's file cannot be used: {error.strerror}") from error


def connect(path: Path, *, busy_timeout_s: float, query_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode that any one thread at a time may use. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False, cached_statements=128
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        if query_only:
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def rollback(connection: sqlite3.Connection) -> None:
    """Leave an open transaction, if any; SQLite has already left it after some errors."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
