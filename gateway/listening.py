"""What one device tells everybody, from the callback of whoever heard it to the store.

The callback only compares and puts into a bounded queue. What a scale has said it will not say again, so that a batch
is offered to the store until it is taken; meanwhile the packets that follow are listened to, of which few are results.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple, Protocol

import structlog

from gateway.devices.advert import Advert
from gateway.devices.drivers import Driver
from gateway.devices.procedures import Keep, KeyedListener, Listener
from gateway.devices.sealed import Lock
from gateway.errors import GatewayError, StoreUnavailable
from gateway.model import Batch, Checkpoint, DeviceId, SourceKind
from gateway.ports import Clock, DeviceSighting, Intake
from gateway.supervisor import contain

__all__ = ["BatchMaker", "Listening"]

_QUEUE: Final = 64
_BATCHES: Final = 256
_FIRST_PAUSE_S: Final = 0.5
log = structlog.get_logger()


class BatchMaker(Protocol):
    """Turns what a listener wants kept into a batch."""

    def batch(self, keep: Keep, received_at: datetime, *, clock_is_trusted: bool = True) -> Batch:
        """Everything of `keep`, heard at `received_at` (aware, UTC)."""
        ...


class _Heard(NamedTuple):
    driver: Driver
    advert: Advert
    heard_at: datetime
    source: SourceKind


class Listening:
    """The advertisements of one device.

    Args:
        makers: how a batch is made of what this source has heard.
        lock: the device's key; None: there is none, and what is sealed is passed over.
        on_change: called when it becomes known, or changes, whether the key fits.

    Attributes:
        device_id: which one.
        dropped: how many had to be dropped because the store was behind.
    """

    def __init__(
        self,
        device_id: DeviceId,
        makers: Mapping[SourceKind, BatchMaker],
        *,
        clock: Clock,
        retry_s: float,
        lock: Lock | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.device_id = device_id
        self.dropped = 0
        self.lock = lock
        self._on_change = on_change
        self._clock = clock
        self._retry_s = retry_s
        self._makers = makers
        self._heard: asyncio.Queue[_Heard] = asyncio.Queue(maxsize=_QUEUE)
        self._batches: asyncio.Queue[tuple[Batch, int, datetime]] = asyncio.Queue(maxsize=_BATCHES)
        self._last: Advert | None = None
        self._last_source = SourceKind.BLUETOOTH
        self._listener: Listener | KeyedListener | None = None
        self._driver: Driver | None = None
        self._keyed: KeyedListener | None = None
        self._is_told = False

    @property
    def key_fits(self) -> bool | None:
        """Whether the key fits what the device says; None: not known, or it needs none."""
        return None if self._keyed is None else self._keyed.key_fits

    def can_make_sense(self, driver: Driver) -> bool:
        """Whether something comes of what `driver` claims: it listens, or it unlocks and there is a key."""
        return driver.listen is not None or (driver.unlock is not None and self.lock is not None)

    def hear(
        self,
        driver: Driver,
        advert: Advert,
        *,
        heard_at: datetime | None = None,
        source: SourceKind = SourceKind.BLUETOOTH,
    ) -> None:
        """From the callback: cheap, and never raises. What repeats the packet before says nothing new.

        Args:
            heard_at: aware, UTC; default: now.
            source: whose radio it was.
        """
        last = self._last
        if last is not None and (last.service_data, last.manufacturer_data) == (
            advert.service_data,
            advert.manufacturer_data,
        ):
            return
        self._last = advert
        try:
            self._heard.put_nowait(_Heard(driver, advert, heard_at or self._clock.now(), source))
        except asyncio.QueueFull:
            self._last = None
            if not self.dropped:
                log.warning("broadcast.listening_behind", device=self.device_id)
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
                    f"broadcast.{self.device_id}",
                    work,
                    otherwise=lambda _error: None,
                    passing=GatewayError,
                )
            except GatewayError as error:
                log.warning("broadcast.lost", device=self.device_id, error=type(error).__name__)

    async def _next(self, intake: Intake) -> None:
        """One advertisement, or the silence that a listener waits for."""
        try:
            async with asyncio.timeout(None if self._listener is None else self._listener.wait_s):
                driver, advert, heard_at, source = await self._heard.get()
        except TimeoutError:
            if self._listener is not None:
                await self._offer(self._listener.on_silence(), self._clock.now(), self._last_source)
            return
        listener = await self._listener_of(driver, intake)
        if listener is not None:
            self._last_source = source
            await self._offer(listener.on_advert(advert, heard_at), heard_at, source)
            self._tell_of_the_key()

    async def _listener_of(self, driver: Driver, intake: Intake) -> Listener | None:
        """The driver's listener, begun with the last durable checkpoint."""
        if driver is not self._driver and self.can_make_sense(driver):
            state = None
            if driver.checkpoint is not None:
                await self._batches.join()
                checkpoint = await self._patiently_read(intake, driver.checkpoint)
                state = None if checkpoint is None else checkpoint.state
            self._keyed = None
            if driver.unlock is not None and self.lock is not None:
                self._listener = self._keyed = driver.unlock(state, self.lock)
            elif driver.listen is not None:
                self._listener = driver.listen(state)
            self._driver = driver
        return self._listener if driver is self._driver else None

    def _tell_of_the_key(self) -> None:
        does_not_fit = self.key_fits is False
        if does_not_fit and not self._is_told:
            log.warning("broadcast.key_does_not_fit", device=self.device_id, hint="get the device's key again")
        if does_not_fit is not self._is_told:
            self._is_told = does_not_fit
            self._on_change()

    async def _patiently_read(self, intake: Intake, name: str) -> Checkpoint | None:
        pause_s = min(_FIRST_PAUSE_S, self._retry_s)
        while True:
            try:
                return await intake.checkpoint(self.device_id, name)
            except StoreUnavailable:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, self._retry_s)

    async def _offer(self, keeps: list[Keep], heard_at: datetime, source: SourceKind) -> None:
        for keep in keeps:
            batch = self._makers[source].batch(keep, heard_at, clock_is_trusted=self._clock.is_trusted)
            await self._batches.put((batch, len(keep.records), heard_at))

    async def _keep(self, intake: Intake) -> None:
        """One batch, offered until it is taken."""
        batch, records, heard_at = await self._batches.get()
        try:
            await self._patiently_submit(intake, batch, heard_at)
        finally:
            self._batches.task_done()
        if records:
            log.info("broadcast.kept", device=self.device_id, records=records)

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
