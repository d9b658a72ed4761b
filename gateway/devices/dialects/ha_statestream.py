"""Home Assistant's `mqtt_statestream`: the state of every entity on a topic of its own.

`<base>/<domain>/<object id>/state` holds the state as a bare text, published with QoS 1 and retained whenever Home
Assistant writes the state or an attribute of the entity. With `publish_attributes` every attribute follows on
`<base>/<domain>/<object id>/<attribute>` as JSON; with `publish_timestamps` so do `last_updated` and `last_changed`.
They come after the state that they belong to, so that the state has to be read without them.

Nothing there says what a number measures: the configuration does, per entity. Of the attributes only
`unit_of_measurement` is looked at: one that contradicts the configuration is set aside and shown, for Home Assistant
lets people change the unit of an entity afterwards. `unavailable` and `unknown` are no values; what follows them may be
the value from before once more.

Source: Home Assistant core, integration `mqtt_statestream`.
"""

from __future__ import annotations

from typing import Final

from gateway.devices.dialects.bare_number import is_without_value, said_of_number
from gateway.devices.dialects.shape import Dialect, Entity, Message, Said
from gateway.devices.passerelle_fields import Refused, strict_json
from gateway.model import QuarantineReason, Unit
from gateway.normalise.reported import Problem

__all__ = ["HA_STATESTREAM"]

_UNIT_WORDS: Final = {
    "lbs": Unit.LB,
    "ohm": Unit.OHM,
    "Ω": Unit.OHM,
    "\u2126": Unit.OHM,
    "bpm": Unit.PER_MIN,
    "°C": Unit.CELSIUS,
    "°F": Unit.FAHRENHEIT,
    "kg/m²": Unit.KG_M2,
    "": Unit.ONE,
}


def _decode(message: Message, entities: dict[str, Entity]) -> Said:
    levels = message.topic.split("/")
    if len(levels) < 4:
        return Said()
    entity = entities.get(f"{levels[-3]}.{levels[-2]}")
    if entity is None:
        return Said()
    if levels[-1] == "state":
        if is_without_value(message.payload):
            return Said(is_interrupted=True)
        return said_of_number(message.payload, entity)
    if levels[-1] == "unit_of_measurement" and _contradicts(message.payload, entity.unit):
        detail = f"Home Assistant shows {entity.metric.value} in another unit than the configuration says"
        return Said(problems=(Problem(QuarantineReason.UNSUPPORTED, detail),))
    return Said()


def _contradicts(payload: bytes, unit: Unit) -> bool:
    try:
        text = strict_json(payload)
    except Refused:
        return False
    if not isinstance(text, str):
        return False
    return text.lower() != unit.value.lower() and _UNIT_WORDS.get(text) is not unit


def _configured(entities: tuple[Entity, ...]) -> Dialect:
    by_name = {entity.name: entity for entity in entities}
    return Dialect(
        name="ha_statestream",
        title="Home Assistant (mqtt_statestream)",
        topics=("homeassistant/+/+/state", "homeassistant/+/+/unit_of_measurement"),
        address_of=lambda topic: None,
        decode=lambda message: _decode(message, by_name),
        configured=_configured,
        needs_entities=True,
    )


HA_STATESTREAM = _configured(())
