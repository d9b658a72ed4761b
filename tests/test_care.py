"""What a person should know about a device: found in its link, facts and readings, and said in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest

from gateway.care import Care, Concern, cares_of
from gateway.devices.procedures.glucose_gap import GlucoseGap
from gateway.model import Checkpoint, Device, DeviceId, DeviceKind
from gateway.web.care_words import care_sentence
from gateway.web.texts import LANGUAGES, Texts

NOW = datetime(2026, 3, 20, 11, 0, tzinfo=UTC)
METER = Device(DeviceId("meter"), DeviceKind.GLUCOSE_METER, "Lecteur")


@dataclass(frozen=True)
class Standing:
    state: str = "asleep"
    detail: str | None = None
    clock_offset: timedelta | None = None
    can_set_clock: bool = True
    device_id: DeviceId = METER.device_id


def gap(first: int, last: int | None, after: str | None, before: str | None) -> Checkpoint:
    mark = GlucoseGap(0, first, last, after, before).mark
    return Checkpoint(METER.device_id, mark.name, mark.state)


def test_a_device_that_is_well_says_nothing() -> None:
    """A full battery, a clock that is right to the minute, a device that sleeps, one of another source."""
    well = Standing(clock_offset=timedelta(seconds=-60))
    assert () == cares_of(METER, well, now=NOW)
    assert () == cares_of(METER, None, now=NOW, statuses={"device_battery_low"})
    full = Device(METER.device_id, METER.kind, "Lecteur", battery_percent=21)
    assert () == cares_of(full, None, now=NOW)


@pytest.mark.parametrize(
    ("standing", "concern"),
    [
        (Standing("needs_pairing"), Concern.NEEDS_PAIRING),
        (Standing("session_ended", "the sensor has lived its time"), Concern.SESSION_ENDED),
        (Standing("failed", "consent_refused"), Concern.CODE_REFUSED),
        (Standing("failed", "the key does not fit"), Concern.KEY_REFUSED),
    ],
)
def test_of_the_link(standing: Standing, concern: Concern) -> None:
    """A bond to make again, a sensor that is over, a code that the scale refuses."""
    assert (Care(concern),) == cares_of(METER, standing, now=NOW)


def test_a_link_that_failed_for_another_reason_needs_nobody() -> None:
    """It is tried again."""
    assert () == cares_of(METER, Standing("failed", "retry_later"), now=NOW)


@pytest.mark.parametrize(
    ("can_set", "may_set", "concern"),
    [
        (True, True, Concern.CLOCK_BEING_SET),
        (True, False, Concern.CLOCK_SETTABLE),
        (False, True, Concern.CLOCK_BY_HAND),
        (False, False, Concern.CLOCK_BY_HAND),
    ],
)
def test_of_the_clock(can_set: bool, may_set: bool, concern: Concern) -> None:
    """Off by more than a minute, in either direction: by how much, and who can do something about it."""
    for offset in (timedelta(minutes=7, seconds=10), timedelta(minutes=-7)):
        standing = Standing(clock_offset=offset, can_set_clock=can_set)
        assert (Care(concern, 7),) == cares_of(METER, standing, may_set_clock=may_set, now=NOW)
    sensor = Device(METER.device_id, DeviceKind.CGM, "Capteur")
    assert () == cares_of(sensor, Standing(clock_offset=timedelta(hours=1)), now=NOW)


def test_of_a_gap() -> None:
    """Told for thirty days, with what is known of it; one without any date is told always."""
    known = gap(4, 9, "2026-03-01T08:00:00", "2026-03-09T08:00:00")
    expected = Care(Concern.MEMORY_GAP, 6, date(2026, 3, 1), date(2026, 3, 9))
    assert (expected,) == cares_of(METER, None, facts=[known], now=NOW)
    assert () == cares_of(METER, None, facts=[known], now=NOW + timedelta(days=30))
    unsure = gap(4, None, "2026-03-01T08:00:00", None)
    assert (Care(Concern.MEMORY_UNSURE, None, date(2026, 3, 1)),) == cares_of(METER, None, facts=[unsure], now=NOW)
    undated = Checkpoint(METER.device_id, "glucose.gap.0.4", {"count": 1, "after": "?", "before": 7})
    assert (Care(Concern.MEMORY_GAP, 1),) == cares_of(METER, None, facts=[undated], now=NOW)
    other = Checkpoint(METER.device_id, "glucose.feature", {"count": 1})
    assert () == cares_of(METER, None, facts=[other], now=NOW)


def test_the_most_urgent_comes_first() -> None:
    """Whatever needs a person at once is above what can wait."""
    low = Device(METER.device_id, METER.kind, "Lecteur", battery_percent=20)
    found = cares_of(
        low, Standing("needs_pairing"), facts=[gap(1, 1, None, None)], statuses={"unauthenticated_broadcast"}, now=NOW
    )
    assert [Concern.NEEDS_PAIRING, Concern.MEMORY_GAP, Concern.BATTERY_LOW, Concern.OPEN_BROADCAST] == [
        care.concern for care in found
    ]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("concern", Concern)
def test_everything_has_a_sentence(concern: Concern, language: str) -> None:
    """In both languages, without anything left to fill in."""
    care = Care(concern, 2, date(2026, 3, 1), date(2026, 3, 9))
    said = care_sentence(care.as_json(), Texts(language))
    assert said.endswith(".")
    assert not set("{}") & set(said)
    assert "None" not in said


def test_what_is_said_of_gaps_and_clocks() -> None:
    """One record is one, many are many, hours are not said in minutes."""
    french, english = Texts("fr"), Texts("en")
    one = Care(Concern.MEMORY_GAP, 1).as_json()
    assert "a effacé une mesure avant" in care_sentence(one, french)
    many = Care(Concern.MEMORY_GAP, 6, date(2026, 3, 1), date(2026, 3, 9)).as_json()
    assert "6 mesures avant que la passerelle ne le lise (entre le 1 mars et le 9 mars)." in care_sentence(many, french)
    assert "(after 1 Mar)" in care_sentence(Care(Concern.MEMORY_UNSURE, None, date(2026, 3, 1)).as_json(), english)
    for minutes, time in ((89, "89 min"), (90, "2 h"), (47 * 60, "47 h"), (72 * 60, "3 days")):
        assert f"wrong by {time};" in care_sentence(Care(Concern.CLOCK_BY_HAND, minutes).as_json(), english)
