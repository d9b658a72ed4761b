"""A virtual heart rate belt: Heart Rate 180D, Device Information 180A, Battery 180F. It has no clock and no memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bumble.core import UUID
from bumble.gatt import Characteristic, Service

from gateway.sandbox.frames_vital_signs import encode_heart_rate
from gateway.sandbox.peripherals.streaming import StreamingPeripheral
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records_vital_signs import HeartBeat

__all__ = ["HeartBeat", "VirtualHeartRateBelt"]

_HEART_RATE = 0x180D


class VirtualHeartRateBelt(StreamingPeripheral):
    """A belt that says its rate every second.

    Attributes:
        site: code of 2A38; 1 is the chest.
    """

    model = "VH-1"

    def __init__(
        self,
        air: VirtualAir,
        address: str,
        name: str,
        serial: str,
        beats: Iterable[HeartBeat] = (),
        *,
        site: int = 1,
        passkey: int | None = None,
        secure: bool = False,
    ) -> None:
        """Make the belt, powered off. Belts need no bond unless `secure`. Name: at most 22 octets."""
        super().__init__(air, address, name, serial, passkey=passkey, secure=secure)
        self.site = site
        self.beat(beats)

    @property
    def advertised(self) -> Sequence[int]:
        """The Heart Rate service."""
        return (_HEART_RATE,)

    def services(self) -> list[Service]:
        """Heart Rate."""
        location = self.characteristic(0x2A38, Characteristic.Properties.READ, bytes((self.site,)))
        return [Service(UUID.from_16_bits(_HEART_RATE), [self.streamed(0x2A37), location])]

    def beat(self, beats: Iterable[HeartBeat]) -> None:
        """Stream these from now on."""
        self.feed(encode_heart_rate(beat) for beat in beats)
