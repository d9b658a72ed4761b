"""The gateway's own agent and bonds, at work for the length of a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.adapters.sources.bluetooth.bluez.bonds import BluezBonds

__all__ = ["bonding"]


@asynccontextmanager
async def bonding() -> AsyncIterator[BluezBonds]:
    """Our agent, registered with the guest's bluetoothd."""
    bonds = BluezBonds()
    task = asyncio.create_task(bonds.run(), name="bonds")
    try:
        async with asyncio.timeout(60):
            await bonds.wait_ready()
        yield bonds
    finally:
        task.cancel()
        await asyncio.wait({task})
