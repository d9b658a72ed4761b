"""Reading a OneTouch meter: every record once, whatever the link and the meter do."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Said, Shelf, converse

from gateway.devices.onetouch import ONETOUCH_NOTIFY, ONETOUCH_WRITE
from gateway.devices.procedures import Close, GlucoseRecord, Keep, OneTouchFetch, Outcome, Record, Write
from gateway.sandbox.peripherals.onetouch import onetouch_frame

NOW = datetime(2025, 6, 2, 10, 0, tzinfo=UTC)
YEAR_2000 = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass
class Meter:
    """A scripted meter: tests by number as (seconds, mg/dL)."""

    tests: dict[int, tuple[int, int]]
    clock_behind: timedelta = timedelta()
    repeats: int = 1
    deaf: list[int] = field(default_factory=list)
    slow: set[int] = field(default_factory=set)
    held: list[Said] = field(default_factory=list)
    spoils: set[int] = field(default_factory=set)
    packet_octets: int = 20
    asked: list[int] = field(default_factory=list)
    requests: int = 0
    refusal: int | None = None
    acknowledged: int = 0

    def read(self, char: str) -> bytes | int:
        return 0x0A

    def subscribe(self, char: str) -> int | list[Said]:
        return []

    def write(self, char: str, data: bytes) -> int | list[Said]:
        assert char == ONETOUCH_WRITE
        if len(data) == 1:
            self.acknowledged += 1
            return []
        self.requests += 1
        if self.requests in self.deaf:
            return []
        payload = self._payload(data[5:-3])
        frame = onetouch_frame(payload)
        if data[5] == 0xB3 and int.from_bytes(data[6:8], "little") in self.spoils:
            frame = frame[:-1] + bytes((frame[-1] ^ 1,))
        room = self.packet_octets - 1
        parts = [frame[at : at + room] for at in range(0, len(frame), room)]
        packets = [bytes((len(parts) - place | (0x40 if place else 0),)) + part for place, part in enumerate(parts)]
        said = [(ONETOUCH_NOTIFY, b"\x81")] + [(ONETOUCH_NOTIFY, packet) for packet in packets] * self.repeats
        if self.requests in self.slow:
            self.held += said
            return []
        said, self.held = [*self.held, *said], []
        return said

    def _payload(self, request: bytes) -> bytes:
        if self.refusal is not None:
            return bytes((self.refusal,))
        if request == b"\x20\x02":
            return b"\x06" + struct.pack("<I", int((NOW - self.clock_behind - YEAR_2000).total_seconds()))
        if request == b"\x0a\x02\x06":
            return b"\x06" + struct.pack("<I", max(self.tests, default=0))
        if request == b"\x27\x00":
            return b"\x06" + struct.pack("<H", len(self.tests))
        number = int.from_bytes(request[1:3], "little")
        self.asked.append(number)
        if number not in self.tests:
            return b"\x08"
        seconds, mg_dl = self.tests[number]
        return b"\x06" + struct.pack("<IHBHH", seconds, mg_dl, 0, 0, 0)


def memory(first: int, last: int, *, base: int = 800_000_000) -> dict[int, tuple[int, int]]:
    return {number: (base + 60 * number, 80 + number % 100) for number in range(first, last + 1)}


def identity(keep: Keep, record: Record) -> tuple[int, int, datetime | None]:
    assert isinstance(record, GlucoseRecord)
    return keep.epoch, record.measurement.sequence, record.measurement.base_time


def visit(meter: Meter, shelf: Shelf, *, cut_after: int | None = None, silences: int = 10) -> Close:
    meter.asked.clear()
    return converse(OneTouchFetch(NOW, shelf.state), meter, shelf, identity, cut_after=cut_after, silences=silences)


def kept(shelf: Shelf) -> list[tuple[Keep, GlucoseRecord]]:
    return [(keep, r) for keep in shelf.keeps for r in keep.records if isinstance(r, GlucoseRecord)]


def numbers(shelf: Shelf) -> list[tuple[int, int]]:
    """(epoch, number) of every kept record."""
    return sorted((keep.epoch, record.measurement.sequence) for keep, record in kept(shelf))


def test_first_visit_reads_downwards_and_marks_with_the_records() -> None:
    """Newest first; the watermark holds everything."""
    meter, shelf = Meter(memory(1, 5)), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert [5, 4, 3, 2, 1] == meter.asked
    assert [(0, n) for n in range(1, 6)] == numbers(shelf)
    assert 5 == (shelf.state or {})["done"]
    assert 8 == meter.acknowledged


def test_next_visit_reads_only_what_is_new() -> None:
    """The record of the watermark is looked at, then the new ones are read."""
    meter, shelf = Meter(memory(1, 5)), Shelf()
    visit(meter, shelf)
    meter.tests |= memory(6, 8)
    visit(meter, shelf)
    assert [5, 8, 7, 6] == meter.asked
    keeps = len(shelf.keeps)
    visit(meter, shelf)
    assert ([8], keeps) == (meter.asked, len(shelf.keeps))


@pytest.mark.parametrize("cut", range(2, 60))
def test_link_lost_anywhere(cut: int) -> None:
    """Whatever the meter had said when the link broke, the visits together bring every record, and the watermark
    never passes one that is not durable."""
    meter, shelf = Meter(memory(1, 20)), Shelf()
    visit(meter, shelf, cut_after=cut)
    done = (shelf.state or {"done": 0})["done"]
    assert isinstance(done, int)
    assert {(0, n) for n in range(1, done + 1)} <= set(numbers(shelf))
    meter.tests |= memory(21, 23)
    visit(meter, shelf, cut_after=cut)
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert [(0, n) for n in range(1, 24)] == numbers(shelf)
    assert 23 == (shelf.state or {})["done"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 4)), max_size=8), st.integers(0, 12))
def test_any_cuts_lose_nothing(cuts: list[tuple[int, int]], first: int) -> None:
    """For any sequence of broken visits with new tests in between."""
    meter, shelf = Meter(memory(1, first)), Shelf()
    for cut, fresh in cuts:
        visit(meter, shelf, cut_after=cut)
        top = max(meter.tests, default=0)
        meter.tests |= memory(top + 1, top + fresh)
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert [(0, n) for n in sorted(meter.tests)] == numbers(shelf)


@pytest.mark.parametrize("packet_octets", [4, 7, 19, 20])
def test_repeated_answers_are_no_further_records(packet_octets: int) -> None:
    """Each frame twice, whole or in pieces: the number of a record is not moved by it."""
    meter, shelf = Meter(memory(1, 6), repeats=2, packet_octets=packet_octets), Shelf()
    visit(meter, shelf)
    times = {record.measurement.sequence: record.measurement.base_time for _, record in kept(shelf)}
    assert {n: datetime(2000, 1, 1) + timedelta(seconds=s) for n, (s, _) in meter.tests.items()} == times  # noqa: DTZ001


@pytest.mark.parametrize("late", [1, 2, 3, 4])
def test_answers_that_all_come_at_last_are_one_record(late: int) -> None:
    """A slow meter answers each of the requests that were written again: no number moves, and the oldest is read."""
    meter, shelf = Meter(memory(1, 6), slow=set(range(5, 5 + late))), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf, silences=20).outcome
    times = {record.measurement.sequence: record.measurement.base_time for _, record in kept(shelf)}
    assert {n: datetime(2000, 1, 1) + timedelta(seconds=s) for n, (s, _) in meter.tests.items()} == times  # noqa: DTZ001


def test_many_numbers_without_a_record_are_passed() -> None:
    """Their answers are all alike: each is asked for until it is clear that it is no repetition."""
    tests = memory(1, 12)
    for number in (8, 9, 10):
        del tests[number]
    meter, shelf = Meter(tests), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf, silences=60).outcome
    assert [(0, n) for n in sorted(tests)] == numbers(shelf)


def test_records_that_were_overwritten_are_declared() -> None:
    """The memory went round before it was read: what is missing is named, once."""
    meter, shelf = Meter(memory(1, 5)), Shelf()
    visit(meter, shelf)
    meter.tests = memory(9, 12)
    closed = visit(meter, shelf)
    facts = {fact.name: fact.state for keep in shelf.keeps for fact in keep.facts}
    assert ["glucose.gap.0.6"] == list(facts)
    assert (6, 8, 3) == tuple(facts["glucose.gap.0.6"][name] for name in ("first", "last", "count"))
    assert (Outcome.COMPLETE, "records 6 to 8 are lost: the meter overwrote them before they were read") == (
        closed.outcome,
        closed.detail,
    )
    assert 12 == (shelf.state or {})["done"]
    assert visit(meter, shelf).detail is None


def test_first_visit_declares_nothing() -> None:
    """What a meter had forgotten before anybody asked is not lost to us, and a new life begins at its own oldest."""
    meter, shelf = Meter(memory(40, 45)), Shelf()
    assert visit(meter, shelf).detail is None
    meter.tests = memory(7, 9, base=900_000_000)
    visit(meter, shelf)
    assert () == tuple(fact for keep in shelf.keeps for fact in keep.facts)


def test_unanswered_request_is_written_again() -> None:
    """Up to five times; the sixth silence ends the visit, and what came is kept."""
    meter, shelf = Meter(memory(1, 3), deaf=[1, 2, 6, 7, 8, 9, 10]), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf, silences=20).outcome
    assert [(0, 1), (0, 2), (0, 3)] == numbers(shelf)
    mute, empty = Meter(memory(1, 3), deaf=list(range(5, 99))), Shelf()
    assert Outcome.SILENT == visit(mute, empty, silences=20).outcome
    assert [(0, 3)] == numbers(empty)
    assert 4 + 6 == mute.requests


def test_counter_that_starts_again_opens_an_epoch() -> None:
    """A lower highest number, or another record under the number of the watermark."""
    meter, shelf = Meter(memory(1, 5)), Shelf()
    visit(meter, shelf)
    meter.tests = memory(1, 2, base=810_000_000)
    visit(meter, shelf)
    assert [(1, 1), (1, 2)] == [entry for entry in numbers(shelf) if entry[0] == 1]
    meter.tests = memory(1, 9, base=820_000_000)
    visit(meter, shelf)
    assert [(2, n) for n in range(1, 10)] == [entry for entry in numbers(shelf) if entry[0] == 2]


def test_memory_that_has_wrapped_is_read_from_its_oldest_record() -> None:
    """What the meter has not any more is not asked for, and does not hold the watermark up."""
    meter, shelf = Meter(memory(1, 5)), Shelf()
    visit(meter, shelf)
    meter.tests = memory(90, 99)
    visit(meter, shelf)
    assert list(range(99, 89, -1)) == meter.asked
    assert 99 == (shelf.state or {})["done"]


def test_damaged_record_does_not_stop_the_others() -> None:
    """It is asked for again, set aside, and passed."""
    meter, shelf = Meter(memory(1, 4), spoils={3}), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf, silences=20).outcome
    assert [(0, 1), (0, 2), (0, 4)] == numbers(shelf)
    assert 6 == len(shelf.spoiled)


def test_missing_record_is_passed() -> None:
    """A number without a record is no reason to stop, and the count still finds the oldest record."""
    tests = memory(1, 5)
    del tests[4]
    meter, shelf = Meter(tests), Shelf()
    assert Outcome.COMPLETE == visit(meter, shelf).outcome
    assert [(0, n) for n in (1, 2, 3, 5)] == numbers(shelf)


def test_not_allowed_means_not_paired() -> None:
    """Refusal 7 asks for pairing."""
    assert Outcome.NEEDS_PAIRING == visit(Meter(memory(1, 2), refusal=7), Shelf()).outcome


def test_clock_is_compared_and_never_set() -> None:
    """The offset goes with each record; no request sets the clock."""
    meter, shelf = Meter(memory(1, 2), clock_behind=timedelta(hours=1)), Shelf()
    visit(meter, shelf)
    offsets = {record.clock_offset for record in shelf.records.values() if isinstance(record, GlucoseRecord)}
    assert {timedelta(hours=1)} == offsets
    fetch = OneTouchFetch(NOW, clock_is_trusted=False)
    assert [0x20, 0x02] == [*next(r for r in fetch.start() if isinstance(r, Write)).data[5:7]]


@given(st.lists(st.binary(max_size=24), max_size=12))
def test_no_octets_make_it_raise(packets: list[bytes]) -> None:
    """Total for every sequence of packets."""
    fetch = OneTouchFetch(NOW)
    fetch.start()
    for packet in packets:
        fetch.on_notify(ONETOUCH_NOTIFY, packet)
    fetch.on_silence()
    fetch.on_link_lost()
    assert fetch.is_done
