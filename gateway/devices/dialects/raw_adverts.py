"""Advertisements as somebody else's radio heard them, in hexadecimal, for our own decoders.

Theengs Gateway and OpenMQTTGateway publish what they cannot decode, or everything where their decoder is turned off,
as flat JSON with `id` (the address), `servicedata` and `servicedatauuid`, or `manufacturerdata` with the company
identifier in its first two octets, on `home/<gateway>/BTtoMQTT/<address without colons>` or on `.../undecoded`; QoS 0,
not retained. What their decoder says beside that is passed over here; the dialect `theengs` takes it.

Sources: Theengs Gateway (the undecoded form); OpenMQTTGateway documentation, section BLE gateway (`pubadvdata`,
`extDecoder` topics).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.devices.advert import Advert, short_uuid
from gateway.devices.dialects.shape import Dialect, Message, Said
from gateway.devices.passerelle_fields import Refused, strict_json
from gateway.model import QuarantineReason
from gateway.normalise.reported import Problem

__all__ = ["RAW_ADVERTS", "address_in", "address_of_topic", "adverts_in"]

_ADDRESS = re.compile(r"(?:[0-9A-Fa-f]{2}[:-]?){5}[0-9A-Fa-f]{2}", re.ASCII)
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){1,512}", re.ASCII)
_UUID = re.compile(r"(?:0x)?([0-9A-Fa-f]{4})|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)


def address_in(text: object) -> str | None:
    """A Bluetooth address in any of its spellings as `AA:BB:CC:DD:EE:FF`; None: it is none."""
    if not isinstance(text, str) or _ADDRESS.fullmatch(text) is None:
        return None
    digits = text.replace(":", "").replace("-", "").upper()
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def address_of_topic(topic: str) -> str | None:
    """The address that the last level of a topic names; None: it names none."""
    return address_in(topic.rpartition("/")[2])


def adverts_in(document: Mapping[str, object]) -> tuple[Advert, ...]:
    """The advertisement that a message repeats, if it does; what cannot be one is left out."""
    service_data: dict[str, bytes] = {}
    manufacturer_data: dict[int, bytes] = {}
    uuid, data = document.get("servicedatauuid"), _hex(document.get("servicedata"))
    if isinstance(uuid, str) and data is not None and (match := _UUID.fullmatch(uuid)) is not None:
        service_data[(match[1] or short_uuid(uuid)).lower()] = data
    said = _hex(document.get("manufacturerdata"))
    if said is not None and len(said) >= 2:
        manufacturer_data[int.from_bytes(said[:2], "little")] = said[2:]
    if not service_data and not manufacturer_data:
        return ()
    name = document.get("name")
    return (
        Advert(
            name=name if isinstance(name, str) and name.isprintable() and len(name) <= 64 else None,
            services=frozenset(service_data),
            service_data=service_data,
            manufacturer_data=manufacturer_data,
        ),
    )


def _hex(text: object) -> bytes | None:
    return bytes.fromhex(text) if isinstance(text, str) and _HEX.fullmatch(text) is not None else None


def _decode(message: Message) -> Said:
    try:
        document = strict_json(message.payload)
    except Refused as error:
        return Said(problems=(Problem(error.reason, str(error)),))
    if not isinstance(document, dict):
        return Said(problems=(Problem(QuarantineReason.MALFORMED, "not an object"),))
    return Said(adverts=adverts_in(document), claims=address_in(document.get("id")))


RAW_ADVERTS = Dialect(
    name="raw_adverts",
    title="Theengs Gateway, OpenMQTTGateway, undecoded",
    topics=("home/+/BTtoMQTT/+",),
    address_of=address_of_topic,
    decode=_decode,
)
