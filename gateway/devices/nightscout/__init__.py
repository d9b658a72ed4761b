"""The words of Nightscout: entries, their names, the questions that followers ask. Pure."""

from gateway.devices.nightscout.direction import arrow_of, direction_between
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

__all__ = [
    "DECODER",
    "ParsedEntry",
    "arrow_of",
    "date_ms_of",
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
    "record_identifier",
]
