"""Cuffs, thermometers, belts and oximeters in conversation: kept at once, ended well, total."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.devices.procedures import (
    ATT_NOT_FOUND,
    BloodPressureSession,
    Close,
    HeartRateSession,
    Keep,
    Outcome,
    OximeterSession,
    Patience,
    Procedure,
    Read,
    Request,
    Subscribe,
    ThermometerSession,
    VitalSample,
    Write,
)
from gateway.sandbox.frames_vital_signs import (
    encode_blood_pressure,
    encode_continuous_oximetry,
    encode_heart_rate,
    encode_plx_features,
    encode_spot_check,
    encode_temperature,
)
from gateway.sandbox.records_vital_signs import CuffReading, HeartBeat, OximetrySample, SpotCheck, Temperature

AT = datetime(2025, 2, 3, 7, 0)  # noqa: DTZ001 -- a device's clock has no zone
PRESSURE = encode_blood_pressure(CuffReading(Decimal(120), Decimal(80), time_stamp=AT))
WITH_MEMORY, WITHOUT = encode_plx_features(0x0C), encode_plx_features(0)
ALL, ABORT = Write("2a52", b"\x01\x01"), Write("2a52", b"\x03\x00")
DONE = b"\x06\x00\x01\x01"


def check(number: int) -> bytes:
    return encode_spot_check(SpotCheck(Decimal(95), Decimal(60), AT + timedelta(minutes=number)))


def only_keep(requests: list[Request]) -> Keep:
    (keep,) = requests
    assert isinstance(keep, Keep)
    return keep


def outcome(requests: list[Request]) -> Outcome:
    close = requests[-1]
    assert isinstance(close, Close)
    return close.outcome


def only_sample(requests: list[Request]) -> VitalSample:
    (sample,) = only_keep(requests).records
    assert isinstance(sample, VitalSample)
    return sample


# --- one characteristic ---------------------------------------------------------------------------------------------


def test_only_results_are_subscribed_to() -> None:
    """Neither cuff pressure nor a rising temperature; where the sensor is, is asked first."""
    assert [Subscribe("2a35")] == BloodPressureSession().start()
    assert [Read("2a1d"), Subscribe("2a1c")] == ThermometerSession().start()
    assert [Read("2a38"), Subscribe("2a37")] == HeartRateSession().start()


def test_every_indication_is_kept_at_once() -> None:
    """It is told once, so that giving it up would lose it; a few seconds of quiet end the contact."""
    session = BloodPressureSession()
    session.start()
    keep = only_keep(session.on_notify("2a35", PRESSURE))
    assert keep.is_told_once
    assert PRESSURE == keep.records[0].frames[0].payload
    assert [] == session.on_kept()
    assert Patience.QUIET is session.patience
    assert Outcome.COMPLETE is outcome(session.on_silence())
    assert session.is_done
    assert [] == session.on_notify("2a35", PRESSURE)


def test_cuff_that_hangs_up_has_said_everything() -> None:
    """A link that ends after a measurement is a good end; one that ends before any may have another reason."""
    session = BloodPressureSession()
    session.start()
    assert [] == session.on_link_lost()
    session.on_notify("2a35", PRESSURE)
    assert Outcome.COMPLETE is outcome(session.on_link_lost())


def test_belt_that_hangs_up_has_been_cut_off() -> None:
    """A belt would have gone on: the end of its link is no good end, and a pause is; while it streams it can wait."""
    session = HeartRateSession()
    session.start()
    session.on_notify("2a37", encode_heart_rate(HeartBeat(70)))
    assert [] == session.on_link_lost()
    assert Patience.STREAM is session.patience
    assert Outcome.COMPLETE is outcome(session.on_silence())


def test_site_goes_with_every_sample() -> None:
    """What a thermometer says of itself once holds for all; unreadable or missing, nothing is said."""
    frame = encode_temperature(Temperature(Decimal("37.0")))
    for answer, expected in ((b"\x06", "mouth"), (b"\x0a", None), (b"", None), (b"\x06\x06", None)):
        session = ThermometerSession()
        session.start()
        session.on_read("2a1d", answer)
        assert expected == only_sample(session.on_notify("2a1c", frame)).site
    session = ThermometerSession()
    session.start()
    assert [] == session.on_refused("2a1d", ATT_NOT_FOUND)
    assert only_sample(session.on_notify("2a1c", frame)).site is None


def test_device_without_its_measurement_refuses() -> None:
    """Without the measuring characteristic there is nothing to wait for."""
    session = BloodPressureSession()
    session.start()
    assert Outcome.REFUSED is outcome(session.on_refused("2a35", ATT_NOT_FOUND))


def test_stream_of_nonsense_is_bounded() -> None:
    """Of frames that cannot be decoded the first few are set aside."""
    session = HeartRateSession()
    session.start()
    keeps = [request for _ in range(1000) for request in session.on_notify("2a37", b"")]
    assert 8 == len(keeps)


# --- oximeter -------------------------------------------------------------------------------------------------------


def listening(features: bytes | None = WITH_MEMORY, state: object = None) -> tuple[OximeterSession, list[Request]]:
    """A session that has read the features (None: refused), and what it then asks."""
    session = OximeterSession(state if isinstance(state, dict) else None)
    assert [Subscribe("2a5e"), Subscribe("2a5f"), Subscribe("2a52"), Read("2a60")] == session.start()
    if features is None:
        return session, session.on_refused("2a60", ATT_NOT_FOUND)
    return session, session.on_read("2a60", features)


@pytest.mark.parametrize(("features", "asked"), [(WITH_MEMORY, [ALL]), (WITHOUT, []), (None, [ALL]), (b"\x00", [ALL])])
def test_memory_is_asked_for_where_there_may_be_one(features: bytes | None, asked: list[Request]) -> None:
    """The features decide; where they are missing or unreadable, the control point is tried."""
    assert asked == listening(features)[1]


def test_memory_is_not_asked_for_without_a_control_point() -> None:
    """A refused subscription means that there is none."""
    session = OximeterSession()
    session.start()
    session.on_refused("2a52", ATT_NOT_FOUND)
    assert [] == session.on_read("2a60", WITH_MEMORY)
    assert Patience.QUIET is session.patience


def test_whole_memory_replaces_what_was_known() -> None:
    """The checkpoint holds what the memory holds; the next visit keeps what is new, and forgets what is gone."""
    session, _ = listening()
    assert 3 == sum(len(session.on_notify("2a5e", check(n))) for n in range(3))
    assert [] == session.on_notify("2a52", DONE)
    keep, close = session.on_silence()
    assert isinstance(keep, Keep)
    assert keep.mark is not None
    assert close == Close(Outcome.COMPLETE)

    again, _ = listening(state=dict(keep.mark.state))
    assert [] == [request for n in (1, 2) for request in again.on_notify("2a5e", check(n))]
    only_sample(again.on_notify("2a5e", check(3)))
    again.on_notify("2a52", DONE)
    moved, _ = again.on_silence()
    assert isinstance(moved, Keep)
    assert moved.mark is not None
    assert len(str(keep.mark.state["known"])) == len(str(moved.mark.state["known"]))

    same, _ = listening(state=dict(moved.mark.state))
    for n in (1, 2, 3):
        assert [] == same.on_notify("2a5e", check(n))
    same.on_notify("2a52", DONE)
    assert [Close(Outcome.COMPLETE)] == same.on_silence()


def test_broken_report_adds_to_what_was_known() -> None:
    """After a link that broke off, nothing known is forgotten."""
    session, _ = listening()
    session.on_notify("2a5e", check(0))
    session.on_notify("2a52", DONE)
    keep, _ = session.on_silence()
    assert isinstance(keep, Keep)
    assert keep.mark is not None
    broken, _ = listening(state=dict(keep.mark.state))
    broken.on_notify("2a5e", check(1))
    (grown,) = broken.on_link_lost()
    assert isinstance(grown, Keep)
    assert grown.mark is not None
    later, _ = listening(state=dict(grown.mark.state))
    assert [] == [request for n in (0, 1) for request in later.on_notify("2a5e", check(n))]


def test_equal_results_without_a_time_are_two() -> None:
    """Nothing but a time stamp tells a repeat from another result."""
    session, _ = listening(WITHOUT)
    frame = encode_spot_check(SpotCheck(Decimal(95), Decimal(60)))
    assert 2 == sum(len(session.on_notify("2a5e", frame)) for _ in range(2))


@pytest.mark.parametrize("code", [0xFE, 0x80])
def test_busy_oximeter_is_left_alone(code: int) -> None:
    """A procedure that is running already: later."""
    session, _ = listening()
    assert Outcome.RETRY_LATER is outcome(session.on_refused("2a52", code))


def test_refused_report_leaves_the_live_values() -> None:
    """An oximeter that does not give its memory can still measure now."""
    for answer in (b"\x06\x00\x01\x02", b"\x06\x00\x01\x06"):
        session, _ = listening()
        assert [] == session.on_notify("2a52", answer)
        only_sample(session.on_notify("2a5e", check(0)))
    session, _ = listening()
    assert [] == session.on_refused("2a52", 0x03)
    only_sample(session.on_notify("2a5e", check(0)))


def test_silence_in_a_report_aborts_it() -> None:
    """An oximeter that dies in mid-sentence is asked to stop, then given up; what came is known."""
    session, _ = listening()
    session.on_notify("2a5e", check(0))
    assert Patience.ANSWER is session.patience
    assert [ABORT] == session.on_silence()
    assert Outcome.SILENT is outcome(session.on_notify("2a52", b"\x06\x00\x03\x01"))
    mute, _ = listening()
    assert [ABORT] == mute.on_silence()
    assert Outcome.SILENT is outcome(mute.on_silence())


def test_stream_is_listened_to_until_it_pauses() -> None:
    """A stream may pause for as long as an answer; a link that ends in it cuts it off."""
    session, _ = listening(WITHOUT)
    frame = encode_continuous_oximetry(OximetrySample(Decimal(95), Decimal(60)))
    assert session.on_notify("2a5f", frame)
    assert Patience.STREAM is session.patience
    assert [] == session.on_link_lost()
    assert session.is_done
    other, _ = listening(WITHOUT)
    other.on_notify("2a5f", frame)
    assert Outcome.COMPLETE is outcome(other.on_silence())


def test_oximeter_without_measurements_refuses() -> None:
    """One of the two ways to measure is enough."""
    session = OximeterSession()
    session.start()
    assert [] == session.on_refused("2a5e", ATT_NOT_FOUND)
    assert Outcome.REFUSED is outcome(session.on_refused("2a5f", ATT_NOT_FOUND))


@given(
    st.sampled_from([BloodPressureSession, ThermometerSession, HeartRateSession, OximeterSession]),
    st.lists(
        st.tuples(
            st.sampled_from(["notify", "read", "refuse", "silence", "kept", "lost"]),
            st.sampled_from(["2a35", "2a1c", "2a1d", "2a37", "2a38", "2a5e", "2a5f", "2a60", "2a52"]),
            st.binary(max_size=22),
        ),
        max_size=12,
    ),
)
@settings(max_examples=300)
def test_nothing_a_device_says_raises(make: type[Procedure], events: list[tuple[str, str, bytes]]) -> None:
    """Any bytes in any order: requests, never an exception."""
    session = make()
    session.start()
    for kind, char, data in events:
        match kind:
            case "notify":
                session.on_notify(char, data)
            case "read":
                session.on_read(char, data)
            case "refuse":
                session.on_refused(char, len(data))
            case "silence":
                session.on_silence()
            case "kept":
                session.on_kept()
            case _:
                session.on_link_lost()


@given(st.dictionaries(st.sampled_from(["known", "other"]), st.one_of(st.none(), st.integers(), st.text(max_size=30))))
def test_any_checkpoint_is_a_beginning(state: dict[str, str | int | bool | None]) -> None:
    """A checkpoint that was not written here counts as nothing known."""
    OximeterSession(state).start()
