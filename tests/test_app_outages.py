"""The whole gateway keeps its ledger: a stop, a kill, and a broker's queue that was too small."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mqtt_kit import mqtt_settings, reading_json

from gateway.adapters.sources.mqtt import MqttSource
from gateway.adapters.stores.sqlite import SqliteStore
from gateway.app import Running, run_gateway
from gateway.changes import Changes
from gateway.clock import SystemClock
from gateway.intake import StoreIntake
from gateway.missing import missing_readings
from gateway.model import DeviceId, OutageReason
from gateway.sandbox.broker import Broker, run_mosquitto
from gateway.sandbox.mqtt_scale import MqttScale
from gateway.settings import Settings

_PATIENCE_S = 20
FIRST = datetime(2026, 3, 1, tzinfo=UTC)


class ShiftedClock(SystemClock):
    """The machine's clock, moved."""

    def __init__(self, shift: timedelta) -> None:
        self._shift = shift

    def now(self) -> datetime:
        return super().now() + self._shift


@asynccontextmanager
async def life(folder: Path, shift: timedelta) -> AsyncIterator[Running]:
    """One life of the gateway, ended as a service manager ends it."""
    settings = Settings.model_validate({"store": {"path": folder / "p.db"}, "web": {"enabled": False}})
    started: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_gateway(settings, clock=ShiftedClock(shift), started=started.set_result))
    try:
        async with asyncio.timeout(_PATIENCE_S):
            yield await started
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _alive_since(folder: Path, before: datetime | None) -> datetime:
    """The sign of life of a running gateway, once it is newer than `before`; read from outside."""
    async with SqliteStore.open(folder / "p.db", clock=SystemClock()) as store, asyncio.timeout(_PATIENCE_S):
        while True:
            at = await store.ledger.last_alive()
            if at is not None and (before is None or at > before):
                return at
            await asyncio.sleep(0.02)


async def test_the_gateway_notes_for_how_long_it_was_not_running(tmp_path: Path) -> None:
    """Stopped in order and started an hour later: the hour is in the ledger, to the second; once."""
    async with life(tmp_path, timedelta()):
        first = await _alive_since(tmp_path, None)
    stopped = await _alive_since(tmp_path, first)
    hour = timedelta(hours=1)
    for _ in range(2):
        async with life(tmp_path, hour):
            await _alive_since(tmp_path, stopped + hour / 2)
    async with SqliteStore.open(tmp_path / "p.db", clock=SystemClock()) as store:
        (off,) = await store.ledger.outages()
    assert (OutageReason.GATEWAY_OFF, stopped) == (off.reason, off.began_at)
    assert off.ended_at is not None
    assert timedelta(seconds=_PATIENCE_S) > abs(off.ended_at - off.began_at - hour)


async def _publish(broker: Broker, *numbers: int) -> None:
    """Weigh-ins of a scale that numbers them, an hour apart; returns when the broker has them."""
    async with MqttScale(DeviceId("x"), host=broker.host, port=broker.port, topic_root="elsewhere") as scale:
        for number in numbers:
            at = FIRST + timedelta(hours=number)
            await scale.publish("gateway/scale-1/reading", reading_json(str(number), time=at.isoformat()), retain=False)


async def _records(store: SqliteStore) -> set[str]:
    return {item.reading.record_key for item in await store.readings.readings()}


async def test_what_a_full_broker_queue_has_dropped_is_missed(tmp_path: Path) -> None:
    """While the gateway is away a broker keeps the first messages and drops the newest without a word (B3): the hole
    is found by the numbers of the records."""
    queue = ["max_queued_messages 10", "max_inflight_messages 10"]
    async with (
        run_mosquitto(tmp_path / "broker", extra=queue) as broker,
        SqliteStore.open(tmp_path / "p.db", clock=SystemClock()) as store,
        contextlib.AsyncExitStack() as own,
    ):
        changes = Changes()
        changed = own.enter_context(changes.follow())
        intake = StoreIntake(store.readings, store.registry, changes)
        for numbers in ((), tuple(range(1, 31))):
            await _publish(broker, *numbers)
            source = MqttSource(mqtt_settings(broker), clock=SystemClock(), zone_of=lambda _: UTC)
            task = asyncio.create_task(source.run(intake))
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await source.connected()
                    if numbers:
                        await _publish(broker, 31)
                        while "31" not in await _records(store):
                            await changed.wait()
                            changed.clear()
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        kept = sorted(int(key) for key in await _records(store))
        end = FIRST + timedelta(days=2)
        (missing,) = await missing_readings(store.readings, store.ledger, start=FIRST, end=end)
    last = kept[-2]
    assert [*range(1, last + 1), 31] == kept
    assert last < 30
    assert (f"records {last + 1} to 30", 30 - last) == (missing.gap.detail, missing.gap.missing)
    assert FIRST + timedelta(hours=last) == missing.gap.start
