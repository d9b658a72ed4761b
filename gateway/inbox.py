"""What people say about weigh-ins, and about single readings of any device: whose it is, or nobody's, or as before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.errors import PermanentError
from gateway.model import (
    Decision,
    DecisionSource,
    PersonId,
    StoredReading,
    StoredWeighIn,
    WeighInNumber,
    WeighInState,
)
from gateway.ports import Attributions, Clock

__all__ = ["IdentitiesOf", "Inbox", "identities_by_person"]

IdentitiesOf = Callable[[StoredReading, PersonId], Sequence[str]]
"""Identities of everything that may be planned because of a reading while it is that person's."""


def identities_by_person(
    weigh_in: StoredWeighIn, new: PersonId | None, identities_of: IdentitiesOf
) -> dict[PersonId, list[str]]:
    """What may have been planned because of a weigh-in, for its owner and for the one whom it goes to."""
    people = {person_id for person_id in (weigh_in.person_id, new) if person_id is not None}
    return {
        person_id: [each for stored in weigh_in.readings for each in identities_of(stored, person_id)]
        for person_id in people
    }


class Inbox:
    """A person's word about weigh-ins; everything that depends on them follows through the store.

    Args:
        identities_of: of the destinations' mappings.
        on_decision: called after each change.
    """

    def __init__(
        self,
        attributions: Attributions,
        clock: Clock,
        identities_of: IdentitiesOf,
        *,
        on_decision: Callable[[], None] | None = None,
    ) -> None:
        self.attributions = attributions
        self._clock = clock
        self._identities_of = identities_of
        self._on_decision = on_decision

    async def assign(self, numbers: Sequence[WeighInNumber], person_id: PersonId, by: DecisionSource) -> int:
        """File them to that person; returns how many that changed. Saying it again changes nothing.

        Raises:
            PermanentError: an undeclared person, or no such weigh-in; those before it are filed.
        """
        return await self._all(numbers, WeighInState.FILED, person_id, by)

    async def set_aside(self, numbers: Sequence[WeighInNumber], by: DecisionSource) -> int:
        """They are nobody's of this house: kept, but in no figure and no plan, and no one's model learns from them."""
        return await self._all(numbers, WeighInState.SET_ASIDE, None, by)

    async def undo(self, number: WeighInNumber, by: DecisionSource, *, decision: int | None = None) -> StoredWeighIn:
        """Take the last decision back: what counted before it counts again; a second time, the decision itself.

        What had only been looked at by the gateway goes back to waiting, and waits for a person.

        Args:
            decision: the one that was seen; where another has come meanwhile (a button hit twice, somebody else's tap)
                nothing is taken back.

        Raises:
            PermanentError: no such weigh-in, or nobody has decided anything about it.
        """
        history = await self.attributions.history(number)
        if not history or (len(history) == 1 and not _can_be_undone(history[0])):
            raise PermanentError("there is no decision to take back")
        if decision is not None and decision != history[-1].number:
            return await self._found(number)
        state, person_id = WeighInState.WAITING, None
        if len(history) > 1:
            state, person_id = history[-2].state, history[-2].person_id
        evidence = {"undoes": history[-1].number}
        await self._decide(number, Decision(state, person_id, by, self._clock.now(), evidence))
        return await self._found(number)

    async def of_row(self, row_id: int) -> StoredWeighIn:
        """The weigh-in, or single record, that a stored reading belongs to. Raises PermanentError: no such reading."""
        return await self._found(await self.attributions.number_of(row_id))

    async def _all(
        self, numbers: Sequence[WeighInNumber], state: WeighInState, person_id: PersonId | None, by: DecisionSource
    ) -> int:
        decision = Decision(state, person_id, by, self._clock.now())
        changed = 0
        for number in numbers:
            changed += await self._decide(number, decision)
        return changed

    async def _decide(self, number: WeighInNumber, decision: Decision) -> bool:
        identities = identities_by_person(await self._found(number), decision.person_id, self._identities_of)
        is_changed = await self.attributions.decide(number, decision, identities=identities)
        if is_changed and self._on_decision is not None:
            self._on_decision()
        return is_changed

    async def _found(self, number: WeighInNumber) -> StoredWeighIn:
        found = await self.attributions.weigh_in(number)
        if found is None:
            raise PermanentError("there is no such weigh-in")
        return found


def _can_be_undone(first: Decision) -> bool:
    """Whether somebody, or the gateway, has chosen; that a device has an owner, or that it waits, is no choice."""
    return first.state is not WeighInState.WAITING and first.by is not DecisionSource.OWNER
