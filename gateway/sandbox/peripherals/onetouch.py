"""A virtual OneTouch meter with the protocol of its maker; its encoder shares nothing with the decoder."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bumble.core import UUID, AdvertisingData
from bumble.device import Connection
from bumble.gatt import Characteristic, Service

from gateway.sandbox.peripherals.clock import DeviceClock
from gateway.sandbox.peripherals.measuring import MeasuringPeripheral
from gateway.sandbox.radio import VirtualAir

__all__ = ["OneTouchTest", "VirtualOneTouch", "onetouch_crc", "onetouch_frame"]

_SERVICE = "af9df7a1-e595-11e3-96b4-0002a5d5c51b"
_WRITE = "af9df7a2-e595-11e3-96b4-0002a5d5c51b"
_NOTIFY = "af9df7a3-e595-11e3-96b4-0002a5d5c51b"
_YEAR_2000 = datetime(2000, 1, 1)  # noqa: DTZ001 the meter's own clock
_OK, _NOT_SUPPORTED = b"\x06", b"\x08"


@dataclass(frozen=True, slots=True)
class OneTouchTest:
    """One test in the memory. `glucose_mg_dl`: 0 without a valid reading."""

    time: datetime
    glucose_mg_dl: int
    is_control_solution: bool = False
    mark: int = 0
    error: int = 0


def onetouch_crc(data: bytes) -> int:
    """CRC-16/CCITT-FALSE, bit by bit."""
    register = 0xFFFF
    for octet in data:
        for place in range(7, -1, -1):
            feedback = (register >> 15) ^ (octet >> place & 1)
            register = register << 1 & 0xFFFF
            if feedback:
                register ^= 0x1021
    return register


def onetouch_frame(payload: bytes) -> bytes:
    """A frame around `payload`."""
    body = struct.pack("<BBBB", 2, len(payload) + 7, 0, 3) + payload + b"\x03"
    return body + struct.pack("<H", onetouch_crc(body))


class VirtualOneTouch(MeasuringPeripheral):
    """A meter of the Verio family.

    Attributes:
        tests: its memory by record number.
        clock: its wall clock, which nobody can set.
        packet_octets: the most that one packet carries, 2..20, its first octet included.
        repeats: every answer is sent twice.
        deaf_for: so many of the next requests stay unanswered.
        unacknowledged: packets that the client has not acknowledged yet.
    """

    manufacturer = "LifeScan"
    model = "OneTouch Verio Flex"

    def __init__(
        self,
        air: VirtualAir,
        address: str,
        name: str,
        serial: str,
        tests: Iterable[OneTouchTest] = (),
        *,
        clock: Callable[[], datetime],
        passkey: int | None = None,
        secure: bool = True,
    ) -> None:
        """Make the meter, powered off; its first test has the number 1."""
        super().__init__(air, address, name, serial, passkey=passkey, secure=secure)
        self.tests = dict(enumerate(tests, start=1))
        self.packet_octets = 20
        self.repeats = False
        self.deaf_for = 0
        self.unacknowledged = 0
        self.clock = DeviceClock(clock)
        self._acknowledged = asyncio.Event()

    @property
    def advertised(self) -> Sequence[int]:
        """Its service has a long number, which does not fit beside its name."""
        return ()

    def services(self) -> list[Service]:
        """Its own."""
        write = Characteristic.Properties.WRITE
        self._answers = self.characteristic(_NOTIFY, Characteristic.Properties.NOTIFY)
        self._requests = self.characteristic(_WRITE, write, write=self._on_write)
        return [Service(UUID(_SERVICE), [self._answers, self._requests])]

    def link_ended(self) -> None:
        """What was asked is forgotten."""
        self.unacknowledged = 0

    def add(self, test: OneTouchTest) -> int:
        """Store a test; its number."""
        number = max(self.tests, default=0) + 1
        self.tests[number] = test
        return number

    def reset_counter(self) -> None:
        """Forget every test and number from 1 again."""
        self.tests.clear()

    @property
    def _remembered(self) -> dict[int, OneTouchTest]:
        return dict(self.faults.remembered(list(self.tests.items())))

    def _on_write(self, _connection: Connection, value: bytes) -> None:
        if len(value) == 1 and value[0] & 0xF0 == 0x80:
            self.unacknowledged -= 1
            self._acknowledged.set()
            return
        if self.is_mute or value[:1] != b"\x01" or value[1:] != onetouch_frame(value[5:-3]):
            return
        if self.deaf_for:
            self.deaf_for -= 1
            return
        self.procedure(self._answer(value[5:-3]), "answer")

    async def _answer(self, request: bytes) -> None:
        await self.send(self._answers, b"\x81")
        frame = onetouch_frame(self._result(request))
        for _ in range(2 if self.repeats else 1):
            if not await self._send_frame(frame, is_record=request[:1] == b"\xb3"):
                return

    def _result(self, request: bytes) -> bytes:
        if request == b"\x20\x02":
            return _OK + struct.pack("<I", int((self.clock.now() - _YEAR_2000).total_seconds()))
        if request == b"\x27\x00":
            return _OK + struct.pack("<H", len(self._remembered))
        if request == b"\x0a\x02\x06":
            return _OK + struct.pack("<I", max(self.tests, default=0))
        test = self._remembered.get(int.from_bytes(request[1:3], "little")) if request[:1] == b"\xb3" else None
        if test is None:
            return _NOT_SUPPORTED
        seconds = int((test.time - _YEAR_2000).total_seconds())
        return _OK + struct.pack("<IHBHH", seconds, test.glucose_mg_dl, test.is_control_solution, test.mark, test.error)

    async def _send_frame(self, frame: bytes, *, is_record: bool) -> bool:
        room = self.packet_octets - 1
        parts = [frame[at : at + room] for at in range(0, len(frame), room)]
        for place, part in enumerate(parts):
            left = len(parts) - place
            packet = bytes((left if place == 0 else 0x40 | left,)) + part
            self._acknowledged.clear()
            self.unacknowledged += 1
            is_last = is_record and left == 1
            sent = await (self.send_measurement(self._answers, packet) if is_last else self.send(self._answers, packet))
            if not sent:
                return False
            await self._acknowledged.wait()
        return True

    def _advertising_data(self) -> bytes:
        return bytes(
            AdvertisingData(
                [(AdvertisingData.FLAGS, b"\x06"), (AdvertisingData.COMPLETE_LOCAL_NAME, self.name.encode())]
            )
        )
