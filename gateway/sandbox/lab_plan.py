"""What the kinds of the virtual device lab are made of: the lab's time, a plan, a specimen, a catalogue entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Protocol

from gateway.clock import SystemClock
from gateway.devices.procedures import ScaleUser
from gateway.model import DeviceKind
from gateway.sandbox.peripherals.fault_needs import Part, refuse
from gateway.sandbox.peripherals.faults import Faults, FaultsError
from gateway.sandbox.radio import VirtualAir

__all__ = ["Device", "Kind", "LabClock", "Plan", "Specimen"]


class LabClock(SystemClock):
    """A wall clock that begins where it is told and runs `speed` times as fast as the machine's.

    Attributes:
        speed: as given.
    """

    def __init__(self, start: datetime | None = None, speed: float = 1.0) -> None:
        """`start` is aware; None: now."""
        self._start = start or super().now()
        self.speed = speed
        self._began_s = self.monotonic()

    def now(self) -> datetime:
        """The lab's instant, UTC."""
        elapsed_s = (self.monotonic() - self._began_s) * self.speed
        return (self._start + timedelta(seconds=elapsed_s)).astimezone(UTC)

    def set(self, instant: datetime) -> None:
        """It is `instant`, aware, now; time goes on from there."""
        self._start, self._began_s = instant, self.monotonic()

    @property
    def is_trusted(self) -> bool:
        """It is right by definition."""
        return True


@dataclass(frozen=True, slots=True)
class Plan:
    """What a virtual device is to be.

    Attributes:
        clock: the lab's time.
        zone: where the person lives.
        seed: which person.
        days: how long the device has been measuring.
        records: how many of the newest measurements of that time it starts with; None: all.
        faults: what goes wrong.
        passkey: six digits on its display; None: Just Works.
        address, name: None: those of the kind.
        is_on_air: whether others listen, for whom time passes as it does; else nobody is made to wait.
    """

    clock: LabClock
    zone: tzinfo
    seed: int = 7
    days: int = 3
    records: int | None = None
    faults: Faults = field(default_factory=Faults)
    passkey: int | None = None
    address: str | None = None
    name: str | None = None
    is_on_air: bool = False

    def local_now(self) -> datetime:
        """The person's wall clock, naive, whole seconds."""
        return self.clock.now().astimezone(self.zone).replace(tzinfo=None, microsecond=0)

    @property
    def begin(self) -> datetime:
        """When the device began to measure, local, naive."""
        return self.local_now() - timedelta(days=self.days)

    def newest(self, count: int) -> slice:
        """Which of `count` measurements, oldest first, the device starts with."""
        return slice(max(0, count - self.records) if self.records is not None else 0, count)

    def past(self, times: Callable[[date], Iterable[datetime]]) -> list[datetime]:
        """The newest of the times at which it has been used, local, naive, ascending; `times` gives those of a day."""
        now, begin = self.local_now(), self.begin
        days = [begin.date() + timedelta(days=number) for number in range(self.days + 1)]
        found = [at for day in days for at in times(day) if begin <= at < now]
        return found[self.newest(len(found))]

    def instant(self, local_time: datetime) -> datetime:
        """A local time as an instant, UTC."""
        return local_time.replace(tzinfo=self.zone).astimezone(UTC)


class Device(Protocol):
    """What the lab needs of a virtual device."""

    address: str
    name: str

    async def start(self) -> None:
        """Power on."""
        ...

    async def stop(self) -> None:
        """Leave the air."""
        ...


class Specimen(Protocol):
    """A virtual device and the life it leads.

    Attributes:
        device: not started yet.
        scale_user: what a client must know to be given measurements, or None.
        uses: when somebody has used a device that remembers nothing, local, naive, ascending: what of its past can be
            shown by living it again. Empty for a device with a memory.
    """

    scale_user: ScaleUser | None
    uses: Sequence[datetime]

    @property
    def device(self) -> Device:
        """The virtual device."""
        ...

    async def measure(self) -> None:
        """Somebody uses it now; it wakes up."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """An entry of the catalogue.

    Attributes:
        title: in a few words.
        device_kind: what the gateway calls it.
        build: the device as planned, with its memory, powered off.
        parts: what can go wrong with it.
        sleeps: whether it falls asleep when it has told everything, so that a client may come back whenever it is
            awake; another is awake all day.
        first_year: the earliest that its clock can say.
    """

    title: str
    device_kind: DeviceKind
    build: Callable[[VirtualAir, Plan], Specimen]
    parts: frozenset[Part]
    sleeps: bool = False
    first_year: int = 1970

    def check(self, faults: Faults) -> None:
        """Raises FaultsError, which says why, when a device of this kind cannot go wrong like that."""
        refuse(faults, self.parts)
        if faults.clock is not None and faults.clock.year < self.first_year:
            raise FaultsError(f"'clock': the clock of this device cannot say a year before {self.first_year}")
