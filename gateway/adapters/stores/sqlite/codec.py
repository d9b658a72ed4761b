"""Readings as the tables hold them, exactly; the way back is in `decoding`.

A reading becomes a flat row of parameters. It is made on the caller's side; the writer thread only strings the
rows of a group together.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from gateway.errors import PermanentError
from gateway.model import (
    Context,
    DeviceId,
    Metric,
    Provenance,
    Reading,
    TimeMethod,
    TimeQuality,
    Unit,
)

__all__ = [
    "METHOD_CODES",
    "METRIC_CODES",
    "METRIC_OF_CODE",
    "QUALITY_CODES",
    "READING_COLUMNS",
    "TIMING_CODES",
    "UNIT_CODES",
    "ParameterRow",
    "ReadingRow",
    "Series",
    "compact",
    "day_number",
    "day_of",
    "encode_reading",
    "instant",
    "micros",
    "optional_instant",
    "optional_micros",
]

METRIC_CODES: dict[Metric, int] = {
    Metric.GLUCOSE_CAPILLARY: 1,
    Metric.GLUCOSE_INTERSTITIAL: 2,
    Metric.BODY_MASS: 3,
    Metric.BODY_MASS_INDEX: 4,
    Metric.BODY_HEIGHT: 5,
    Metric.BODY_FAT_PERCENTAGE: 6,
    Metric.BASAL_METABOLISM: 7,
    Metric.MUSCLE_PERCENTAGE: 8,
    Metric.MUSCLE_MASS: 9,
    Metric.FAT_FREE_MASS: 10,
    Metric.SOFT_LEAN_MASS: 11,
    Metric.BODY_WATER_MASS: 12,
    Metric.IMPEDANCE: 13,
    Metric.BLOOD_PRESSURE_SYSTOLIC: 14,
    Metric.BLOOD_PRESSURE_DIASTOLIC: 15,
    Metric.BLOOD_PRESSURE_MEAN: 16,
    Metric.HEART_RATE: 17,
    Metric.OXYGEN_SATURATION: 18,
    Metric.BODY_TEMPERATURE: 19,
    Metric.BODY_WATER_PERCENTAGE: 20,
    Metric.BONE_MASS: 21,
    Metric.PROTEIN_PERCENTAGE: 22,
    Metric.VISCERAL_FAT_RATING: 23,
    Metric.WAIST_CIRCUMFERENCE: 24,
    Metric.BODY_FAT_MASS: 25,
    Metric.IMPEDANCE_250_KHZ: 26,
}
"""Numbers on disk: never renumbered, never reused."""

UNIT_CODES: dict[Unit, int] = {
    Unit.MG_DL: 1,
    Unit.MMOL_L: 2,
    Unit.G_L: 3,
    Unit.KG: 4,
    Unit.LB: 5,
    Unit.JIN: 6,
    Unit.KG_M2: 7,
    Unit.PERCENT: 8,
    Unit.CM: 9,
    Unit.M: 10,
    Unit.INCH: 11,
    Unit.OHM: 12,
    Unit.KJ: 13,
    Unit.KCAL: 14,
    Unit.MMHG: 15,
    Unit.KPA: 16,
    Unit.PER_MIN: 17,
    Unit.CELSIUS: 18,
    Unit.FAHRENHEIT: 19,
    Unit.ONE: 20,
}
"""Numbers on disk, likewise."""

QUALITY_CODES: dict[TimeQuality, int] = {
    TimeQuality.DEVICE: 0,
    TimeQuality.CORRECTED: 1,
    TimeQuality.RECEIVED: 2,
    TimeQuality.UNKNOWN: 3,
}
"""Numbers on disk, likewise."""

METHOD_CODES: dict[TimeMethod | None, int] = {
    None: 0,
    TimeMethod.CLOCK_CHECKED: 1,
    TimeMethod.CLOCK_UNCHECKED: 2,
    TimeMethod.CLOCK_AMBIGUOUS: 3,
    TimeMethod.SOURCE_INSTANT: 4,
    TimeMethod.SESSION: 5,
    TimeMethod.OFFSET_MEASURED: 6,
    TimeMethod.SEGMENT: 7,
    TimeMethod.RECEPTION: 8,
    TimeMethod.RECEPTION_REPAIRED: 9,
    TimeMethod.NEIGHBOURS: 10,
    TimeMethod.NOTHING: 11,
}
"""Numbers on disk, likewise. The column `time_quality` holds quality + 4 x method."""

TIMING_CODES = {
    (quality, method): number + len(QUALITY_CODES) * way
    for quality, number in QUALITY_CODES.items()
    for method, way in METHOD_CODES.items()
}

METRIC_OF_CODE = {code: metric for metric, code in METRIC_CODES.items()}

READING_COLUMNS = (
    "row_id, series, person, record_key, effective_at, utc_offset_min, time_quality, received_at, provenance,"
    " value, original_value, original_unit, device_time, extra, raw_id"
)

ReadingRow = tuple[
    int, int, int, str, int, int, int, int, int, str | None, str | None, int | None, int | None, str | None, int | None
]
"""One row of `READING_COLUMNS`."""

ParameterRow = tuple[
    str,
    int,
    int,
    str,
    int,
    int,
    int,
    int,
    int,
    str,
    str | None,
    str | None,
    int | None,
    int | None,
    str | None,
    int | None,
]
"""Device, epoch, metric, record key, effective_at, digest, UTC offset, time quality, received_at, provenance, value,
original value, original unit, device time, extra, frame number."""

Series = tuple[DeviceId, int, Metric]
"""Device, epoch, metric: what a record key is unique in."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the device's own wall clock has no zone
_DAY_ZERO = date(1970, 1, 1)
_DEFAULT_CONTEXT: object = next(field.default for field in fields(Reading) if field.name == "context")
_CONTEXT_DEFAULTS = {field.name: field.default for field in fields(Context)}
_PRINTABLE = re.compile(r"[!-~]{1,128}")


def micros(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime, exact."""
    span = moment - _EPOCH
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds


def instant(microseconds: int) -> datetime:
    """The inverse of `micros`, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def optional_micros(moment: datetime | None) -> int | None:
    """`micros`, letting None through."""
    return None if moment is None else micros(moment)


def optional_instant(microseconds: int | None) -> datetime | None:
    """`instant`, letting None through."""
    return None if microseconds is None else instant(microseconds)


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - _DAY_ZERO).days


def day_of(number: int) -> date:
    """The inverse of `day_number`."""
    return _DAY_ZERO + timedelta(days=number)


def compact(value: object) -> str:
    """JSON without spaces, in ASCII, so that any Python string survives SQLite."""
    return json.dumps(value, separators=(",", ":"))


@lru_cache(maxsize=1024)
def _checked(what: str, text: str) -> str:
    if not _PRINTABLE.fullmatch(text):
        raise PermanentError(f"a {what} is 1 to 128 printable ASCII characters without spaces")
    return text


def encode_reading(reading: Reading, frame_number: int | None) -> ParameterRow:
    """The parameters of one reading, in the order that the writing statement expects.

    The digest covers what the device said: value, bound or absence, the value as sent, context, the device's own time,
    and the instant where the source itself named it. It leaves out what belongs to the contact: reception, provenance,
    raw payload, and where the gateway placed the device's own time (clock offset, zone). Reading a meter's memory a
    second time, after its clock was set or drifted, is therefore no correction.

    Raises:
        PermanentError: a record key, device id or decoder name that cannot be stored.
    """
    device_id = _checked("device id", reading.device_id)
    provenance = reading.provenance
    origin = f"{provenance.source}:{_checked('decoder name', provenance.decoder)}"
    record_key = reading.record_key
    if not _PRINTABLE.fullmatch(record_key):
        raise PermanentError("a record key is 1 to 128 printable ASCII characters without spaces")
    value = None if reading.value is None else str(reading.value)
    original_value = None if reading.original_value is None else str(reading.original_value)
    original_unit = None if reading.original_unit is None else UNIT_CODES[reading.original_unit]
    extra = None if reading.context is _DEFAULT_CONTEXT and value is not None else _extra(reading)
    effective_at = micros(reading.effective_at)
    quality = reading.time_quality
    if reading.device_time is None:
        device_time = None
        is_named = quality is TimeQuality.DEVICE
        said = f"{value} {original_value} {original_unit} {effective_at if is_named else None} @ {extra}"
    else:
        span = reading.device_time - _NAIVE_EPOCH
        device_time = (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
        said = f"{value} {original_value} {original_unit} {device_time} {extra}"
    return (
        device_id,
        reading.epoch,
        METRIC_CODES[reading.metric],
        record_key,
        effective_at,
        int.from_bytes(hashlib.blake2b(said.encode(), digest_size=8).digest(), "big") >> 1,
        reading.utc_offset_min,
        TIMING_CODES[quality, reading.time_method],
        micros(reading.received_at),
        _marked(origin, provenance) if provenance.is_retained or provenance.is_unconfirmed else origin,
        value,
        original_value,
        original_unit,
        device_time,
        extra,
        frame_number,
    )


def _marked(origin: str, provenance: Provenance) -> str:
    if provenance.is_unconfirmed:
        origin = f"unconfirmed {origin}"
    return f"retained {origin}" if provenance.is_retained else origin


def _extra(reading: Reading) -> str | None:
    extra: dict[str, object] = {}
    if reading.bound is not None:
        limit = reading.bound.limit
        extra["bound"] = [reading.bound.kind.value, None if limit is None else str(limit)]
    if reading.absent is not None:
        extra["absent"] = reading.absent.value
    if reading.context is not _DEFAULT_CONTEXT:
        for name, default in _CONTEXT_DEFAULTS.items():
            said = getattr(reading.context, name)
            if said != default:
                extra[name] = str(said) if isinstance(said, Decimal) else said
    return compact(extra) if extra else None
