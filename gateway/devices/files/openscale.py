"""openScale: the CSV export of one user, of version 2 (`dateTime`, lower-case titles) and 3 (`DATE`, `TIME`).

Version 2 writes kg and per cent; version 3 writes each value in the unit that the user chose in the app, without naming
it, so that pounds must be told (`--mass-unit lb`). 0 means "not measured". Times are the phone's wall clock.

Source: oliexdev/openScale, `ImportExportUseCases.kt` and `MeasurementTypeKey` (version 3); its wiki for version 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.devices.files.local_times import RecordNames, parse_local
from gateway.devices.files.shape import FileContents, FileFormat, FileOptions, FileRow, FileSource
from gateway.devices.files.table import Cells, find_header, number, rows_after
from gateway.devices.files.weigh_ins import Weighed, weigh_in_records
from gateway.devices.passerelle_fields import Refused
from gateway.model import DeviceKind, Metric, QuarantineReason, Unit
from gateway.normalise.reported import Problem

__all__ = ["OPENSCALE"]

_SOURCE = FileSource(None, DeviceKind.BODY_COMPOSITION_ANALYSER, "openScale")
_MASS = None
"""In place of a unit: the one of the options."""
_COLUMNS: dict[str, tuple[Metric, Unit | None, bool]] = {
    "weight": (Metric.BODY_MASS, _MASS, False),
    "fat": (Metric.BODY_FAT_PERCENTAGE, Unit.PERCENT, True),
    "body_fat": (Metric.BODY_FAT_PERCENTAGE, Unit.PERCENT, True),
    "water": (Metric.BODY_WATER_PERCENTAGE, Unit.PERCENT, True),
    "muscle": (Metric.MUSCLE_PERCENTAGE, Unit.PERCENT, True),
    "lbm": (Metric.FAT_FREE_MASS, _MASS, True),
    "bone": (Metric.BONE_MASS, _MASS, True),
    "waist": (Metric.WAIST_CIRCUMFERENCE, Unit.CM, False),
    "visceralfat": (Metric.VISCERAL_FAT_RATING, Unit.ONE, True),
    "visceral_fat": (Metric.VISCERAL_FAT_RATING, Unit.ONE, True),
    "heart_rate": (Metric.HEART_RATE, Unit.PER_MIN, False),
    "bmi": (Metric.BODY_MASS_INDEX, Unit.KG_M2, True),
}


def _is_header(names: Sequence[str]) -> bool:
    titles = [name.lower() for name in names]
    is_dated = "datetime" in titles or ("date" in titles and "time" in titles)
    return is_dated and "weight" in titles and ("lbm" in titles or "bmi" in titles or "visceralfat" in titles)


def _recognises(text: str) -> bool:
    return find_header(text, _is_header) is not None


def _parse(text: str, options: FileOptions) -> FileContents:
    header = find_header(text, _is_header)
    if header is None:
        raise Refused("not an openScale export: a date and weight are missing from its titles")
    at = {title.lower(): index for index, title in enumerate(header.names)}
    names = RecordNames()
    rows: list[FileRow] = []
    for row in rows_after(text, header):
        stamp = row.at(at["datetime"]) if "datetime" in at else f"{row.at(at['date'])} {row.at(at['time'])}"
        time = parse_local(stamp, options.date_order or "dmy")
        if time is None:
            rows.append(_bad(row, "its time is none"))
            continue
        try:
            values = list(_values(row, at, options.mass_unit))
        except Refused as error:
            rows.append(_bad(row, str(error)))
            continue
        records = weigh_in_records(names.name("weighin", time, row.at(at["weight"])), time, values)
        rows.append(
            FileRow(row.line, _SOURCE, records, None, row.raw) if records else _bad(row, "nothing was measured")
        )
    return FileContents(tuple(rows))


def _values(row: Cells, at: dict[str, int], mass_unit: Unit) -> Iterator[Weighed]:
    for title, (metric, unit, is_derived) in _COLUMNS.items():
        text = row.at(at.get(title))
        if not text:
            continue
        value = number(text)
        if value is None:
            raise Refused(f"{title} is no number")
        yield Weighed(metric, value, unit or mass_unit, is_derived)


def _bad(row: Cells, what: str) -> FileRow:
    return FileRow(row.line, _SOURCE, (), Problem(QuarantineReason.MALFORMED, what), row.raw)


OPENSCALE = FileFormat("openscale", "openScale", _recognises, _parse)
