"""A listener in a process of its own that can be killed around a commit: FOLDER before|after|never."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from nightscout_kit import Gate, site

from gateway.logs import configure_logs
from gateway.model import Batch, CommitReceipt


class Held(Gate):
    """Says that the moment has come, then waits for the end."""

    moment = "never"

    async def submit(self, batch: Batch) -> CommitReceipt:
        if self.moment == "before":
            await _wait()
        receipt = await super().submit(batch)
        if self.moment == "after":
            await _wait()
        return receipt


async def _wait() -> None:
    print("now", flush=True)
    await asyncio.Event().wait()


async def main() -> None:
    """Listen until killed."""
    configure_logs("console", "warning")
    Held.moment = sys.argv[2]
    async with site(Path(sys.argv[1]), gate=Held) as desk:
        print(desk.listener.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
