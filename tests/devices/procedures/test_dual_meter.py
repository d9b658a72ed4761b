"""Meters that measure ketone too, and that say so in the context only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from scripted import ScriptedMeter, Shelf, converse

from gateway.devices.drivers import Opening, Permissions
from gateway.devices.models import MODEL_DRIVERS
from gateway.devices.procedures import Close, GlucoseFetch, GlucoseRecord, Keep, Outcome, Patience, Record, Write
from gateway.model import Absent, DeviceId, SourceKind
from gateway.normalise.contact import Contact
from gateway.normalise.glucose import CONTEXT_MISSING, glucose_readings
from gateway.sandbox.records import MeterContext, MeterRecord

BASE = datetime(2025, 3, 1, 6, 0)  # noqa: DTZ001 -- a meter's clock has no zone
NOW = datetime(2025, 6, 2, 10, 0, tzinfo=ZoneInfo("Europe/Paris"))
CARESENS = next(driver for driver in MODEL_DRIVERS if driver.name == "caresens")


def identity(keep: Keep, record: Record) -> tuple[int, int]:
    assert isinstance(record, GlucoseRecord)
    return keep.epoch, record.measurement.sequence


def visit(meter: ScriptedMeter, shelf: Shelf) -> Close:
    meter.log.clear()
    return converse(GlucoseFetch(shelf.state, is_dual=True), meter, shelf, identity)


def memory(*meals: int | None) -> list[MeterRecord]:
    return [
        MeterRecord(
            number,
            BASE + timedelta(hours=number),
            Decimal(100),
            context=None if meal is None else MeterContext(meal=meal),
        )
        for number, meal in enumerate(meals, start=1)
    ]


def test_number_waits_for_its_context() -> None:
    """A context that comes after the answer still decides, and five seconds are given to it."""
    meter, shelf = ScriptedMeter(memory(1, 6, 2), contexts="late"), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    records = [record for record in shelf.records.values() if isinstance(record, GlucoseRecord)]
    assert 3 == len(records)
    assert not any(record.is_undecided for record in records)
    fetch = GlucoseFetch(None, is_dual=True)
    for request in fetch.start():
        assert not isinstance(request, Write)
    fetch.on_read("2a51", b"\x00\x00")
    fetch.on_notify("2a52", b"\x05\x00\x02\x00")
    fetch.on_notify("2a52", b"\x06\x00\x01\x01")
    assert Patience.LATECOMER is fetch.patience


def test_number_without_its_context_is_not_told() -> None:
    """It is kept without its number, the watermark stays below it, and its context corrects it at the next visit."""
    meter, shelf = ScriptedMeter(memory(1, None, 6), contexts="never"), Shelf()
    meter.records[0] = MeterRecord(1, BASE, Decimal(90))
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    record = shelf.records[0, 3]
    assert isinstance(record, GlucoseRecord)
    contact = Contact(DeviceId("d"), ZoneInfo("Europe/Paris"), datetime(2025, 6, 2, tzinfo=UTC), SourceKind.BLUETOOTH)
    (reading,) = glucose_readings(record.measurement, None, contact, is_undecided=record.is_undecided).readings
    assert (None, None, Absent.UNTRUSTWORTHY) == (reading.value, reading.original_value, reading.absent)
    assert CONTEXT_MISSING in reading.context.status
    assert 2 == (shelf.state or {})["sequence"]
    meter.contexts = "after"
    visit(meter, shelf)
    again = shelf.records[0, 3]
    assert isinstance(again, GlucoseRecord)
    assert again.context is not None
    assert again.context.is_ketone
    assert 3 == (shelf.state or {})["sequence"]


def test_number_that_promises_no_context_is_glucose() -> None:
    """Where no context is promised, nothing is waited for."""
    meter, shelf = ScriptedMeter(memory(None, None)), Shelf()
    visit(meter, shelf)
    assert not any(record.is_undecided for record in shelf.records.values() if isinstance(record, GlucoseRecord))


def test_clock_that_cannot_be_read_is_not_set() -> None:
    """Even with permission: what it was off by could not be measured first, and its records could not be placed."""
    assert CARESENS.open is not None
    opening = Opening(NOW, may=Permissions(set_clock=True), clock_is_trusted=True, quirks=CARESENS.quirks)
    assert not any(isinstance(request, Write) for request in CARESENS.open(opening).start())
