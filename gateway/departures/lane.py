"""The sending of one destination's departures, one row at a time.

One row at a time keeps a lease longer than the sending it covers. What may have been applied is never repeated: it
becomes unknown and is read back.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from gateway.departures.policy import DispatchPolicy, retry_delay_s
from gateway.errors import (
    AccountMismatch,
    ConsentWithdrawn,
    OutcomeUnknown,
    PermanentError,
    RateLimited,
    ReauthNeeded,
    Rejected,
    TransientError,
)
from gateway.model import Departure, DepartureState, PersonId
from gateway.ports import Clock, HealthSpace, Registry

__all__ = ["Lane", "Route"]

_log = structlog.get_logger()
_REASON_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Route:
    """A destination and how long one of its rows may be held for sending, seconds."""

    space: HealthSpace
    lease_s: float


@dataclass(frozen=True, slots=True)
class _Verdict:
    """How a lease ends; `ends_consent`: the space itself says that there is no consent."""

    state: DepartureState
    reason: str | None = None
    remote_id: str | None = None
    not_before: datetime | None = None
    ends_consent: bool = False


class Lane:
    """Everything that one destination's dispatcher remembers between rows.

    Holds (accounts left alone) live in memory: after a restart each account is tried once again.
    """

    def __init__(
        self,
        registry: Registry,
        route: Route,
        clock: Clock,
        *,
        chance: random.Random,
        policy: DispatchPolicy,
        on_settled: Callable[[], None] | None = None,
    ) -> None:
        self._registry = registry
        self._space = route.space
        self._lease_s = route.lease_s
        self._clock = clock
        self._chance = chance
        self._policy = policy
        self._on_settled = on_settled
        self._held: dict[PersonId, datetime] = {}
        self._paused_until: datetime | None = None
        self._failures = 0

    async def drain(self) -> int:
        """Handle every row that is due now; returns how many. Raises StoreUnavailable."""
        handled = 0
        while await self.step():
            handled += 1
        return handled

    async def step(self) -> bool:
        """Handle one due row; False when there is none or the destination is paused. Raises StoreUnavailable."""
        now = self._clock.now()
        if self._paused_until is not None and now < self._paused_until:
            return False
        rows = await self._registry.lease(self._space.destination_id, now, lease_s=self._lease_s, limit=1)
        for row in rows:
            await self._handle(row)
        return bool(rows)

    async def _handle(self, row: Departure) -> None:
        held_until = self._hold_of(row.draft.person_id)
        if held_until is not None:
            verdict = _Verdict(_unsent_state(row), reason=row.reason, not_before=held_until)
        elif row.state is DepartureState.UNKNOWN:
            verdict = await self._read_back(row)
        else:
            verdict = await self._send(row)
        await self._registry.settle(
            row.outbox_id,
            verdict.state,
            self._clock.now(),
            reason=verdict.reason,
            remote_id=verdict.remote_id,
            not_before=verdict.not_before,
        )
        if verdict.ends_consent:
            await self._end_consent(row)
        if self._on_settled is not None:
            self._on_settled()

    async def _end_consent(self, row: Departure) -> None:
        """End our own consent too: cancels what waits, and nothing more is tried until it is granted again."""
        draft = row.draft
        cancelled = await self._registry.withdraw(
            draft.person_id, draft.data_type, draft.destination_id, self._clock.now()
        )
        _log.warning("departure.consent_refused", destination=draft.destination_id, cancelled=cancelled)

    async def _send(self, row: Departure) -> _Verdict:
        if not await self._registry.consent_allows(row, self._clock.now()):
            return _Verdict(DepartureState.CANCELLED, reason="no consent at the moment of sending")
        try:
            remote_id = await self._space.deliver(row)
        except ConsentWithdrawn as error:
            self._reached()
            return _Verdict(DepartureState.CANCELLED, reason=_words(error), ends_consent=True)
        except OutcomeUnknown as error:
            self._reached()
            return _Verdict(DepartureState.UNKNOWN, reason=_words(error), not_before=self._after(self._policy.settle_s))
        except (ReauthNeeded, AccountMismatch) as error:
            return self._park(row, error)
        except TransientError as error:
            return self._wait(row, error)
        except PermanentError as error:
            self._reached()
            _log.warning("departure.rejected", destination=self._space.destination_id, outbox_id=row.outbox_id)
            return _Verdict(DepartureState.REJECTED, reason=_words(error))
        self._reached()
        return _Verdict(DepartureState.DONE, remote_id=remote_id)

    async def _read_back(self, row: Departure) -> _Verdict:
        try:
            remote_id = await self._space.find(row)
        except (ReauthNeeded, AccountMismatch) as error:
            return self._park(row, error)
        except TransientError as error:
            return self._wait(row, error)
        except OutcomeUnknown as error:
            return self._wait(row, TransientError(_words(error)))
        except (ConsentWithdrawn, PermanentError) as error:
            # Reading is refused: nobody can say whether it arrived, so it is neither repeated nor called refused.
            self._reached()
            _log.warning("departure.read_back_refused", destination=self._space.destination_id, outbox_id=row.outbox_id)
            return _Verdict(DepartureState.UNKNOWN, reason=_words(error), not_before=self._after(self._policy.park_s))
        self._reached()
        if remote_id is not None:
            return _Verdict(DepartureState.DONE, remote_id=remote_id)
        return _Verdict(DepartureState.PENDING, reason="read back: not there", not_before=self._clock.now())

    def _park(self, row: Departure, error: ReauthNeeded | AccountMismatch) -> _Verdict:
        self._reached()
        until = self._after(self._policy.park_s)
        self._held[row.draft.person_id] = until
        _log.error(
            "departure.account_parked",
            destination=self._space.destination_id,
            person=row.draft.person_id,
            cause=type(error).__name__,
        )
        return _Verdict(_unsent_state(row), reason=_words(error), not_before=until)

    def _wait(self, row: Departure, error: TransientError) -> _Verdict:
        asked_s = error.retry_after_s if isinstance(error, RateLimited) else 0.0
        until = self._after(retry_delay_s(self._policy, row.attempts, self._chance, at_least_s=asked_s))
        if isinstance(error, RateLimited):
            self._held[row.draft.person_id] = until
        else:
            self._failures += 1
            if self._failures >= self._policy.pause_after:
                rounds = self._failures - self._policy.pause_after + 1
                self._paused_until = self._after(retry_delay_s(self._policy, rounds, self._chance))
                if rounds == 1:
                    _log.warning("space.became_unavailable", destination=self._space.destination_id)
        return _Verdict(_unsent_state(row), reason=_words(error), not_before=until)

    def _hold_of(self, person_id: PersonId) -> datetime | None:
        until = self._held.get(person_id)
        if until is not None and until <= self._clock.now():
            del self._held[person_id]
            return None
        return until

    def _reached(self) -> None:
        """The space answered: forget its failures."""
        if self._failures >= self._policy.pause_after:
            _log.info("space.became_available", destination=self._space.destination_id)
        self._failures = 0
        self._paused_until = None

    def _after(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)


def _unsent_state(row: Departure) -> DepartureState:
    """What a row goes back to when nothing was learned: an unknown row stays unknown."""
    return DepartureState.UNKNOWN if row.state is DepartureState.UNKNOWN else DepartureState.PENDING


def _words(error: Exception) -> str:
    parts = [str(error), *(error.diagnostics if isinstance(error, Rejected) else ())]
    text = " ".join(" | ".join(part for part in parts if part).split())
    return "".join(c for c in text if c.isprintable())[:_REASON_CHARACTERS] or type(error).__name__
