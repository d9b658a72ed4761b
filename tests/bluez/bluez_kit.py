"""The inside of the guest: a system bus, bluetoothd, an adapter behind /dev/vhci, and a source that uses them.

Nothing here stands in for BlueZ or bleak. The virtual devices are in the same process as the source, but everything
between them passes bleak, the bus, bluetoothd and the kernel.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bluetooth_kit import NOW, PARIS, FrozenClock

from gateway.adapters.sources.bluetooth import BluetoothSource
from gateway.adapters.sources.bluetooth.bluez.bus import Bluez, BusUnavailable
from gateway.model import Device
from gateway.ports import Clock
from gateway.sandbox.peripherals import VirtualMeter
from gateway.sandbox.records import MeterRecord
from gateway.sandbox.vhci import KernelAir
from gateway.settings import BluetoothSettings

__all__ = ["WALL", "BluezStack", "kernel_source", "make_meter", "powered", "records", "until"]

WALL = NOW.astimezone(PARIS).replace(tzinfo=None)
ADAPTER = "org.bluez.Adapter1"
_PROGRAMS = ("/usr/sbin/bluetoothd", "/usr/libexec/bluetooth/bluetoothd", "/usr/lib/bluetooth/bluetoothd")
_PATIENCE_S = 60.0


class BluezStack:
    """The system bus and bluetoothd of this guest, as processes that a test may kill and start again."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "bluetoothd.log").open("ab")
        self._bus: subprocess.Popen[bytes] | None = None
        self._bluetoothd: subprocess.Popen[bytes] | None = None

    def start_bus(self) -> None:
        """Until it takes connections."""
        command = ("dbus-daemon", "--system", "--nofork", "--nopidfile", "--print-address")
        self._bus = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._bus.stdout is not None
        with self._bus.stdout as says:
            assert says.readline()

    def start_bluetoothd(self) -> None:
        """Does not wait for it: BlueZ announces itself on the bus."""
        program = next(path for path in _PROGRAMS if Path(path).exists())
        self._bluetoothd = subprocess.Popen((program, "-n"), stdout=self._log, stderr=self._log)

    def kill_bluetoothd(self) -> None:
        """SIGKILL."""
        assert self._bluetoothd is not None
        self._bluetoothd.kill()
        self._bluetoothd.wait()

    def stop(self) -> None:
        """Everything."""
        for process in (self._bluetoothd, self._bus):
            if process is not None:
                process.kill()
                process.wait()
        self._log.close()


async def until(bluez: Bluez, is_so: Callable[[], Any]) -> None:
    """Wait until `is_so`, asked again whenever BlueZ says anything."""
    stirred = asyncio.Event()
    await bluez.listen(lambda *_: stirred.set())
    async with asyncio.timeout(_PATIENCE_S):
        while not await is_so():
            stirred.clear()
            await stirred.wait()


async def powered(bluez: Bluez, address: str) -> str:
    """Wait until BlueZ has powered the adapter with this address; its path."""
    paths: list[str] = []

    async def is_so() -> bool:
        if not await bluez.has_owner():
            return False
        for path, interfaces in (await bluez.objects()).items():
            if (adapter := interfaces.get(ADAPTER)) and (adapter["Address"], adapter["Powered"]) == (address, True):
                paths.append(path)
        return bool(paths)

    await until(bluez, is_so)
    return paths[0]


def kernel_source(*devices: Device, clock: Clock | None = None, **settings: Any) -> BluetoothSource:
    """A source as the gateway makes it: bleak's own backend."""
    chosen = {
        "connect_timeout_s": 20.0,
        "procedure_timeout_s": 20.0,
        "quiet_s": 1.0,
        "retry_s": 0.2,
        "revisit_s": 0.2,
    } | settings
    return BluetoothSource(
        BluetoothSettings.model_validate({"enabled": True} | chosen),
        devices,
        zone_of=lambda _device_id: PARIS,
        clock=clock or FrozenClock(),
    )


def records(first: int, last: int) -> list[MeterRecord]:
    """One test a minute, two days ago."""
    return [
        MeterRecord(number, WALL - timedelta(days=2) + timedelta(minutes=number), Decimal(80 + number % 100))
        for number in range(first, last + 1)
    ]


async def make_meter(
    air: KernelAir,
    memory: list[MeterRecord],
    *,
    address: str,
    name: str = "meter",
    passkey: int | None = None,
    secure: bool = False,
    stays_awake: bool = False,
    max_mtu: int = 517,
) -> VirtualMeter:
    """A meter that is on and advertises."""
    meter = VirtualMeter(air, address, name, "S-1", memory, clock=lambda: WALL, passkey=passkey, secure=secure)
    meter.stays_awake = stays_awake
    meter.max_mtu = max_mtu
    await meter.start()
    return meter
