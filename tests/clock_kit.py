"""A machine whose clocks are told what to say, and a gateway's doorway that keeps time by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.changes import Changes
from gateway.clock_keeper import ClockKeeper
from gateway.hub_clock import HubClock
from gateway.intake import StoreIntake
from gateway.model import (
    Batch,
    Device,
    DeviceId,
    DeviceKind,
    Metric,
    Person,
    PersonId,
    Provenance,
    RawFrame,
    Reading,
    SourceKind,
    StoredReading,
    Unit,
)
from gateway.normalise.times import place_device_time, place_reception
from gateway.summaries import Summaries

__all__ = ["ADA", "NOW", "PARIS", "SCALE", "FakeMachine", "Hub", "at_work"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
NOW = datetime(2026, 6, 1, 10, 0, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")
ADA, SCALE = PersonId("ada"), DeviceId("scale")


@dataclass
class FakeMachine:
    """A board: `wall` is what its clock says at uptime 0; what goes by is `uptime_s`."""

    wall: datetime
    uptime_s: float = 10.0
    boot: str = "boot-1"
    synchronised: bool = False
    battery: datetime | None = None

    def wall_us(self) -> int:
        return (self.wall - _EPOCH) // _MICROSECOND + self.boot_us()

    def boot_us(self) -> int:
        return round(self.uptime_s * 1_000_000)

    def monotonic(self) -> float:
        return self.uptime_s

    def boot_id(self) -> str:
        return self.boot

    def is_synchronised(self) -> bool:
        return self.synchronised

    def battery_clock(self) -> datetime | None:
        return self.battery

    def set_to(self, instant: datetime, *, synchronised: bool = True) -> None:
        """Somebody, usually the network, sets the wall clock."""
        self.wall = instant - timedelta(seconds=self.uptime_s)
        self.synchronised = synchronised


@dataclass
class Hub:
    """A store with one person's scale, and the clock over it."""

    store: SqliteStore
    clock: HubClock
    keeper: ClockKeeper
    intake: StoreIntake
    summaries: Summaries
    changed: int = 0

    async def weigh(self, number: int, kg: str, *, device_time: datetime | None = None) -> None:
        """A live weigh-in arrives, with the scale's own time or without any."""
        now, is_trusted = self.clock.now(), self.clock.is_trusted
        if device_time is None:
            placed = place_reception(now, PARIS, is_live=True, clock_is_trusted=is_trusted)
        else:
            placed = place_device_time(device_time, now, PARIS, clock_is_trusted=is_trusted)
        reading = Reading(
            device_id=SCALE,
            epoch=0,
            record_key=f"w{number}",
            metric=Metric.BODY_MASS,
            effective_at=placed.effective_at,
            utc_offset_min=placed.utc_offset_min,
            time_quality=placed.quality,
            time_method=placed.method,
            received_at=now,
            provenance=Provenance(SourceKind.BLUETOOTH, "gatt.scale"),
            value=Decimal(kg),
            original_value=Decimal(kg),
            original_unit=Unit.KG,
            device_time=device_time,
            frame=0,
        )
        frame = RawFrame(SCALE, SourceKind.BLUETOOTH, "2a9d", str(number).encode(), now)
        await self.intake.submit(Batch((reading,), (frame,)))

    async def stored(self) -> list[StoredReading]:
        """Everything, in order of arrival."""
        return sorted(await self.store.readings.readings(), key=lambda stored: stored.row_id)


@asynccontextmanager
async def at_work(folder: Path, machine: FakeMachine, *, is_believed: bool = False) -> AsyncIterator[Hub]:
    """A process of the gateway, as far as time is concerned, for the length of the block."""
    clock = HubClock(machine, is_believed=is_believed)
    changes = Changes()
    async with SqliteStore.open(folder / "passerelle.db", clock=clock) as store:
        person = Person(ADA, "Ada", PARIS)
        device = Device(SCALE, DeviceKind.SCALE, "Scale", person_id=ADA)
        await store.registry.declare([person], [device])

        def zone_of(_: DeviceId) -> tzinfo:
            return PARIS

        def followed() -> None:
            hub.changed += 1

        keeper = ClockKeeper(clock, store.clock_log, zone_of, on_change=followed)
        intake = StoreIntake(store.readings, store.registry, changes)
        hub = Hub(store, clock, keeper, intake, Summaries(store.readings, clock, {ADA: person}))
        await keeper.begin()
        yield hub
