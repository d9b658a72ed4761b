"""Our own Bluetooth source on the virtual air, printing what it receives: what `gateway simulate KIND` shows."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from gateway.adapters.sources.bluetooth import BluetoothSource, LinkState
from gateway.commands.common import write_line
from gateway.devices.drivers import load_drivers
from gateway.model import Batch, Checkpoint, CommitReceipt, Device, DeviceId, ReadingKey
from gateway.ports import DeviceSighting
from gateway.reading_json import dump_reading
from gateway.sandbox.lab import Kind, Plan, Specimen
from gateway.sandbox.radio import VirtualAir
from gateway.settings import BluetoothSettings

__all__ = ["ReadBack"]

_DEVICE: Final = DeviceId("virtual")
_CALM_S: Final = 0.4
"""Nothing new for so long, and the device asleep or being listened to: it has said everything."""
_TROUBLE_S: Final = 3.0
_MOST_FAILURES: Final = 4
"""Nothing new for so long, or so many contacts that failed or told nothing new: it will not get better by itself."""
_REVISIT_S: Final = 0.5
_SOON_S: Final = 0.1
"""When a device that sleeps by itself is awake, it has something to tell."""
_BAD: Final = frozenset({LinkState.FAILED, LinkState.NEEDS_PAIRING})
_NEVER_S: Final = 86_400.0


class ReadBack:
    """An intake that prints each reading once, and the source that fills it."""

    def __init__(self, air: VirtualAir, kind: Kind, specimen: Specimen, plan: Plan, *, comes_back: bool) -> None:
        """Make both; `comes_back`: whether a device that was read well is visited again."""
        address = specimen.device.address
        if plan.passkey is not None:
            air.passkeys[address] = plan.passkey
        self._seen: set[ReadingKey] = set()
        self._repeated = self._spoiled = 0
        self._checkpoints: dict[str, Checkpoint] = {}
        self._stirred = asyncio.Event()
        users = {} if specimen.scale_user is None else {_DEVICE: specimen.scale_user}
        self._source = BluetoothSource(
            BluetoothSettings(
                enabled=True,
                connect_timeout_s=2.0,
                procedure_timeout_s=1.0,
                quiet_s=0.2,
                retry_s=0.1,
                revisit_s=_SOON_S if kind.sleeps else _REVISIT_S if comes_back else _NEVER_S,
            ),
            [Device(_DEVICE, kind.device_kind, kind.title, address=address)],
            zone_of=lambda _device_id: plan.zone,
            clock=plan.clock,
            scale_users=users,
            drivers=load_drivers(),
            scanner_backend=air.scanner_backend,
            client_backend=air.client_backend,
        )

        self._last = self._source.states()[0]

    async def run(self) -> None:
        """Read for ever."""
        await self._source.run(self)

    async def is_listening(self) -> None:
        """Until the source hears what is told."""
        while not self._source.is_scanning:
            await self._source.changed()

    async def is_over(self) -> None:
        """Until nothing more is to be expected without another measurement."""
        failures = fruitless = told = 0
        while failures < _MOST_FAILURES and fruitless < _MOST_FAILURES:
            self._stirred.clear()
            self._last = state = self._source.states()[0]
            failures += state.state in _BAD
            if len(self._seen) > told:
                fruitless, told = 0, len(self._seen)
            fruitless += state.state is LinkState.ASLEEP
            was_read = state.state is LinkState.READING or (state.state is LinkState.ASLEEP and bool(self._seen))
            try:
                async with asyncio.timeout(_CALM_S if was_read and self._checkpoints_or_asleep else _TROUBLE_S):
                    await self._next_event()
            except TimeoutError:
                self._last = self._source.states()[0]
                if self._last == state:
                    return

    @property
    def _checkpoints_or_asleep(self) -> bool:
        """Whether the device has told everything at least once."""
        return bool(self._checkpoints) or self._source.states()[0].state is LinkState.ASLEEP

    async def _next_event(self) -> None:
        """The next reading; or a state other than the one that is there now."""
        tasks = {asyncio.ensure_future(self._stirred.wait()), asyncio.ensure_future(self._source.state_changed())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    def report(self) -> int:
        """Say on standard error how it went; the exit status."""
        state = self._last
        said = f"{len(self._seen)} readings"
        said += f", {self._repeated} of them told again" if self._repeated else ""
        said += f", {self._spoiled} payloads not understood" if self._spoiled else ""
        detail = f" ({state.detail})" if state.detail not in (None, state.state.value) else ""
        write_line(f"{said}; the device is {state.state.value}{detail}.", sys.stderr)
        has_said_nothing = state.state is LinkState.READING and not self._seen and not self._checkpoints
        return 1 if state.state in _BAD or has_said_nothing else 0

    # The intake

    async def submit(self, batch: Batch) -> CommitReceipt:
        """Print what is new."""
        fresh = [reading for reading in batch.readings if reading.key not in self._seen]
        for reading in fresh:
            self._seen.add(reading.key)
            write_line(dump_reading(reading))
        self._repeated += len(batch.readings) - len(fresh)
        self._spoiled += len(batch.quarantined)
        self._checkpoints.update((checkpoint.name, checkpoint) for checkpoint in batch.checkpoints)
        if fresh:
            self._stirred.set()
        return CommitReceipt(added=len(fresh))

    async def checkpoint(self, _device_id: DeviceId, name: str) -> Checkpoint | None:
        """What was kept in this run."""
        return self._checkpoints.get(name)

    async def sighted(self, _sighting: DeviceSighting) -> None:
        """Nothing to print."""
