"""ESPHome's `xiaomi_miscale`: weight and impedance of a Xiaomi scale as bare numbers, each on a topic of its own.

`<node>/sensor/<object id>/state` holds a number in kilograms or ohms. Which object is which is read from the end of its
name (`..._weight`, `..._impedance`), unless the configuration says it. Every advertisement of the scale is published
again, retained; with `clear_impedance` an impedance that was not measured is `nan`. When the node has connected to the
broker it says `online` on `<node>/status`, then publishes the state of all its sensors once more: old values, which no
flag tells from new ones.

Source: ESPHome, components `xiaomi_miscale` (publishing), `mqtt` (topics, birth message, `send_initial_state`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.devices.dialects.bare_number import is_without_value, said_of_number
from gateway.devices.dialects.shape import Dialect, Entity, Message, Said
from gateway.model import Metric, Unit

__all__ = ["ESPHOME_MISCALE"]

_STATUS: Final = ("online", "offline")
_BY_ENDING: Final = {"weight": (Metric.BODY_MASS, Unit.KG), "impedance": (Metric.IMPEDANCE, Unit.OHM)}


def _by_name(object_id: str) -> Entity | None:
    meaning = next((each for ending, each in _BY_ENDING.items() if object_id.lower().endswith(ending)), None)
    return None if meaning is None else Entity(object_id, *meaning)


def _decode(message: Message, entity_of: Callable[[str], Entity | None]) -> Said:
    levels = message.topic.split("/")
    if levels[-1] == "status" and message.payload.decode("ascii", "replace") in _STATUS:
        return Said(is_interrupted=not message.is_retained)
    if len(levels) < 4 or levels[-3] != "sensor" or levels[-1] != "state":
        return Said()
    entity = entity_of(levels[-2])
    if entity is None or is_without_value(message.payload):
        return Said()
    return said_of_number(message.payload, entity)


def _dialect(entity_of: Callable[[str], Entity | None]) -> Dialect:
    return Dialect(
        name="esphome_miscale",
        title="ESPHome (xiaomi_miscale)",
        topics=("+/sensor/+/state", "+/status"),
        address_of=lambda topic: None,
        decode=lambda message: _decode(message, entity_of),
        configured=_configured,
    )


def _configured(entities: tuple[Entity, ...]) -> Dialect:
    by_name = {entity.name: entity for entity in entities}
    return _dialect(by_name.get)


ESPHOME_MISCALE = _dialect(_by_name)
