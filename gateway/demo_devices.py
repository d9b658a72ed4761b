"""The virtual devices of the demonstration and their lives: what they measured before, and go on measuring.

Everything they have ever measured follows from one seed and the day the story began; what people did while the
demonstration ran (tests, weigh-ins) is written down, so that a second start has the same devices.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from gateway.clock import SystemClock
from gateway.model import DeviceId, Meal
from gateway.sandbox.broker import Broker
from gateway.sandbox.mqtt_scale import MqttScale
from gateway.sandbox.peripherals import (
    CgmSample,
    MeterContext,
    MeterRecord,
    VirtualCgm,
    VirtualMeter,
    VirtualScale,
    WeighIn,
)
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.synthesis import SyntheticPerson

__all__ = ["DemoDevices"]

_SENSOR_DAYS = 20
_HELD_BACK = timedelta(minutes=45)
_METER_SLOW = timedelta(hours=1, minutes=7)
_MEALS = {Meal.PREPRANDIAL: 1, Meal.POSTPRANDIAL: 2, Meal.FASTING: 3, Meal.CASUAL: 4, Meal.BEDTIME: 5}
_SCALE_USER = 1
_CHILD_KG = Decimal("21.40")
_CATCH_UP_S, _FIRST_ACT_S, _TEST_EVERY_S, _WEIGH_EVERY_S = 4.0, 12.0, 60.0, 90.0


class DemoDevices:
    """A meter, a sensor and a scale on the virtual air, a scale on MQTT, and a meter that nobody has paired yet."""

    CONFIGURATION: ClassVar[tuple[dict[str, Any], ...]] = (
        {
            "id": "meter",
            "kind": "glucose_meter",
            "name": "Lecteur de glycémie",
            "person": "camille",
            "address": "C0:FF:EE:00:00:01",
        },
        {
            "id": "sensor",
            "kind": "cgm",
            "name": "Capteur de glucose",
            "person": "camille",
            "address": "C0:FF:EE:00:00:02",
        },
        {
            "id": "scale-c",
            "kind": "body_composition_analyser",
            "name": "Pèse-personne Bluetooth",
            "person": "camille",
            "address": "C0:FF:EE:00:00:03",
            "scale_user": _SCALE_USER,
        },
        {
            "id": "scale-d",
            "kind": "scale",
            "name": "Pèse-personne MQTT",
            "people": ["camille", "dominique"],
            "manufacturer": "Passerelle Virtual Devices",
            "model": "MQTT-1",
        },
    )

    def __init__(
        self, memory: Path, air: VirtualAir, born: datetime, zone: tzinfo, scale_code: int, passkey: int
    ) -> None:
        self._memory = memory
        self._born = born
        self._zone = zone
        self._clock = SystemClock()
        self._camille, self._dominique = SyntheticPerson(7), SyntheticPerson(21)
        self._kept: dict[str, list[list[Any]]] = {"tests": [], "weigh_ins": [], "guests": []}
        if memory.exists():
            self._kept |= json.loads(memory.read_text(encoding="utf-8"))
        self._session_start = self._current_session()
        self._sent_min = -5
        self.meter = VirtualMeter(
            air, "C0:FF:EE:00:00:01", "meter+00000042", "00000042", self._meter_records(), clock=self._meter_clock
        )
        self.sensor = VirtualCgm(
            air,
            "C0:FF:EE:00:00:02",
            "Virtual CGM",
            "CGM00017",
            self._sensor_samples(),
            session_start=self._session_start,
            zone=zone,
            run_time_h=_SENSOR_DAYS * 24,
        )
        self.scale = VirtualScale(
            air, "C0:FF:EE:00:00:03", "Virtual Scale", "BS000003", users={_SCALE_USER: scale_code}, clock=self._local
        )

        self.stranger = VirtualMeter(
            air,
            "C0:FF:EE:00:00:04",
            "meter+00000077",
            "00000077",
            self._stranger_records(),
            clock=self._local,
            passkey=passkey,
        )

    async def power_on(self) -> None:
        """Put the devices on the air."""
        for device in (self.meter, self.sensor, self.scale, self.stranger):
            await device.start()

    async def live(self, broker: Broker, mqtt_password: str) -> None:
        """Go on measuring, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sensor_life(), name="demo.sensor")
            tasks.create_task(self._meter_life(), name="demo.meter")
            tasks.create_task(self._scale_life(), name="demo.scale")
            tasks.create_task(self._mqtt_life(broker, mqtt_password), name="demo.mqtt_scale")

    # Time

    def _local(self) -> datetime:
        return self._clock.now().astimezone(self._zone).replace(tzinfo=None, microsecond=0)

    def _meter_clock(self) -> datetime:
        return self._local() - _METER_SLOW

    def _current_session(self) -> datetime:
        sensors = (self._clock.now() - self._born) // timedelta(days=_SENSOR_DAYS)
        return self._born + sensors * timedelta(days=_SENSOR_DAYS)

    # What there is

    def _sample(self, offset_min: int) -> CgmSample:
        at = (self._session_start + timedelta(minutes=offset_min)).astimezone(self._zone).replace(tzinfo=None)
        before = at - timedelta(minutes=5)
        mg_dl = self._camille.glucose_mg_dl(at)
        rate = Decimal(mg_dl - self._camille.glucose_mg_dl(before)) / 5
        warning = 0x40 if mg_dl < 40 else 0x80 if mg_dl > 400 else 0
        shown = Decimal(min(400, max(40, mg_dl)))
        return CgmSample(offset_min, shown, trend_mg_dl_min=rate.quantize(Decimal("0.1")), warning=warning or None)

    def _sensor_samples(self) -> list[CgmSample]:
        until = self._clock.now() - _HELD_BACK
        samples = []
        while self._session_start + timedelta(minutes=self._sent_min + 5) <= until:
            self._sent_min += 5
            samples.append(self._sample(self._sent_min))
        return samples

    def _meter_records(self) -> list[MeterRecord]:
        """What the meter holds: the tests written down, then those that were due since, but not of the last minutes."""
        now, tests = self._local(), self._kept["tests"]
        newest = datetime.fromisoformat(tests[-1][0]) if tests else self._born_locally()
        day = newest.date()
        while day <= now.date():
            tests += [
                [stick.local_time.isoformat(), stick.glucose_mg_dl, stick.meal.value]
                for stick in self._camille.finger_sticks(day)
                if newest < stick.local_time < now - timedelta(minutes=5)
            ]
            day += timedelta(days=1)
        return [self._record(number, test) for number, test in enumerate(tests, start=1)]

    def _stranger_records(self) -> list[MeterRecord]:
        """Two days of Dominique's, for whoever pairs the meter."""
        now = self._local()
        sticks = [
            stick
            for days_ago in (2, 1)
            for stick in self._dominique.finger_sticks((now - timedelta(days=days_ago)).date())
        ]
        return [
            MeterRecord(
                number, stick.local_time, Decimal(stick.glucose_mg_dl), context=MeterContext(meal=_MEALS[stick.meal])
            )
            for number, stick in enumerate(sticks, start=1)
        ]

    def _record(self, number: int, test: list[Any]) -> MeterRecord:
        return MeterRecord(
            sequence=number,
            base_time=datetime.fromisoformat(test[0]) - _METER_SLOW,
            glucose=Decimal(test[1]),
            context=MeterContext(meal=_MEALS[Meal(test[2])]),
        )

    def _born_locally(self) -> datetime:
        return self._born.astimezone(self._zone).replace(tzinfo=None)

    def _weigh_ins(self, person: SyntheticPerson, extra: list[list[Any]]) -> list[tuple[datetime, Decimal, Decimal]]:
        """(local time, kg, fat %) of every morning of the story, and what was measured while it ran, ascending."""
        now, day = self._local(), self._born_locally().date()
        found = [(datetime.fromisoformat(at), Decimal(kg), Decimal(fat)) for at, kg, fat in extra]
        while day <= now.date():
            weigh_in = person.weigh_in(day)
            if weigh_in is not None and weigh_in.local_time < now:
                found.append((weigh_in.local_time, weigh_in.mass_kg, weigh_in.fat_percent))
            day += timedelta(days=1)
        return sorted(found)

    # Living

    def _write_down(self) -> None:
        fresh = self._memory.with_suffix(".new")
        fresh.write_text(json.dumps(self._kept), encoding="utf-8")
        fresh.replace(self._memory)

    async def _sensor_life(self) -> None:
        """Catch up with the clock, a value every few seconds; then one every five minutes, as a sensor does."""
        while True:
            due = self._session_start + timedelta(minutes=self._sent_min + 5)
            behind = self._clock.now() - due
            await asyncio.sleep(_CATCH_UP_S if behind >= timedelta(0) else -behind.total_seconds())
            self._sent_min += 5
            await self.sensor.add_sample(self._sample(self._sent_min))

    async def _meter_life(self) -> None:
        await self.meter.wake()
        await asyncio.sleep(_FIRST_ACT_S)
        while True:
            now = self._local()
            test = [now.isoformat(), self._camille.glucose_mg_dl(now), Meal.CASUAL.value]
            self._kept["tests"].append(test)
            await asyncio.to_thread(self._write_down)
            await self.meter.add_record(self._record(len(self._kept["tests"]), test))
            await asyncio.sleep(_TEST_EVERY_S)

    async def _scale_life(self) -> None:
        for at, mass_kg, fat_percent in self._weigh_ins(self._camille, []):
            await self.scale.weigh(WeighIn(mass_kg, _SCALE_USER, at, fat_percent=fat_percent))

    async def _receive_a_guest(self, scale: MqttScale) -> None:
        """Once in the story a child stands on the scale that the two share."""
        guests = self._kept["guests"]
        if not guests:
            guests.append([self._local().isoformat(), str(_CHILD_KG), "0"])
            await asyncio.to_thread(self._write_down)
        for at, mass_kg, _ in guests:
            local = datetime.fromisoformat(at)
            await scale.weigh(f"guest-{at}", local.replace(tzinfo=self._zone), Decimal(mass_kg))

    async def _mqtt_life(self, broker: Broker, password: str) -> None:
        scale = MqttScale(
            DeviceId("scale-d"), host=broker.host, port=broker.port, username="scale-d", password=password
        )
        async with scale:
            for at, mass_kg, _ in self._weigh_ins(self._dominique, self._kept["weigh_ins"]):
                await scale.weigh(at.isoformat(), at.replace(tzinfo=self._zone), mass_kg)
            await asyncio.sleep(_FIRST_ACT_S)
            await self._receive_a_guest(scale)
            while True:
                now = self._local()
                usual = self._dominique.weigh_in(now.date()) or self._dominique.weigh_in(now.date() - timedelta(days=1))
                mass_kg = usual.mass_kg if usual else Decimal("71.50")
                self._kept["weigh_ins"].append([now.isoformat(), str(mass_kg), "0"])
                await asyncio.to_thread(self._write_down)
                await scale.weigh(now.isoformat(), now.replace(tzinfo=self._zone), mass_kg)
                await asyncio.sleep(_WEIGH_EVERY_S)
