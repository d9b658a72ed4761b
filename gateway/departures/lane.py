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
    StoreUnavailable,
    TransientError,
)
from gateway.model import ConsentState, Departure, DepartureState, PersonId
from gateway.ports import Clock, HealthSpace, Registry
from gateway.supervisor import contain

__all__ = ["Lane", "Route"]

_log = structlog.get_logger()
_REASON_CHARACTERS = 300
_SHORTEST_IDLE_S = 0.05


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


class _Gate:
    """What the space asks right before it sends: whether the consent of this very moment covers the row.

    Attributes:
        began_at: when it last said yes, which is when the sending began; None: it never did.
        has_refused: it said no, so nothing was sent after that.
    """

    def __init__(self, registry: Registry, clock: Clock, row: Departure) -> None:
        self._registry = registry
        self._clock = clock
        self._row = row
        self.began_at: datetime | None = None
        self.has_refused = False

    async def __call__(self) -> bool:
        now = self._clock.now()
        is_allowed = self._clock.is_trusted and await self._registry.consent_allows(self._row, now)
        if is_allowed:
            self.began_at = now
        else:
            self.has_refused = True
        return is_allowed


class Lane:
    """Everything that one destination's dispatcher remembers between rows.

    Holds (accounts left alone) live in memory only, by the monotonic clock: after a restart, perhaps with other
    credentials, each account is tried once again. While the clock is not trusted nothing is sent.
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
        self._held_s: dict[PersonId, float] = {}
        self._paused_until_s: float | None = None
        self._failures = 0

    async def drain(self) -> int:
        """Handle every row that is due now; returns how many. Raises StoreUnavailable."""
        handled = 0
        while await self.step():
            handled += 1
        return handled

    async def idle_s(self) -> float:
        """How long nothing can become due by itself, at most `poll_s`. Raises StoreUnavailable."""
        now = self._clock.now()
        due_at = await self._registry.next_due(self._space.destination_id, now)
        if due_at is None:
            return self._policy.poll_s
        return min(max((due_at - now).total_seconds(), _SHORTEST_IDLE_S), self._policy.poll_s)

    async def step(self) -> bool:
        """Handle one due row; False when there is none or nothing may be sent now. Raises StoreUnavailable."""
        now, now_s = self._clock.now(), self._clock.monotonic()
        if not self._clock.is_trusted or (self._paused_until_s is not None and now_s < self._paused_until_s):
            return False
        self._held_s = {person_id: until_s for person_id, until_s in self._held_s.items() if until_s > now_s}
        rows = await self._registry.lease(
            self._space.destination_id, now, lease_s=self._lease_s, limit=1, excluded=tuple(self._held_s)
        )
        for row in rows:
            await self._handle(row)
        return bool(rows)

    async def _handle(self, row: Departure) -> None:
        gate = _Gate(self._registry, self._clock, row)
        is_unknown = row.state is DepartureState.UNKNOWN
        verdict = await contain(
            f"departures.{self._space.destination_id}",
            lambda: self._read_back(row) if is_unknown else self._send(row, gate),
            otherwise=self._unforeseen,
            passing=StoreUnavailable,
        )
        await self._registry.settle(
            row.outbox_id,
            verdict.state,
            self._clock.now(),
            reason=verdict.reason,
            remote_id=verdict.remote_id,
            not_before=verdict.not_before,
            began_at=gate.began_at,
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

    async def _send(self, row: Departure, gate: _Gate) -> _Verdict:
        try:
            remote_id = await self._space.deliver(row, still_allowed=gate)
        except ConsentWithdrawn as error:
            if gate.has_refused:
                return await self._refused_here(row)
            self._reached()
            return _Verdict(DepartureState.CANCELLED, reason=_words(error), ends_consent=True)
        except OutcomeUnknown as error:
            self._failed()
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

    async def _refused_here(self, row: Departure) -> _Verdict:
        """Our own gate said no. A clock that went back behind the consent decides nothing: the row waits."""
        if not self._clock.is_trusted:
            return _Verdict(DepartureState.PENDING, reason="the clock is not trusted")
        draft, now = row.draft, self._clock.now()
        for consent in await self._registry.consents(draft.person_id):
            is_meant = (consent.data_type, consent.destination_id) == (draft.data_type, draft.destination_id)
            if is_meant and consent.state_at(now) is ConsentState.NOT_YET:
                return _Verdict(
                    DepartureState.PENDING,
                    reason="the clock is before the consent",
                    not_before=self._after(self._policy.base_s),
                )
        return _Verdict(DepartureState.CANCELLED, reason="no consent at the moment of sending")

    def _unforeseen(self, error: Exception) -> _Verdict:
        """A bug, here or in an adapter: whether it was sent is not known, and trying at once would fail again."""
        self._failed()
        reason = f"unforeseen error ({type(error).__name__})"
        return _Verdict(DepartureState.UNKNOWN, reason=reason, not_before=self._after(self._policy.park_s))

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
        if remote_id is not None:
            self._reached()
            return _Verdict(DepartureState.DONE, remote_id=remote_id)
        # That searching works says nothing about sending: the failures stay counted, and the next attempt waits.
        until = self._after(retry_delay_s(self._policy, row.attempts, self._chance))
        return _Verdict(DepartureState.PENDING, reason="read back: not there", not_before=until)

    def _park(self, row: Departure, error: ReauthNeeded | AccountMismatch) -> _Verdict:
        self._reached()
        self._held_s[row.draft.person_id] = self._clock.monotonic() + self._policy.park_s
        _log.error(
            "departure.account_parked",
            destination=self._space.destination_id,
            person=row.draft.person_id,
            cause=type(error).__name__,
        )
        return _Verdict(_unsent_state(row), reason=_words(error))

    def _wait(self, row: Departure, error: TransientError) -> _Verdict:
        asked_s = error.retry_after_s if isinstance(error, RateLimited) else 0.0
        delay_s = retry_delay_s(self._policy, row.attempts, self._chance, at_least_s=asked_s)
        until = self._after(delay_s)
        if isinstance(error, RateLimited):
            self._held_s[row.draft.person_id] = self._clock.monotonic() + delay_s
        else:
            self._failed()
        return _Verdict(_unsent_state(row), reason=_words(error), not_before=until)

    def _failed(self) -> None:
        """One failure more in a row; from some number on, the whole destination is left alone for a while."""
        self._failures += 1
        if self._failures >= self._policy.pause_after:
            rounds = self._failures - self._policy.pause_after + 1
            self._paused_until_s = self._clock.monotonic() + retry_delay_s(self._policy, rounds, self._chance)
            if rounds == 1:
                _log.warning("space.became_unavailable", destination=self._space.destination_id)

    def _reached(self) -> None:
        """The space answered: forget its failures."""
        if self._failures >= self._policy.pause_after:
            _log.info("space.became_available", destination=self._space.destination_id)
        self._failures = 0
        self._paused_until_s = None

    def _after(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)


def _unsent_state(row: Departure) -> DepartureState:
    """What a row goes back to when nothing was learned: an unknown row stays unknown."""
    return DepartureState.UNKNOWN if row.state is DepartureState.UNKNOWN else DepartureState.PENDING


def _words(error: Exception) -> str:
    parts = [str(error), *(error.diagnostics if isinstance(error, Rejected) else ())]
    text = " ".join(" | ".join(part for part in parts if part).split())
    return "".join(c for c in text if c.isprintable())[:_REASON_CHARACTERS] or type(error).__name__
