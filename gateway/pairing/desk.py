"""The desk where a person pairs a device: one attempt at a time, its state as a value, its questions answered here.

The page and the command use it alike; a radio's `Bonds` does the work and asks through `PairingQuestions`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import structlog

from gateway.devices.drivers import Driver
from gateway.devices.quirks import Bonding
from gateway.errors import GatewayError, PairingFailed
from gateway.model import DeviceId, Neighbour, PairingAttempt, PairingFailure, PairingState
from gateway.pairing.lockout import Lockout
from gateway.ports import Bonds, Clock, Radios

__all__ = ["PairingDesk", "PairingRefused"]

_LOOK_S: Final = 90.0
_ANSWER_S: Final = 30.0
_WORK_S: Final = 45.0
_FRESH_S: Final = 15.0
_GLANCE_S: Final = 0.25
_MOST: Final = 999_999
_PROVEN_ONLY: Final = frozenset({Bonding.PASSKEY, Bonding.NUMERIC_COMPARISON})
log = structlog.get_logger()


class PairingRefused(GatewayError):
    """What was asked of the desk cannot be done now.

    Attributes:
        reason: `busy`, `locked`, `unreadable`, `over` or `digits`.
        wait_s: for `locked`: seconds until it can.
    """

    def __init__(self, reason: str, *, wait_s: float = 0.0) -> None:
        super().__init__(f"pairing refused: {reason}")
        self.reason = reason
        self.wait_s = wait_s


class PairingDesk:
    """One radio's desk. `run` must be running for an attempt to move.

    Args:
        bonds: the radio's keys.
        radios: who is in range; the device is left to us while it is paired.
        drivers: what can be read, and which link each family must have.
        just_works: `by_family`: a link without proof is taken where the family has nothing better; `never`: nowhere.
        look_s, answer_s, work_s: how long a device is waited for, a person, and the radio between two questions.
        on_change: called at every change of the attempt.
    """

    def __init__(
        self,
        bonds: Bonds,
        radios: Radios,
        clock: Clock,
        *,
        drivers: Sequence[Driver],
        just_works: Literal["by_family", "never"] = "by_family",
        look_s: float = _LOOK_S,
        answer_s: float = _ANSWER_S,
        work_s: float = _WORK_S,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._bonds = bonds
        self._radios = radios
        self._clock = clock
        self._drivers = {driver.name: driver for driver in drivers}
        self._just_works = just_works
        self._look_s, self._answer_s, self._work_s = look_s, answer_s, work_s
        self._on_change = on_change
        self._lockout = Lockout(clock)
        self._attempt: PairingAttempt | None = None
        self._answer: asyncio.Future[int | bool] | None = None
        self._changed = asyncio.Event()
        self._begun = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._at_work: str | None = None

    @property
    def attempt(self) -> PairingAttempt | None:
        """The attempt that runs, or the last one; None: there was none since the start."""
        return self._attempt

    async def changed(self) -> None:
        """Return at the next change of the attempt."""
        await self._changed.wait()

    def wait_s(self, address: str) -> float:
        """Seconds for which this device cannot be tried after wrong passkeys; 0: it can."""
        return self._lockout.wait_s(address.upper())

    # --- what a person does -------------------------------------------------------------------------------------

    def begin(self, address: str) -> PairingAttempt:
        """Pair the device at `address`; an older bond is replaced once the device is there.

        Raises:
            PairingRefused: `busy`: another attempt runs; `locked`: too many wrong passkeys; `unreadable`: it is heard,
                and no driver can read it.
        """
        address = address.upper()
        if self._attempt is not None and not self._attempt.state.is_over:
            raise PairingRefused("busy")
        if (wait_s := self._lockout.wait_s(address)) > 0:
            raise PairingRefused("locked", wait_s=wait_s)
        near = self._neighbour(address)
        if near is not None and near.driver is None and near.device_id is None:
            raise PairingRefused("unreadable")
        attempt = PairingAttempt(
            attempt_id=secrets.token_hex(8),
            address=address,
            name=near.name if near else None,
            driver=near.driver if near else None,
            kind=near.kind if near else None,
            device_id=near.device_id if near else None,
            state=PairingState.LOOKING,
            since=self._clock.now(),
        )
        self._set(attempt)
        self._begun.set()
        return attempt

    def enter_passkey(self, attempt_id: str, digits: str) -> None:
        """The six digits that the device shows. Raises PairingRefused: `digits`: not six digits; `over`."""
        text = digits.replace(" ", "")
        if not (text.isascii() and text.isdigit() and len(text) == 6):
            self._expect(attempt_id, PairingState.WANTS_PASSKEY)
            raise PairingRefused("digits")
        self._expect(attempt_id, PairingState.WANTS_PASSKEY).set_result(int(text))

    def compare(self, attempt_id: str, *, is_same: bool) -> None:
        """Whether both sides show the same digits. Raises PairingRefused: `over`."""
        self._expect(attempt_id, PairingState.WANTS_COMPARISON).set_result(is_same)

    def cancel(self, attempt_id: str) -> None:
        """Give up. Raises PairingRefused: `over`: that attempt does not run any more."""
        attempt = self._attempt
        if attempt is None or attempt.attempt_id != attempt_id or attempt.state.is_over:
            raise PairingRefused("over")
        self._finish(PairingState.CANCELLED)
        if self._work is not None and self._at_work == attempt_id:
            self._work.cancel()

    def enrolled(self, device_id: DeviceId) -> None:
        """The device of the last attempt is one of ours now."""
        self._update(device_id=device_id)

    def _expect(self, attempt_id: str, state: PairingState) -> asyncio.Future[int | bool]:
        attempt, answer = self._attempt, self._answer
        is_current = attempt is not None and attempt.attempt_id == attempt_id and attempt.state is state
        if not is_current or answer is None or answer.done():
            raise PairingRefused("over")
        return answer

    # --- the work -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Carry out what people begin, for ever."""
        try:
            while True:
                await self._begun.wait()
                self._begun.clear()
                self._work = asyncio.create_task(self._carry_out(), name="pairing.attempt")
                await asyncio.wait({self._work})
                if not self._work.cancelled():
                    self._work.result()
        finally:
            if self._work is not None and not self._work.done():
                self._work.cancel()
                await asyncio.wait({self._work})
            if self._attempt is not None and not self._attempt.state.is_over:
                self._finish(PairingState.FAILED, PairingFailure.INTERRUPTED)

    async def _carry_out(self) -> None:
        begun = self._attempt
        if begun is None or begun.state.is_over:
            return
        self._at_work = begun.attempt_id
        questions = _Questions(self)
        try:
            near = await self._look()
            self._update(name=near.name, driver=near.driver, kind=near.kind, device_id=near.device_id)
            if not self._makes_bonds():
                self._finish(PairingState.PAIRED, is_authenticated=False, is_bonded=False)
                return
            self.enter(PairingState.CONNECTING)
            async with self._radios.hold(begun.address):
                await self._bond(begun.address, questions)
        except PairingFailed as failed:
            self._fail(PairingFailure(failed.reason), questions)

    async def _look(self) -> Neighbour:
        address = self._current.address
        try:
            async with asyncio.timeout(self._look_s):
                while True:
                    near = self._neighbour(address)
                    if near is not None and abs((self._clock.now() - near.last_heard_at).total_seconds()) < _FRESH_S:
                        return near
                    await asyncio.sleep(_GLANCE_S)
        except TimeoutError as error:
            raise PairingFailed(PairingFailure.NOT_HEARD) from error

    async def _bond(self, address: str, questions: _Questions) -> None:
        try:
            async with asyncio.timeout(self._work_s) as limit:
                questions.limit = limit
                await self._bonds.bond(address, questions)
        except TimeoutError as error:
            raise PairingFailed(PairingFailure.UNREACHABLE) from error
        if not questions.is_proven and not self.allows_unproven():
            await self._bonds.unbond(address)
            raise PairingFailed(PairingFailure.UNPROVEN)
        self._lockout.succeeded(address)
        self._finish(PairingState.PAIRED, is_authenticated=questions.is_proven, is_bonded=True)

    def _fail(self, failure: PairingFailure, questions: _Questions) -> None:
        """The reason that helps a person most: what the radio reports after our own refusal is only an echo of it."""
        attempt = self._current
        if questions.why is not None:
            failure = questions.why
        elif failure is PairingFailure.REFUSED and questions.gave_passkey:
            failure = PairingFailure.WRONG_PASSKEY
        if failure is PairingFailure.WRONG_PASSKEY:
            self._lockout.failed(attempt.address)
        is_late = failure in {PairingFailure.NOBODY_ANSWERED, PairingFailure.NOT_HEARD}
        self._finish(PairingState.TIMED_OUT if is_late else PairingState.FAILED, failure)

    # --- state --------------------------------------------------------------------------------------------------

    @property
    def _current(self) -> PairingAttempt:
        if self._attempt is None:
            raise PairingFailed(PairingFailure.INTERRUPTED)
        return self._attempt

    def _neighbour(self, address: str) -> Neighbour | None:
        return next((near for near in self._radios.neighbours() if near.address.upper() == address), None)

    def allows_unproven(self) -> bool:
        """Whether the present device's family may have a link without proof."""
        driver = self._drivers.get(self._current.driver or "")
        is_strict = driver is not None and driver.quirks.bonding in _PROVEN_ONLY
        return self._just_works == "by_family" and not is_strict

    def _makes_bonds(self) -> bool:
        """Whether the present device's family has bonds at all; one that only broadcasts is added as it is."""
        driver = self._drivers.get(self._current.driver or "")
        return driver is None or (driver.open is not None and driver.quirks.bonding is not Bonding.NONE)

    def enter(self, state: PairingState, digits: int | None = None) -> None:
        """Move on, unless the attempt is over."""
        if not self._current.state.is_over:
            shown = None if digits is None else f"{digits:06d}"
            self._set(replace(self._current, state=state, since=self._clock.now(), digits=shown))

    async def ask(self, state: PairingState, digits: int | None = None) -> int | bool:
        """Put a question to the person and wait. Raises PairingFailed: NOBODY_ANSWERED."""
        answer: asyncio.Future[int | bool] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self.enter(state, digits)
        try:
            async with asyncio.timeout(self._answer_s):
                await asyncio.wait({answer})
        except TimeoutError as error:
            raise PairingFailed(PairingFailure.NOBODY_ANSWERED) from error
        finally:
            if self._answer is answer:
                self._answer = None
        if answer.cancelled():
            raise PairingFailed(PairingFailure.INTERRUPTED)
        return answer.result()

    def _finish(
        self,
        state: PairingState,
        failure: PairingFailure | None = None,
        *,
        is_authenticated: bool | None = None,
        is_bonded: bool | None = None,
    ) -> None:
        attempt = self._current
        if attempt.state.is_over:
            return
        if self._answer is not None:
            self._answer.cancel()
        locked_s = round(self._lockout.wait_s(attempt.address))
        log.info("bluetooth.pairing_ended", state=state.value, driver=attempt.driver, failure=failure)
        self._set(
            replace(
                attempt,
                state=state,
                since=self._clock.now(),
                digits=None,
                failure=failure,
                is_authenticated=is_authenticated,
                is_bonded=is_bonded,
                locked_s=locked_s,
            )
        )

    def _update(self, **facts: Any) -> None:
        self._set(replace(self._current, **facts))

    def _set(self, attempt: PairingAttempt) -> None:
        self._attempt = attempt
        self._changed.set()
        self._changed = asyncio.Event()
        self._on_change()

    @property
    def answer_s(self) -> float:
        """How long a person has for an answer."""
        return self._answer_s

    @property
    def work_s(self) -> float:
        """How long the radio has between two questions."""
        return self._work_s


class _Questions:
    """What the radio asks about the attempt at the desk; remembers what decides how its end is called.

    Attributes:
        is_proven: digits were typed or compared.
        gave_passkey: the person typed digits.
        why: our own reason to refuse; None: we did not.
        limit: of the radio's work; moved on with every question.
    """

    def __init__(self, desk: PairingDesk) -> None:
        self._desk = desk
        self.is_proven = False
        self.gave_passkey = False
        self.why: PairingFailure | None = None
        self.limit: asyncio.Timeout | None = None

    def connected(self) -> None:
        if self._desk.attempt is not None and self._desk.attempt.state is PairingState.CONNECTING:
            self._desk.enter(PairingState.PAIRING)

    async def passkey(self) -> int:
        digits = await self._ask(PairingState.WANTS_PASSKEY)
        self.gave_passkey = self.is_proven = True
        return int(digits)

    async def is_same(self, digits: int) -> bool:
        is_same = bool(await self._ask(PairingState.WANTS_COMPARISON, digits))
        self.is_proven = is_same
        if not is_same:
            self.why = PairingFailure.DIFFERENT_DIGITS
        return is_same

    def show(self, digits: int) -> None:
        self.is_proven = True
        self._extend(self._desk.answer_s + self._desk.work_s)
        self._desk.enter(PairingState.SHOWS_PASSKEY, digits)

    def allows_unproven(self) -> bool:
        if self._desk.allows_unproven():
            return True
        self.why = PairingFailure.UNPROVEN
        return False

    async def _ask(self, state: PairingState, digits: int | None = None) -> int | bool:
        self._extend(self._desk.answer_s + self._desk.work_s)
        try:
            answer = await self._desk.ask(state, digits)
        except PairingFailed as failed:
            self.why = PairingFailure(failed.reason)
            raise
        self._desk.enter(PairingState.PAIRING)
        self._extend(self._desk.work_s)
        return answer

    def _extend(self, more_s: float) -> None:
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(asyncio.get_running_loop().time() + more_s)
