"""A virtual blood glucose meter: Glucose 1808, Current Time 1805, Device Information 180A, Battery 180F."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from bumble.core import UUID
from bumble.gatt import Characteristic, Service

from gateway.model import Unit
from gateway.sandbox.frames import encode_date_time, encode_glucose_context, encode_glucose_measurement
from gateway.sandbox.peripherals.clock import DeviceClock
from gateway.sandbox.peripherals.measuring import MeasuringPeripheral
from gateway.sandbox.peripherals.racp import Filter, RecordAccess, parse_filter_time, parse_filter_u16
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records import MeterContext, MeterRecord

__all__ = ["MeterContext", "MeterRecord", "VirtualMeter", "displayed_time"]

_GLUCOSE = 0x1808
_EVERY_STATUS_BIT = 0x03FF
_LAST_SEQUENCE = 0xFFFF
_COMBINED_REPORT = 0x07


def displayed_time(record: MeterRecord) -> datetime | None:
    """The user-facing time of a record: base time plus offset; None when the clock was never set."""
    if record.base_time is None:
        return None
    return record.base_time + timedelta(minutes=record.time_offset_min or 0)


class VirtualMeter(MeasuringPeripheral):
    """A meter with a memory behind its record access control point.

    Attributes:
        records: its memory, oldest first.
        clock: what its display shows, settable through 2A2B, or 2A08 where `has_date_time`.
        capacity: how many tests its memory holds; the oldest gives way. None: all.
        has_date_time: its clock is 2A08 inside the Glucose service, and there is no Current Time service.
        unsupported: op codes that its record access control point does not know.
        busy: how many of its next requests it answers with "server busy".
    """

    model = "VM-1"

    def __init__(
        self,
        air: VirtualAir,
        address: str,
        name: str,
        serial: str,
        records: Iterable[MeterRecord] = (),
        *,
        clock: Callable[[], datetime],
        passkey: int | None = None,
        secure: bool = True,
    ) -> None:
        """Make the meter, powered off; `clock` gives its own local time, naive. Name: at most 22 octets."""
        super().__init__(air, address, name, serial, passkey=passkey, secure=secure)
        self.records = list(records)
        self.clock = DeviceClock(clock)
        self.capacity: int | None = None
        self.has_date_time = False
        self.unsupported: set[int] = {_COMBINED_REPORT}
        self.busy = 0

    @property
    def advertised(self) -> Sequence[int]:
        """The Glucose service."""
        return (_GLUCOSE,)

    @property
    def device_time(self) -> datetime:
        """What the display shows now, naive."""
        return self.clock.now()

    @property
    def next_sequence(self) -> int:
        """Number of the next test made; wraps after 65535."""
        return self.records[-1].sequence + 1 & _LAST_SEQUENCE if self.records else 1

    def services(self) -> list[Service]:
        """Glucose and Current Time."""
        notify, read = Characteristic.Properties.NOTIFY, Characteristic.Properties.READ
        self._measurement = self.characteristic(0x2A18, notify)
        self._context = self.characteristic(0x2A34, notify)
        feature = self.characteristic(0x2A51, read, _EVERY_STATUS_BIT.to_bytes(2, "little"))
        access = RecordAccess(
            self,
            lambda: self.records,
            {
                1: Filter(2, parse_filter_u16, lambda record: record.sequence),
                2: Filter(7, parse_filter_time, displayed_time),
            },
            self._report,
            (self._measurement, self._context),
        )
        access.unsupported = self.unsupported
        access.busy, self.busy = self.busy, 0
        glucose = [self._measurement, self._context, feature, access.characteristic]
        if not self.has_date_time:
            return [Service(UUID.from_16_bits(_GLUCOSE), glucose), self.current_time(self.clock)]
        date_time = self.characteristic(
            0x2A08,
            read | Characteristic.Properties.WRITE,
            read=lambda _connection: encode_date_time(self.clock.now()),
            write=lambda _connection, value: self.clock.set_by_date_time(value),
        )
        return [Service(UUID.from_16_bits(_GLUCOSE), [*glucose, date_time])]

    def link_ended(self) -> None:
        """Nothing to forget: a meter's state is its memory."""

    async def _report(self, records: Sequence[MeterRecord]) -> None:
        for record in records:
            stored = self.as_stored(record, record.sequence, "glucose")
            if not await self.send_measurement(self._measurement, encode_glucose_measurement(stored)):
                return
            if record.context is not None:
                await self.send_context(self._context, encode_glucose_context(record.sequence, record.context))

    async def add_record(self, record: MeterRecord) -> None:
        """Store a test and wake up."""
        self.records.append(record)
        if self.capacity is not None:
            del self.records[: -self.capacity]
        await self.wake()

    async def measure(
        self, glucose: Decimal, unit: Unit = Unit.MG_DL, *, context: MeterContext | None = None
    ) -> MeterRecord:
        """Store a test made now, by the meter's clock and with its next sequence number, and wake up."""
        shift_min = round(self.clock.shift / timedelta(minutes=1))
        record = MeterRecord(
            sequence=self.next_sequence,
            base_time=self.clock.base_time.replace(microsecond=0),
            glucose=glucose,
            unit=unit,
            time_offset_min=shift_min or None,
            context=context,
        )
        await self.add_record(record)
        return record

    def reset_counter(self) -> None:
        """Empty the memory and number from 1 again, as after a repair."""
        self.records.clear()
