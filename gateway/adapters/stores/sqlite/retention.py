"""Deleting what is kept for a time only."""

from __future__ import annotations

import sqlite3

__all__ = ["purge_chunk"]

_CHUNK = 2_000


def purge_chunk(connection: sqlite3.Connection, before: int) -> int:
    """Delete some payloads received before `before` (microseconds); returns how many, 0 when none is left.

    Readings keep their `raw_id`; asking for that payload then gives None.
    """
    frames = connection.execute(
        "DELETE FROM frame WHERE raw_id IN (SELECT raw_id FROM frame WHERE received_at < ? LIMIT ?)", (before, _CHUNK)
    ).rowcount
    quarantined = connection.execute(
        "DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine WHERE received_at < ? LIMIT ?)", (before, _CHUNK)
    ).rowcount
    return frames + quarantined
