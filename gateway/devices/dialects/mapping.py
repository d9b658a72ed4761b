"""What nobody has written a dialect for: the configuration says where in the message the number stands.

A path is dotted: `sensor.0.weight` is the key `sensor`, its first item, there the key `weight`. The empty path is the
payload itself: a bare number, or a JSON number or text. A key with a dot in it cannot be reached.

Numbers are JSON numbers or texts that are one. A text may have a decimal comma (`"71,3"` is 71.3) and spaces around it;
thousands are not separated. `true`, `NaN`, `unknown`, `unavailable` and the like are no numbers: such a message is set
aside with a reason. `null` and a path that leads nowhere are "not in this message"; when a message holds none of the
mapped values, it is set aside, since somebody has said that it would.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Literal

from gateway.devices.dialects._fields import no_address, problem_of, user_hint, whole_number
from gateway.devices.dialects.shape import Dialect, Message, Said, Untimed
from gateway.devices.passerelle_fields import Refused, read_decimal, record_key_from, strict_json
from gateway.model import Context, Metric, QuarantineReason, Unit
from gateway.normalise.reported import Problem, ReportedMeasurement, ReportedRecord

__all__ = ["TIME_FORMATS", "MappedValue", "Mapping", "TimeFormat", "mapping_dialect", "path_parts"]

TimeFormat = Literal["iso", "local", "epoch_s", "epoch_ms"]
TIME_FORMATS: tuple[TimeFormat, ...] = ("iso", "local", "epoch_s", "epoch_ms")

_MISSING = object()
_INDEX = re.compile(r"0|[1-9][0-9]{0,3}")
_COMMA = re.compile(r"-?[0-9]+,[0-9]+", re.ASCII)
_RECORD = re.compile(r"[!-~]{1,128}")
_TIME = re.compile(
    r"([12][0-9]{3}-[0-9]{2}-[0-9]{2})[T ]"
    r"([0-2][0-9]:[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?)"
    r"(Z|[+-][0-2][0-9]:?[0-5][0-9])?"
)
_SECONDS = re.compile(r"[0-9]{1,13}(?:\.[0-9]{1,9})?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_S = Decimal(4_102_444_800)
"""2100-01-01."""
_UNIT_WORDS: dict[str, Unit] = {unit.value.lower(): unit for unit in Unit} | {
    "kgs": Unit.KG,
    "lbs": Unit.LB,
    "catty": Unit.JIN,
    "percent": Unit.PERCENT,
    "ohms": Unit.OHM,
    "ω": Unit.OHM,
    "bpm": Unit.PER_MIN,
    "beats/min": Unit.PER_MIN,
    "c": Unit.CELSIUS,
    "°c": Unit.CELSIUS,
    "f": Unit.FAHRENHEIT,
    "°f": Unit.FAHRENHEIT,
    "kg/m²": Unit.KG_M2,
}


@dataclass(frozen=True, slots=True)
class MappedValue:
    """One number of the message.

    Attributes:
        metric: what it measures.
        path: where it stands.
        unit: in which it is sent; None: `unit_path` says it.
        unit_path: where its unit stands.
    """

    metric: Metric
    path: str = ""
    unit: Unit | None = None
    unit_path: str | None = None


@dataclass(frozen=True, slots=True)
class Mapping:
    """What the configuration says about the messages of some topics.

    Attributes:
        topic: MQTT topic filter.
        values: at least one, each metric once.
        time_path: where the time of the measurement stands; None: nowhere.
        time_format: `iso`: date and time, with an offset an instant, without one the device's wall clock; `local`: the
            same, and an offset that is there is not believed; `epoch_s`, `epoch_ms`: since 1970, UTC.
        record_path: where the source's own name of the record stands; None: nowhere.
        user_path: where a name of the user stands; a hint only.
        is_partial: other values of the same measurement come on other topics.
    """

    topic: str
    values: tuple[MappedValue, ...]
    time_path: str | None = None
    time_format: TimeFormat = "iso"
    record_path: str | None = None
    user_path: str | None = None
    is_partial: bool = False


def mapping_dialect(mapping: Mapping) -> Dialect:
    """The dialect of one mapping; its `decode` is total like that of any other."""
    return Dialect(
        name="mapping",
        title=f"mapping of {mapping.topic}",
        topics=(mapping.topic,),
        address_of=no_address,
        decode=partial(_decode, mapping),
    )


def path_parts(path: str) -> tuple[str, ...]:
    """The steps of a path.

    Raises:
        ValueError: one of them is empty.
    """
    if not path:
        return ()
    parts = tuple(path.split("."))
    if not all(parts):
        raise ValueError(f"the path {path!r} has an empty step")
    return parts


def _decode(mapping: Mapping, message: Message) -> Said:
    if not message.payload:  # removes a retained message
        return Said()
    try:
        document = _document(mapping, message.payload)
        time = _time_of(mapping, document)
        record = _record_of(mapping, document)
    except Refused as error:
        return Said(problems=(problem_of(error),))
    measurements: list[ReportedMeasurement] = []
    problems: list[Problem] = []
    for value in mapping.values:
        try:
            measurement = _measurement(value, document)
        except Refused as error:
            problems.append(problem_of(error))
        else:
            if measurement is not None:
                measurements.append(measurement)
    if not measurements:
        nothing = Problem(QuarantineReason.UNSUPPORTED, "none of the mapped values is in the message")
        return Said(problems=tuple(problems) or (nothing,))
    user = user_hint(_at(document, mapping.user_path)) if mapping.user_path is not None else None
    if record is None and time is None:
        untimed = Untimed(tuple(measurements), Context(user_name=user), mapping.is_partial)
        return Said(untimed=(untimed,), problems=tuple(problems))
    key = record or record_key_from(time or _EPOCH)
    reported = ReportedRecord(key, 0, time, tuple(measurements), Context(user_name=user))
    return Said((reported,), problems=tuple(problems))


def _document(mapping: Mapping, payload: bytes) -> object:
    """JSON where a path goes into it; else the text of the payload, or the JSON value that it is."""
    paths = [path for value in mapping.values for path in (value.path, value.unit_path)]
    if any((*paths, mapping.time_path, mapping.record_path, mapping.user_path)):
        return strict_json(payload)
    if payload[:1] == b'"':
        return strict_json(payload)
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("not UTF-8 text") from None


def _at(document: object, path: str) -> object:
    """What stands at a path; `_MISSING` when it leads nowhere."""
    for part in path_parts(path):
        if type(document) is dict:
            document = document.get(part, _MISSING)
        elif type(document) is list and _INDEX.fullmatch(part) is not None and int(part) < len(document):
            document = document[int(part)]
        else:
            return _MISSING
    return document


def _measurement(value: MappedValue, document: object) -> ReportedMeasurement | None:
    name = value.metric.value
    found = _at(document, value.path)
    if found is None or found is _MISSING:
        return None
    number = _number(found, name)
    unit = value.unit
    if unit is None:
        word = _at(document, value.unit_path or "")
        unit = _UNIT_WORDS.get(word.strip().lower()) if type(word) is str else None
        if unit is None or unit not in value.metric.info.units:
            raise Refused(f"the unit of {name} is none that measures it", QuarantineReason.UNSUPPORTED)
    return ReportedMeasurement(value.metric, number, unit)


def _number(value: object, what: str) -> Decimal:
    if type(value) is str:
        value = value.strip()
        if _COMMA.fullmatch(value) is not None:
            value = value.replace(",", ".")
    return read_decimal(value, what)


def _record_of(mapping: Mapping, document: object) -> str | None:
    if mapping.record_path is None:
        return None
    found = _at(document, mapping.record_path)
    if type(found) is Decimal:
        found = whole_number(found)
    if type(found) is not str or _RECORD.fullmatch(found) is None:
        raise Refused("no name of a record where record_path says")
    return found


def _time_of(mapping: Mapping, document: object) -> datetime | None:
    if mapping.time_path is None:
        return None
    found = _at(document, mapping.time_path)
    return _READERS[mapping.time_format](found)


def _iso(value: object) -> datetime:
    day, clock, offset = _time_parts(value)
    return _existing(f"{day}T{clock}{offset}")


def _local(value: object) -> datetime:
    day, clock, _ = _time_parts(value)
    return _existing(f"{day}T{clock}")


def _time_parts(value: object) -> tuple[str, str, str]:
    found = _TIME.fullmatch(value.strip()) if type(value) is str else None
    if found is None:
        raise Refused("no date and time where time_path says")
    return found[1], found[2], found[3] or ""


def _existing(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        record_key_from(time)
    except (ValueError, OverflowError):
        raise Refused("the date and time do not exist") from None
    return time


def _epoch(value: object, *, per_second: int) -> datetime:
    if type(value) is str and _SECONDS.fullmatch(value.strip()) is not None:
        value = Decimal(value.strip())
    if type(value) is not Decimal or not 0 <= value < _LATEST_S * per_second:
        raise Refused("no seconds or milliseconds since 1970 where time_path says")
    return _EPOCH + timedelta(microseconds=int(value * 1_000_000 / per_second))


_READERS: dict[TimeFormat, Callable[[object], datetime]] = {
    "iso": _iso,
    "local": _local,
    "epoch_s": partial(_epoch, per_second=1),
    "epoch_ms": partial(_epoch, per_second=1000),
}
