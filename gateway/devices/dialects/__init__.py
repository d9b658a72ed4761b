"""Dialects of MQTT that people already have at home; one module each, all of them in `DIALECTS`."""

from __future__ import annotations

from gateway.devices.dialects.ble_scale_sync import BLE_SCALE_SYNC
from gateway.devices.dialects.esphome_miscale import ESPHOME_MISCALE
from gateway.devices.dialects.ha_statestream import HA_STATESTREAM
from gateway.devices.dialects.mapping import MappedValue, Mapping, mapping_dialect
from gateway.devices.dialects.openscale_sync import OPENSCALE_SYNC
from gateway.devices.dialects.raw_adverts import RAW_ADVERTS
from gateway.devices.dialects.shape import Dialect, Entity, Message, Said, Untimed
from gateway.devices.dialects.tasmota import TASMOTA
from gateway.devices.dialects.theengs import THEENGS
from gateway.devices.dialects.xiaomi_mi_scale import XIAOMI_MI_SCALE

__all__ = ["DIALECTS", "Dialect", "Entity", "MappedValue", "Mapping", "Message", "Said", "Untimed", "mapping_dialect"]

DIALECTS: tuple[Dialect, ...] = (
    THEENGS,
    RAW_ADVERTS,
    ESPHOME_MISCALE,
    HA_STATESTREAM,
    BLE_SCALE_SYNC,
    OPENSCALE_SYNC,
    TASMOTA,
    XIAOMI_MI_SCALE,
)
