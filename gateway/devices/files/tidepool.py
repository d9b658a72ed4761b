"""Tidepool: the JSON export, a list of records in the platform's data model.

`cbg` are sensor values, `smbg` finger-sticks; each has an `id` and an instant `time`. The platform keeps mmol/L and
divides what a meter told in mg/dL by 18.01559 without rounding: a value with more decimals than any meter shows was
mg/dL, and is taken back to the whole number that it was.

Source: Tidepool platform documentation, data model, `cbg`, `smbg`, annotation `bg/out-of-range`.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

import simplejson

from gateway.devices.files.shape import FileContents, FileFormat, FileOptions, FileRow, FileSource
from gateway.devices.passerelle_fields import Refused, strict_json
from gateway.model import (
    MG_DL_PER_MMOL_L,
    BoundKind,
    Context,
    DeviceKind,
    Metric,
    QuarantineReason,
    Unit,
)
from gateway.normalise.reported import Problem, ReportedMeasurement, ReportedRecord

__all__ = ["TIDEPOOL"]

_METRICS = {"cbg": Metric.GLUCOSE_INTERSTITIAL, "smbg": Metric.GLUCOSE_CAPILLARY}
_KINDS = {"cbg": DeviceKind.CGM, "smbg": DeviceKind.GLUCOSE_METER}
_UNITS = {"mmol/L": Unit.MMOL_L, "mmol/l": Unit.MMOL_L, "mg/dL": Unit.MG_DL, "mg/dl": Unit.MG_DL}
_BOUNDS = {"low": BoundKind.BELOW, "high": BoundKind.ABOVE}
_ID = re.compile(r"[!-~]{1,100}")
_MOST_DECIMALS = 2
_LONGEST_RAW = 65_536
_LOOKED_AT = 4000


def _recognises(text: str) -> bool:
    head = text[:_LOOKED_AT]
    return (
        text.lstrip()[:1] in ("[", "{")
        and '"type"' in head
        and ('"deviceId"' in head or '"uploadId"' in head or '"cbg"' in head or '"smbg"' in head)
        and '"sgv"' not in head
    )


def _parse(text: str, _options: FileOptions) -> FileContents:
    document = strict_json(text.encode("utf-8", "surrogatepass"))
    if isinstance(document, dict):
        document = document.get("data")
    if not isinstance(document, list):
        raise Refused("not a Tidepool export: neither a list of records nor an object with one under data")
    rows: list[FileRow] = []
    ignored: Counter[str] = Counter()
    for position, item in enumerate(document, start=1):
        kind = item.get("type") if isinstance(item, dict) else None
        if not isinstance(item, dict) or not isinstance(kind, str) or kind not in _METRICS:
            ignored[kind if isinstance(kind, str) and kind.isidentifier() and len(kind) < 40 else "other"] += 1
            continue
        device = item.get("deviceId")
        name = device if isinstance(device, str) and device else None
        source = FileSource(name, _KINDS[kind], name[:64] if name is not None and name.isprintable() else "Tidepool")
        raw = simplejson.dumps(item, use_decimal=True)[:_LONGEST_RAW]
        try:
            record = _record(item, kind)
        except Refused as error:
            rows.append(FileRow(position, source, (), Problem(error.reason, str(error)), raw))
        else:
            rows.append(FileRow(position, source, (record,), None, raw))
    return FileContents(tuple(rows), dict(ignored))


def _record(item: dict[str, object], kind: str) -> ReportedRecord:
    identity = item.get("id")
    if not isinstance(identity, str) or _ID.fullmatch(identity) is None:
        raise Refused("id is not 1 to 100 printable ASCII characters without spaces")
    try:
        time = datetime.fromisoformat(str(item.get("time")))
    except ValueError:
        raise Refused("time is not an instant") from None
    if time.tzinfo is None:
        raise Refused("time has no zone")
    unit, value = _UNITS.get(str(item.get("units"))), item.get("value")
    if unit is None:
        raise Refused("units is neither mmol/L nor mg/dL", QuarantineReason.UNSUPPORTED)
    if not isinstance(value, Decimal):
        raise Refused("value is not a number")
    metric = _METRICS[kind]
    bound = _bound(item.get("annotations"))
    exponent = value.as_tuple().exponent
    if unit is Unit.MMOL_L and isinstance(exponent, int) and -exponent > _MOST_DECIMALS and abs(value) < 1000:
        value, unit = (value * MG_DL_PER_MMOL_L).quantize(Decimal(1), ROUND_HALF_EVEN), Unit.MG_DL
    measurement = (
        ReportedMeasurement(metric, value, unit) if bound is None else ReportedMeasurement(metric, None, None, bound)
    )
    typed_in = ("typed_in",) if item.get("subType") == "manual" else ()
    return ReportedRecord(identity, 0, time, (measurement,), Context(status=typed_in))


def _bound(annotations: object) -> BoundKind | None:
    """Beyond the measuring range, where an annotation says so; its threshold is the value itself."""
    if not isinstance(annotations, list):
        return None
    for note in annotations:
        if isinstance(note, dict) and note.get("code") == "bg/out-of-range":
            return _BOUNDS.get(str(note.get("value")))
    return None


TIDEPOOL = FileFormat("tidepool", "Tidepool (JSON)", _recognises, _parse)
