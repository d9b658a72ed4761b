"""How long fetching a meter's memory takes, beside what the link itself needs.

    python benchmarks/bluetooth_fetch.py [--records 1000] [--rounds 5] [--result FILE]

A virtual meter on Bumble's in-memory link. "Bare loop" connects, subscribes, asks for everything and counts what comes:
no decoding, no store. "Gateway" is the unchanged source with a real SQLite store, from the connection until the last
record is durable. Both talk to the same device over the same link, in turns. A real radio is slower than this link: its
bound is computed, not measured.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from _machine import machine
from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic

from gateway.adapters.sources.bluetooth import BluetoothSource
from gateway.adapters.stores.sqlite import SqliteStore
from gateway.changes import Changes
from gateway.clock import SystemClock
from gateway.intake import StoreIntake
from gateway.logs import configure_logs
from gateway.model import Batch, CommitReceipt, Device, DeviceId, DeviceKind
from gateway.sandbox.peripherals import MeterRecord, VirtualMeter
from gateway.sandbox.radio import VirtualAir
from gateway.settings import BluetoothSettings

__all__ = ["main"]

RESULT = Path(__file__).with_name("results") / "bluetooth_fetch.md"
ADDRESS = "C0:FF:EE:00:00:F1"
ZONE = ZoneInfo("Europe/Paris")
_METER = DeviceId("meter")
_SETTINGS = BluetoothSettings(enabled=True, quiet_s=3.0, retry_s=0.05, revisit_s=0.0)
_LIMIT_S = 120.0
_INTERVALS_MS = (7.5, 15.0, 30.0, 50.0)
_PACKETS = range(1, 7)


def uuid(short: int) -> str:
    """The 128-bit form."""
    return f"0000{short:04x}-0000-1000-8000-00805f9b34fb"


def wall() -> datetime:
    """The meter's clock: right."""
    return datetime.now(ZONE).replace(tzinfo=None, microsecond=0)


def memory(count: int) -> list[MeterRecord]:
    """Tests 1..count, ten minutes apart, the last one an hour ago."""
    first = wall() - timedelta(hours=1, minutes=10 * count)
    return [MeterRecord(n, first + timedelta(minutes=10 * n), Decimal(70 + n % 200)) for n in range(1, count + 1)]


@asynccontextmanager
async def meter_on_air(records: int) -> AsyncIterator[tuple[VirtualAir, VirtualMeter]]:
    """A meter that needs no bond and sleeps after each contact."""
    async with VirtualAir() as air:
        meter = VirtualMeter(air, ADDRESS, "meter", "F1", memory(records), clock=wall, secure=False)
        meter.stays_awake = False
        await meter.start()
        yield air, meter


async def bare(records: int) -> float:
    """Seconds from the connection until the answer that ends the report."""
    done, count = asyncio.Event(), 0

    def measured(_: BleakGATTCharacteristic, _data: bytearray) -> None:
        nonlocal count
        count += 1

    async with meter_on_air(records) as (air, meter):
        found = await BleakScanner.find_device_by_address(ADDRESS, backend=air.scanner_backend)
        assert found is not None
        connecting = asyncio.ensure_future(meter.wait_connected())
        client = BleakClient(found, backend=air.client_backend)
        opening = asyncio.ensure_future(client.connect())
        await connecting
        began = time.perf_counter()
        await opening
        await client.start_notify(uuid(0x2A18), measured)
        await client.start_notify(uuid(0x2A34), measured)
        await client.start_notify(uuid(0x2A52), lambda *_: done.set())
        await client.write_gatt_char(uuid(0x2A52), b"\x01\x01", response=True)
        await done.wait()
        seconds = time.perf_counter() - began
        await client.disconnect()
    assert count == records
    return seconds


class Watched(StoreIntake):
    """Tells when so many readings are durable."""

    def __init__(self, store: SqliteStore) -> None:
        super().__init__(store.readings, store.registry, Changes())
        self.kept = 0
        self._stirred = asyncio.Event()

    async def submit(self, batch: Batch) -> CommitReceipt:
        """As the store does."""
        receipt = await super().submit(batch)
        self.kept += receipt.added
        self._stirred.set()
        return receipt

    async def until(self, kept: int) -> None:
        """Wait for that many."""
        async with asyncio.timeout(_LIMIT_S):
            while self.kept < kept:
                self._stirred.clear()
                await self._stirred.wait()


async def ours(records: int, folder: Path) -> tuple[float, float, float]:
    """Seconds of the whole fetch, then for one new record: from its advertisement, and from the connection."""
    clock = SystemClock()
    device = Device(_METER, DeviceKind.GLUCOSE_METER, "Meter", address=ADDRESS)
    async with meter_on_air(records) as (air, meter), SqliteStore.open(folder / "fetch.db", clock=clock) as store:
        await store.registry.declare([], [device])
        intake = Watched(store)
        source = BluetoothSource(
            _SETTINGS,
            [device],
            zone_of=lambda _: ZONE,
            clock=clock,
            scanner_backend=air.scanner_backend,
            client_backend=air.client_backend,
        )
        running = asyncio.ensure_future(source.run(intake))
        await meter.wait_connected()
        began = time.perf_counter()
        await intake.until(records)
        whole_s = time.perf_counter() - began
        await meter.wait_at_rest()
        woke = time.perf_counter()
        await meter.measure(Decimal(101))
        await meter.wait_connected()
        began = time.perf_counter()
        await intake.until(records + 1)
        ended = time.perf_counter()
        await meter.wait_at_rest()
        running.cancel()
        await asyncio.wait([running])
    return whole_s, ended - woke, ended - began


def bound_s(notifications: int, interval_ms: float, packets: int) -> float:
    """Seconds a real link needs for that many notifications."""
    events = -(-notifications // packets)
    return events * interval_ms / 1000


def spread(figures: list[float], scale: float = 1.0, digits: int = 2) -> str:
    """Median and range."""
    low, middle, high = (scale * f for f in (min(figures), statistics.median(figures), max(figures)))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def page(records: int, bares: list[float], fetches: list[tuple[float, float, float]]) -> str:
    """The results as Markdown."""
    whole, woken, linked = ([f[i] for f in fetches] for i in range(3))
    ratio = statistics.median(whole) / statistics.median(bares)
    lines = [
        "# Fetching a meter's memory over Bluetooth",
        "",
        f"`python benchmarks/bluetooth_fetch.py --records {records}`, {datetime.now(UTC):%Y-%m-%d}, {machine()}; "
        f"median (range) of {len(bares)} runs, in turns.",
        "",
        "| what | seconds |",
        "|---|---|",
        f"| bare loop over the same in-memory link: {records:,} notifications counted | {spread(bares)} |",
        f"| gateway: {records:,} records decoded, stored, durable | {spread(whole)} |",
        f"| ... beside the bare loop | {ratio:.1f} x |",
        f"| one new record, from the advertisement until it is durable | {spread(woken, digits=3)} |",
        f"| ... of that, from the connection | {spread(linked, digits=3)} |",
        "",
        "Both begin at the connection and include service discovery and three subscriptions; the gateway also reads "
        "Device Information, Battery and Current Time, counts first, and looks at the record of the watermark before "
        f"an incremental report. No configured wait is in these figures: `quiet_s` ({_SETTINGS.quiet_s:g} s here) is "
        "only waited when a promised context or record is missing, `revisit_s` and `retry_s` are 0 and 0.05 s here so "
        "that the next advertisement is answered at once. The virtual meter advertises every 50 ms; a real one every "
        "0.1 to 1 s, which is its time and not ours.",
        "",
        "## The bound of a real radio",
        "",
        f"Computed: {records:,} notifications / packets in one connection event, rounded up, x connection interval. "
        "Seconds:",
        "",
        "| packets in one event | " + " | ".join(f"{interval:g} ms" for interval in _INTERVALS_MS) + " |",
        "|---|" + "---|" * len(_INTERVALS_MS),
    ]
    for packets in _PACKETS:
        cells = " | ".join(f"{bound_s(records, interval, packets):.1f}" for interval in _INTERVALS_MS)
        lines.append(f"| {packets} | {cells} |")
    rate = records / statistics.median(whole)
    fastest = max(_PACKETS) / (min(_INTERVALS_MS) / 1000)
    verdict = "faster than" if rate > fastest else "slower than"
    lines += [
        "",
        f"The gateway takes {rate:,.0f} records a second, {verdict} the fastest of these links ({fastest:,.0f}/s)"
        + (": a real radio is the limit." if rate > fastest else "."),
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure and write the page."""
    configure_logs("console", "warning")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    bares: list[float] = []
    fetches: list[tuple[float, float, float]] = []
    for _ in range(options.rounds):
        bares.append(asyncio.run(bare(options.records)))
        with tempfile.TemporaryDirectory(prefix="fetch-") as name:
            fetches.append(asyncio.run(ours(options.records, Path(name))))
    text = page(options.records, bares, fetches)
    options.result.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
