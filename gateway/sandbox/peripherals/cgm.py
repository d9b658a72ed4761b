"""A virtual continuous glucose sensor: CGM 181F, Device Information 180A, Battery 180F."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal

from bumble.att import ATT_Error
from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, Service

from gateway.sandbox.frames import (
    encode_cgm_feature,
    encode_cgm_measurement,
    encode_cgm_status,
    encode_session_run_time,
    encode_session_start,
    mcrf4xx,
)
from gateway.sandbox.frames_device import (
    encode_alert_level,
    encode_calibration,
    encode_interval,
    encode_ops_response,
)
from gateway.sandbox.peripherals.base import ATT_CCCD_IMPROPERLY_CONFIGURED, ATT_INVALID_LENGTH
from gateway.sandbox.peripherals.measuring import MeasuringPeripheral
from gateway.sandbox.peripherals.racp import Filter, RecordAccess, parse_filter_time, parse_filter_u16
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records import CgmSample

__all__ = ["CgmSample", "VirtualCgm"]

_CGM = 0x181F
_CRC_BIT = 0x001000
_FEATURES = 0x018340
"""Malfunction detection, high-low detection, low battery, trend, quality."""
_TIME_SYNCHRONISATION_REQUIRED = 0x01
_MISSING_CRC, _INVALID_CRC = 0x80, 0x81
_SUCCESS, _OP_NOT_SUPPORTED, _OUT_OF_RANGE = 0x01, 0x02, 0x05
_SET_INTERVAL, _GET_INTERVAL, _GET_CALIBRATION, _NEWEST = 0x01, 0x02, 0x05, 0xFFFF
_LONGEST_INTERVAL_MIN = 60
_ALERTS = {
    0x08: Decimal(250),
    0x0B: Decimal(70),
    0x0E: Decimal(54),
    0x11: Decimal(300),
    0x14: Decimal("2.0"),
    0x17: Decimal("2.0"),
}
"""Levels by the op code that asks for them; the answer has the next op code."""
_DST = {0: 0, 2: 30, 4: 60, 8: 120}


class VirtualCgm(MeasuringPeripheral):
    """A sensor that keeps its session and sends what is new to whoever subscribes.

    Attributes:
        samples: its memory, oldest first.
        session_start: aware, UTC; None: its clock was never set (2AAA reads as zeros).
        zone: local time of 2AAA.
        calibrations: values it was calibrated with, oldest first, mg/dL.
        interval_min: how often it notifies, settable through 2AAC within 1..60.
        is_stopped: its session is over (status bit 0 of 2AA9).
    """

    model = "VC-1"

    def __init__(
        self,
        air: VirtualAir,
        address: str,
        name: str,
        serial: str,
        samples: Iterable[CgmSample] = (),
        *,
        session_start: datetime | None,
        zone: tzinfo,
        interval_min: int = 5,
        run_time_h: int = 336,
        crc: bool = True,
        passkey: int | None = None,
        secure: bool = True,
    ) -> None:
        """Make the sensor, powered off. Name: at most 22 octets."""
        super().__init__(air, address, name, serial, passkey=passkey, secure=secure)
        self.samples = list(samples)
        self.session_start = session_start
        self.zone = zone
        self.calibrations: list[Decimal] = []
        self.interval_min = interval_min
        self.is_stopped = False
        self._run_time_h = run_time_h
        self._crc = crc

    @property
    def advertised(self) -> Sequence[int]:
        """The CGM service."""
        return (_CGM,)

    @property
    def now_min(self) -> int:
        """Minutes since the session start, as far as the sensor has measured."""
        return self.samples[-1].offset_min if self.samples else 0

    def services(self) -> list[Service]:
        """The CGM service."""
        notify, read = Characteristic.Properties.NOTIFY, Characteristic.Properties.READ
        write, indicate = Characteristic.Properties.WRITE, Characteristic.Properties.INDICATE
        features = _FEATURES | (_CRC_BIT if self._crc else 0)
        self._measurement = self.characteristic(0x2AA7, notify)
        self._ops = self.characteristic(0x2AAC, write | indicate, write=self._on_ops)
        access = RecordAccess(
            self,
            lambda: self.samples,
            {1: Filter(2, parse_filter_u16, lambda sample: sample.offset_min)},
            self._report,
            (self._measurement,),
        )
        characteristics = [
            self._measurement,
            self.characteristic(0x2AA8, read, encode_cgm_feature(features)),
            self.characteristic(0x2AA9, read, read=self._read_status),
            self.characteristic(0x2AAA, read | write, read=self._read_start, write=self._write_start),
            self.characteristic(0x2AAB, read, encode_session_run_time(self._run_time_h, crc=self._crc)),
            access.characteristic,
            self._ops,
        ]
        return [Service(UUID.from_16_bits(_CGM), characteristics)]

    def link_ended(self) -> None:
        """Nothing to forget."""

    def damaged(self, frame: bytes) -> bytes:
        """`frame` with one bit of its first glucose value flipped, which only the CRC betrays."""
        return frame[:2] + bytes((frame[2] ^ 0x01,)) + frame[3:]

    def _read_status(self, _connection: Connection) -> bytes:
        calibration = _TIME_SYNCHRONISATION_REQUIRED if self.session_start is None else 0
        status = 1 if self.is_stopped else 0
        return encode_cgm_status(self.now_min, status, calibration_temperature=calibration, crc=self._crc)

    def _read_start(self, _connection: Connection) -> bytes:
        local = None if self.session_start is None else self.session_start.astimezone(self.zone)
        return encode_session_start(local, crc=self._crc)

    def _checked(self, value: bytes) -> bytes:
        """A written value without its CRC."""
        if not self._crc:
            return value
        if len(value) < 3:
            raise ATT_Error(_MISSING_CRC)
        body, crc = value[:-2], int.from_bytes(value[-2:], "little")
        if mcrf4xx(body) != crc:
            raise ATT_Error(_INVALID_CRC)
        return body

    def _write_start(self, _connection: Connection, value: bytes) -> None:
        """The client says what time it is now; the sensor works out when the session began."""
        if self._crc and len(value) == 9:
            raise ATT_Error(_MISSING_CRC)
        body = self._checked(value)
        if len(body) != 9 or (wall := parse_filter_time(body[:7])) is None:
            raise ATT_Error(ATT_INVALID_LENGTH)
        quarters = int.from_bytes(body[7:8], "little", signed=True)
        east = timedelta(minutes=15 * quarters + _DST.get(body[8], 0))
        self.session_start = (wall - east).replace(tzinfo=UTC) - timedelta(minutes=self.now_min)

    def _on_ops(self, _connection: Connection, value: bytes) -> None:
        if not self.is_subscribed(self._ops):
            raise ATT_Error(ATT_CCCD_IMPROPERLY_CONFIGURED)
        answer = self._ops_answer(self._checked(value))
        if not self.is_mute:
            self.procedure(self._answer(answer), "socp")

    def _ops_answer(self, body: bytes) -> bytes:
        request = body[0] if body else 0
        if request == _GET_INTERVAL:
            return encode_interval(self.interval_min, crc=self._crc)
        if request == _SET_INTERVAL and len(body) == 2:
            is_good = 1 <= body[1] <= _LONGEST_INTERVAL_MIN
            self.interval_min = body[1] if is_good else self.interval_min
            return encode_ops_response(request, _SUCCESS if is_good else _OUT_OF_RANGE, crc=self._crc)
        if request == _GET_CALIBRATION and len(body) == 3:
            number = int.from_bytes(body[1:], "little")
            number = len(self.calibrations) - 1 if number == _NEWEST else number
            if not 0 <= number < len(self.calibrations):
                return encode_ops_response(request, _OUT_OF_RANGE, crc=self._crc)
            return encode_calibration(number, self.calibrations[number], 60 * (number + 1), crc=self._crc)
        if request in _ALERTS:
            return encode_alert_level(request, _ALERTS[request], crc=self._crc)
        return encode_ops_response(request, _OP_NOT_SUPPORTED, crc=self._crc)

    async def _answer(self, answer: bytes) -> None:
        await self.send(self._ops, answer)

    async def _report(self, samples: Sequence[CgmSample]) -> None:
        """As many records in each notification as the link carries."""
        room, packed = self.payload_octets, b""
        for sample in samples:
            stored = self.as_stored(sample, sample.offset_min, "glucose_mg_dl")
            record = encode_cgm_measurement(stored, crc=self._crc)
            if packed and len(packed) + len(record) > room:
                if not await self.send_measurement(self._measurement, packed):
                    return
                packed = b""
            packed += record
        if packed:
            await self.send_measurement(self._measurement, packed)

    async def add_sample(self, sample: CgmSample) -> None:
        """Store a record; a subscriber gets it at once, else the sensor wakes up."""
        self.samples.append(sample)
        if self.is_connected and self.is_subscribed(self._measurement):
            stored = self.as_stored(sample, sample.offset_min, "glucose_mg_dl")
            frame = encode_cgm_measurement(stored, crc=self._crc)
            if await self.send_measurement(self._measurement, frame):
                return
        await self.wake()

    def reset_clock(self, _says: datetime) -> None:
        """A sensor that has lost its time asks for it."""
        self.session_start = None

    def reset_counter(self) -> None:
        """Empty the memory."""
        self.samples.clear()

    async def new_session(self, session_start: datetime | None) -> None:
        """Empty the memory and begin again, as a new sensor on the same transmitter does; drops the link."""
        self.samples.clear()
        self.is_stopped = False
        self.session_start = session_start
        await self.drop_link()
        await self.wake()
