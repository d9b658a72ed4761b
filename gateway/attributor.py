"""Files the weigh-ins that the evidence decides and puts the others into the inbox; follows what changes.

A filing by evidence is final unless a person changes it. A weigh-in that waits is looked at again when something new is
known: a part of it that came later, a decision about another one. What a person has said is never touched, and what
was set aside teaches nobody's model. Asking again gives the same answer, so a restart in the middle changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.attribution import Candidate, PastWeighIn, Verdict, WeighIn, attribute
from gateway.model import (
    Decision,
    DecisionSource,
    Device,
    DeviceId,
    Metric,
    PersonId,
    SourceKind,
    StoredWeighIn,
    WeighInState,
)
from gateway.normalise.broadcast import UNAUTHENTICATED
from gateway.ports import Attributions, Clock, Enrolments, PastMass, Registry

__all__ = ["Attributor", "UserNames", "profile_of", "weigh_in_of"]

_LIVE_WITHIN: Final = timedelta(minutes=10)
_CHUNK: Final = 500
_HISTORY: Final = 200
_DIGITS: Final = 4
_SETTLED: Final = ("memory_before_enrolment", "implausible_mass")
"""Reasons to wait that nothing learned about the candidates takes away."""
_REMEMBERING: Final = frozenset({SourceKind.BLUETOOTH, SourceKind.MQTT, SourceKind.HTTP})
"""Sources that may tell a scale's memory unasked; a file was brought by a person who knows what is in it."""
_log = structlog.get_logger()

UserNames = Mapping[str, PersonId]
"""Whom the users that one scale or its source names are: a slot in digits, or a name."""


class Attributor:
    """Decides about new weigh-ins.

    Args:
        people: who may be a candidate now; somebody who left the configuration is none.
        users: what the configuration says about the users of scales; slots of added scales come from `enrolments`.
    """

    def __init__(
        self,
        attributions: Attributions,
        registry: Registry,
        enrolments: Enrolments,
        clock: Clock,
        people: Collection[PersonId],
        users: Mapping[DeviceId, UserNames],
    ) -> None:
        self._attributions = attributions
        self._registry = registry
        self._enrolments = enrolments
        self._clock = clock
        self._people = tuple(sorted(people))
        self._users = users
        self._seen: tuple[int, int] | None = None

    async def run(self, changed: asyncio.Event, decided: Callable[[], None]) -> None:
        """Look whenever `changed` is set, then call `decided` if anything came of it; for ever."""
        while True:
            if await self.look(only_new=True):  # who has just stepped off does not wait for a full inbox
                decided()
            if await self.look():
                decided()
            await changed.wait()
            changed.clear()

    async def look(self, *, only_new: bool = False) -> int:
        """Decide what can be decided; returns how many answers are new. Raises StoreUnavailable.

        `only_new`: what waits already is left for another look.
        """
        total = 0
        while (mark := await self._attributions.mark()) != self._seen:
            kept = await self._pass(only_new=only_new)
            total += len(kept)
            if only_new:
                if not kept:
                    break
                continue
            after = await self._attributions.mark()
            is_ours = after == (mark[0] + len(kept), mark[1]) and WeighInState.FILED not in kept
            self._seen = after if is_ours else mark  # beginning to wait is nothing that others could learn from
        return total

    async def _pass(self, *, only_new: bool) -> list[WeighInState]:
        """One look at each; the states of the answers that are new."""
        undecided = await self._attributions.undecided(limit=_CHUNK, settled=_SETTLED)
        if only_new:
            undecided = [stored for stored in undecided if stored.state is WeighInState.NEW]
        if not undecided:
            return []
        devices = {device.device_id: device for device in await self._registry.devices()}
        slots = {
            enrolment.device.device_id: {str(enrolment.scale_user): enrolment.device.person_id}
            for enrolment in await self._enrolments.enrolments()
            if enrolment.scale_user is not None and enrolment.device.person_id is not None
        }
        past: dict[PersonId, list[PastWeighIn]] = {}
        news: list[tuple[StoredWeighIn, Decision, PersonId | None]] = []
        for stored in undecided:
            device = devices[stored.device_id]
            users = {**slots.get(device.device_id, {}), **self._users.get(device.device_id, {})}
            people = [person for person in device.candidates or self._people if person in self._people]
            for person_id in people:
                if person_id not in past:
                    past[person_id] = [_past(each) for each in await self._attributions.past(person_id, limit=_HISTORY)]
            weigh_in = weigh_in_of(stored)
            verdict = attribute(weigh_in, [_candidate(each, device, users, past[each]) for each in people])
            if (decision := self._news(stored, verdict)) is None:
                await asyncio.sleep(0)  # a full inbox holds nobody up
                continue
            news.append((stored, decision, profile_of(stored, device, users)))
            if verdict.person_id is not None and weigh_in.mass_kg is not None:
                minute, mass_kg = weigh_in.local_minute, weigh_in.mass_kg
                past[verdict.person_id].append(
                    PastWeighIn(weigh_in.at, minute, mass_kg, weigh_in.impedance_ohm, is_confirmed=False)
                )
        kept = await asyncio.gather(*(self._keep(*each) for each in news))  # together: they share a transaction
        return [decision.state for (_, decision, _), is_changed in zip(news, kept, strict=True) if is_changed]

    def _news(self, stored: StoredWeighIn, verdict: Verdict) -> Decision | None:
        """What is to be kept; None: it waits already, for the same reasons."""
        state = WeighInState.WAITING if verdict.person_id is None else WeighInState.FILED
        evidence: dict[str, object] = {
            "probabilities": {name: round(chance, _DIGITS) for name, chance in verdict.probabilities.items()},
            "somebody_else": round(verdict.somebody_else, _DIGITS),
            "reasons": list(verdict.reasons),
        }
        last = stored.decision
        if last is not None and last.state is state and last.evidence == evidence:
            return None
        return Decision(state, verdict.person_id, DecisionSource.EVIDENCE, self._clock.now(), evidence)

    async def _keep(self, stored: StoredWeighIn, decision: Decision, profile: PersonId | None) -> bool:
        is_changed = await self._attributions.decide(stored.number, decision, profile_of=profile)
        if is_changed:
            reasons = decision.evidence["reasons"]
            _log.info("weigh_in.decided", device=stored.device_id, state=decision.state.value, reasons=reasons)
        return is_changed


def weigh_in_of(stored: StoredWeighIn) -> WeighIn:
    """The question that a stored weigh-in asks.

    The last of several masses counts. It is live when it was received within ten minutes of its own time, and from
    before the acquaintance when it is older than the first that was ever received from its scale.
    """
    readings = [each.reading for each in stored.readings]
    masses = [each for each in readings if each.metric is Metric.BODY_MASS and each.value is not None]
    shown = max(masses, key=lambda each: (each.effective_at, each.received_at)) if masses else readings[0]
    ohms = [each.value for each in readings if each.metric is Metric.IMPEDANCE and each.value is not None]
    local, known_since = shown.local_time, stored.acquainted_at
    return WeighIn(
        device_id=stored.device_id,
        name=stored.name,
        at=shown.effective_at,
        local_minute=local.hour * 60 + local.minute,
        local_day=local.date(),
        mass_kg=shown.value if masses else None,
        impedance_ohm=ohms[-1] if ohms else None,
        user_index=next((r.context.user_index for r in readings if r.context.user_index is not None), None),
        user_name=next((r.context.user_name for r in readings if r.context.user_name is not None), None),
        is_live=shown.is_result and abs(shown.received_at - shown.effective_at) <= _LIVE_WITHIN,
        is_unauthenticated=any(UNAUTHENTICATED in each.context.status for each in readings),
        before_enrolment=shown.provenance.source in _REMEMBERING
        and (not shown.is_result or (known_since is not None and shown.effective_at < known_since - _LIVE_WITHIN)),
    )


def profile_of(stored: StoredWeighIn, device: Device, users: UserNames) -> PersonId | None:
    """For whom the scale computed what it derives; None: nobody can say.

    The user that it names, where that is known; else the one owner, unless it names somebody not known to be them.
    """
    weigh_in = weigh_in_of(stored)
    index, name = weigh_in.user_index, weigh_in.user_name
    if index is not None and (found := users.get(str(index))) is not None:
        return found
    if name is not None:
        by_name = {each.casefold(): person_id for each, person_id in users.items()}
        if (found := by_name.get(name.casefold())) is not None:
            return found
    is_named = users and (index is not None or name is not None)
    return device.candidates[0] if len(device.candidates) == 1 and not is_named else None


def _candidate(person_id: PersonId, device: Device, users: UserNames, past: list[PastWeighIn]) -> Candidate:
    mine = [name for name, whose in users.items() if whose == person_id]
    return Candidate(
        person_id,
        tuple(past),
        slot=next((int(name) for name in mine if name.isascii() and name.isdigit()), None),
        names=frozenset(mine),
        is_sole_owner=device.candidates == (person_id,),
    )


def _past(mass: PastMass) -> PastWeighIn:
    local: datetime = mass.at + timedelta(minutes=mass.utc_offset_min)
    return PastWeighIn(
        mass.at, local.hour * 60 + local.minute, mass.mass_kg, mass.impedance_ohm, is_confirmed=mass.is_confirmed
    )
