"""What was set aside is looked at again, with the decoders of today.

A redecoder belongs to one source, and to the channels that begin as it says. It makes of a payload what the source
would have made of it, with the original instant of reception, so that a replay gives the same store as a decoder that
had been right from the beginning. What a payload alone does not say, it does not guess.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import partial

from gateway.errors import StoreUnavailable
from gateway.model import DeviceId, QuarantineReason, RawFrame, SourceKind
from gateway.ports import Clock, Intake, Quarantine, Redecoder, Registry, SetAside
from gateway.supervisor import contain

__all__ = [
    "Redecoders",
    "ReplayOutcome",
    "Replayed",
    "replay",
    "replay_all",
    "zones_of",
]

_CHUNK = 200


class ReplayOutcome(enum.StrEnum):
    """What became of one row."""

    READ = "read"
    """Its readings are stored; the row is resolved."""
    NOTHING = "nothing"
    """There is nothing wrong with it, and nothing to read in it; the row is resolved."""
    PARTLY = "partly"
    """Some readings are stored, and something is still wrong with the rest; the row stays."""
    STILL = "still"
    """It fails as before, or for another reason, which the row now has."""
    WANTING = "wanting"
    """It cannot be told from the payload alone; the row stays as it was."""
    RESOLVED = "resolved"
    """It was resolved before; nothing was done."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one row.

    Attributes:
        added, corrected, known: readings, as in `CommitReceipt`.
        reason: why it is still set aside; None: it is not.
        detail: a sentence without values.
    """

    number: int
    outcome: ReplayOutcome
    detail: str
    added: int = 0
    corrected: int = 0
    known: int = 0
    reason: QuarantineReason | None = None


class Redecoders:
    """Who looks again at what: by source and beginning of the channel, the longest beginning first."""

    def __init__(self) -> None:
        self._known: list[tuple[SourceKind, str, Redecoder]] = []

    def register(self, source: SourceKind, redecoder: Redecoder, prefix: str = "") -> None:
        """Payloads of `source` whose channel begins with `prefix` are `redecoder`'s."""
        self._known.append((source, prefix, redecoder))
        self._known.sort(key=lambda entry: -len(entry[1]))

    def find(self, frame: RawFrame) -> Redecoder | None:
        """Who looks at this payload; None: nobody."""
        return next(
            (
                redecoder
                for source, prefix, redecoder in self._known
                if source is frame.source and frame.channel.startswith(prefix)
            ),
            None,
        )


async def replay(
    row: SetAside, redecoders: Redecoders, *, intake: Intake, quarantine: Quarantine, clock: Clock
) -> Replayed:
    """Look at one row again; readings that come out are durable before the row is resolved.

    Stopped in between, the row stays, and the next replay finds its readings known.

    Raises:
        StoreUnavailable: the row is as it was, or its readings are stored already.
    """
    item = row.item
    if row.resolved_at is not None:
        return Replayed(row.number, ReplayOutcome.RESOLVED, row.resolution or "")
    if not row.is_whole:
        return _wanting(row, "only the beginning of the payload was kept")
    redecoder = redecoders.find(item.frame)
    if redecoder is None:
        return _wanting(row, f"nothing here decodes payloads of this kind ({item.frame.source.value})")
    batch, wanting = await redecoder.redecode(item)
    if wanting is not None:
        return _wanting(row, wanting)
    receipt = await intake.submit(replace(batch, quarantined=()))
    count = len(batch.readings)
    counts = (receipt.added, receipt.corrected, receipt.known)
    if batch.quarantined:
        again = batch.quarantined[0]
        if (again.reason, again.detail) != (item.reason, item.detail):
            await quarantine.reword(row.number, again.reason, again.detail)
        outcome = ReplayOutcome.PARTLY if count else ReplayOutcome.STILL
        return Replayed(row.number, outcome, again.detail, *counts, again.reason)
    outcome = ReplayOutcome.READ if count else ReplayOutcome.NOTHING
    resolution = f"read again: {count} {'reading' if count == 1 else 'readings'}" if count else "nothing to read in it"
    await quarantine.resolve(row.number, resolution, clock.now())
    return Replayed(row.number, outcome, resolution, *counts)


async def replay_all(
    redecoders: Redecoders,
    *,
    intake: Intake,
    quarantine: Quarantine,
    clock: Clock,
    reason: QuarantineReason | None = None,
) -> AsyncIterator[Replayed]:
    """Every open row (of one reason), by number, each once; as `replay`. One that no code foresaw stays as it was."""
    after = 0
    while rows := await quarantine.rows(reason=reason, after=after, limit=_CHUNK, oldest_first=True):
        for row in rows:
            after = row.number
            yield await contain(
                "quarantine.replay",
                partial(replay, row, redecoders, intake=intake, quarantine=quarantine, clock=clock),
                otherwise=partial(_failed, row),
                passing=StoreUnavailable,
            )


async def zones_of(registry: Registry, house: tzinfo) -> Callable[[DeviceId], tzinfo]:
    """The zone of a device's owner, as the store knows the household; `house` for a device without."""
    people = {person.person_id: person.time_zone for person in await registry.people()}
    zones: dict[DeviceId, tzinfo] = {
        device.device_id: people[device.person_id]
        for device in await registry.devices()
        if device.person_id is not None and device.person_id in people
    }
    return lambda device_id: zones.get(device_id, house)


def _failed(row: SetAside, error: Exception) -> Replayed:
    return _wanting(row, f"looking at it failed ({type(error).__name__})")


def _wanting(row: SetAside, words: str) -> Replayed:
    return Replayed(row.number, ReplayOutcome.WANTING, words, reason=row.item.reason)
