"""A cuff, a thermometer, an oximeter and a belt of the virtual device lab."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from gateway.devices.procedures import ScaleUser
from gateway.sandbox.lab_plan import Plan
from gateway.sandbox.peripherals import (
    CuffReading,
    HeartBeat,
    SpotCheck,
    Temperature,
    VirtualBloodPressureMonitor,
    VirtualHeartRateBelt,
    VirtualOximeter,
    VirtualThermometer,
)
from gateway.sandbox.peripherals.clock import DeviceClock
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.synthesis_vital_signs import SyntheticVitals

__all__ = ["BeltLife", "CuffLife", "OximeterLife", "ThermometerLife"]

_MORNING, _EVENING, _AFTER_WORK = 7.2, 20.4, 17.8
_MOUTH: Final = 6
_VALIDATED: Final = 0x0080
_WORN_S: Final = 60
_TICKS_PER_MIN: Final = 60 * 1024


def _shown(clock: DeviceClock, plan: Plan, at: datetime) -> datetime:
    """What the device's clock says, or said, at `at`."""
    return (at + (clock.now() - plan.local_now())).replace(microsecond=0)


class CuffLife:
    """Blood pressure in the morning and in the evening; the cuff hangs up and sleeps when it has told everything."""

    scale_user: ScaleUser | None = None
    uses: Sequence[datetime] = ()

    def __init__(self, air: VirtualAir, plan: Plan) -> None:
        self._plan = plan
        self._person = SyntheticVitals(plan.seed)
        self._count = 0
        self.device = VirtualBloodPressureMonitor(
            air,
            plan.address or "C0:FF:EE:4C:00:04",
            plan.name or "Virtual cuff",
            "VB000001",
            clock=plan.local_now,
            passkey=plan.passkey,
        )
        self.device.hangs_up = self.device.sleeps = True
        self.device.obey(plan.faults)
        for at in plan.past(self._times):
            self.device.remember(self._reading(at))

    def _times(self, day: date) -> list[datetime]:
        return self._person.habit(day, "pressure", _MORNING, _EVENING)

    def _reading(self, at: datetime) -> CuffReading:
        self._count += 1
        found = self._person.blood_pressure(at)
        reading = CuffReading(
            Decimal(found.systolic),
            Decimal(found.diastolic),
            Decimal(found.mean),
            time_stamp=_shown(self.device.clock, self._plan, at),
            pulse_per_min=Decimal(found.pulse_per_min),
            user=1,
            status=0,
        )
        return self.device.as_stored(reading, self._count, "systolic")

    async def measure(self) -> None:
        await self.device.measure(self._reading(self._plan.local_now()))


class ThermometerLife:
    """In the mouth, in the morning; it sleeps when it has told everything."""

    scale_user: ScaleUser | None = None
    uses: Sequence[datetime] = ()

    def __init__(self, air: VirtualAir, plan: Plan) -> None:
        self._plan = plan
        self._person = SyntheticVitals(plan.seed)
        self._count = 0
        self.device = VirtualThermometer(
            air,
            plan.address or "C0:FF:EE:4C:00:05",
            plan.name or "Virtual thermometer",
            "VT000001",
            clock=plan.local_now,
            site=_MOUTH,
            passkey=plan.passkey,
        )
        self.device.hangs_up = self.device.sleeps = True
        self.device.obey(plan.faults)
        for at in plan.past(self._times):
            self.device.remember(self._temperature(at))

    def _times(self, day: date) -> list[datetime]:
        return self._person.habit(day, "temperature", _MORNING)

    def _temperature(self, at: datetime) -> Temperature:
        self._count += 1
        shown = _shown(self.device.clock, self._plan, at)
        temperature = Temperature(self._person.temperature_c(at), time_stamp=shown)
        return self.device.as_stored(temperature, self._count, "temperature")

    async def measure(self) -> None:
        await self.device.measure(self._temperature(self._plan.local_now()))


class OximeterLife:
    """A finger in it in the evening, as a spot check; its memory can be asked for."""

    scale_user: ScaleUser | None = None
    uses: Sequence[datetime] = ()

    def __init__(self, air: VirtualAir, plan: Plan) -> None:
        self._plan = plan
        self._person = SyntheticVitals(plan.seed)
        self._count = 0
        self.device = VirtualOximeter(
            air,
            plan.address or "C0:FF:EE:4C:00:06",
            plan.name or "Virtual oximeter",
            "VO000001",
            clock=plan.local_now,
            passkey=plan.passkey,
        )
        self.device.obey(plan.faults)
        self.device.records.extend(self._check(at) for at in plan.past(self._times))

    def _times(self, day: date) -> list[datetime]:
        return self._person.habit(day, "saturation", _EVENING)

    def _check(self, at: datetime) -> SpotCheck:
        self._count += 1
        check = SpotCheck(
            self._person.saturation_percent(at),
            Decimal(self._person.pulse(at)),
            _shown(self.device.clock, self._plan, at),
            measurement_status=_VALIDATED,
            device_status=0,
        )
        return self.device.as_stored(check, self._count, "saturation_percent")

    async def measure(self) -> None:
        await self.device.check(self._check(self._plan.local_now()))


class BeltLife:
    """Worn for a minute of a walk after work, then taken off; it remembers nothing. A bond only with a passkey."""

    scale_user: ScaleUser | None = None

    def __init__(self, air: VirtualAir, plan: Plan) -> None:
        self._plan = plan
        self._person = SyntheticVitals(plan.seed)
        self.device = VirtualHeartRateBelt(
            air,
            plan.address or "C0:FF:EE:4C:00:07",
            plan.name or "Virtual belt",
            "VH000001",
            passkey=plan.passkey,
            secure=plan.passkey is not None,
        )
        self.device.hangs_up = True
        self.device.wakes_at_start = False
        self.device.period_s = 1 / plan.clock.speed if plan.is_on_air else 0
        self.device.obey(plan.faults)
        self.uses: Sequence[datetime] = plan.past(lambda day: self._person.habit(day, "walk", _AFTER_WORK))

    def _beats(self, at: datetime) -> Iterator[HeartBeat]:
        for rate in self._person.walk(at, _WORN_S):
            yield HeartBeat(rate, has_contact=True, rr_intervals_1024=(_TICKS_PER_MIN // rate,))
        self.device.stays_awake = False

    async def measure(self) -> None:
        self.device.stays_awake = True
        self.device.beat(self._beats(self._plan.local_now()))
        await self.device.wake()
