"""Readings in, readings out: exact, idempotent, in order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_store_kit import ADA, BOB, METER, NOW, batch, household, open_store, query, reading

from gateway.adapters.stores.sqlite.codec import METRIC_CODES, QUALITY_CODES, UNIT_CODES, Series, encode_reading
from gateway.adapters.stores.sqlite.decoding import decode_provenance, decode_readings
from gateway.errors import PermanentError, StoreUnavailable
from gateway.model import (
    Absent,
    Batch,
    Bound,
    BoundKind,
    Checkpoint,
    CommitReceipt,
    Context,
    DeviceId,
    Meal,
    Metric,
    PersonId,
    Provenance,
    Quarantined,
    QuarantineReason,
    RawFrame,
    Reading,
    SourceKind,
    StoredReading,
    TimeQuality,
    Unit,
)

__all__: list[str] = []

_DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
_INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
_TEXTS = st.none() | st.text(max_size=20)
_CONTEXTS = st.builds(
    Context,
    meal=st.none() | st.sampled_from(Meal),
    carbohydrate_g=st.none() | _DECIMALS,
    exercise_duration_s=st.none() | st.integers(0, 65535),
    medication_mg=st.none() | _DECIMALS,
    medication_ml=st.none() | _DECIMALS,
    hba1c_percent=st.none() | _DECIMALS,
    trend_mg_dl_min=st.none() | _DECIMALS,
    quality_percent=st.none() | _DECIMALS,
    sample_type=_TEXTS,
    is_control_solution=st.booleans(),
    status=st.lists(st.text(max_size=8), max_size=3).map(tuple),
    user_index=st.none() | st.integers(0, 254),
    note=_TEXTS,
)
_RESULTS = st.one_of(
    st.fixed_dictionaries({"value": _DECIMALS}),
    st.fixed_dictionaries({"bound": st.builds(Bound, st.sampled_from(BoundKind), st.none() | _DECIMALS)}),
    st.fixed_dictionaries({"absent": st.sampled_from(Absent)}),
)


@st.composite
def _readings(draw: st.DrawFn) -> Reading:
    return Reading(
        device_id=METER,
        epoch=draw(st.integers(0, 2**63 - 1)),
        record_key=draw(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128)),
        metric=draw(st.sampled_from(Metric)),
        effective_at=draw(_INSTANTS),
        utc_offset_min=draw(st.integers(-840, 840)),
        time_quality=draw(st.sampled_from(TimeQuality)),
        received_at=draw(_INSTANTS),
        provenance=Provenance(draw(st.sampled_from(SourceKind)), "gatt.2a18", draw(st.booleans())),
        original_value=draw(st.none() | _DECIMALS),
        original_unit=draw(st.none() | st.sampled_from(Unit)),
        context=draw(_CONTEXTS),
        device_time=draw(st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1))),  # noqa: DTZ001
        **draw(_RESULTS),
    )


def test_every_word_of_the_vocabularies_has_a_number() -> None:
    """Whatever the model can say, the store can hold, under one number each."""
    assert set(Metric) == set(METRIC_CODES)
    assert set(Unit) == set(UNIT_CODES)
    assert set(TimeQuality) == set(QUALITY_CODES)
    for codes in (METRIC_CODES, UNIT_CODES, QUALITY_CODES):
        assert len(codes) == len(set(codes.values()))


@given(_readings())
@settings(max_examples=60)
def test_a_reading_comes_back_as_it_went_in(original: Reading) -> None:
    """Decimals, specials, contexts and microseconds survive the columns exactly."""
    (_, _, _, key, effective, _, offset, quality, received, provenance, *content) = encode_reading(original, None)
    row = (1, 1, 1, key, effective, offset, quality, received, 1, *content[:5], None)
    series: dict[int, Series] = {1: (original.device_id, original.epoch, original.metric)}
    (stored,) = decode_readings([row], series, {1: ADA}, {1: decode_provenance(provenance)})  # type: ignore[list-item]
    assert original == stored.reading
    assert (Reading, StoredReading) == (type(stored.reading), type(stored))
    assert stored == replace(stored, reading=replace(stored.reading))
    assert str(original.value) == str(stored.reading.value)


async def test_the_file_gives_back_what_was_committed(tmp_path: Path) -> None:
    """A reading with everything set is the same after closing and opening the file."""
    original = replace(
        reading(frame=0),
        value=None,
        bound=Bound(BoundKind.ABOVE, Decimal("600")),
        context=Context(
            meal=Meal.FASTING, note="é\ud800\x00", status=("strip_error",), trend_mg_dl_min=Decimal("-1.10")
        ),
        device_time=datetime(2026, 2, 28, 13, 0, 0, 5),  # noqa: DTZ001
    )
    async with open_store(tmp_path) as store:
        assert CommitReceipt(added=1) == await store.readings.commit(batch(original, payload=b"\x00\x01"))
    async with open_store(tmp_path) as store:
        (stored,) = await store.readings.readings()
        assert original == stored.reading
        assert stored.person_id is None
        assert stored.raw_id is not None
        raw = await store.readings.raw(stored.raw_id)
        assert RawFrame(METER, SourceKind.BLUETOOTH, "2a18", b"\x00\x01", NOW) == raw
        assert await store.readings.raw(99) is None
    assert 0o600 == (tmp_path / "state" / "passerelle.db").stat().st_mode & 0o777


async def test_a_repeated_batch_changes_nothing(tmp_path: Path) -> None:
    """Redelivery is recognised, adds no second raw payload and keeps the earliest reception."""
    async with open_store(tmp_path) as store:
        first = batch(reading(1, frame=0), reading(2, frame=0), payload=b"raw")
        later = batch(reading(1, frame=0, received=60), reading(2, frame=0, received=60), payload=b"raw")
        assert CommitReceipt(added=2) == await store.readings.commit(first)
        assert CommitReceipt(known=2) == await store.readings.commit(later)
        both = batch(reading(2, frame=0, received=90), reading(3, frame=0, received=90), payload=b"more")
        assert CommitReceipt(added=1, known=1) == await store.readings.commit(both)
        assert [0, 0, 90] == [(s.reading.received_at - NOW).seconds for s in await store.readings.readings()]
    assert [(2,)] == query(tmp_path, "SELECT count(*) FROM frame")


async def test_a_correction_becomes_current_and_the_old_version_is_kept(tmp_path: Path) -> None:
    """The version received last is current; an older one arriving late is only kept."""
    async with open_store(tmp_path) as store:
        await store.readings.commit(batch(reading(1, "100", received=10)))
        assert CommitReceipt(corrected=1) == await store.readings.commit(batch(reading(1, "101", received=20)))
        assert CommitReceipt(corrected=1) == await store.readings.commit(batch(reading(1, "99", received=5)))
        assert CommitReceipt(known=1) == await store.readings.commit(batch(reading(1, "100", received=30)))
        (current,) = await store.readings.readings()
        assert Decimal("101") == current.reading.value
    assert [("100",), ("99",)] == query(tmp_path, "SELECT value FROM revision ORDER BY value")


async def test_reading_a_memory_again_after_its_clock_was_set_is_no_correction(tmp_path: Path) -> None:
    """Where the gateway placed the device's own time belongs to the contact, not to the record."""
    said = replace(reading(1), device_time=datetime(2026, 2, 28, 14, 0))  # noqa: DTZ001
    corrected = replace(said, time_quality=TimeQuality.CORRECTED)
    again = replace(said, effective_at=said.effective_at + timedelta(hours=1), received_at=NOW + timedelta(days=1))
    undated = replace(reading(2), time_quality=TimeQuality.UNKNOWN, effective_at=NOW)
    undated_again = replace(undated, effective_at=again.received_at, received_at=again.received_at)
    retained = replace(reading(3), provenance=Provenance(SourceKind.MQTT, "mqtt.passerelle", is_retained=True))
    async with open_store(tmp_path) as store:
        await store.readings.commit(batch(corrected, undated, reading(3)))
        assert CommitReceipt(known=3) == await store.readings.commit(batch(again, undated_again, retained))
        stored = {s.reading.record_key: s.reading for s in await store.readings.readings()}
        assert corrected == stored["r1"]
        assert undated == stored["r2"]


def _with_loose(told: Batch, *payloads: bytes, received: int = 0) -> Batch:
    """The batch with further payloads, to which no reading refers unless it refers to their place."""
    at = NOW + timedelta(seconds=received)
    more = tuple(RawFrame(METER, SourceKind.BLUETOOTH, "2a18", payload, at) for payload in payloads)
    return replace(told, frames=told.frames + more)


_SIGHTINGS = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.sampled_from(["90", "100", "110"]),
        st.integers(0, 4),
        st.lists(st.sampled_from([b"", b"a", b"1=90"]), max_size=2),
    ),
    min_size=1,
    max_size=8,
)


@given(_SIGHTINGS, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_order_and_repetition_of_batches_do_not_matter(
    tmp_path: Path, sightings: list[tuple[int, str, int, list[bytes]]], random: object
) -> None:
    """Any permutation, repetition and grouping of the same batches leaves the same store, loose payloads included."""
    batches = []
    for number, value, received, payloads in sightings:
        told = batch(reading(number, value, received=received, frame=0), payload=f"{number}={value}".encode())
        batches.append(told if number < 3 else replace(told, readings=(), frames=()))
        batches[-1] = _with_loose(batches[-1], *payloads, received=received)
    shuffled = batches + batches[::2]
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    async def fill(folder: Path, order: list[Batch], *, at_once: bool) -> list[list[tuple[object, ...]]]:
        async with open_store(folder) as store:
            await store.registry.declare(*household())
            if at_once:
                await asyncio.gather(*(store.readings.commit(one) for one in order))
            else:
                for one in order:
                    await store.readings.commit(one)
        columns = "effective_at, digest, received_at, value, (SELECT payload FROM frame f WHERE f.raw_id = v.raw_id)"
        key = "(SELECT record_key FROM reading r WHERE r.row_id = v.row_id)"
        return [
            query(folder, f"SELECT record_key, {columns} FROM reading v ORDER BY 1"),  # noqa: S608
            query(folder, f"SELECT {key}, {columns} FROM revision v ORDER BY 1, 3"),  # noqa: S608
            query(folder, "SELECT person, metric, local_day FROM dirty_day ORDER BY 1, 2, 3"),
            query(folder, "SELECT payload, received_at FROM frame WHERE digest IS NOT NULL ORDER BY 1"),
            query(folder, "SELECT payload, count(*) FROM frame WHERE digest IS NULL GROUP BY 1 ORDER BY 1"),
        ]

    run = len(list(tmp_path.iterdir()))
    expected = asyncio.run(fill(tmp_path / f"a{run}", batches, at_once=False))
    assert expected == asyncio.run(fill(tmp_path / f"b{run}", shuffled, at_once=False))
    assert expected == asyncio.run(fill(tmp_path / f"c{run}", shuffled, at_once=True))
    assert {payload for *_, payloads in sightings for payload in payloads} == {payload for payload, _ in expected[3]}


async def test_every_payload_of_a_batch_is_kept(tmp_path: Path) -> None:
    """A payload that no reading refers to is on disk once, also without any reading, and can be read back."""
    told = replace(batch(reading(1, frame=1), payload=b"1"), frames=())
    told = _with_loose(told, b"context", b"measurement", b"second packet")
    async with open_store(tmp_path) as store:
        assert CommitReceipt(added=1) == await store.readings.commit(told)
        assert CommitReceipt(known=1) == await store.readings.commit(told)
        assert CommitReceipt() == await store.readings.commit(_with_loose(Batch(), b"context", b"early", received=-9))
        (stored,) = await store.readings.readings()
        raw = [await store.readings.raw(number) for number in range(1, 10)]
        assert [told.frames[1]] == [frame for number, frame in enumerate(raw, 1) if number == stored.raw_id]
        assert [-9, 0, 0, -9] == [(f.received_at - NOW).total_seconds() for f in raw if f is not None]
        assert [b"context", b"measurement", b"second packet", b"early"] == [f.payload for f in raw if f is not None]
        other_device = replace(told.frames[0], device_id=DeviceId("meter-2"))
        other_channel = replace(told.frames[0], channel="2a34")
        await store.readings.commit(Batch(frames=(other_device, other_channel)))
        await store.readings.commit(batch(reading(2, frame=0, received=9), payload=b"context"))
    assert [(7,)] == query(tmp_path, "SELECT count(*) FROM frame")


async def test_loose_payloads_are_purged_by_age(tmp_path: Path) -> None:
    """Retention removes them like the others; one that is told again afterwards is kept again."""
    async with open_store(tmp_path) as store:
        await store.readings.commit(_with_loose(Batch(), b"old"))
        await store.readings.commit(_with_loose(Batch(), b"new", received=9))
        assert 1 == await store.purge_raw(NOW + timedelta(seconds=5))
        assert [(b"new",)] == query(tmp_path, "SELECT payload FROM frame")
        await store.readings.commit(_with_loose(Batch(), b"old", b"new", received=20))
    assert [(b"new",), (b"old",)] == query(tmp_path, "SELECT payload FROM frame ORDER BY received_at")


async def test_a_payload_in_quarantine_is_not_kept_twice(tmp_path: Path) -> None:
    """A frame set aside stays in quarantine alone, unless quarantine would cut it."""
    short, long = _with_loose(Batch(), b"{", b"x" * 65_537).frames
    aside = tuple(Quarantined(frame, QuarantineReason.MALFORMED, "too short") for frame in (short, long))
    async with open_store(tmp_path) as store:
        receipt = await store.readings.commit(Batch(frames=(short, long), quarantined=aside))
        assert CommitReceipt(quarantined=2) == receipt
    assert [(65_537,)] == query(tmp_path, "SELECT length(payload) FROM frame")


async def test_commits_out_of_turn_keep_their_payloads(tmp_path: Path) -> None:
    """A commit that had to wait and is overtaken in the queue still gets payload numbers that were never used."""
    async with open_store(tmp_path) as store:
        encode = store.readings._encoder.encode
        first, second = (encode(batch(reading(n, frame=0), payload=b"%d" % n)) for n in (1, 2))
        await store.readings.commit(batch(reading(3, frame=0), payload=b"3"))
        await store.purge_raw(NOW + timedelta(days=1))
        await asyncio.gather(store._writer.commit(second), store._writer.commit(first))
        numbers = {s.reading.record_key: s.raw_id for s in await store.readings.readings()}
    assert 3 == len(set(numbers.values()))
    own = "FROM reading r JOIN frame f USING (raw_id) WHERE 'r' || CAST(f.payload AS TEXT) = r.record_key"
    assert [(2,)] == query(tmp_path, f"SELECT count(*) {own}")


async def test_concurrent_commits_share_transactions(tmp_path: Path) -> None:
    """Many commits under way need far fewer fsyncs, and each learns its own result."""
    async with open_store(tmp_path, queue_batches=50) as store:
        before = store.transactions
        receipts = await asyncio.gather(*(store.readings.commit(batch(reading(n % 150))) for n in range(300)))
        assert 150 == sum(receipt.added for receipt in receipts)
        assert 150 == sum(receipt.known for receipt in receipts)
        assert store.transactions - before < 60
        stored = await store.readings.readings()
        assert list(range(150)) == sorted(int(s.reading.record_key[1:]) for s in stored)
        assert sorted(s.row_id for s in stored) == list(range(1, 151))


async def test_a_batch_that_cannot_be_stored_harms_no_other(tmp_path: Path) -> None:
    """One impossible batch is refused for good while those sharing its transaction are stored."""
    wrong = replace(reading(2), utc_offset_min=2**70)
    async with open_store(tmp_path) as store:
        results = await asyncio.gather(
            *(store.readings.commit(batch(one)) for one in (reading(1), wrong, reading(3))), return_exceptions=True
        )
        assert CommitReceipt(added=1) == results[0] == results[2]
        assert isinstance(results[1], PermanentError)
        for broken in (replace(reading(4), record_key="a b"), reading(4, device=DeviceId("")), reading(4, frame=0)):
            with pytest.raises(PermanentError):
                await store.readings.commit(batch(broken))
        assert 2 == len(await store.readings.readings())
        assert CommitReceipt() == await store.readings.commit(Batch())
    with pytest.raises(StoreUnavailable):
        await store.readings.commit(batch(reading(5)))
    with pytest.raises(StoreUnavailable):
        await store.readings.readings()


async def test_filters_order_and_limits(tmp_path: Path) -> None:
    """Readings are found by person, device, metric and half-open time range, in either order."""
    scale = DeviceId("scale-1")
    weights = [reading(n, device=scale, metric=Metric.BODY_MASS) for n in (2, 4)]
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        await store.readings.commit(batch(*(reading(n) for n in (5, 1, 3)), reading(1, epoch=1, minute=7), *weights))

        async def minutes(**filters: object) -> list[int]:
            found = await store.readings.readings(**filters)  # type: ignore[arg-type]
            start = NOW - timedelta(days=1)
            return [int((s.reading.effective_at - start).total_seconds() // 60) for s in found]

        assert [1, 2, 3, 4, 5, 7] == await minutes()
        assert [1, 3, 5, 7] == await minutes(person_id=ADA)
        assert [] == await minutes(person_id=BOB)
        assert [] == await minutes(person_id=PersonId(""))
        assert [2, 4] == await minutes(device_id=scale)
        assert [4, 2] == await minutes(metrics={Metric.BODY_MASS}, newest_first=True)
        assert [7, 5, 4] == await minutes(newest_first=True, limit=3)
        day = NOW - timedelta(days=1)
        assert [3, 4] == await minutes(start=day + timedelta(minutes=3), end=day + timedelta(minutes=5))
        latest = {(s.person_id, s.reading.device_id): s.reading.epoch for s in await store.readings.latest()}
        assert {(ADA, METER): 1, (None, scale): 0} == latest
        assert 1 == len(await store.readings.latest(ADA))


async def test_export_is_complete_and_ends(tmp_path: Path) -> None:
    """Export gives every row that existed at its beginning once, in chunks, while intake goes on."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        await store.readings.commit(batch(*(reading(n) for n in range(25))))
        chunks: list[int] = []
        rows: list[int] = []
        async for chunk in store.readings.export(person_id=ADA, metrics=[Metric.GLUCOSE_CAPILLARY], chunk=10):
            chunks.append(len(chunk))
            rows += [stored.row_id for stored in chunk]
            await store.readings.commit(batch(reading(100 + len(chunks))))
        assert [10, 10, 5] == chunks
        assert list(range(1, 26)) == rows
        assert [] == [c async for c in store.readings.export(person_id=PersonId("nobody"))]
        assert [] == [c async for c in store.readings.export(metrics=[Metric.BODY_MASS])]


async def test_a_read_sees_whole_batches_only(tmp_path: Path) -> None:
    """Pairs committed together are never seen half, however reads and commits interleave."""
    async with open_store(tmp_path) as store:

        async def write() -> None:
            for n in range(60):
                await store.readings.commit(batch(reading(2 * n), reading(2 * n + 1)))

        async def watch() -> None:
            for _ in range(60):
                assert 0 == len(await store.readings.readings()) % 2

        await asyncio.gather(write(), watch())


async def test_quarantine_keeps_each_payload_once_and_cut(tmp_path: Path) -> None:
    """A bad payload is kept once whatever is repeated, up to 64 KiB, newest first."""

    def bad(payload: bytes, received: int) -> Batch:
        frame = RawFrame(None, SourceKind.MQTT, "gateway/x", payload, NOW + timedelta(seconds=received))
        return Batch(quarantined=(Quarantined(frame, QuarantineReason.MALFORMED, "not JSON"),))

    async with open_store(tmp_path) as store:
        assert CommitReceipt(quarantined=1) == await store.readings.commit(bad(b"{", 5))
        assert CommitReceipt() == await store.readings.commit(bad(b"{", 1))
        await store.readings.commit(bad(b"x" * 70_000, 9))
        large, small = await store.readings.quarantined()
        assert 65_536 == len(large.frame.payload)
        assert bad(b"{", 1).quarantined[0] == small
        assert [large] == await store.readings.quarantined(limit=1)


async def test_old_payloads_are_purged_and_their_readings_stay(tmp_path: Path) -> None:
    """Retention removes raw bytes by age; row numbers of removed ones are never given again."""
    async with open_store(tmp_path) as store:
        await store.readings.commit(batch(reading(1, frame=0), payload=b"old"))
        assert 1 == await store.purge_raw(NOW + timedelta(seconds=1))
        (stored,) = await store.readings.readings()
        assert stored.raw_id is not None
        assert await store.readings.raw(stored.raw_id) is None
        await store.readings.commit(batch(reading(2, frame=0, received=5), payload=b"new"))
        assert 0 == await store.purge_raw(NOW + timedelta(seconds=1))
        newest = (await store.readings.readings())[-1]
        assert newest.raw_id is not None
        assert newest.raw_id > stored.raw_id
        assert [] == await store.check()


async def test_a_checkpoint_is_stored_with_what_it_covers(tmp_path: Path) -> None:
    """The last checkpoint of a name comes back; a batch that fails leaves the one before."""
    async with open_store(tmp_path) as store:
        assert await store.readings.checkpoint(METER, "glucose.records") is None
        for sequence in (3, 7):
            state: dict[str, str | int | bool | None] = {"sequence": sequence, "wrapped": False, "base": None}
            mark = Checkpoint(METER, "glucose.records", state)
            await store.readings.commit(Batch(checkpoints=(mark,)))
        assert mark == await store.readings.checkpoint(METER, "glucose.records")
        beyond = Checkpoint(METER, "glucose.records", {"sequence": 9})
        with pytest.raises(PermanentError):
            await store.readings.commit(Batch((replace(reading(1), utc_offset_min=2**70),), checkpoints=(beyond,)))
        assert mark == await store.readings.checkpoint(METER, "glucose.records")
        assert ["meter-1"] == [device.device_id for device in await store.registry.devices()]
