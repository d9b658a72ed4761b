"""Exports of many years: what an import holds in memory."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.clock import SystemClock
from gateway.devices.files import FORMATS, FileOptions
from gateway.file_import import import_contents
from gateway.model import Metric, Person, PersonId

CAMILLE = Person(PersonId("camille"), "Camille", ZoneInfo("Europe/Paris"))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROWS = 6_000
TITLES = (
    "Index,Timestamp (YYYY-MM-DDThh:mm:ss),Event Type,Event Subtype,Patient Info,Device Info,Source Device ID,"
    "Glucose Value (mg/dL),Insulin Value (u),Carb Value (grams),Duration (hh:mm:ss),"
    "Glucose Rate of Change (mg/dL/min),Transmitter Time (Long Integer),Transmitter ID"
)


def clarity(rows: int) -> str:
    start = datetime(2025, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    lines = [
        f"{n},{(start + timedelta(minutes=5 * n)).isoformat()},EGV,,,,Android G6,{100 + n % 90},,,,,{300 * n},8ABC12"
        for n in range(rows)
    ]
    return "\r\n".join([TITLES, *lines, ""])


async def test_years_are_read_and_read_again_in_little_memory(tmp_path: Path) -> None:
    """Less than a kilobyte for each row, and when the file comes again, for what is stored the names only."""
    text = clarity(ROWS)
    file_format = next(each for each in FORMATS if each.name == "clarity")
    tracemalloc.start()
    try:
        contents = file_format.parse(text, FileOptions(zone=CAMILLE.time_zone))
        held, peak = tracemalloc.get_traced_memory()
        assert max(held, peak - len(text)) < 1000 * ROWS
        async with SqliteStore.open(tmp_path / "passerelle.db", clock=SystemClock()) as store:
            await store.registry.declare([CAMILLE], [])
            for is_dry_run, new in ((False, ROWS), (True, 0)):
                tracemalloc.reset_peak()
                before, _ = tracemalloc.get_traced_memory()
                imported = await import_contents(
                    contents,
                    file_format,
                    CAMILLE,
                    store.readings,
                    store.registry,
                    received_at=NOW,
                    is_dry_run=is_dry_run,
                )
                assert (ROWS, new) == (
                    imported.metrics[Metric.GLUCOSE_INTERSTITIAL].read,
                    imported.metrics[Metric.GLUCOSE_INTERSTITIAL].new,
                )
                assert tracemalloc.get_traced_memory()[1] - before < 500 * ROWS
    finally:
        tracemalloc.stop()
