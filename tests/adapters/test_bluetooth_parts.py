"""The parts of the Bluetooth source that need no radio."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bluetooth_kit import NOW, PARIS, FrozenClock, make_device

from gateway.adapters.sources.bluetooth import LinkState
from gateway.adapters.sources.bluetooth.material import Material
from gateway.adapters.sources.bluetooth.radio.ladder import Pace
from gateway.adapters.sources.bluetooth.radio.manager import RadioManager
from gateway.adapters.sources.bluetooth.radio.parts import Radio
from gateway.adapters.sources.bluetooth.session import Mailbox
from gateway.adapters.sources.bluetooth.watch import Found, Watch
from gateway.devices.body_composition import parse_body_composition_measurement
from gateway.devices.drivers import GENERIC_DRIVERS
from gateway.devices.glucose import parse_glucose_measurement, parse_glucose_measurement_context
from gateway.devices.procedures import (
    Close,
    CompositionSample,
    Frame,
    GlucoseFetch,
    GlucoseRecord,
    Keep,
    Mark,
    Outcome,
    Spoiled,
    WeightSample,
)
from gateway.devices.weight_scale import parse_weight_measurement
from gateway.model import Absent, Batch, DeviceId, DeviceKind, Metric, QuarantineReason, TimeQuality
from gateway.settings import BluetoothSettings

WEIGHT = bytes.fromhex("00aa37")
COMPOSITION = bytes.fromhex("0004fb00aa37")
GLUCOSE = bytes.fromhex("120700e907020304050689b011")
KETONE = bytes.fromhex("02070006")


class MovableClock(FrozenClock):
    """Both clocks stand still until they are moved."""

    def __init__(self) -> None:
        super().__init__()
        self.at_s = 0.0

    def monotonic(self) -> float:
        return self.at_s


def make_found(clock: MovableClock) -> Found:
    manager = RadioManager(
        Radio("radio"),
        BluetoothSettings(),
        clock,
        drivers=GENERIC_DRIVERS,
        enrolled=lambda _address: None,
        on_heard=lambda _manager, _address, _heard: None,
        on_change=lambda: None,
        pace=Pace(),
        chance=random.Random(1),
    )
    data = AdvertisementData(None, {}, {}, [], None, -60, ())
    heard = manager.neighbourhood.hear(BLEDevice("C0:00:00:00:00:01", None, None), data)
    return Found(heard, GENERIC_DRIVERS[0], lambda _opening: GlucoseFetch(), manager)


def material() -> Material:
    return Material(DeviceId("d"), PARIS)


def weight() -> Keep:
    return Keep((WeightSample(parse_weight_measurement(WEIGHT), (Frame("2a9d", WEIGHT),)),))


def composition() -> Keep:
    return Keep((CompositionSample(parse_body_composition_measurement(COMPOSITION), (Frame("2a9c", COMPOSITION),)),))


def test_weigh_in_without_time_stamp_is_one_weigh_in() -> None:
    """Weight and composition that come seconds apart share one instant and one body mass."""
    made = material()
    both = [made.batch(weight(), NOW), made.batch(composition(), NOW + timedelta(seconds=2))]
    keys = {r.key for batch in both for r in batch.readings if r.metric is Metric.BODY_MASS}
    assert 1 == len(keys)
    assert {TimeQuality.RECEIVED} == {r.time_quality for batch in both for r in batch.readings}


def test_two_people_without_time_stamp_are_two() -> None:
    """A second weight, or a composition much later, is another weigh-in."""
    made = material()
    later = [NOW, NOW + timedelta(seconds=3), NOW + timedelta(minutes=1)]
    batches = [made.batch(weight(), later[0]), made.batch(weight(), later[1]), made.batch(composition(), later[2])]
    assert 3 == len({r.key for batch in batches for r in batch.readings if r.metric is Metric.BODY_MASS})


def test_ketone_record_is_set_aside_as_unsupported() -> None:
    """A dual meter's ketone result is never a glucose result; its octets are kept."""
    record = GlucoseRecord(
        parse_glucose_measurement(GLUCOSE),
        parse_glucose_measurement_context(KETONE),
        (Frame("2a18", GLUCOSE), Frame("2a34", KETONE)),
    )
    batch = material().batch(Keep((record,)), NOW)
    assert [(None, Absent.UNTRUSTWORTHY)] == [(reading.value, reading.absent) for reading in batch.readings]
    assert [QuarantineReason.UNSUPPORTED] == [entry.reason for entry in batch.quarantined]
    assert [GLUCOSE, KETONE] == [frame.payload for frame in batch.frames]


def test_everything_of_a_keep_is_in_the_batch() -> None:
    """Spoiled and loose payloads, each once, and the checkpoint."""
    frame = Frame("2a18", b"?")
    keep = Keep((), (Spoiled(frame, "short"),), (frame, Frame("2a9c", b"part")), mark=Mark("m", {"n": 1}))
    batch = material().batch(keep, NOW)
    assert [b"?", b"part"] == [raw.payload for raw in batch.frames]
    assert [QuarantineReason.MALFORMED] == [entry.reason for entry in batch.quarantined]
    assert [("m", {"n": 1})] == [(checkpoint.name, checkpoint.state) for checkpoint in batch.checkpoints]
    assert Batch() == material().batch(Keep(), NOW)


async def test_mailbox_that_has_overflowed_takes_nothing_more() -> None:
    """What comes after a hole would hide it: a procedure could step over what was dropped."""
    box = Mailbox(1)
    box.put("2aa7", b"\0")
    box.put("2aa7", b"\1")
    assert [("2aa7", b"\0")] == await box.take(None)
    box.put("2aa7", b"\2")
    assert [] == await box.take(0)
    assert box.has_overflowed


async def test_mailbox_is_bounded_and_gives_out_what_came_before_the_end() -> None:
    """Overflow is noted instead of raised; a lost link does not lose what was heard."""
    box = Mailbox(2)
    for octet in range(3):
        box.put("2a18", bytes((octet,)))
    box.lose()
    assert (True, 3) == (box.has_overflowed, box.received)
    assert [("2a18", b"\0"), ("2a18", b"\1")] == await box.take(None)
    assert [] == await box.take(None)


@pytest.mark.parametrize(
    ("outcome", "kept", "pause_s", "state"),
    [
        (Outcome.COMPLETE, 0, 300, LinkState.ASLEEP),
        (Outcome.LINK_LOST, 5, 0, LinkState.ASLEEP),
        (Outcome.LINK_LOST, 0, 30, LinkState.FAILED),
        (Outcome.SILENT, 5, 30, LinkState.FAILED),
        (Outcome.RETRY_LATER, 0, 30, LinkState.FAILED),
        (Outcome.NOT_KEPT, 0, 30, LinkState.FAILED),
        (Outcome.NEEDS_PAIRING, 0, 300, LinkState.NEEDS_PAIRING),
        (Outcome.CONSENT_REFUSED, 1, 300, LinkState.FAILED),
    ],
)
def test_pause_and_state_after_a_contact(outcome: Outcome, kept: int, pause_s: float, state: LinkState) -> None:
    """Each outcome has its pause, before which no advertisement is answered, and its visible state."""
    clock = MovableClock()
    watch = Watch(make_device("C0:00:00:00:00:01", DeviceKind.SCALE), clock, BluetoothSettings(), lambda: None)
    watch.settle(Close(outcome), records_kept=kept, lasted_s=1)
    assert state == watch.state.state
    assert pause_s == watch.not_before


async def test_advertisement_is_answered_after_the_pause_only() -> None:
    """One attempt per advertisement: nothing is remembered from before, or from during a contact."""
    clock = MovableClock()
    watch = Watch(make_device("C0:00:00:00:00:01", DeviceKind.SCALE), clock, BluetoothSettings(), lambda: None)
    found = make_found(clock)
    watch.offer(found)
    watch.settle(Close(Outcome.COMPLETE), records_kept=0, lasted_s=1)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(watch.next_found())
        await asyncio.sleep(0)
        clock.at_s = 299
        watch.offer(found)
        wanted = [watch.is_wanted]
        clock.at_s = 300
        wanted.append(watch.is_wanted)
        watch.offer(found)
        wanted.append(watch.is_wanted)
    assert ([False, True, False], found) == (wanted, waiting.result())


def test_link_that_keeps_breaking_is_not_hammered() -> None:
    """Taken up at once three times, then after the pause."""
    clock = MovableClock()
    watch = Watch(make_device("C0:00:00:00:00:01", DeviceKind.SCALE), clock, BluetoothSettings(), lambda: None)
    pauses = []
    for _ in range(5):
        watch.settle(Close(Outcome.LINK_LOST), records_kept=3, lasted_s=1)
        pauses.append(watch.not_before - clock.at_s)
    assert [0, 0, 0, 30, 0] == pauses


def test_a_long_good_contact_ends_a_row_of_failures() -> None:
    """A sensor's link is lost again and again in its life, and hardly ever ended: what failed a month ago is over."""
    clock = MovableClock()
    watch = Watch(make_device("C0:00:00:00:00:01", DeviceKind.CGM), clock, BluetoothSettings(), lambda: None)
    for _ in range(3):
        watch.settle(Close(Outcome.LINK_LOST), records_kept=0, lasted_s=1)
    watch.settle(Close(Outcome.LINK_LOST), records_kept=100, lasted_s=9000)
    watch.settle(Close(Outcome.LINK_LOST), records_kept=0, lasted_s=1)
    assert 30 == watch.not_before - clock.at_s


def test_a_device_that_was_paired_anew_begins_anew() -> None:
    """What its old keys have caused counts no more: one more failure is not the third in a row."""
    watch = Watch(make_device("C0:00:00:00:00:01", DeviceKind.CGM), MovableClock(), BluetoothSettings(), lambda: None)
    for name, value in (("cut_off", 2), ("wants_bond", True), ("unreached_by", "radio")):
        setattr(watch, name, value)
    watch.retry()
    assert (0, False, None) == (watch.cut_off, watch.wants_bond, watch.unreached_by)
