"""openScale sync: the measurements of the Android app openScale, with its corrections and deletions.

`openScaleSync/<user id>/measurements/<event>`; until June 2026 without the user's level. The events:

* `insert`, `update`, `last` (retained) and, in old versions, `all`: one measurement. `last` may be `{}`: there is none.
* `history` (retained): all of a user's measurements as rows.
* `delete`: the time of one measurement.
* `clear`: all measurements of a user. Refused: a person deletes years of readings, not a message.

**Name of a record.** A deletion says the user and the minute, nothing else, and the app keeps (user, time) apart; its
own ids are not on all messages. So the record is named by both, the minute in UTC, and `update` corrects, `delete`
withdraws the very record that `insert` or a row of `history` made. Two measurements of one user within one minute are
therefore one record; the later message is current, the earlier one is kept as a version, and a deletion takes both.

All messages of one measurement must say the same, or each redelivery of the retained ones would look like a correction,
and might undo a deletion: rows carry no names, no ids and no seconds, so neither does what is made here. The hint at
the person is the user's number where the topic has it.

**A deletion** does not say which values the measurement had. The record is withdrawn for every metric that this dialect
can give (`METRICS`). A metric that the record never had gets a withdrawal too, which the store keeps, because the
measurement may still come (out of the quarantine, with an earlier reception), but does not give out: see
`gateway.adapters.stores.sqlite.queries`. The app moves a measurement in time by deleting it and inserting another.
What is inserted again with exactly the content that was deleted stays withdrawn, and a correction back to an earlier
value stays uncorrected: neither can be told from a redelivery.

Zero is "not measured". weight is in kg; body_fat, water and muscle in percent; `values` holds the other types. They
are known by the name that `history` gives them, which is the type's identity without its namespace (`builtin.bone`), or
its key in small letters (`BONE`) where the app is older.

Source: oliexdev/openScale-sync, `MQTTSync.kt` (topics, date format, history), `OpenScaleMeasurement.kt` (`backendKey`);
openScale, `MeasurementTypeKey`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from gateway.devices.dialects._fields import (
    Field,
    collect,
    json_object,
    no_address,
    problem_of,
    said_nothing_of,
    user_hint,
)
from gateway.devices.dialects.shape import Dialect, Message, Said
from gateway.devices.passerelle_fields import Refused, read_integer
from gateway.model import Context, Metric, QuarantineReason, Unit
from gateway.normalise.reported import Problem, ReportedMeasurement, ReportedRecord

__all__ = ["METRICS", "OPENSCALE_SYNC"]

_CANONICAL = (
    Field("weight", Metric.BODY_MASS, Unit.KG),
    Field("body_fat", Metric.BODY_FAT_PERCENTAGE, Unit.PERCENT, is_derived=True),
    Field("water", Metric.BODY_WATER_PERCENTAGE, Unit.PERCENT, is_derived=True),
    Field("muscle", Metric.MUSCLE_PERCENTAGE, Unit.PERCENT, is_derived=True),
)
_OLD_FAT = Field("fat", Metric.BODY_FAT_PERCENTAGE, Unit.PERCENT, is_derived=True)
_OTHERS = (
    Field("bmi", Metric.BODY_MASS_INDEX, Unit.KG_M2, is_derived=True),
    Field("lbm", Metric.FAT_FREE_MASS, Unit.KG, is_derived=True),
    Field("bone", Metric.BONE_MASS, Unit.KG, is_derived=True),
    Field("waist", Metric.WAIST_CIRCUMFERENCE, Unit.CM),
    Field("visceral_fat", Metric.VISCERAL_FAT_RATING, Unit.ONE, is_derived=True),
    Field("bmr", Metric.BASAL_METABOLISM, Unit.KCAL, is_derived=True),
    Field("heart_rate", Metric.HEART_RATE, Unit.PER_MIN),
    Field("impedance", Metric.IMPEDANCE, Unit.OHM),
)
_OTHER_KEYS = {field.key: field for field in _OTHERS}
_UNITS = {
    "kg": Unit.KG,
    "lb": Unit.LB,
    "%": Unit.PERCENT,
    "cm": Unit.CM,
    "in": Unit.INCH,
    "kcal": Unit.KCAL,
    "/min": Unit.PER_MIN,
    "Ohm": Unit.OHM,
}
_WITHOUT_WORD = frozenset({Unit.KG_M2, Unit.ONE})
"""Units for which the app writes nothing."""
METRICS: tuple[Metric, ...] = tuple(field.metric for field in (*_CANONICAL, *_OTHERS))
"""Every metric that a record of this dialect can have."""

_MEASUREMENTS = "measurements"
_EVENTS = frozenset({"insert", "update", "last", "all", "history", "delete", "clear"})
_ROOT = "openScaleSync"
_USER = re.compile(r"[0-9]{1,10}")
_DATE = re.compile(
    r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-2][0-9]:[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?(?:Z|[+-][0-2][0-9]:?[0-5][0-9])"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS = 4_102_444_800_000
"""2100-01-01."""
_MOST_ROWS = 20_000


class _Place(NamedTuple):
    """What a topic says."""

    user: str
    event: str


def _decode(message: Message) -> Said:
    try:
        place = _place(message.topic)
        if place is None or not message.payload:  # an empty payload removes a retained message
            return Said()
        if place.event == "clear":
            return said_nothing_of(
                "openScale says that all measurements of a user were deleted there; nothing was withdrawn here",
                QuarantineReason.UNSUPPORTED,
            )
        document = json_object(message.payload)
        if place.event == "history":
            return _history(document, place)
        if place.event == "delete":
            return Said((_withdrawal(document, place),))
        if not document:
            return Said()
        return _measurement(document, place)
    except Refused as error:
        return Said(problems=(problem_of(error),))


def _place(topic: str) -> _Place | None:
    levels = topic.split("/")
    if len(levels) < 3 or levels[-2] != _MEASUREMENTS or levels[-1] not in _EVENTS:
        return None
    user = levels[-3]
    if user == _ROOT:
        return _Place("", levels[-1])
    if _USER.fullmatch(user) is None:
        raise Refused("the topic holds no openScale user number")
    return _Place(user, levels[-1])


def _measurement(document: Mapping[str, object], place: _Place) -> Said:
    named = document.get("userId")
    if place.user and named is not None and user_hint(named) != place.user:
        raise Refused("the payload names another user than the topic", QuarantineReason.IDENTITY_MISMATCH)
    time = _minute(document.get("date"), "date")
    numbers, problems = collect(document, (*_CANONICAL, *(() if "body_fat" in document else (_OLD_FAT,))))
    others, faults = _others(document)
    hint = place.user or user_hint(document.get("username"))
    return _said([_record(time, (*numbers, *others), place, hint)], (*problems, *faults))


def _others(document: Mapping[str, object]) -> tuple[tuple[ReportedMeasurement, ...], tuple[Problem, ...]]:
    """What stands under `values`, by key; a type that is not ours is left out."""
    values = document.get("values")
    if values is None:
        return (), ()
    if type(values) is not list:
        return (), (Problem(QuarantineReason.MALFORMED, "values is not an array"),)
    found: dict[str, object] = {}
    units: dict[str, object] = {}
    for item in values:
        if type(item) is dict and (key := _key(item)) in _OTHER_KEYS:
            found.setdefault(key, item.get("value"))
            units.setdefault(key, item.get("unit"))
    return _with_units(found, units)


def _key(item: Mapping[str, object]) -> str:
    """The name of a type as `history` has it: `BONE` of the older messages, `builtin.bone` of the newer ones."""
    key, identity = item.get("key"), item.get("identity")
    if type(identity) is str:
        return identity.partition(".")[2].replace(".", "_").lower()
    return key.lower() if type(key) is str else ""


def _with_units(
    found: Mapping[str, object], units: Mapping[str, object]
) -> tuple[tuple[ReportedMeasurement, ...], tuple[Problem, ...]]:
    numbers: list[ReportedMeasurement] = []
    problems: list[Problem] = []
    for field in _OTHERS:
        if field.key not in found:
            continue
        said = units.get(field.key)
        unit = field.unit if said is None or (said == "" and field.unit in _WITHOUT_WORD) else None
        unit = _UNITS.get(said) if type(said) is str and unit is None else unit
        if unit is None or unit not in field.metric.info.units:
            problems.append(Problem(QuarantineReason.UNSUPPORTED, f"the unit of {field.key} is none that we know"))
            continue
        measured, faults = collect(found, (field._replace(unit=unit),))
        numbers += measured
        problems += faults
    return tuple(numbers), tuple(problems)


def _history(document: Mapping[str, object], place: _Place) -> Said:
    fields, units, rows = document.get("fields"), document.get("units", {}), document.get("rows")
    if type(fields) is not list or type(rows) is not list or type(units) is not dict:
        raise Refused("a history holds fields, units and rows")
    if len(rows) > _MOST_ROWS:
        raise Refused(f"a history of more than {_MOST_ROWS} rows", QuarantineReason.TOO_LARGE)
    if not all(type(name) is str for name in fields) or len(set(fields)) != len(fields) or "date" not in fields:
        raise Refused("the fields of a history are different names, date among them")
    records: list[ReportedRecord] = []
    problems: list[Problem] = []
    for row in rows:
        try:
            cells = _cells(fields, row)
            time = _minute(cells["date"], "date")
        except Refused as error:
            problems.append(problem_of(error))
            continue
        numbers, faults = collect(cells, _CANONICAL)
        others, more = _with_units({key: cell for key, cell in cells.items() if key in _OTHER_KEYS}, units)
        records.append(_record(time, (*numbers, *others), place, place.user))
        problems += (*faults, *more)
    return _said(_last_of_each(records), problems)


def _cells(fields: Sequence[str], row: object) -> dict[str, object]:
    if type(row) is not list or len(row) != len(fields):
        raise Refused("a row of the history does not fit its fields")
    return dict(zip(fields, row, strict=True))


def _last_of_each(records: Sequence[ReportedRecord]) -> Iterator[ReportedRecord]:
    """Of records with one name the last; the others would be corrections in no order."""
    yield from {record.record_key: record for record in records}.values()


def _withdrawal(document: Mapping[str, object], place: _Place) -> ReportedRecord:
    record = _record(_minute(document.get("dateTime"), "dateTime"), (), place, place.user)
    measurements = tuple(ReportedMeasurement(metric, None, None) for metric in METRICS)
    return record._replace(measurements=measurements, is_withdrawn=True)


def _record(
    time: datetime, measurements: tuple[ReportedMeasurement, ...], place: _Place, hint: str | None
) -> ReportedRecord:
    key = f"{place.user}@{time.astimezone(UTC):%Y-%m-%dT%H:%MZ}"
    return ReportedRecord(key, 0, time, measurements, Context(user_name=hint or None, weigh_in=key))


def _said(records: Iterator[ReportedRecord] | Sequence[ReportedRecord], problems: Sequence[Problem]) -> Said:
    """A measurement of which nothing is ours (a girth, a comment) is no record."""
    return Said(tuple(record for record in records if record.measurements), problems=tuple(problems))


def _minute(value: object, what: str) -> datetime:
    """An instant to the minute, in UTC: text with a zone, or milliseconds since 1970 (rows, and old versions)."""
    if type(value) is Decimal:
        milliseconds = read_integer(value, what, 0, _LATEST_MS)
        return (_EPOCH + timedelta(milliseconds=milliseconds)).replace(second=0, microsecond=0)
    if type(value) is not str or _DATE.fullmatch(value) is None:
        raise Refused(f"{what} is not a time with a zone")
    try:
        time = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(f"{what} is not a time that exists") from None
    return time.replace(second=0, microsecond=0)


OPENSCALE_SYNC = Dialect(
    name="openscale_sync",
    title="openScale sync",
    topics=(f"{_ROOT}/+/{_MEASUREMENTS}/+", f"{_ROOT}/{_MEASUREMENTS}/+"),
    address_of=no_address,
    decode=_decode,
)
