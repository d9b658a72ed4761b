"""Bringing a database file to the schema of this release.

Each step is one transaction that ends by setting `user_version`: a crash in the middle leaves the file as it was. A
file that already holds data is copied beside itself first.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

from gateway.adapters.stores.sqlite.database import rollback
from gateway.adapters.stores.sqlite.schema import APPLICATION_ID, MIGRATIONS
from gateway.errors import ConfigurationError, StoreTooNew

__all__ = ["migrate", "schema_version", "statements"]

log = structlog.get_logger()


def schema_version(connection: sqlite3.Connection) -> int:
    """Number of the last migration that the file has; 0 for an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def statements(script: str) -> Iterator[str]:
    """The statements of `script`, in order; a trigger with its inner semicolons is one."""
    pending = ""
    for line in script.splitlines():
        pending += line + "\n"
        if sqlite3.complete_statement(pending):
            yield pending.strip()
            pending = ""
    if pending.strip():
        yield pending.strip()


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> int:
    """Apply what is missing; returns how many steps were taken (0: nothing to do).

    Safe while another process does the same: the version is read again inside each transaction.

    Raises:
        StoreTooNew: the file was written by a newer release.
        ConfigurationError: the file is a database of another program.
    """
    found = schema_version(connection)
    if found > len(migrations):
        raise StoreTooNew(f"the database has schema {found}; this release knows {len(migrations)}")
    _check_owner(connection, found)
    if found == len(migrations):
        return 0
    if found:
        _copy_beside(connection, path, found)
    taken = 0
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = schema_version(connection)
            if version >= len(migrations):
                break
            for statement in statements(migrations[version]):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        finally:
            rollback(connection)
        taken += 1
    if taken:
        log.info("store.migrated", from_schema=found, to_schema=found + taken)
    return taken


def _check_owner(connection: sqlite3.Connection, version: int) -> None:
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
    if owner != APPLICATION_ID and (owner or version or tables):
        raise ConfigurationError([("store.path", "this file is a database of another program")])


def _copy_beside(connection: sqlite3.Connection, path: Path, version: int) -> None:
    copy = path.with_name(f"{path.name}.schema-{version}")
    partial = copy.with_name(copy.name + ".partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    target = sqlite3.connect(partial)
    try:
        connection.backup(target)
    finally:
        target.close()
    partial.replace(copy)
