"""Virtual devices that send measurements, and the faults that can be switched on in them."""

from __future__ import annotations

from bumble.gatt import Characteristic

from gateway.sandbox.peripherals.base import VirtualPeripheral
from gateway.sandbox.radio import VirtualAir

__all__ = ["MeasuringPeripheral"]

_FLUSH_EVERY = 8


class MeasuringPeripheral(VirtualPeripheral):
    """Adds measured frames and faults.

    Attributes:
        silent: commands are accepted and never answered; nothing is sent.
        sent: how many measurement frames went out, over all links.
    """

    def __init__(
        self, air: VirtualAir, address: str, name: str, serial: str, *, passkey: int | None, secure: bool
    ) -> None:
        super().__init__(air, address, name, serial, passkey=passkey, secure=secure)
        self.silent = False
        self.sent = 0
        self._until_drop: int | None = None
        self._corrupt_next = False

    def disconnect_after(self, frames: int | None) -> None:
        """Drop the link once that many more measurement frames have gone out (once; None: never)."""
        self._until_drop = frames

    def corrupt_next(self) -> None:
        """Damage the next measurement frame, as `damaged` does."""
        self._corrupt_next = True

    def damaged(self, frame: bytes) -> bytes:
        """`frame` with its last octet missing."""
        return frame[:-1]

    async def send_measurement(self, characteristic: Characteristic[bytes], frame: bytes) -> bool:
        """Send one measured frame, with the faults that are switched on.

        Returns whether it went out (for an indication: was confirmed).
        """
        if self.silent:
            return False
        if self._corrupt_next:
            self._corrupt_next = False
            frame = self.damaged(frame)
        if not await self.send(characteristic, frame):
            return False
        self.sent += 1
        if self.sent % _FLUSH_EVERY == 0:
            await self.flush()
        if self._until_drop is not None:
            self._until_drop -= 1
            if self._until_drop <= 0:
                self._until_drop = None
                self.leave_soon()
        return True
