"""Setting a clock: the error first, then the clock, then a look at it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.procedures import ClockChange, ClockSetting, Close, Keep, Mark, Outcome, Read, Write
from gateway.devices.procedures.clock_setting import is_worth_setting, settable_clock
from gateway.devices.quirks import ClockAccess
from gateway.sandbox.frames import encode_current_time, encode_date_time

NOW = datetime(2025, 6, 2, 12, 0, 5)  # noqa: DTZ001 -- a wall clock has no zone
BEHIND = timedelta(minutes=67)
FACT = Mark("device.clock", {"set_to": "2025-06-02T12:00:05", "offset_s": 4020})


def test_error_is_durable_before_the_clock_is_touched() -> None:
    """Nothing is written until the store has said so."""
    setting = ClockSetting(NOW, BEHIND)
    assert [Keep(facts=(FACT,))] == setting.start()
    assert [Write("2a2b", encode_current_time(NOW, 2)), Read("2a2b")] == setting.on_kept()
    assert [Close(Outcome.COMPLETE)] == setting.on_read("2a2b", encode_current_time(NOW + timedelta(seconds=1)))
    assert setting.is_verified


def test_clock_inside_the_measuring_service() -> None:
    """2A08 has neither a day of the week nor a reason."""
    setting = ClockSetting(NOW, BEHIND, char="2a08")
    setting.start()
    assert [Write("2a08", encode_date_time(NOW)), Read("2a08")] == setting.on_kept()
    assert [Close(Outcome.COMPLETE)] == setting.on_read("2a08", encode_date_time(NOW))


@pytest.mark.parametrize("shown", [encode_current_time(NOW - BEHIND), b"", bytes(10)])
def test_clock_that_does_not_show_it_is_not_believed(shown: bytes) -> None:
    """Another time, no time, and nonsense."""
    setting = ClockSetting(NOW, BEHIND)
    setting.start()
    setting.on_kept()
    (closed,) = setting.on_read("2a2b", shown)
    assert Close(Outcome.REFUSED, "the clock does not show the time it was given") == closed
    assert not setting.is_verified


def test_clock_that_cannot_be_written() -> None:
    """The refusal is the reason, also when the clock is then read."""
    setting = ClockSetting(NOW, BEHIND)
    setting.start()
    setting.on_kept()
    assert [] == setting.on_refused("2a2b", 0x03)
    (closed,) = setting.on_read("2a2b", encode_current_time(NOW - BEHIND))
    assert Close(Outcome.REFUSED, "attribute error 0x03 on 2a2b") == closed


def test_silence_and_a_lost_link() -> None:
    """Neither is a clock that was set."""
    setting = ClockSetting(NOW, BEHIND)
    setting.start()
    setting.on_kept()
    assert [Close(Outcome.SILENT, "no answer")] == setting.on_silence()
    assert setting.is_done
    lost = ClockSetting(NOW, BEHIND)
    lost.start()
    assert [] == lost.on_link_lost()
    assert lost.is_done


@pytest.mark.parametrize(
    ("offset_s", "expected"), [(None, False), (0, False), (10, False), (-10, False), (11, True), (-11, True)]
)
def test_ten_seconds_are_tolerated(offset_s: int | None, expected: bool) -> None:
    """And a clock whose error is not known is never set."""
    assert expected == is_worth_setting(None if offset_s is None else timedelta(seconds=offset_s))


def test_only_standard_clocks_are_set() -> None:
    """A clock that takes its maker's command, or none, is left alone."""
    expected = {ClockAccess.CURRENT_TIME: "2a2b", ClockAccess.DATE_TIME: "2a08"}
    assert [expected.get(access) for access in ClockAccess] == [settable_clock(access) for access in ClockAccess]


@given(
    set_to=st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(lambda at: at.replace(microsecond=0)),  # noqa: DTZ001
    offset_s=st.integers(-(10**8), 10**8),
    ago_s=st.integers(0, 10**8),
)
def test_change_survives_the_store_and_tells_before_from_after(set_to: datetime, offset_s: int, ago_s: int) -> None:
    """What the clock showed before we set it is before; what it shows from then on is after."""
    change = ClockChange(set_to, timedelta(seconds=offset_s))
    assert change == ClockChange.of(change.mark.state)
    assert not change.is_before(set_to + timedelta(seconds=1 + ago_s))
    stamped = set_to - change.offset - timedelta(seconds=ago_s)
    if offset_s >= 0 or stamped < set_to:
        assert change.is_before(stamped)


@pytest.mark.parametrize(
    "state", [None, {}, {"set_to": "x", "offset_s": 1}, {"set_to": "2025-06-02T12:00:05+02:00", "offset_s": 1}]
)
def test_strange_fact_is_no_change(state: dict[str, str | int | bool | None] | None) -> None:
    """Only what was written here is believed."""
    assert ClockChange.of(state) is None
