"""Virtual devices that indicate what they have stored as soon as somebody listens, and forget what was confirmed."""

from __future__ import annotations

import asyncio
from abc import abstractmethod

from bumble.device import Connection
from bumble.gatt import Characteristic

from gateway.sandbox.peripherals.measuring import MeasuringPeripheral
from gateway.sandbox.radio import VirtualAir

__all__ = ["StoringPeripheral"]


class StoringPeripheral(MeasuringPeripheral):
    """A cuff or a thermometer.

    Attributes:
        hangs_up: whether it ends the link once everything is told, as many cuffs do.
        sleeps: whether it goes to sleep then, until the next measurement.
    """

    hangs_up = False
    sleeps = False

    def __init__(
        self, air: VirtualAir, address: str, name: str, serial: str, *, passkey: int | None, secure: bool
    ) -> None:
        super().__init__(air, address, name, serial, passkey=passkey, secure=secure)
        self._frames: list[bytes] = []
        self._delivery: asyncio.Task[None] | None = None

    @property
    def stored_count(self) -> int:
        """How many measurements nobody has confirmed yet."""
        return len(self._frames)

    @property
    @abstractmethod
    def told_by(self) -> Characteristic[bytes]:
        """The characteristic that indicates measurements."""

    def indicated(self, uuid: int) -> Characteristic[bytes]:
        """That characteristic, for `services()`."""
        made = self.characteristic(uuid, Characteristic.Properties.INDICATE)
        made.on(made.EVENT_SUBSCRIPTION, self._on_subscription)
        return made

    async def store(self, frame: bytes) -> None:
        """Store a measurement and wake up; a client that listens gets it at once."""
        self.keep(frame)
        self._deliver_soon()
        await self.wake()

    def keep(self, frame: bytes) -> None:
        """Store a measurement of earlier."""
        self._frames.append(frame)
        self._frames[:] = self.faults.remembered(self._frames)
        self.stays_awake = self.stays_awake or self.sleeps

    def reset_counter(self) -> None:
        """Empty the memory."""
        self._frames.clear()

    def link_ended(self) -> None:
        """What was not confirmed is told again on the next link."""
        self._delivery = None

    def _on_subscription(self, _connection: Connection, _notify: bool, indicate: bool) -> None:
        if indicate:
            self._deliver_soon()

    def _deliver_soon(self) -> None:
        is_delivering = self._delivery is not None and not self._delivery.done()
        if self.is_connected and not is_delivering and not self.silent and self._frames:
            self._delivery = self.procedure(self._deliver(), "delivery")

    async def _deliver(self) -> None:
        while self._frames:
            frame = self._frames[0]
            if not await self.send_measurement(self.told_by, frame):
                return
            if self._frames and self._frames[0] is frame:  # a full memory may have lost it meanwhile
                self._frames.pop(0)
        if self.sleeps:
            self.stays_awake = False
        if self.hangs_up:
            self.leave_soon()
