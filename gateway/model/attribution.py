"""Whose weigh-in it is: the group of readings that one person made by standing on a scale, and what was decided."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType

from gateway.model.ids import DeviceId, PersonId
from gateway.model.reading import StoredReading

__all__ = ["Decision", "DecisionSource", "StoredWeighIn", "WeighInNumber", "WeighInState"]

WeighInNumber = NewType("WeighInNumber", int)


class WeighInState(enum.StrEnum):
    """Life of a weigh-in. new -> waiting | filed; then whatever people say, as often as they like."""

    NEW = "new"
    """Nobody has looked at it yet."""
    WAITING = "waiting"
    """It asks a person."""
    FILED = "filed"
    """It is somebody's."""
    SET_ASIDE = "set_aside"
    """It is nobody's of this house. It is kept, and teaches nothing."""


class DecisionSource(enum.StrEnum):
    """Who decided."""

    EVIDENCE = "evidence"
    """The gateway, by what it knows of the candidates."""
    OWNER = "owner"
    """Nobody: the device had an owner, whose it was from the beginning."""
    PAGE = "page"
    COMMAND = "command"

    @property
    def is_person(self) -> bool:
        """Whether a person said so."""
        return self in {DecisionSource.PAGE, DecisionSource.COMMAND}


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of a weigh-in's history; append-only, the newest counts.

    Attributes:
        state: WAITING, FILED or SET_ASIDE.
        person_id: whose it is; None unless FILED.
        by: who decided.
        at: UTC.
        evidence: what it rests on: `probabilities` by person, `somebody_else`, `reasons` (snake_case words); for a
            person's decision at most `undoes`, the number of the decision that was taken back.
        number: the store's own, growing; 0 while it is not stored.
    """

    state: WeighInState
    person_id: PersonId | None
    by: DecisionSource
    at: datetime
    evidence: Mapping[str, object] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True, slots=True)
class StoredWeighIn:
    """One weigh-in as the store gives it back; of a device with an owner, one record of its memory.

    Attributes:
        number: the store's own name for it.
        device_id: the scale.
        name: what its readings share: the epoch and the device's own word for the weigh-in or record.
        state, person_id: what counts now.
        profile_of: for whom the device computed what it derives (fat, water...) from height, age and sex; None: nobody
            knows. Such readings are only ever that person's.
        readings: in order of commit; at least one.
        decision: the newest; None: nobody has decided yet.
        acquainted_at: when anything was first received from the scale, UTC; None for a device with an owner.
    """

    number: WeighInNumber
    device_id: DeviceId
    name: str
    state: WeighInState
    person_id: PersonId | None
    profile_of: PersonId | None
    readings: tuple[StoredReading, ...]
    decision: Decision | None
    acquainted_at: datetime | None = None
