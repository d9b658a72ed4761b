"""Glucose meters and a sensor of the virtual device lab."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from gateway.devices.procedures import ScaleUser
from gateway.model import Meal
from gateway.sandbox.lab_plan import Plan
from gateway.sandbox.peripherals import (
    CgmSample,
    MeterContext,
    MeterRecord,
    OneTouchTest,
    VirtualCgm,
    VirtualMeter,
    VirtualOneTouch,
)
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.synthesis import FingerStick, SyntheticPerson

__all__ = ["MeterLife", "OneTouchLife", "SensorLife"]

_MEALS: Final = {Meal.PREPRANDIAL: 1, Meal.POSTPRANDIAL: 2, Meal.FASTING: 3, Meal.CASUAL: 4, Meal.BEDTIME: 5}
_INTERVAL: Final = timedelta(minutes=5)
_LONGEST_SESSION: Final = timedelta(days=14)
_NUMBERS: Final = 0x10000


def _finger_sticks(plan: Plan, person: SyntheticPerson) -> list[FingerStick]:
    """Every test since the device began to measure, ascending."""
    now, begin = plan.local_now(), plan.begin
    days = [begin.date() + timedelta(days=number) for number in range(plan.days + 1)]
    return [stick for day in days for stick in person.finger_sticks(day) if begin <= stick.local_time < now]


class MeterLife:
    """Three or four tests a day, with meal marks."""

    scale_user: ScaleUser | None = None
    uses: Sequence[datetime] = ()

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
        sticks = _finger_sticks(plan, self._person)
        for stick in sticks[plan.newest(len(sticks))]:
            self._store(stick.local_time, stick.glucose_mg_dl, stick.meal)

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


class OneTouchLife:
    """As the other meter, of a maker with a protocol of its own; without meal marks."""

    scale_user: ScaleUser | None = None
    uses: Sequence[datetime] = ()

    def __init__(self, air: VirtualAir, plan: Plan) -> None:
        self._plan = plan
        self._person = SyntheticPerson(plan.seed)
        self.device = VirtualOneTouch(
            air,
            plan.address or "C0:FF:EE:4C:00:08",
            plan.name or "OneTouch virtual",
            "VL000001",
            clock=plan.local_now,
            passkey=plan.passkey,
        )
        self.device.obey(plan.faults)
        sticks = _finger_sticks(plan, self._person)
        for stick in sticks[plan.newest(len(sticks))]:
            self._store(stick.local_time, stick.glucose_mg_dl)

    def _store(self, at: datetime, glucose_mg_dl: int) -> None:
        shown = at + (self.device.clock.now() - self._plan.local_now())
        self.device.add(OneTouchTest(shown.replace(microsecond=0), glucose_mg_dl))

    async def measure(self) -> None:
        now = self._plan.local_now()
        self._store(now, self._person.glucose_mg_dl(now))
        await self.device.wake()


class SensorLife:
    """A value every five minutes; one more each time that somebody measures."""

    scale_user: ScaleUser | None = None
    uses: Sequence[datetime] = ()

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
