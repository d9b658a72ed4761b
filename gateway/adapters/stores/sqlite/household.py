"""People and devices, and whose readings are whose."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from gateway.adapters.stores.sqlite.codec import optional_instant, optional_micros
from gateway.adapters.stores.sqlite.figures import person_number
from gateway.adapters.stores.sqlite.weigh_ins import DECIDED, enlist_waiting
from gateway.model import Device, DeviceId, DeviceKind, Person, PersonId, Unit, zone_of_text, zone_text

__all__ = ["DEVICE_COLUMNS", "declare", "device_of", "devices", "people"]

DEVICE_COLUMNS = (
    "d.device_id, d.kind, d.display_name, p.person_id, d.address, d.manufacturer, d.model, d.serial,"
    " d.firmware, d.system_id, d.last_heard_at, d.battery_percent, d.is_by_evidence,"
    " (SELECT json_group_array(c.person_id) FROM (SELECT n.person_id FROM device_candidate AS k"
    " JOIN person AS n ON n.id = k.person WHERE k.device = d.id ORDER BY n.person_id) AS c)"
)
"""Of `device d` and its owner `person p`, in the order that `device_of` wants."""

_DeviceRow = tuple[
    str,
    str,
    str,
    str,
    str | None,
    str | None,
    str | None,
    str | None,
    str | None,
    str | None,
    int | None,
    int | None,
    int,
    str,
]

_PERSON = """
INSERT INTO person (person_id, display_name, time_zone, glucose_unit) VALUES (?, ?, ?, ?)
ON CONFLICT (person_id) DO UPDATE SET
  display_name = excluded.display_name, time_zone = excluded.time_zone, glucose_unit = excluded.glucose_unit
"""

_DEVICE = """
INSERT INTO device (device_id, kind, display_name, person, address, manufacturer, model, serial, firmware, system_id,
  last_heard_at, battery_percent, is_by_evidence) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (device_id) DO UPDATE SET
  kind = excluded.kind, display_name = excluded.display_name, person = excluded.person,
  address = coalesce(excluded.address, address), manufacturer = coalesce(excluded.manufacturer, manufacturer),
  model = coalesce(excluded.model, model), serial = coalesce(excluded.serial, serial),
  firmware = coalesce(excluded.firmware, firmware), system_id = coalesce(excluded.system_id, system_id),
  last_heard_at = coalesce(excluded.last_heard_at, last_heard_at),
  battery_percent = coalesce(excluded.battery_percent, battery_percent), is_by_evidence = excluded.is_by_evidence
"""

_ATTRIBUTE = f"""
UPDATE reading SET person = ?1 WHERE person = 0 AND series IN (
  SELECT s.id FROM series s JOIN device d ON d.id = s.device WHERE d.device_id = ?2
) AND NOT EXISTS (
  SELECT 1 FROM weigh_in_reading m JOIN weigh_in w ON w.number = m.weigh_in
  WHERE m.row_id = reading.row_id AND w.state IN {DECIDED}
)
"""  # noqa: S608 - fixed texts only
_CLOSE = """
UPDATE weigh_in SET state = 'filed', person = ?1, profile_of = ?1
WHERE state NOT IN ('filed', 'set_aside') AND device = (SELECT id FROM device WHERE device_id = ?2)
"""
_CANDIDATE = """
INSERT INTO device_candidate (device, person) SELECT id, ?2 FROM device WHERE device_id = ?1 ON CONFLICT DO NOTHING
"""


def declare(connection: sqlite3.Connection, people: Sequence[Person], devices: Sequence[Device]) -> None:
    """Insert or update people and devices, then attribute the readings that waited for an owner.

    What a person has set aside stays so. What is nobody's of a device by evidence becomes weigh-ins.

    Raises:
        PermanentError: a device's owner or candidate was never declared.
    """
    for person in people:
        connection.execute(
            _PERSON, (person.person_id, person.display_name, zone_text(person.time_zone), person.glucose_unit.value)
        )
    for device in devices:
        owner = 0 if device.person_id is None else person_number(connection, device.person_id)
        connection.execute(
            _DEVICE,
            (
                device.device_id,
                device.kind.value,
                device.display_name,
                owner,
                device.address,
                device.manufacturer,
                device.model,
                device.serial,
                device.firmware,
                device.system_id,
                optional_micros(device.last_heard_at),
                device.battery_percent,
                device.is_by_evidence,
            ),
        )
        connection.execute(
            "DELETE FROM device_candidate WHERE device = (SELECT id FROM device WHERE device_id = ?)",
            (device.device_id,),
        )
        for candidate in device.candidates:
            connection.execute(_CANDIDATE, (device.device_id, person_number(connection, candidate)))
        if owner and not device.is_by_evidence:
            connection.execute(_ATTRIBUTE, (owner, device.device_id))
            connection.execute(_CLOSE, (owner, device.device_id))
    enlist_waiting(connection)


def people(connection: sqlite3.Connection) -> list[Person]:
    """Everybody, by id."""
    rows = connection.execute(
        "SELECT person_id, display_name, time_zone, glucose_unit FROM person WHERE id <> 0 ORDER BY person_id"
    )
    return [Person(PersonId(name), shown, zone_of_text(zone), Unit(unit)) for name, shown, zone, unit in rows]


def devices(connection: sqlite3.Connection) -> list[Device]:
    """Every device, by id."""
    rows = connection.execute(
        f"SELECT {DEVICE_COLUMNS} FROM device d JOIN person p ON p.id = d.person ORDER BY d.device_id"  # noqa: S608 - column names
    )
    return [device_of(row) for row in rows]


def device_of(row: _DeviceRow) -> Device:
    """The device of a row with `DEVICE_COLUMNS`."""
    return Device(
        device_id=DeviceId(row[0]),
        kind=DeviceKind(row[1]),
        display_name=row[2],
        person_id=PersonId(row[3]) if row[3] else None,
        address=row[4],
        manufacturer=row[5],
        model=row[6],
        serial=row[7],
        firmware=row[8],
        system_id=row[9],
        last_heard_at=optional_instant(row[10]),
        battery_percent=row[11],
        is_by_evidence=bool(row[12]),
        candidates=tuple(PersonId(name) for name in json.loads(row[13])),
    )
