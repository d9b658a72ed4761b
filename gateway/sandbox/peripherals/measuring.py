"""Virtual devices that send measurements, and that go wrong as their `Faults` say."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from bumble.gatt import Characteristic

from gateway.sandbox.peripherals.base import VirtualPeripheral
from gateway.sandbox.peripherals.clock import DeviceClock
from gateway.sandbox.peripherals.faults import Faults
from gateway.sandbox.radio import VirtualAir

__all__ = ["MeasuringPeripheral"]

_FLUSH_EVERY = 8
_NO_FAULTS = Faults()
_INDICATE = Characteristic.Properties.INDICATE
_Record = TypeVar("_Record")


class MeasuringPeripheral(VirtualPeripheral):
    """Adds measured frames and faults.

    Attributes:
        silent: commands are accepted and never answered; nothing is sent. Beside what `obey` was told.
        sent: how many measurement frames went out, over all links.
    """

    def __init__(
        self, air: VirtualAir, address: str, name: str, serial: str, *, passkey: int | None, secure: bool
    ) -> None:
        super().__init__(air, address, name, serial, passkey=passkey, secure=secure)
        self.silent = False
        self.sent = 0
        self._faults = _NO_FAULTS
        self._sent_before = 0
        self._busy_left = 0
        self._until_drop: int | None = None
        self._corrupt_next = False
        self._late_contexts: list[tuple[Characteristic[bytes], bytes]] = []

    # What goes wrong

    def obey(self, faults: Faults) -> None:
        """Go wrong in this way from now on; before `start()` where it is about the clock, the MTU or the passkey."""
        self._faults = faults
        self._busy_left = faults.busy
        self._lies_about_passkey = faults.wrong_passkey
        if faults.mtu is not None:
            self.max_mtu = faults.mtu
        if faults.clock is not None:
            self.reset_clock(faults.clock)

    @property
    def faults(self) -> Faults:
        """What goes wrong now: in a later contact than the faults are meant for, only what lies in the device."""
        faults = self._faults
        if faults.contacts is None or self.connections <= faults.contacts:
            return faults
        return Faults(
            seed=faults.seed, clock=faults.clock, memory=faults.memory, counter=faults.counter, values=faults.values
        )

    @property
    def is_mute(self) -> bool:
        """Whether nothing is said on the present link any more."""
        after = self.faults.silent_after
        return self.silent or (after is not None and self.sent - self._sent_before >= after)

    def takes_as_busy(self) -> bool:
        """Whether the request that has come is refused because another procedure is said to run."""
        if self._busy_left == 0 or self.faults.busy == 0:
            return False
        self._busy_left -= 1
        return True

    def disconnect_after(self, frames: int | None) -> None:
        """Drop the link once that many more measurement frames have gone out (once; None: never)."""
        self._until_drop = frames

    def corrupt_next(self) -> None:
        """Damage the next measurement frame, as `damaged` does."""
        self._corrupt_next = True

    def damaged(self, frame: bytes) -> bytes:
        """`frame` with its last octet missing."""
        return frame[:-1]

    def reset_clock(self, says: datetime) -> None:
        """The device's clock begins again at `says`, naive, as after a battery change; without a clock: nothing."""
        clock = getattr(self, "clock", None)
        if isinstance(clock, DeviceClock):
            clock.reset(says)

    def reset_counter(self) -> None:
        """Forget every record and number from the beginning; a device without stored records has nothing to forget."""

    def as_stored(self, record: _Record, number: int, field: str) -> _Record:
        """`record` as it is in the memory: where the faults say so, without a number in `field`."""
        special = self._faults.special(number)
        changed: Any = record
        return record if special is None else replace(changed, **{field: special})

    def contact_begins(self) -> None:
        """What was counted on the last link is counted anew."""
        super().contact_begins()
        self._sent_before = self.sent
        self._late_contexts.clear()

    async def contact_ended(self) -> None:
        """What happens to the device between two links; then it is heard again."""
        if self.connections == self._faults.forget_bond_after:
            await self.forget_bonds()
        if self.connections == self._faults.reset_counter_after:
            self.reset_counter()
        await super().contact_ended()

    # Sending

    async def send_measurement(self, characteristic: Characteristic[bytes], frame: bytes) -> bool:
        """Send one measured frame, with the faults that are switched on.

        Returns whether it went out (for an indication: whether the device has noticed that it was confirmed).
        """
        faults, number = self.faults, self.sent + 1
        if self.is_mute:
            return False
        if self._corrupt_next or faults.corrupt.fires(number, "corrupt", faults.seed):
            self._corrupt_next = False
            frame = self.damaged(frame)
        if faults.gap_s:
            await asyncio.sleep(faults.gap_s)
        copies = 2 if faults.duplicate.fires(number, "duplicate", faults.seed) else 1
        for _ in range(copies):
            if not await self.send(characteristic, frame):
                return False
        self.sent = number
        if self.sent % _FLUSH_EVERY == 0:
            await self.flush()
        if self._until_drop is not None:
            self._until_drop -= 1
        if self._until_drop == 0 or faults.drop.fires(number, "drop", faults.seed):
            self._until_drop = None
            self.leave_soon()
        is_overlooked = faults.unconfirmed.fires(number, "unconfirmed", faults.seed)
        return not (is_overlooked and characteristic.properties & _INDICATE)

    async def send_context(self, characteristic: Characteristic[bytes], frame: bytes) -> bool:
        """Send what belongs to the measurement before; False when nothing more can be sent."""
        if self.faults.context == "late":
            self._late_contexts.append((characteristic, frame))
        elif self.faults.context is None:
            return await self.send(characteristic, frame)
        return True

    async def send_late_contexts(self) -> None:
        """After the answer: what was held back."""
        held, self._late_contexts = self._late_contexts, []
        for characteristic, frame in held:
            await self.send(characteristic, frame)
