"""The virtual adapter's bonds, made as a person makes them: each question goes to whoever sits at the screen."""

from __future__ import annotations

import asyncio
from typing import Final

from bumble.core import BaseBumbleError, ProtocolError
from bumble.device import Connection
from bumble.hci import Address, HCI_Error
from bumble.pairing import PairingDelegate
from bumble.smp import ErrorCode

from gateway.errors import PairingFailed
from gateway.model import PairingFailure
from gateway.ports import PairingQuestions
from gateway.sandbox._central import Central

__all__ = ["VirtualBonds"]

_WRONG_DIGITS: Final = frozenset({ErrorCode.CONFIRM_VALUE_FAILED, ErrorCode.DHKEY_CHECK_FAILED})


class _Person(PairingDelegate):
    """A screen with a keyboard, and `questions` for who sits there."""

    def __init__(self, questions: PairingQuestions) -> None:
        super().__init__(PairingDelegate.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT)
        self._questions = questions

    async def confirm(self, auto: bool = False) -> bool:
        return self._questions.allows_unproven()

    async def compare_numbers(self, number: int, digits: int) -> bool:
        try:
            return await self._questions.is_same(number)
        except PairingFailed:
            return False

    async def get_number(self) -> int | None:
        try:
            return await self._questions.passkey() or None  # bumble cannot work with 000000; no device shows it
        except PairingFailed:
            return None

    async def display_number(self, number: int, digits: int) -> None:
        self._questions.show(number)


class VirtualBonds:
    """Implements `gateway.ports.Bonds` on a virtual adapter."""

    def __init__(self, central: Central) -> None:
        self._central = central

    async def run(self) -> None:
        """Nothing needs to run."""
        await asyncio.Event().wait()

    async def bond(self, address: str, questions: PairingQuestions) -> None:
        """See `Bonds.bond`."""
        await self._central.forget(address)
        self._central.askers[address] = _Person(questions)
        is_done = False
        try:
            connection = await self._central.connect(Address(address, Address.RANDOM_DEVICE_ADDRESS))
            questions.connected()
            try:
                await self._pair(connection)
                is_done = True
            finally:
                await _hang_up(connection)
        finally:
            del self._central.askers[address]
            if not is_done:
                await self._central.forget(address)

    async def _pair(self, connection: Connection) -> None:
        try:
            await connection.cancel_on_disconnection(connection.pair())
        except ProtocolError as error:
            is_wrong = error.error_code in _WRONG_DIGITS
            raise PairingFailed(PairingFailure.WRONG_PASSKEY if is_wrong else PairingFailure.REFUSED) from error
        except (BaseBumbleError, HCI_Error) as error:
            raise PairingFailed(PairingFailure.UNREACHABLE) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise PairingFailed(PairingFailure.UNREACHABLE) from error

    async def unbond(self, address: str) -> bool:
        """See `Bonds.unbond`."""
        had_keys = address.upper() in await self._central.bonded()
        await self._central.forget(address)
        return had_keys

    async def bonded(self) -> frozenset[str]:
        """See `Bonds.bonded`."""
        return await self._central.bonded()


async def _hang_up(connection: Connection) -> None:
    try:
        await connection.disconnect()
    except (BaseBumbleError, HCI_Error):
        return  # the other end was quicker
