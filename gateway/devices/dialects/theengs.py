"""Theengs Gateway and OpenMQTTGateway: what their decoder made of Bluetooth advertisements, as flat JSON.

`home/<gateway>/BTtoMQTT/<address without colons>`, QoS 0, not retained. A scale's message has `weight` in `unit` and,
with bare feet, `impedance`. `weighing_mode` is `object` when something was put on a scale that somebody stands on: not
a person's weight. Neither a time nor a number of the record is there, every gateway that hears the scale publishes, and
each of the many repeats of one weigh-in is published again. Advertisements without a decoder, or with the decoder
turned off, hold `servicedata` and `manufacturerdata` in hexadecimal, on the same topics or on `.../undecoded`.

Sources: Theengs Decoder (properties and expected output of XMTZC01HM to XMTZC05HM); Theengs Gateway (topics and the
undecoded form); OpenMQTTGateway documentation, section BLE gateway.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.devices.advert import Advert, short_uuid
from gateway.devices.dialects.shape import Dialect, Message, Said, Untimed
from gateway.devices.passerelle_fields import Refused, read_choice, read_decimal, strict_json
from gateway.model import Metric, QuarantineReason, Unit
from gateway.normalise.reported import Problem, ReportedMeasurement

__all__ = ["THEENGS"]

_UNITS: Final = {"kg": Unit.KG, "lb": Unit.LB, "lbs": Unit.LB, "jin": Unit.JIN}
_BODY_SCALES: Final = ("XMTZC", "MJTZC")
"""How the models of the scales for people begin that releases before `type` named no kind of."""
_ADDRESS = re.compile(r"(?:[0-9A-Fa-f]{2}[:-]?){5}[0-9A-Fa-f]{2}", re.ASCII)
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){1,512}", re.ASCII)
_UUID = re.compile(r"(?:0x)?([0-9A-Fa-f]{4})|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)


def _address(text: object) -> str | None:
    if not isinstance(text, str) or _ADDRESS.fullmatch(text) is None:
        return None
    digits = text.replace(":", "").replace("-", "").upper()
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def _address_of(topic: str) -> str | None:
    return _address(topic.rpartition("/")[2])


def _decode(message: Message) -> Said:
    try:
        document = strict_json(message.payload)
    except Refused as error:
        return Said(problems=(Problem(error.reason, str(error)),))
    if not isinstance(document, dict):
        return Said(problems=(Problem(QuarantineReason.MALFORMED, "not an object"),))
    adverts, claims = _adverts(document), _address(document.get("id"))
    if not _is_body_scale(document):
        return Said(adverts=adverts, claims=claims)
    try:
        untimed = Untimed(_measurements(document))
    except Refused as error:
        return Said(problems=(Problem(error.reason, str(error)),), claims=claims)
    return Said(untimed=(untimed,), adverts=adverts, claims=claims)


def _measurements(document: dict[str, object]) -> tuple[ReportedMeasurement, ...]:
    unit = read_choice(document.get("unit"), "unit", _UNITS)
    mass = ReportedMeasurement(Metric.BODY_MASS, read_decimal(document["weight"], "weight"), unit)
    if document.get("impedance") is None:
        return (mass,)
    ohms = read_decimal(document["impedance"], "impedance")
    return (mass, ReportedMeasurement(Metric.IMPEDANCE, ohms, Unit.OHM))


def _is_body_scale(document: dict[str, object]) -> bool:
    if "weight" not in document or document.get("weighing_mode", "person") != "person":
        return False
    model = document.get("model_id")
    return document.get("type") == "SCALE" or (isinstance(model, str) and model.startswith(_BODY_SCALES))


def _adverts(document: dict[str, object]) -> tuple[Advert, ...]:
    """The advertisement that the message repeats, if it does; what cannot be one is left out."""
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


THEENGS = Dialect(
    name="theengs",
    title="Theengs Gateway, OpenMQTTGateway",
    topics=("home/+/BTtoMQTT/+",),
    address_of=_address_of,
    decode=_decode,
)
