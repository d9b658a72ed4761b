"""Dialects of MQTT that people already have at home; one module each, all of them in `DIALECTS`."""

from __future__ import annotations

from gateway.devices.dialects.esphome_miscale import ESPHOME_MISCALE
from gateway.devices.dialects.ha_statestream import HA_STATESTREAM
from gateway.devices.dialects.shape import Dialect, Entity, Message, Said, Untimed
from gateway.devices.dialects.theengs import THEENGS

__all__ = ["DIALECTS", "Dialect", "Entity", "Message", "Said", "Untimed"]

DIALECTS: tuple[Dialect, ...] = (
    THEENGS,
    ESPHOME_MISCALE,
    HA_STATESTREAM,
)
