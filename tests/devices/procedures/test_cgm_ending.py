"""How a sensor's session ends, and what a sensor says about how it is set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Shelf, converse
from test_cgm_session import NOW, START, ScriptedSensor, follow, identities, identity

from gateway.devices.ieee11073 import SfloatSpecial
from gateway.devices.procedures import CgmSample as Sample
from gateway.devices.procedures import CgmSession, Close, Keep, Mark, Outcome, Patience
from gateway.devices.procedures.cgm_inquiry import CgmInquiry
from gateway.devices.procedures.requests import Request, Write
from gateway.sandbox.frames import append_crc, encode_cgm_measurement, encode_sfloat
from gateway.sandbox.records import CgmSample

CALIBRATION = bytes.fromhex("067800d00211a005")
OPS = {
    b"\x02": b"\x03\x05",
    b"\x08": b"\x09" + encode_sfloat(Decimal(250)),
    b"\x0b": b"\x0c" + encode_sfloat(Decimal(70)),
    b"\x14": b"\x15" + encode_sfloat(Decimal("2.5")),
    b"\x05\xff\xff": CALIBRATION + b"\x02\x00\x00",
    b"\x05\x01\x00": CALIBRATION + b"\x01\x00\x01",
}


def fact(shelf: Shelf, name: str) -> dict[str, object]:
    """The last fact of that name."""
    return dict(next(f.state for keep in reversed(shelf.keeps) for f in keep.facts if f.name == name))


def test_stopped_session_is_read_to_its_end_and_left() -> None:
    """The status says that nothing more will come; what is in the memory is fetched first, and the end is a fact."""
    sensor, shelf = ScriptedSensor([5, 10], session_status=1, ops=OPS), Shelf()
    assert Close(Outcome.SESSION_ENDED, "the session was stopped") == follow(sensor, shelf)
    assert identities(sensor) == shelf.records.keys()
    expected = {"session_start": START.isoformat(), "why": "the session was stopped", "offset": 10}
    assert expected == fact(shelf, "cgm.ended")
    assert {"2aac", "2aaa"}.isdisjoint(char for char, _ in sensor.log)


def test_stop_that_a_live_record_tells_ends_the_contact() -> None:
    """The record itself is kept first."""
    sensor, session = ScriptedSensor([5]), CgmSession(NOW)
    requests = _until_live(session, sensor)
    assert not requests
    frame = encode_cgm_measurement(CgmSample(10, Decimal(100), status=1), crc=True)
    kept, ended, closed = session.on_notify("2aa7", frame)
    assert isinstance(kept, Keep)
    assert [(START, 10)] == [identity(kept, record) for record in kept.records]
    assert isinstance(ended, Keep)
    assert ("cgm.ended",) == tuple(mark.name for mark in ended.facts)
    assert Close(Outcome.SESSION_ENDED, "the session was stopped") == closed


def _until_live(session: CgmSession, sensor: ScriptedSensor) -> list[Request]:
    session.start()
    for char in ("2aa8", "2aa9", "2aaa", "2aab"):
        data = sensor.read(char)
        assert isinstance(data, bytes)
        session.on_read(char, data)
    session.on_notify("2aa7", sensor.frame(sensor.offsets))
    session.on_notify("2a52", b"\x06\x00\x01\x01")
    return session.on_refused("2aac", 0x0A)


def test_time_that_has_run_out_ends_the_session() -> None:
    """A sensor of 24 hours on its second day, with nothing from after its end."""
    sensor, shelf = ScriptedSensor([5, 1440], run_time_h=24), Shelf()
    closed = follow(sensor, shelf)
    assert Close(Outcome.SESSION_ENDED, "the sensor's time ended at 2025-06-02T08:00+02:00") == closed
    assert identities(sensor) == shelf.records.keys()


def test_sensor_that_outlives_its_time_is_followed() -> None:
    """The run time is an expectation: a record from after it proves that the sensor lives."""
    assert Outcome.LINK_LOST == follow(ScriptedSensor([5, 1445], run_time_h=24), Shelf()).outcome


@pytest.mark.parametrize("run_time_h", [0, 24])
def test_run_time_is_not_judged_without_a_clock(run_time_h: int) -> None:
    """A run time of 0 says nothing, and a clock that cannot be right judges nobody."""
    session = CgmSession(NOW, clock_is_trusted=run_time_h == 0)
    closed = converse(session, ScriptedSensor([5], run_time_h=run_time_h), Shelf(), identity)
    assert Outcome.LINK_LOST == closed.outcome


def test_sensor_that_was_never_started_is_left_alone() -> None:
    """No session is running: nothing is written to it, the time neither."""
    sensor = ScriptedSensor([], start=None, session_status=1, status=1)
    assert Close(Outcome.SESSION_ENDED, "no session is running") == follow(sensor, Shelf())
    assert [] == sensor.log


def test_new_session_after_an_ended_one_is_followed_without_help() -> None:
    """Another start, offsets from the beginning: each record is kept under its own session."""
    sensor, shelf = ScriptedSensor([5, 10], session_status=1), Shelf()
    follow(sensor, shelf)
    later = START + timedelta(hours=20)
    fresh = ScriptedSensor([5], start=later)
    assert Outcome.LINK_LOST == follow(fresh, shelf).outcome
    assert identities(sensor) | identities(fresh, later) == shelf.records.keys()


@pytest.mark.parametrize("crc", [True, False])
def test_settings_are_read_once_a_day(crc: bool) -> None:
    """Interval, the levels that the sensor has, and its calibrations; what it does not know is passed over."""
    sensor, shelf = ScriptedSensor([5], crc=crc, ops=OPS), Shelf()
    follow(sensor, shelf)
    assert {
        "asked_on": "2025-06-02",
        "interval_min": 5,
        "is_off": False,
        "is_fastest": False,
        "patient_high": "250",
        "patient_low": "70",
        "rate_of_decrease": "2.5",
    } == fact(shelf, "cgm.settings")
    calibration = fact(shelf, "cgm.calibration")
    assert (2, "120", 2) == (calibration["record_number"], calibration["glucose_mg_dl"], calibration["read"])
    asked = [data[0] for char, data in sensor.log if char == "2aac"]
    assert [0x02, 0x08, 0x0B, 0x0E, 0x11, 0x14, 0x17, 0x05, 0x05, 0x05] == asked
    follow(sensor, shelf)
    assert [] == [data for char, data in sensor.log if char == "2aac"]


def test_settings_are_asked_again_on_another_day() -> None:
    """The day is part of the checkpoint."""
    sensor, shelf = ScriptedSensor([5], ops=OPS), Shelf()
    follow(sensor, shelf)
    sensor.log.clear()
    converse(CgmSession(NOW + timedelta(days=1), shelf.state), sensor, shelf, identity)
    assert any(char == "2aac" for char, _ in sensor.log)


def test_interval_is_set_only_where_the_owner_wants_it() -> None:
    """Nothing is set by default; with a wish that differs, once, and the sensor's answer is a fact."""
    ops = OPS | {b"\x01\x03": b"\x1c\x01\x01"}
    for wanted, expected in ((None, []), (5, []), (3, [b"\x01\x03"])):
        sensor, shelf = ScriptedSensor([5], crc=False, ops=ops), Shelf()
        converse(CgmSession(NOW, interval_min=wanted), sensor, shelf, identity)
        assert expected == [data for char, data in sensor.log if char == "2aac" and data[0] == 1]
    assert 3 == fact(shelf, "cgm.settings")["interval_set_to_min"]


def test_silence_ends_the_inquiry_and_not_the_session() -> None:
    """A sensor that does not answer is not asked again that day, and is followed all the same."""
    sensor, shelf = ScriptedSensor([5], ops={b"\x02": b""}), Shelf()
    assert Outcome.LINK_LOST == follow(sensor, shelf).outcome
    assert "2025-06-02" == fact(shelf, "cgm.settings")["asked_on"]
    assert 1 == sum(char == "2aac" for char, _ in sensor.log)


def test_sensor_that_hangs_up_over_a_question_is_not_asked_again_that_day() -> None:
    """What it answered before is kept, and it is followed from then on."""
    sensor, shelf = ScriptedSensor([5], ops=OPS), Shelf()
    assert Outcome.LINK_LOST == follow(sensor, shelf, cut_after=7).outcome
    assert 5 == fact(shelf, "cgm.settings")["interval_min"]
    follow(sensor, shelf)
    assert [] == [data for char, data in sensor.log if char == "2aac"]


def test_answer_with_a_wrong_crc_is_set_aside() -> None:
    """It counts for nothing, and the next question is asked."""
    session = CgmSession(NOW)
    sensor = ScriptedSensor([5], ops=OPS)
    session.start()
    for char in ("2aa8", "2aa9", "2aaa", "2aab"):
        data = sensor.read(char)
        assert isinstance(data, bytes)
        session.on_read(char, data)
    session.on_notify("2a52", b"\x06\x00\x01\x06")
    patience = [session.patience]
    damaged = bytearray(append_crc(b"\x03\x05"))
    damaged[1] ^= 1
    (request,) = session.on_notify("2aac", bytes(damaged))
    assert isinstance(request, Write)
    assert 0x08 == request.data[0]
    (keep,) = session.on_silence()
    assert isinstance(keep, Keep)
    assert ["2AAC: CRC mismatch"] == [spoiled.detail for spoiled in keep.spoiled]
    assert [Patience.ANSWER, Patience.LONG] == [*patience, session.patience]
    assert "interval_min" not in dict(keep.facts[0].state)


def test_number_of_questions_is_bounded() -> None:
    """A sensor with endless calibrations is asked for a few of them."""
    inquiry = CgmInquiry(has_crc=False, asked_on="2025-06-02")
    requests = inquiry.start()
    asked = 0
    number = 5000
    while any(isinstance(request, Write) for request in requests):
        write = next(request for request in requests if isinstance(request, Write))
        asked += 1
        if write.data[0] == 5:
            number -= 1
            requests = inquiry.on_answer(CALIBRATION + number.to_bytes(2, "little") + b"\0")
        else:
            requests = inquiry.on_answer(bytes((0x1C, write.data[0], 2)))
    assert 15 == asked
    (keep,) = requests
    assert isinstance(keep, Keep)
    assert isinstance(keep.facts[0], Mark)


@given(words=st.lists(st.binary(max_size=20), max_size=30), has_crc=st.booleans())
def test_no_octets_make_the_inquiry_raise(words: list[bytes], has_crc: bool) -> None:
    """Whatever the sensor says, the inquiry ends or goes on."""
    inquiry = CgmInquiry(has_crc=has_crc, asked_on="2025-06-02", interval_min=5)
    inquiry.start()
    for word in words:
        inquiry.on_answer(word)
    inquiry.give_up()
    assert not inquiry.is_open


@pytest.mark.parametrize("char", ["2aa8", "2aa9", "2aaa", "2aab", "2aa7", "2aac"])
def test_wrong_crc_is_set_aside_on_every_characteristic(char: str) -> None:
    """One bit flipped in any frame of a sensor with E2E-CRC: kept as it came, never believed."""

    @dataclass
    class Damaged(ScriptedSensor):
        def read(self, asked: str) -> bytes | int:
            data = super().read(asked)
            return flipped(data) if asked == char and isinstance(data, bytes) else data

        def frame(self, offsets: Iterable[int]) -> bytes:
            return flipped(super().frame(offsets)) if char == "2aa7" else super().frame(offsets)

        def answer(self, request: bytes) -> list[tuple[str, bytes]]:
            return [(asked, flipped(data) if char == "2aac" else data) for asked, data in super().answer(request)]

    def flipped(data: bytes) -> bytes:
        return data[:-3] + bytes((data[-3] ^ 0x10,)) + data[-2:]

    shelf = Shelf()
    follow(Damaged([5, 10], ops=OPS), shelf)
    assert {char} == {spoiled.frame.char for spoiled in shelf.spoiled}
    assert all("CRC mismatch" in spoiled.detail for spoiled in shelf.spoiled)


def test_warm_up_is_kept_with_its_status() -> None:
    """No number yet is no reading of nought: the records are kept, and the session goes on."""
    session = CgmSession(NOW)
    _until_live(session, ScriptedSensor([5]))
    frame = encode_cgm_measurement(CgmSample(10, None, calibration_temperature=0x02), crc=True)
    (kept,) = session.on_notify("2aa7", frame)
    assert isinstance(kept, Keep)
    (sample,) = kept.records
    assert isinstance(sample, Sample)
    assert (SfloatSpecial.NAN, ("calibration_not_allowed",)) == (sample.record.glucose_mg_dl, sample.record.status)
    assert not session.is_done
