"""What the pages say about payloads that were set aside and about results that are missing. Knows no HTML."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from gateway.missing import Missing, missing_readings
from gateway.model import DeviceId, Metric, QuarantineReason
from gateway.ports import Clock, Ledger, Quarantine, ReadingStore, Registry

__all__ = ["Leftovers", "OpenGap", "SetAsidePage", "SetAsideRow"]

_MOST_ROWS: Final = 100
_LOOKED_BACK: Final = timedelta(days=1)
_LONGEST_CHANNEL: Final = 60


@dataclass(frozen=True, slots=True)
class SetAsideRow:
    """One payload that was set aside, without the payload.

    Attributes:
        device: what the pages call the sender; None: not known.
        channel: where it came in: a topic, a characteristic; cut.
        local_time: naive, the house's wall clock.
        detail: the decoder's own sentence, English, without values.
    """

    number: int
    reason: QuarantineReason
    device: str | None
    channel: str
    local_time: datetime
    detail: str


@dataclass(frozen=True, slots=True)
class SetAsidePage:
    """The newest of what was set aside, those that contradict their sender first; `total` counts the others too."""

    rows: tuple[SetAsideRow, ...]
    total: int


@dataclass(frozen=True, slots=True)
class OpenGap:
    """A sensor from which nothing comes any more: since when (naive, the house's wall clock), and why."""

    since: datetime
    reason: str


class Leftovers:
    """Gathers both from the ports; holds no state.

    Args:
        house: zone of the house.
    """

    def __init__(
        self,
        quarantine: Quarantine,
        ledger: Ledger,
        store: ReadingStore,
        registry: Registry,
        clock: Clock,
        house: tzinfo,
    ) -> None:
        self._quarantine = quarantine
        self._ledger = ledger
        self._store = store
        self._registry = registry
        self._clock = clock
        self._house = house

    async def counts(self) -> tuple[int, int]:
        """How many payloads are set aside, and how many of them contradict their sender."""
        counts = await self._quarantine.counts()
        return sum(counts.values()), counts.get(QuarantineReason.IDENTITY_MISMATCH, 0)

    async def set_aside(self) -> SetAsidePage:
        """The list."""
        mismatch = QuarantineReason.IDENTITY_MISMATCH
        first = await self._quarantine.rows(reason=mismatch, limit=_MOST_ROWS)
        others = [row for row in await self._quarantine.rows(limit=_MOST_ROWS) if row.item.reason is not mismatch]
        names = {device.device_id: device.display_name for device in await self._registry.devices()}
        total, _ = await self.counts()
        return SetAsidePage(
            tuple(
                SetAsideRow(
                    number=row.number,
                    reason=row.item.reason,
                    device=None if row.item.frame.device_id is None else names.get(row.item.frame.device_id),
                    channel=_cut(row.item.frame.channel),
                    local_time=row.item.frame.received_at.astimezone(self._house).replace(tzinfo=None),
                    detail=row.item.detail,
                )
                for row in (*first, *others)
            ),
            total,
        )

    async def open_gaps(self) -> dict[DeviceId, OpenGap]:
        """Sensors whose results have stopped coming within the last day, by device."""
        now = self._clock.now()
        found = await missing_readings(
            self._store, self._ledger, start=now - _LOOKED_BACK, end=now, metrics=(Metric.GLUCOSE_INTERSTITIAL,)
        )
        gaps: dict[DeviceId, Missing] = {}
        for missing in found:
            if missing.metric is not None and missing.gap.is_open:
                gaps[missing.device_id] = missing
        return {
            device_id: OpenGap(missing.gap.start.astimezone(self._house).replace(tzinfo=None), missing.gap.reason.value)
            for device_id, missing in gaps.items()
        }


def _cut(channel: str) -> str:
    return channel if len(channel) <= _LONGEST_CHANNEL else channel[: _LONGEST_CHANNEL - 1] + "…"
