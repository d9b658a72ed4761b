"""The virtual device lab: kinds of devices by name, each with a life that follows from a seed.

`KINDS` is where a new kind is entered: one line, a function from an air and a `Plan` to a `Specimen`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Final, Protocol

from gateway.clock import SystemClock
from gateway.devices.procedures import ScaleUser
from gateway.model import DeviceKind, Meal
from gateway.sandbox._central import is_random_static
from gateway.sandbox.peripherals import (
    CgmSample,
    MeterContext,
    MeterRecord,
    VirtualCgm,
    VirtualMeter,
    VirtualScale,
    WeighIn,
)
from gateway.sandbox.peripherals.faults import Faults
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.synthesis import FingerStick, SyntheticPerson

__all__ = ["KINDS", "Kind", "LabClock", "Plan", "Specimen", "is_random_static"]

_MEALS: Final = {Meal.PREPRANDIAL: 1, Meal.POSTPRANDIAL: 2, Meal.FASTING: 3, Meal.CASUAL: 4, Meal.BEDTIME: 5}
_INTERVAL: Final = timedelta(minutes=5)
_LONGEST_SESSION: Final = timedelta(days=14)
_SCALE_USER: Final = ScaleUser(1, 4711)
_NUMBERS: Final = 0x10000


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
    """

    scale_user: ScaleUser | None

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
    """

    title: str
    device_kind: DeviceKind
    build: Callable[[VirtualAir, Plan], Specimen]


class _Meter:
    """Three or four tests a day, with meal marks."""

    scale_user: ScaleUser | None = None

    def __init__(self, air: VirtualAir, plan: Plan) -> None:
        self._plan = plan
        self._person = SyntheticPerson(plan.seed)
        self.device = VirtualMeter(
            air,
            plan.address or "C0:FF:EE:4C:00:01",
            plan.name or "Virtual meter",
            "VM000001",
            clock=plan.local_now,
            passkey=plan.passkey,
        )
        self.device.obey(plan.faults)
        sticks = self._sticks()
        for stick in sticks[plan.newest(len(sticks))]:
            self._store(stick.local_time, stick.glucose_mg_dl, stick.meal)

    def _sticks(self) -> list[FingerStick]:
        now, begin = self._plan.local_now(), self._plan.begin
        days = [begin.date() + timedelta(days=number) for number in range(self._plan.days + 1)]
        return [stick for day in days for stick in self._person.finger_sticks(day) if begin <= stick.local_time < now]

    def _store(self, at: datetime, glucose_mg_dl: int, meal: Meal) -> None:
        """The meter's own clock may be another than the person's."""
        device = self.device
        number = device.next_sequence if device.records else self._plan.faults.counter
        base_time = at + (device.clock.base_time - self._plan.local_now())
        record = MeterRecord(
            number % _NUMBERS,
            base_time.replace(microsecond=0),
            Decimal(glucose_mg_dl),
            context=MeterContext(meal=_MEALS[meal]),
        )
        device.records.append(record)

    async def measure(self) -> None:
        now = self._plan.local_now()
        self._store(now, self._person.glucose_mg_dl(now), Meal.CASUAL)
        await self.device.wake()


class _Sensor:
    """A value every five minutes; one more each time that somebody measures."""

    scale_user: ScaleUser | None = None

    def __init__(self, air: VirtualAir, plan: Plan) -> None:
        self._plan = plan
        self._person = SyntheticPerson(plan.seed)
        worn = min(timedelta(days=plan.days), _LONGEST_SESSION - _INTERVAL)
        self._start = plan.clock.now().replace(microsecond=0) - worn
        samples = [self._sample(number) for number in range(1, worn // _INTERVAL + 1)]
        self.device = VirtualCgm(
            air,
            plan.address or "C0:FF:EE:4C:00:02",
            plan.name or "Virtual sensor",
            "VC000001",
            samples[plan.newest(len(samples))],
            session_start=self._start,
            zone=plan.zone,
            passkey=plan.passkey,
        )
        self.device.obey(plan.faults)
        self._next = len(samples) + 1

    def _sample(self, number: int) -> CgmSample:
        at = (self._start + number * _INTERVAL).astimezone(self._plan.zone).replace(tzinfo=None)
        mg_dl, before = self._person.glucose_mg_dl(at), self._person.glucose_mg_dl(at - _INTERVAL)
        trend = (Decimal(mg_dl - before) / 5).quantize(Decimal("0.1"))
        return CgmSample(5 * number, Decimal(min(400, max(40, mg_dl))), trend_mg_dl_min=trend)

    async def measure(self) -> None:
        number, self._next = self._next, self._next + 1
        await self.device.add_sample(self._sample(number))


class _Scale:
    """Somebody steps on it in the morning; it knows one person, in slot 1 with the code 4711."""

    scale_user: ScaleUser | None = _SCALE_USER

    def __init__(self, air: VirtualAir, plan: Plan) -> None:
        self._plan = plan
        self._person = SyntheticPerson(plan.seed)
        self.device = VirtualScale(
            air,
            plan.address or "C0:FF:EE:4C:00:03",
            plan.name or "Virtual scale",
            "VS000001",
            users={_SCALE_USER.index: _SCALE_USER.consent_code},
            clock=plan.local_now,
            passkey=plan.passkey,
        )
        self.device.obey(plan.faults)
        found = self._mornings()
        for weigh_in in found[plan.newest(len(found))]:
            self.device.remember(weigh_in)

    def _mornings(self) -> list[WeighIn]:
        now, begin = self._plan.local_now(), self._plan.begin
        days = [begin.date() + timedelta(days=number) for number in range(self._plan.days + 1)]
        found = [weigh_in for day in days if (weigh_in := self._person.weigh_in(day)) is not None]
        return [
            self._weigh_in(each.local_time, each.mass_kg, each.fat_percent)
            for each in found
            if begin <= each.local_time < now
        ]

    def _weigh_in(self, at: datetime, mass_kg: Decimal, fat_percent: Decimal) -> WeighIn:
        shown = at + (self.device.clock.now() - self._plan.local_now())
        return WeighIn(mass_kg, _SCALE_USER.index, shown.replace(microsecond=0), fat_percent=fat_percent)

    async def measure(self) -> None:
        now = self._plan.local_now()
        days = (datetime.combine(now.date(), time()) - timedelta(days=back) for back in range(30))
        usual = next(found for day in days if (found := self._person.weigh_in(day.date())) is not None)
        await self.device.weigh(self._weigh_in(now, usual.mass_kg, usual.fat_percent))


KINDS: Final[Mapping[str, Kind]] = {
    "glucose-meter": Kind("a blood glucose meter with a memory", DeviceKind.GLUCOSE_METER, _Meter),
    "cgm": Kind("a continuous glucose sensor", DeviceKind.CGM, _Sensor),
    "scale": Kind("a body composition scale for one person", DeviceKind.BODY_COMPOSITION_ANALYSER, _Scale),
}
"""What `gateway simulate` can be, by name."""
