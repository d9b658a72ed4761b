"""What the tests of virtual devices share: a client that keeps what it hears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice

from gateway.sandbox.peripherals import MeterRecord
from gateway.sandbox.radio import VirtualAir

NOON = datetime(2025, 3, 1, 12, 0)  # noqa: DTZ001 a device's wall clock
PATIENCE_S = 20.0


def sig(number: int) -> str:
    """The 128-bit form of a 16-bit UUID."""
    return f"0000{number:04x}-0000-1000-8000-00805f9b34fb"


def noon() -> datetime:
    """A device clock that stands still."""
    return NOON


def records(count: int) -> list[MeterRecord]:
    """Numbered 1..count, a minute apart."""
    return [
        MeterRecord(i, NOON.replace(hour=i // 60 % 24, minute=i % 60), Decimal(80 + i % 100))
        for i in range(1, count + 1)
    ]


async def find(air: VirtualAir, address: str) -> BLEDevice:
    """The device as a scan finds it."""
    device = await BleakScanner.find_device_by_address(address, timeout=PATIENCE_S, backend=air.scanner_backend)
    assert device is not None
    return device


class Inbox:
    """Everything a subscription delivered, in order, over all subscribed characteristics: (UUID number, value)."""

    def __init__(self) -> None:
        self.received: list[tuple[int, bytes]] = []
        self._changed = asyncio.Event()

    def of(self, number: int) -> list[bytes]:
        """The values of one characteristic."""
        return [value for uuid, value in self.received if uuid == number]

    async def subscribe(self, client: BleakClient, *numbers: int) -> None:
        """Listen to these characteristics."""
        for number in numbers:
            await client.start_notify(sig(number), self._keep)

    def _keep(self, characteristic: BleakGATTCharacteristic, value: bytearray) -> None:
        self.received.append((int(characteristic.uuid[4:8], 16), bytes(value)))
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what arrived makes `condition` true."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def ask(self, client: BleakClient, control_point: int, command: bytes) -> bytes:
        """Write a command and return the next indication of the same control point."""
        before = len(self.of(control_point))
        await client.write_gatt_char(sig(control_point), command, response=True)
        await self.until(lambda: len(self.of(control_point)) > before)
        return self.of(control_point)[before]


@asynccontextmanager
async def linked(air: VirtualAir, address: str, *, pair: bool = False) -> AsyncIterator[BleakClient]:
    """A connected client."""
    client = BleakClient(await find(air, address), pair=pair, timeout=PATIENCE_S, backend=air.client_backend)
    async with client:
        yield client
