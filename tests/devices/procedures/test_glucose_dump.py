"""Reading a meter that numbers its records backwards: nothing lost, nothing twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import ScriptedMeter, Shelf, converse

from gateway.devices.drivers import GENERIC_DRIVERS, Opening
from gateway.devices.procedures import Close, GlucoseDump, GlucoseRecord, Keep, Outcome, Record
from gateway.devices.quirks import Quirks, RecordNumbering
from gateway.model import DeviceId, SourceKind
from gateway.normalise.contact import Contact
from gateway.normalise.glucose import glucose_readings
from gateway.sandbox.records import MeterContext, MeterRecord

BASE = datetime(2025, 3, 1, 6, 0)  # noqa: DTZ001 -- a meter's clock has no zone
CONTACT = Contact(DeviceId("d"), ZoneInfo("Europe/Paris"), datetime(2025, 6, 2, tzinfo=UTC), SourceKind.BLUETOOTH)


@dataclass
class Backwards(ScriptedMeter):
    """0 is the newest."""

    def test(self, at: datetime, mg_dl: int, context: MeterContext | None = None) -> None:
        older = [
            MeterRecord(record.sequence + 1, record.base_time, record.glucose, context=record.context)
            for record in self.records
        ]
        self.records = [MeterRecord(0, at, Decimal(mg_dl), context=context), *older]


class FromTheOtherEnd(Backwards):
    """Its last record is the one with the highest number."""

    def _chosen(self, data: bytes) -> list[MeterRecord]:
        return self.records[-1:] if data[1] == 6 else super()._chosen(data)


def key_of(_keep: Keep, record: Record) -> str:
    assert isinstance(record, GlucoseRecord)
    (reading,) = glucose_readings(
        record.measurement, record.context, CONTACT, occurrence=record.occurrence, is_undecided=record.is_undecided
    ).readings
    return reading.record_key


def visit(meter: Backwards, shelf: Shelf, *, cut_after: int | None = None, is_dual: bool = False) -> Close:
    meter.log.clear()
    return converse(GlucoseDump(shelf.state, is_dual=is_dual), meter, shelf, key_of, cut_after=cut_after)


def made(count: int, *, first: int = 0, meter: Backwards | None = None) -> Backwards:
    meter = meter or Backwards([])
    for number in range(first, first + count):
        meter.test(BASE + timedelta(hours=number), 100 + number)
    return meter


def test_numbers_that_move_make_no_second_record() -> None:
    """Every number is another one after a test; base time and value stay, and no epoch is opened."""
    meter, shelf = made(4), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    made(3, first=4, meter=meter)
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert 7 == len(shelf.records)
    assert {0} == {keep.epoch for keep in shelf.keeps}


def test_nothing_new_costs_two_requests() -> None:
    """As many records as before, and the same newest one: nothing is asked for again."""
    meter, shelf = made(4), Shelf()
    visit(meter, shelf)
    keeps = len(shelf.keeps)
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert [b"\x04\x01", b"\x01\x06"] == meter.log
    assert keeps == len(shelf.keeps)


def test_clock_set_back_hides_nothing() -> None:
    """A test with an older time than all others is found."""
    meter, shelf = made(4), Shelf()
    visit(meter, shelf)
    meter.test(BASE - timedelta(days=900), 222)
    visit(meter, shelf)
    assert 5 == len(shelf.records)


def test_full_memory_that_drops_its_oldest_is_read_on() -> None:
    """The count stays the same, the newest record does not."""
    meter, shelf = made(4), Shelf()
    visit(meter, shelf)
    made(1, first=4, meter=meter)
    del meter.records[-1]
    visit(meter, shelf)
    assert 5 == len(shelf.records)


@pytest.mark.parametrize("is_full", [False, True])
def test_meter_that_calls_its_oldest_record_the_last(is_full: bool) -> None:
    """By its numbers the oldest record is the last: a new test is found all the same, and so is that there is none."""
    meter, shelf = FromTheOtherEnd([]), Shelf()
    made(4, meter=meter)
    visit(meter, shelf)
    visit(meter, shelf)
    assert [b"\x04\x01", b"\x01\x06"] == meter.log
    made(1, first=4, meter=meter)
    if is_full:
        del meter.records[-1]
    visit(meter, shelf)
    assert 5 == len(shelf.records)


def test_two_equal_results_in_one_minute_are_two() -> None:
    """Their number within the dump tells them apart, whatever came since."""
    meter, shelf = Backwards([]), Shelf()
    meter.test(BASE, 100)
    meter.test(BASE, 100)
    visit(meter, shelf)
    made(2, first=1, meter=meter)
    visit(meter, shelf)
    assert 4 == len(shelf.records)


@pytest.mark.parametrize("refused", [b"\x04", b"\x01\x06"])
def test_meter_that_cannot_count_or_select_is_read_whole(refused: bytes) -> None:
    """Only the request for all must work."""
    meter, shelf = made(3), Shelf()
    visit(meter, shelf)
    meter.refusals = {refused: 4}
    made(1, first=3, meter=meter)
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert 4 == len(shelf.records)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 16)), max_size=8))
def test_any_cuts_lose_nothing(visits: list[tuple[int, int]]) -> None:
    """For any sequence of tests and broken visits, the whole visit at the end has each record once."""
    meter, shelf, count = Backwards([]), Shelf(), 0
    for fresh, cut in visits:
        made(fresh, first=count, meter=meter)
        count += fresh
        visit(meter, shelf, cut_after=cut)
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert count == len(shelf.records)


def test_ketone_of_a_dual_meter_is_undecided_without_its_context() -> None:
    """The number is not told, and the visit is not complete, so that it is asked again."""
    meter, shelf = Backwards([], contexts="never"), Shelf()
    meter.test(BASE, 27, MeterContext(meal=6))
    assert Outcome.COMPLETE == visit(meter, shelf, is_dual=True).outcome
    (record,) = shelf.records.values()
    assert isinstance(record, GlucoseRecord)
    assert record.is_undecided
    assert shelf.state is None
    meter.contexts = "after"
    visit(meter, shelf, is_dual=True)
    (record,) = shelf.records.values()
    assert isinstance(record, GlucoseRecord)
    assert record.context is not None
    assert record.context.is_ketone
    assert shelf.state is not None


def test_quirk_chooses_the_conversation() -> None:
    """A driver whose records are numbered backwards is never read by number."""
    open_meter = GENERIC_DRIVERS[0].open
    assert open_meter is not None
    opening = Opening(datetime(2025, 6, 2, tzinfo=UTC), quirks=Quirks(numbering=RecordNumbering.BACKWARDS))
    assert isinstance(open_meter(opening), GlucoseDump)


@given(st.lists(st.tuples(st.sampled_from(["2a18", "2a34", "2a52", "2a51", "x"]), st.binary(max_size=20)), max_size=12))
def test_no_octets_make_it_raise(words: list[tuple[str, bytes]]) -> None:
    """Total for every sequence of notifications."""
    dump = GlucoseDump(None)
    dump.start()
    dump.on_read("2a51", b"")
    for char, data in words:
        dump.on_notify(char, data)
        dump.on_kept()
    dump.on_silence()
    dump.on_link_lost()
    assert dump.is_done
