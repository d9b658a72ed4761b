"""Any supported payload in words: what `gateway decode` prints.

Field names carry their unit (`glucose_mg_dl`, `mass_kg`); numbers are exact, int or Decimal; times are ISO 8601 text
by the device's own clock; a field that was not sent is left out, one whose content is unknown is null.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.devices._describe_common import Description
from gateway.devices._describe_facts import FACTS
from gateway.devices._describe_glucose import CGM, GLUCOSE
from gateway.devices._describe_scale import OTHERS, SERVICE_DATA
from gateway.devices._describe_vendor import VENDOR, describe_bthome
from gateway.devices._describe_vital_signs import VITAL_SIGNS
from gateway.devices.bthome import BTHOME_SERVICE

__all__ = [
    "CHARACTERISTICS",
    "SERVICE_DATA_FORMATS",
    "UnknownFormat",
    "describe_characteristic",
    "describe_service_data",
    "short_uuid",
]

_PLAIN = GLUCOSE | OTHERS | FACTS | VITAL_SIGNS
_SERVICE_DATA = SERVICE_DATA | {BTHOME_SERVICE: ("BTHome", describe_bthome)}
_UUID = re.compile(r"(?:0x|0000)?([0-9a-f]{4})(?:-0000-1000-8000-00805f9b34fb)?", re.IGNORECASE)

CHARACTERISTICS: dict[str, str] = {uuid: (_PLAIN | CGM | VENDOR)[uuid][0] for uuid in sorted(_PLAIN | CGM | VENDOR)}
"""UUID, short where it is of the Bluetooth SIG -> name of every characteristic that can be described."""
SERVICE_DATA_FORMATS: dict[str, str] = {uuid: _SERVICE_DATA[uuid][0] for uuid in sorted(_SERVICE_DATA)}
"""Short UUID -> device family of every service data that can be described."""


class UnknownFormat(LookupError):
    """No decoder for this UUID.

    Attributes:
        uuid: as given, at most 64 characters.
        known: the short UUIDs that would do.
    """

    def __init__(self, what: str, uuid: str, known: Sequence[str]) -> None:
        self.uuid = uuid[:64]
        self.known = tuple(known)
        super().__init__(f"no decoder for {what} {self.uuid!r}; known: {', '.join(self.known)}")


def short_uuid(text: str) -> str | None:
    """The four lower-case hex digits of a Bluetooth SIG UUID: `2a18`, `0x2A18` or all 128 bits; None for others."""
    match = _UUID.fullmatch(text.strip())
    return None if match is None else match[1].lower()


def describe_characteristic(uuid: str, payload: bytes, *, has_crc: bool | None = None) -> Description:
    """Decode the value of a characteristic into a JSON-ready dictionary.

    Args:
        uuid: `2a18`, `0x2A18` or the full 128-bit form.
        payload: the value as read, notified or indicated.
        has_crc: CGM only: whether the frame ends in an E2E-CRC; None: taken as one where it fits.

    Raises:
        UnknownFormat: no decoder for `uuid`.
        MalformedFrame: `payload` is not what `uuid` promises.
    """
    short = short_uuid(uuid)
    if short is not None and short in _PLAIN:
        name, describe = _PLAIN[short]
        return {"characteristic": short, "name": name, **describe(payload)}
    if short is not None and short in CGM:
        name, describe_cgm = CGM[short]
        return {"characteristic": short, "name": name, **describe_cgm(payload, has_crc)}
    full = uuid.strip().lower()
    if full in VENDOR:
        name, describe = VENDOR[full]
        return {"characteristic": full, "name": name, **describe(payload)}
    raise UnknownFormat("characteristic", uuid, tuple(CHARACTERISTICS))


def describe_service_data(uuid: str, payload: bytes) -> Description:
    """Decode the service data of an advertisement into a JSON-ready dictionary.

    Args:
        uuid: UUID of the service data, `181d`, `181b` or `fcd2` in any of the forms above.
        payload: the service data without its UUID.

    Raises:
        UnknownFormat: no decoder for `uuid`.
        MalformedFrame: `payload` is not what `uuid` promises.
    """
    short = short_uuid(uuid)
    if short is None or short not in _SERVICE_DATA:
        raise UnknownFormat("service data", uuid, tuple(SERVICE_DATA_FORMATS))
    name, describe = _SERVICE_DATA[short]
    return {"service_data": short, "name": name, **describe(payload)}
