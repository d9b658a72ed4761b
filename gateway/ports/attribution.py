"""Weigh-ins and whose they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from gateway.model import Decision, DeviceId, PersonId, StoredWeighIn, WeighInNumber, WeighInState

__all__ = ["Attributions", "PastMass"]


@dataclass(frozen=True, slots=True)
class PastMass:
    """A body mass that is somebody's already.

    Attributes:
        at: when it was measured, UTC.
        utc_offset_min: the person's offset then.
        mass_kg: as stored.
        impedance_ohm: of the same weigh-in; None where there was none.
        is_confirmed: a person filed it.
    """

    at: datetime
    utc_offset_min: int
    mass_kg: Decimal
    impedance_ohm: Decimal | None
    is_confirmed: bool


class Attributions(Protocol):
    """Weigh-ins, what was decided about them, and what they teach."""

    async def mark(self) -> tuple[int, int, int]:
        """The last decision, the last reading of a weigh-in, and how often one that is nobody's was corrected."""
        ...

    async def undecided(
        self, state: WeighInState, *, limit: int = 500, settled: Collection[str] = (), skip: int = 0
    ) -> list[StoredWeighIn]:
        """Those of devices by evidence that are new, or that wait and were not put there by a person; oldest first.

        All of them have a value. Left out are those that wait for one of the reasons `settled`, and the first `skip`.
        """
        ...

    async def waiting(self, *, limit: int = 100, device_id: DeviceId | None = None) -> list[StoredWeighIn]:
        """Those that ask a person and have a value to ask about, newest first by the time they were measured."""
        ...

    async def waiting_count(self) -> int:
        """How many `waiting` would give without a limit."""
        ...

    async def decided(self, *, limit: int = 50, before: int | None = None) -> list[StoredWeighIn]:
        """Those filed or set aside by a decision, the newest decision first; `before`: decisions with lower numbers."""
        ...

    async def weigh_in(self, number: WeighInNumber) -> StoredWeighIn | None:
        """One of them, or None."""
        ...

    async def history(self, number: WeighInNumber) -> list[Decision]:
        """Every decision about it, oldest first."""
        ...

    async def number_of(self, row_id: int) -> WeighInNumber:
        """The weigh-in of a stored reading; for a device with an owner it begins to exist here. Idempotent.

        Raises PermanentError: no such reading.
        """
        ...

    async def past(self, person_id: PersonId, *, limit: int = 400) -> list[PastMass]:
        """The newest body masses of that person, with a known time, ascending by time."""
        ...

    async def decide(
        self,
        number: WeighInNumber,
        decision: Decision,
        *,
        profile_of: PersonId | None = None,
        identities: Mapping[PersonId, Sequence[str]] | None = None,
    ) -> bool:
        """File it, set it aside or let it wait, with every consequence in the store, audited, in one transaction.

        Its readings become the person's; those that a device derived stay nobody's unless they were computed for that
        person. Readings that come later follow. The days of everybody concerned are to be computed again, and what
        was planned for the former owner is called back.

        Args:
            decision: by evidence it only counts where no person has decided and nothing is filed; waiting again for
                the same reasons adds nothing. One whose evidence `undoes` a decision that is not the last is none.
            profile_of: for whom derived readings were computed; kept from the first time that it is known.
            identities: by person, those of what may have been planned for them. Of everybody but the new owner, rows
                that wait are cancelled in this transaction and what arrived is marked `Correction.REMOVE`; the new
                owner's marks are taken back.

        Returns:
            Whether it changed something: repeating a person's decision does not.

        Raises:
            PermanentError: no such weigh-in, or an undeclared person.
        """
        ...
