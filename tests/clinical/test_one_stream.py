from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clinical.one_stream import NEAR, one_stream, one_stream_of_stored, source_rank
from gateway.clinical.twins import Twins, one_result_each, preferred
from gateway.model import (
    Absent,
    Bound,
    BoundKind,
    DeviceId,
    Metric,
    Provenance,
    Reading,
    SourceKind,
    StoredReading,
    TimeQuality,
)

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(
    seconds: float,
    device: str = "sensor",
    value: str | None = "120",
    source: SourceKind = SourceKind.BLUETOOTH,
    metric: Metric = Metric.GLUCOSE_INTERSTITIAL,
    bound: Bound | None = None,
) -> Reading:
    instant = START + timedelta(seconds=seconds)
    return Reading(
        device_id=DeviceId(device),
        epoch=0,
        record_key=f"{seconds}",
        metric=metric,
        effective_at=instant,
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=instant,
        provenance=Provenance(source, "test"),
        value=None if value is None else Decimal(value),
        bound=bound,
        absent=Absent.UNTRUSTWORTHY if value is None and bound is None else None,
    )


def stick(seconds: float, device: str, value: str | None = "110", bound: Bound | None = None) -> Reading:
    return at(seconds, device, value, metric=Metric.GLUCOSE_CAPILLARY, bound=bound)


def stored(*readings: Reading) -> list[StoredReading]:
    return [StoredReading(reading, None, number, None) for number, reading in enumerate(readings, start=1)]


def told(readings: list[Reading]) -> list[tuple[str, float]]:
    return [(r.device_id, (r.effective_at - START).total_seconds()) for r in readings]


def test_the_source_nearer_to_the_sensor_is_preferred() -> None:
    """Bluetooth before HTTP before MQTT before files, then the device's id; the person's own order before all."""
    kinds = [SourceKind.FILE, SourceKind.MQTT, SourceKind.HTTP, SourceKind.BLUETOOTH, SourceKind.SIMULATED]
    readings = [at(0, f"d{n}", source=kind) for n, kind in enumerate(kinds)]
    readings.append(at(0, "d9", source=SourceKind.BLUETOOTH))
    assert ["d3", "d9", "d2", "d1", "d0", "d4"] == [r.device_id for r in sorted(readings, key=source_rank)]
    mine = (DeviceId("d4"), DeviceId("d0"))
    assert ["d4", "d0", "d3"] == [r.device_id for r in sorted(readings, key=lambda r: source_rank(r, mine))][:3]


def test_one_of_two_apps_is_shown() -> None:
    """Two apps tell one sensor, 20 s apart: one of them at each instant, the same one throughout."""
    readings = [at(n * 300 + late, device) for n in range(5) for device, late in (("xdrip", 20), ("juggluco", 0))]
    assert [("juggluco", n * 300.0) for n in range(5)] == told(one_stream(readings))
    assert [("xdrip", n * 300 + 20.0) for n in range(5)] == told(one_stream(readings, [DeviceId("xdrip")]))


def test_others_fill_the_holes() -> None:
    """Where the preferred device was silent, what another one heard is shown."""
    near = [at(n * 300, "a") for n in (0, 1, 4)]
    far = [at(n * 300 + 60, "b", source=SourceKind.HTTP) for n in range(5)]
    assert [("a", 0), ("a", 300), ("b", 660), ("b", 960), ("a", 1200)] == told(one_stream([*far, *near]))


@pytest.mark.parametrize(("apart_s", "shown"), [(150, 1), (150.001, 2), (-150, 1), (-151, 2)])
def test_150_seconds(apart_s: float, shown: int) -> None:
    """Half of five minutes, its end included."""
    assert shown == len(one_stream([at(0, "a"), at(apart_s, "b")]))


def test_one_device_never_hides_itself() -> None:
    """Readings of one device are all shown, a second apart or twice at one instant."""
    readings = [at(n, "a") for n in range(200)]
    assert readings == one_stream(readings)


def test_what_is_hidden_hides_nothing() -> None:
    """Only what is shown counts: the third source is compared with the first, not with the hidden second."""
    assert [("a", 0), ("c", 200)] == told(one_stream([at(0, "a"), at(100, "b"), at(200, "c")]))


def test_an_overlap_of_two_sensors_is_one_curve() -> None:
    """While a new sensor warms up beside the old one, one of them is shown at each instant."""
    old, new = [at(n * 300, "old") for n in range(20)], [at(n * 300 + 130, "new") for n in range(10, 40)]
    shown = told(one_stream([*old, *new], [DeviceId("new")]))
    assert [("old", n * 300.0) for n in range(10)] + [("new", n * 300 + 130.0) for n in range(10, 40)] == shown


SOURCES = st.tuples(st.integers(0, 3000), st.sampled_from("abc"), st.sampled_from(list(SourceKind)[:3]))


@given(st.lists(SOURCES, max_size=30, unique_by=lambda each: each[:2]), st.permutations(range(30)))
def test_any_order_gives_one_stream(drawn: list[tuple[int, str, SourceKind]], order: list[int]) -> None:
    """Order of arrival does not matter, no two shown readings of different devices are near, nothing is lost alone."""
    readings = [at(seconds, device, source=kind) for seconds, device, kind in drawn]
    shown = one_stream(readings)
    assert shown == one_stream([readings[n] for n in order if n < len(readings)])
    assert shown == [item.reading for item in one_stream_of_stored(stored(*readings))]
    for one in shown:
        for other in shown:
            assert one.device_id == other.device_id or abs(one.effective_at - other.effective_at) > NEAR
    for hidden in {r.key for r in readings} - {r.key for r in shown}:
        (reading,) = [r for r in readings if r.key == hidden]
        assert any(
            source_rank(other) < source_rank(reading) and abs(other.effective_at - reading.effective_at) <= NEAR
            for other in shown
            if other.device_id != reading.device_id
        )


def test_a_finger_stick_told_twice_is_one() -> None:
    """A meter's 6.1 mmol/L and the 110 that the person typed into the app a minute later are one result."""
    meter, app, other = stick(0, "meter", "109.895099"), stick(60, "xdrip"), stick(60, "xdrip2", "140")
    assert [meter, other] == one_result_each([app, meter, other])
    assert [app, other] == one_result_each([app, meter, other], [DeviceId("xdrip")])


def test_two_equal_results_of_one_meter_are_two() -> None:
    """Each of them has its own copy; without a copy it stands alone."""
    results = [stick(0, "meter"), stick(60, "meter")]
    copies = [stick(5, "xdrip"), stick(65, "xdrip")]
    assert results == one_result_each([*copies, *results])
    assert results == one_result_each([*results, copies[1]])
    twins = Twins(stored(*results, copies[1]))
    assert [[1], [2, 3], [2, 3]] == [[twin.row_id for twin in twins.of(item)] for item in twins]


def test_different_results_are_no_twins() -> None:
    """Another value, another side of the range, more than 150 s, the same device: two results."""
    low, high = Bound(BoundKind.BELOW, Decimal(20)), Bound(BoundKind.ABOVE, Decimal(600))
    for other in (
        stick(10, "b", "112"),
        stick(151, "b"),
        stick(10, "a"),
        stick(10, "b", None, high),
        stick(10, "b", None),
    ):
        twins = Twins(stored(stick(0, "a"), other))
        assert [[1], [2]][: len(list(twins))] == [[twin.row_id for twin in twins.of(item)] for item in twins]
    assert 1 == len(one_result_each([stick(0, "a", None, low), stick(10, "b", None, low)]))


def test_the_first_committed_stands_first() -> None:
    """Twins come in order of commit; the preferred one by its source."""
    items = stored(stick(9, "xdrip"), stick(0, "meter"))
    twins = Twins(items)
    assert items == twins.of(items[1])
    assert items[1] == preferred(twins.of(items[0]))
    assert [items[1]] == twins.neighbours(items[0])
    assert [items[0]] == twins.neighbours(items[1])
