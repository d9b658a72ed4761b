"""Kill -9 of the gateway while it fetches from a meter, pairs with one, and listens to a sensor.

    python benchmarks/kill_bluetooth.py [--kills 100] [--seed 1] [--result FILE] [--json]

This process is the lab: two meters with passkeys and a sensor live in it and go on measuring, with their memories and
their bonds, whatever happens to the gateway. The gateway is a process of its own (`_kill_bluetooth_child.py`) that
reaches an adapter in the lab through a socket of HCI packets and keeps database and bonds in files. It is killed with
SIGKILL in turn while records of a meter come, while the other meter bonds, and while values of the sensor come live;
then started again. After each kill: every record below a watermark is in the file, nothing has gone, nothing is twice,
the file and the bonds can be read. At the end everything that was measured must be there once, without anybody having
paired a device again except by the unpairing that begins each pairing round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from _kill_bluetooth_child import ADDRESSES, BONDS, DATABASE, DOOR, PASSKEYS, ZONE_NAME
from _kill_child import meter_key, meter_record
from _machine import machine
from kill_loop import is_sound

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.clock import SystemClock
from gateway.sandbox.hci import HciDoor
from gateway.sandbox.peripherals import CgmSample, VirtualCgm, VirtualMeter
from gateway.sandbox.peripherals.faults import parse_faults
from gateway.sandbox.radio import VirtualAir

__all__ = ["main"]

CHILD = Path(__file__).with_name("_kill_bluetooth_child.py")
RESULT = Path(__file__).with_name("results") / "kill_bluetooth.md"
ZONE = ZoneInfo(ZONE_NAME)
SESSION = datetime(2026, 3, 1, tzinfo=UTC)
ROUNDS = ("fetch", "pairing", "live")
GROWTH_S = 0.05
SLOW = "slow=0.004"
PAIRING_S = 0.08
"""A bond takes about that long here."""
BURST = 60
"""Tests that wait in a meter when a round begins, so that the transfer lasts a moment."""
START_S, PATIENCE_S = 30.0, 30.0


@dataclass(slots=True)
class Seen:
    """What is in the file: record keys by device, watermarks of the meters, and what should not be there."""

    keys: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in ADDRESSES})
    rows: int = 0
    watermarks: dict[str, int] = field(default_factory=dict)
    revisions: int = 0
    quarantined: int = 0


@dataclass(slots=True)
class Tally:
    """What happened, and what was wrong."""

    kills: Counter[str] = field(default_factory=Counter)
    with_link: Counter[str] = field(default_factory=Counter)
    half_bonds: int = 0
    no_bonds: int = 0
    made: Counter[str] = field(default_factory=Counter)
    contacts: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


class Lab:
    """The devices and what they have measured so far."""

    def __init__(self, air: VirtualAir) -> None:
        def clock() -> datetime:
            return datetime.now(ZONE).replace(tzinfo=None)

        self.meters = {
            name: VirtualMeter(
                air, ADDRESSES[name], f"lab-{name}", name, clock=clock, passkey=PASSKEYS[ADDRESSES[name]]
            )
            for name in ("meter", "pairing")
        }
        self.meters["meter"].obey(parse_faults(SLOW))
        self.sensor = VirtualCgm(
            air, ADDRESSES["sensor"], "lab-sensor", "sensor", session_start=SESSION, zone=ZONE, interval_min=1
        )
        self.is_growing = True

    @property
    def devices(self) -> tuple[VirtualMeter | VirtualCgm, ...]:
        """All three."""
        return (*self.meters.values(), self.sensor)

    def test(self, name: str, count: int = 1) -> None:
        """So many more tests in a meter."""
        records = self.meters[name].records
        records.extend(meter_record(number) for number in range(len(records) + 1, len(records) + count + 1))

    async def live(self) -> None:
        """Go on measuring."""
        while True:
            await asyncio.sleep(GROWTH_S)
            if self.is_growing:
                self.test("meter")
                number = len(self.sensor.samples) + 1
                await self.sensor.add_sample(CgmSample(number, Decimal(70 + number % 200)))

    def made(self) -> dict[str, int]:
        """How much each has measured."""
        return {name: len(meter.records) for name, meter in self.meters.items()} | {"sensor": len(self.sensor.samples)}


def sensor_key(number: int) -> str:
    """What the gateway calls sample `number`."""
    return f"{SESSION:%Y-%m-%dT%H:%M:%SZ}+{number}"


def key_of(device: str, number: int) -> str:
    """What the gateway calls measurement `number`."""
    return sensor_key(number) if device == "sensor" else meter_key(number)


def value_of(device: str, number: int) -> object:
    """What it must have stored for it."""
    return Decimal(70 + number % 200) if device == "sensor" else meter_record(number).glucose


def look(path: Path) -> Seen:
    """The database as the kill left it, read-only."""
    seen = Seen()
    if not path.exists():
        return seen
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'checkpoint'").fetchone()[0]:
            return seen
        for device, key in connection.execute(
            "SELECT device.device_id, reading.record_key FROM reading"
            " JOIN series ON series.id = reading.series JOIN device ON device.id = series.device"
        ):
            seen.rows += 1
            seen.keys[device].add(key)
        for device, state in connection.execute(
            "SELECT device.device_id, checkpoint.state FROM checkpoint JOIN device ON device.id = checkpoint.device"
            " WHERE checkpoint.name = 'glucose.records'"
        ):
            seen.watermarks[device] = int(json.loads(state)["sequence"] or 0)
        seen.revisions = connection.execute("SELECT count(*) FROM revision").fetchone()[0]
        seen.quarantined = connection.execute("SELECT count(*) FROM quarantine").fetchone()[0]
    return seen


def compare(now: Seen, before: Seen, where: str) -> Iterator[str]:
    """What is wrong after a kill."""
    for device, mark in now.watermarks.items():
        if gaps := [n for n in range(1, mark + 1) if meter_key(n) not in now.keys[device]]:
            yield f"{where}: {len(gaps)} records of {device} below the watermark {mark} are missing, first {gaps[0]}"
        if mark < before.watermarks.get(device, 0):
            yield f"{where}: the watermark of {device} went back"
    if lost := sum(len(before.keys[device] - now.keys[device]) for device in now.keys):
        yield f"{where}: {lost} readings have gone that were there before"
    if twice := now.rows - sum(len(keys) for keys in now.keys.values()):
        yield f"{where}: {twice} readings are there twice"
    if now.revisions or now.quarantined:
        yield f"{where}: {now.revisions} corrected, {now.quarantined} in quarantine, although nothing was wrong"


def bonded(folder: Path) -> set[str]:
    """Addresses that the gateway holds keys of. Raises ValueError: the file is damaged."""
    path = folder / BONDS
    if not path.exists():
        return set()
    return {name[:17] for keys in json.loads(path.read_text(encoding="utf-8")).values() for name in keys}


@asynccontextmanager
async def life(folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One gateway process, killed at the end of the block at the latest."""
    with (folder / "child.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(CHILD), str(folder), *arguments), stdout=asyncio.subprocess.PIPE, stderr=log
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(is_so: Callable[[], bool], limit_s: float) -> bool:
    """Look every few milliseconds, as another process must; whether it came true."""
    end = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.002)
    return True


async def one_kill(lab: Lab, folder: Path, kind: str, dice: random.Random, tally: Tally) -> None:
    """Start the gateway, wait for the right moment, kill."""
    meter, target = lab.meters["meter"], lab.meters["pairing"]
    if kind == "pairing":
        await target.wait_disconnected()
        await target.forget_bonds()
        lab.test("pairing", 3)
    else:
        lab.test("meter", BURST)
    async with life(folder, *(["unpair"] if kind == "pairing" else [])) as process:
        dice_of_kill = dice.randrange(BURST)
        sent, live = meter.sent, lab.sensor.sent
        contacts, visits = target.connections, meter.connections
        moments: dict[str, Callable[[], bool]] = {
            "fetch": lambda: meter.sent > sent + dice_of_kill,
            "pairing": lambda: target.connections > contacts,
            "live": lambda: (
                lab.sensor.is_connected
                and lab.sensor.sent > live + 2 + dice_of_kill % 10
                and meter.connections > visits + 1
            ),
        }
        moment, is_there = moments[kind], False
        while not is_there:
            if not await until(moment, START_S):
                log = await asyncio.to_thread((folder / "child.log").read_text)
                tally.faults.append(f"a {kind} life never came to its moment: {log[-2000:]}")
                return
            await asyncio.sleep(dice.uniform(0.0, PAIRING_S if kind == "pairing" else 0.03))
            is_there = kind != "live" or moment()  # the links take turns: the sensor's may have ended meanwhile
        device = {"fetch": meter, "pairing": target, "live": lab.sensor}[kind]
        tally.with_link[kind] += device.is_connected
        process.kill()
        await process.wait()
    tally.kills[kind] += 1
    if not await until(lambda: not any(device.is_connected for device in lab.devices), START_S):
        tally.faults.append(f"after a {kind} kill a device still has a link to the process that is gone")


async def loop(kills: int, dice: random.Random, folder: Path, say: Callable[[str], None]) -> Tally:
    """Everything; the tally says how it went."""
    tally, path, began = Tally(), folder / DATABASE, time.monotonic()
    async with VirtualAir() as air, HciDoor(air, folder / DOOR).opened():
        lab = Lab(air)
        for device in lab.devices:
            await device.start()
        growing = asyncio.ensure_future(lab.live())
        before = Seen()
        for number in range(1, kills + 1):
            kind = ROUNDS[number % len(ROUNDS)]
            await one_kill(lab, folder, kind, dice, tally)
            now = await asyncio.to_thread(look, path)
            tally.faults += compare(now, before, f"kill {number} ({kind})")
            if not await asyncio.to_thread(is_sound, path):
                tally.faults.append(f"kill {number}: the file is damaged")
            try:
                hub_has = ADDRESSES["pairing"] in await asyncio.to_thread(bonded, folder)
            except ValueError:
                tally.faults.append(f"kill {number}: the bonds are damaged")
            else:
                device_has = lab.meters["pairing"].is_bonded
                tally.half_bonds += device_has and not hub_has
                tally.no_bonds += not device_has and not hub_has
                if hub_has and not device_has:
                    tally.faults.append(
                        f"kill {number}: keys are held that the meter has not: a person must pair again"
                    )
            before = now
            say(f"kill {number} ({kind}): {[len(keys) for keys in now.keys.values()]} of {list(lab.made().values())}")
        lab.is_growing = False
        async with life(folder) as process:
            expected = lab.made()

            def is_whole() -> bool:
                seen = look(path)
                return all(len(seen.keys[device]) >= count for device, count in expected.items())

            if not await until(is_whole, PATIENCE_S):
                tally.faults.append("end: what is missing does not come any more")
            process.terminate()
            if (status := await process.wait()) != 0:
                tally.faults.append(f"the last life ended with status {status}")
        growing.cancel()
        await asyncio.wait([growing])
        tally.made.update(expected)
        tally.contacts = sum(device.connections for device in lab.devices)
        tally.faults += [fault async for fault in differences(path, expected, before)]
    tally.seconds = time.monotonic() - began
    return tally


async def differences(path: Path, expected: dict[str, int], before: Seen) -> AsyncIterator[str]:
    """The end: exactly what was measured, each with its value."""
    for fault in compare(await asyncio.to_thread(look, path), before, "end"):
        yield fault
    wanted = {(d, key_of(d, n)): value_of(d, n) for d, count in expected.items() for n in range(1, count + 1)}
    found: dict[tuple[str, str], object] = {}
    async with SqliteStore.open(path, clock=SystemClock()) as store:
        async for chunk in store.readings.export():
            for item in chunk:
                found[item.reading.device_id, item.reading.record_key] = item.reading.value
        if problems := await store.check():
            yield f"end: integrity check: {problems[0]}"
    if wanted != found:
        missing, surplus = len(wanted.keys() - found.keys()), len(found.keys() - wanted.keys())
        changed = sum(found[key] != value for key, value in wanted.items() if key in found)
        yield f"end: {missing} missing, {surplus} that nobody measured, {changed} with another value"


def page(tally: Tally, seed: int) -> str:
    """The result as Markdown."""
    kills = sum(tally.kills.values())
    verdict = "nothing lost, nothing twice, no bond broken" if not tally.faults else f"{len(tally.faults)} FAULTS"
    of_kind = ", ".join(f"{tally.kills[kind]} {kind}" for kind in ROUNDS)
    linked = ", ".join(f"{tally.with_link[kind]} {kind}" for kind in ROUNDS)
    made = ", ".join(f"{count:,} {name}" for name, count in tally.made.items())
    lines = [
        "# Kill -9 during Bluetooth",
        "",
        f"`python benchmarks/kill_bluetooth.py --kills {kills} --seed {seed}`, {datetime.now(UTC):%Y-%m-%d}, "
        f"{machine()}, SQLite {sqlite3.sqlite_version}: **{verdict}**.",
        "",
        "| what | figure |",
        "|---|---|",
        f"| kill -9 | {kills} ({of_kind}) |",
        f"| of those with the link to that device up | {linked} |",
        f"| measurements made, all stored once | {made} |",
        f"| links that the devices have had | {tally.contacts:,} |",
        "| after a kill: keys of that meter on neither side / only in the meter; the next life made a new bond | "
        f"{tally.no_bonds} / {tally.half_bonds} |",
        "| after a kill: keys only in the gateway (a person would have to pair again) | "
        f"{'none' if not tally.faults else 'see below'} |",
        f"| whole run | {tally.seconds:.0f} s |",
        "",
        "The devices live in the process that kills; the gateway reaches them through a socket of HCI packets, with "
        "its database and its bonds in files. Device and adapter are Bumble's, not a real radio, and the bonds are "
        "those of Bumble's key store: with BlueZ, bluetoothd keeps them and is not killed with the gateway.",
    ]
    return "\n".join([*lines, *(f"\nFAULT: {fault}" for fault in tally.faults), ""])


def main() -> int:
    """Exit status 0 when every promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="of the moments; the machine adds its own chance")
    parser.add_argument("--result", type=Path, default=RESULT, help="page to write; /dev/null for none")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the page")
    options = parser.parse_args()
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
    with tempfile.TemporaryDirectory(prefix="kill-bt-") as name:
        tally = asyncio.run(loop(options.kills, random.Random(options.seed), Path(name), say))
    text = page(tally, options.seed)
    options.result.write_text(text, encoding="utf-8")
    figures = {
        "kills": dict(tally.kills),
        "with_link": dict(tally.with_link),
        "made": dict(tally.made),
        "faults": tally.faults,
    }
    print(json.dumps(figures) if options.json else text)
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
