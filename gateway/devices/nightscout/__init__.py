"""The words of Nightscout: entries, their names, the questions that followers ask. Pure."""

from gateway.devices.nightscout.direction import LOOKED_BACK, arrow_of, changes, delta_between, direction_between
from gateway.devices.nightscout.entries import (
    DECODER,
    ParsedEntry,
    date_ms_of,
    entry_of,
    entry_v3_of,
    is_entry,
    parse_entries,
)
from gateway.devices.nightscout.names import (
    derived_key,
    given_identifier,
    id_of,
    instant_of_id,
    named_key,
    object_id,
    record_identifier,
)
from gateway.devices.nightscout.query import LOOK_BACK, MOST_V1, MOST_V3, EntryQuery, parse_query, parse_v3_query

__all__ = [
    "DECODER",
    "LOOKED_BACK",
    "LOOK_BACK",
    "MOST_V1",
    "MOST_V3",
    "EntryQuery",
    "ParsedEntry",
    "arrow_of",
    "changes",
    "date_ms_of",
    "delta_between",
    "derived_key",
    "direction_between",
    "entry_of",
    "entry_v3_of",
    "given_identifier",
    "id_of",
    "instant_of_id",
    "is_entry",
    "named_key",
    "object_id",
    "parse_entries",
    "parse_query",
    "parse_v3_query",
    "record_identifier",
]
