"""Which weight and which composition of a scale are one weigh-in, and when it was."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations

import pytest
from bluetooth_kit import NOW, PARIS

from gateway.adapters.sources.bluetooth.material import Material
from gateway.devices.body_composition import parse_body_composition_measurement
from gateway.devices.procedures import CompositionSample, Frame, Keep, WeightSample
from gateway.devices.weight_scale import parse_weight_measurement
from gateway.model import DeviceId, Metric, Reading, TimeQuality
from gateway.sandbox.frames import encode_date_time

WALL = NOW.astimezone(PARIS).replace(tzinfo=None)
STAMP = WALL - timedelta(minutes=3)
INVALID = bytes(7)
RAW = 14_250


def octets(stamp: datetime | bytes | None, user: int | None) -> tuple[int, bytes]:
    """Flag bits 1 and 2, and the two fields."""
    flags = (stamp is not None) << 1 | (user is not None) << 2
    time = stamp if isinstance(stamp, bytes) else b"" if stamp is None else encode_date_time(stamp)
    return flags, time + (b"" if user is None else bytes((user,)))


def weight(
    stamp: datetime | bytes | None, user: int | None, raw: int = RAW, clock_set_to: datetime | None = None
) -> WeightSample:
    flags, fields = octets(stamp, user)
    frame = bytes((flags,)) + raw.to_bytes(2, "little") + fields
    return WeightSample(parse_weight_measurement(frame), (Frame("2a9d", frame),), clock_set_to)


def composition(stamp: datetime | bytes | None, user: int | None, raw: int = RAW) -> CompositionSample:
    flags, fields = octets(stamp, user)
    frame = (flags | 1 << 10).to_bytes(2, "little") + b"\xfb\x00" + fields + raw.to_bytes(2, "little")
    return CompositionSample(parse_body_composition_measurement(frame), (Frame("2a9c", frame),))


def heard(*samples: WeightSample | CompositionSample, apart_s: int = 2, made: Material | None = None) -> list[Reading]:
    """The readings as a store would hold them: the last one of each key."""
    made = made or Material(DeviceId("d"), PARIS)
    stored: dict[str, Reading] = {}
    for place, sample in enumerate(samples):
        batch = made.batch(Keep((sample,)), NOW + timedelta(seconds=place * apart_s))
        stored.update((reading.key, reading) for reading in batch.readings)
    return list(stored.values())


def masses(readings: list[Reading]) -> list[Reading]:
    return [reading for reading in readings if reading.metric is Metric.BODY_MASS]


@pytest.mark.parametrize("stamps", [(STAMP, None), (None, STAMP), (STAMP, STAMP), (STAMP, INVALID), (INVALID, STAMP)])
@pytest.mark.parametrize("users", [(2, None), (None, 2), (2, 2)])
@pytest.mark.parametrize("is_weight_first", [True, False])
def test_what_one_half_lacks_it_takes_from_the_other(
    stamps: tuple[datetime | bytes | None, datetime | bytes | None],
    users: tuple[int | None, int | None],
    is_weight_first: bool,
) -> None:
    """One body mass, one weigh-in, with the time and the user that either of the two said."""
    pair = [weight(stamps[0], users[0]), composition(stamps[1], users[1])]
    readings = heard(*(pair if is_weight_first else reversed(pair)))
    (mass,) = masses(readings)
    assert (STAMP, 2, TimeQuality.DEVICE) == (mass.device_time, mass.context.user_index, mass.time_quality)
    assert 1 == len({reading.context.weigh_in for reading in readings})


@pytest.mark.parametrize(
    ("other", "apart_s"),
    [
        (composition(None, 1), 2),
        (composition(None, None, RAW + 1), 2),
        (composition(STAMP + timedelta(minutes=1), None), 2),
        (composition(None, None), 11),
        (weight(None, None), 2),
    ],
)
def test_contradiction_or_distance_makes_two(other: WeightSample | CompositionSample, apart_s: int) -> None:
    """Another user, weight or time, a later one, or the same characteristic again: two weigh-ins."""
    assert 2 == len(masses(heard(weight(STAMP, 2), other, apart_s=apart_s)))


def test_halves_of_several_people_find_each_other() -> None:
    """Stored weigh-ins may come all weights first: each composition belongs to its own."""
    weights = [weight(STAMP - timedelta(hours=hour), None, RAW + hour) for hour in range(3)]
    for order in permutations(range(3)):
        readings = heard(*weights, *(composition(None, hour, RAW + hour) for hour in order), apart_s=1)
        assert {hour: STAMP - timedelta(hours=hour) for hour in range(3)} == {
            mass.context.user_index: mass.device_time for mass in masses(readings)
        }


@pytest.mark.parametrize("is_weight", [True, False])
def test_time_stamp_that_was_sent_but_is_impossible_is_not_now(is_weight: bool) -> None:
    """A scale whose clock was lost does not say when: unknown, and the same record whenever it is received."""
    sample = weight(INVALID, 1) if is_weight else composition(INVALID, 1)
    first, again = heard(sample), heard(sample, made=Material(DeviceId("d"), PARIS, timedelta(hours=1)))
    (later,) = masses(heard(weight(None, 3), sample, apart_s=60))[1:]
    (mass,), (same,) = masses(first), masses(again)
    assert (TimeQuality.UNKNOWN, None, 1) == (mass.time_quality, mass.device_time, mass.context.user_index)
    assert [mass.key] * 2 == [same.key, later.key]
    assert NOW.isoformat() not in mass.record_key
    assert not mass.is_result


def test_time_stamp_that_was_not_sent_is_now() -> None:
    """A scale without a clock tells what it measures just now."""
    (mass,) = masses(heard(weight(None, None)))
    assert (TimeQuality.RECEIVED, NOW) == (mass.time_quality, mass.effective_at)


def test_weigh_in_by_a_clock_that_was_just_set_is_not_corrected() -> None:
    """The offset measured before the clock was set holds for what the scale had stored, not for what it stamps now."""
    behind = timedelta(hours=5)
    made = Material(DeviceId("d"), PARIS, behind)
    now, stored = masses(
        heard(weight(WALL, 1, clock_set_to=WALL), weight(STAMP - behind, 1, clock_set_to=WALL), made=made)
    )
    assert (NOW, TimeQuality.DEVICE) == (now.effective_at, now.time_quality)
    assert (NOW - timedelta(minutes=3), TimeQuality.CORRECTED) == (stored.effective_at, stored.time_quality)


def test_untrusted_clock_corrects_nothing_and_dates_nothing() -> None:
    """While we do not know the time, a scale's own time stands and a scale without one leaves it unknown."""
    made = Material(DeviceId("d"), PARIS, timedelta(hours=5))
    early = NOW - timedelta(days=20_000)
    samples = (weight(STAMP, 1), weight(None, 2))
    stamped, live = (made.batch(Keep((s,)), early, clock_is_trusted=False).readings[0] for s in samples)
    assert (NOW - timedelta(minutes=3), TimeQuality.DEVICE) == (stamped.effective_at, stamped.time_quality)
    assert TimeQuality.UNKNOWN is live.time_quality
