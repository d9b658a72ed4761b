"""Connections for reading, each used by one thread at a time; the event loop waits for neither lock nor disk."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from gateway.adapters.stores.sqlite.database import connect, rollback, translated
from gateway.errors import StoreUnavailable

__all__ = ["Readers"]

T = TypeVar("T")


class Readers:
    """Two reading connections with their threads. Opening them raises sqlite3.Error."""

    def __init__(self, path: Path, *, busy_timeout_s: float, count: int = 2) -> None:
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._count = 0
        self._is_open = True
        try:
            for _ in range(count):
                self._idle.put(connect(path, busy_timeout_s=busy_timeout_s, query_only=True))
                self._count += 1
        except sqlite3.Error:
            self._close_connections()
            raise
        self._threads = ThreadPoolExecutor(max_workers=count, thread_name_prefix="store.reader")

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run `function` in a reading thread, over one consistent snapshot of the file.

        Raises:
            StoreUnavailable: the file cannot be read now, or the store is closed.
        """
        if not self._is_open:
            raise StoreUnavailable("the store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, function)

    def _read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._idle.get()
        try:
            with translated():
                connection.execute("BEGIN")
                try:
                    return function(connection)
                finally:
                    rollback(connection)
        finally:
            self._idle.put(connection)

    def refuse(self) -> None:
        """From now on, new reads are refused."""
        self._is_open = False

    def close(self) -> None:
        """After `refuse`: finish what is running, then close. Blocks."""
        self._threads.shutdown(wait=True)
        self._close_connections()

    def _close_connections(self) -> None:
        for _ in range(self._count):
            self._idle.get().close()
