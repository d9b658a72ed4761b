"""Our own MQTT format: JSON readings and device status.

One message holds one record (an object) or up to 1000 of them (an array). Numbers stay exact: every JSON number becomes
a `Decimal` from its own text. What cannot be a record is refused with a reason and a sentence that holds no value; one
refused record of an array does not take the others with it. The format is described in `docs/mqtt.md` and
`docs/mqtt-reading.schema.json`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.devices.passerelle_fields import (
    Refused,
    read_choice,
    read_context,
    read_decimal,
    read_integer,
    read_text,
    read_time,
    record_key_from,
    strict_json,
)
from gateway.model import (
    Absent,
    BoundKind,
    DeviceId,
    Metric,
    Provenance,
    QuarantineReason,
    Unit,
)
from gateway.normalise.contact import Contact
from gateway.normalise.reported import (
    NO_CONTEXT,
    Decoded,
    Parsed,
    Problem,
    ReportedMeasurement,
    ReportedRecord,
    readings_of,
)

__all__ = [
    "DECODER",
    "MAX_RECORDS",
    "SCHEMA",
    "DeviceStatus",
    "Refused",
    "decode_reading_message",
    "parse_reading_message",
    "parse_status_message",
]

SCHEMA = "passerelle.reading/1"
DECODER = "mqtt.passerelle"
MAX_RECORDS = 1000
_MAX_EPOCH = 1_000_000


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """What a device says about itself. None: nothing said."""

    is_online: bool | None = None
    battery_percent: int | None = None
    manufacturer: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None


_METRICS = {metric.value: metric for metric in Metric}
_UNITS = {unit.value: unit for unit in Unit}
_ABSENT = {absent.value: absent for absent in Absent}
_BOUNDS = {bound.value: bound for bound in BoundKind}
_RECORD_KEYS = frozenset({"schema", "device", "record", "epoch", "time", "measurements", "context"})
_MEASUREMENT_KEYS = frozenset({"metric", "value", "unit", "bound", "limit", "absent"})
_PERSON_KEYS = frozenset({"person", "patient", "user"})
_INFORMATION_KEYS = frozenset({"manufacturer", "model", "serial", "firmware"})
_STATUS_KEYS = _INFORMATION_KEYS | {"availability", "battery_percent"}
_AVAILABILITY = {"online": True, "offline": False}
_RECORD_KEY = re.compile(r"[!-~]{1,128}")


def parse_reading_message(payload: bytes, device_id: DeviceId) -> Parsed:
    """Read one `<root>/<device_id>/reading` payload; total: whatever the bytes are, the answer is a `Parsed`.

    Args:
        payload: UTF-8 JSON, an object or an array of 1 to 1000 objects. The caller bounds its length.
        device_id: the device of the topic; a record that names another one is refused as an identity mismatch.
    """
    try:
        document = strict_json(payload)
    except Refused as error:
        return Parsed((), (Problem(error.reason, str(error)),))
    if type(document) is dict:
        try:
            return Parsed((_record(document, device_id),))
        except Refused as error:
            return Parsed((), (Problem(error.reason, str(error)),))
    if type(document) is not list:
        return Parsed((), (Problem(QuarantineReason.MALFORMED, "neither an object nor an array"),))
    if not 1 <= len(document) <= MAX_RECORDS:
        return Parsed((), (Problem(QuarantineReason.MALFORMED, f"an array holds 1 to {MAX_RECORDS} records"),))
    records: list[ReportedRecord] = []
    problems: list[Problem] = []
    for position, item in enumerate(document):
        try:
            records.append(_record(item, device_id))
        except Refused as error:
            problems.append(Problem(error.reason, f"record {position}: {error}"))
    return Parsed(tuple(records), tuple(problems))


def decode_reading_message(
    payload: bytes, contact: Contact, provenance: Provenance, *, frame: int | None = None
) -> Decoded:
    """Readings of one message; an implausible measurement is left out and named, its neighbours stay.

    Args:
        payload: as for `parse_reading_message`.
        contact: the device of the topic, its owner's zone and the reception; `is_live` false for a retained message,
            so that a record without a time is not taken for news.
        provenance: put into every reading.
        frame: index of the payload in the batch.
    """
    return readings_of(parse_reading_message(payload, contact.device_id), contact, provenance, frame=frame)


def parse_status_message(payload: bytes) -> DeviceStatus:
    """Read one `<root>/<device_id>/status` payload: the text `online` or `offline`, or an object.

    Raises:
        Refused: anything else.
    """
    if payload in (b"online", b"offline"):
        return DeviceStatus(is_online=payload == b"online")
    document = strict_json(payload)
    if type(document) is not dict:
        raise Refused("a status is online, offline or an object")
    if unknown := document.keys() - _STATUS_KEYS:
        raise Refused(f"{len(unknown)} unknown key(s) in the status")
    if "availability" in document:
        is_online = read_choice(document["availability"], "availability", _AVAILABILITY)
    else:
        is_online = None
    return DeviceStatus(
        is_online=is_online,
        battery_percent=read_integer(document["battery_percent"], "battery_percent", 0, 100)
        if "battery_percent" in document
        else None,
        **{key: read_text(document[key], key, 64) for key in _INFORMATION_KEYS & document.keys()},
    )


def _record(item: object, device_id: DeviceId) -> ReportedRecord:
    if type(item) is not dict:
        raise Refused("a record is an object")
    if not item.keys() <= _RECORD_KEYS:
        if not item.keys().isdisjoint(_PERSON_KEYS):
            raise Refused(
                "a payload does not say whose reading it is; the configuration does", QuarantineReason.IDENTITY_MISMATCH
            )
        raise Refused(f"{len(item.keys() - _RECORD_KEYS)} unknown key(s) in the record")
    if item.get("schema", SCHEMA) != SCHEMA:
        raise Refused(f"schema is not {SCHEMA}", QuarantineReason.UNSUPPORTED)
    if item.get("device", device_id) != device_id:
        raise Refused("device is not the one of the topic", QuarantineReason.IDENTITY_MISMATCH)
    time = read_time(item["time"]) if "time" in item else None
    key = item.get("record")
    if key is None and "record" not in item:
        if time is None:
            raise Refused("record or time is needed")
        key = record_key_from(time)
    elif type(key) is not str or _RECORD_KEY.fullmatch(key) is None:
        raise Refused("record is 1 to 128 printable ASCII characters without spaces")
    epoch = read_integer(item["epoch"], "epoch", 0, _MAX_EPOCH) if "epoch" in item else 0
    listed = item.get("measurements")
    if type(listed) is not list or not listed:
        raise Refused("measurements is an array of at least one measurement")
    if len(listed) == 1:
        measurements: tuple[ReportedMeasurement, ...] = (_measurement(listed[0]),)
    else:
        if len(listed) > len(_METRICS):
            raise Refused("more measurements than there are metrics")
        measurements = tuple([_measurement(each) for each in listed])
        if len({each.metric for each in measurements}) != len(measurements):
            raise Refused("a metric appears twice in one record")
    context = read_context(item["context"]) if "context" in item else NO_CONTEXT
    return ReportedRecord(key, epoch, time, measurements, context)


def _measurement(item: object) -> ReportedMeasurement:
    if type(item) is not dict:
        raise Refused("a measurement is an object")
    if not item.keys() <= _MEASUREMENT_KEYS:
        raise Refused(f"{len(item.keys() - _MEASUREMENT_KEYS)} unknown key(s) in a measurement")
    name = item.get("metric")
    metric = _METRICS.get(name) if type(name) is str else None
    if metric is None:
        raise Refused("metric is not one of the catalogue", QuarantineReason.UNSUPPORTED)
    unit: Unit | None = None
    if "unit" in item:
        text = item["unit"]
        unit = _UNITS.get(text) if type(text) is str else None
        if unit is None:
            raise Refused(f"unit of {metric.value} is not one of the list", QuarantineReason.UNSUPPORTED)
    if ("value" in item) + ("bound" in item) + ("absent" in item) != 1:
        raise Refused(f"{metric.value} needs exactly one of value, bound, absent")
    if "value" in item:
        if "limit" in item or unit is None:
            raise Refused(f"value of {metric.value} needs a unit and no limit")
        return ReportedMeasurement(metric, read_decimal(item["value"], metric.value), unit, None, None)
    if "bound" in item:
        if ("limit" in item) != ("unit" in item):
            raise Refused(f"limit and unit of {metric.value} go together")
        limit = read_decimal(item["limit"], metric.value) if "limit" in item else None
        return ReportedMeasurement(metric, limit, unit, read_choice(item["bound"], "bound", _BOUNDS), None)
    if "limit" in item or "unit" in item:
        raise Refused(f"{metric.value} is absent and has neither unit nor limit")
    return ReportedMeasurement(metric, None, None, None, read_choice(item["absent"], "absent", _ABSENT))
