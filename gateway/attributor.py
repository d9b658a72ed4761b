"""Files the weigh-ins that the evidence decides and puts the others into the inbox; follows what changes.

A filing by evidence is final unless a person changes it. A weigh-in that waits is looked at again when something new is
known: a part of it that came later, a decision about another one. What a person has said is never touched, and what
was set aside teaches nobody's model. Asking again gives the same answer, so a restart in the middle changes nothing.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
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
    WeighInNumber,
    WeighInState,
)
from gateway.normalise.broadcast import UNAUTHENTICATED
from gateway.ports import Attributions, Clock, Enrolments, PastMass, Registry

__all__ = ["Attributor", "UserNames", "profile_of", "weigh_in_of"]

_LIVE_WITHIN: Final = timedelta(minutes=10)
_CHUNK: Final = 500
_HISTORY: Final = 20_000
_NEAREST, _FEWEST, _REACH = 60, 6, timedelta(days=366)
"""So many weigh-ins of a person before, and as many after, the one in question are looked at; of those more than a year
away only the nearest few. Whose weigh-ins were filed far away is then no reason to think again."""
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
        self._seen: tuple[int, int, int] | None = None
        self._asked: dict[WeighInNumber, int] = {}  # what was asked about those that wait, as a hash

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
            while kept := await self._decide(chunk := await self._new(), {}):
                total += len(kept)
            left = {stored.number for stored in chunk}
            if only_new:
                break
            mark, kept = await self._attributions.mark(), await self._round()
            total += len(kept)
            after = await self._attributions.mark()
            if {stored.number for stored in await self._new()} - left:
                continue  # it came while what waits was looked at, and is in `after`
            is_ours = after == (mark[0] + len(kept), *mark[1:]) and WeighInState.FILED not in kept
            self._seen = after if is_ours else mark  # beginning to wait is nothing that others could learn from
        return total

    async def _new(self) -> list[StoredWeighIn]:
        return await self._attributions.undecided(WeighInState.NEW, limit=_CHUNK)

    async def _round(self) -> list[WeighInState]:
        """One look at everything that waits, however much it is; the states of the answers that are new."""
        kept: list[WeighInState] = []
        skipped, before = 0, self._asked
        self._asked = {}
        while chunk := await self._attributions.undecided(
            WeighInState.WAITING, limit=_CHUNK, settled=_SETTLED, skip=skipped
        ):
            states = await self._decide(chunk, before)
            kept += states
            skipped += len(chunk) - states.count(WeighInState.FILED)
            if len(chunk) < _CHUNK:
                break
        return kept

    async def _decide(
        self, chunk: Sequence[StoredWeighIn], answered: Mapping[WeighInNumber, int]
    ) -> list[WeighInState]:
        """One look at each; the states of the answers that are new.

        Args:
            answered: what was asked before: who is asked the same again is left alone.
        """
        devices = {device.device_id: device for device in await self._registry.devices()}
        slots = {
            enrolment.device.device_id: {str(enrolment.scale_user): enrolment.device.person_id}
            for enrolment in await self._enrolments.enrolments()
            if enrolment.scale_user is not None and enrolment.device.person_id is not None
        }
        past: dict[PersonId, _Past] = {}
        news: list[tuple[StoredWeighIn, Decision, PersonId | None]] = []
        for stored in chunk:
            await asyncio.sleep(0)  # a full inbox holds nobody up
            device = devices[stored.device_id]
            users = {**slots.get(device.device_id, {}), **self._users.get(device.device_id, {})}
            people = [person for person in device.candidates or self._people if person in self._people]
            for person_id in people:
                if person_id not in past:
                    past[person_id] = _Past(
                        [_past(each) for each in await self._attributions.past(person_id, limit=_HISTORY)]
                    )
            weigh_in = weigh_in_of(stored)
            asked = hash(
                (
                    weigh_in,
                    device.candidates,
                    *users.items(),
                    *((each, past[each].mark(weigh_in.at)) for each in people),
                )
            )
            self._asked[stored.number] = asked
            if answered.get(stored.number) == asked:
                continue
            verdict = attribute(
                weigh_in, [_candidate(each, device, users, past[each].near(weigh_in.at)) for each in people]
            )
            if (decision := self._news(stored, verdict)) is None:
                continue
            news.append((stored, decision, profile_of(stored, device, users)))
            if verdict.person_id is not None and weigh_in.mass_kg is not None:
                minute, mass_kg = weigh_in.local_minute, weigh_in.mass_kg
                past[verdict.person_id].add(
                    PastWeighIn(weigh_in.at, minute, mass_kg, weigh_in.impedance_ohm, is_confirmed=False)
                )
        kept = await asyncio.gather(*(self._keep(*each) for each in news))  # together: they share a transaction
        return [decision.state for (_, decision, _), is_changed in zip(news, kept, strict=True) if is_changed]

    def _news(self, stored: StoredWeighIn, verdict: Verdict) -> Decision | None:
        """What is to be kept; None: it waits already, for the same reasons and with the same person likeliest."""
        state = WeighInState.WAITING if verdict.person_id is None else WeighInState.FILED
        evidence: dict[str, object] = {
            "probabilities": {name: round(chance, _DIGITS) for name, chance in verdict.probabilities.items()},
            "somebody_else": round(verdict.somebody_else, _DIGITS),
            "reasons": list(verdict.reasons),
        }
        last = stored.decision
        if last is not None and last.state is state and _told(last.evidence) == _told(evidence):
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
    is_remembered = shown.provenance.source in _REMEMBERING
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
        before_enrolment=is_remembered and known_since is not None and shown.effective_at < known_since - _LIVE_WITHIN,
        is_time_known=shown.is_result or not is_remembered,
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


def _told(evidence: Mapping[str, object]) -> tuple[object, list[str]]:
    """What of the evidence people are shown: the reasons, and in which order to ask."""
    found = evidence.get("probabilities")
    chances = found if isinstance(found, dict) else {}
    return evidence.get("reasons"), sorted(chances, key=lambda each: (-chances[each], each))


class _Past:
    """What is filed to one person, by time; given out in windows, so that years of it cost nothing."""

    def __init__(self, entries: Sequence[PastWeighIn]) -> None:
        """`entries` ascending by time."""
        self._entries = list(entries)
        self._instants = [each.at for each in entries]
        self._hashes = [hash(each) for each in entries]

    def add(self, entry: PastWeighIn) -> None:
        """One that has just been filed."""
        place = bisect_left(self._instants, entry.at)
        self._entries.insert(place, entry)
        self._instants.insert(place, entry.at)
        self._hashes.insert(place, hash(entry))

    def near(self, at: datetime) -> tuple[PastWeighIn, ...]:
        """The nearest ones before and after `at`."""
        return tuple(self._entries[self._window(at)])

    def mark(self, at: datetime) -> int:
        """Changes with what `near` gives."""
        return hash(tuple(self._hashes[self._window(at)]))

    def _window(self, at: datetime) -> slice:
        place = bisect_left(self._instants, at)
        first, last = bisect_left(self._instants, at - _REACH), bisect_left(self._instants, at + _REACH)
        first = max(0, place - _NEAREST, min(first, place - _FEWEST))
        return slice(first, min(place + _NEAREST, max(last, place + _FEWEST)))


def _candidate(person_id: PersonId, device: Device, users: UserNames, past: tuple[PastWeighIn, ...]) -> Candidate:
    mine = [name for name, whose in users.items() if whose == person_id]
    return Candidate(
        person_id,
        past,
        slot=next((int(name) for name in mine if name.isascii() and name.isdigit()), None),
        names=frozenset(mine),
        is_sole_owner=device.candidates == (person_id,),
    )


def _past(mass: PastMass) -> PastWeighIn:
    local: datetime = mass.at + timedelta(minutes=mass.utc_offset_min)
    return PastWeighIn(
        mass.at, local.hour * 60 + local.minute, mass.mass_kg, mass.impedance_ohm, is_confirmed=mass.is_confirmed
    )
