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

from typing import Final

from gateway.devices.dialects.raw_adverts import address_in, address_of_topic, adverts_in
from gateway.devices.dialects.shape import Dialect, Message, Said, Untimed
from gateway.devices.passerelle_fields import Refused, read_choice, read_decimal, strict_json
from gateway.model import Metric, QuarantineReason, Unit
from gateway.normalise.reported import Problem, ReportedMeasurement

__all__ = ["THEENGS"]

_UNITS: Final = {"kg": Unit.KG, "lb": Unit.LB, "lbs": Unit.LB, "jin": Unit.JIN}
_BODY_SCALES: Final = ("XMTZC", "MJTZC")
"""How the models of the scales for people begin that releases before `type` named no kind of."""


def _decode(message: Message) -> Said:
    try:
        document = strict_json(message.payload)
    except Refused as error:
        return Said(problems=(Problem(error.reason, str(error)),))
    if not isinstance(document, dict):
        return Said(problems=(Problem(QuarantineReason.MALFORMED, "not an object"),))
    adverts, claims = adverts_in(document), address_in(document.get("id"))
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


THEENGS = Dialect(
    name="theengs",
    title="Theengs Gateway, OpenMQTTGateway",
    topics=("home/+/BTtoMQTT/+",),
    address_of=address_of_topic,
    decode=_decode,
)
