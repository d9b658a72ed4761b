"""Glooko (and diasend): the tables `cgm_data_*.csv` and `bg_data_*.csv` of its export.

A line with the person's name and the period, then the titles. Times are wall clock; the unit is in the title.

Source: Glooko, "Export data" (help centre); the readers of open tools for the archive's files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from gateway.devices.files.glucose_cell import glucose_measurement, glucose_unit
from gateway.devices.files.local_times import RecordNames, WallClock, date_order_of, parse_local
from gateway.devices.files.shape import FileContents, FileFormat, FileOptions, FileRow, FileSource
from gateway.devices.files.table import find_header, rows_after
from gateway.devices.passerelle_fields import Refused
from gateway.model import Context, DeviceKind, Metric, QuarantineReason, Unit
from gateway.normalise.reported import NO_CONTEXT, Problem, ReportedRecord

__all__ = ["GLOOKO"]

_SENSOR, _METER = "cgm glucose value", "glucose value"
_TYPED_IN = Context(status=("typed_in",))


def _column(names: Sequence[str]) -> int | None:
    for index, name in enumerate(names):
        if name.lower().startswith((_SENSOR, _METER)) and glucose_unit(name) is not None:
            return index
    return None


def _is_header(names: Sequence[str]) -> bool:
    return bool(names) and names[0].lower() == "timestamp" and _column(names) is not None


def _recognises(text: str) -> bool:
    return find_header(text, _is_header) is not None


def _parse(text: str, options: FileOptions) -> FileContents:
    header = find_header(text, _is_header)
    column = None if header is None else _column(header.names)
    if header is None or column is None:
        raise Refused("not a table of a Glooko export: Timestamp and Glucose Value are missing from its titles")
    titles = [name.lower() for name in header.names]
    is_sensor = titles[column].startswith(_SENSOR)
    metric = Metric.GLUCOSE_INTERSTITIAL if is_sensor else Metric.GLUCOSE_CAPILLARY
    kind = DeviceKind.CGM if is_sensor else DeviceKind.GLUCOSE_METER
    unit = glucose_unit(header.names[column]) or Unit.MG_DL
    serial_at = titles.index("serial number") if "serial number" in titles else None
    manual_at = titles.index("manual reading") if "manual reading" in titles else None
    table = list(rows_after(text, header))
    order = options.date_order or date_order_of(row.at(0) for row in table)
    if order is None and any(row.at(0)[4:5] not in ("-", "/") for row in table):
        raise Refused(
            "no date of the file tells whether the day or the month comes first; give --date-order dmy or mdy"
        )
    if len(table) > 1:
        ends = [parse_local(row.at(0), order or "dmy") for row in (table[0], table[-1])]
        if ends[0] is not None and ends[1] is not None and ends[0] > ends[1]:
            table.reverse()  # the newest first: time runs forward from here on
    names: defaultdict[str, RecordNames] = defaultdict(RecordNames)
    clocks: defaultdict[str, WallClock] = defaultdict(lambda: WallClock(options.zone))
    rows: list[FileRow] = []
    sources: dict[FileSource, FileSource] = {}
    for row in table:
        serial = row.at(serial_at)
        source = FileSource(serial or None, kind, "Glooko")
        source = sources.setdefault(source, source)
        time = parse_local(row.at(0), order or "dmy")
        measurement = glucose_measurement(metric, row.at(column), unit)
        if time is None or measurement is None:
            what = "its time is none" if time is None else "its glucose is no number"
            rows.append(FileRow(row.line, source, (), Problem(QuarantineReason.MALFORMED, what), row.raw))
            continue
        placed = clocks[serial].place(time)
        name = names[serial].name("cgm" if is_sensor else "bg", placed, row.at(column))
        context = _TYPED_IN if row.at(manual_at).lower() in ("m", "true", "yes", "1") else NO_CONTEXT
        record = ReportedRecord(name, 0, placed, (measurement,), context)
        rows.append(FileRow(row.line, source, (record,), None, row.raw))
    return FileContents(tuple(rows))


GLOOKO = FileFormat("glooko", "Glooko", _recognises, _parse)
