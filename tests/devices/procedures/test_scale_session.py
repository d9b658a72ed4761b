"""Collecting from a scale: every indication at once, one try at the consent, split measurements joined."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.devices.procedures import (
    ClockChange,
    Close,
    CompositionSample,
    Keep,
    Mark,
    Outcome,
    Patience,
    Read,
    Request,
    ScaleSession,
    ScaleUser,
    Subscribe,
    WeightSample,
    Write,
)
from gateway.sandbox.frames import encode_body_composition, encode_weight_measurement
from gateway.sandbox.records import WeighIn

AT = datetime(2025, 2, 3, 7, 0)  # noqa: DTZ001 -- a scale's clock has no zone
CLOCK = ClockChange(AT, timedelta(minutes=-1))
USER = ScaleUser(2, 4711)
CONSENT = Write("2a9f", b"\x02\x02\x67\x12")
WEIGH_IN = WeighIn(
    Decimal("71.25"),
    user=2,
    time_stamp=AT,
    fat_percent=Decimal("25.1"),
    muscle_percent=Decimal("40.0"),
    body_water_mass_kg=Decimal("38.5"),
    impedance_ohm=Decimal("498.0"),
)


def only_keep(requests: list[Request]) -> Keep:
    (keep,) = requests
    assert isinstance(keep, Keep)
    return keep


def outcome(requests: list[Request]) -> Outcome:
    close = requests[-1]
    assert isinstance(close, Close)
    return close.outcome


def test_order_that_scales_expect() -> None:
    """The clock's error is durable first; then subscribe, set the clock and look at it, and consent."""
    session = ScaleSession(USER, clock=CLOCK)
    fact = Keep(facts=(Mark("device.clock", {"set_to": "2025-02-03T07:00:00", "offset_s": -60}),))
    subscribed = [Subscribe(char) for char in ("2a9f", "2a99", "2a9d", "2a9c")]
    clock = [Write("2a2b", bytes.fromhex("e9070203070000010002")), Read("2a2b")]
    assert [fact, *subscribed, *clock, CONSENT] == session.start()


def test_change_counter_is_kept_and_never_written() -> None:
    """After the consent, and whenever the scale says so, how often its data of this person changed is kept."""
    session = ScaleSession(USER)
    session.start()
    assert [Read("2a99")] == session.on_notify("2a9f", bytes.fromhex("200201"))
    for requests in (session.on_read("2a99", b"\x07\0\0\0"), session.on_notify("2a99", b"\x07\0\0\0")):
        assert (Mark("scale.user_data", {"user_index": 2, "change_increment": 7}),) == only_keep(requests).facts
    assert only_keep(session.on_notify("2a99", b"\x07")).spoiled


def test_clock_that_does_not_show_what_it_was_given_counts_as_not_set() -> None:
    """A scale may accept the time and keep its own."""
    session = ScaleSession(clock=CLOCK)
    session.start()
    session.on_read("2a2b", bytes.fromhex("e9070203080000010000"))
    (sample,) = only_keep(session.on_notify("2a9d", encode_weight_measurement(WEIGH_IN))).records
    assert isinstance(sample, WeightSample)
    assert sample.clock_set_to is None


def test_scale_without_users_is_only_listened_to() -> None:
    """No slot, no consent; no permission, no clock."""
    assert [Subscribe("2a9d"), Subscribe("2a9c")] == ScaleSession().start()


def test_every_indication_is_kept_at_once() -> None:
    """The scale may forget what was confirmed: nothing waits for the end of the visit."""
    session = ScaleSession()
    session.start()
    keep = only_keep(session.on_notify("2a9d", encode_weight_measurement(WEIGH_IN)))
    (sample,) = keep.records
    assert isinstance(sample, WeightSample)
    assert Decimal("71.250") == sample.measurement.weight
    assert keep.is_told_once


@pytest.mark.parametrize("att_code", [None, 0x80])
def test_samples_say_whether_the_clock_was_set(att_code: int | None) -> None:
    """What the scale stamps after it was given our time is by our time, unless it did not take it."""
    session = ScaleSession(clock=CLOCK)
    session.start()
    if att_code is not None:
        session.on_refused("2a2b", att_code)
    requests = [
        *session.on_notify("2a9d", encode_weight_measurement(WEIGH_IN)),
        *session.on_notify("2a9c", encode_body_composition(WEIGH_IN)[0]),
        *session.on_notify("2a9c", encode_body_composition(WEIGH_IN, max_octets=17)[0]),
        *session.on_silence(),
    ]
    samples = [record for request in requests if isinstance(request, Keep) for record in request.records]
    expected = None if att_code else AT
    assert [expected] * 3 == [s.clock_set_to for s in samples if isinstance(s, WeightSample | CompositionSample)]


def test_split_measurement_is_joined_and_its_parts_are_kept_on_the_way() -> None:
    """Each packet's octets are durable when it comes; the record follows when the group is whole."""
    packets = encode_body_composition(WEIGH_IN, max_octets=17)
    assert len(packets) > 1
    session = ScaleSession()
    session.start()
    for packet in packets:
        keep = only_keep(session.on_notify("2a9c", packet))
        assert [packet] == [frame.payload for frame in keep.loose]
        assert () == keep.records
    last, close = session.on_silence()
    assert isinstance(last, Keep)
    (sample,) = last.records
    assert isinstance(sample, CompositionSample)
    assert Decimal("25.1") == sample.measurement.body_fat_percent
    assert Decimal("498.0") == sample.measurement.impedance_ohm
    assert packets == [frame.payload for frame in sample.frames]
    assert Close(Outcome.COMPLETE) == close


def test_whole_measurement_after_a_split_one_closes_it() -> None:
    """Two people in a row: two measurements, each with its own octets."""
    packets = encode_body_composition(WEIGH_IN, max_octets=17)
    (whole,) = encode_body_composition(WeighIn(Decimal(60), user=1, time_stamp=AT, fat_percent=Decimal(20)))
    session = ScaleSession()
    session.start()
    for packet in packets:
        session.on_notify("2a9c", packet)
    keep = only_keep(session.on_notify("2a9c", whole))
    assert [packets, [whole]] == [[frame.payload for frame in record.frames] for record in keep.records]


def test_group_cut_by_the_link_counts_with_what_came() -> None:
    """A link that drops in the middle of a measurement loses only the packets that never came."""
    session = ScaleSession()
    session.start()
    session.on_notify("2a9c", encode_body_composition(WEIGH_IN, max_octets=17)[0])
    keep, close = session.on_link_lost()
    assert isinstance(keep, Keep)
    assert 1 == len(keep.records)
    assert Close(Outcome.COMPLETE) == close


def test_quiet_ends_the_visit() -> None:
    """Once the consent is answered, a few seconds of quiet are the end."""
    session = ScaleSession(USER)
    session.start()
    patience = [session.patience]
    assert [Read("2a99")] == session.on_notify("2a9f", b"\x20\x02\x01")
    patience.append(session.patience)
    assert [Patience.ANSWER, Patience.QUIET] == patience
    assert [Close(Outcome.COMPLETE)] == session.on_silence()


@pytest.mark.parametrize("code", [2, 3, 4, 5])
def test_refused_consent_is_tried_once(code: int) -> None:
    """A wrong code is never sent again by itself; what the scale tells anyway is still collected."""
    session = ScaleSession(USER)
    assert 1 == session.start().count(CONSENT)
    assert [] == session.on_notify("2a9f", bytes((0x20, 2, code)))
    assert 1 == len(only_keep(session.on_notify("2a9d", encode_weight_measurement(WEIGH_IN))).records)
    assert Outcome.CONSENT_REFUSED == outcome(session.on_silence())


def test_consent_refused_by_the_attribute_is_a_refusal() -> None:
    """An ATT error to the consent counts like a wrong code."""
    session = ScaleSession(USER)
    session.start()
    assert [] == session.on_refused("2a9f", 0x80)
    assert Outcome.CONSENT_REFUSED == outcome(session.on_silence())


def test_unanswered_consent_is_silence() -> None:
    """No answer: the visit ends as silent, not as complete."""
    session = ScaleSession(USER)
    session.start()
    assert Outcome.SILENT == outcome(session.on_silence())


def test_one_of_the_two_services_is_enough() -> None:
    """A plain scale has no body composition; neither service at all is a refusal."""
    session = ScaleSession()
    session.start()
    assert [] == session.on_refused("2a9c", 0x0A)
    assert not session.is_done
    assert Outcome.REFUSED == outcome(session.on_refused("2a9d", 0x0A))


def test_code_is_not_shown() -> None:
    """The consent code does not appear when a user is printed, nor when a request that holds it is."""
    assert "4711" not in repr(USER)
    assert [repr(Write("2a9f", b""))] == [repr(r) for r in ScaleSession(USER).start() if r == CONSENT]


@settings(deadline=None)
@given(words=st.lists(st.tuples(st.sampled_from(["2a9d", "2a9c", "2a9f"]), st.binary(max_size=24)), max_size=9))
def test_no_octets_make_the_session_raise(words: list[tuple[str, bytes]]) -> None:
    """Any bytes give requests, and every measurement payload is kept somewhere."""
    session = ScaleSession(USER)
    session.start()
    kept: list[bytes] = []
    for char, payload in words:
        for request in session.on_notify(char, payload):
            assert isinstance(request, Keep)
            kept += [f.payload for f in request.loose]
            kept += [s.frame.payload for s in request.spoiled]
            kept += [f.payload for r in request.records for f in r.frames]
    assert {payload for char, payload in words if char != "2a9f"} <= set(kept)
    session.on_link_lost()
    assert session.is_done
