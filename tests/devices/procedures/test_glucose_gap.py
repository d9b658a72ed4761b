"""A meter whose memory went round before it was read; and what it is asked when it does not know a request."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import ScriptedMeter, Shelf, meter_records
from test_glucose_fetch import BASE, LATER, expected, visit

from gateway.devices.glucose import GlucoseMeasurement
from gateway.devices.procedures import Outcome
from gateway.devices.procedures.glucose_gap import GlucoseGap, gap_before
from gateway.devices.procedures.glucose_watermark import GlucoseWatermark
from gateway.sandbox.records import MeterRecord

MEMORY = 10


def gaps(shelf: Shelf) -> dict[str, dict[str, object]]:
    """Every gap that was declared, by the name of its fact."""
    return {
        fact.name: dict(fact.state)
        for keep in shelf.keeps
        for fact in keep.facts
        if fact.name.startswith("glucose.gap")
    }


def meter_of(last: int) -> ScriptedMeter:
    """A meter with a memory of ten, after its test number `last`."""
    return ScriptedMeter(meter_records(max(1, last - MEMORY + 1), last, base=BASE))


def test_memory_that_went_round_is_declared_with_its_bounds() -> None:
    """Numbers and times on both sides of what is lost, in the fact, in the words of the contact; all else is read."""
    shelf = Shelf()
    visit(meter_of(5), shelf)
    meter = meter_of(25)
    closed = visit(meter, shelf)
    words = "records 6 to 15 are lost: the meter overwrote them before they were read"
    assert (Outcome.COMPLETE, words) == (closed.outcome, closed.detail)
    assert {
        "glucose.gap.0.6": {
            "first": 6,
            "last": 15,
            "count": 10,
            "after": (BASE + timedelta(hours=5)).isoformat(),
            "before": (BASE + timedelta(hours=16)).isoformat(),
            "why": words,
        }
    } == gaps(shelf)
    assert expected(meter) < shelf.records.keys()
    assert {"epoch": 0, "sequence": 25, "base_time": (BASE + timedelta(hours=25)).isoformat()} == shelf.state
    closed = visit(meter, shelf)
    assert (Outcome.COMPLETE, None) == (closed.outcome, closed.detail)
    assert 1 == len(gaps(shelf))


@pytest.mark.parametrize("last", [15, 14, 6])
def test_memory_that_lost_nothing_unread_declares_nothing(last: int) -> None:
    """Overwritten records that had been read are no gap."""
    shelf = Shelf()
    visit(meter_of(5), shelf)
    meter = meter_of(last)
    assert (Outcome.COMPLETE, None) == (visit(meter, shelf).outcome, visit(meter, shelf).detail)
    assert {} == gaps(shelf)
    assert expected(meter) <= shelf.records.keys()


def test_numbers_that_were_never_given_are_no_gap() -> None:
    """While the meter holds the record of the watermark, it has overwritten nothing after it."""
    shelf = Shelf()
    visit(ScriptedMeter(meter_records(1, 5, base=BASE)), shelf)
    visit(ScriptedMeter(meter_records(1, 5, base=BASE) + meter_records(9, 10, base=BASE)), shelf)
    assert {} == gaps(shelf)


def test_nothing_is_given_up_on_the_word_of_one_request() -> None:
    """A meter that calls its newest record the first is believed in nothing: it still holds what seems lost."""
    shelf = Shelf()
    visit(meter_of(5), shelf)
    meter = _NewestIsFirst(meter_records(6, 15, base=BASE))
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert {} == gaps(shelf)
    assert expected(meter) < shelf.records.keys()


class _NewestIsFirst(ScriptedMeter):
    def _chosen(self, data: bytes) -> list[MeterRecord]:
        return self.records[-1:] if data[1] == 5 else super()._chosen(data)


def test_counter_that_starts_again_leaves_an_open_gap() -> None:
    """What the meter recorded under its old numbers after the last visit, and no longer holds, is not known."""
    shelf = Shelf()
    visit(ScriptedMeter(meter_records(1, 30, base=BASE)), shelf)
    meter = ScriptedMeter(meter_records(1, 3, base=LATER))
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    (gap,) = gaps(shelf).values()
    assert (31, None, None) == (gap["first"], gap["last"], gap["count"])
    assert expected(meter, epoch=1) < shelf.records.keys()


@pytest.mark.parametrize(
    "refusal", [{b"\x01\x03": 9, b"\x04\x03": 9, b"\x01\x04": 9}, {b"\x01\x04": 4, b"\x01\x03": 4}]
)
def test_gap_is_found_without_filters(refusal: dict[bytes, int]) -> None:
    """A meter that always tells everything shows by it what it no longer holds."""
    shelf = Shelf()
    visit(meter_of(5), shelf)
    meter = meter_of(25)
    meter.refusals = refusal
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert [(6, 15)] == [(gap["first"], gap["last"]) for gap in gaps(shelf).values()]
    assert expected(meter) < shelf.records.keys()


def test_gap_passes_the_end_of_the_counter() -> None:
    """After record 65535 comes record 0."""
    gap = gap_before([GlucoseMeasurement(4, None), GlucoseMeasurement(3, None)], GlucoseWatermark(2, 65533))
    assert GlucoseGap(2, 65534, 2) == gap
    assert gap is not None
    assert 5 == gap.count


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_link_that_breaks_anywhere_finds_the_same_gap(data: st.DataObject) -> None:
    """However often the link breaks, the gap is declared once and all that the meter holds is read."""
    read, last = data.draw(st.integers(1, 12)), data.draw(st.integers(13, 60))
    shelf = Shelf()
    visit(meter_of(read), shelf)
    meter = meter_of(last)
    for _ in range(data.draw(st.integers(0, 6))):
        visit(meter, shelf, cut_after=data.draw(st.integers(0, 24)))
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    oldest = meter.records[0].sequence
    lost = [(read + 1, oldest - 1)] if oldest > read + 1 else []
    assert lost == [(gap["first"], gap["last"]) for gap in gaps(shelf).values()]
    assert expected(meter) <= shelf.records.keys()


# --- requests that a meter does not know -----------------------------------------------------------------------------


def test_meter_that_cannot_count_is_asked_for_both_at_once() -> None:
    """The combined report brings the number that tells whether all of it arrived."""
    meter = ScriptedMeter(meter_records(1, 5, base=BASE), refusals={b"\x04": 2}, combines=True, hides={3})
    shelf = Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert expected(meter) == shelf.records.keys()
    assert [b"\x04\x01", b"\x07\x01", b"\x07\x01"] == meter.log


def test_meter_that_knows_neither_is_asked_for_records_alone() -> None:
    """Combined not supported: the plain report."""
    meter, shelf = ScriptedMeter(meter_records(1, 5, base=BASE), refusals={b"\x04": 2}), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert expected(meter) == shelf.records.keys()
    assert [b"\x04\x01", b"\x07\x01", b"\x01\x01"] == meter.log


@pytest.mark.parametrize("code", [3, 4])
def test_range_stands_in_for_an_unknown_operator(code: int) -> None:
    """`>= 6` not supported: `6..65535`, and everything only when that is not known either."""
    refusals = {b"\x01\x03": code, b"\x04\x03": code}
    meter, shelf = ScriptedMeter(meter_records(1, 5, base=BASE), refusals=refusals), Shelf()
    visit(meter, shelf)
    meter.records += meter_records(6, 8, base=BASE)
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert expected(meter) == shelf.records.keys()
    assert b"\x01\x04\x01\x06\x00\xff\xff" == meter.log[-1]


def test_feature_is_kept_as_a_fact() -> None:
    """Which status bits the meter can set at all: a clear bit of any other says nothing."""
    shelf = Shelf()
    visit(ScriptedMeter(meter_records(1, 2, base=BASE)), shelf)
    (fact,) = (fact for keep in shelf.keeps for fact in keep.facts)
    assert "glucose.feature" == fact.name
    assert {
        "features": "multiple_bonds result_high_low_detection sensor_malfunction_detection",
        "detectable_status": "result_above_device_range result_below_device_range sensor_malfunction",
    } == dict(fact.state)
