"""A virtual pulse oximeter: Pulse Oximeter 1822, Current Time 1805, Device Information 180A, Battery 180F."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from bumble.core import UUID
from bumble.gatt import Characteristic, Service

from gateway.sandbox.frames_vital_signs import encode_continuous_oximetry, encode_plx_features, encode_spot_check
from gateway.sandbox.peripherals.clock import DeviceClock
from gateway.sandbox.peripherals.racp import RecordAccess
from gateway.sandbox.peripherals.streaming import StreamingPeripheral
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records_vital_signs import OximetrySample, SpotCheck

__all__ = ["OximetrySample", "SpotCheck", "VirtualOximeter"]

_OXIMETER = 0x1822
_STORAGE_AND_TIME, _FAST_AND_SLOW, _AMPLITUDE = 0x000C, 0x0030, 0x0040
_EVERY_MEASUREMENT_STATUS, _EVERY_DEVICE_STATUS = 0xFFE0, 0x00FFFF


class VirtualOximeter(StreamingPeripheral):
    """An oximeter with a memory of spot checks behind its control point, and a stream while a finger is in it.

    Its control point knows "all records" only, as the service has it.

    Attributes:
        records: its memory, oldest first.
        clock: its wall clock, settable through 2A2B.
        has_memory: False: no control point, and a spot check that nobody hears is lost.
    """

    model = "VO-1"

    def __init__(
        self,
        air: VirtualAir,
        address: str,
        name: str,
        serial: str,
        records: Iterable[SpotCheck] = (),
        *,
        clock: Callable[[], datetime],
        has_memory: bool = True,
        passkey: int | None = None,
        secure: bool = True,
    ) -> None:
        """Make the oximeter, powered off; `clock` gives its own local time, naive. Name: at most 22 octets."""
        super().__init__(air, address, name, serial, passkey=passkey, secure=secure)
        self.records = list(records)
        self.clock = DeviceClock(clock)
        self.has_memory = has_memory

    @property
    def advertised(self) -> Sequence[int]:
        """The Pulse Oximeter service."""
        return (_OXIMETER,)

    def services(self) -> list[Service]:
        """Pulse Oximeter and Current Time."""
        self._spot = self.characteristic(0x2A5E, Characteristic.Properties.INDICATE)
        features = _FAST_AND_SLOW | _AMPLITUDE | (_STORAGE_AND_TIME if self.has_memory else 0)
        said = encode_plx_features(features, _EVERY_MEASUREMENT_STATUS, _EVERY_DEVICE_STATUS)
        made = [
            self._spot,
            self.streamed(0x2A5F),
            self.characteristic(0x2A60, Characteristic.Properties.READ, said),
        ]
        if self.has_memory:
            access = RecordAccess[SpotCheck](self, lambda: self.records, {}, self._report, (self._spot,))
            made.append(access.characteristic)
        return [Service(UUID.from_16_bits(_OXIMETER), made), self.current_time(self.clock)]

    async def check(self, check: SpotCheck) -> bool:
        """Measure now: store it where there is a memory, wake up, and tell a client that listens; whether one did."""
        if self.has_memory:
            self.records.append(check)
        is_told = await self.send_measurement(self._spot, encode_spot_check(check))
        await self.wake()
        return is_told

    def reset_counter(self) -> None:
        """Empty the memory."""
        self.records.clear()

    def stream(self, samples: Iterable[OximetrySample]) -> None:
        """Stream these from now on."""
        self.feed(encode_continuous_oximetry(sample) for sample in samples)

    async def _report(self, records: Sequence[SpotCheck]) -> None:
        for record in records:
            if not await self.send_measurement(self._spot, encode_spot_check(record, from_memory=True)):
                return
