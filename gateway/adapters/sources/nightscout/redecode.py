"""An entry that was set aside, decoded again as an upload of its device."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, tzinfo

from gateway.devices.nightscout import DECODER, parse_entries
from gateway.devices.passerelle_fields import Refused, strict_json
from gateway.model import (
    Batch,
    DeviceId,
    Provenance,
    Quarantined,
    RawFrame,
    Reading,
    SourceKind,
)
from gateway.normalise.contact import Contact
from gateway.normalise.reported import Parsed, readings_of
from gateway.ports import Redecoded

__all__ = ["CHANNEL", "NightscoutRedecoder"]

CHANNEL = "nightscout/"
"""How the channels of its payloads begin."""

_LONGEST_NUMBER = 128
_PROVENANCE = Provenance(SourceKind.HTTP, DECODER)


class NightscoutRedecoder:
    """Implements `gateway.ports.Redecoder` for entries; a whole body that was no JSON is read as an upload.

    Args:
        zone_of: zone of a device's owner.
        trusted_from: receptions before this instant were stamped by a clock that cannot have been right.
    """

    def __init__(self, zone_of: Callable[[DeviceId], tzinfo], trusted_from: datetime) -> None:
        self._zone_of = zone_of
        self._trusted_from = trusted_from

    async def redecode(self, item: Quarantined) -> Redecoded:
        """What the entry gives today."""
        raw = item.frame
        if raw.device_id is None:
            return Redecoded(Batch(), "nobody noted which token it came with")
        try:
            document = strict_json(raw.payload, longest_number=_LONGEST_NUMBER)
        except Refused as error:
            return Redecoded(Batch(quarantined=(Quarantined(raw, error.reason, str(error)),)))
        contact = Contact(
            raw.device_id,
            self._zone_of(raw.device_id),
            raw.received_at,
            SourceKind.HTTP,
            clock_is_trusted=raw.received_at >= self._trusted_from,
        )
        return Redecoded(_batch(raw, document, contact))


def _batch(raw: RawFrame, document: object, contact: Contact) -> Batch:
    readings: list[Reading] = []
    quarantined: list[Quarantined] = []
    for entry in parse_entries(document):
        if entry.problem is not None:
            quarantined.append(Quarantined(raw, entry.problem.reason, entry.problem.detail))
        elif entry.record is not None:
            decoded = readings_of(Parsed((entry.record,)), contact, _PROVENANCE, frame=0)
            readings += decoded.readings
            quarantined += [Quarantined(raw, problem.reason, problem.detail) for problem in decoded.problems]
    return Batch(tuple(readings), (raw,) if readings else (), tuple(quarantined))
