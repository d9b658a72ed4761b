"""A desk over a virtual radio, and somebody in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from bumble.pairing import PairingDelegate

from gateway.adapters.sources.bluetooth import BluetoothSource
from gateway.clock import SystemClock
from gateway.devices.drivers import GENERIC_DRIVERS, Driver
from gateway.model import Batch, Checkpoint, CommitReceipt, Device, DeviceId, PairingAttempt, PairingState
from gateway.pairing.desk import PairingDesk
from gateway.ports import DeviceSighting, Intake
from gateway.sandbox.peripherals import MeterRecord, VirtualMeter
from gateway.sandbox.radio import VirtualAir
from gateway.settings import BluetoothSettings

PARIS = ZoneInfo("Europe/Paris")
METER = "C0:FF:EE:00:00:51"
PASSKEY = 123456
PATIENCE_S = 20.0


class Comparing(PairingDelegate):
    """A device with a screen and a yes button, whose owner says yes."""

    def __init__(self) -> None:
        super().__init__(PairingDelegate.DISPLAY_OUTPUT_AND_YES_NO_INPUT)
        self.shown: int | None = None

    async def compare_numbers(self, number: int, digits: int) -> bool:
        self.shown = number
        return True


class Typing(PairingDelegate):
    """A device with keys and no screen: its owner types what `digits` gives."""

    def __init__(self, digits: Callable[[], Awaitable[int]]) -> None:
        super().__init__(PairingDelegate.KEYBOARD_INPUT_ONLY)
        self._digits = digits

    async def get_number(self) -> int:
        return await self._digits()


class NoIntake:
    """Takes everything, keeps nothing."""

    async def submit(self, batch: Batch) -> CommitReceipt:
        return CommitReceipt(added=len(batch.readings))

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        return None

    async def sighted(self, sighting: DeviceSighting) -> None:
        return None


class SkippingClock(SystemClock):
    """The machine's clock; the monotonic one can be moved on."""

    def __init__(self) -> None:
        self.skipped_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped_s


class Person:
    """Looks at the desk until it says something."""

    def __init__(self, desk: PairingDesk, clock: SkippingClock, source: BluetoothSource) -> None:
        self.desk = desk
        self.clock = clock
        self.source = source

    async def sees(self, *states: PairingState) -> PairingAttempt:
        """The attempt, once it is in one of `states`."""
        async with asyncio.timeout(PATIENCE_S):
            while self.desk.attempt is None or self.desk.attempt.state not in states:
                await self.desk.changed()
        return self.desk.attempt

    async def sees_the_end(self) -> PairingAttempt:
        """The attempt, once it is over."""
        return await self.sees(*(state for state in PairingState if state.is_over))

    async def hears(self, address: str) -> None:
        """Until the radio has heard it."""
        async with asyncio.timeout(PATIENCE_S):
            while all(near.address != address for near in self.source.neighbours()):  # noqa: ASYNC110 - a port without event
                await asyncio.sleep(0.02)


def source_on(air: VirtualAir, *devices: Device, drivers: tuple[Driver, ...] = GENERIC_DRIVERS) -> BluetoothSource:
    """A Bluetooth source on `air` with short pauses."""
    settings = BluetoothSettings(
        enabled=True, connect_timeout_s=5, procedure_timeout_s=5, quiet_s=0.2, retry_s=0.1, revisit_s=0.1
    )
    return BluetoothSource(
        settings,
        devices,
        zone_of=lambda _device_id: PARIS,
        clock=SystemClock(),
        drivers=drivers,
        scanner_backend=air.scanner_backend,
        client_backend=air.client_backend,
    )


@asynccontextmanager
async def desk_on(
    air: VirtualAir,
    *devices: Device,
    drivers: tuple[Driver, ...] = GENERIC_DRIVERS,
    intake: Intake | None = None,
    **options: Any,
) -> AsyncIterator[Person]:
    """A running source and desk on `air`, with somebody in front."""
    clock, source = SkippingClock(), source_on(air, *devices, drivers=drivers)
    desk = PairingDesk(air.bonds, source, clock, drivers=drivers, **options)
    tasks = [asyncio.create_task(work) for work in (source.run(intake or NoIntake()), desk.run())]
    try:
        yield Person(desk, clock, source)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()


def wall() -> datetime:
    """What the devices show."""
    return SystemClock().now().astimezone(PARIS).replace(tzinfo=None, microsecond=0)


async def meter_on(
    air: VirtualAir, *, passkey: int | None = PASSKEY, delegate: PairingDelegate | None = None
) -> VirtualMeter:
    """A meter with three results."""
    records = [MeterRecord(n, wall() - timedelta(hours=4 - n), Decimal(100 + n)) for n in (1, 2, 3)]
    meter = VirtualMeter(air, METER, "meter+51", "51", records, clock=wall, passkey=passkey)
    meter.delegate = delegate
    await meter.start()
    return meter
