"""Nightscout's entries: what phone apps upload, and what followers read.

Glucose is mg/dL in every entry, whatever a site shows. What an `sgv` says beside a number, by Dexcom's convention:

* 0 to 12, whole: a code of the sensor (no glucose): kept as `Absent.UNTRUSTWORTHY` with the status `sensor_code_<n>`;
* 38 from xDrip+ or xDrip4iOS: their error marker; their glucose is clipped to 39 at least: kept in the same way;
* 39: below 40, and 401: above 400. Both sentences are true as well of a sensor that can measure 39 or 401 itself, and
  day figures count them the same way; read as numbers they would be false for the sensors that mean LO and HI;
* anything else below 13: no code and no glucose (most likely mmol/L): refused, never converted on suspicion.

A finger-stick (`mbg`) has no such codes. The instant is `date`, in milliseconds; a `date` in seconds is refused. Where
there is none, `sysTime` or `dateString` is read, with the zone in it. The offset of an entry is the person's, from the
configuration; `utcOffset` is not believed (Juggluco always sends 0).

Sources: cgm-remote-monitor (`lib/server/entries.js`, `lib/api3/doc/formats.md`, `lib/plugins/errorcodes.js`), xDrip+
(`NightscoutUploader`, `BgReading`), share2nightscout-bridge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from gateway.devices.nightscout.direction import arrow_of, direction_of_number
from gateway.devices.nightscout.names import (
    EPOCH,
    derived_key,
    given_identifier,
    id_of,
    named_key,
    object_id,
    record_identifier,
    type_word,
)
from gateway.devices.passerelle_fields import Refused
from gateway.errors import MalformedFrame
from gateway.model import (
    Absent,
    Bound,
    BoundKind,
    Context,
    Metric,
    QuarantineReason,
    Reading,
    StoredReading,
    TimeQuality,
    Unit,
)
from gateway.normalise.reported import Problem, ReportedMeasurement, ReportedRecord

__all__ = ["DECODER", "ParsedEntry", "date_ms_of", "entry_of", "entry_v3_of", "is_entry", "parse_entries"]

DECODER = "nightscout.entries"
APP = "passerelle"
_METRICS = {"sgv": Metric.GLUCOSE_INTERSTITIAL, "mbg": Metric.GLUCOSE_CAPILLARY}
_CALIBRATION = frozenset({"slope", "intercept", "scale"})
_LOW, _HIGH = Decimal(39), Decimal(401)
_LOW_LIMIT, _HIGH_LIMIT = Decimal(40), Decimal(400)
_FIRST_GLUCOSE = 13
_XDRIP_ERROR = 38
_CODE = "sensor_code_"
_SMALLEST_MS, _LARGEST_MS = 10**11, 10**13  # 1973 and 2286; seconds of our century lie below
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_LONGEST_NUMBER = 24
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?) ?(Z|[+-][0-9]{2}:?[0-9]{2})"
)


@dataclass(frozen=True, slots=True)
class ParsedEntry:
    """One entry of an upload.

    Attributes:
        index: its place in the array; 0 for a single object.
        record: what it says; None where it says nothing for us.
        identifier: the name by which an answer calls it: the given one, or the `_id` that we make; None where it has
            neither a name nor an instant.
        problem: why there is no record; None where there is one, or nothing was wrong.
        is_ignored: a calibration: understood, kept by nobody.
        document: as it came.
    """

    index: int
    record: ReportedRecord | None
    identifier: str | None
    problem: Problem | None
    is_ignored: bool
    document: dict[str, object]


def parse_entries(document: object) -> tuple[ParsedEntry, ...]:
    """Read one upload; total: one `ParsedEntry` per element, in order.

    Args:
        document: JSON as `strict_json` gives it (every number a `Decimal`): an object, or an array of them. The caller
            bounds its length.
    """
    items = document if type(document) is list else [document]
    return tuple([_parsed(index, item) for index, item in enumerate(items)])


def _parsed(index: int, item: object) -> ParsedEntry:
    if type(item) is not dict:
        problem = Problem(QuarantineReason.MALFORMED, f"entry {index}: not an object")
        return ParsedEntry(index, None, None, problem, False, {})
    identifier: str | None = None
    try:
        type_ = _type(item)
        identifier = _own_name(item)
        date_ms = date_ms_of(item)
        if type_ == "cal":
            return ParsedEntry(index, None, identifier, None, True, item)
        record = _record(item, type_, date_ms, identifier)
    except Refused as error:
        return ParsedEntry(index, None, identifier, Problem(error.reason, f"entry {index}: {error}"), False, item)
    at = EPOCH + timedelta(milliseconds=date_ms)
    told = given_identifier(record.record_key) or object_id(record.record_key, at)
    return ParsedEntry(index, record, told, None, False, item)


def _type(item: Mapping[str, object]) -> str:
    said = item.get("type")
    if said is None or said == "":
        for word in ("sgv", "mbg"):
            if item.get(word) is not None:
                return word
        if not item.keys().isdisjoint(_CALIBRATION):
            return "cal"
        raise Refused("neither a type nor sgv nor mbg")
    if type(said) is not str:
        raise Refused("type is not a word")
    if said not in (*_METRICS, "cal"):
        raise Refused("type is not sgv, mbg or cal", QuarantineReason.UNSUPPORTED)
    return said


def _own_name(item: Mapping[str, object]) -> str | None:
    """`identifier`, or an `_id` that is no ObjectId: Trio and Loop put their UUID there."""
    name = item.get("identifier")
    if name is None or name == "":
        name = item.get("_id")
        if type(name) is not str or re.fullmatch(r"[0-9a-fA-F]{24}|", name) is not None:
            return None
    if type(name) is not str:
        raise Refused("identifier is not a text")
    return name


def date_ms_of(item: Mapping[str, object]) -> int:
    """The instant of an entry, epoch milliseconds: `date`, else `sysTime`, else `dateString`.

    Raises:
        Refused: none of them, a `date` in seconds, a text without a zone.
    """
    date = item.get("date")
    if date is not None and date != "":
        number = _number(date, "date")
        if not number.is_finite() or not 0 < number < _LARGEST_MS:
            raise Refused("date is not an instant in milliseconds")
        if number < _SMALLEST_MS:
            raise Refused("date is not in milliseconds (in seconds, by its size)")
        return int(number)
    for name in ("sysTime", "dateString"):
        text = item.get(name)
        if text is not None and text != "":
            return (_instant(text, name) - EPOCH) // timedelta(milliseconds=1)
    raise Refused("no date")


def _instant(text: object, what: str) -> datetime:
    match = _TIME.fullmatch(text) if type(text) is str else None
    if match is None:
        raise Refused(f"{what} is not an ISO 8601 time with a zone")
    day, clock, zone = match.groups()
    try:
        return datetime.fromisoformat(f"{day}T{clock}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(f"{what} is not a date and time that exist") from None


def _number(value: object, what: str) -> Decimal:
    """A number, or the same as text, in the shortest writing: 109.0 and 109 are one content."""
    if type(value) is str and len(value) <= _LONGEST_NUMBER and _NUMBER.fullmatch(value.strip()) is not None:
        value = Decimal(value.strip())
    if type(value) is not Decimal:
        raise Refused(f"{what} is not a number")
    number = value
    if not number.is_finite() or abs(number.adjusted()) > 15:
        raise Refused(f"{what} is not a number of ordinary size")
    return Decimal(int(number)) if number == int(number) else number.normalize()


def _record(item: Mapping[str, object], type_: str, date_ms: int, name: str | None) -> ReportedRecord:
    units = item.get("units")
    if type(units) is str and units.lower().startswith("mmol"):
        raise Refused("an entry is in mg/dL; this one says mmol", QuarantineReason.UNSUPPORTED)
    at = EPOCH + timedelta(milliseconds=date_ms)
    key = derived_key(type_, date_ms)
    if name is not None and name != object_id(key, at):
        try:
            key = named_key(name)
        except MalformedFrame as error:
            raise Refused(str(error)) from None
    metric = _METRICS[type_]
    status: tuple[str, ...] = ()
    is_withdrawn = item.get("isValid") is False
    if is_withdrawn:
        measurement = ReportedMeasurement(metric, None, None)
    elif item.get(type_) is None:
        raise Refused(f"{type_} is missing")
    else:
        measurement, status = _measurement(metric, _number(item[type_], type_), item.get("device"))
    return ReportedRecord(key, 0, at, (measurement,), _context(item, status), is_withdrawn)


def _measurement(metric: Metric, number: Decimal, device: object) -> tuple[ReportedMeasurement, tuple[str, ...]]:
    if metric is Metric.GLUCOSE_INTERSTITIAL:
        is_marker = number == _XDRIP_ERROR and type(device) is str and device.startswith("xDrip")
        if number == _LOW:
            return ReportedMeasurement(metric, _LOW_LIMIT, Unit.MG_DL, BoundKind.BELOW), ()
        if number == _HIGH:
            return ReportedMeasurement(metric, _HIGH_LIMIT, Unit.MG_DL, BoundKind.ABOVE), ()
        if number < _FIRST_GLUCOSE or is_marker:
            if number < 0 or number != int(number):
                raise Refused("sgv is neither mg/dL nor a code of the sensor", QuarantineReason.IMPLAUSIBLE)
            return ReportedMeasurement(metric, None, None, absent=Absent.UNTRUSTWORTHY), (f"{_CODE}{number}",)
    return ReportedMeasurement(metric, number, Unit.MG_DL), ()


def _context(item: Mapping[str, object], status: tuple[str, ...]) -> Context:
    """What stands around the value; what is not understood there does not keep a reading out."""
    direction = _text(item.get("direction"), 32)
    trend = _whole(item.get("trend"), 1, 9)
    if direction is None and trend is not None:
        direction = direction_of_number(trend)
    return Context(
        status=status,
        trend_arrow=direction,
        noise_level=_whole(item.get("noise"), 0, 5),
        recorded_by=_text(item.get("device"), 64) or _text(item.get("app"), 64),
    )


def _text(value: object, longest: int) -> str | None:
    if type(value) is not str:
        return None
    return "".join([letter for letter in value if letter.isprintable()])[:longest].strip() or None


def _whole(value: object, lowest: int, highest: int) -> int | None:
    if value is None:
        return None
    try:
        number = _number(value, "")
    except Refused:
        return None
    return int(number) if number == int(number) and lowest <= number <= highest else None


def is_entry(reading: Reading) -> bool:
    """Whether followers are told of it: glucose at a known time that is a number, a bound or a sensor's code."""
    if reading.metric not in _METRICS.values() or reading.time_quality is TimeQuality.UNKNOWN:
        return False
    return not reading.context.is_control_solution and _told(reading) is not None


def entry_of(stored: StoredReading) -> dict[str, object]:
    """The v1 document of a glucose reading: texts, whole numbers and, where the source sent decimals, a `Decimal`.

    What was measured in another unit is told as whole mg/dL, as uploaders do. A reading without anything to tell
    (`is_entry` is false) gives a document without `sgv` and `mbg`. The bounds of a sensor are told as the number just
    beyond them, 39 and 401 where it said no limit: read again they are the same bounds for 40 and 400.

    Raises:
        ValueError: the metric is no glucose.
    """
    reading, context = stored.reading, stored.reading.context
    type_ = type_word(reading.metric)
    date_ms = (reading.effective_at - EPOCH) // timedelta(milliseconds=1)
    instant = (EPOCH + timedelta(milliseconds=date_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    document: dict[str, object] = {
        "_id": id_of(reading),
        "type": type_,
        "date": date_ms,
        "dateString": instant,
        "sysTime": instant,
        "utcOffset": reading.utc_offset_min,
        "device": context.recorded_by or reading.device_id,
    }
    if (number := _told(reading)) is not None:
        document[type_] = number
    if type_ == "sgv":
        document["direction"] = context.trend_arrow or arrow_of(context.trend_mg_dl_min)
        if context.noise_level is not None:
            document["noise"] = context.noise_level
    if (given := given_identifier(reading.record_key)) is not None:
        document["identifier"] = given
    return document


def entry_v3_of(stored: StoredReading) -> dict[str, object]:
    """The v3 document of a glucose reading; one that was withdrawn is told as `isValid: false`, without a value.

    `srvCreated` and `srvModified` are both the reception of the version that counts: earlier ones are not looked at.

    Raises:
        ValueError: the metric is no glucose.
    """
    document = entry_of(stored)
    del document["_id"]
    received_ms = (stored.reading.received_at - EPOCH) // timedelta(milliseconds=1)
    return document | {
        "identifier": record_identifier(stored.reading),
        "app": APP,
        "isValid": stored.reading.absent is not Absent.WITHDRAWN,
        "srvCreated": received_ms,
        "srvModified": received_ms,
    }


def _told(reading: Reading) -> int | Decimal | None:
    """The number of `sgv` or `mbg`; None: nothing to tell."""
    if reading.bound is not None:
        return _beyond(reading.bound)
    if reading.value is None:
        codes = [word[len(_CODE) :] for word in reading.context.status if word.startswith(_CODE)]
        return int(codes[0]) if reading.absent is Absent.UNTRUSTWORTHY and codes and codes[0].isdecimal() else None
    if reading.original_unit is Unit.MG_DL and reading.value != int(reading.value):
        return reading.value
    return round(reading.value)


def _beyond(bound: Bound) -> int:
    if bound.kind is BoundKind.BELOW:
        return round(bound.limit or _LOW_LIMIT) - 1
    return round(bound.limit or _HIGH_LIMIT) + 1
