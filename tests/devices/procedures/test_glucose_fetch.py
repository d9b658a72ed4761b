"""Reading a glucose meter: nothing lost, nothing twice, whatever the link and the counter do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import ScriptedMeter, Shelf, converse, meter_records

from gateway.devices.procedures import Close, GlucoseFetch, GlucoseRecord, Keep, Outcome, Patience, Record, Write
from gateway.devices.procedures.glucose_watermark import GlucoseWatermark

BASE = datetime(2025, 3, 1, 6, 0)  # noqa: DTZ001 -- a meter's clock has no zone
LATER = datetime(2026, 1, 1, 6, 0)  # noqa: DTZ001
Identity = tuple[int, int, datetime | None]


def identity(keep: Keep, record: Record) -> Identity:
    assert isinstance(record, GlucoseRecord)
    return keep.epoch, record.measurement.sequence, record.measurement.base_time


def visit(meter: ScriptedMeter, shelf: Shelf, *, cut_after: int | None = None, silences: int = 3) -> Close:
    meter.log.clear()
    return converse(GlucoseFetch(shelf.state), meter, shelf, identity, cut_after=cut_after, silences=silences)


def expected(meter: ScriptedMeter, epoch: int = 0) -> set[Identity]:
    return {(epoch, record.sequence, record.base_time) for record in meter.records}


def with_context_kept(shelf: Shelf) -> set[int]:
    return {
        record.measurement.sequence
        for record in shelf.records.values()
        if isinstance(record, GlucoseRecord) and record.context is not None
    }


def test_first_visit_reads_everything_and_moves_the_watermark_with_it() -> None:
    """The watermark travels in the same transaction as the records that it covers."""
    meter, shelf = ScriptedMeter(meter_records(1, 5, base=BASE)), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert expected(meter) == shelf.records.keys()
    assert [b"\x04\x01", b"\x01\x01"] == meter.log
    assert 1 == len(shelf.keeps)
    assert {"epoch": 0, "sequence": 5, "base_time": "2025-03-01T11:00:00"} == shelf.state


def test_next_visit_asks_past_the_watermark_only() -> None:
    """A meter is asked for `watermark + 1` and later, once the record of the watermark is known to be the same."""
    meter, shelf = ScriptedMeter(meter_records(1, 5, base=BASE)), Shelf()
    visit(meter, shelf)
    meter.records += meter_records(6, 8, base=BASE)
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    after = b"\x03\x01\x06\x00"
    assert [b"\x04" + after, b"\x01\x04\x01\x05\x00\x05\x00", b"\x01" + after] == meter.log
    assert expected(meter) == shelf.records.keys()
    assert 8 == (shelf.state or {})["sequence"]


def test_nothing_new_changes_nothing() -> None:
    """An idle visit looks at the newest record and keeps nothing."""
    meter, shelf = ScriptedMeter(meter_records(1, 5, base=BASE)), Shelf()
    visit(meter, shelf)
    keeps = len(shelf.keeps)
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert [b"\x04\x03\x01\x06\x00", b"\x01\x06"] == meter.log
    assert keeps == len(shelf.keeps)


def test_empty_meter_is_a_success() -> None:
    """No records found is not a failure."""
    meter, shelf = ScriptedMeter([]), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert [] == shelf.keeps


@pytest.mark.parametrize("refused", [b"\x04", b"\x01\x04", b"\x04\x03"])
@pytest.mark.parametrize("code", [2, 3, 4, 5, 9])
def test_count_and_range_are_optional(refused: bytes, code: int) -> None:
    """A meter that cannot count or select a range is read all the same."""
    meter, shelf = ScriptedMeter(meter_records(1, 3, base=BASE), refusals={refused: code}), Shelf()
    visit(meter, shelf)
    meter.records += meter_records(4, 6, base=BASE)
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert expected(meter) == shelf.records.keys()


@pytest.mark.parametrize("code", [4, 9])
def test_without_filters_everything_is_read_again(code: int) -> None:
    """Operator or operand not supported: all records, which are the same ones the second time."""
    meter, shelf = ScriptedMeter(meter_records(1, 3, base=BASE)), Shelf()
    visit(meter, shelf)
    meter.records += meter_records(4, 6, base=BASE)
    meter.refusals = {b"\x04\x03": code, b"\x01\x04": code, b"\x01\x03": code}
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert b"\x01\x01" == meter.log[-1]
    assert expected(meter) == shelf.records.keys()
    assert 6 == (shelf.state or {})["sequence"]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(2, Outcome.REFUSED), (7, Outcome.RETRY_LATER), (8, Outcome.RETRY_LATER), (10, Outcome.RETRY_LATER)],
)
def test_other_refusals_end_the_visit(code: int, outcome: Outcome) -> None:
    """A busy meter is tried later, one without the procedure is not pressed; the watermark stays."""
    meter, shelf = ScriptedMeter(meter_records(1, 3, base=BASE), refusals={b"\x01": code}), Shelf()
    assert outcome == visit(meter, shelf).outcome
    assert shelf.state is None


@pytest.mark.parametrize("code", [6])
def test_no_records_found_without_a_count_is_a_success(code: int) -> None:
    """Response code 6 to a report means that there is nothing to fetch."""
    meter = ScriptedMeter(meter_records(1, 3, base=BASE), refusals={b"\x04": 2, b"\x01": code})
    assert Outcome.COMPLETE == visit(meter, Shelf()).outcome


def test_busy_control_point_is_cleared_once() -> None:
    """Procedure already in progress: abort it, then ask again."""
    meter, shelf = ScriptedMeter(meter_records(1, 3, base=BASE), write_errors=[0xFE]), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert [b"\x04\x01", b"\x03\x00", b"\x04\x01", b"\x01\x01"] == meter.log
    assert expected(meter) == shelf.records.keys()


def test_mute_meter_is_aborted_then_left() -> None:
    """Silence: abort once, then close, with the watermark where it was."""
    meter, shelf = ScriptedMeter(meter_records(1, 3, base=BASE), is_mute=True), Shelf()
    assert Outcome.SILENT == visit(meter, shelf).outcome
    assert [b"\x04\x01", b"\x03\x00"] == meter.log
    assert shelf.state is None


def test_device_without_the_service_is_refused() -> None:
    """A missing measurement characteristic ends the visit instead of waiting for ever."""

    class NoMeter(ScriptedMeter):
        def subscribe(self, char: str) -> int | list[tuple[str, bytes]]:
            return 0x0A

    assert Outcome.REFUSED == visit(NoMeter([]), Shelf()).outcome


@pytest.mark.parametrize("place", ["after", "before", "end", "late"])
def test_context_is_paired_by_number_wherever_it_comes(place: str) -> None:
    """Context before, after, at the end or late: the same final state."""
    meter = ScriptedMeter(meter_records(1, 6, base=BASE, with_context=(2, 3, 6)), contexts=place)
    shelf = Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert {2, 3, 6} == with_context_kept(shelf)
    assert 6 == (shelf.state or {})["sequence"]


def test_context_that_never_comes_blocks_nothing() -> None:
    """A promised context may be missing for ever; the record is kept after a short wait and the watermark passes."""
    meter, shelf = ScriptedMeter(meter_records(1, 4, base=BASE, with_context=(2,)), contexts="never"), Shelf()
    fetch = GlucoseFetch()
    assert Outcome.COMPLETE == converse(fetch, meter, shelf, identity).outcome
    assert expected(meter) == shelf.records.keys()
    assert 4 == (shelf.state or {})["sequence"]


def test_only_latecomers_are_waited_for_briefly() -> None:
    """An answer of the meter may take long; after it, a few seconds of quiet are enough."""
    meter = ScriptedMeter(meter_records(1, 2, base=BASE, with_context=(2,)), contexts="never")
    fetch = GlucoseFetch()
    fetch.start()
    fetch.on_read("2a51", b"\x22\x04")
    before = fetch.patience
    fetch.on_notify("2a52", b"\x05\x00\x02\x00")
    reported = meter.write("2a52", b"\x01\x01")
    assert isinstance(reported, list)
    for said in reported:
        fetch.on_notify(*said)
    assert (Patience.ANSWER, Patience.QUIET) == (before, fetch.patience)


def test_context_lost_with_the_link_holds_its_record_back() -> None:
    """Without its promised context a record is not kept: it comes again, and may turn out to be ketone."""
    meter = ScriptedMeter(meter_records(1, 4, base=BASE, with_context=(3,)))
    shelf = Shelf()
    assert Outcome.LINK_LOST == visit(meter, shelf, cut_after=1 + 1 + 3).outcome
    assert {1, 2} == {key[1] for key in shelf.records if isinstance(key, tuple)}
    assert 2 == (shelf.state or {})["sequence"]
    visit(meter, shelf)
    assert {3} == with_context_kept(shelf)
    assert expected(meter) == shelf.records.keys()


def test_answer_that_overtakes_its_records_is_waited_out() -> None:
    """The count tells that records are still on their way."""
    meter, shelf = ScriptedMeter(meter_records(1, 5, base=BASE), answers_first=True), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert [b"\x04\x01", b"\x01\x01"] == meter.log
    assert expected(meter) == shelf.records.keys()


def test_gap_is_asked_again_once_after_what_came_is_durable() -> None:
    """Fewer records than counted: keep those, ask once more, then move the watermark."""
    meter, shelf = ScriptedMeter(meter_records(1, 5, base=BASE), hides={3}), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert [b"\x04\x01", b"\x01\x01", b"\x01\x01"] == meter.log
    assert [4, 1] == [len(keep.records) for keep in shelf.keeps]
    assert expected(meter) == shelf.records.keys()
    assert 5 == (shelf.state or {})["sequence"]


def test_gap_that_stays_is_not_stepped_over() -> None:
    """Records that the meter counts but does not send hold the watermark before them."""
    meter, shelf = ScriptedMeter(meter_records(1, 2, base=BASE)), Shelf()
    visit(meter, shelf)
    meter.records += meter_records(3, 6, base=BASE)

    class Stubborn(ScriptedMeter):
        def _report(self, records: list[object]) -> list[tuple[str, bytes]]:  # type: ignore[override]
            return super()._report([r for r in self.records if r in records and r.sequence != 5])

    stubborn = Stubborn(meter.records)
    assert Outcome.COMPLETE == visit(stubborn, shelf).outcome
    assert 4 == (shelf.state or {})["sequence"]
    assert 3 == sum(1 for data in stubborn.log if data[0] == 1)
    visit(meter, shelf)
    assert expected(meter) == shelf.records.keys()


def test_malformed_record_is_set_aside_and_asked_again() -> None:
    """One bad frame stops nobody: its octets are kept, and the second try brings the record."""
    spoil = iter([False, True])

    def mutate(char: str, frame: bytes) -> bytes:
        return frame[:-1] if char == "2a18" and next(spoil, False) else frame

    meter, shelf = ScriptedMeter(meter_records(1, 3, base=BASE), mutate=mutate), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert 1 == len(shelf.spoiled)
    assert expected(meter) == shelf.records.keys()


def test_frame_that_is_always_malformed_does_not_hold_the_watermark() -> None:
    """An unknown layout is quarantined with its octets and does not make every visit read it again."""

    def mutate(char: str, frame: bytes) -> bytes:
        return frame + b"?" if char == "2a18" and frame[1] == 2 else frame

    meter, shelf = ScriptedMeter(meter_records(1, 3, base=BASE), mutate=mutate), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert {key for key in expected(meter) if key[1] != 2} == shelf.records.keys()
    assert 3 == (shelf.state or {})["sequence"]


# --- the life of the counter ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("answers_first", [False, True])
@pytest.mark.parametrize("count_after_reset", [1, 4, 5, 6, 12])
def test_counter_that_starts_again_opens_an_epoch(count_after_reset: int, answers_first: bool) -> None:
    """Fewer, as many or more records than before the reset: all of the new life is read, none is taken for old."""
    old, shelf = ScriptedMeter(meter_records(1, 5, base=BASE)), Shelf()
    visit(old, shelf)
    new = ScriptedMeter(meter_records(1, count_after_reset, base=LATER), answers_first=answers_first)
    assert Outcome.COMPLETE == visit(new, shelf, silences=9).outcome
    assert expected(old, 0) | expected(new, 1) == shelf.records.keys()
    assert {"epoch": 1, "sequence": count_after_reset} == _without_time(shelf.state)


def test_reset_is_seen_without_range_selection_when_times_go_back() -> None:
    """An older base time on a higher number gives the reset away where the old record cannot be asked for."""
    old, shelf = ScriptedMeter(meter_records(1, 5, base=LATER)), Shelf()
    visit(old, shelf)
    new = ScriptedMeter(meter_records(1, 9, base=BASE), refusals={b"\x01\x04": 4})
    assert Outcome.COMPLETE == visit(new, shelf).outcome
    assert expected(old, 0) | expected(new, 1) == shelf.records.keys()


def test_cleared_memory_is_no_reset() -> None:
    """A meter may lose its old records and go on counting."""
    meter, shelf = ScriptedMeter(meter_records(1, 5, base=BASE)), Shelf()
    visit(meter, shelf)
    everything = expected(meter)
    meter.records = meter_records(6, 7, base=BASE)
    visit(meter, shelf)
    meter.records = []
    visit(meter, shelf)
    assert everything | {(0, 6, BASE + timedelta(hours=6)), (0, 7, BASE + timedelta(hours=7))} == shelf.records.keys()


def test_counter_that_wraps_goes_on_in_its_epoch() -> None:
    """After 65535 comes 0, in the same life of the counter."""
    meter, shelf = ScriptedMeter(meter_records(65530, 65535, base=BASE)), Shelf()
    visit(meter, shelf)
    meter.records += meter_records(0, 3, base=BASE + timedelta(hours=70_000))
    visit(meter, shelf)
    assert expected(meter) == shelf.records.keys()
    assert {"epoch": 0, "sequence": 3} == _without_time(shelf.state)


def test_reset_from_a_high_number_is_not_taken_for_a_wrap() -> None:
    """A counter that begins again at 1 is read, however high it stood before, and every later visit goes on from it."""
    old, shelf = ScriptedMeter(meter_records(40_000, 40_003, base=BASE)), Shelf()
    visit(old, shelf)
    new = ScriptedMeter(meter_records(1, 3, base=BASE + timedelta(days=3_000)))
    assert Outcome.COMPLETE == visit(new, shelf).outcome
    assert expected(old, 0) | expected(new, 1) == shelf.records.keys()
    new.records += meter_records(4, 4, base=BASE + timedelta(days=3_000))
    visit(new, shelf)
    assert {"epoch": 1, "sequence": 4} == _without_time(shelf.state)
    assert expected(old, 0) | expected(new, 1) == shelf.records.keys()


@pytest.mark.parametrize("refusals", [{}, {b"\x01\x04": 4}, {b"\x01\x06": 4}, {b"\x01\x04": 4, b"\x01\x06": 4}])
@pytest.mark.parametrize("newest", [65_533, 40_000, 9])
def test_lower_newest_record_is_never_left_unread(newest: int, refusals: dict[bytes, int]) -> None:
    """Wrapped or begun again, with or without the requests that tell them apart: everything there is, is read."""
    meter, shelf = ScriptedMeter(meter_records(newest - 3, newest, base=BASE)), Shelf()
    visit(meter, shelf)
    before = expected(meter)
    meter.refusals = refusals
    kept = meter.records if newest > 60_000 else []
    meter.records = kept + meter_records(0, 2, base=BASE + timedelta(days=3_000))
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    epoch = 0 if kept else 1
    assert before | expected(meter, epoch) == shelf.records.keys()


def test_records_say_which_time_offset_is_in_force() -> None:
    """Each record is handed over with the offset of the newest, so that older ones can be put on the same clock."""
    memory = [replace(r, time_offset_min=60 if r.sequence < 3 else -30) for r in meter_records(1, 4, base=BASE)]
    shelf = Shelf()
    visit(ScriptedMeter(memory), shelf)
    found = [record for record in shelf.records.values() if isinstance(record, GlucoseRecord)]
    assert [(60, -30), (60, -30), (-30, -30), (-30, -30)] == [
        (record.measurement.time_offset_min, record.current_offset_min) for record in found
    ]


def test_silence_before_the_answer_holds_back_what_lacks_its_context() -> None:
    """Only an answered report may leave a record without the context that it announced."""
    meter, shelf = ScriptedMeter(meter_records(1, 3, base=BASE, with_context=(2,)), contexts="never"), Shelf()

    class Faint(ScriptedMeter):
        def _report(self, records: list[object]) -> list[tuple[str, bytes]]:  # type: ignore[override]
            return super()._report([r for r in self.records if r in records])[:-1]

    faint = Faint(meter.records, contexts="never")
    assert Outcome.SILENT == visit(faint, shelf).outcome
    assert {1, 3} == {key[1] for key in shelf.records if isinstance(key, tuple)}
    assert 1 == (shelf.state or {})["sequence"]
    visit(meter, shelf)
    assert expected(meter) == shelf.records.keys()


# --- dumps that break off -------------------------------------------------------------------------------------------


def test_run_of_a_broken_first_dump_counts_once_the_memory_is_known_to_begin_in_it() -> None:
    """A ring memory that begins at 501: the second visit looks at the oldest record and asks from 504 on."""
    meter, shelf = ScriptedMeter(meter_records(501, 505, base=BASE)), Shelf()
    visit(meter, shelf, cut_after=2 + 3)
    assert {"run_first": 501, "run_last": 503, "sequence": None} == {
        name: (shelf.state or {})[name] for name in ("run_first", "run_last", "sequence")
    }
    meter.records = meter.records[1:]
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert [b"\x01\x05", b"\x04\x03\x01\xf8\x01"] == meter.log[:2]
    assert b"\x01\x03\x01\xf8\x01" == meter.log[-1]
    assert {"epoch": 0, "sequence": 505} == _without_time(shelf.state)


@pytest.mark.parametrize("first", [500, 506])
@pytest.mark.parametrize("code", [None, 4])
def test_run_that_the_memory_does_not_begin_in_counts_for_nothing(first: int, code: int | None) -> None:
    """An older record that had not come, a run that is gone, or a meter that cannot tell: everything again."""
    meter, shelf = ScriptedMeter(meter_records(501, 505, base=BASE)), Shelf()
    visit(meter, shelf, cut_after=2 + 3)
    meter.records = meter_records(first, 508, base=BASE)
    meter.refusals = {} if code is None else {b"\x01\x05": code}
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert b"\x01\x01" == meter.log[-1]
    assert expected(meter) <= shelf.records.keys()
    assert {"epoch": 0, "sequence": 508} == _without_time(shelf.state)


@settings(deadline=None)
@given(
    first=st.sampled_from([1, 2, 501, 40_000, 65_520]),
    size=st.integers(1, 14),
    flagged=st.sets(st.integers(0, 13)),
    words=st.integers(8, 24),
)
def test_link_that_always_breaks_gets_to_the_end(first: int, size: int, flagged: set[int], words: int) -> None:
    """Wherever a ring memory begins and the link breaks, each visit that hears a new record brings the end nearer."""
    with_context = tuple(first + place for place in flagged)
    meter, shelf = ScriptedMeter(meter_records(first, first + size - 1, base=BASE, with_context=with_context)), Shelf()
    for _ in range(size + 1):
        visit(meter, shelf, cut_after=words)
    assert expected(meter) == shelf.records.keys()
    assert {number for number in with_context if number < first + size} == with_context_kept(shelf)


# --- properties -----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(data=st.data())
def test_link_that_breaks_anywhere_loses_nothing(data: st.DataObject) -> None:
    """Whatever the order of records and the points of the breaks: the union of all visits is every record, once."""
    size = data.draw(st.integers(0, 8), label="size")
    flagged = data.draw(st.sets(st.integers(1, 8)), label="contexts")
    records = data.draw(st.permutations(meter_records(1, size, base=BASE, with_context=tuple(flagged))), label="order")
    place = data.draw(st.sampled_from(["after", "before", "end", "late"]), label="place")
    meter = ScriptedMeter(list(records), contexts=place, answers_first=data.draw(st.booleans(), label="overtaken"))
    shelf = Shelf()
    for cut in data.draw(st.lists(st.integers(0, 24), max_size=5), label="cuts"):
        visit(meter, shelf, cut_after=cut)
        covered = (shelf.state or {}).get("sequence")
        if isinstance(covered, int):
            assert set(range(1, covered + 1)) <= {key[1] for key in shelf.records if isinstance(key, tuple)}
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert expected(meter) == shelf.records.keys()
    assert {number for number in flagged if number <= size} == with_context_kept(shelf)


@settings(deadline=None)
@given(
    words=st.lists(st.tuples(st.sampled_from(["2a18", "2a34", "2a52", "2aff"]), st.binary(max_size=20)), max_size=12)
)
def test_no_octets_make_the_procedure_raise(words: list[tuple[str, bytes]]) -> None:
    """Any bytes on any characteristic at any time give requests, never an exception."""
    fetch = GlucoseFetch({"epoch": 0, "sequence": 7, "base_time": None})
    fetch.start()
    fetch.on_read("2a51", b"")
    for char, payload in words:
        for request in fetch.on_notify(char, payload):
            if isinstance(request, Keep):
                fetch.on_kept()
    fetch.on_silence()
    fetch.on_link_lost()
    assert fetch.is_done


@pytest.mark.parametrize(
    "state",
    [
        None,
        {"epoch": 0, "sequence": None, "run_first": 9, "run_last": 3},
        {"epoch": 0, "run_first": "x", "run_last": 70_000},
        {},
        {"epoch": "x"},
        {"epoch": 1, "sequence": 70_000},
        {"epoch": 2, "sequence": None},
        {"epoch": -1},
    ],
)
def test_strange_checkpoint_counts_as_nothing_read(state: Mapping[str, str | int | bool | None] | None) -> None:
    """A checkpoint that says no number makes the meter be read from the beginning."""
    fetch = GlucoseFetch(state)
    fetch.start()
    assert [Write("2a52", b"\x04\x01")] == fetch.on_read("2a51", b"\x00\x00")
    assert GlucoseWatermark.of(state).sequence is None


def _without_time(state: Mapping[str, str | int | bool | None] | None) -> dict[str, object]:
    return {name: value for name, value in (state or {}).items() if name != "base_time"}
