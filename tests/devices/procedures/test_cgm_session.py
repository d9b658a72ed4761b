"""Following a sensor: what was missed and what is live, each once, in the right session."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Shelf, converse

from gateway.devices.procedures import (
    CgmSample,
    CgmSession,
    Close,
    Keep,
    Outcome,
    Patience,
    Read,
    Record,
    Subscribe,
    Write,
)
from gateway.sandbox.frames import (
    append_crc,
    encode_cgm_feature,
    encode_cgm_measurement,
    encode_cgm_status,
    encode_session_run_time,
    encode_session_start,
)
from gateway.sandbox.records import CgmSample as Sample

PARIS = ZoneInfo("Europe/Paris")
START = datetime(2025, 6, 1, 6, 0, tzinfo=UTC)
NOW = datetime(2025, 6, 2, 8, 30, tzinfo=PARIS)
Identity = tuple[datetime, int]


def identity(_keep: Keep, record: Record) -> Identity:
    assert isinstance(record, CgmSample)
    return record.session_start, record.record.time_offset_min


@dataclass
class ScriptedSensor:
    """A sensor; `live` notifications are slipped in between the answers to a report."""

    offsets: list[int]
    start: datetime | None = START
    crc: bool = True
    status: int = 0
    live: list[int] = field(default_factory=list)
    per_frame: int = 2
    has_records_access: bool = True
    report_code: int | None = None
    filter_code: int | None = None
    is_mute: bool = False
    log: list[tuple[str, bytes]] = field(default_factory=list)
    session_status: int = 0
    run_time_h: int = 336
    ops: dict[bytes, bytes] | None = None

    def frame(self, offsets: Iterable[int]) -> bytes:
        return b"".join(encode_cgm_measurement(Sample(o, Decimal(100 + o % 80)), crc=self.crc) for o in offsets)

    def read(self, char: str) -> bytes | int:
        match char:
            case "2aa8":
                return encode_cgm_feature(0x1000 if self.crc else 0)
            case "2aa9":
                now_min = max(self.offsets, default=0)
                return encode_cgm_status(now_min, self.session_status, self.status, crc=self.crc)
            case "2aaa":
                local = None if self.start is None else self.start.astimezone(PARIS)
                return encode_session_start(local, crc=self.crc)
            case "2aab":
                return encode_session_run_time(self.run_time_h, crc=self.crc)
            case _:
                return 0x0A

    def subscribe(self, char: str) -> int | list[tuple[str, bytes]]:
        is_missing = {"2a52": not self.has_records_access, "2aac": self.ops is None}
        return 0x0A if is_missing.get(char, False) else []

    def answer(self, request: bytes) -> list[tuple[str, bytes]]:
        """What the Specific Ops Control Point says: from `ops`, or that it does not know the request."""
        assert self.ops is not None
        body = request[:-2] if self.crc else request
        assert not self.crc or append_crc(body) == request
        said = self.ops.get(body, bytes((0x1C, body[0], 2)))
        return [("2aac", append_crc(said) if self.crc else said)] if said else []

    def write(self, char: str, data: bytes) -> int | list[tuple[str, bytes]]:
        if char == "2aac":
            if self.ops is None:
                return 0x0A
            self.log.append((char, data))
            return self.answer(data)
        self.log.append((char, data))
        if char == "2aaa":
            self.start, self.status = START, 0
            return []
        if not self.has_records_access:
            return 0x0A
        if self.is_mute:
            return []
        if self.report_code is not None or (self.filter_code is not None and data[1] == 3):
            return [("2a52", bytes((6, 0, 1, self.report_code or self.filter_code or 0)))]
        low = int.from_bytes(data[3:5], "little") if data[1] == 3 else 0
        chosen = [offset for offset in self.offsets if offset >= low]
        said = [("2aa7", self.frame(chosen[i : i + self.per_frame])) for i in range(0, len(chosen), self.per_frame)]
        said.append(("2a52", bytes((6, 0, 1, 1 if chosen else 6))))
        for place, offset in enumerate(self.live):
            said.insert(min(2 * place, len(said)), ("2aa7", self.frame([offset])))
        self.offsets += self.live
        self.live = []
        return said


def follow(sensor: ScriptedSensor, shelf: Shelf, *, cut_after: int | None = None) -> Close:
    sensor.log.clear()
    return converse(CgmSession(NOW, shelf.state), sensor, shelf, identity, cut_after=cut_after)


def identities(sensor: ScriptedSensor, start: datetime = START) -> set[Identity]:
    return {(start, offset) for offset in sensor.offsets}


@pytest.mark.parametrize("crc", [True, False])
def test_memory_then_live(crc: bool) -> None:
    """The whole session is fetched first; live records between its answers are each kept once."""
    sensor, shelf = ScriptedSensor(list(range(5, 60, 5)), crc=crc, live=[60, 65]), Shelf()
    assert Outcome.LINK_LOST == follow(sensor, shelf).outcome
    assert identities(sensor) == shelf.records.keys()
    assert [("2a52", b"\x01\x03\x01\x00\x00")] == sensor.log
    assert {"session_start": START.isoformat(), "offset": 65} == shelf.state


def test_backfill_begins_after_the_last_offset() -> None:
    """After an outage only what was missed is asked for."""
    sensor, shelf = ScriptedSensor([5, 10, 15]), Shelf()
    follow(sensor, shelf)
    sensor.offsets += [20, 25]
    follow(sensor, shelf)
    assert [("2a52", b"\x01\x03\x01\x10\x00")] == sensor.log
    assert identities(sensor) == shelf.records.keys()


def test_live_record_does_not_step_over_an_outage() -> None:
    """A link that breaks during the backfill leaves the checkpoint where it was, live record or not."""
    sensor, shelf = ScriptedSensor([5, 10, 15, 20, 25, 30], live=[300]), Shelf()
    follow(sensor, shelf, cut_after=4 + 2)
    assert (START, 300) in shelf.records
    assert shelf.state is None
    follow(sensor, shelf)
    assert identities(sensor) == shelf.records.keys()


def test_each_live_notification_is_kept_at_once_and_moves_the_checkpoint() -> None:
    """A live record is durable before the next one comes."""
    session, sensor = CgmSession(NOW), ScriptedSensor([5])
    shelf = Shelf()
    for request in _opened(session, sensor):
        assert isinstance(request, Keep)
        shelf.put(request, identity)
    assert Patience.LONG == session.patience
    (keep,) = session.on_notify("2aa7", sensor.frame([10]))
    assert isinstance(keep, Keep)
    assert keep.mark is not None
    assert 10 == keep.mark.state["offset"]
    assert not keep.is_told_once
    assert [] == session.on_silence()


def live(session: CgmSession, sensor: ScriptedSensor, *offsets: int) -> list[object]:
    return [*session.on_notify("2aa7", sensor.frame(offsets))]


def marked(requests: Iterable[object]) -> list[object]:
    return [request.mark.state["offset"] for request in requests if isinstance(request, Keep) and request.mark]


def test_gap_between_live_records_is_asked_for_before_the_checkpoint_passes_it() -> None:
    """Lost notifications are fetched from the memory; a link that breaks meanwhile leaves the mark before them."""
    session, sensor = CgmSession(NOW), ScriptedSensor([5, 10])
    assert [10] == marked(_opened(session, sensor))
    assert [15] == marked(live(session, sensor, 15))
    sensor.offsets += [15, 20, 25, 30, 35]
    keep, asked = live(session, sensor, 30)
    assert isinstance(keep, Keep)
    assert ([], 1) == (marked([keep]), len(keep.records))
    assert Write("2a52", b"\x01\x03\x01\x10\x00") == asked
    assert Patience.ANSWER == session.patience
    assert [] == marked(live(session, sensor, 35))
    said = sensor.write("2a52", b"\x01\x03\x01\x10\x00")
    assert isinstance(said, list)
    kept = [request for word in said for request in session.on_notify(*word)]
    assert [35] == marked(kept)
    assert {20, 25} <= {
        record.record.time_offset_min
        for request in kept
        if isinstance(request, Keep)
        for record in request.records
        if isinstance(record, CgmSample)
    }
    assert [40] == marked(live(session, sensor, 40))


def test_usual_step_is_learned_from_the_sensor() -> None:
    """A sensor that speaks every quarter of an hour leaves no gap by that; one of every minute does by missing one."""
    slow, fast = ScriptedSensor([0, 15, 30]), ScriptedSensor([0, 1, 2])
    sessions = CgmSession(NOW), CgmSession(NOW)
    _opened(sessions[0], slow)
    _opened(sessions[1], fast)
    assert [45] == marked(live(sessions[0], slow, 45))
    assert [] == marked(live(sessions[1], fast, 4))


def test_gap_of_a_sensor_without_a_memory_is_passed() -> None:
    """Nothing can be asked for: the checkpoint follows what is heard."""
    session, sensor = CgmSession(NOW), ScriptedSensor([], has_records_access=False)
    _opened(session, sensor)
    assert [5, 500] == marked([*live(session, sensor, 5), *live(session, sensor, 500)])


@pytest.mark.parametrize("shift_min", [-20, 2, 20])
def test_start_that_moves_a_little_is_the_same_session(shift_min: int) -> None:
    """A sensor that computes its start from a drifting clock does not make its whole session be read again."""
    sensor, shelf = ScriptedSensor(list(range(5, 305, 5))), Shelf()
    follow(sensor, shelf)
    sensor.start = START + timedelta(minutes=shift_min)
    sensor.offsets += [305]
    follow(sensor, shelf)
    assert [("2a52", b"\x01\x03\x01\x2d\x01")] == sensor.log
    assert identities(sensor) == shelf.records.keys()
    assert {"session_start": START.isoformat(), "offset": 305} == shelf.state


@pytest.mark.parametrize(("shift_min", "offsets"), [(31, [5, 400]), (20, [5, 10]), (320, [5])])
def test_start_that_cannot_be_the_same_session_is_a_new_one(shift_min: int, offsets: list[int]) -> None:
    """A shift of half an hour, an offset behind the checkpoint, or a start after what was read: another session."""
    sensor, shelf = ScriptedSensor(list(range(5, 305, 5))), Shelf()
    follow(sensor, shelf)
    later = START + timedelta(minutes=shift_min)
    sensor.start, sensor.offsets = later, offsets
    follow(sensor, shelf)
    assert {(later, offset) for offset in offsets} <= shelf.records.keys()


def test_short_session_followed_by_another_is_not_taken_for_drift() -> None:
    """A sensor that was started anew after ten minutes began after everything that had been read of it."""
    sensor, shelf = ScriptedSensor([5, 10]), Shelf()
    follow(sensor, shelf)
    later = START + timedelta(minutes=12)
    sensor.start, sensor.offsets = later, [5, 10, 15]
    follow(sensor, shelf)
    assert {(later, 5), (later, 10), (later, 15)} <= shelf.records.keys()


@pytest.mark.parametrize(("start", "status"), [(None, 0), (START, 1), (START, 0)])
def test_untrusted_clock_is_never_told_to_a_sensor(start: datetime | None, status: int) -> None:
    """A sensor without a start waits until we know the time; one that has a start is followed."""
    sensor, shelf = ScriptedSensor([5], start=start, status=status), Shelf()
    closed = converse(CgmSession(NOW, clock_is_trusted=False), sensor, shelf, identity)
    assert [] == [data for char, data in sensor.log if char == "2aaa"]
    assert (Outcome.RETRY_LATER if start is None else Outcome.LINK_LOST) == closed.outcome
    assert (set() if start is None else identities(sensor)) == shelf.records.keys()


@pytest.mark.parametrize("ending", ["refused", "malformed", "unset", "silent"])
def test_records_of_an_unclear_session_are_kept_whatever_ends_it(ending: str) -> None:
    """A start that cannot be read again loses no octet of what waits for it."""
    session, sensor = CgmSession(NOW), ScriptedSensor([5, 500])
    _opened(session, sensor)
    frames = [sensor.frame([5]), sensor.frame([10])]
    for frame in frames:
        session.on_notify("2aa7", frame)
    match ending:
        case "refused":
            requests = session.on_refused("2aaa", 0x0E)
        case "malformed":
            requests = session.on_read("2aaa", b"")
        case "unset":
            requests = session.on_read("2aaa", encode_session_start(None, crc=True))
        case _:
            session.on_notify("2aa7", sensor.frame([900]))
            requests = [*session.on_silence(), *session.on_silence()]
    assert frames == [f.payload for request in requests if isinstance(request, Keep) for f in request.loose]
    assert isinstance(requests[-1], Close)


def test_new_session_start_is_a_new_session() -> None:
    """Offsets that begin again with a new start are new records, read from the beginning."""
    sensor, shelf = ScriptedSensor([5, 10, 500]), Shelf()
    follow(sensor, shelf)
    old = identities(sensor)
    later = START + timedelta(days=14)
    sensor.start, sensor.offsets = later, [5, 10]
    follow(sensor, shelf)
    assert [("2a52", b"\x01\x03\x01\x00\x00")] == sensor.log
    assert old | identities(sensor, later) == shelf.records.keys()
    assert {"session_start": later.isoformat(), "offset": 10} == shelf.state


def test_session_that_changes_on_the_link_is_noticed() -> None:
    """An offset that goes back is not time travel: the session start is read again before it is kept."""
    session, sensor = CgmSession(NOW), ScriptedSensor([5, 500])
    _opened(session, sensor)
    assert [Read("2aaa")] == session.on_notify("2aa7", sensor.frame([5]))
    assert [] == session.on_notify("2aa7", sensor.frame([10]))
    sensor.start = START + timedelta(days=14)
    answer = sensor.read("2aaa")
    assert isinstance(answer, bytes)
    keeps = [request for request in session.on_read("2aaa", answer) if isinstance(request, Keep)]
    found = [identity(keep, record) for keep in keeps for record in keep.records]
    assert [(sensor.start, 5), (sensor.start, 10)] == found


def test_records_of_an_unclear_session_are_kept_as_payloads() -> None:
    """A link that breaks before the session start is known again loses no octet."""
    session, sensor = CgmSession(NOW), ScriptedSensor([5, 500])
    _opened(session, sensor)
    session.on_notify("2aa7", sensor.frame([5]))
    (keep,) = session.on_link_lost()
    assert isinstance(keep, Keep)
    assert [sensor.frame([5])] == [frame.payload for frame in keep.loose]


@pytest.mark.parametrize("status", [0, 1])
def test_time_is_written_once_when_the_sensor_asks_for_it(status: int) -> None:
    """All zero, or "time synchronisation required": our local time, zone and daylight saving, once."""
    sensor = ScriptedSensor([5], start=None if not status else START, status=status)
    shelf = Shelf()
    follow(sensor, shelf)
    written = [data for char, data in sensor.log if char == "2aaa"]
    assert [encode_session_start(NOW, crc=True)] == written
    assert identities(sensor) == shelf.records.keys()


def test_time_is_never_written_to_a_sensor_that_knows_it() -> None:
    """Writing the start again would move the session's time line."""
    sensor = ScriptedSensor([5])
    follow(sensor, Shelf())
    assert [] == [data for char, data in sensor.log if char == "2aaa"]


def test_sensor_without_record_access_is_followed_live() -> None:
    """Without a memory what is heard is told once, and must not be dropped when the store is busy."""
    session, sensor = CgmSession(NOW), ScriptedSensor([], has_records_access=False)
    _opened(session, sensor)
    (keep,) = session.on_notify("2aa7", sensor.frame([10]))
    assert isinstance(keep, Keep)
    assert keep.is_told_once
    assert keep.mark is not None


def test_filter_not_supported_falls_back_to_everything() -> None:
    """Operand not supported: all records, which are the same ones the second time."""
    sensor, shelf = ScriptedSensor([5, 10], filter_code=9), Shelf()
    follow(sensor, shelf)
    assert [b"\x01\x03\x01\x00\x00", b"\x01\x01"] == [data for _, data in sensor.log]
    assert identities(sensor) == shelf.records.keys()


@pytest.mark.parametrize(("code", "outcome"), [(8, Outcome.RETRY_LATER), (10, Outcome.RETRY_LATER)])
def test_busy_sensor_is_tried_later(code: int, outcome: Outcome) -> None:
    """Server busy and procedure not completed: later, from the same offset."""
    assert outcome == follow(ScriptedSensor([5], report_code=code), Shelf()).outcome


def test_mute_sensor_is_aborted_then_left() -> None:
    """No answer to the report: abort, then close."""
    sensor = ScriptedSensor([5], is_mute=True)
    assert Outcome.SILENT == follow(sensor, Shelf()).outcome
    assert [b"\x01\x03\x01\x00\x00", b"\x03\x00"] == [data for _, data in sensor.log]


def test_wrong_crc_is_set_aside() -> None:
    """A damaged notification is quarantined with its octets; the session goes on."""
    session, sensor = CgmSession(NOW), ScriptedSensor([5])
    _opened(session, sensor)
    frame = sensor.frame([10])
    (keep,) = session.on_notify("2aa7", frame[:-1] + bytes((frame[-1] ^ 1,)))
    assert isinstance(keep, Keep)
    assert 1 == len(keep.spoiled)
    assert not session.is_done


def test_unreadable_feature_ends_the_session() -> None:
    """Without the feature no frame can be read; its octets are kept."""
    session = CgmSession(NOW)
    session.start()
    keep, close = session.on_read("2aa8", b"\x00")
    assert isinstance(keep, Keep)
    assert isinstance(close, Close)
    assert Outcome.REFUSED == close.outcome


@settings(deadline=None)
@given(data=st.data())
def test_link_that_breaks_anywhere_loses_nothing_of_the_session(data: st.DataObject) -> None:
    """Live and stored records mixed, any order, any break: every record once."""
    offsets = data.draw(st.lists(st.integers(0, 60), unique=True, max_size=10), label="offsets")
    sensor, shelf = ScriptedSensor(offsets, per_frame=data.draw(st.integers(1, 3))), Shelf()
    for cut in data.draw(st.lists(st.integers(0, 14), max_size=4), label="cuts"):
        newest = max(sensor.offsets, default=60)
        sensor.live = [newest + step for step in range(1, 1 + data.draw(st.integers(0, 2), label="live"))]
        follow(sensor, shelf, cut_after=cut)
    follow(sensor, shelf)
    assert identities(sensor) == shelf.records.keys()


@settings(deadline=None)
@given(words=st.lists(st.tuples(st.sampled_from(["2aa7", "2a52", "2aaa", "2aa9"]), st.binary(max_size=24)), max_size=9))
def test_no_octets_make_the_session_raise(words: list[tuple[str, bytes]]) -> None:
    """Any bytes, read or notified, in any state give requests, never an exception."""
    fresh, opened = CgmSession(NOW), CgmSession(NOW)
    fresh.start()
    _opened(opened, ScriptedSensor([5]))
    for char, payload in words:
        for session in (fresh, opened):
            session.on_read(char, payload)
            session.on_notify(char, payload)
    for session in (fresh, opened):
        session.on_link_lost()
        assert session.is_done


def _opened(session: CgmSession, sensor: ScriptedSensor) -> list[object]:
    """Carry the session to its live part; what it wanted kept on the way."""
    kept: list[object] = []
    todo = session.start()
    while todo:
        request = todo.pop(0)
        match request:
            case Read(char):
                answer = sensor.read(char)
                todo += session.on_refused(char, answer) if isinstance(answer, int) else session.on_read(char, answer)
            case Write(char, data):
                said = sensor.write(char, data)
                if isinstance(said, int):
                    todo += session.on_refused(char, said)
                else:
                    todo += [request for word in said for request in session.on_notify(*word)]
            case Subscribe(char):
                refusal = sensor.subscribe(char)
                todo += session.on_refused(char, refusal) if isinstance(refusal, int) else []
            case _:
                kept.append(request)
    return kept
