"""Several versions of one record: which is current, and what is kept of the others.

A version is known by its content digest; of repeated sightings of a version the earliest is kept of those that know
when it was measured, else the earliest: a later contact may tell the time of a record that the first one could not
place, and does not move one that has its place. Current is the version with the greatest (reception, digest). Both
rules look at the set of sightings only, never at their order.

What was concluded from the records around is no sighting (see `normalise.neighbours`): here it counts as not known.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from enum import Enum

from gateway.adapters.stores.sqlite.codec import TIMING_CODES, ParameterRow
from gateway.model import TimeQuality
from gateway.normalise.neighbours import is_concluded

__all__ = ["UNPLACED", "Merged", "merge_version"]

_UNPLACED_CODES = frozenset(
    code
    for (quality, method), code in TIMING_CODES.items()
    if quality is TimeQuality.UNKNOWN or is_concluded(quality, method)
)
UNPLACED = f"(time_quality IN ({', '.join(map(str, sorted(_UNPLACED_CODES)))}))"
"""Of a row: nobody has said when it was measured. An SQL expression."""


class Merged(Enum):
    """What a sighting was."""

    KNOWN = 0
    CORRECTION = 2
    """New content."""
    TIME = 3
    """Known content, of which the time is known now."""


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

    @property
    def is_unplaced(self) -> bool:
        """Nobody has said when it was measured."""
        return self.time_quality in _UNPLACED_CODES

    def sighting(self) -> tuple[bool, int, int, int, int, str]:
        """Orders the sightings of one version; the least is kept."""
        return (
            self.is_unplaced,
            self.received_at,
            self.effective_at,
            self.utc_offset_min,
            self.time_quality,
            self.provenance,
        )

    def rank(self) -> tuple[int, int]:
        """Orders the versions of one record; the greatest is current."""
        return self.received_at, self.digest

    def values(self) -> tuple[object, ...]:
        """In the order of `_COLUMNS`, then the provenance."""
        return tuple(getattr(self, name) for name in self.__slots__)


def merge_version(connection: sqlite3.Connection, row_id: int, row: ParameterRow, shift: int) -> Merged:
    """Merge one sighting of the record in row `row_id`; returns what was new about it.

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
        return Merged.KNOWN
    winner = max(versions.values(), key=_Version.rank)
    if winner != current:
        connection.execute(_UPDATE, (*winner.values(), row_id))
    connection.execute("DELETE FROM revision WHERE row_id = ?", (row_id,))
    others = [(*version.values(), row_id) for version in versions.values() if version is not winner]
    connection.executemany(_KEEP, others)
    if known is None:
        return Merged.CORRECTION
    return Merged.TIME if known.is_unplaced and not new.is_unplaced else Merged.KNOWN


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
