"""Twenty devices around one radio for a day of virtual time: is every record of every device stored, once?

    python benchmarks/bluetooth_day.py [--hours 24] [--seed 1] [--result FILE]

Meters, scales and sensors on the virtual air, read by the unchanged source into a real SQLite store. Time is virtual:
when everybody sleeps it jumps (`_virtual_time.py`), so that every wait of source and devices keeps its length. A meter
or scale is used as its person lives and can be heard for 20 s after that; many are used at seven in the morning.
Sensors speak every five minutes and keep their link. The adapter has few connection slots; links break by chance.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from _machine import machine
from _virtual_time import VirtualTimeLoop, run_in_virtual_time
from bleak.backends.client import BaseBleakClient
from bleak.exc import BleakError

from gateway.adapters.sources.bluetooth import BluetoothSource
from gateway.adapters.stores.sqlite import SqliteStore
from gateway.changes import Changes
from gateway.clock import SystemClock
from gateway.intake import StoreIntake
from gateway.logs import configure_logs
from gateway.model import Batch, Checkpoint, CommitReceipt, Device, DeviceId, Metric
from gateway.ports import DeviceSighting
from gateway.sandbox.lab import KINDS, LabClock, Plan, Specimen
from gateway.sandbox.peripherals import VirtualCgm, VirtualMeter, VirtualScale
from gateway.sandbox.peripherals.faults import parse_faults
from gateway.sandbox.radio import VirtualAir
from gateway.settings import BluetoothSettings

__all__ = ["main"]

RESULT = Path(__file__).with_name("results") / "bluetooth_day.md"
ZONE = ZoneInfo("Europe/Paris")
BEGIN = datetime(2026, 3, 16, 0, 0, tzinfo=ZONE)
HOUSE = {"glucose-meter": 10, "scale": 6, "cgm": 4}
FAULTS = {"glucose-meter": "drop=0.05,slow=0.03", "scale": "unconfirmed=0.1,slow=0.03", "cgm": "drop=0.01"}
SLOTS = 7
AWAKE_S = 20.0
SENSOR_ADVERTISES_MS = 5000
EVERY = timedelta(minutes=5)
SETTINGS = BluetoothSettings(enabled=True)
"""The defaults, as on a hub."""


class DayClock(LabClock):
    """The wall clock of virtual time."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        super().__init__(BEGIN)

    def now(self) -> datetime:
        """UTC."""
        return (BEGIN + timedelta(seconds=self._loop.time())).astimezone(UTC)

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._loop.time()


class Patient(StoreIntake):
    """The store, with virtual time standing still while it works; notes when readings arrive."""

    def __init__(self, store: SqliteStore, loop: VirtualTimeLoop) -> None:
        super().__init__(store.readings, store.registry, Changes())
        self._loop = loop
        self.batches = 0

    async def submit(self, batch: Batch) -> CommitReceipt:
        """As the store does."""
        self.batches += 1
        with self._loop.real_work():
            return await super().submit(batch)

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        """As the store does."""
        with self._loop.real_work():
            return await super().checkpoint(device_id, name)

    async def sighted(self, sighting: DeviceSighting) -> None:
        """As the store does."""
        with self._loop.real_work():
            await super().sighted(sighting)


@dataclass(slots=True)
class Day:
    """What happened."""

    made: Counter[str] = field(default_factory=Counter)
    stored: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    links: int = 0
    refused: int = 0
    most_links: int = 0
    batches: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def few_slots(backend: type[BaseBleakClient], day: Day) -> type[BaseBleakClient]:
    """An adapter that carries so many links at a time, as a real one does, and refuses others at once."""
    up: set[Any] = set()

    class Limited(backend):  # type: ignore[misc, valid-type]
        async def connect(self, pair: bool, **options: Any) -> None:
            up.difference_update({client for client in up if not client.is_connected and not client.is_connecting})
            if len(up) >= SLOTS:
                day.refused += 1
                raise BleakError("no connection slot is free")
            self.is_connecting = True
            up.add(self)
            day.most_links = max(day.most_links, len(up))
            try:
                await super().connect(pair, **options)
            finally:
                self.is_connecting = False

    return Limited


def uses(kind: str, hours: float, dice: random.Random) -> Iterator[float]:
    """When somebody uses a device, virtual seconds from midnight."""
    if kind == "cgm":
        yield from (EVERY.total_seconds() * n for n in range(1, int(hours * 12)))
        return
    for hour in (7.0, 12.2, 15.0, 19.5, 22.3) if kind == "glucose-meter" else (7.0, 21.0):
        at = 3600 * hour + (dice.uniform(0, 10) if hour == 7.0 else dice.uniform(0, 1800))
        if at < 3600 * hours:
            yield at


async def live(specimen: Specimen, kind: str, hours: float, dice: random.Random) -> int:
    """One device's day; how often it was used."""
    device, loop, count = specimen.device, asyncio.get_running_loop(), 0
    assert isinstance(device, VirtualMeter | VirtualScale | VirtualCgm)
    if kind == "cgm":
        device.advertising_interval_ms = SENSOR_ADVERTISES_MS
    await device.start()
    if kind != "cgm":
        await device.sleep()
    for at in uses(kind, hours, dice):
        await asyncio.sleep(max(0.0, at - loop.time()))
        await specimen.measure()
        count += 1
        if kind != "cgm":
            await asyncio.sleep(AWAKE_S)
            await device.sleep()
    return count


async def simulate(loop: VirtualTimeLoop, hours: float, seed: int, folder: Path) -> Day:
    """The whole day."""
    day, clock = Day(), DayClock(loop)
    specimens: dict[str, tuple[str, Specimen]] = {}
    devices = []
    with_users = {}
    async with VirtualAir() as air:
        for kind, count in HOUSE.items():
            for number in range(1, count + 1):
                name = f"{kind}-{number}"
                address = f"C0:FF:EE:DA:{list(HOUSE).index(kind):02X}:{number:02X}"
                faults = parse_faults(f"{FAULTS[kind]},seed={seed * 100 + number}")
                plan = Plan(clock, ZONE, seed * 100 + number, 1, 0, faults, address=address, name=name)
                specimen = KINDS[kind].build(air, plan)
                specimens[name] = (kind, specimen)
                devices.append(Device(DeviceId(name), KINDS[kind].device_kind, name, address=address))
                if specimen.scale_user is not None:
                    with_users[DeviceId(name)] = specimen.scale_user
        with loop.real_work():
            opening = SqliteStore.open(folder / "day.db", clock=clock)
            store = await opening.__aenter__()
            await store.registry.declare([], devices)
        intake = Patient(store, loop)
        source = BluetoothSource(
            SETTINGS,
            devices,
            zone_of=lambda _: ZONE,
            clock=clock,
            scale_users=with_users,
            scanner_backend=air.scanner_backend,
            client_backend=few_slots(air.client_backend, day),
        )
        running = asyncio.ensure_future(source.run(intake))
        lives = [
            asyncio.ensure_future(live(specimen, kind, hours, random.Random(f"{seed}/{name}")))
            for name, (kind, specimen) in specimens.items()
        ]
        counts = dict(zip(specimens, await asyncio.gather(*lives), strict=True))
        await asyncio.sleep(max(0.0, 3600 * hours - loop.time()))
        with loop.real_work():
            day.late = await missing(store, specimens, counts)
        await last_round(specimens)
        running.cancel()
        await asyncio.wait([running])
        day.links = sum(vars(specimen.device)["connections"] for _, specimen in specimens.values())
        day.batches = intake.batches
        with loop.real_work():
            day.faults = [fault async for fault in differences(store, specimens, counts, day)]
            await opening.__aexit__(None, None, None)
    return day


async def last_round(specimens: dict[str, tuple[str, Specimen]]) -> None:
    """At midnight somebody presses every button once more, one device after the other, without a new measurement."""
    await asyncio.sleep(SETTINGS.revisit_s)
    for kind, specimen in specimens.values():
        device = specimen.device
        assert isinstance(device, VirtualMeter | VirtualScale | VirtualCgm)
        if kind != "cgm":
            await device.wake()
            await asyncio.sleep(AWAKE_S)
            await device.sleep()
    await asyncio.sleep(60.0)


def wanted(name: str, kind: str, specimen: Specimen) -> dict[object, Decimal | None]:
    """What must be stored of a device: record key -> value. A scale's keys hold its own number: times do instead."""
    device = specimen.device
    if isinstance(device, VirtualMeter):
        return {
            f"{r.sequence}@{r.base_time.isoformat()}": Decimal(str(r.glucose)) for r in device.records if r.base_time
        }
    if isinstance(device, VirtualCgm) and device.session_start is not None:
        start = device.session_start
        return {f"{start:%Y-%m-%dT%H:%M:%SZ}+{s.offset_min}": Decimal(str(s.glucose_mg_dl)) for s in device.samples}
    raise LookupError(f"{name} of kind {kind} has no memory to compare with")


async def stored(store: SqliteStore) -> AsyncIterator[tuple[str, str, Metric, Decimal | None]]:
    """(device, record key, metric, value) of everything in the store."""
    async for chunk in store.readings.export():
        for item in chunk:
            reading = item.reading
            yield reading.device_id, reading.record_key, reading.metric, reading.value


async def missing(
    store: SqliteStore, specimens: dict[str, tuple[str, Specimen]], counts: dict[str, int]
) -> Counter[str]:
    """By kind: measurements that are not stored yet."""
    have = Counter([device async for device, _, metric, _ in stored(store) if metric is not Metric.BODY_FAT_PERCENTAGE])
    late: Counter[str] = Counter()
    for name, (kind, _) in specimens.items():
        late[kind] += counts[name] - have[name]
    return late


async def differences(
    store: SqliteStore, specimens: dict[str, tuple[str, Specimen]], counts: dict[str, int], day: Day
) -> AsyncIterator[str]:
    """What is not as it was measured, at the end; fills in what was made and stored."""
    found: dict[str, dict[object, Decimal | None]] = {name: {} for name in specimens}
    masses: Counter[str] = Counter()
    rows = 0
    async for device, key, metric, value in stored(store):
        rows += 1
        found[device][key, metric] = value
        masses[device] += metric is Metric.BODY_MASS
    if twice := rows - sum(len(each) for each in found.values()):
        yield f"{twice} readings are there twice"
    for name, (kind, specimen) in specimens.items():
        day.made[kind] += counts[name]
        if kind == "scale":
            day.stored[kind] += masses[name]
            if (masses[name], len(found[name])) != (counts[name], 2 * counts[name]):
                yield f"{name}: {masses[name]} weights and {len(found[name])} readings of {counts[name]} weigh-ins"
            continue
        have = {key[0]: value for key, value in found[name].items() if isinstance(key, tuple)}
        day.stored[kind] += len(have)
        expected = wanted(name, kind, specimen)
        if len(expected) != counts[name]:
            yield f"{name}: the device holds {len(expected)} of {counts[name]} measurements"
        if have != expected:
            yield f"{name}: {len(expected.keys() - have.keys())} missing, {len(have.keys() - expected.keys())} surplus"
    if problems := await store.check():
        yield f"integrity check: {problems[0]}"


def page(day: Day, hours: float, seed: int) -> str:
    """The result as Markdown."""
    verdict = "every record of every device is stored, once" if not day.faults else f"{len(day.faults)} FAULTS"
    house = ", ".join(f"{count} {kind}" for kind, count in HOUSE.items())
    lines = [
        "# Twenty devices, one radio, one day",
        "",
        f"`python benchmarks/bluetooth_day.py --hours {hours:g} --seed {seed}`, {datetime.now(UTC):%Y-%m-%d}, "
        f"{machine()}: **{verdict}**.",
        "",
        f"| {house} | measurements made | stored | not yet stored when the day ended |",
        "|---|---|---|---|",
    ]
    lines += [f"| {kind} | {day.made[kind]:,} | {day.stored[kind]:,} | {day.late[kind]} |" for kind in HOUSE]
    lines += [
        "",
        "| what | figure |",
        "|---|---|",
        f"| virtual time / real time | {hours:g} h / {day.seconds:.0f} s |",
        f"| links that the devices have had | {day.links:,} |",
        f"| most links at a time, of {SLOTS} slots | {day.most_links} |",
        f"| attempts refused because no slot was free | {day.refused} |",
        f"| transactions | {day.batches:,} |",
        "",
        f"Meters and scales can be heard for {AWAKE_S:.0f} s after each use; sixteen of them are used within the same "
        "ten seconds at seven in the morning, while the sensors hold their links. Of a hundred measurements of a meter "
        "five end with a broken link, of a sensor one; of ten weigh-ins one is told again. The settings are the "
        f"defaults: {SETTINGS.connections} links at a time, so that four sensors take turns. What was not stored when "
        "the day ended lay in the memory of a device and came in the next contact. Radio and devices are Bumble's, "
        "without interference.",
    ]
    return "\n".join([*lines, *(f"\nFAULT: {fault}" for fault in day.faults), ""])


def main() -> int:
    """Exit status 0 when everything is there, once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--result", type=Path, default=RESULT, help="page to write; /dev/null for none")
    options = parser.parse_args()
    configure_logs("console", "error")
    began = SystemClock().monotonic()
    with tempfile.TemporaryDirectory(prefix="day-") as name:
        day = run_in_virtual_time(lambda loop: simulate(loop, options.hours, options.seed, Path(name)))
    day.seconds = time.monotonic() - began
    text = page(day, options.hours, options.seed)
    options.result.write_text(text, encoding="utf-8")
    print(text)
    return 1 if day.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
