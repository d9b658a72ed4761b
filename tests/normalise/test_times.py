"""From a device's own clock to an instant with a quality."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import TimeMethod, TimeQuality
from gateway.normalise.times import Placed, place_corrected, place_device_time, place_instant, place_reception

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def _wall(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("wall", "utc", "offset_min"),
    [
        ("2026-01-15T08:00:00", "2026-01-15T07:00:00", 60),
        ("2026-07-15T08:00:00", "2026-07-15T06:00:00", 120),
        ("2026-03-29T01:59:59", "2026-03-29T00:59:59", 60),
        ("2026-03-29T02:30:00", "2026-03-29T01:30:00", 120),  # does not exist: an hour later on the new clock
        ("2026-03-29T03:00:00", "2026-03-29T01:00:00", 120),
        ("2026-10-25T01:59:59", "2026-10-24T23:59:59", 120),
        ("2026-10-25T02:30:00", "2026-10-25T00:30:00", 120),  # exists twice: the first passage
        ("2026-10-25T03:00:00", "2026-10-25T02:00:00", 60),
        ("2005-01-01T01:00:00", "2005-01-01T00:00:00", 60),
    ],
)
def test_e4_local_clocks_in_paris(wall: str, utc: str, offset_min: int) -> None:
    """A wall clock without zone is read in the owner's zone, on both sides of each change of clocks."""
    is_ambiguous = wall in {"2026-03-29T02:30:00", "2026-10-25T02:30:00"}
    method = TimeMethod.CLOCK_AMBIGUOUS if is_ambiguous else TimeMethod.CLOCK_UNCHECKED
    expected = Placed(_utc(utc), offset_min, TimeQuality.DEVICE, method)
    assert expected == place_device_time(_wall(wall), NOW, PARIS)


@pytest.mark.parametrize(
    ("offset_s", "utc", "quality"),
    [
        (0, "2025-09-01T06:00:00", TimeQuality.DEVICE),
        (60, "2025-09-01T06:00:00", TimeQuality.DEVICE),
        (-60, "2025-09-01T06:00:00", TimeQuality.DEVICE),
        (61, "2025-09-01T07:01:01", TimeQuality.CORRECTED),
        (-61, "2025-09-01T06:58:59", TimeQuality.CORRECTED),
        (3600, "2025-09-01T08:00:00", TimeQuality.CORRECTED),
        (86_400 * 365, "2026-09-01T07:00:00", TimeQuality.CORRECTED),
    ],
)
def test_a_measured_offset_corrects(offset_s: int, utc: str, quality: TimeQuality) -> None:
    """A clock that agrees is its owner's wall clock, summer included; one that was off ran on, as at the contact."""
    wall = _wall("2025-09-01T08:00:00")
    placed = place_device_time(wall, NOW, PARIS, clock_offset=timedelta(seconds=offset_s))
    is_off = quality is TimeQuality.CORRECTED
    method = TimeMethod.OFFSET_MEASURED if is_off else TimeMethod.CLOCK_CHECKED
    assert Placed(_utc(utc), 120, quality, method) == placed


def test_a_clock_that_was_never_changed_for_winter() -> None:
    """A meter found an hour ahead in November shows summer time still: its records of October keep their instants."""
    offset = timedelta(hours=-1)
    before = place_device_time(_wall("2026-10-24T08:00:00"), NOW, PARIS, clock_offset=offset)
    after = place_device_time(_wall("2026-10-26T08:00:00"), NOW, PARIS, clock_offset=offset)
    assert Placed(_utc("2026-10-24T06:00:00"), 120, TimeQuality.CORRECTED, TimeMethod.OFFSET_MEASURED) == before
    assert Placed(_utc("2026-10-26T06:00:00"), 60, TimeQuality.CORRECTED, TimeMethod.OFFSET_MEASURED) == after


def test_e4_a_clock_that_ran_on_through_the_hour_that_exists_twice() -> None:
    """Two records an hour apart by a clock that ran on are an hour apart, on the night when clocks go back too."""
    walls = [_wall("2026-10-25T02:30:00"), _wall("2026-10-25T03:30:00")]
    first, second = (place_corrected(wall, NOW, PARIS, timedelta(minutes=5)).effective_at for wall in walls)
    assert timedelta(hours=1) == second - first


@pytest.mark.parametrize("offset_s", [0, 59, -60])
def test_whole_seconds_are_noise(offset_s: int) -> None:
    """A clock that ran on and is right to a minute is not moved, so that reading it again gives the same instant."""
    placed = place_corrected(_wall("2026-10-30T08:00:00"), NOW, PARIS, timedelta(seconds=offset_s))
    assert Placed(_utc("2026-10-30T07:00:00"), 60, TimeQuality.CORRECTED, TimeMethod.OFFSET_MEASURED) == placed


@pytest.mark.parametrize("wall", ["0001-01-01T00:00:00", "9999-12-31T23:59:59", "2026-11-02T00:00:00"])
def test_a_correction_that_cannot_be(wall: str) -> None:
    """A corrected time outside what can be true leaves the record unknown, a live one at reception."""
    placed = [
        place_corrected(_wall(wall), NOW, PARIS, timedelta(hours=2), is_live=is_live).quality
        for is_live in (False, True)
    ]
    assert [TimeQuality.UNKNOWN, TimeQuality.RECEIVED] == placed


def test_while_our_own_clock_is_wrong() -> None:
    """A gateway that thinks it is 1970 believes its devices, up to the end of the century, not its own clock."""
    asleep = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
    wall = _wall("2026-07-15T08:00:00")
    believed = Placed(_utc("2026-07-15T06:00:00"), 120, TimeQuality.DEVICE, TimeMethod.CLOCK_UNCHECKED)
    named = believed._replace(method=TimeMethod.SOURCE_INSTANT)
    assert believed == place_device_time(wall, asleep, PARIS, clock_is_trusted=False)
    assert named == place_instant(_utc("2026-07-15T06:00:00"), asleep, PARIS, clock_is_trusted=False)
    unknown = [
        place_device_time(_wall("2100-01-02T00:00:00"), asleep, PARIS, is_live=True, clock_is_trusted=False),
        place_device_time(None, asleep, PARIS, is_live=True, clock_is_trusted=False),
        place_reception(asleep, PARIS, is_live=True, clock_is_trusted=False),
    ]
    assert [(TimeQuality.UNKNOWN, TimeMethod.RECEPTION)] * 3 == [(placed.quality, placed.method) for placed in unknown]


def test_a_meter_after_its_battery_was_changed() -> None:
    """A clock that began again at 2000 is repaired by the offset measured at contact, and unknown without it."""
    wall = _wall("2000-01-01T00:10:00")
    at_contact = _wall("2026-11-01T13:00:00") - _wall("2000-01-01T02:00:00")
    repaired = place_device_time(wall, NOW, PARIS, clock_offset=at_contact)
    assert Placed(_utc("2026-11-01T10:10:00"), 60, TimeQuality.CORRECTED, TimeMethod.OFFSET_MEASURED) == repaired
    assert Placed(NOW, 60, TimeQuality.UNKNOWN, TimeMethod.NOTHING) == place_device_time(wall, NOW, PARIS)


@pytest.mark.parametrize(
    ("at_contact", "measured"),
    [("2026-03-30T10:00:00", "2026-03-27T10:00:00"), ("2026-10-26T10:00:00", "2026-10-23T10:00:00")],
)
@pytest.mark.parametrize("behind", [timedelta(hours=2), timedelta(hours=-1), timedelta(days=9_000)])
def test_a_change_of_our_clocks_does_not_move_a_wrong_one(at_contact: str, measured: str, behind: timedelta) -> None:
    """A clock that was off by a constant runs on over the change: three days before are three days before."""
    contact, instant = _utc(at_contact), _utc(measured)
    local_now = contact.astimezone(PARIS).replace(tzinfo=None)
    device_now = local_now - behind
    placed = place_device_time(device_now - (contact - instant), contact, PARIS, clock_offset=local_now - device_now)
    assert (instant, TimeQuality.CORRECTED) == (placed.effective_at, placed.quality)


@pytest.mark.parametrize(
    "wall",
    [
        None,
        "1970-01-01T00:00:00",
        "2004-12-31T23:59:59",
        "2026-11-01T13:10:01",
        "2099-12-31T23:59:59",
        "0001-01-01T00:00:00",
        "9999-12-31T23:59:59",
    ],
)
def test_e1_impossible_times_are_not_believed(wall: str | None) -> None:
    """A time before 2005 or after reception leaves a stored record unknown, and puts a live one at reception."""
    device_time = None if wall is None else _wall(wall)
    stored = place_device_time(device_time, NOW, PARIS)
    live = place_device_time(device_time, NOW, PARIS, is_live=True)
    assert Placed(NOW, 60, TimeQuality.UNKNOWN, TimeMethod.NOTHING) == stored
    assert Placed(NOW, 60, TimeQuality.RECEIVED, TimeMethod.RECEPTION) == live


def test_e8_ten_minutes_ahead_are_tolerated() -> None:
    """A device whose clock runs ten minutes ahead is believed; the limit itself belongs to it."""
    ahead = place_device_time(_wall("2026-11-01T13:10:00"), NOW, PARIS)
    assert Placed(NOW + timedelta(minutes=10), 60, TimeQuality.DEVICE, TimeMethod.CLOCK_UNCHECKED) == ahead


@pytest.mark.parametrize(
    ("instant", "quality"),
    [
        (datetime(2026, 3, 29, 3, 30, tzinfo=timezone(timedelta(hours=2))), TimeQuality.DEVICE),
        (datetime(2005, 1, 1, tzinfo=UTC), TimeQuality.DEVICE),
        (NOW + timedelta(minutes=10), TimeQuality.DEVICE),
        (NOW + timedelta(minutes=10, microseconds=1), TimeQuality.UNKNOWN),
        (datetime(2004, 12, 31, 23, 59, tzinfo=UTC), TimeQuality.UNKNOWN),
        (datetime(1970, 1, 1, tzinfo=UTC), TimeQuality.UNKNOWN),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), TimeQuality.UNKNOWN),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12))), TimeQuality.UNKNOWN),
    ],
)
def test_e8_instants(instant: datetime, quality: TimeQuality) -> None:
    """A source that knows the instant is believed between 2005 and ten minutes after reception, and never crashes."""
    placed = place_instant(instant, NOW, PARIS)
    assert quality is placed.quality
    assert (instant if quality is TimeQuality.DEVICE else NOW) == placed.effective_at
    assert UTC is placed.effective_at.tzinfo


@pytest.mark.parametrize(("is_live", "quality"), [(True, TimeQuality.RECEIVED), (False, TimeQuality.UNKNOWN)])
def test_reception(is_live: bool, quality: TimeQuality) -> None:
    """Without any time, a live measurement was made now; nobody knows when a stored one was."""
    method = TimeMethod.RECEPTION if is_live else TimeMethod.NOTHING
    assert Placed(NOW, 60, quality, method) == place_reception(NOW, PARIS, is_live=is_live)


@given(
    st.none() | st.datetimes(),
    st.none() | st.timedeltas(),
    st.timezones(),
    st.booleans(),
)
def test_total(device_time: datetime | None, clock_offset: timedelta | None, zone: tzinfo, is_live: bool) -> None:
    """Any wall clock with any offset in any zone gives an instant in UTC that is not in the future."""
    placed = place_device_time(device_time, NOW, zone, clock_offset=clock_offset, is_live=is_live)
    assert UTC is placed.effective_at.tzinfo
    assert placed.effective_at <= NOW + timedelta(minutes=10)
    assert (placed.effective_at == NOW) or placed.quality in {TimeQuality.DEVICE, TimeQuality.CORRECTED}
    local = placed.effective_at.astimezone(zone).utcoffset()
    assert local is not None
    assert abs(local - timedelta(minutes=placed.utc_offset_min)) <= timedelta(seconds=30)
