"""The gateway notes when it could not hear: each kind of outage, from life to life, and what is then missing."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.errors import StoreUnavailable
from gateway.missing import missing_readings
from gateway.model import (
    Batch,
    Checkpoint,
    Device,
    DeviceId,
    DeviceKind,
    Metric,
    Outage,
    OutageReason,
    Provenance,
    RadioReport,
    RadioState,
    Reading,
    SourceKind,
    TimeQuality,
)
from gateway.normalise.gaps import GapReason
from gateway.outages import BrokerReport, OutageWatch

SENSOR, METER = DeviceId("sensor"), DeviceId("meter")
MINUTE = timedelta(minutes=1)


class MovingClock:
    """Time moves when the test says so."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)
        self.is_right = True

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    @property
    def is_trusted(self) -> bool:
        return self.is_right

    def pass_by(self, minutes: float) -> None:
        self.at += minutes * MINUTE


def result(
    at: datetime,
    *,
    device: DeviceId = SENSOR,
    metric: Metric = Metric.GLUCOSE_INTERSTITIAL,
    key: str | None = None,
    source: SourceKind = SourceKind.BLUETOOTH,
) -> Reading:
    """One result of a sensor, or record `key` of a meter."""
    return Reading(
        device_id=device,
        epoch=0,
        record_key=key or f"{at:%Y-%m-%dT%H:%M:%S}",
        metric=metric,
        value=Decimal(104),
        effective_at=at,
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=at,
        provenance=Provenance(source, "test"),
    )


def watch_of(store: SqliteStore, clock: MovingClock, **more: object) -> OutageWatch:
    """A watch over the store's own ledger."""
    return OutageWatch(store.ledger, store.registry, store.readings, clock, **more)  # type: ignore[arg-type]


async def test_the_time_between_two_lives_is_noted(tmp_path: Path) -> None:
    """Killed or stopped: the next start knows from when to when it did not run; a short restart is none."""
    clock = MovingClock()
    began = clock.at
    for lasted, off in ((10, 45), (3, 0.5), (5, 0)):
        async with SqliteStore.open(tmp_path / "p.db", clock=clock) as store:
            watch = watch_of(store, clock)
            await watch.look()
            for _ in range(lasted):
                clock.pass_by(1)
                await watch.look()
            found = await store.ledger.outages()
        clock.pass_by(off)
    assert [Outage("gateway", OutageReason.GATEWAY_OFF, began + 10 * MINUTE, began + 55 * MINUTE)] == found


async def test_a_good_end_is_noted_to_the_second(tmp_path: Path) -> None:
    """Stopped in order, the interval begins with the end, not with the last look."""
    clock = MovingClock()
    async with SqliteStore.open(tmp_path / "p.db", clock=clock) as store:
        watch = watch_of(store, clock)
        await watch.farewell()
        assert await store.ledger.last_alive() is None
        await watch.look()
        clock.pass_by(0.5)
        await watch.farewell()
        assert clock.at == await store.ledger.last_alive()


async def test_a_clock_that_cannot_be_right_notes_nothing(tmp_path: Path) -> None:
    """A board that wakes up in 1970 was not off for fifty years; once its clock is right, it is noted."""
    clock = MovingClock()
    async with SqliteStore.open(tmp_path / "p.db", clock=clock) as store:
        await watch_of(store, clock).look()
        clock.is_right = False
        clock.pass_by(30)
        watch = watch_of(store, clock)
        await watch.look()
        await watch.farewell()
        assert [] == await store.ledger.outages()
        clock.is_right = True
        await watch.look()
        assert [OutageReason.GATEWAY_OFF] == [outage.reason for outage in await store.ledger.outages()]


async def test_a_clock_that_was_ahead_does_not_hide_what_comes_after(tmp_path: Path) -> None:
    """A believed clock that ran a year ahead is set right: signs of life go on from there, and the next stop shows."""
    clock = MovingClock()
    right = clock.at
    async with SqliteStore.open(tmp_path / "p.db", clock=clock) as store:
        clock.at = right + timedelta(days=365)
        watch = watch_of(store, clock)
        await watch.look()
        clock.at = right
        await watch.look()
        assert right == await store.ledger.last_alive()
        clock.pass_by(30)
        await watch_of(store, clock).look()
        off = Outage("gateway", OutageReason.GATEWAY_OFF, right, right + 30 * MINUTE)
        assert [off] == await store.ledger.outages()


async def test_a_clock_that_was_ahead_in_an_earlier_life_ends_nothing_in_the_future(tmp_path: Path) -> None:
    """What that life left open had ended by now, whatever its clock said."""
    clock = MovingClock()
    right = clock.at
    async with SqliteStore.open(tmp_path / "p.db", clock=clock) as store:
        await store.ledger.begin("bluetooth", OutageReason.RADIO_DEAF, right - 30 * MINUTE)
        clock.at = right + timedelta(days=365)
        await watch_of(store, clock).look()
        await store.ledger.begin("bluetooth", OutageReason.RADIO_OFF, right - 20 * MINUTE)
        clock.at = right
        await watch_of(store, clock).look()
        deaf, off = await store.ledger.outages()
        assert Outage("bluetooth", OutageReason.RADIO_OFF, right - 20 * MINUTE, right) == off
        assert OutageReason.RADIO_DEAF is deaf.reason


async def test_what_an_earlier_life_left_open_ends_with_it(tmp_path: Path) -> None:
    """A radio that was deaf when the gateway died is not deaf for ever."""
    clock = MovingClock()
    began = clock.at
    async with SqliteStore.open(tmp_path / "p.db", clock=clock) as store:
        await watch_of(store, clock).look()
        await store.ledger.begin("bluetooth", OutageReason.RADIO_DEAF, began)
        clock.pass_by(30)
        await watch_of(store, clock).look()
        deaf, off = await store.ledger.outages()
        assert (began, began, OutageReason.GATEWAY_OFF) == (deaf.began_at, deaf.ended_at, off.reason)


async def test_a_radio_that_hears_nobody(tmp_path: Path) -> None:
    """From the last packet to the first; quiet is no verdict; one radio that hears is enough; off is not deaf."""
    clock = MovingClock()
    start = clock.at
    radio = RadioReport("hci0", "00:00:5E:00:53:01", RadioState.HEARING, start, start, 4)
    reports = [radio]
    async with SqliteStore.open(tmp_path / "p.db", clock=clock) as store:
        watch = watch_of(store, clock, reports=lambda: reports)
        await watch.look()
        clock.pass_by(20)
        for state in (RadioState.QUIET, RadioState.DEAF, RadioState.RECOVERING, RadioState.QUIET):
            reports[:] = [replace(radio, state=state)]
            await watch.look()
        clock.pass_by(10)
        reports[:] = [replace(radio, state=RadioState.DEAF), replace(radio, name="hci1")]
        await watch.look()
        deaf = Outage("bluetooth", OutageReason.RADIO_DEAF, start, start + 30 * MINUTE)
        assert [deaf] == await store.ledger.outages()
        clock.pass_by(10)
        reports[:] = [replace(radio, state=RadioState.BLOCKED, last_heard_at=None, since=clock.at)]
        await watch.look()
        assert Outage("bluetooth", OutageReason.RADIO_OFF, clock.at) == (await store.ledger.outages())[-1]


async def test_a_broker_that_is_away_and_one_that_forgot_us(tmp_path: Path) -> None:
    """Seconds are no outage, minutes are one from the last sign on; a lost session is noted over that time (B2)."""
    clock = MovingClock()
    start = clock.at
    reports = [BrokerReport(is_connected=True, sessions_lost=0)]
    async with SqliteStore.open(tmp_path / "p.db", clock=clock) as store:
        watch = watch_of(store, clock, broker=lambda: reports[0])
        await watch.look()
        reports[0] = BrokerReport(is_connected=False, sessions_lost=0)
        clock.pass_by(0.5)
        await watch.look()
        reports[0] = BrokerReport(is_connected=True, sessions_lost=0)
        await watch.look()
        assert [] == await store.ledger.outages()
        last_sign = clock.at
        reports[0] = BrokerReport(is_connected=False, sessions_lost=0)
        for _ in range(5):
            clock.pass_by(1)
            await watch.look()
        reports[0] = BrokerReport(is_connected=True, sessions_lost=1)
        clock.pass_by(1)
        await watch.look()
        await watch.look()
        assert {
            Outage("mqtt", OutageReason.BROKER_AWAY, last_sign, clock.at),
            Outage("mqtt", OutageReason.BROKER_SESSION_LOST, last_sign, clock.at),
        } == set(await store.ledger.outages())
        assert start < last_sign


async def test_a_store_that_could_not_be_written_says_so_afterwards(tmp_path: Path) -> None:
    """While another process holds the file nothing can be noted; when it is free again, the interval is there."""
    clock = MovingClock()
    start = clock.at
    async with SqliteStore.open(tmp_path / "p.db", clock=clock, busy_timeout_s=0.05) as store:
        watch = watch_of(store, clock, spells=store.take_unavailable_spells)
        await watch.look()
        other = sqlite3.connect(tmp_path / "p.db", isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            clock.pass_by(1)
            with pytest.raises(StoreUnavailable):
                await watch.look()
            clock.pass_by(20)
            other.execute("ROLLBACK")
        finally:
            other.close()
        await watch.look()
        await watch.look()
        outage = Outage("store", OutageReason.STORE_UNAVAILABLE, start + MINUTE, start + 21 * MINUTE)
        assert [outage] == await store.ledger.outages()


async def test_a_store_that_was_away_before_the_time_was_known_is_no_outage_of_months(tmp_path: Path) -> None:
    """A board that woke up in January cannot say from when to when; it claims nothing."""
    clock = MovingClock()
    clock.is_right = False
    async with SqliteStore.open(tmp_path / "p.db", clock=clock, busy_timeout_s=0.05) as store:
        watch = watch_of(store, clock, spells=store.take_unavailable_spells)
        other = sqlite3.connect(tmp_path / "p.db", isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable):
                await store.readings.commit(Batch((result(clock.at),)))
            clock.is_right = True
            clock.pass_by(150 * 24 * 60)
            other.execute("ROLLBACK")
        finally:
            other.close()
        await watch.look()
        await watch.look()
        assert [] == await store.ledger.outages()


async def test_a_sensor_that_is_silent_while_we_listen(tmp_path: Path) -> None:
    """From its last sign to its next; a scale may be silent for days."""
    clock = MovingClock()
    start = clock.at
    devices = [
        Device(SENSOR, DeviceKind.CGM, "Capteur", last_heard_at=start),
        Device(DeviceId("scale"), DeviceKind.SCALE, "Balance", last_heard_at=start),
    ]
    async with SqliteStore.open(tmp_path / "p.db", clock=clock) as store:
        await store.registry.declare([], devices)
        watch = watch_of(store, clock)
        await watch.look()
        for _ in range(40):
            clock.pass_by(1)
            await watch.look()
        assert [Outage("device:sensor", OutageReason.DEVICE_OFFLINE, start)] == await store.ledger.outages()
        clock.pass_by(1)
        await store.readings.commit(Batch(readings=(result(clock.at),)))
        await watch.look()
        assert [clock.at] == [outage.ended_at for outage in await store.ledger.outages()]


async def test_what_is_missing_of_a_household(tmp_path: Path) -> None:
    """The sensor's hole has the ledger's reason, another transport's outage has nothing to do with it, and the meter's
    lost numbers have the meter's own word."""
    clock = MovingClock()
    start = clock.at
    async with SqliteStore.open(tmp_path / "p.db", clock=clock) as store:
        readings = [result(start + 5 * n * MINUTE) for n in (*range(12), *range(24, 40))]
        readings += [
            result(start + 20 * n * MINUTE, device=METER, metric=Metric.GLUCOSE_CAPILLARY, key=f"{n}@x")
            for n in (1, 2, 3, 6, 7)
        ]
        gap = Checkpoint(METER, "glucose.gap.0.4", {"first": 4, "last": 5, "count": 2, "why": "overwritten"})
        await store.readings.commit(Batch(readings=tuple(readings), checkpoints=(gap,)))
        await store.ledger.record(Outage("mqtt", OutageReason.BROKER_AWAY, start + 50 * MINUTE, start + 120 * MINUTE))
        await store.ledger.record(
            Outage("gateway", OutageReason.GATEWAY_OFF, start + 56 * MINUTE, start + 119 * MINUTE)
        )
        found = await missing_readings(store.readings, store.ledger, start=start, end=start + 200 * MINUTE)
        assert [
            (SENSOR, GapReason.GATEWAY_OFF, (), 12),
            (METER, GapReason.MEMORY_WRAPPED, (GapReason.GATEWAY_OFF,), 2),
        ] == [(missing.device_id, missing.gap.reason, missing.gap.also, missing.gap.missing) for missing in found]
        only = await missing_readings(
            store.readings, store.ledger, start=start, end=start + 200 * MINUTE, device_id=METER
        )
        assert [METER] == [missing.device_id for missing in only]
        later = start + 130 * MINUTE
        assert [] == await missing_readings(store.readings, store.ledger, start=later, end=start + 200 * MINUTE)
