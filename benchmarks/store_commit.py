"""How fast one-reading batches become durable, and how much of the interpreter that takes.

Run: python benchmarks/store_commit.py [readings]
Prints a Markdown table; `benchmarks/results/store_commit.md` holds the last one kept.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.clock import SystemClock
from gateway.model import (
    Batch,
    Device,
    DeviceId,
    DeviceKind,
    Metric,
    Person,
    PersonId,
    Provenance,
    RawFrame,
    Reading,
    SourceKind,
    TimeQuality,
    Unit,
)

__all__ = ["batches", "main"]

_START = datetime(2026, 1, 1, tzinfo=UTC)
_PEOPLE = 20
_PROVENANCE = Provenance(SourceKind.MQTT, "mqtt.passerelle")


@dataclass(frozen=True, slots=True)
class Run:
    """One line of the table."""

    name: str
    readings: int
    seconds: float
    main_thread_s: float
    transactions: int

    def line(self) -> str:
        """As a row of a Markdown table."""
        rate, cpu = self.readings / self.seconds, self.main_thread_s / self.readings * 1e6
        group = self.readings / max(self.transactions, 1)
        return f"| {self.name} | {rate:,.0f} | {cpu:.1f} | {group:.0f} |"


def batches(count: int) -> Iterator[Batch]:
    """Batches of one interstitial glucose reading and its raw payload, spread over 20 people."""
    for number in range(count):
        device = DeviceId(f"cgm-{number % _PEOPLE}")
        at = _START + timedelta(minutes=5 * (number // _PEOPLE))
        value = Decimal(60 + number * 7 % 200)
        payload = f'{{"metric":"glucose_interstitial","value":{value},"unit":"mg/dL","at":"{at.isoformat()}"}}'.encode()
        reading = Reading(
            device_id=device,
            epoch=0,
            record_key=f"s1.{number // _PEOPLE * 5}",
            metric=Metric.GLUCOSE_INTERSTITIAL,
            effective_at=at,
            utc_offset_min=60,
            time_quality=TimeQuality.DEVICE,
            received_at=at + timedelta(seconds=3),
            provenance=_PROVENANCE,
            value=value,
            original_value=value,
            original_unit=Unit.MG_DL,
            frame=0,
        )
        frame = RawFrame(device, SourceKind.MQTT, f"gateway/devices/{device}/readings", payload, reading.received_at)
        yield Batch(readings=(reading,), frames=(frame,))


def household() -> tuple[list[Person], list[Device]]:
    """Twenty people, each with a sensor."""
    people = [Person(PersonId(f"p-{n}"), f"Person {n}", ZoneInfo("Europe/Paris")) for n in range(_PEOPLE)]
    devices = [Device(DeviceId(f"cgm-{n}"), DeviceKind.CGM, f"Sensor {n}", PersonId(f"p-{n}")) for n in range(_PEOPLE)]
    return people, devices


async def _measure(name: str, prepared: list[Batch], *, window: int, spin_s: float = 0.0) -> Run:
    """Feed the batches with `window` commits under way; `spin_s` burns the event loop's thread per batch."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        async with SqliteStore.open(Path(folder) / "store.db", clock=SystemClock()) as store:
            await store.registry.declare(*household())
            before = store.transactions
            source = iter(prepared)

            async def feed() -> None:
                for batch in source:
                    if spin_s:
                        until = time.perf_counter() + spin_s
                        while time.perf_counter() < until:
                            pass
                    await store.readings.commit(batch)

            began, cpu = time.perf_counter(), time.thread_time()
            async with asyncio.TaskGroup() as tasks:
                for _ in range(window):
                    tasks.create_task(feed())
            seconds = time.perf_counter() - began
            return Run(name, len(prepared), seconds, time.thread_time() - cpu, store.transactions - before)


async def _all(count: int) -> None:
    prepared = list(batches(count))
    print("| from memory, batches of one reading with its raw payload | readings/s | event-loop CPU µs each | group |")
    print("|---|---|---|---|")
    print((await _measure("one at a time", prepared[: count // 20], window=1)).line())
    print((await _measure("window 20", prepared[: count // 4], window=20)).line())
    print((await _measure("window 500", prepared, window=500)).line())
    print((await _measure("window 500, 30 µs of other work each", prepared, window=500, spin_s=30e-6)).line())


def main() -> None:
    """Entry point."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    asyncio.run(_all(count))
    assert threading.active_count() == 1


if __name__ == "__main__":
    main()
