from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.dialects import Untimed
from gateway.devices.procedures.untimed_records import (
    JOIN_WINDOW,
    SAME_VALUE,
    SAME_WEIGH_IN,
    Heard,
    Origin,
    UntimedRecords,
)
from gateway.model import Context, Metric, Unit
from gateway.normalise.reported import ReportedMeasurement

AT = datetime(2026, 3, 1, 7, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def weight(kg: str, *, is_partial: bool = True) -> Untimed:
    return Untimed((ReportedMeasurement(Metric.BODY_MASS, Decimal(kg), Unit.KG),), is_partial=is_partial)


def impedance(ohm: str) -> Untimed:
    return Untimed((ReportedMeasurement(Metric.IMPEDANCE, Decimal(ohm), Unit.OHM),), is_partial=True)


def whole(kg: str, ohm: str) -> Untimed:
    return Untimed(weight(kg).measurements + impedance(ohm).measurements)


def glucose(mg_dl: str) -> Untimed:
    return Untimed(
        (ReportedMeasurement(Metric.GLUCOSE_INTERSTITIAL, Decimal(mg_dl), Unit.MG_DL),),
        is_partial=True,
    )


def metrics(heard: Heard) -> set[Metric]:
    return set() if heard.record is None else {each.metric for each in heard.record.measurements}


def restarted(memory: UntimedRecords) -> UntimedRecords:
    """The memory of the next process: what its last checkpoint holds."""
    return UntimedRecords(memory.mark())


def test_repeats_are_one_weigh_in() -> None:
    """A weigh-in that is told for a quarter of an hour, every second, is one reading."""
    memory = UntimedRecords()
    told = [memory.hear(weight("71.35"), AT + n * SECOND, Origin.LIVE) for n in range(900)]
    assert [{Metric.BODY_MASS}] == [metrics(heard) for heard in told if heard.record is not None]
    assert told[0].is_live


def test_the_window_ends() -> None:
    """The same weight eleven minutes after the last repeat is another weigh-in, under another name."""
    memory = UntimedRecords()
    first = memory.hear(weight("71.35"), AT, Origin.LIVE)
    again = memory.hear(weight("71.35"), AT + SAME_WEIGH_IN + SECOND, Origin.LIVE)
    assert first.record is not None
    assert again.record is not None
    assert first.record.record_key != again.record.record_key


@pytest.mark.parametrize("halves", [(weight("71.35"), impedance("503")), (impedance("503"), weight("71.35"))])
def test_halves_are_joined(halves: tuple[Untimed, Untimed]) -> None:
    """Weight and impedance on two topics are one weigh-in, whichever comes first, however often both are repeated."""
    memory = UntimedRecords()
    told = [memory.hear(half, AT + n * SECOND, Origin.LIVE) for n, half in enumerate(halves * 5)]
    records = [heard.record for heard in told if heard.record is not None]
    assert (2, 1) == (len(records), len({record.record_key for record in records}))
    assert {records[0].record_key} == {record.context.weigh_in for record in records}


def test_an_impedance_of_long_ago_is_not_joined() -> None:
    """A half that comes more than a minute after the other belongs to nobody that is known."""
    memory = UntimedRecords()
    memory.hear(weight("71.35"), AT, Origin.LIVE)
    late = memory.hear(impedance("503"), AT + JOIN_WINDOW + SECOND, Origin.LIVE)
    assert late.record is not None
    assert "71.35" not in str(late.record.measurements)
    assert late.record.context.weigh_in == late.record.record_key


def test_two_people_in_turn() -> None:
    """Another weight is another weigh-in at once; repeats of the first, heard late by another radio, stay its own."""
    memory = UntimedRecords()
    messages = [weight("71.35"), impedance("503"), weight("60.2"), weight("71.35"), impedance("480"), impedance("503")]
    told = [memory.hear(each, AT + n * SECOND, Origin.LIVE) for n, each in enumerate(messages)]
    names = [None if heard.record is None else heard.record.record_key for heard in told]
    assert [True, True, False, None, False, None] == [None if name is None else name == names[0] for name in names]
    assert names[2] == names[4]


def test_the_missing_half_in_a_whole_message() -> None:
    """A message with weight and impedance adds the impedance to the weigh-in whose weight was told without it."""
    memory = UntimedRecords()
    first = memory.hear(weight("71.35", is_partial=False), AT, Origin.LIVE)
    second = memory.hear(whole("71.35", "503"), AT + 5 * SECOND, Origin.LIVE)
    assert {Metric.IMPEDANCE} == metrics(second)
    assert first.record is not None
    assert second.record is not None
    assert first.record.record_key == second.record.record_key
    assert Heard() == memory.hear(whole("71.35", "503"), AT + 6 * SECOND, Origin.LIVE)


@pytest.mark.parametrize("origin", [Origin.QUEUED, Origin.RETAINED])
def test_what_is_known_is_no_news(origin: Origin) -> None:
    """What was told is known when it comes again, two hours and a restart later; also its half alone."""
    memory = UntimedRecords()
    memory.hear(whole("71.35", "503"), AT, Origin.LIVE)
    memory = restarted(memory)
    later = AT + timedelta(hours=2)
    assert Heard() == memory.hear(whole("71.35", "503"), later, origin)
    assert Heard() == memory.hear(impedance("503"), later, origin)


@pytest.mark.parametrize("origin", [Origin.QUEUED, Origin.RETAINED])
def test_what_is_unknown_has_no_time(origin: Origin) -> None:
    """An unknown value of unknown age is told once, not as live, under a name that its content gives."""
    one, other = UntimedRecords(), UntimedRecords()
    first = one.hear(whole("71.35", "503"), AT, origin)
    again = other.hear(whole("71.35", "503"), AT + timedelta(days=3), origin)
    assert first.record is not None
    assert again.record is not None
    assert (False, first.record.record_key) == (first.is_live, again.record.record_key)
    assert Heard() == one.hear(whole("71.35", "503"), AT + timedelta(days=3), origin)


def test_what_is_kept_never_hides_news() -> None:
    """After a retained message, a weigh-in with the very same weight is a weigh-in, and begins no join with it."""
    memory = UntimedRecords()
    memory.hear(weight("71.35"), AT, Origin.RETAINED)
    live = memory.hear(weight("71.35"), AT + 5 * SECOND, Origin.LIVE)
    assert live.is_live
    joined = memory.hear(impedance("503"), AT + 6 * SECOND, Origin.LIVE)
    assert live.record is not None
    assert joined.record is not None
    assert live.record.record_key == joined.record.record_key


def test_queued_repeats_and_live_repeats_are_one() -> None:
    """A weigh-in whose first repeats waited in the broker and whose last ones are heard live is one."""
    memory = UntimedRecords()
    told = [memory.hear(weight("71.35"), AT, Origin.QUEUED) for _ in range(5)]
    told += [memory.hear(weight("71.35"), AT + n * SECOND, Origin.LIVE) for n in range(1, 30)]
    assert 1 == sum(heard.record is not None for heard in told)


def test_a_sender_that_begins_anew_repeats_itself() -> None:
    """After a reconnection the last value, told once more hours later, is known; the next equal one is a weigh-in."""
    memory = UntimedRecords()
    memory.hear(weight("71.35"), AT, Origin.LIVE)
    memory.interrupt()
    memory = restarted(memory)
    later = AT + timedelta(hours=5)
    assert Heard() == memory.hear(weight("71.35"), later, Origin.LIVE)
    assert memory.hear(weight("71.35"), later + SECOND, Origin.LIVE).is_live


def test_a_new_value_after_a_reconnection_is_news() -> None:
    """A sender that has begun anew may still tell a new weigh-in."""
    memory = UntimedRecords()
    memory.hear(weight("71.35"), AT, Origin.LIVE)
    memory.interrupt()
    assert memory.hear(weight("60.2"), AT + timedelta(hours=5), Origin.LIVE).is_live


def test_a_stream_may_repeat_its_value() -> None:
    """A glucose value that comes again after five minutes is a new one; within two minutes it is the same."""
    memory = UntimedRecords()
    values = [("104", 0), ("104", 30), ("106", 60), ("104", 90), ("104", 90 + SAME_VALUE.seconds + 1)]
    told = [memory.hear(glucose(value), AT + at * SECOND, Origin.LIVE) for value, at in values]
    assert [True, False, True, True, True] == [heard.record is not None for heard in told]
    assert not any(heard.record.context.weigh_in for heard in told if heard.record is not None)


def test_a_flood_is_refused_once() -> None:
    """More than ten weigh-ins in ten minutes are not people: the eleventh is said once, what follows is passed over."""
    memory = UntimedRecords()
    told = [memory.hear(weight(str(50 + n)), AT + n * SECOND, Origin.LIVE) for n in range(30)]
    assert (10, 1) == (sum(heard.record is not None for heard in told), sum(heard.is_refused for heard in told))


def test_the_checkpoint_follows_the_repeats() -> None:
    """A weigh-in repeated for longer than the window is still the same after a restart in its midst."""
    memory, state = UntimedRecords(), None
    for minute in range(20):
        memory.hear(weight("71.35"), AT + timedelta(minutes=minute), Origin.LIVE)
        state = memory.mark() or state
    assert Heard() == UntimedRecords(state).hear(weight("71.35"), AT + timedelta(minutes=20), Origin.LIVE)


def test_a_long_memory_is_bounded() -> None:
    """The checkpoint stays small however many weigh-ins there were."""
    memory = UntimedRecords()
    for day in range(400):
        memory.hear(whole(str(50 + Decimal(day) / 100), str(400 + day)), AT + timedelta(days=day), Origin.LIVE)
        memory.hear(glucose(str(80 + day)), AT + timedelta(days=day), Origin.LIVE)
    state = memory.mark()
    assert state is not None
    assert len(str(state["told"])) < 4000


@given(st.dictionaries(st.sampled_from(["told", "doubted"]), st.text() | st.integers() | st.booleans() | st.none()))
def test_any_checkpoint_can_be_read(state: dict[str, str | int | bool | None]) -> None:
    """A checkpoint of another release, or a damaged one, costs the memory and nothing else."""
    heard = UntimedRecords(state).hear(weight("71.35"), AT, Origin.LIVE)
    assert heard.record is None or heard.is_live


MESSAGES = st.tuples(
    st.sampled_from([weight("71.35"), weight("60.2"), impedance("503"), whole("71.35", "503"), glucose("104")]),
    st.integers(0, 1500),
    st.sampled_from(Origin),
)


@given(st.lists(MESSAGES, min_size=1, max_size=20))
def test_a_redelivery_after_a_restart_is_known(messages: list[tuple[Untimed, int, Origin]]) -> None:
    """Whatever came, the last message told, redelivered to the next process, adds nothing."""
    memory, state, seconds = UntimedRecords(), None, 0
    told: list[Untimed] = []
    for untimed, gap, origin in messages:
        seconds += gap
        if memory.hear(untimed, AT + timedelta(seconds=seconds), origin).record is not None:
            told = [untimed]
        state = memory.mark() or state
    for untimed in told:
        assert Heard() == UntimedRecords(state).hear(untimed, AT + timedelta(seconds=seconds + 5), Origin.QUEUED)


@given(st.lists(MESSAGES, max_size=20))
def test_a_message_twice_in_a_row_is_told_once(messages: list[tuple[Untimed, int, Origin]]) -> None:
    """Whatever comes, the same message at once again adds nothing."""
    memory, seconds = UntimedRecords(), 0
    for untimed, gap, origin in messages:
        seconds += gap
        heard_at = AT + timedelta(seconds=seconds)
        memory.hear(untimed, heard_at, origin)
        assert None is memory.hear(untimed, heard_at, origin).record


def test_each_persons_retained_weigh_in_is_known_however_often_others_weigh_themselves() -> None:
    """A guest weighs in once; the broker keeps that on the guest's topic, and brings it back after two months of
    others: no second reading of it. How many people are remembered is bounded."""
    guest = weight("92.10")._replace(context=Context(user_name="guest"))
    memory = UntimedRecords()
    assert memory.hear(guest, AT, Origin.LIVE).record is not None
    for day in range(1, 61):
        of_others = weight(f"61.{day}")._replace(context=Context(user_name="mum"))
        assert memory.hear(of_others, AT + timedelta(days=day), Origin.LIVE).record is not None
    memory = restarted(memory)
    assert Heard() == memory.hear(guest, AT + timedelta(days=61), Origin.RETAINED)
    for number in range(500):
        stranger = weight(f"50.{number}")._replace(context=Context(user_name=f"user {number}"))
        memory.hear(stranger, AT + timedelta(days=62 + number), Origin.QUEUED)
    state = memory.mark()
    assert state is not None
    assert len(str(state["told"])) < 8000
