"""Kill -9 of the gateway over a real BlueZ: while it fetches, while it pairs, and while a sensor is live.

    scripts/test-bluez --kills 20

Runs in the guest of `scripts/bluez-guest` only. This process is the lab: a system bus, bluetoothd, an adapter behind
/dev/vhci, and the three devices of `kill_bluetooth.py`, which go on measuring. The gateway is a process of its own
(`_kill_bluez_child.py`) with bleak's own backend, our own agent and a SQLite file. It is killed with SIGKILL in turn at
a random moment of a transfer, at a named or random moment of a pairing, and while values come live; then started again.
After each kill: every record below a watermark is in the file, nothing has gone, nothing is twice, the file is sound.
Nobody pairs a device again except after a kill in a pairing, once, by asking for it, and that must succeed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from _kill_bluetooth_child import ADDRESSES, DATABASE
from guest_kit import BluezStack, powered
from kill_bluetooth import BURST, SESSION, ZONE, Lab, Seen, compare, differences, look, until
from kill_loop import is_sound

from gateway.adapters.sources.bluetooth.bluez.bus import Bluez
from gateway.sandbox.peripherals import CgmSample, VirtualCgm
from gateway.sandbox.vhci import KernelAir

__all__ = ["main"]

CHILD = Path(__file__).with_name("_kill_bluez_child.py")
ROUNDS = ("fetch", "pairing", "live")
MOMENTS = ("connecting", "asked", "answered", "any")
"""Of a pairing, as the child says them: the device is called, digits are wanted, they were typed; or any time."""
ADAPTER_ADDRESS = "00:1A:7D:DA:72:01"
GROWTH_S = 0.5
RUN_TIME_H = 60_000
"""The sensor of the other lab began long ago; this one has to be live today."""
PAIRING_S = 4.0
"""A bond takes about that long here."""
START_S, PATIENCE_S = 90.0, 120.0
SETTLE_S = 3.0
"""bluetoothd breaks off what the dead process had asked for; a link given back would be gone after 2 s."""
_DEVICE = "org.bluez.Device1"


@dataclass(slots=True)
class Tally:
    """What happened, and what was wrong."""

    kills: Counter[str] = field(default_factory=Counter)
    with_link: Counter[str] = field(default_factory=Counter)
    links_left: int = 0
    bonds_left: Counter[str] = field(default_factory=Counter)
    pairings: int = 0
    made: Counter[str] = field(default_factory=Counter)
    contacts: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


class Life:
    """One gateway process and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []

    async def hear(self) -> None:
        """To the end of its output."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said.append(line.decode().strip())

    def has_failed(self) -> bool:
        """Whether a pairing did not succeed, or the process has ended by itself."""
        return self.process.returncode is not None or any(word.startswith("failed") for word in self.said)


@asynccontextmanager
async def life(folder: Path, *addresses: str) -> AsyncIterator[Life]:
    """One gateway, killed at the end of the block at the latest."""
    with (folder / "child.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(CHILD), str(folder), *addresses), stdout=asyncio.subprocess.PIPE, stderr=log
        )
    alive = Life(process)
    hearing = asyncio.ensure_future(alive.hear())
    try:
        yield alive
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await asyncio.wait([hearing])


class Campaign:
    """The kills.

    Args:
        bluez: a connection of our own to the bus, to see which bonds bluetoothd holds.
        say: progress.
    """

    def __init__(self, lab: Lab, bluez: Bluez, folder: Path, dice: random.Random, say: Callable[[str], None]) -> None:
        self.tally = Tally()
        self._lab, self._bluez, self._folder, self._dice, self._say = lab, bluez, folder, dice, say
        self._path = folder / DATABASE
        self._before = Seen()
        self._to_pair: tuple[str, ...] = tuple(ADDRESSES.values())

    async def run(self, kills: int) -> None:
        """All of them, and the end in which everything must have come."""
        growing = asyncio.ensure_future(self._grow())
        try:
            for number in range(kills):
                kind = ROUNDS[number % len(ROUNDS)]
                moment = MOMENTS[number // len(ROUNDS) % len(MOMENTS)] if kind == "pairing" else ""
                began = time.monotonic()
                await self._one(number + 1, kind, moment)
                lasted_s = time.monotonic() - began
                stored = [len(keys) for keys in self._before.keys.values()]
                left = f"links left {self.tally.links_left}, bonds {dict(self.tally.bonds_left)}"
                self._say(
                    f"kill {number + 1} ({kind} {moment}): {stored} of {self._lab.made()}, {left}, {lasted_s:.0f} s"
                )
        finally:
            growing.cancel()
            await asyncio.wait([growing])
        await self._end()

    async def _grow(self) -> None:
        while True:
            await asyncio.sleep(GROWTH_S)
            self._lab.test("meter")
            number = len(self._lab.sensor.samples) + 1
            await self._lab.sensor.add_sample(CgmSample(number, Decimal(70 + number % 200)))

    # --- one kill -----------------------------------------------------------------------------------------------

    async def _one(self, number: int, kind: str, moment: str) -> None:
        where, target = f"kill {number} ({kind} {moment})", self._lab.meters["pairing"]
        to_pair = self._to_pair
        if kind == "pairing":
            to_pair += (ADDRESSES["pairing"],)
            if self._dice.random() < 0.5:
                await target.forget_bonds()  # ours is stale then; else both sides still have their keys
            self._lab.test("pairing", 3)
        async with life(self._folder, *to_pair) as alive:
            if await self._paired(alive, len(self._to_pair), where):
                is_there = await self._moment(alive, kind, moment)
                device = {"fetch": self._lab.meters["meter"], "pairing": target, "live": self._lab.sensor}[kind]
                if is_there:
                    self.tally.with_link[kind] += device.is_connected
                    alive.process.kill()
                    await alive.process.wait()
                    self.tally.kills[kind] += 1
                else:
                    self._fault(f"{where}: its moment never came; {alive.said}; {self._log()}")
        self._to_pair = (ADDRESSES["pairing"],) if kind == "pairing" else ()
        await self._settled(where, kind)

    async def _paired(self, alive: Life, count: int, where: str) -> bool:
        """Whether what has to be paired first is paired: at the first try, without anything else being done."""
        came = await until(lambda: alive.said.count("paired") >= count or alive.has_failed(), START_S)
        if not came or alive.has_failed():
            self._fault(f"{where}: pairing did not succeed; {alive.said}; {self._log()}")
            return False
        self.tally.pairings += count
        return True

    async def _moment(self, alive: Life, kind: str, moment: str) -> bool:
        meter, sensor = self._lab.meters["meter"], self._lab.sensor
        if kind == "pairing":
            first = "connecting" if moment == "any" else moment
            came = await until(lambda: alive.said.count(first) > len(self._to_pair), START_S)
            await asyncio.sleep(self._dice.uniform(0.0, PAIRING_S if moment == "any" else 0.05))
            return came
        if kind == "fetch":
            self._lab.test("meter", BURST)
            sent, more = meter.sent, self._dice.randrange(BURST)
            came = await until(lambda: meter.sent > sent + more, START_S)
            await asyncio.sleep(self._dice.uniform(0.0, 0.1))
            return came
        missing = len(sensor.samples) - len(self._before.keys["sensor"])
        sent, more = sensor.sent, 2 + self._dice.randrange(10)
        came = await until(lambda: sensor.sent > sent + missing + more, START_S)
        await asyncio.sleep(self._dice.uniform(0.0, 0.1))
        return came

    async def _settled(self, where: str, kind: str) -> None:
        """What is left when the process has gone."""
        now = await asyncio.to_thread(look, self._path)
        for fault in compare(now, self._before, where):
            self._fault(fault)
        self._before = now
        if not await asyncio.to_thread(is_sound, self._path):
            self._fault(f"{where}: the file is damaged")
        await asyncio.sleep(SETTLE_S)
        if kind == "pairing":
            sides = (ADDRESSES["pairing"] in await self._bonded(), self._lab.meters["pairing"].is_bonded)
            words = {(True, True): "both", (True, False): "BlueZ only", (False, True): "the meter only"}
            self.tally.bonds_left[words.get(sides, "neither")] += 1
        self.tally.links_left += any(device.is_connected for device in self._lab.devices)

    async def _bonded(self) -> set[str]:
        devices = [there[_DEVICE] for there in (await self._bluez.objects()).values() if _DEVICE in there]
        return {str(device["Address"]) for device in devices if device.get("Paired")}

    def _fault(self, what: str) -> None:
        self._say(f"FAULT {what}")
        self.tally.faults.append(what)

    def _log(self) -> str:
        return (self._folder / "child.log").read_text(encoding="utf-8")[-3000:]

    # --- the end ------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        expected = self._lab.made()

        def is_whole() -> bool:
            seen = look(self._path)
            return all(len(seen.keys[device]) >= count for device, count in expected.items())

        async with life(self._folder, *self._to_pair) as alive:
            await self._paired(alive, len(self._to_pair), "end")
            if not await until(is_whole, PATIENCE_S):
                seen = {name: len(keys) for name, keys in look(self._path).keys.items()}
                self._fault(f"end: {seen} of {expected}: the rest does not come; {self._log()}")
            alive.process.terminate()
            if (status := await alive.process.wait()) != 0:
                self._fault(f"the last life ended with status {status}")
        self.tally.made.update(expected)
        self.tally.contacts = sum(device.connections for device in self._lab.devices)
        async for fault in differences(self._path, expected, self._before):
            self._fault(fault)


async def campaign(exchange: Path, kills: int, dice: random.Random) -> Tally:
    """Everything, on a stack of its own; the tally says how it went."""
    began = time.monotonic()
    stack = BluezStack(exchange)
    stack.start_bus()
    stack.start_bluetoothd()
    try:
        with tempfile.TemporaryDirectory(prefix="kill-bluez-") as name:
            async with Bluez.connect() as bluez, KernelAir(ADAPTER_ADDRESS) as air:
                await powered(bluez, ADAPTER_ADDRESS)
                lab = Lab(air)
                lab.sensor = VirtualCgm(
                    *(air, ADDRESSES["sensor"], "lab-sensor", "sensor"),
                    session_start=SESSION,
                    zone=ZONE,
                    interval_min=1,
                    run_time_h=RUN_TIME_H,
                )
                for device in lab.devices:
                    await device.start()
                work = Campaign(lab, bluez, Path(name), dice, lambda line: print(line, flush=True))
                await work.run(kills)
                await air.calm()
    finally:
        stack.stop()
    work.tally.seconds = time.monotonic() - began
    return work.tally


def page(tally: Tally, seed: int) -> str:
    """The result as Markdown."""
    kills = sum(tally.kills.values())
    verdict = "nothing lost, nothing twice, no bond broken" if not tally.faults else f"{len(tally.faults)} FAULTS"
    of_kind = ", ".join(f"{tally.kills[kind]} {kind}" for kind in ROUNDS)
    linked = ", ".join(f"{tally.with_link[kind]} {kind}" for kind in ROUNDS)
    made = ", ".join(f"{count:,} {name}" for name, count in tally.made.items())
    left = ", ".join(f"{count} {where}" for where, count in sorted(tally.bonds_left.items()))
    lines = [
        "# Kill -9 over a real BlueZ",
        "",
        f"`scripts/test-bluez --kills {kills}` (seed {seed}), {datetime.now(UTC):%Y-%m-%d}, Linux "
        f"{platform.release()} in a guest, SQLite {sqlite3.sqlite_version}: **{verdict}**.",
        "",
        "| what | figure |",
        "|---|---|",
        f"| kill -9 | {kills} ({of_kind}) |",
        f"| of those with the link to that device up | {linked} |",
        f"| kills after which BlueZ still held a link | {tally.links_left} |",
        f"| after a kill in a pairing: keys of that meter on | {left} |",
        f"| pairings that a person asked for, each successful at once | {tally.pairings} |",
        f"| measurements made, all stored once | {made} |",
        f"| links that the devices have had | {tally.contacts:,} |",
        f"| whole run | {tally.seconds:.0f} s |",
    ]
    return "\n".join([*lines, *(f"\nFAULT: {fault}" for fault in tally.faults), ""])


def main() -> int:
    """Exit status 0 when every promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the moments; the machine adds its own chance")
    options = parser.parse_args()
    exchange = os.environ.get("PASSERELLE_BLUEZ_GUEST")
    if exchange is None:
        parser.error("this runs in a guest: scripts/test-bluez --kills N")
    tally = asyncio.run(campaign(Path(exchange), options.kills, random.Random(options.seed)))
    text = page(tally, options.seed)
    (Path(exchange) / "kills.log").write_text(text, encoding="utf-8")
    print(text)
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
