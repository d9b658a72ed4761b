"""Withings: `weight.csv`, `bp.csv` and `height.csv` of the archive that "Download your data" gives.

The unit is in the title; titles are in the account's language. Times are wall clock. Fat mass is kept as such; nothing
is made a percentage. The blood-pressure file holds heart rates without pressures, too.

Source: Withings, help centre, "How do I export my data?"; titles as in published exports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from gateway.devices.files.local_times import RecordNames, parse_local
from gateway.devices.files.shape import FileContents, FileFormat, FileOptions, FileRow, FileSource
from gateway.devices.files.table import Cells, find_header, number, rows_after
from gateway.devices.files.weigh_ins import Weighed, weigh_in_records
from gateway.devices.passerelle_fields import Refused
from gateway.model import DeviceKind, Metric, QuarantineReason, Unit
from gateway.normalise.reported import Problem, ReportedMeasurement, ReportedRecord

__all__ = ["WITHINGS"]

_SCALE = FileSource("scale", DeviceKind.BODY_COMPOSITION_ANALYSER, "Withings")
_CUFF = FileSource("cuff", DeviceKind.BLOOD_PRESSURE_MONITOR, "Withings")
_UNITS = {"kg": Unit.KG, "lb": Unit.LB, "lbs": Unit.LB, "m": Unit.M, "cm": Unit.CM, "in": Unit.INCH}
_TITLE = re.compile(r"(.+?)\s*\(([a-z]+)\)")
_MASSES: dict[str, tuple[Metric, bool]] = {
    "weight": (Metric.BODY_MASS, False),
    "poids": (Metric.BODY_MASS, False),
    "fat mass": (Metric.BODY_FAT_MASS, True),
    "masse grasse": (Metric.BODY_FAT_MASS, True),
    "bone mass": (Metric.BONE_MASS, True),
    "masse osseuse": (Metric.BONE_MASS, True),
    "muscle mass": (Metric.MUSCLE_MASS, True),
    "masse musculaire": (Metric.MUSCLE_MASS, True),
    "hydration": (Metric.BODY_WATER_MASS, True),
    "hydratation": (Metric.BODY_WATER_MASS, True),
    "height": (Metric.BODY_HEIGHT, False),
    "taille": (Metric.BODY_HEIGHT, False),
}
_PRESSURES = {
    "heart rate": (Metric.HEART_RATE, Unit.PER_MIN),
    "fréquence cardiaque": (Metric.HEART_RATE, Unit.PER_MIN),
    "rythme cardiaque": (Metric.HEART_RATE, Unit.PER_MIN),
    "systolic": (Metric.BLOOD_PRESSURE_SYSTOLIC, Unit.MMHG),
    "systolique": (Metric.BLOOD_PRESSURE_SYSTOLIC, Unit.MMHG),
    "diastolic": (Metric.BLOOD_PRESSURE_DIASTOLIC, Unit.MMHG),
    "diastolique": (Metric.BLOOD_PRESSURE_DIASTOLIC, Unit.MMHG),
}


def _mass_columns(names: Sequence[str]) -> dict[int, tuple[Metric, Unit, bool]]:
    found = {}
    for index, name in enumerate(names):
        match = _TITLE.fullmatch(name.lower())
        if match is not None and match[1] in _MASSES and match[2] in _UNITS:
            metric, is_derived = _MASSES[match[1]]
            found[index] = (metric, _UNITS[match[2]], is_derived)
    return found


def _pressure_columns(names: Sequence[str]) -> dict[int, tuple[Metric, Unit]]:
    return {i: _PRESSURES[name.lower()] for i, name in enumerate(names) if name.lower() in _PRESSURES}


def _is_header(names: Sequence[str]) -> bool:
    if not names or names[0].lower() != "date":
        return False
    return bool(_mass_columns(names)) or len(_pressure_columns(names)) == 3


def _recognises(text: str) -> bool:
    return find_header(text, _is_header) is not None


def _parse(text: str, options: FileOptions) -> FileContents:
    header = find_header(text, _is_header)
    if header is None:
        raise Refused("not weight.csv, height.csv or bp.csv of a Withings archive: its titles are not known")
    masses, pressures = _mass_columns(header.names), _pressure_columns(header.names)
    source = _CUFF if pressures else _SCALE
    names = RecordNames()
    rows: list[FileRow] = []
    for row in rows_after(text, header):
        time = parse_local(row.at(0), options.date_order or "dmy")
        if time is None:
            rows.append(_bad(row, source, "its time is none"))
            continue
        try:
            records = _pressed(row, time, pressures, names) if pressures else _weighed(row, time, masses, names)
        except Refused as error:
            rows.append(_bad(row, source, str(error)))
            continue
        rows.append(
            FileRow(row.line, source, records, None, row.raw) if records else _bad(row, source, "nothing was measured")
        )
    return FileContents(tuple(rows))


def _weighed(
    row: Cells, time: datetime, columns: dict[int, tuple[Metric, Unit, bool]], names: RecordNames
) -> tuple[ReportedRecord, ...]:
    values = [
        Weighed(metric, value, unit, is_derived)
        for index, (metric, unit, is_derived) in columns.items()
        for value in _numbers(row, index)
    ]
    return weigh_in_records(names.name("weighin", time, row.at(min(columns))), time, values)


def _pressed(
    row: Cells, time: datetime, columns: dict[int, tuple[Metric, Unit]], names: RecordNames
) -> tuple[ReportedRecord, ...]:
    measurements = tuple(
        ReportedMeasurement(metric, value, unit)
        for index, (metric, unit) in columns.items()
        for value in _numbers(row, index)
    )
    said = "/".join(row.at(index) or "-" for index in columns)
    return (ReportedRecord(names.name("cuff", time, said), 0, time, measurements),) if measurements else ()


def _numbers(row: Cells, index: int) -> Iterator[Decimal]:
    text = row.at(index)
    if text:
        value = number(text)
        if value is None:
            raise Refused(f"column {index + 1} is no number")
        yield value


def _bad(row: Cells, source: FileSource, what: str) -> FileRow:
    return FileRow(row.line, source, (), Problem(QuarantineReason.MALFORMED, what), row.raw)


WITHINGS = FileFormat("withings", "Withings", _recognises, _parse)
