"""What it costs to tell once what two devices tell: 14 days of glucose.

    python benchmarks/one_stream.py [--rounds 5] [--result FILE]

In memory: the choice alone, and the day figures of 14 days. In a real database: a new reading of a phone makes its day
be computed again, beside one and beside two devices. Wall time, median; garbage collector on.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from _machine import machine

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.clinical.glucose import glucose_day
from gateway.clinical.one_stream import one_stream
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
    Reading,
    SourceKind,
    TimeQuality,
)
from gateway.summaries import Summaries

RESULT = Path(__file__).parent / "results" / "one_stream.md"
DAYS = 14
PARIS = ZoneInfo("Europe/Paris")
CAMILLE = Person(PersonId("camille"), "Camille", PARIS)
SENSOR, PHONE = DeviceId("sensor"), DeviceId("phone")
FIRST = date(2026, 3, 1)
START = datetime(2026, 3, 1, tzinfo=PARIS).astimezone(UTC)


def stream(device_id: DeviceId, source: SourceKind, every_s: int, late_s: int) -> list[Reading]:
    """14 days of one device."""
    return [
        Reading(
            device_id=device_id,
            epoch=0,
            record_key=str(number),
            metric=Metric.GLUCOSE_INTERSTITIAL,
            effective_at=START + timedelta(seconds=number * every_s + late_s),
            utc_offset_min=60,
            time_quality=TimeQuality.DEVICE,
            received_at=START + timedelta(seconds=number * every_s + late_s + 2),
            provenance=Provenance(source, "benchmark"),
            value=Decimal(100 + number % 90),
        )
        for number in range(DAYS * 86_400 // every_s)
    ]


def median_ms(work: Callable[[], object], rounds: int) -> float:
    """Milliseconds of one run."""
    taken: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def figures(readings: list[Reading]) -> None:
    """The day figures of all days, each from its own readings and those of the days beside it, as the gateway does."""
    per_day: dict[date, list[Reading]] = {}
    for reading in readings:
        per_day.setdefault(reading.local_day, []).append(reading)
    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        around = [each for off in (-1, 0, 1) for each in per_day.get(day + timedelta(days=off), ())]
        glucose_day(CAMILLE.person_id, day, around, PARIS)


async def refresh_ms(streams: list[list[Reading]], rounds: int) -> float:
    """One new reading of the last stream, then the figures: milliseconds of `Summaries.refresh`."""
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteStore.open(Path(folder) / "p.db", clock=SystemClock()) as store:
            devices = [Device(each[0].device_id, DeviceKind.CGM, "d", CAMILLE.person_id) for each in streams]
            await store.registry.declare([CAMILLE], devices)
            for each in streams:
                await store.readings.commit(Batch(readings=tuple(each)))
            summaries = Summaries(store.readings, SystemClock(), {CAMILLE.person_id: CAMILLE})
            await summaries.refresh()
            taken: list[float] = []
            for number in range(rounds):
                new = streams[-1][len(streams[-1]) // 2]
                new = replace(new, record_key=f"n{number}", effective_at=new.effective_at + timedelta(seconds=number))
                await store.readings.commit(Batch(readings=(new,)))
                began = time.perf_counter()
                await summaries.refresh()
                taken.append(1000 * (time.perf_counter() - began))
            return statistics.median(taken)


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    sensor = stream(SENSOR, SourceKind.BLUETOOTH, 300, 0)
    cases = {
        "one sensor": [sensor],
        "and a phone, every five minutes": [sensor, stream(PHONE, SourceKind.HTTP, 300, 40)],
        "and a phone, every minute": [sensor, stream(PHONE, SourceKind.HTTP, 60, 20)],
    }
    lines = [
        "# One stream out of several devices",
        "",
        f"`python benchmarks/one_stream.py --rounds {options.rounds}`, {datetime.now(UTC):%Y-%m-%d}, {machine()};"
        f" wall time, median of {options.rounds}.",
        "",
        "| 14 days of | readings | shown | the choice | figures of the 14 days | a new reading: its day again |",
        "|---|---|---|---|---|---|",
    ]
    for name, streams in cases.items():
        readings = [each for one in streams for each in one]
        chosen = median_ms(lambda readings=readings: one_stream(readings), options.rounds)  # type: ignore[misc]
        days = median_ms(lambda readings=readings: figures(readings), options.rounds)  # type: ignore[misc]
        again = asyncio.run(refresh_ms(streams, options.rounds))
        lines.append(
            f"| {name} | {len(readings):,} | {len(one_stream(readings)):,} | {chosen:.1f} ms | {days:.0f} ms"
            f" | {again:.0f} ms |"
        )
    lines += [
        "",
        "Where two devices tell glucose the days before and after are computed as well: which device counts in the"
        " first minutes of a day depends on the last ones of the day before.",
    ]
    text = "\n".join([*lines, ""])
    options.result.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
