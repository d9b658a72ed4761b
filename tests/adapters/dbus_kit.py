"""A D-Bus daemon of its own for a test, on which a stand-in for BlueZ can take its place."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["PrivateBus", "private_bus"]

_CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"""


class PrivateBus:
    """A running dbus-daemon.

    Attributes:
        address: for `bus_address=` or DBUS_SYSTEM_BUS_ADDRESS.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self.address = f"unix:path={folder / 'bus'}"

    async def start(self) -> None:
        """Until it takes connections; may be called again after `kill()`."""
        program = shutil.which("dbus-daemon") or "/usr/bin/dbus-daemon"
        configuration = self._folder / "bus.conf"
        configuration.write_text(_CONFIGURATION.format(socket=self._folder / "bus"), encoding="utf-8")
        (self._folder / "bus").unlink(missing_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            *(program, f"--config-file={configuration}", "--nofork", "--print-address"), stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(10):
            assert await self._process.stdout.readline()

    async def kill(self) -> None:
        """SIGKILL, as a bus that dies."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def private_bus(folder: Path) -> AsyncIterator[PrivateBus]:
    """A bus for the length of the block; `folder`: short enough for a socket path (108 octets)."""
    bus = PrivateBus(folder)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.kill()
