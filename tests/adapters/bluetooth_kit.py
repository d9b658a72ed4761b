"""An intake in memory, and a Bluetooth source on a virtual air."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from gateway.adapters.sources.bluetooth import BluetoothSource, LinkState
from gateway.adapters.sources.bluetooth.radio.parts import Radio
from gateway.clock import SystemClock
from gateway.devices.drivers import GENERIC_DRIVERS, Driver, Permissions
from gateway.devices.procedures import ScaleUser
from gateway.errors import StoreUnavailable
from gateway.model import (
    Batch,
    Checkpoint,
    CommitReceipt,
    Device,
    DeviceId,
    DeviceKind,
    Quarantined,
    RawFrame,
    Reading,
    ReadingKey,
)
from gateway.ports import Clock, DeviceSighting
from gateway.sandbox.radio import VirtualAir
from gateway.settings import BluetoothSettings

__all__ = ["NOW", "PARIS", "FrozenClock", "MemoryIntake", "make_device", "make_source", "running", "until_state"]

PARIS = ZoneInfo("Europe/Paris")
NO_PERMISSIONS = Permissions()
NOW = datetime(2025, 6, 2, 10, 0, tzinfo=UTC)


class FrozenClock(SystemClock):
    """A wall clock that stands still; the monotonic one runs."""

    def __init__(self, *, is_trusted: bool = True) -> None:
        self._is_trusted = is_trusted

    def now(self) -> datetime:
        return NOW

    @property
    def is_trusted(self) -> bool:
        return self._is_trusted


@dataclass
class MemoryIntake:
    """Keeps one of each reading, like a store.

    Attributes:
        is_down: submitting raises StoreUnavailable.
        submissions: how often `submit` was called, refused or not.
    """

    readings: dict[ReadingKey, Reading] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    checkpoints: dict[tuple[DeviceId, str], Checkpoint] = field(default_factory=dict)
    sightings: list[DeviceSighting] = field(default_factory=list)
    is_down: bool = False
    submissions: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def submit(self, batch: Batch) -> CommitReceipt:
        self.submissions += 1
        if not self.is_down:
            self.batches.append(batch)
            self.readings.update((reading.key, reading) for reading in batch.readings)
            self.checkpoints.update(((c.device_id, c.name), c) for c in batch.checkpoints)
        await self._stir()
        if self.is_down:
            raise StoreUnavailable("the disk is full")
        return CommitReceipt(added=len(batch.readings))

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        return self.checkpoints.get((device_id, name))

    async def sighted(self, sighting: DeviceSighting) -> None:
        self.sightings.append(sighting)
        await self._stir()

    async def _stir(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until `is_so`, looked at whenever something was handed in."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(is_so)

    @property
    def frames(self) -> list[RawFrame]:
        return [frame for batch in self.batches for frame in batch.frames]

    @property
    def quarantined(self) -> list[Quarantined]:
        return [entry for batch in self.batches for entry in batch.quarantined]


def make_device(address: str, kind: DeviceKind, device_id: str = "device-1") -> Device:
    return Device(DeviceId(device_id), kind, "a device", address=address)


def make_source(
    air: VirtualAir,
    *devices: Device,
    scale_users: Mapping[DeviceId, ScaleUser] | None = None,
    permissions: Permissions = NO_PERMISSIONS,
    retry_s: float = 0.05,
    revisit_s: float = 0.05,
    procedure_timeout_s: float = 5.0,
    quiet_s: float = 0.1,
    live_interval_s: float = 60.0,
    connections: int = 3,
    clock: Clock | None = None,
    drivers: Sequence[Driver] = GENERIC_DRIVERS,
    radios: Sequence[Radio] | None = None,
) -> BluetoothSource:
    settings = BluetoothSettings(
        enabled=True,
        connect_timeout_s=5.0,
        procedure_timeout_s=procedure_timeout_s,
        quiet_s=quiet_s,
        live_interval_s=live_interval_s,
        connections=connections,
        retry_s=retry_s,
        revisit_s=revisit_s,
    )
    return BluetoothSource(
        settings,
        devices,
        zone_of=lambda _device_id: PARIS,
        clock=clock or FrozenClock(),
        scale_users=scale_users or {},
        drivers=drivers,
        permissions={device.device_id: permissions for device in devices},
        scanner_backend=air.scanner_backend,
        client_backend=air.client_backend,
        radios=radios,
    )


@asynccontextmanager
async def running(source: BluetoothSource, intake: MemoryIntake) -> AsyncIterator[None]:
    """The source at work for the length of the block."""
    task = asyncio.create_task(source.run(intake), name="source")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def until_state(source: BluetoothSource, state: LinkState) -> None:
    """Wait until the first device is in `state`."""
    async with asyncio.timeout(30):
        while source.states()[0].state is not state:
            await source.state_changed()
