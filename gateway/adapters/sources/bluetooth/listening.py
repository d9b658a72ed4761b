"""What one configured device tells everybody, from the scanner's callback to the store.

The callback only compares and puts into a bounded queue. What a scale has said it will not say again, so that a batch
is offered to the store until it is taken; meanwhile the packets that follow are listened to, of which few are results.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, tzinfo
from functools import partial
from typing import Final

import structlog

from gateway.adapters.sources.bluetooth.material import Material
from gateway.devices.advert import Advert
from gateway.devices.drivers import Driver
from gateway.devices.procedures import Keep, Listener
from gateway.errors import GatewayError, StoreUnavailable
from gateway.model import Batch, Checkpoint, DeviceId
from gateway.ports import Clock, DeviceSighting, Intake
from gateway.supervisor import contain

__all__ = ["Listening"]

_QUEUE: Final = 64
_BATCHES: Final = 256
_FIRST_PAUSE_S: Final = 0.5
log = structlog.get_logger()
_Heard = tuple[Driver, Advert, datetime]


class Listening:
    """The advertisements of one device.

    Attributes:
        device_id: which one.
        dropped: how many had to be dropped because the store was behind.
    """

    def __init__(self, device_id: DeviceId, zone: tzinfo, *, clock: Clock, retry_s: float) -> None:
        self.device_id = device_id
        self.dropped = 0
        self._clock = clock
        self._retry_s = retry_s
        self._material = Material(device_id, zone)
        self._heard: asyncio.Queue[_Heard] = asyncio.Queue(maxsize=_QUEUE)
        self._batches: asyncio.Queue[tuple[Batch, int, datetime]] = asyncio.Queue(maxsize=_BATCHES)
        self._last: Advert | None = None
        self._listener: Listener | None = None
        self._driver: Driver | None = None

    def hear(self, driver: Driver, advert: Advert) -> None:
        """From the scanner's callback: cheap, and never raises. What repeats the packet before says nothing new."""
        last = self._last
        if last is not None and (last.service_data, last.manufacturer_data) == (
            advert.service_data,
            advert.manufacturer_data,
        ):
            return
        self._last = advert
        try:
            self._heard.put_nowait((driver, advert, self._clock.now()))
        except asyncio.QueueFull:
            self._last = None
            if not self.dropped:
                log.warning("bluetooth.listening_behind", device=self.device_id)
            self.dropped += 1

    async def run(self, intake: Intake) -> None:
        """Make readings of what is heard, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._for_ever(partial(self._next, intake)))
            tasks.create_task(self._for_ever(partial(self._keep, intake)))

    async def _for_ever(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await contain(
                    f"bluetooth.{self.device_id}.listening",
                    work,
                    otherwise=lambda _error: None,
                    passing=GatewayError,
                )
            except GatewayError as error:
                log.warning("bluetooth.broadcast_lost", device=self.device_id, error=type(error).__name__)

    async def _next(self, intake: Intake) -> None:
        """One advertisement, or the silence that a listener waits for."""
        try:
            async with asyncio.timeout(None if self._listener is None else self._listener.wait_s):
                driver, advert, heard_at = await self._heard.get()
        except TimeoutError:
            if self._listener is not None:
                await self._offer(self._listener.on_silence(), self._clock.now())
            return
        listener = await self._listener_of(driver, intake)
        if listener is not None:
            await self._offer(listener.on_advert(advert, heard_at), heard_at)

    async def _listener_of(self, driver: Driver, intake: Intake) -> Listener | None:
        """The driver's listener, begun with the last durable checkpoint."""
        if driver is not self._driver and driver.listen is not None:
            state = None
            if driver.checkpoint is not None:
                await self._batches.join()
                checkpoint = await self._patiently_read(intake, driver.checkpoint)
                state = None if checkpoint is None else checkpoint.state
            self._listener, self._driver = driver.listen(state), driver
        return self._listener

    async def _patiently_read(self, intake: Intake, name: str) -> Checkpoint | None:
        pause_s = min(_FIRST_PAUSE_S, self._retry_s)
        while True:
            try:
                return await intake.checkpoint(self.device_id, name)
            except StoreUnavailable:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, self._retry_s)

    async def _offer(self, keeps: list[Keep], heard_at: datetime) -> None:
        for keep in keeps:
            batch = self._material.batch(keep, heard_at, clock_is_trusted=self._clock.is_trusted)
            await self._batches.put((batch, len(keep.records), heard_at))

    async def _keep(self, intake: Intake) -> None:
        """One batch, offered until it is taken."""
        batch, records, heard_at = await self._batches.get()
        try:
            await self._patiently_submit(intake, batch, heard_at)
        finally:
            self._batches.task_done()
        if records:
            log.info("bluetooth.broadcast_kept", device=self.device_id, records=records)

    async def _patiently_submit(self, intake: Intake, batch: Batch, heard_at: datetime) -> None:
        pause_s = min(_FIRST_PAUSE_S, self._retry_s)
        while True:
            try:
                await intake.submit(batch)
                await intake.sighted(DeviceSighting(self.device_id, heard_at))
            except StoreUnavailable:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, self._retry_s)
            else:
                return
