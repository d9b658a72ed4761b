"""The server side of the Record Access Control Point 2A52: selection of records, and the procedure.

Source: Glucose Service 1.0 and CGM Service 1.0, Record Access Control Point.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from bumble.att import ATT_Error
from bumble.device import Connection
from bumble.gatt import Characteristic

from gateway.sandbox.peripherals.base import ATT_CCCD_IMPROPERLY_CONFIGURED, ATT_PROCEDURE_IN_PROGRESS
from gateway.sandbox.peripherals.measuring import MeasuringPeripheral

__all__ = ["Filter", "RecordAccess", "ResponseCode", "parse_filter_time", "parse_filter_u16", "select"]

_T = TypeVar("_T")
_REPORT, _ABORT, _COUNT, _COUNT_RESPONSE, _RESPONSE, _COMBINED, _COMBINED_RESPONSE = 1, 3, 4, 5, 6, 7, 8
_NULL, _ALL, _AT_MOST, _AT_LEAST, _WITHIN, _FIRST, _LAST = range(7)
_RACP = 0x2A52


class ResponseCode(enum.IntEnum):
    """How a procedure ended."""

    SUCCESS = 1
    OP_CODE_NOT_SUPPORTED = 2
    INVALID_OPERATOR = 3
    OPERATOR_NOT_SUPPORTED = 4
    INVALID_OPERAND = 5
    NO_RECORDS_FOUND = 6
    ABORT_UNSUCCESSFUL = 7
    PROCEDURE_NOT_COMPLETED = 8
    OPERAND_NOT_SUPPORTED = 9
    SERVER_BUSY = 10


@dataclass(frozen=True, slots=True)
class Filter(Generic[_T]):
    """A filter type of the operand.

    Attributes:
        size: octets of one limit.
        parse: a limit; None when the octets make no sense.
        key: the same quantity of a record; None: never matches.
    """

    size: int
    parse: Callable[[bytes], int | datetime | None]
    key: Callable[[_T], int | datetime | None]


def parse_filter_u16(octets: bytes) -> int:
    """A sequence number or time offset."""
    return int.from_bytes(octets, "little")


def parse_filter_time(octets: bytes) -> datetime | None:
    """A Date Time of 7 octets, naive."""
    month, day, hour, minute, second = octets[2:]
    try:
        return datetime(int.from_bytes(octets[:2], "little"), month, day, hour, minute, second)  # noqa: DTZ001
    except ValueError:
        return None


def select(command: bytes, records: Sequence[_T], filters: Mapping[int, Filter[_T]]) -> list[_T] | ResponseCode:
    """The records that a report or count command asks for, in the order of `records`; or why there is no answer."""
    if len(command) < 2 or command[1] == _NULL:
        return ResponseCode.INVALID_OPERATOR
    operator, operand = command[1], command[2:]
    if operator in (_ALL, _FIRST, _LAST):
        if operand:
            return ResponseCode.INVALID_OPERAND
        chosen = {_ALL: records, _FIRST: records[:1], _LAST: records[-1:]}[operator]
        return list(chosen)
    if operator not in (_AT_MOST, _AT_LEAST, _WITHIN):
        return ResponseCode.OPERATOR_NOT_SUPPORTED
    if not operand:
        return ResponseCode.INVALID_OPERAND
    if (by := filters.get(operand[0])) is None:
        return ResponseCode.OPERAND_NOT_SUPPORTED
    count = 2 if operator == _WITHIN else 1
    if len(operand) != 1 + count * by.size:
        return ResponseCode.INVALID_OPERAND
    limits = [by.parse(operand[1 + i * by.size : 1 + (i + 1) * by.size]) for i in range(count)]
    low = limits[0] if operator != _AT_MOST else None
    high = limits[-1] if operator != _AT_LEAST else None
    if None in limits or (operator == _WITHIN and _exceeds(low, high)):
        return ResponseCode.INVALID_OPERAND
    return [record for record in records if _lies_within(by.key(record), low, high)]


def _exceeds(left: int | datetime | None, right: int | datetime | None) -> bool:
    if isinstance(left, datetime) and isinstance(right, datetime):
        return left > right
    return isinstance(left, int) and isinstance(right, int) and left > right


def _lies_within(key: int | datetime | None, low: int | datetime | None, high: int | datetime | None) -> bool:
    return key is not None and not _exceeds(low, key) and not _exceeds(key, high)


class RecordAccess(Generic[_T]):
    """The control point of one device.

    Attributes:
        characteristic: 2A52, for the device's service.
        unsupported: op codes that it does not know; the combined report (07) unless taken out.
        busy: how many of the next requests it answers with "server busy".
    """

    def __init__(
        self,
        device: MeasuringPeripheral,
        records: Callable[[], Sequence[_T]],
        filters: Mapping[int, Filter[_T]],
        report: Callable[[Sequence[_T]], Awaitable[None]],
        required: Sequence[Characteristic[bytes]],
    ) -> None:
        """Make it.

        Args:
            device: whose it is.
            records: its memory now, oldest first.
            filters: by filter type.
            report: sends records to the client.
            required: what the client must have subscribed to before it may ask.
        """
        self._device = device
        self._records = records
        self._filters = filters
        self._report = report
        self._required = required
        self._running: asyncio.Task[None] | None = None
        self.unsupported: set[int] = {_COMBINED}
        self.busy = 0
        properties = Characteristic.Properties.WRITE | Characteristic.Properties.INDICATE
        self.characteristic = device.characteristic(_RACP, properties, write=self._written)

    def _written(self, _connection: Connection, command: bytes) -> None:
        for needed in (self.characteristic, *self._required):
            if not self._device.is_subscribed(needed):
                raise ATT_Error(ATT_CCCD_IMPROPERLY_CONFIGURED)
        if self._device.is_mute:
            return
        if self._device.takes_as_busy():
            raise ATT_Error(ATT_PROCEDURE_IN_PROGRESS)
        is_running = self._running is not None and not self._running.done()
        if command[:1] == bytes((_ABORT,)):
            code = ResponseCode.SUCCESS if is_running else ResponseCode.ABORT_UNSUCCESSFUL
            if command[1:] != bytes((_NULL,)):
                code = ResponseCode.INVALID_OPERATOR
            elif self._running is not None:
                self._running.cancel()
            self._device.procedure(self._respond(_ABORT, code), "racp.abort")
            return
        if is_running:
            raise ATT_Error(ATT_PROCEDURE_IN_PROGRESS)
        self._running = self._device.procedure(self._run(command), "racp")

    async def _respond(self, request: int, code: int) -> None:
        if not self._device.is_mute:
            await self._device.send(self.characteristic, bytes((_RESPONSE, _NULL, request, code)))

    async def _run(self, command: bytes) -> None:
        request = command[0] if command else 0
        if request not in (_REPORT, _COUNT, _COMBINED) or request in self.unsupported:
            await self._respond(request, ResponseCode.OP_CODE_NOT_SUPPORTED)
            return
        if self.busy:
            self.busy -= 1
            await self._respond(request, ResponseCode.SERVER_BUSY)
            return
        faults = self._device.faults
        chosen = select(command, faults.remembered(self._records()), self._filters)
        if isinstance(chosen, ResponseCode):
            await self._respond(request, chosen)
        elif request == _COUNT:
            answer = bytes((_COUNT_RESPONSE, _NULL)) + len(chosen).to_bytes(2, "little")
            if not self._device.is_mute:
                await self._device.send(self.characteristic, answer)
        elif request == _COMBINED:
            await self._report(faults.ordered(chosen))
            answer = bytes((_COMBINED_RESPONSE, _NULL)) + len(chosen).to_bytes(2, "little")
            if not self._device.is_mute:
                await self._device.send(self.characteristic, answer)
        elif not chosen:
            await self._respond(request, ResponseCode.NO_RECORDS_FOUND)
        else:
            await self._report_all(faults.ordered(chosen), faults.answer)

    async def _report_all(self, chosen: Sequence[_T], answer: str | int | None) -> None:
        """The records, and the answer where and as the faults want it."""
        if answer == "early":
            await self._report(chosen[:-1])
            await self._respond(_REPORT, ResponseCode.SUCCESS)
            await self._report(chosen[-1:])
        else:
            await self._report(chosen)
            if answer != "never":
                await self._respond(_REPORT, ResponseCode.SUCCESS if answer is None else int(answer))
        await self._device.send_late_contexts()
