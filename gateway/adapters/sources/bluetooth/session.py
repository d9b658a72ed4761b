"""Carries out a procedure over one connection.

The callbacks of the radio only put octets into a bounded box and never raise. Everything else happens in the task that
owns the connection: requests in their order, each under a time limit; records durable before the next request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import structlog
from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.exc import BleakCharacteristicNotFoundError, BleakDBusError, BleakError, BleakGATTProtocolError

from gateway.adapters.sources.bluetooth.material import Material
from gateway.adapters.sources.bluetooth.radio.turns import Turn, Turns
from gateway.devices.advert import short_uuid
from gateway.devices.procedures import (
    ATT_NOT_FOUND,
    Close,
    Keep,
    Mark,
    Outcome,
    Patience,
    Procedure,
    Read,
    Request,
    Subscribe,
    Write,
    merged,
)
from gateway.errors import StoreUnavailable
from gateway.model import Batch
from gateway.ports import Clock, Intake
from gateway.settings import BluetoothSettings

__all__ = ["MADE_ROOM", "RADIO_ERRORS", "LinkSession", "Mailbox", "heed_cancellation"]

RADIO_ERRORS: Final = (BleakError, OSError, EOFError, TimeoutError)
"""What bleak lets through when the radio, the bus to it or the link fails."""

MADE_ROOM: Final = "made_room"
"""Detail of a contact that ended because another device waited for its slot."""

_UNLIKELY: Final = 0x0E
"""Also what BlueZ answers to a request whose link has ended; that it has ended is said a moment later."""
_NEWS_S: Final = 1.0
_REMEMBERED: Final = "2a19"
"""The battery level, which BlueZ answers from memory, without the device."""
_INSUFFICIENT_AUTHENTICATION: Final = 0x05
_WANTS_BOND: Final = frozenset({_INSUFFICIENT_AUTHENTICATION, 0x0C, 0x0F})
_SUBSCRIBABLE: Final = frozenset({"notify", "indicate"})
_BOX_SIZE: Final = 8192
_AT_ONCE: Final = 256
_FIRST_PAUSE_S: Final = 0.5
_SHORT_S: Final = 2.0
_LATECOMER_S: Final = 5.0
_LONG_S: Final = 3600.0
_ENDLESS_S: Final = 1800.0
"""No memory takes that long to read: a device that still talks then repeats itself, and holds a slot."""
_FOLLOWING: Final = frozenset({Patience.LONG, Patience.STREAM})
T = TypeVar("T")
log = structlog.get_logger()


def heed_cancellation() -> None:
    """Raise the CancelledError that something below bleak has lost (`asyncio.wait_for` of Python 3.11 can)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _att_code(error: BleakGATTProtocolError | BleakDBusError) -> int | None:
    """What the device refused with; None: it is the platform that failed.

    BlueZ says "Not paired" for 0x05, 0x0C and 0x0F, and bleak lets that through.
    Source: BlueZ `src/gatt-client.c`, create_gatt_dbus_error.
    """
    if isinstance(error, BleakGATTProtocolError):
        return int(error.code)
    is_unpaired = error.dbus_error == "org.bluez.Error.NotPermitted" and "not paired" in str(error).lower()
    return _INSUFFICIENT_AUTHENTICATION if is_unpaired else None


def _nobody(_fact: Mark) -> None:
    """Facts are kept; nobody has to be told."""


class _LinkEnded(Exception):
    """The link is gone or cannot be used any more."""


class _RoomWanted(Exception):
    """The device has told everything, and another waits for its slot."""


class _Endless(Exception):
    """The device talks and talks."""


class _PairingNeeded(Exception):
    """The device refuses us without a bond, and a bond could not be made."""


class Mailbox:
    """Notifications waiting for the task of the connection; bounded, and never raises.

    Attributes:
        received: how many notifications have come.
        is_lost: the link is gone.
        is_given_up: it was not the device that ended it: somebody needs the device, or the radio has gone.
        has_overflowed: something was dropped, and so is everything after it, lest a procedure step over the hole: the
            contact must end, the device still has its records.
    """

    def __init__(self, size: int = _BOX_SIZE) -> None:
        self._size = size
        self._messages: deque[tuple[str, bytes]] = deque()
        self._stirred = asyncio.Event()
        self._lost = asyncio.Event()
        self._is_closed = False
        self.received = 0
        self.is_lost = False
        self.is_given_up = False
        self.has_overflowed = False

    def put(self, char: str, data: bytes) -> None:
        """From the notification callback."""
        if self._is_closed:
            return
        self.received += 1
        self.has_overflowed = self.has_overflowed or len(self._messages) >= self._size
        if not self.has_overflowed:
            self._messages.append((char, data))
        self._stirred.set()

    def stir(self) -> None:
        """Wake whoever waits, without a message."""
        self._stirred.set()

    def lose(self) -> None:
        """From the disconnection callback."""
        self.is_lost = True
        self._lost.set()
        self._stirred.set()

    async def is_lost_within(self, timeout_s: float) -> bool:
        """Whether the link is gone, or goes within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._lost.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Take in nothing more; what is there can still be taken out."""
        self._is_closed = True

    def give_up(self) -> None:
        """End the link from our side."""
        self.is_given_up = self.is_given_up or not self.is_lost
        self.lose()

    async def take(self, timeout_s: float | None) -> list[tuple[str, bytes]]:
        """What has come, in order, a few hundred at most; empty after `timeout_s` of silence or at the end of the link.

        After the link is lost, what came before is still given out.
        """
        if not self._messages and not self.is_lost:
            self._stirred.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._stirred.wait()
            except TimeoutError:
                return []
        return [self._messages.popleft() for _ in range(min(_AT_ONCE, len(self._messages)))]


class LinkSession:
    """One connection.

    Args:
        client: connected.
        mailbox: where its notifications go.
        services: where characteristics are looked for first.
        material: what records become.
        intake, clock, settings: as everywhere.
        on_fact: called with each fact once it is durable.

    Attributes:
        records_kept: how many records have been made durable.
        was_answered: whether the device has answered any request.
    """

    def __init__(
        self,
        client: BleakClient,
        mailbox: Mailbox,
        *,
        services: Sequence[str],
        material: Material,
        intake: Intake,
        clock: Clock,
        settings: BluetoothSettings,
        turn: Turn,
        turns: Turns,
        on_fact: Callable[[Mark], None] = _nobody,
    ) -> None:
        self._client = client
        self._mailbox = mailbox
        self._services = tuple(services)
        self._material = material
        self._intake = intake
        self._clock = clock
        self._settings = settings
        self._turn = turn
        self._turns = turns
        turn.on_leave, turn.on_lost = mailbox.stir, mailbox.give_up
        self._on_fact = on_fact
        self._has_paired = False
        self.records_kept = 0
        self.was_answered = False

    async def run(self, procedure: Procedure) -> Close:
        """Carry `procedure` out to its end, or to the end of the link; how it ended."""
        closed = await self._carry_out(procedure)
        if (rest := self._material.rest()) != Batch():
            await self._submit(rest, is_told_once=True)
            self.records_kept += 1
        return closed

    async def keep_late(self, procedure: Procedure) -> None:
        """After the link was given back: what the device still said meanwhile, as far as it says it once only.

        Args:
            procedure: of the device's kind, not begun; it only makes records of what has come.
        """
        requests: list[Request] = []
        while messages := await self._mailbox.take(0):
            requests += [request for message in messages for request in procedure.on_notify(*message)]
        for request in merged([*requests, *procedure.on_link_lost()] if requests else []):
            if isinstance(request, Keep) and request.is_told_once:
                await self._keep(request)

    async def _carry_out(self, procedure: Procedure) -> Close:
        try:
            return await self._converse(procedure)
        except StoreUnavailable:
            return Close(Outcome.NOT_KEPT, "the store is unavailable")
        except _RoomWanted:
            closed = await self._salvage(procedure)
            return closed or Close(Outcome.COMPLETE, MADE_ROOM)
        except _PairingNeeded:
            await self._salvage(procedure)
            return Close(Outcome.NEEDS_PAIRING)
        except _Endless:
            closed = await self._salvage(procedure)
            return closed or Close(Outcome.RETRY_LATER, "it comes to no end")
        except _LinkEnded as end:
            closed = await self._salvage(procedure)
            return closed or Close(Outcome.LINK_LOST, str(end))

    async def pair(self) -> bool:
        """Make sure of a bond; False when the device or the person did not agree."""
        try:
            await self._pair()
        except _PairingNeeded:
            return False
        return True

    async def _converse(self, procedure: Procedure) -> Close:
        todo = deque(procedure.start())
        asked_s = self._clock.monotonic()
        while True:
            while todo:
                heed_cancellation()
                request = todo.popleft()
                if isinstance(request, Close):
                    return request
                todo.extend(await self._perform(procedure, request))
            if procedure.is_done:
                return Close(Outcome.COMPLETE)
            if self._mailbox.has_overflowed:
                raise _LinkEnded("more came than could be kept")
            heed_cancellation()
            is_following = procedure.patience in _FOLLOWING
            if is_following:
                asked_s = self._clock.monotonic()
                self._turns.follows(self._turn)
                if self._turn.is_leaving:
                    raise _RoomWanted
            elif self._clock.monotonic() - asked_s > _ENDLESS_S:
                raise _Endless
            messages = await self._mailbox.take(self._patience_s(procedure))
            if messages:
                self._turns.on_alive()
                todo.extend(merged([r for message in messages for r in procedure.on_notify(*message)]))
            elif self._mailbox.is_lost:
                raise _LinkEnded("the device hung up")
            elif not self._client.is_connected:
                raise _LinkEnded("the link has died unnoticed")
            elif is_following and self._turn.is_leaving:
                raise _RoomWanted
            else:
                todo.extend(procedure.on_silence())

    async def _salvage(self, procedure: Procedure) -> Close | None:
        """After the link, or at its end: what had arrived, and what the procedure still wants kept."""
        self._mailbox.close()
        try:
            while messages := await self._mailbox.take(0):
                requests = merged([r for message in messages for r in procedure.on_notify(*message)])
                if (closed := await self._keep_all(procedure, requests)) is not None:
                    return closed
            return await self._keep_all(procedure, procedure.on_link_lost())
        except StoreUnavailable:
            return Close(Outcome.NOT_KEPT, "the store is unavailable")

    async def _keep_all(self, procedure: Procedure, requests: list[Request]) -> Close | None:
        todo = deque(requests)
        while todo:
            request = todo.popleft()
            if isinstance(request, Close):
                return request
            if isinstance(request, Keep):
                await self._keep(request)
                todo.extend(procedure.on_kept())
        return None

    async def _perform(self, procedure: Procedure, request: Read | Write | Subscribe | Keep) -> list[Request]:
        match request:
            case Keep():
                await self._keep(request)
                return procedure.on_kept()
            case Read(char):
                answer = await self._attempt(lambda: self._read(char))
                return (
                    procedure.on_refused(char, answer) if isinstance(answer, int) else procedure.on_read(char, answer)
                )
            case Write(char, data):
                refusal = await self._attempt(lambda: self._write(char, data))
            case Subscribe(char):
                refusal = await self._attempt(lambda: self._subscribe(char))
        return [] if refusal is None else procedure.on_refused(char, refusal)

    async def _keep(self, keep: Keep) -> None:
        """Make it durable. While the store is unavailable: give up, unless the device will not say it again."""
        batch = self._material.batch(keep, self._clock.now(), clock_is_trusted=self._clock.is_trusted)
        if batch != Batch():  # empty: a sample of a stream that ends no interval
            await self._submit(batch, is_told_once=keep.is_told_once)
            self.records_kept += len(keep.records)
            for fact in keep.facts:
                self._on_fact(fact)

    async def _submit(self, batch: Batch, *, is_told_once: bool) -> None:
        pause_s = min(_FIRST_PAUSE_S, self._settings.retry_s)
        while True:
            try:
                await self._intake.submit(batch)
            except StoreUnavailable:
                if not is_told_once:
                    raise
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, self._settings.retry_s)
            else:
                return

    # --- the radio ----------------------------------------------------------------------------------------------

    async def _attempt(self, operation: Callable[[], Awaitable[T]]) -> T | int:
        """The operation's result, or the ATT error code of its refusal; pairs and repeats it once where that helps."""
        for is_last in (False, True):
            try:
                async with asyncio.timeout(self._settings.procedure_timeout_s):
                    return await operation()
            except BleakCharacteristicNotFoundError:
                return ATT_NOT_FOUND
            except (BleakGATTProtocolError, BleakDBusError) as error:
                if (code := _att_code(error)) is None:
                    raise _LinkEnded(type(error).__name__) from error
                if code == _UNLIKELY and await self._mailbox.is_lost_within(_NEWS_S):
                    raise _LinkEnded("in the middle of a request") from error
                self.was_answered = self.was_answered or code != _UNLIKELY
                if code not in _WANTS_BOND:
                    return code
                if is_last or self._has_paired:
                    raise _PairingNeeded from error
            except RADIO_ERRORS as error:
                raise _LinkEnded(type(error).__name__) from error
            await self._pair()
        raise _PairingNeeded

    async def _pair(self) -> None:
        try:
            async with asyncio.timeout(self._settings.procedure_timeout_s):
                await self._client.pair()
        except RADIO_ERRORS as error:
            raise _PairingNeeded from error
        self._has_paired = True

    async def _read(self, char: str) -> bytes:
        answer = bytes(await self._client.read_gatt_char(self._find(char)))
        self.was_answered = self.was_answered or char != _REMEMBERED
        return answer

    async def _write(self, char: str, data: bytes) -> None:
        await self._client.write_gatt_char(self._find(char), data, response=True)
        self.was_answered = True

    async def _subscribe(self, char: str) -> None:
        def notified(_: BleakGATTCharacteristic, data: bytearray) -> None:
            self._mailbox.put(char, bytes(data))

        characteristic = self._find(char)
        if not _SUBSCRIBABLE & set(characteristic.properties):  # BlueZ's error for that would look like a lost link
            raise BleakCharacteristicNotFoundError(char)
        # StartNotify keeps the order across characteristics; AcquireNotify gives each its own socket and does not
        await self._client.start_notify(characteristic, notified, bluez={"use_start_notify": True})
        self.was_answered = True

    def _find(self, char: str) -> BleakGATTCharacteristic:
        """The characteristic, looked for in the driver's own services first: several services may have one of it."""
        found = [
            (service_uuid, characteristic)
            for service in self._client.services
            for service_uuid in (short_uuid(service.uuid),)
            for characteristic in service.characteristics
            if short_uuid(characteristic.uuid) == char
        ]
        if not found:
            raise BleakCharacteristicNotFoundError(char)
        rank = {uuid: place for place, uuid in enumerate(self._services)}
        return min(found, key=lambda entry: rank.get(entry[0], len(rank)))[1]

    def _patience_s(self, procedure: Procedure) -> float:
        match procedure.patience:
            case Patience.ANSWER | Patience.STREAM:
                return self._settings.procedure_timeout_s
            case Patience.QUIET:
                return self._settings.quiet_s
            case Patience.SHORT:
                return _SHORT_S
            case Patience.LATECOMER:
                return _LATECOMER_S
            case Patience.LONG:
                return _LONG_S
