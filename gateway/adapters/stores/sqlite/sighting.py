"""What sources hear about devices, merged so that a burst costs one statement per device."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import fields, replace

from gateway.adapters.stores.sqlite.codec import micros
from gateway.adapters.stores.sqlite.ingest import ensure_device
from gateway.model import DeviceId
from gateway.ports import DeviceSighting

__all__ = ["merge_sightings", "write_sightings"]

_FACTS = tuple(f.name for f in fields(DeviceSighting) if f.name not in {"device_id", "heard_at"})
_UPDATE = (
    "UPDATE device SET last_heard_at = max(coalesce(last_heard_at, ?1), ?1),"  # noqa: S608 - field names only
    + ", ".join(f"{name} = coalesce(?{number}, {name})" for number, name in enumerate(_FACTS, start=3))
    + " WHERE id = ?2"
)


def merge_sightings(sightings: Iterable[DeviceSighting]) -> list[DeviceSighting]:
    """One sighting per device: the latest time heard, and of each fact the last one said."""
    merged: dict[DeviceId, DeviceSighting] = {}
    for sighting in sightings:
        if (known := merged.get(sighting.device_id)) is None:
            merged[sighting.device_id] = sighting
            continue
        said = {name: fact for name in _FACTS if (fact := getattr(sighting, name)) is not None}
        merged[sighting.device_id] = replace(known, heard_at=max(known.heard_at, sighting.heard_at), **said)
    return list(merged.values())


def write_sightings(connection: sqlite3.Connection, sightings: Iterable[DeviceSighting]) -> None:
    """Merge the sightings into the devices, creating unknown ones."""
    for sighting in merge_sightings(sightings):
        number = ensure_device(connection, sighting.device_id)
        facts = [getattr(sighting, name) for name in _FACTS]
        connection.execute(_UPDATE, (micros(sighting.heard_at), number, *facts))
