"""The cases of time that no single room decides: from the meter's record to the store, the figures and the outbox."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.changes import Changes
from gateway.clinical.glucose import local_day_bounds
from gateway.clock import SystemClock
from gateway.devices.glucose import ConcentrationUnit, GlucoseMeasurement
from gateway.devices.passerelle_json import DECODER, decode_reading_message
from gateway.fhir.mes.measures import why_not
from gateway.intake import StoreIntake
from gateway.model import (
    Batch,
    CommitReceipt,
    Device,
    DeviceId,
    DeviceKind,
    Itinerary,
    Leg,
    Metric,
    Person,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    TimeMethod,
    TimeQuality,
    zone_of_text,
    zone_text,
)
from gateway.normalise.contact import Contact
from gateway.normalise.glucose import glucose_readings
from gateway.normalise.neighbours import settled
from gateway.normalise.times import place_device_time
from gateway.summaries import Summaries

PARIS, NEW_YORK, TOKYO = ZoneInfo("Europe/Paris"), ZoneInfo("America/New_York"), ZoneInfo("Asia/Tokyo")
ADA, METER, SENSOR = PersonId("ada"), DeviceId("meter"), DeviceId("sensor")
RECEIVED = datetime(2026, 6, 10, 18, 0, tzinfo=UTC)
RESET = datetime(2000, 1, 1)  # noqa: DTZ001 - a meter's clock has no zone


@pytest.fixture(autouse=True)
def every_line() -> None:
    """Whatever an earlier test made of the log."""
    structlog.reset_defaults()


def wall(day: int, hour: int, minute: int = 0) -> datetime:
    """A wall clock in June 2026."""
    return datetime(2026, 6, day, hour, minute)  # noqa: DTZ001


def record(
    sequence: int,
    at: datetime | None,
    *,
    received_at: datetime = RECEIVED,
    offset: timedelta | None = None,
    zone: tzinfo = PARIS,
    time_offset_min: int = 0,
    current_offset_min: int | None = None,
    status: tuple[str, ...] = (),
) -> Reading:
    """A meter's record as the Bluetooth source makes it."""
    measurement = GlucoseMeasurement(
        sequence=sequence,
        base_time=at,
        time_offset_min=time_offset_min,
        concentration=Decimal("100E-5"),
        unit=ConcentrationUnit.KG_L,
        sample_type="capillary_whole_blood",
        sample_location="finger",
        status=status,
    )
    contact = Contact(METER, zone, received_at, SourceKind.BLUETOOTH, clock_offset=offset)
    normalised = glucose_readings(measurement, None, contact, current_offset_min=current_offset_min)
    (reading,) = normalised.readings
    return reading


async def collected(folder: Path, batches: Iterable[Sequence[Reading]]) -> list[Reading]:
    """What the store holds after these batches, by the meter's numbers."""
    async with opened(folder) as store:
        intake = StoreIntake(store.readings, store.registry, Changes(), zone_of=lambda _: PARIS)
        for batch in batches:
            await intake.submit(Batch(tuple(batch)))
        found = [stored.reading for stored in await store.readings.readings()]
    return sorted(found, key=lambda reading: (reading.epoch, int(reading.record_key.partition("@")[0])))


def opened(folder: Path) -> AbstractAsyncContextManager[SqliteStore]:
    """The store of a test."""
    return SqliteStore.open(folder / "p.db", clock=SystemClock())


# --- E1: a clock that cannot be believed ------------------------------------------------------------------------------


async def test_e1_three_records_after_an_empty_battery(tmp_path: Path) -> None:
    """2000-01-01 for three records, then the clock is set: kept as said, estimated between the neighbours, not sent."""
    before, after = record(1, wall(1, 8)), record(5, wall(1, 20))
    lost = [record(n, RESET + timedelta(hours=n)) for n in (2, 3, 4)]
    assert {TimeQuality.UNKNOWN} == {reading.time_quality for reading in lost}
    found = await collected(tmp_path, [[before, *lost, after]])
    # twelve hours of room for a stretch of two: it begins five hours after the one before
    hours = [timedelta(hours=h) for h in (0, 5, 6, 7, 12)]
    assert hours == [reading.effective_at - before.effective_at for reading in found]
    assert [TimeMethod.NEIGHBOURS] * 3 == [reading.time_method for reading in found[1:4]]
    assert [TimeQuality.CORRECTED] * 3 == [reading.time_quality for reading in found[1:4]]
    assert [reading.device_time for reading in lost] == [reading.device_time for reading in found[1:4]]
    assert ["time_estimated"] * 3 == [why_not(reading) for reading in found[1:4]]
    assert None is why_not(found[0])


async def test_e1_a_later_record_repairs_history_once(tmp_path: Path) -> None:
    """Unknown while nothing came after; estimated once the next record is there; never moved by what comes then."""
    first = [record(1, wall(1, 8)), record(2, RESET)]
    async with opened(tmp_path) as store:
        intake = StoreIntake(store.readings, store.registry, Changes(), zone_of=lambda _: PARIS)
        await intake.submit(Batch(tuple(first)))
        (unknown,) = [s.reading for s in await store.readings.readings() if s.reading.record_key.startswith("2@")]
        assert (TimeQuality.UNKNOWN, RECEIVED) == (unknown.time_quality, unknown.effective_at)
        assert "time_unknown" == why_not(unknown)
        with capture_logs() as lines:
            for n in (3, 4, 5):
                await intake.submit(Batch((record(n, wall(1, 7 + n)),)))
                await intake.submit(Batch(tuple(first)))
        settlings = [line for line in lines if line["event"] == "intake.times_settled"]
        assert [1] == [line["readings"] for line in settlings]
    async with opened(tmp_path) as store:  # another process looks at all of it again, and finds nothing to do
        again = StoreIntake(store.readings, store.registry, Changes(), zone_of=lambda _: PARIS)
        assert CommitReceipt(known=2) == await again.submit(Batch(tuple(first)))
        estimated = next(s.reading for s in await store.readings.readings() if s.reading.record_key.startswith("2@"))
    assert (TimeMethod.NEIGHBOURS, 9) == (estimated.time_method, estimated.local_time.hour)


async def test_e1_a_contact_that_knows_the_time_replaces_an_estimate(tmp_path: Path) -> None:
    """Whatever was unknown or estimated gives way to a measured offset; what has its place is not moved later."""
    vague = [record(1, wall(1, 8)), record(2, RESET), record(3, wall(1, 10))]
    sure = record(2, RESET, received_at=RECEIVED + timedelta(days=1), offset=wall(1, 9, 40) - RESET)
    later = record(2, RESET, received_at=RECEIVED + timedelta(days=2), offset=wall(1, 9, 50) - RESET)
    assert TimeMethod.OFFSET_MEASURED is sure.time_method
    for order in itertools.permutations([vague, [sure], [later]]):
        folder = tmp_path / "-".join(str(len(batch)) + str(id(batch)) for batch in order)
        found = await collected(folder, order)
        assert [vague[0], sure, vague[2]] == found


async def test_e1_records_before_the_battery_was_empty_keep_their_own_clock(tmp_path: Path) -> None:
    """The offset measured after the reset belongs to the clock after it: it would put older records 26 years ahead."""
    offset = wall(10, 20) - (RESET + timedelta(hours=2))
    old = [record(n, wall(n, 8), offset=offset) for n in (1, 2, 3)]
    new = [record(n, RESET + timedelta(hours=n - 3), offset=offset) for n in (4, 5)]
    assert [TimeQuality.UNKNOWN] * 3 == [reading.time_quality for reading in old]
    found = await collected(tmp_path, [[*old, *new]])
    assert [wall(n, 8) for n in (1, 2, 3)] == [reading.local_time for reading in found[:3]]
    assert [TimeMethod.CLOCK_UNCHECKED] * 3 + [TimeMethod.OFFSET_MEASURED] * 2 == [r.time_method for r in found]
    assert [wall(10, 19), wall(10, 20)] == [reading.local_time for reading in found[3:]]


def test_e1_a_meter_that_doubts_its_clock_is_not_believed_by_order() -> None:
    """`time_fault`: its stamp says nothing; between neighbours it is an estimate."""
    readings = [record(1, wall(1, 8)), record(2, wall(1, 20), status=("time_fault",)), record(3, wall(1, 10))]
    moved, _ = settled(readings, PARIS)
    assert [TimeMethod.NEIGHBOURS] == [reading.time_method for reading in moved.values()]


_STAMPS = st.sampled_from([None, RESET, RESET + timedelta(hours=1), RESET + timedelta(days=3)])


@given(st.lists(st.one_of(_STAMPS, st.integers(0, 20)), min_size=1, max_size=9), st.randoms())
def test_e1_estimates_keep_the_order_and_depend_on_nothing_else(
    stamps: list[datetime | int | None], chance: random.Random
) -> None:
    """Times by sequence never go back, known ones stay, and neither the order of arrival nor repetition matters."""
    readings, at = [], wall(1, 0)
    for number, stamp in enumerate(stamps):
        if isinstance(stamp, int):
            at += timedelta(hours=stamp)
        readings.append(record(number, at if isinstance(stamp, int) else stamp))
    moved, gaps = settled(readings, PARIS)
    shuffled = list(readings)
    chance.shuffle(shuffled)
    assert (moved, gaps) == settled(shuffled, PARIS)
    after = [moved.get(reading, reading) for reading in readings]
    assert ({}, gaps) == settled(after, PARIS)
    placed = [reading.effective_at for reading in after if reading.time_quality is not TimeQuality.UNKNOWN]
    assert sorted(placed) == placed
    assert [r for r in readings if r.time_quality is TimeQuality.DEVICE] == [
        r for r in after if r.time_quality is TimeQuality.DEVICE
    ]


_OFFSET = wall(10, 20) - (RESET + timedelta(hours=2))
_ON_ITS_WAY = st.sampled_from(
    [(wall(day, 8), offset) for day in (1, 4, 7) for offset in (timedelta(), _OFFSET)]
    + [(RESET + timedelta(hours=hour), offset) for hour in (0, 1) for offset in (None, _OFFSET)]
)


@given(st.lists(_ON_ITS_WAY, min_size=2, max_size=6), st.randoms())
def test_e1_records_that_come_in_any_order_one_by_one_get_the_same_places(
    told: list[tuple[datetime, timedelta | None]], chance: random.Random
) -> None:
    """What was concluded from a part of the records is concluded again from all of them."""
    readings = [record(number, at, offset=offset) for number, (at, offset) in enumerate(told)]
    at_once = {reading.key: reading for reading in readings}
    at_once |= {reading.key: reading for reading in settled(readings, PARIS)[0].values()}
    chance.shuffle(readings)
    known: dict[str, Reading] = {}
    for reading in readings:
        known[reading.key] = reading
        known |= {moved.key: moved for moved in settled(known.values(), PARIS)[0].values()}
    assert at_once == known


async def test_e1_a_contact_that_knows_the_time_replaces_a_conclusion_in_either_order(tmp_path: Path) -> None:
    """A record placed by its own stamp, because the order allows it, gives way to a clock that was compared."""
    vague = [record(1, wall(1, 8), offset=_OFFSET), record(2, RESET, offset=_OFFSET)]
    sure = record(1, wall(1, 8), received_at=RECEIVED + timedelta(days=1), offset=timedelta(minutes=10))
    assert TimeMethod.OFFSET_MEASURED is sure.time_method
    for number, order in enumerate(([vague, [sure]], [[sure], vague])):
        found = await collected(tmp_path / str(number), order)
        assert [sure, vague[1]] == found


# --- E3: the user changes the clock -----------------------------------------------------------------------------------


@given(st.lists(st.integers(-720, 720), min_size=2, max_size=8), st.integers(-600, 600))
def test_e3_each_stretch_has_its_own_offset_and_the_order_stays(offsets_min: list[int], behind_min: int) -> None:
    """However often the display was changed: by sequence the instants rise, each an hour after the one before."""
    behind = timedelta(minutes=behind_min)
    local_now = RECEIVED.astimezone(PARIS).replace(tzinfo=None)
    base_now = local_now - behind - timedelta(minutes=offsets_min[-1])
    readings = [
        record(
            n,
            base_now - timedelta(hours=len(offsets_min) - n),
            offset=behind,
            time_offset_min=offset,
            current_offset_min=offsets_min[-1],
        )
        for n, offset in enumerate(offsets_min)
    ]
    instants = [reading.effective_at for reading in readings]
    steps = {later - earlier for earlier, later in itertools.pairwise(instants)}
    assert all(abs(step - timedelta(hours=1)) <= timedelta(minutes=1) for step in steps)
    expected = {
        TimeMethod.SEGMENT if offset != offsets_min[-1] else TimeMethod.OFFSET_MEASURED for offset in offsets_min
    }
    if abs(behind_min) > 1:
        assert expected == {reading.time_method for reading in readings}


async def test_e3_a_clock_without_an_offset_field_is_right_where_it_was_read_in_time(tmp_path: Path) -> None:
    """Summer time was set four days late: what a contact placed before that stays; only what it never read is off."""
    slow = timedelta(hours=1)
    monday = datetime(2026, 3, 30, 7, 0)  # noqa: DTZ001
    early = record(1, monday, received_at=datetime(2026, 3, 31, 18, tzinfo=UTC), offset=slow)
    late = datetime(2026, 4, 5, 18, tzinfo=UTC)
    again = [record(n, monday + timedelta(days=n - 1), received_at=late, offset=timedelta()) for n in (1, 2, 6)]
    found = await collected(tmp_path, [[early], again])
    assert [8, 7, 7] == [reading.local_time.hour for reading in found]
    methods = [TimeMethod.OFFSET_MEASURED, TimeMethod.CLOCK_CHECKED, TimeMethod.CLOCK_CHECKED]
    assert methods == [reading.time_method for reading in found]


# --- E4: the hours that exist twice, or not at all --------------------------------------------------------------------


async def test_e4_ambiguous_hours_are_flagged_and_nothing_shifts_twice(tmp_path: Path) -> None:
    """UTC, the meter's own words and the offset used are kept; reading the memory again in winter moves nothing."""
    night = [datetime(2026, 10, 25, hour, 30) for hour in (1, 2, 3)]  # noqa: DTZ001
    contacts = [datetime(2026, 10, 25, 6, tzinfo=UTC), datetime(2026, 12, 24, 6, tzinfo=UTC)]
    batches = [[record(n, at, received_at=c, offset=timedelta()) for n, at in enumerate(night)] for c in contacts]
    found = await collected(tmp_path, batches)
    assert batches[0] == found
    assert [(23, 120), (0, 120), (2, 60)] == [(r.effective_at.hour, r.utc_offset_min) for r in found]
    checked, ambiguous = TimeMethod.CLOCK_CHECKED, TimeMethod.CLOCK_AMBIGUOUS
    assert [checked, ambiguous, checked] == [reading.time_method for reading in found]
    assert night == [reading.device_time for reading in found]
    assert [None] * 3 == [why_not(reading) for reading in found]


# --- E5: travellers ---------------------------------------------------------------------------------------------------

LEFT, CAME_HOME = datetime(2026, 6, 3, 18, tzinfo=UTC), datetime(2026, 6, 9, 6, tzinfo=UTC)
TRIP = Itinerary(PARIS, [Leg(LEFT, NEW_YORK), Leg(CAME_HOME, PARIS)])


@pytest.mark.parametrize("house", [PARIS, NEW_YORK, TOKYO, TRIP])
@pytest.mark.parametrize("device_zone", [PARIS, NEW_YORK, TOKYO])
def test_e5_what_is_measured_at_the_contact_decides(house: tzinfo, device_zone: ZoneInfo) -> None:
    """A device on home time with the hub elsewhere, and the reverse: the right instant, whatever zone anybody is in."""
    contact = datetime(2026, 6, 5, 16, tzinfo=UTC)
    instant = contact - timedelta(hours=9)
    stamp = instant.astimezone(device_zone).replace(tzinfo=None)
    offset = contact.astimezone(house).replace(tzinfo=None) - contact.astimezone(device_zone).replace(tzinfo=None)
    placed = place_device_time(stamp, contact, house, clock_offset=offset)
    assert instant == placed.effective_at


@pytest.mark.parametrize(
    ("stamp", "utc"),
    [
        (wall(3, 8), datetime(2026, 6, 3, 6, tzinfo=UTC)),  # at home
        (wall(5, 8), datetime(2026, 6, 5, 12, tzinfo=UTC)),  # over there, by a clock that follows
        (wall(9, 12), datetime(2026, 6, 9, 10, tzinfo=UTC)),  # home again
    ],
)
def test_e5_a_clock_that_follows_its_owner_is_read_where_the_owner_was(stamp: datetime, utc: datetime) -> None:
    """A phone or a careful owner sets the device on arrival: each record belongs to the zone lived in then."""
    placed = place_device_time(stamp, datetime(2026, 6, 9, 18, tzinfo=UTC), TRIP, clock_offset=timedelta())
    assert (utc, TimeMethod.CLOCK_CHECKED) == (placed.effective_at, placed.method)
    assert placed.utc_offset_min == (-240 if stamp == wall(5, 8) else 120)


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(2026, 1, 2), datetime(2026, 12, 30)),  # noqa: DTZ001
            st.sampled_from([PARIS, NEW_YORK, TOKYO]),
        ),
        max_size=4,
        unique_by=lambda leg: leg[0].date(),
    ),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),  # noqa: DTZ001
)
def test_e5_an_itinerary_is_a_zone(legs: list[tuple[datetime, ZoneInfo]], at: datetime) -> None:
    """There and back without loss for any instant, by the wall clock of the zone lived in; and it can be stored."""
    trip = Itinerary(PARIS, [Leg(begins.replace(tzinfo=UTC), zone) for begins, zone in legs])
    instant = at.replace(tzinfo=UTC)
    lived_in = [PARIS, *(zone for begins, zone in sorted(legs, key=lambda leg: leg[0]) if begins <= at)][-1]
    there = instant.astimezone(trip)
    assert instant.astimezone(lived_in).replace(tzinfo=None, fold=0) == there.replace(tzinfo=None, fold=0)
    assert instant == there.astimezone(UTC)
    assert (trip if legs else PARIS) == zone_of_text(zone_text(trip))


def test_e5_a_day_of_travel_has_its_own_length() -> None:
    """The day of the flight west has 30 hours, the one of the flight home 18: their figures count that many slots."""
    lengths = [end - start for start, end in (local_day_bounds(date(2026, 6, day), TRIP) for day in (3, 5, 9))]
    assert [timedelta(hours=30), timedelta(hours=24), timedelta(hours=18)] == lengths


async def test_e5_the_store_and_the_figures_know_the_trip(tmp_path: Path) -> None:
    """A person's zones come back from the store as they were declared."""
    async with opened(tmp_path) as store:
        await store.registry.declare([Person(ADA, "Ada", TRIP)], [])
        (person,) = await store.registry.people()
        assert TRIP == person.time_zone


# --- E8: from the future ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead_min", "quality"), [(9, TimeQuality.DEVICE), (25, TimeQuality.UNKNOWN)])
def test_e8_a_reading_from_the_future_is_held_beyond_ten_minutes(ahead_min: int, quality: TimeQuality) -> None:
    """Kept with its own words, at no known time, and it does not leave; nothing crashes."""
    at = RECEIVED + timedelta(minutes=ahead_min)
    measurement = {"metric": "body_mass", "value": 70.5, "unit": "kg"}
    payload = json.dumps({"record": "r1", "time": at.isoformat(), "measurements": [measurement]})
    contact = Contact(DeviceId("scale"), PARIS, RECEIVED, SourceKind.MQTT, is_live=True)
    decoded = decode_reading_message(payload.encode(), contact, Provenance(SourceKind.MQTT, DECODER))
    (reading,) = decoded.readings
    assert quality is reading.time_quality
    is_held = quality is TimeQuality.UNKNOWN
    assert ("time_unknown" if is_held else None) == why_not(reading)
    assert (RECEIVED if is_held else at) == reading.effective_at
    assert (at.replace(tzinfo=None) if is_held else None) == reading.device_time


# --- late and out of order --------------------------------------------------------------------------------------------


def _sensor(days: int, chance: random.Random) -> list[list[Reading]]:
    """Blocks of a sensor of five minutes as they arrive: late ones, repeats, corrections, a second collector."""
    start = datetime(2026, 3, 27, 23, tzinfo=UTC)
    blocks: list[list[Reading]] = []
    for block in range(days * 12):
        readings = []
        for slot in range(block * 24, block * 24 + 24):
            if chance.random() < 0.02:
                continue
            at = start + timedelta(minutes=5 * slot)
            readings.append(
                Reading(
                    device_id=SENSOR,
                    epoch=0,
                    record_key=f"s+{slot}",
                    metric=Metric.GLUCOSE_INTERSTITIAL,
                    effective_at=at,
                    utc_offset_min=60 if at < datetime(2026, 3, 29, 1, tzinfo=UTC) else 120,
                    time_quality=TimeQuality.DEVICE,
                    time_method=TimeMethod.SESSION,
                    received_at=at + timedelta(seconds=3),
                    provenance=Provenance(SourceKind.SIMULATED, "test"),
                    value=Decimal(chance.randint(60, 250)),
                )
            )
        blocks.append(readings)
    repeats = [list(block) for block in chance.sample(blocks, 3)]
    corrected = [
        replace(reading, value=Decimal(99), received_at=reading.received_at + timedelta(hours=1))
        for reading in chance.sample([reading for block in blocks for reading in block], 5)
    ]
    return [*blocks, *repeats, corrected]


async def test_any_order_of_arrival_gives_the_same_store_and_figures(tmp_path: Path) -> None:
    """Late blocks, repeats and corrections in three orders, over the short day: equal readings, equal day figures."""
    blocks = _sensor(4, random.Random(7))
    answers = []
    for number, chance in enumerate((None, random.Random(1), random.Random(2))):
        order = list(blocks)
        if chance is not None:
            chance.shuffle(order)
        async with opened(tmp_path / str(number)) as store:
            person = Person(ADA, "Ada", PARIS)
            sensor = Device(SENSOR, DeviceKind.CGM, "Sensor", person_id=ADA)
            await store.registry.declare([person], [sensor])
            intake = StoreIntake(store.readings, store.registry, Changes())
            summaries = Summaries(store.readings, SystemClock(), {ADA: person})
            for block in order:
                await intake.submit(Batch(tuple(block)))
                if chance is not None and chance.random() < 0.1:
                    await summaries.refresh()
            await summaries.refresh()
            readings = [stored.reading for stored in await store.readings.readings()]
            days = await store.readings.glucose_days(ADA, date(2026, 3, 27), date(2026, 4, 2))
        answers.append((readings, days))
    assert answers[0] == answers[1] == answers[2]
    assert {276, 288} == {day.slots_expected for day in answers[0][1]}
