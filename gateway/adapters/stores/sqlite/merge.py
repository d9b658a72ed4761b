"""Several versions of one record: which is current, and what is kept of the others.

A version is known by its content digest; of repeated sightings of a version the earliest is kept. Current is the
version with the greatest (first reception, digest). Both rules look at the set of sightings only, never at their order.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace

from gateway.adapters.stores.sqlite.codec import ParameterRow

__all__ = ["merge_version"]

_COLUMNS = (
    "effective_at, utc_offset_min, time_quality, digest, received_at, value, original_value, original_unit,"
    " device_time, extra, raw_id"
)

_LOAD = f"""
SELECT {_COLUMNS}, (SELECT text FROM provenance WHERE id = provenance) FROM reading WHERE row_id = :row
UNION ALL
SELECT {_COLUMNS}, (SELECT text FROM provenance WHERE id = provenance) FROM revision WHERE row_id = :row
"""  # noqa: S608 - column names only

_MARKS = "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT id FROM provenance WHERE text = ?)"
_UPDATE = f"UPDATE reading SET ({_COLUMNS}, provenance) = ({_MARKS}) WHERE row_id = ?"  # noqa: S608
_KEEP = f"INSERT INTO revision ({_COLUMNS}, provenance, row_id) VALUES ({_MARKS}, ?)"  # noqa: S608


@dataclass(frozen=True, slots=True)
class _Version:
    effective_at: int
    utc_offset_min: int
    time_quality: int
    digest: int
    received_at: int
    value: str | None
    original_value: str | None
    original_unit: int | None
    device_time: int | None
    extra: str | None
    raw_id: int | None
    provenance: str

    def sighting(self) -> tuple[int, int, int, int, str]:
        """Orders the sightings of one version; the least is kept."""
        return self.received_at, self.effective_at, self.utc_offset_min, self.time_quality, self.provenance

    def rank(self) -> tuple[int, int]:
        """Orders the versions of one record; the greatest is current."""
        return self.received_at, self.digest

    def values(self) -> tuple[object, ...]:
        """In the order of `_COLUMNS`, then the provenance."""
        return tuple(getattr(self, name) for name in self.__slots__)


def merge_version(connection: sqlite3.Connection, row_id: int, row: ParameterRow, shift: int) -> bool:
    """Merge one sighting of the record in row `row_id`; returns whether its content was new.

    Args:
        connection: inside a transaction.
        row_id: the record's row in `reading`.
        row: what `codec.encode_reading` gave.
        shift: what turns its frame number into a raw id.
    """
    versions = {}
    current: _Version | None = None
    for columns in connection.execute(_LOAD, {"row": row_id}):
        version = _Version(*columns)
        current = current or version
        versions[version.digest] = version
    new = _seen(row, shift)
    known = versions.get(new.digest)
    if known is None:
        versions[new.digest] = new
    elif new.sighting() < known.sighting():
        versions[new.digest] = replace(new, raw_id=known.raw_id)
    else:
        return False
    winner = max(versions.values(), key=_Version.rank)
    if winner != current:
        connection.execute(_UPDATE, (*winner.values(), row_id))
    connection.execute("DELETE FROM revision WHERE row_id = ?", (row_id,))
    others = [(*version.values(), row_id) for version in versions.values() if version is not winner]
    connection.executemany(_KEEP, others)
    return known is None


def _seen(row: ParameterRow, shift: int) -> _Version:
    (
        _,
        _,
        _,
        _,
        effective_at,
        digest,
        offset,
        quality,
        received_at,
        provenance,
        value,
        original_value,
        original_unit,
        device_time,
        extra,
        frame,
    ) = row
    return _Version(
        effective_at,
        offset,
        quality,
        digest,
        received_at,
        value,
        original_value,
        original_unit,
        device_time,
        extra,
        None if frame is None else frame + shift,
        provenance,
    )
