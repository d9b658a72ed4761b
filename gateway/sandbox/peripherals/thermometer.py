"""A virtual clinical thermometer: Health Thermometer 1809, Current Time 1805, Device Information 180A, Battery 180F."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from bumble.core import UUID
from bumble.gatt import Characteristic, Service

from gateway.sandbox.frames_vital_signs import encode_temperature
from gateway.sandbox.peripherals.clock import DeviceClock
from gateway.sandbox.peripherals.storing import StoringPeripheral
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records_vital_signs import Temperature

__all__ = ["Temperature", "VirtualThermometer"]

_THERMOMETER = 0x1809


class VirtualThermometer(StoringPeripheral):
    """A thermometer that keeps measurements until they are confirmed.

    Attributes:
        clock: its wall clock, settable through 2A2B.
        site: code of the temperature type in 2A1D; None: it has no such characteristic.
    """

    model = "VT-1"

    def __init__(
        self,
        air: VirtualAir,
        address: str,
        name: str,
        serial: str,
        *,
        clock: Callable[[], datetime],
        site: int | None = None,
        passkey: int | None = None,
        secure: bool = True,
    ) -> None:
        """Make the thermometer, powered off; `clock` gives its own local time, naive. Name: at most 22 octets."""
        super().__init__(air, address, name, serial, passkey=passkey, secure=secure)
        self.clock = DeviceClock(clock)
        self.site = site

    @property
    def advertised(self) -> Sequence[int]:
        """The Health Thermometer service."""
        return (_THERMOMETER,)

    @property
    def told_by(self) -> Characteristic[bytes]:
        """2A1C."""
        return self._measurement

    def services(self) -> list[Service]:
        """Health Thermometer and Current Time."""
        read = Characteristic.Properties.READ
        self._measurement = self.indicated(0x2A1C)
        self._intermediate = self.characteristic(0x2A1E, Characteristic.Properties.NOTIFY)
        made = [self._measurement, self._intermediate, self.characteristic(0x2A21, read, b"\x00\x00")]
        if self.site is not None:
            made.append(self.characteristic(0x2A1D, read, bytes((self.site,))))
        return [Service(UUID.from_16_bits(_THERMOMETER), made), self.current_time(self.clock)]

    def remember(self, temperature: Temperature) -> None:
        """Store a measurement of earlier."""
        self.keep(encode_temperature(temperature))

    async def measure(self, temperature: Temperature) -> None:
        """Store a measurement and wake up."""
        await self.store(encode_temperature(temperature))

    async def settle(self, temperature: Temperature) -> bool:
        """Notify what the sensor feels while it settles; whether anybody listened."""
        return await self.send(self._intermediate, encode_temperature(temperature))
