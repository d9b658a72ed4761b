"""xiaomi_mi_scale (lolouk44), also the "Xiaomi Mi Scale" add-on of Home Assistant.

One JSON object on `<prefix>/<user>/weight`, retained unless set otherwise, with QoS 0.

* `timestamp` is the wall clock of the program's machine with the letters `+00:00` behind it: a local time that calls
  itself UTC. It is read as a local time; only an offset other than zero is believed. The older `YYYY-mm-dd-HH:MM:SS`
  has none.
* `weight` is in `weight_unit`: kg, lbs or jin. Masses that its formulas give are in kg. Numbers were texts in old
  versions.
* The user is whoever's range the weight fell into: a hint.
* A weigh-in on a scale with electrodes is published twice, some seconds apart: without impedance, then with it. Each
  has its own time, so both are records. The scale without electrodes is published while it still settles: the payload
  does not say so, see the page of this source.

Source: lolouk44/xiaomi_mi_scale, `src/Xiaomi_Scale.py` (`MQTT_publish`), `CHANGELOG.md` (0.1.8, 0.2.4).
"""

from __future__ import annotations

import re
from datetime import datetime

from gateway.devices.dialects._fields import Field, collect, json_object, no_address, problem_of, user_hint
from gateway.devices.dialects.shape import Dialect, Message, Said, Untimed
from gateway.devices.passerelle_fields import Refused, record_key_from
from gateway.model import Context, Metric, QuarantineReason, Unit
from gateway.normalise.reported import ReportedRecord

__all__ = ["XIAOMI_MI_SCALE"]

_UNITS = {"kg": Unit.KG, "lbs": Unit.LB, "lb": Unit.LB, "jin": Unit.JIN}
_FIELDS = (
    Field("impedance", Metric.IMPEDANCE, Unit.OHM),
    Field("bmi", Metric.BODY_MASS_INDEX, Unit.KG_M2, is_derived=True),
    Field("basal_metabolism", Metric.BASAL_METABOLISM, Unit.KCAL, is_derived=True),
    Field("visceral_fat", Metric.VISCERAL_FAT_RATING, Unit.ONE, is_derived=True),
    Field("lean_body_mass", Metric.FAT_FREE_MASS, Unit.KG, is_derived=True),
    Field("body_fat", Metric.BODY_FAT_PERCENTAGE, Unit.PERCENT, is_derived=True),
    Field("water", Metric.BODY_WATER_PERCENTAGE, Unit.PERCENT, is_derived=True),
    Field("bone_mass", Metric.BONE_MASS, Unit.KG, is_derived=True),
    Field("muscle_mass", Metric.MUSCLE_MASS, Unit.KG, is_derived=True),
    Field("protein", Metric.PROTEIN_PERCENTAGE, Unit.PERCENT, is_derived=True),
)
_TIME = re.compile(
    r"([12][0-9]{3}-[0-9]{2}-[0-9]{2})[T -]"
    r"([0-2][0-9]:[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?)"
    r"(Z|[+-][0-2][0-9]:[0-5][0-9])?"
)
_ZERO_OFFSETS = frozenset({None, "Z", "+00:00", "-00:00"})


def _decode(message: Message) -> Said:
    levels = message.topic.split("/")
    if len(levels) < 2 or levels[-1] != "weight" or not message.payload:
        return Said()
    try:
        document = json_object(message.payload)
        unit = _unit(document.get("weight_unit"))
        time = _time(document["timestamp"]) if "timestamp" in document else None
    except Refused as error:
        return Said(problems=(problem_of(error),))
    measurements, problems = collect(document, (Field("weight", Metric.BODY_MASS, unit), *_FIELDS))
    if not measurements:
        return Said(problems=problems)
    hint = user_hint(levels[-2])
    if time is None:
        return Said(untimed=(Untimed(measurements, Context(user_name=hint)),), problems=problems)
    key = record_key_from(time)
    record = ReportedRecord(key, 0, time, measurements, Context(user_name=hint, weigh_in=key))
    return Said((record,), problems=problems)


def _unit(value: object) -> Unit:
    if type(value) is not str or value not in _UNITS:
        raise Refused("weight_unit is none of kg, lbs, jin", QuarantineReason.UNSUPPORTED)
    return _UNITS[value]


def _time(value: object) -> datetime:
    """Naive: the wall clock of the machine that runs the program. Aware where it names another offset than zero."""
    found = _TIME.fullmatch(value) if type(value) is str else None
    if found is None:
        raise Refused("timestamp is not a date and time")
    day, clock, offset = found.groups()
    try:
        time = datetime.fromisoformat(f"{day}T{clock}{'' if offset in _ZERO_OFFSETS else offset}")
        record_key_from(time)
    except (ValueError, OverflowError):
        raise Refused("timestamp is not a date and time that exist") from None
    return time


XIAOMI_MI_SCALE = Dialect(
    name="xiaomi_mi_scale",
    title="xiaomi_mi_scale (lolouk44)",
    topics=("miscale/+/weight", "miScale/+/weight"),
    address_of=no_address,
    decode=_decode,
)
