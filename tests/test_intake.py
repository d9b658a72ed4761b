"""The doorway of readings: one result under two names comes in once, and every payload stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.changes import Changes
from gateway.clock import SystemClock
from gateway.errors import StoreUnavailable
from gateway.intake import StoreIntake
from gateway.model import (
    Absent,
    Batch,
    Checkpoint,
    CommitReceipt,
    DeviceId,
    Metric,
    Provenance,
    RawFrame,
    Reading,
    SourceKind,
    StoredReading,
    TimeQuality,
)
from gateway.normalise.glucose import CONTEXT_MISSING
from gateway.ports import ReadingStore

METER = DeviceId("meter")
AT = datetime(2025, 6, 2, 10, 0, 37)  # noqa: DTZ001 -- a meter's clock has no zone
RECEIVED = datetime(2025, 6, 3, tzinfo=UTC)


def batch(sequence: int, epoch: int, *, source: SourceKind = SourceKind.BLUETOOTH) -> Batch:
    """One result with its payload and its checkpoint."""
    frame = RawFrame(METER, source, "2a18", bytes((sequence, epoch)), RECEIVED)
    reading = Reading(
        device_id=METER,
        epoch=epoch,
        record_key=f"{sequence}@{AT.isoformat()}",
        metric=Metric.GLUCOSE_CAPILLARY,
        effective_at=AT.replace(tzinfo=UTC),
        utc_offset_min=0,
        time_quality=TimeQuality.DEVICE,
        received_at=RECEIVED,
        provenance=Provenance(source, "gatt.2a18"),
        value=Decimal(100),
        device_time=AT,
        frame=0,
    )
    return Batch((reading,), (frame,), (), (Checkpoint(METER, "glucose.records", {"sequence": sequence}),))


async def test_d9_result_told_again_under_another_number_is_known(tmp_path: Path) -> None:
    """The reading is one, its watermark moves, and both payloads can be looked at."""
    async with SqliteStore.open(tmp_path / "p.db", clock=SystemClock()) as store:
        intake = StoreIntake(store.readings, store.registry, Changes())
        assert CommitReceipt(added=1) == await intake.submit(batch(5, 0))
        for _ in range(2):
            assert CommitReceipt(known=1) == await intake.submit(batch(1, 1))
        assert 1 == len(await store.readings.readings(device_id=METER))
        payloads = [frame.payload for number in (1, 2) if (frame := await store.readings.raw(number)) is not None]
        assert [b"\x05\x00", b"\x01\x01"] == payloads
        assert [Checkpoint(METER, "glucose.records", {"sequence": 1})] == await store.readings.facts(METER)
        assert [] == await store.readings.facts(DeviceId("other"))


@pytest.mark.parametrize("is_undecided_first", [False, True])
async def test_number_that_was_told_is_not_taken_back(tmp_path: Path, is_undecided_first: bool) -> None:
    """A dual meter is read again and this time a context stays away: what was decided once stays, and so it does after
    the context has come once more."""
    told = batch(5, 0)
    (reading,) = told.readings
    context = replace(reading.context, status=(CONTEXT_MISSING,))
    undecided = replace(reading, value=None, absent=Absent.UNTRUSTWORTHY, context=context)
    sightings = (*([undecided] if is_undecided_first else []), reading, undecided, reading)
    async with SqliteStore.open(tmp_path / "p.db", clock=SystemClock()) as store:
        intake = StoreIntake(store.readings, store.registry, Changes())
        for day, sighted in enumerate(sightings):
            later = replace(sighted, received_at=RECEIVED + timedelta(days=day))
            await intake.submit(replace(told, readings=(later,)))
        (stored,) = await store.readings.readings(device_id=METER)
        assert Decimal(100) == stored.reading.value


async def test_other_sources_name_their_records_themselves(tmp_path: Path) -> None:
    """The rule is for memories of meters: what came by MQTT is taken under its own name."""
    async with SqliteStore.open(tmp_path / "p.db", clock=SystemClock()) as store:
        intake = StoreIntake(store.readings, store.registry, Changes())
        await intake.submit(batch(5, 0))
        other = batch(1, 1, source=SourceKind.MQTT)
        assert CommitReceipt(added=1) == await intake.submit(replace(other, checkpoints=()))


async def test_what_is_durable_is_told_although_its_settling_failed(tmp_path: Path) -> None:
    """The store goes away between the commit and the look at its neighbours: who follows readings looks all the same,
    and the source, which sends the batch again, finds it known."""
    changes = Changes()
    async with SqliteStore.open(tmp_path / "p.db", clock=SystemClock()) as store:
        intake = StoreIntake(_AwayAfterCommit(store.readings), store.registry, changes)
        with changes.follow() as told:
            with pytest.raises(StoreUnavailable):
                await intake.submit(batch(5, 0))
            assert told.is_set()
        assert CommitReceipt(known=1) == await intake.submit(batch(5, 0))


class _AwayAfterCommit:
    """A store that cannot be read once, after the first commit."""

    def __init__(self, store: ReadingStore) -> None:
        self._store = store
        self._is_away = False
        self._commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, batch: Batch) -> CommitReceipt:
        """As the store behind it."""
        receipt = await self._store.commit(batch)
        self._commits += 1
        self._is_away = self._commits == 1
        return receipt

    async def readings(self, **which: Any) -> list[StoredReading]:
        """As the store behind it."""
        if self._is_away:
            self._is_away = False
            raise StoreUnavailable("away")
        return await self._store.readings(**which)
