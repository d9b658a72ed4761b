"""A gateway's process, as far as time is concerned, over a machine described by a file: for `kill -9`."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from datetime import datetime, tzinfo
from pathlib import Path

import structlog
from clock_kit import FakeMachine, at_work

from gateway.adapters.stores.sqlite.clock_log import SqliteClockLog
from gateway.model import DeviceId, RepairedHistory


def _machine(folder: Path) -> FakeMachine:
    said = json.loads((folder / "machine.json").read_text())
    return FakeMachine(
        datetime.fromisoformat(said["wall"]), said["uptime_s"], synchronised=said.get("synchronised", False)
    )


class Hesitant(SqliteClockLog):
    """Says when the error is durable, and never comes to the repair."""

    async def repair(self, boot_id: str, zone_of: Callable[[DeviceId], tzinfo]) -> RepairedHistory | None:
        print("found", flush=True)
        await asyncio.Event().wait()
        return await super().repair(boot_id, zone_of)


async def main(folder: Path, word: str) -> None:
    """`collect` stores one weigh-in, is told the time by a line and hangs before the repair; `finish` repairs."""
    machine = _machine(folder)
    async with at_work(folder, machine) as hub:
        if word == "collect":
            await hub.weigh(1, "70.0")
            print("stored", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            now = _machine(folder)
            machine.wall, machine.uptime_s, machine.synchronised = now.wall, now.uptime_s, now.synchronised
            hub.store.clock_log.__class__ = Hesitant
            await hub.keeper.look()
        for stored in await hub.stored():
            reading = stored.reading
            print(reading.effective_at.isoformat(), reading.time_quality.value, reading.time_method)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
