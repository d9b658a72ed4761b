"""Tasmota on an ESP32 with its Bluetooth driver (MI32): the Xiaomi scales that it decodes.

A message holds an object per sensor, named after its kind and the end of its address:
`{"Time": ..., "MISCALEV2aabbcc": {"MAC": "...", "WeightRemoved": 0, "WeightStabilized": 1, "WeightUnit": "kg",
"Weight": 71.35, "ImpedanceStabilized": 1, "Impedance": 487, "RSSI": -60}}`. Older releases wrote the keys in lower
case, `stabilized` among them.

Only `stat/<topic>/SENSOR` is listened to, and only with `MI32Option2 1` does a scale appear there as it is heard, with
its flags. `tele/<topic>/SENSOR` and `tele/tasmota_ble/<name>` are summaries: they repeat the last weight every few
minutes, for days, and nothing in them says when it was measured (`Time` is that of the message). Taken for news they
would be weigh-ins that never were.

Settled and not yet removed is a weigh-in; it is heard many times, so the source joins the repeats. `Weight` comes with
as many decimals as `WeightRes` says, which is none unless it is set.

Not understood: the scale driver of the separate "MI32 legacy" build (`MIBCS`), the driver for HM-10 modules, and masses
that a BTHome device sends through Tasmota, which have no flags of their own. Their messages were not documented.

Source: arendst/Tasmota, `xsns_62_esp32_mi.ino` (`MI32GetOneSensorJson`, `MI32ShowTriggeredSensors`), pull request
13517; Tasmota documentation, Bluetooth for ESP32.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from gateway.devices.dialects._fields import (
    Field,
    collect,
    json_object,
    no_address,
    problem_of,
    read_address,
    said_nothing_of,
)
from gateway.devices.dialects.shape import Dialect, Message, Said, Untimed
from gateway.devices.passerelle_fields import Refused
from gateway.model import Metric, QuarantineReason, Unit

__all__ = ["TASMOTA"]

_SCALE = re.compile(r"MISCALEV([12])[0-9a-fA-F]{6}")
_UNITS = {"kg": Unit.KG, "lbs": Unit.LB, "jin": Unit.JIN}
_OLD_KEYS = {
    "mac": "MAC",
    "weight_removed": "WeightRemoved",
    "stabilized": "WeightStabilized",
    "weight_stabilized": "WeightStabilized",
    "weight_unit": "WeightUnit",
    "weight": "Weight",
    "impedance_stabilized": "ImpedanceStabilized",
    "impedance": "Impedance",
}
_YES, _NO = Decimal(1), Decimal(0)
_HIGHEST_IMPEDANCE_OHM = 3000
"""The scale writes numbers from here on while it has no result."""


def _decode(message: Message) -> Said:
    levels = message.topic.split("/")
    if "stat" not in levels[:-1] or levels[-1] != "SENSOR" or not message.payload:
        return Said()
    try:
        document = json_object(message.payload)
    except Refused as error:
        return Said(problems=(problem_of(error),))
    scales = [
        (found[1], value)
        for name, value in document.items()
        if (found := _SCALE.fullmatch(name)) is not None and type(value) is dict
    ]
    if len(scales) > 1:
        return said_nothing_of("two scales in one message", QuarantineReason.IDENTITY_MISMATCH)
    return _scale(*scales[0]) if scales else Said()


def _scale(version: str, said: Mapping[str, object]) -> Said:
    sensor = {_OLD_KEYS.get(key, key): value for key, value in said.items()}
    address = read_address(sensor.get("MAC"))
    if address is None:
        return said_nothing_of("a scale without its address")
    if sensor.get("WeightStabilized") != _YES or sensor.get("WeightRemoved") != _NO:
        return Said(claims=address)
    unit_text = sensor.get("WeightUnit")
    unit = _UNITS.get(unit_text) if type(unit_text) is str else None
    if unit is None:
        return said_nothing_of("WeightUnit is none of kg, lbs, jin", QuarantineReason.UNSUPPORTED)._replace(
            claims=address
        )
    fields = [Field("Weight", Metric.BODY_MASS, unit)]
    impedance = sensor.get("Impedance")
    has_impedance = (
        sensor.get("ImpedanceStabilized") == _YES
        and type(impedance) is Decimal
        and 0 < impedance < _HIGHEST_IMPEDANCE_OHM
    )
    if has_impedance:
        fields.append(Field("Impedance", Metric.IMPEDANCE, Unit.OHM))
    measurements, problems = collect(sensor, fields)
    if not measurements:
        return Said(problems=problems, claims=address)
    untimed = Untimed(measurements, is_partial=version == "2" and not has_impedance)
    return Said(untimed=(untimed,), problems=problems, claims=address)


TASMOTA = Dialect(
    name="tasmota",
    title="Tasmota (Bluetooth for ESP32)",
    topics=("stat/+/SENSOR",),
    address_of=no_address,
    needs_address=True,
    decode=_decode,
)
