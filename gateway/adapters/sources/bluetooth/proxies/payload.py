"""What an advertisement says, from its octets. Pure and total: a field that is cut or nonsense ends the reading.

Source: Bluetooth Core Specification, Vol 3 Part C, 11 (advertising data format); Core Specification Supplement, Part A.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Payload", "parse_payload"]

_UUIDS: Final = {0x02: 2, 0x03: 2, 0x04: 4, 0x05: 4, 0x06: 16, 0x07: 16}
_SERVICE_DATA: Final = {0x16: 2, 0x20: 4, 0x21: 16}
_SHORT_NAME, _NAME, _TX_POWER, _MANUFACTURER = 0x08, 0x09, 0x0A, 0xFF
_BASE: Final = "-0000-1000-8000-00805f9b34fb"


@dataclass(slots=True)
class Payload:
    """The fields of one packet, in bleak's forms: 128-bit UUIDs in lower case.

    Attributes:
        name: the complete one before the shortened one; None: not sent.
        tx_power_dbm: None: not sent.
    """

    name: str | None = None
    services: list[str] = field(default_factory=list)
    service_data: dict[str, bytes] = field(default_factory=dict)
    manufacturer_data: dict[int, bytes] = field(default_factory=dict)
    tx_power_dbm: int | None = None


def parse_payload(octets: bytes) -> Payload:
    """Any octets -> what they say as far as they make sense; the rest is dropped. Never raises."""
    payload = Payload()
    has_full_name = False
    position = 0
    while position + 1 < len(octets):
        length = octets[position]
        end = position + 1 + length
        if length == 0 or end > len(octets):
            break
        kind, value = octets[position + 1], octets[position + 2 : end]
        position = end
        if (width := _UUIDS.get(kind)) is not None:
            found = (_uuid(value[at : at + width]) for at in range(0, len(value) - width + 1, width))
            payload.services += [one for one in found if one not in payload.services]
        elif (width := _SERVICE_DATA.get(kind)) is not None and len(value) >= width:
            payload.service_data[_uuid(value[:width])] = value[width:]
        elif kind == _MANUFACTURER and len(value) >= 2:
            payload.manufacturer_data[int.from_bytes(value[:2], "little")] = value[2:]
        elif kind == _TX_POWER and len(value) == 1:
            payload.tx_power_dbm = int.from_bytes(value, "little", signed=True)
        elif kind == _NAME or (kind == _SHORT_NAME and not has_full_name):
            has_full_name = kind == _NAME
            payload.name = value.decode("utf-8", "replace").rstrip("\0") or None
    return payload


def _uuid(octets: bytes) -> str:
    """2, 4 or 16 octets, least significant first."""
    return str(uuid.UUID(bytes=octets[::-1])) if len(octets) == 16 else f"{octets[::-1].hex():0>8}{_BASE}"
