"""Scales of the virtual device lab: one that is connected to, and three that only broadcast."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from gateway.devices.procedures import ScaleUser
from gateway.sandbox.broadcast_frames import encode_bthome_mass
from gateway.sandbox.lab_plan import Plan
from gateway.sandbox.peripherals import VirtualBroadcaster, VirtualScale, WeighIn
from gateway.sandbox.peripherals.broadcaster import xiaomi_weigh_in
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.synthesis import SyntheticPerson
from gateway.sandbox.synthesis import WeighIn as Weighed

__all__ = ["BroadcastLife", "BthomeLife", "MiBodyCompositionLife", "MiScaleLife", "ScaleLife"]

_SCALE_USER: Final = ScaleUser(1, 4711)


def _usual(person: SyntheticPerson, day: date) -> Weighed:
    """The weigh-in of the last day, up to `day`, on which there was one."""
    days = (day - timedelta(days=back) for back in range(30))
    return next(found for each in days if (found := person.weigh_in(each)) is not None)


class ScaleLife:
    """Somebody steps on it in the morning; it knows one person, in slot 1 with the code 4711."""

    scale_user: ScaleUser | None = _SCALE_USER
    uses: Sequence[datetime] = ()

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
        usual = _usual(self._person, now.date())
        await self.device.weigh(self._weigh_in(now, usual.mass_kg, usual.fat_percent))


class BroadcastLife:
    """Somebody steps on it in the morning, and it tells everybody near; it remembers nothing."""

    scale_user: ScaleUser | None = None
    service: int
    default_address: str
    default_name: str

    def __init__(self, air: VirtualAir, plan: Plan) -> None:
        self._plan = plan
        self._person = SyntheticPerson(plan.seed)
        self.device = VirtualBroadcaster(
            air, plan.address or self.default_address, plan.name or self.default_name, self.service
        )
        self.uses: Sequence[datetime] = plan.past(self._morning)
        self._behind: timedelta | None = None
        self._count = 0

    def _morning(self, day: date) -> list[datetime]:
        found = self._person.weigh_in(day)
        return [] if found is None else [found.local_time]

    async def measure(self) -> None:
        faults, now = self._plan.faults, self._plan.local_now()
        if self._behind is None:
            self._behind = timedelta() if faults.clock is None else now - faults.clock
        if faults.silent_after is not None and self._count >= faults.silent_after:
            return
        self._count += 1
        told = self.weigh_in(_usual(self._person, now.date()).mass_kg, now - self._behind)
        if faults.corrupt.fires(self._count, "corrupt", faults.seed):
            told = [payload[:-1] for payload in told]
        if faults.duplicate.fires(self._count, "duplicate", faults.seed):
            told *= 2
        await asyncio.sleep(faults.gap_s)
        await self.device.tell_each(told)

    def weigh_in(self, mass_kg: Decimal, shown: datetime) -> list[bytes]:
        """What it tells one after the other; `shown`: its clock."""
        return xiaomi_weigh_in(self.service, mass_kg, shown)


class MiScaleLife(BroadcastLife):
    """The scale that knows the weight only."""

    service = 0x181D
    default_address = "C0:FF:EE:4C:00:09"
    default_name = "MI_SCALE"


class MiBodyCompositionLife(BroadcastLife):
    """The scale that also sends a current through the feet."""

    service = 0x181B
    default_address = "C0:FF:EE:4C:00:0A"
    default_name = "MIBFS"

    def weigh_in(self, mass_kg: Decimal, shown: datetime) -> list[bytes]:
        """With an impedance that changes little from day to day."""
        stable = random.Random(f"impedance/{self._plan.seed}")
        daily = random.Random(f"impedance/{self._plan.seed}/{self._plan.local_now().date()}")
        impedance_ohm = round(stable.uniform(430, 560) + daily.gauss(0, 4))
        return xiaomi_weigh_in(self.service, mass_kg, shown, impedance_ohm)


class BthomeLife(BroadcastLife):
    """A home-made one without a clock, which counts its packets."""

    service = 0xFCD2
    default_address = "C0:FF:EE:4C:00:0B"
    default_name = "SCALE"

    def weigh_in(self, mass_kg: Decimal, shown: datetime) -> list[bytes]:
        """One packet."""
        del shown
        return [encode_bthome_mass(mass_kg, self._count, battery_percent=90)]
