"""A virtual blood pressure monitor: Blood Pressure 1810, Current Time 1805, Device Information 180A, Battery 180F."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from bumble.core import UUID
from bumble.gatt import Characteristic, Service

from gateway.sandbox.frames_vital_signs import encode_blood_pressure, encode_cuff_pressure
from gateway.sandbox.peripherals.clock import DeviceClock
from gateway.sandbox.peripherals.storing import StoringPeripheral
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records_vital_signs import CuffReading

__all__ = ["CuffReading", "VirtualBloodPressureMonitor"]

_BLOOD_PRESSURE = 0x1810
_EVERY_DETECTION = 0x001F


class VirtualBloodPressureMonitor(StoringPeripheral):
    """A cuff that keeps measurements until they are confirmed.

    Attributes:
        clock: its wall clock, settable through 2A2B.
    """

    model = "VB-1"

    def __init__(
        self,
        air: VirtualAir,
        address: str,
        name: str,
        serial: str,
        *,
        clock: Callable[[], datetime],
        passkey: int | None = None,
        secure: bool = True,
    ) -> None:
        """Make the cuff, powered off; `clock` gives its own local time, naive. Name: at most 22 octets."""
        super().__init__(air, address, name, serial, passkey=passkey, secure=secure)
        self.clock = DeviceClock(clock)

    @property
    def advertised(self) -> Sequence[int]:
        """The Blood Pressure service."""
        return (_BLOOD_PRESSURE,)

    @property
    def told_by(self) -> Characteristic[bytes]:
        """2A35."""
        return self._measurement

    def services(self) -> list[Service]:
        """Blood Pressure and Current Time."""
        self._measurement = self.indicated(0x2A35)
        self._cuff = self.characteristic(0x2A36, Characteristic.Properties.NOTIFY)
        feature = self.characteristic(0x2A49, Characteristic.Properties.READ, _EVERY_DETECTION.to_bytes(2, "little"))
        return [
            Service(UUID.from_16_bits(_BLOOD_PRESSURE), [self._measurement, self._cuff, feature]),
            self.current_time(self.clock),
        ]

    def remember(self, reading: CuffReading) -> None:
        """Store a measurement of earlier."""
        self.keep(encode_blood_pressure(reading))

    async def measure(self, reading: CuffReading) -> None:
        """Store a measurement and wake up."""
        await self.store(encode_blood_pressure(reading))

    async def inflate(self, reading: CuffReading) -> bool:
        """Notify how far the cuff is inflated (`reading.systolic`); whether anybody listened."""
        return await self.send(self._cuff, encode_cuff_pressure(reading))
