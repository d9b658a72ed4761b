"""What a person should know about a device, and can do something about: from its link, its facts and its readings.

The page says each of these in a sentence with an action; what needs no person is not here.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Protocol

from gateway.devices.drivers import Permissions
from gateway.devices.procedures import Outcome
from gateway.devices.procedures.glucose_gap import GAP_FACT
from gateway.devices.procedures.sealed_scale import KEY_DOES_NOT_FIT
from gateway.model import Checkpoint, Device, DeviceId, DeviceKind, StoredReading
from gateway.normalise.broadcast import UNAUTHENTICATED
from gateway.normalise.times import CLOCK_TOLERANCE
from gateway.ports import Clock, ReadingStore, Registry

__all__ = ["Care", "Caretaker", "Concern", "Standing", "cares_of"]

_LOW_PERCENT: Final = 20
_GAP_IS_NEWS: Final = timedelta(days=30)


class Concern(enum.StrEnum):
    """What it is about; the most urgent first."""

    NEEDS_PAIRING = "needs_pairing"
    CODE_REFUSED = "code_refused"
    """A scale refuses the code of its owner's slot."""
    KEY_REFUSED = "key_refused"
    """A device that encrypts what it tells everybody does not open with the key that we have."""
    SESSION_ENDED = "session_ended"
    MEMORY_GAP = "memory_gap"
    """A meter has overwritten records before they were read."""
    MEMORY_UNSURE = "memory_unsure"
    """A meter counts its records anew: whether one was lost is not known."""
    BATTERY_LOW = "battery_low"
    CLOCK_BEING_SET = "clock_being_set"
    """Its clock is wrong; the gateway may set it, and will."""
    CLOCK_SETTABLE = "clock_settable"
    """Its clock is wrong; the gateway could set it, and may not."""
    CLOCK_BY_HAND = "clock_by_hand"
    """Its clock is wrong; only a person can set it."""
    OPEN_BROADCAST = "open_broadcast"
    """It only tells everybody around: anyone nearby could imitate it."""


@dataclass(frozen=True, slots=True)
class Care:
    """One thing that a person should know.

    Attributes:
        concern: what.
        count: per cent of the battery, lost records, or by how many minutes the clock is wrong; None: nothing to count.
        after, before: for a gap, days by the device's clock between which it lies; None: not known.
    """

    concern: Concern
    count: int | None = None
    after: date | None = None
    before: date | None = None

    def as_json(self) -> dict[str, Any]:
        """For the page and for programs."""
        days = {name: None if day is None else day.isoformat() for name, day in self._days}
        return {"concern": self.concern.value, "count": self.count, **days}

    @property
    def _days(self) -> tuple[tuple[str, date | None], ...]:
        return ("after", self.after), ("before", self.before)


class Standing(Protocol):
    """Where the gateway stands with a device, as its source tells it."""

    @property
    def device_id(self) -> DeviceId:
        """Which device."""
        ...

    @property
    def state(self) -> str:
        """`needs_pairing`, `session_ended`, `failed`, ..."""
        ...

    @property
    def detail(self) -> str | None:
        """Why."""
        ...

    @property
    def clock_offset(self) -> timedelta | None:
        """Our local time minus the device's at the last contact; None: not measured."""
        ...

    @property
    def can_set_clock(self) -> bool:
        """Whether its clock can be set over the link."""
        ...


def cares_of(
    device: Device,
    standing: Standing | None,
    *,
    facts: Sequence[Checkpoint] = (),
    statuses: Collection[str] = (),
    may_set_clock: bool = False,
    now: datetime,
) -> tuple[Care, ...]:
    """Everything that a person should know about `device`, the most urgent first.

    Args:
        standing: None: its source says nothing about it.
        facts: the device's.
        statuses: status words of its latest readings.
        may_set_clock: a person allows the gateway to set its clock.
        now: aware; a gap is told for thirty days.
    """
    found: list[Care] = []
    if standing is not None:
        found += _about_link(standing)
        if device.kind is not DeviceKind.CGM:  # its readings are placed by the start of its session
            found += _about_clock(standing, may_set_clock=may_set_clock)
    found += _about_gaps(facts, now)
    if device.battery_percent is not None and device.battery_percent <= _LOW_PERCENT:
        found.append(Care(Concern.BATTERY_LOW, device.battery_percent))
    if UNAUTHENTICATED in statuses:
        found.append(Care(Concern.OPEN_BROADCAST))
    order = tuple(Concern)
    return tuple(sorted(found, key=lambda care: order.index(care.concern)))


class Caretaker:
    """Looks after the devices of the household.

    Args:
        standings: of every device that a source collects from.
        permissions: what the gateway may change on a device.
    """

    def __init__(
        self,
        store: ReadingStore,
        registry: Registry,
        clock: Clock,
        *,
        standings: Callable[[], Sequence[Standing]] = tuple,
        permissions: Callable[[DeviceId], Permissions] = lambda _device_id: Permissions(),
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._standings = standings
        self._permissions = permissions

    async def look(
        self, devices: Sequence[Device] | None = None, latest: Sequence[StoredReading] | None = None
    ) -> Mapping[DeviceId, tuple[Care, ...]]:
        """What there is to know about each device.

        Args:
            devices, latest: of the registry and of the store, where the caller has them.
        """
        devices = await self._registry.devices() if devices is None else devices
        latest = await self._store.latest() if latest is None else latest
        statuses: dict[DeviceId, set[str]] = {}
        for item in latest:
            statuses.setdefault(item.reading.device_id, set()).update(item.reading.context.status)
        facts: dict[DeviceId, list[Checkpoint]] = {}
        for fact in await self._store.facts():
            facts.setdefault(fact.device_id, []).append(fact)
        standings = {standing.device_id: standing for standing in self._standings()}
        now = self._clock.now()
        return {
            device.device_id: cares_of(
                device,
                standings.get(device.device_id),
                facts=facts.get(device.device_id, ()),
                statuses=statuses.get(device.device_id, ()),
                may_set_clock=self._permissions(device.device_id).set_clock,
                now=now,
            )
            for device in devices
        }


def _about_link(standing: Standing) -> list[Care]:
    if standing.state == "needs_pairing":
        return [Care(Concern.NEEDS_PAIRING)]
    if standing.state == "session_ended":
        return [Care(Concern.SESSION_ENDED)]
    if standing.state == "failed" and standing.detail == Outcome.CONSENT_REFUSED.value:
        return [Care(Concern.CODE_REFUSED)]
    if standing.state == "failed" and standing.detail == KEY_DOES_NOT_FIT:
        return [Care(Concern.KEY_REFUSED)]
    return []


def _about_clock(standing: Standing, *, may_set_clock: bool) -> list[Care]:
    offset = standing.clock_offset
    if offset is None or abs(offset) <= CLOCK_TOLERANCE:
        return []
    minutes = round(abs(offset).total_seconds() / 60)
    if not standing.can_set_clock:
        return [Care(Concern.CLOCK_BY_HAND, minutes)]
    return [Care(Concern.CLOCK_BEING_SET if may_set_clock else Concern.CLOCK_SETTABLE, minutes)]


def _about_gaps(facts: Sequence[Checkpoint], now: datetime) -> list[Care]:
    found = []
    for fact in facts:
        if fact.name.startswith(f"{GAP_FACT}."):
            count, after, before = (
                fact.state.get("count"),
                _day(fact.state.get("after")),
                _day(fact.state.get("before")),
            )
            newest = before or after
            if newest is None or now.date() - newest <= _GAP_IS_NEWS:
                is_known = isinstance(count, int)
                concern = Concern.MEMORY_GAP if is_known else Concern.MEMORY_UNSURE
                found.append(Care(concern, count if isinstance(count, int) else None, after, before))
    return found


def _day(text: object) -> date | None:
    try:
        return datetime.fromisoformat(text).date() if isinstance(text, str) else None
    except ValueError:
        return None
