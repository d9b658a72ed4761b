"""ble-scale-sync: body composition of Bluetooth scales that this program reads by itself.

One JSON object per weigh-in on `scale/body-composition`, or `scale/body-composition/<slug>` in a household; masses are
in kg whatever the scale shows. Nothing says when: the program publishes at once, and retained, so that the last
weigh-in comes again at each subscription. Whose it is was guessed from ranges of weight: the slug is a hint.

The slug is known by the level before it, `body-composition`: whoever sets another topic keeps that as its last level.
`.../status` says that the program is there and is none of our business. Zero is "not measured" (a scale without
electrodes). Fat, water, bones, muscles, basal metabolism and the rest are formulas of the program.

Source: KristianP26/ble-scale-sync, `src/exporters/mqtt.ts` (topics, units), `src/interfaces/scale-adapter.ts` (fields).
"""

from __future__ import annotations

from gateway.devices.dialects._fields import (
    Field,
    collect,
    json_object,
    no_address,
    problem_of,
    said_nothing_of,
    user_hint,
)
from gateway.devices.dialects.shape import Dialect, Message, Said, Untimed
from gateway.devices.passerelle_fields import Refused
from gateway.model import Context, Metric, QuarantineReason, Unit

__all__ = ["BLE_SCALE_SYNC"]

_BASE = "body-composition"
_FIELDS = (
    Field("weight", Metric.BODY_MASS, Unit.KG),
    Field("impedance", Metric.IMPEDANCE, Unit.OHM),
    Field("bmi", Metric.BODY_MASS_INDEX, Unit.KG_M2, is_derived=True),
    Field("bodyFatPercent", Metric.BODY_FAT_PERCENTAGE, Unit.PERCENT, is_derived=True),
    Field("waterPercent", Metric.BODY_WATER_PERCENTAGE, Unit.PERCENT, is_derived=True),
    Field("boneMass", Metric.BONE_MASS, Unit.KG, is_derived=True),
    Field("muscleMass", Metric.MUSCLE_MASS, Unit.KG, is_derived=True),
    Field("visceralFat", Metric.VISCERAL_FAT_RATING, Unit.ONE, is_derived=True),
    Field("bmr", Metric.BASAL_METABOLISM, Unit.KCAL, is_derived=True),
)


def _decode(message: Message) -> Said:
    levels = message.topic.split("/")
    if levels[-1] == "status" or not message.payload:
        return Said()
    try:
        document = json_object(message.payload)
    except Refused as error:
        return Said(problems=(problem_of(error),))
    measurements, problems = collect(document, _FIELDS)
    if not measurements:
        if problems:
            return Said(problems=problems)
        return said_nothing_of("none of the values of ble-scale-sync", QuarantineReason.UNSUPPORTED)
    hint = user_hint(levels[-1]) if len(levels) > 1 and levels[-2] == _BASE else None
    return Said(untimed=(Untimed(measurements, Context(user_name=hint)),), problems=problems)


BLE_SCALE_SYNC = Dialect(
    name="ble_scale_sync",
    title="ble-scale-sync",
    topics=(f"scale/{_BASE}", f"scale/{_BASE}/+"),
    address_of=no_address,
    decode=_decode,
)
