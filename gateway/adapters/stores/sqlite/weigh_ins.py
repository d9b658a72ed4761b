"""Which readings are one weigh-in, and how they get the person that was decided, inside the caller's transaction.

A weigh-in is known by its device and its name: the epoch, and what the device calls the weigh-in, else the record. All
readings of a device by evidence are in one; those of a device with an owner only where somebody said something.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from gateway.adapters.stores.sqlite.codec import METRIC_CODES, compact
from gateway.model import Metric

__all__ = ["DECIDED", "apply_decision", "enlist_new", "enlist_record", "enlist_waiting"]

DECIDED = "('filed', 'set_aside')"
"""States that say whose it is, as SQL."""

_PROFILE_METRICS = (
    Metric.BODY_MASS_INDEX,
    Metric.BODY_HEIGHT,
    Metric.BODY_FAT_PERCENTAGE,
    Metric.BASAL_METABOLISM,
    Metric.MUSCLE_PERCENTAGE,
    Metric.MUSCLE_MASS,
    Metric.FAT_FREE_MASS,
    Metric.SOFT_LEAN_MASS,
    Metric.BODY_WATER_MASS,
    Metric.BODY_WATER_PERCENTAGE,
    Metric.BONE_MASS,
    Metric.PROTEIN_PERCENTAGE,
    Metric.VISCERAL_FAT_RATING,
)
"""What a scale knows, or computes, from the height, age and sex of one of its users, marked so or not."""

_NAME = "s.epoch || '/' || coalesce(json_extract(r.extra, '$.weigh_in'), r.record_key)"
_OF_PROFILE = (
    f"s.metric IN ({', '.join(str(METRIC_CODES[metric]) for metric in _PROFILE_METRICS)})"
    " OR coalesce(json_extract(r.extra, '$.is_device_derived'), 0)"
)
_OWNER = "CASE WHEN m.is_of_profile AND w.profile_of <> w.person THEN 0 ELSE w.person END"

_FROM = "FROM reading AS r CROSS JOIN series AS s ON s.id = r.series CROSS JOIN device AS d ON d.id = s.device"
_NEW, _WAITING = "r.row_id > ?1", "r.person = 0 AND r.series IN (SELECT id FROM series WHERE device = ?1)"

_BEGIN = f"""
INSERT INTO weigh_in (device, name, state)
SELECT DISTINCT s.device, {_NAME}, 'new' {_FROM} WHERE d.is_by_evidence AND {{which}}
ON CONFLICT (device, name) DO NOTHING
"""
_JOIN = f"""
INSERT INTO weigh_in_reading (row_id, weigh_in, is_of_profile)
SELECT r.row_id, w.number, {_OF_PROFILE}
{_FROM} CROSS JOIN weigh_in AS w ON w.device = s.device AND w.name = {_NAME} WHERE {{which}}
ON CONFLICT (row_id) DO NOTHING
"""
_FOLLOW = f"""
UPDATE reading SET person = (
  SELECT {_OWNER} FROM weigh_in_reading AS m CROSS JOIN weigh_in AS w ON w.number = m.weigh_in
  WHERE m.row_id = reading.row_id
)
WHERE row_id > ?1 AND row_id IN (
  SELECT m.row_id FROM weigh_in_reading AS m CROSS JOIN weigh_in AS w ON w.number = m.weigh_in
  WHERE m.row_id > ?1 AND w.state IN {DECIDED}
)
"""  # noqa: S608 - fixed texts only
_MATTERS = """
SELECT 1 FROM device AS d WHERE d.device_id IN (SELECT value FROM json_each(?))
  AND (d.is_by_evidence OR EXISTS (SELECT 1 FROM weigh_in WHERE device = d.id)) LIMIT 1
"""


_ACQUAINT = """
UPDATE device SET acquainted_at = (
  SELECT min(r.received_at) FROM series AS s CROSS JOIN reading AS r ON r.series = s.id
  WHERE s.device = device.id AND r.row_id > ?1
) WHERE acquainted_at IS NULL AND is_by_evidence AND device_id IN (SELECT value FROM json_each(?2))
"""


def enlist_new(connection: sqlite3.Connection, devices: Collection[str], last_row: int) -> None:
    """Put the readings above `last_row` into their weigh-ins; those of a decided one become the decided person's."""
    names = compact(sorted(devices))
    if connection.execute(_MATTERS, (names,)).fetchone() is None:
        return
    connection.execute(_ACQUAINT, (last_row, names))
    connection.execute(_BEGIN.format(which=_NEW), (last_row,))
    if connection.execute(_JOIN.format(which=_NEW), (last_row,)).rowcount:
        connection.execute(_FOLLOW, (last_row,))


def enlist_waiting(connection: sqlite3.Connection) -> None:
    """Put what is nobody's into weigh-ins, for every device that has come to be by evidence."""
    for (device,) in connection.execute("SELECT id FROM device WHERE is_by_evidence").fetchall():
        connection.execute(_BEGIN.format(which=_WAITING), (device,))
        connection.execute(_JOIN.format(which=_WAITING), (device,))


def enlist_record(connection: sqlite3.Connection, row_id: int) -> int:
    """The number of the weigh-in of one reading; it begins to exist, as filed to whose it is, where there is none.

    Raises:
        LookupError: no such reading.
    """
    known = connection.execute("SELECT weigh_in FROM weigh_in_reading WHERE row_id = ?", (row_id,)).fetchone()
    if known is not None:
        return int(known[0])
    found = connection.execute(
        f"SELECT s.device, {_NAME}, r.person, r.received_at {_FROM} WHERE r.row_id = ?",
        (row_id,),
    ).fetchone()
    if found is None:
        raise LookupError("no such reading")
    device, name, person, received_at = found
    is_begun = connection.execute(
        "INSERT INTO weigh_in (device, name, state, person, profile_of) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (device, name) DO NOTHING",
        (device, name, "filed" if person else "new", person, person),
    ).rowcount
    if is_begun and person:
        connection.execute(
            "INSERT INTO attribution (weigh_in, state, person, decided_by, evidence, at)"
            " SELECT number, state, person, 'owner', '{}', ? FROM weigh_in WHERE device = ? AND name = ?",
            (received_at, device, name),
        )
    which = f"r.series IN (SELECT id FROM series WHERE device = ?1) AND {_NAME} = ?2"  # noqa: S608 - fixed texts
    connection.execute(_JOIN.format(which=which), (device, name))
    number: int = connection.execute(
        "SELECT number FROM weigh_in WHERE device = ? AND name = ?", (device, name)
    ).fetchone()[0]
    return number


def apply_decision(connection: sqlite3.Connection, number: int) -> None:
    """Give the readings of a weigh-in to whom it is filed to; remember whose they were, so that plans are called back.

    Triggers mark the days of both, and what the new person might send as undecided.
    """
    moved = [
        row_id
        for row_id, was, becomes in connection.execute(
            f"SELECT r.row_id, r.person, {_OWNER} FROM weigh_in AS w CROSS JOIN weigh_in_reading AS m"  # noqa: S608
            " ON m.weigh_in = w.number CROSS JOIN reading AS r ON r.row_id = m.row_id WHERE w.number = ?",
            (number,),
        ).fetchall()
        if was != becomes
    ]
    rows = (compact(moved),)
    connection.execute(
        "INSERT INTO former_owner SELECT row_id, person FROM reading WHERE person <> 0"
        " AND row_id IN (SELECT value FROM json_each(?)) ON CONFLICT DO NOTHING",
        rows,
    )
    connection.execute(
        f"UPDATE reading SET person = (SELECT {_OWNER} FROM weigh_in_reading AS m"  # noqa: S608
        " CROSS JOIN weigh_in AS w ON w.number = m.weigh_in WHERE m.row_id = reading.row_id)"
        " WHERE row_id IN (SELECT value FROM json_each(?))",
        rows,
    )
    connection.execute(
        "DELETE FROM former_owner WHERE (row_id, person) IN (SELECT row_id, person FROM reading"
        " WHERE row_id IN (SELECT value FROM json_each(?)))",
        rows,
    )
    connection.execute("UPDATE change SET last = last + 1")
    connection.execute(  # the trigger does so only for readings that are somebody's
        "INSERT OR REPLACE INTO unplanned (row_id, mark) SELECT DISTINCT f.row_id, (SELECT last FROM change)"
        " FROM former_owner AS f WHERE f.row_id IN (SELECT value FROM json_each(?))",
        rows,
    )
