"""What an advertisement says, and the two ways to write a UUID."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["BASE_UUID", "Advert", "full_uuid", "short_uuid"]

BASE_UUID = "-0000-1000-8000-00805f9b34fb"


def short_uuid(uuid: str) -> str:
    """`2a18` for a UUID of the Bluetooth base, else the full one; lower case."""
    text = uuid.lower()
    return text[4:8] if text.startswith("0000") and text[8:] == BASE_UUID else text


def full_uuid(uuid: str) -> str:
    """128-bit text of a UUID in either form; lower case."""
    text = uuid.lower()
    return f"0000{text}{BASE_UUID}" if len(text) == 4 else text


@dataclass(frozen=True, slots=True)
class Advert:
    """What an advertisement says.

    Attributes:
        name: local name, None when not sent.
        services: service UUIDs, short where they are of the Bluetooth base.
        service_data: payload by service UUID, short likewise.
        manufacturer_data: payload by company identifier.
    """

    name: str | None = None
    services: frozenset[str] = frozenset()
    service_data: Mapping[str, bytes] = field(default_factory=dict)
    manufacturer_data: Mapping[int, bytes] = field(default_factory=dict)
