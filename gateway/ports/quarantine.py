"""Payloads that were set aside, each with a number by which a person can name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from gateway.model import Batch, DeviceId, Quarantined, QuarantineReason, SourceKind

__all__ = ["Quarantine", "Redecoded", "Redecoder", "SetAside"]


@dataclass(frozen=True, slots=True)
class SetAside:
    """One payload that was set aside.

    Attributes:
        number: the store's own, from 1; never given again while the row is kept.
        item: payload, reason and sentence. The payload may be the beginning of a longer one (`is_whole`).
        is_whole: False: what came was longer than what is kept.
        resolved_at: when it stopped being a question, UTC; None: it still is one.
        resolution: what became of it, in words without values; None likewise.
    """

    number: int
    item: Quarantined
    is_whole: bool = True
    resolved_at: datetime | None = None
    resolution: str | None = None


class Redecoded(NamedTuple):
    """What a payload gives today.

    Attributes:
        batch: readings with their payloads, and what is set aside of it again.
        wanting: what would be needed beside the payload, as a sentence; None: nothing.
    """

    batch: Batch
    wanting: str | None = None


class Redecoder(Protocol):
    """Makes of a payload that was set aside what its source would make of it today."""

    async def redecode(self, item: Quarantined) -> Redecoded:
        """Total, like the decoder of the source. Raises StoreUnavailable."""
        ...


class Quarantine(Protocol):
    """What was set aside, as a list that is worked off."""

    async def rows(
        self,
        *,
        reason: QuarantineReason | None = None,
        source: SourceKind | None = None,
        device_id: DeviceId | None = None,
        with_resolved: bool = False,
        after: int = 0,
        limit: int = 100,
        oldest_first: bool = False,
    ) -> list[SetAside]:
        """Rows with a number above `after`, newest first; None means "any". Resolved ones only `with_resolved`."""
        ...

    async def set_aside(self, number: int) -> SetAside | None:
        """The row of that number, resolved or not; None: there is none."""
        ...

    async def counts(self) -> Mapping[QuarantineReason, int]:
        """How many are open, by reason; a reason without any is left out."""
        ...

    async def resolve(self, number: int, resolution: str, at: datetime) -> None:
        """It is no question any more. The same payload set aside again after `at` opens the row again."""
        ...

    async def reword(self, number: int, reason: QuarantineReason, detail: str) -> None:
        """It was looked at again, and this is what stands in the way now."""
        ...
