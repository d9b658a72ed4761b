"""One type per kind of identifier, so that the type checker keeps them apart."""

from __future__ import annotations

import re
from typing import NewType

__all__ = ["DestinationId", "DeviceId", "OutboxId", "PersonId", "ReadingKey", "is_identifier"]

PersonId = NewType("PersonId", str)
DeviceId = NewType("DeviceId", str)
DestinationId = NewType("DestinationId", str)
OutboxId = NewType("OutboxId", int)
ReadingKey = NewType("ReadingKey", str)
"""The stable identity of a reading as one string: `device/epoch/record/metric`."""

_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def is_identifier(text: str) -> bool:
    """Whether `text` may name a person, device or destination.

    1 to 64 lower-case letters, digits, `-` and `_`, beginning with a letter or digit: safe as an
    MQTT topic level, as a file name and in a URL.
    """
    return _IDENTIFIER.fullmatch(text) is not None
