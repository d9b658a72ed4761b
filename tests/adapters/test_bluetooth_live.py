"""Which sample of a stream stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.sources.bluetooth.live import HeardSample, LiveSamples, is_live
from gateway.adapters.sources.bluetooth.material import Material
from gateway.devices.blood_pressure import parse_blood_pressure_measurement
from gateway.devices.heart_rate import HeartRateMeasurement, SensorContact
from gateway.devices.procedures import Frame, Keep, VitalSample
from gateway.model import Batch, DeviceId, SourceKind
from gateway.normalise.contact import Contact

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2025, 6, 2, 10, 0, tzinfo=UTC)


def beat(rate: int, contact: SensorContact = SensorContact.DETECTED) -> VitalSample:
    return VitalSample(HeartRateMeasurement(rate, contact), (Frame("2a37", bytes((6, rate))),))


def at(second: float) -> Contact:
    return Contact(DeviceId("d"), PARIS, NOW + timedelta(seconds=second), SourceKind.BLUETOOTH)


def rate_of(heard: HeardSample | None) -> int | None:
    if heard is None:
        return None
    assert isinstance(heard.sample.measurement, HeartRateMeasurement)
    return heard.sample.measurement.heart_rate_per_min


def kept(samples: LiveSamples, heard: list[tuple[float, int]]) -> list[int | None]:
    return [rate for second, value in heard if (rate := rate_of(samples.add(beat(value), at(second)))) is not None]


def test_middle_sample_of_each_interval_stays() -> None:
    """An interval begins with its first sample and is closed by the first one after it; the flush gives the rest."""
    samples = LiveSamples(timedelta(seconds=60))
    heard = [(0.0, 70), (1.0, 200), (2.0, 71), (59.9, 72), (60.0, 90), (61.0, 80)]
    assert [71] == kept(samples, heard)
    assert 80 == rate_of(samples.flush())
    assert samples.flush() is None


def test_sample_keeps_its_own_moment() -> None:
    """The reading is of the instant at which that very sample came."""
    samples = LiveSamples(timedelta(seconds=60))
    for second, rate in ((0, 60), (10, 65), (20, 70)):
        samples.add(beat(rate), at(second))
    heard = samples.flush()
    assert heard is not None
    assert NOW + timedelta(seconds=10) == heard.contact.received_at


def test_samples_without_a_result_do_not_count() -> None:
    """They open no interval, but end one that is over."""
    samples = LiveSamples(timedelta(seconds=60))
    loose = SensorContact.NOT_DETECTED
    assert samples.add(beat(150, loose), at(0)) is None
    assert samples.flush() is None
    samples.add(beat(70), at(1))
    assert samples.add(beat(150, loose), at(30)) is None
    assert 70 == rate_of(samples.add(beat(150, loose), at(61)))
    assert samples.flush() is None


def test_interval_of_zero_keeps_everything() -> None:
    """Each sample is closed by the next one."""
    samples = LiveSamples(timedelta(0))
    assert [60, 61] == kept(samples, [(0.0, 60), (0.0, 61), (0.0, 62)])
    assert 62 == rate_of(samples.flush())


def test_clock_that_steps_back_ends_an_interval() -> None:
    """After a step back nothing waits for the old time to come again."""
    samples = LiveSamples(timedelta(seconds=60))
    assert [60] == kept(samples, [(0.0, 60), (-3600.0, 61)])
    assert 61 == rate_of(samples.flush())


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(30, 220)), max_size=60), st.integers(1, 90))
def test_what_stays_is_bounded_and_was_said(heard: list[tuple[int, int]], interval_s: int) -> None:
    """At most one sample an interval, each of them one that came, at its own time."""
    heard = sorted(heard)
    samples = LiveSamples(timedelta(seconds=interval_s))
    found = [samples.add(beat(rate), at(second)) for second, rate in heard]
    stayed = [entry for entry in [*found, samples.flush()] if entry is not None]
    said = {(NOW + timedelta(seconds=second), rate) for second, rate in heard}
    assert {(entry.contact.received_at, rate_of(entry)) for entry in stayed} <= said
    assert bool(heard) == bool(stayed)
    if heard:
        assert len(stayed) <= (heard[-1][0] - heard[0][0]) // interval_s + 1


def test_batch_of_an_open_interval_is_empty() -> None:
    """Nothing is written for a sample that does not end an interval, and the rest comes with its payload."""
    material = Material(DeviceId("d"), PARIS)
    assert Batch() == material.batch(Keep((beat(70),), is_told_once=True), NOW)
    rest = material.rest()
    assert [("2a37", bytes((6, 70)), NOW)] == [(f.channel, f.payload, f.received_at) for f in rest.frames]
    assert [0] == [reading.frame for reading in rest.readings]
    assert Batch() == material.rest()


def test_stored_measurements_are_no_stream() -> None:
    """A blood pressure is never thinned."""
    measurement = parse_blood_pressure_measurement(bytes.fromhex("00 7800 5000 5d00"))
    assert not is_live(VitalSample(measurement, ()))
    assert is_live(beat(70))
