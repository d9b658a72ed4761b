"""A real page: a real database, the real application, a real server on a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from aiohttp import web
from pydantic import SecretStr

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.changes import Changes
from gateway.departures.planner import planned_identities
from gateway.inbox import Inbox
from gateway.intake import StoreIntake
from gateway.model import (
    Batch,
    Bound,
    Context,
    Device,
    DeviceId,
    DeviceKind,
    Meal,
    Metric,
    Person,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    TimeQuality,
    Unit,
)
from gateway.ports import Radios, Stranger
from gateway.settings import WebSettings
from gateway.summaries import Summaries
from gateway.web.app import create_app
from gateway.web.door import Door
from gateway.web.leftovers import Leftovers
from gateway.web.view import View
from gateway.web.weigh_in_view import WeighInDesk

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 3, 20, 11, 0, tzinfo=UTC)
CAMILLE, NOE = PersonId("camille"), PersonId("noe")
PEOPLE = (Person(CAMILLE, "Camille", PARIS), Person(NOE, "Noé", PARIS, Unit.MMOL_L))
DEVICES = (
    Device(DeviceId("sensor"), DeviceKind.CGM, "Capteur", person_id=CAMILLE),
    Device(DeviceId("meter"), DeviceKind.GLUCOSE_METER, "Lecteur", person_id=CAMILLE),
    Device(DeviceId("scale"), DeviceKind.SCALE, "Balance", person_id=CAMILLE),
)


class StillClock:
    """A clock that stands at noon in Paris."""

    def now(self) -> datetime:
        """The instant."""
        return NOW

    def monotonic(self) -> float:
        """No time passes."""
        return 0.0

    @property
    def is_trusted(self) -> bool:
        """As far as these tests go."""
        return True


def reading(
    ago: timedelta,
    value: str | None,
    *,
    metric: Metric = Metric.GLUCOSE_INTERSTITIAL,
    device: str = "sensor",
    bound: Bound | None = None,
    meal: Meal | None = None,
    trend: str | None = None,
) -> Reading:
    """One result, `ago` before now."""
    at = NOW - ago
    return Reading(
        device_id=DeviceId(device),
        epoch=0,
        record_key=f"{ago.total_seconds():.0f}",
        metric=metric,
        value=None if value is None else Decimal(value),
        bound=bound,
        effective_at=at,
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=at,
        provenance=Provenance(SourceKind.SIMULATED, "test"),
        context=Context(meal=meal, trend_mg_dl_min=None if trend is None else Decimal(trend)),
    )


@dataclass(frozen=True)
class Site:
    """A page that is being served."""

    url: str
    port: int
    store: SqliteStore
    summaries: Summaries
    changes: Changes
    runner: web.AppRunner

    async def commit(self, *readings: Reading) -> None:
        """Store readings as a source would, figures included; every open page is told."""
        await StoreIntake(self.store.readings, self.store.registry, self.changes).submit(Batch(readings=readings))
        await self.summaries.refresh()
        self.changes.announce()


@asynccontextmanager
async def serve(
    folder: Path,
    *,
    people: Sequence[Person] = PEOPLE,
    devices: Sequence[Device] = DEVICES,
    destinations: dict[str, str] | None = None,
    language: str = "fr",
    access_code: str | None = None,
    radios: Radios | None = None,
    strangers: tuple[Stranger, ...] = (),
) -> AsyncIterator[Site]:
    """Serve the page over a database in `folder`."""
    clock, changes = StillClock(), Changes()
    known = {person.person_id: person for person in people}
    async with SqliteStore.open(folder / "passerelle.db", clock=clock) as store:
        await store.registry.declare(people, devices)
        summaries = Summaries(store.readings, clock, known)
        leftovers = Leftovers(store.quarantine, store.ledger, store.readings, store.registry, clock, PARIS)
        view = View(
            store.readings,
            store.registry,
            summaries,
            clock,
            known,
            destinations or {},
            radios,
            PARIS,
            strangers=lambda: strangers,
            leftovers=leftovers,
            attributions=store.attributions,
        )
        inbox = Inbox(store.attributions, clock, planned_identities, on_decision=changes.announce)
        desk = WeighInDesk(inbox, store.readings, store.registry, known, clock, destinations or {})
        door = None if access_code is None else Door(SecretStr(access_code), clock)
        application = create_app(view, changes, WebSettings(), language=language, door=door, desk=desk)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            port = runner.addresses[0][1]
            yield Site(f"http://127.0.0.1:{port}", port, store, summaries, changes, runner)
        finally:
            await runner.cleanup()
