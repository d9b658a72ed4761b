"""LibreView: the CSV export of Abbott's portal (FreeStyle Libre sensors, readers and phones).

A title line, then 19 columns, which keep their places in every language of the account; the unit is part of the titles.
Record types: 0 sensor value every 15 minutes, 1 scan, 2 strip, 3 ketone, 4 insulin, 5 food, 6 event. Times are the
account's wall clock to the minute, day or month first. Abbott publishes no description.

Source: the uploader of Tidepool (`libreViewDriver`), the exporter of Juggluco (`libreviewexport.cpp`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from gateway.devices.files.glucose_cell import glucose_measurement, glucose_unit
from gateway.devices.files.local_times import RecordNames, WallClock, date_order_of, parse_local
from gateway.devices.files.shape import FileContents, FileFormat, FileOptions, FileRow, FileSource
from gateway.devices.files.table import Cells, find_header, rows_after
from gateway.devices.passerelle_fields import Refused
from gateway.model import Context, DeviceKind, Metric, QuarantineReason, Unit
from gateway.normalise.reported import Problem, ReportedRecord

__all__ = ["LIBREVIEW"]

_DEVICE, _SERIAL, _TIME, _TYPE, _HISTORIC, _SCAN, _STRIP = 0, 1, 2, 3, 4, 5, 14
_FEWEST_COLUMNS = 15
_KINDS = {
    "0": (_HISTORIC, Metric.GLUCOSE_INTERSTITIAL, "historic"),
    "1": (_SCAN, Metric.GLUCOSE_INTERSTITIAL, "scan"),
    "2": (_STRIP, Metric.GLUCOSE_CAPILLARY, "strip"),
}
_IGNORED = {"3": "ketone", "4": "insulin", "5": "food", "6": "note"}


def _is_header(names: Sequence[str]) -> bool:
    return len(names) >= _FEWEST_COLUMNS and all(glucose_unit(names[i]) for i in (_HISTORIC, _SCAN, _STRIP))


def _recognises(text: str) -> bool:
    return find_header(text, _is_header) is not None


def _parse(text: str, options: FileOptions) -> FileContents:
    header = find_header(text, _is_header)
    if header is None:
        raise Refused("not a LibreView export: the line with the names of its columns is missing")
    table = list(rows_after(text, header))
    order = options.date_order or date_order_of(row.at(_TIME) for row in table)
    if order is None:
        raise Refused(
            "no date of the file tells whether the day or the month comes first; give --date-order dmy or mdy"
        )
    names: defaultdict[str, RecordNames] = defaultdict(RecordNames)
    clocks: defaultdict[tuple[str, str], WallClock] = defaultdict(lambda: WallClock(options.zone))
    rows: list[FileRow] = []
    ignored: Counter[str] = Counter()
    sources: dict[FileSource, FileSource] = {}
    contexts: dict[FileSource, Context] = {}
    for row in table:
        kind = row.at(_TYPE)
        if kind not in _KINDS:
            ignored[_IGNORED.get(kind, "other")] += 1
            continue
        column, metric, word = _KINDS[kind]
        source = FileSource(row.at(_SERIAL) or None, DeviceKind.CGM, row.at(_DEVICE) or "FreeStyle Libre")
        source = sources.setdefault(source, source)
        unit = glucose_unit(header.names[column]) or Unit.MG_DL
        time = parse_local(row.at(_TIME), order)
        measurement = glucose_measurement(metric, row.at(column), unit)
        if time is None or measurement is None:
            what = "its time is none" if time is None else f"its {word} glucose is no number"
            rows.append(_bad(row, source, what))
            continue
        serial = source.name or ""
        placed = clocks[serial, kind].place(time)
        name = names[serial].name(word, placed, row.at(column))
        context = contexts.setdefault(source, Context(recorded_by=_printable(source.title)))
        record = ReportedRecord(name, 0, placed, (measurement,), context)
        rows.append(FileRow(row.line, source, (record,), None, row.raw))
    return FileContents(tuple(rows), dict(ignored))


def _printable(title: str) -> str | None:
    return "".join([letter for letter in title if letter.isprintable()])[:64].strip() or None


def _bad(row: Cells, source: FileSource, what: str) -> FileRow:
    return FileRow(row.line, source, (), Problem(QuarantineReason.MALFORMED, what), row.raw)


LIBREVIEW = FileFormat("libreview", "LibreView (Abbott)", _recognises, _parse)
