"""Virtual devices that stream for as long as somebody listens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from bumble.device import Connection
from bumble.gatt import Characteristic

from gateway.sandbox.peripherals.measuring import MeasuringPeripheral
from gateway.sandbox.radio import VirtualAir

__all__ = ["StreamingPeripheral"]


class StreamingPeripheral(MeasuringPeripheral):
    """A belt or an oximeter on a finger: takes frame after frame off its stream, one a period.

    Attributes:
        period_s: pause between two notifications; 0: as fast as the link takes them.
        hangs_up: whether it ends the link when its stream has run dry.
    """

    period_s = 1.0
    hangs_up = False

    def __init__(
        self, air: VirtualAir, address: str, name: str, serial: str, *, passkey: int | None, secure: bool
    ) -> None:
        super().__init__(air, address, name, serial, passkey=passkey, secure=secure)
        self._stream: Iterator[bytes] = iter(())
        self._streaming: asyncio.Task[None] | None = None
        self._streamed: Characteristic[bytes] | None = None

    def streamed(self, uuid: int) -> Characteristic[bytes]:
        """The characteristic that notifies, for `services()`."""
        made = self.characteristic(uuid, Characteristic.Properties.NOTIFY)
        made.on(made.EVENT_SUBSCRIPTION, self._on_subscription)
        self._streamed = made
        return made

    def feed(self, frames: Iterable[bytes]) -> None:
        """Stream these from now on, to whoever listens; what the stream held before is dropped."""
        self._stream = iter(frames)
        self._stream_soon()

    def link_ended(self) -> None:
        """The stream goes on with its next frame on the next link."""
        self._streaming = None

    def _on_subscription(self, _connection: Connection, notify: bool, _indicate: bool) -> None:
        if notify:
            self._stream_soon()

    def _stream_soon(self) -> None:
        is_streaming = self._streaming is not None and not self._streaming.done()
        if self.is_connected and not is_streaming and not self.silent:
            self._streaming = self.procedure(self._run(), "stream")

    async def _run(self) -> None:
        if self._streamed is None or not self.is_subscribed(self._streamed):
            return
        while (frame := next(self._stream, None)) is not None:
            if not await self.send_measurement(self._streamed, frame):
                return
            if self.period_s:
                await asyncio.sleep(self.period_s)
        if self.hangs_up:
            self.leave_soon()
