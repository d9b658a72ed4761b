"""Dexcom Clarity: the CSV export (G5, G6, G7, ONE).

The columns keep their places in every language. Rows without a time describe the person and the device. `EGV` rows are
sensor values, `Calibration` rows finger-sticks that were typed in; words stand for beyond 40 or 400 mg/dL. Times are
the display's wall clock; the transmitter's own seconds, where they are there, name a value whatever the display showed.

Source: Dexcom, Clarity user guide, "Export data"; the reader of GlucoseDAO (`cgm_format`).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from gateway.devices.files.glucose_cell import glucose_measurement, glucose_unit
from gateway.devices.files.local_times import RecordNames, WallClock, parse_local
from gateway.devices.files.shape import FileContents, FileFormat, FileOptions, FileRow, FileSource
from gateway.devices.files.table import find_header, number, rows_after
from gateway.devices.passerelle_fields import Refused
from gateway.model import Context, DeviceKind, Metric, QuarantineReason, Unit
from gateway.normalise.reported import NO_CONTEXT, Problem, ReportedRecord

__all__ = ["CLARITY"]

_TIME, _TYPE, _SOURCE, _GLUCOSE, _RATE, _SECONDS, _TRANSMITTER = 1, 2, 6, 7, 11, 12, 13
_FEWEST_COLUMNS = 8
_PATTERN = re.compile(r"\(.{4}-.{2}-.{2}.hh:mm:ss\)", re.IGNORECASE)
_TYPES = {"egv": Metric.GLUCOSE_INTERSTITIAL, "calibration": Metric.GLUCOSE_CAPILLARY}
_TYPED_IN = Context(status=("entered_for_calibration",))


def _is_header(names: Sequence[str]) -> bool:
    if len(names) < _FEWEST_COLUMNS or glucose_unit(names[_GLUCOSE]) is None:
        return False
    return _PATTERN.search(names[_TIME]) is not None


def _recognises(text: str) -> bool:
    return find_header(text, _is_header) is not None


def _parse(text: str, options: FileOptions) -> FileContents:
    header = find_header(text, _is_header)
    if header is None:
        raise Refused("not a Clarity export: the line with the names of its columns is missing")
    unit = glucose_unit(header.names[_GLUCOSE]) or Unit.MG_DL
    has_rate = len(header.names) > _RATE and "/min" in header.names[_RATE] and unit is Unit.MG_DL
    names: defaultdict[str, RecordNames] = defaultdict(RecordNames)
    clocks: defaultdict[tuple[str, str], WallClock] = defaultdict(lambda: WallClock(options.zone))
    rows: list[FileRow] = []
    ignored: Counter[str] = Counter()
    sources: dict[FileSource, FileSource] = {}
    for row in rows_after(text, header):
        kind = row.at(_TYPE).lower()
        if kind not in _TYPES:
            ignored[re.sub(r"[^a-z]+", "_", kind)[:32] or "other"] += 1
            continue
        transmitter = row.at(_TRANSMITTER)
        source = FileSource(transmitter or row.at(_SOURCE) or None, DeviceKind.CGM, row.at(_SOURCE) or "Dexcom")
        source = sources.setdefault(source, source)
        time = parse_local(row.at(_TIME), "mdy")
        measurement = glucose_measurement(_TYPES[kind], row.at(_GLUCOSE), unit)
        if time is None or measurement is None:
            what = "its time is none" if time is None else "its glucose is no number"
            problem = Problem(QuarantineReason.MALFORMED, what)
            rows.append(FileRow(row.line, source, (), problem, row.raw))
            continue
        device = source.name or ""
        placed = clocks[device, kind].place(time)
        seconds = row.at(_SECONDS)
        if transmitter and seconds.isascii() and seconds.isdigit():
            name = f"{kind}-{seconds}"[:100]
        else:
            name = names[device].name(kind, placed, row.at(_GLUCOSE))
        rate = number(row.at(_RATE)) if has_rate and kind == "egv" else None
        context = NO_CONTEXT if rate is None else Context(trend_mg_dl_min=rate)
        context = context if kind == "egv" else _TYPED_IN
        record = ReportedRecord(name, 0, placed, (measurement,), context)
        rows.append(FileRow(row.line, source, (record,), None, row.raw))
    return FileContents(tuple(rows), dict(ignored))


CLARITY = FileFormat("clarity", "Dexcom Clarity", _recognises, _parse)
