"""The only place that knows every adapter: builds them from the configuration and runs them in one task group."""

from __future__ import annotations

import asyncio
import errno
import gc
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
from aiohttp import web
from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import BaseBleakScanner

from gateway.adapters.sources.bluetooth import BluetoothSource, LinkState
from gateway.adapters.sources.bluetooth.bluez.bonds import BluezBonds
from gateway.adapters.sources.bluetooth.material import Material
from gateway.adapters.sources.mqtt import MqttSource
from gateway.adapters.sources.nightscout import NightscoutIntake, NightscoutStores
from gateway.adapters.spaces.mes import MesSpace, accounts_of
from gateway.adapters.stores.sqlite import SqliteStore
from gateway.addresses import AddressBook
from gateway.attributor import Attributor
from gateway.bind_keys import configured_keys, kept_key
from gateway.broadcasts import Broadcasts
from gateway.care import Caretaker
from gateway.changes import Changes
from gateway.clock_keeper import ClockKeeper
from gateway.departures.dispatcher import Dispatcher, Route
from gateway.departures.planner import Planner, planned_identities, planning_destination
from gateway.devices.drivers import Permissions, load_drivers
from gateway.devices.procedures import ScaleUser
from gateway.errors import ConfigurationError
from gateway.hub_clock import HubClock
from gateway.inbox import Inbox
from gateway.intake import StoreIntake
from gateway.model import DeviceId, GlucosePeriod, Person, PersonId
from gateway.outages import BrokerReport, OutageWatch
from gateway.pairing.desk import PairingDesk
from gateway.pairing.household import Household, beside_configuration
from gateway.pairing.office import PairingOffice
from gateway.ports import Addresses, Bonds, Clock, ReadingStore, Registry, Source
from gateway.settings import Settings, read_secret
from gateway.summaries import Summaries
from gateway.supervisor import supervise
from gateway.web.app import create_app
from gateway.web.door import Door
from gateway.web.leftovers import Leftovers
from gateway.web.view import View
from gateway.web.weigh_in_view import WeighInDesk

__all__ = ["BluetoothBackends", "Running", "open_pairing", "run_gateway"]

_log = structlog.get_logger()
_PURGE_EVERY_S = 6 * 3600.0
_HIGHEST_CONSENT_CODE = 9999


@dataclass(frozen=True, slots=True)
class BluetoothBackends:
    """Which implementation of bleak's scanner and client, and of the radio's bonds; None: the operating system's."""

    scanner: type[BaseBleakScanner] | None = None
    client: type[BaseBleakClient] | None = None
    bonds: Bonds | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that has started.

    Attributes:
        url: address of the pages, None when they are off.
        nightscout: the listener for phone apps, None when it is off.
        inbox: where weigh-ins are filed by people.
        office: where devices are paired; None: Bluetooth is off.
    """

    url: str | None
    store: ReadingStore
    registry: Registry
    summaries: Summaries
    changes: Changes
    inbox: Inbox
    office: PairingOffice | None = None
    nightscout: NightscoutIntake | None = None


async def run_gateway(
    settings: Settings,
    *,
    clock: Clock | None = None,
    backends: BluetoothBackends | None = None,
    started: Callable[[Running], None] | None = None,
) -> None:
    """Run until cancelled.

    Args:
        started: called once everything is up and collecting.

    Raises:
        ConfigurationError: a secret file or certificate cannot be used.
        StoreUnavailable, StoreTooNew: the database cannot be opened.
    """
    hub = None
    if clock is None:
        clock = hub = HubClock(is_believed=settings.gateway.clock == "trusted")
    backends = backends or BluetoothBackends()
    people_list, devices = settings.household()
    people = {person.person_id: person for person in people_list}
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            SqliteStore.open(settings.store.path, clock=clock, queue_batches=settings.store.queue_batches)
        )
        await store.registry.declare(people_list, devices)
        changes = Changes()
        followers: list[Callable[[], None]] = [changes.announce]
        zones = _zones(settings)
        keeper = None
        if hub is not None:
            keeper = ClockKeeper(
                hub,
                store.clock_log,
                _zone_of(settings, zones),
                on_change=lambda: _tell(followers),
            )
            await keeper.begin()
        intake = StoreIntake(store.readings, store.registry, changes, zone_of=_zone_of(settings, zones))
        everybody = {person.person_id: person for person in await store.registry.people()} | people
        summaries = Summaries(store.readings, clock, everybody)  # figures stay right for those who left the file too
        broadcasts = _broadcasts(settings, clock, _zone_of(settings, zones))
        book = AddressBook(devices, store.enrolments, clock)
        sources = _sources(settings, clock, backends, zones, book, broadcasts)
        radios = next((source for source in sources if isinstance(source, BluetoothSource)), None)
        watch = _outage_watch(store, clock, sources)
        stack.push_async_callback(watch.farewell)
        if radios is None:
            enrolled, _ = beside_configuration(devices, await store.enrolments.enrolments())
            keys = configured_keys(settings)
            for device in devices:
                broadcasts.watch(device, keys.get(device.device_id))
            for device in (enrolment.device for enrolment in enrolled):
                broadcasts.watch(device, kept_key(settings.store.path.parent / "bind-keys", device.device_id))
        caretaker = _caretaker(store, clock, radios)
        office = open_pairing(settings, store, sources, clock, backends, zones, people, changes.announce, caretaker)
        routes = []
        for destination in settings.destinations:
            space = MesSpace(destination, accounts_of(destination), clock)
            stack.push_async_callback(space.close)
            routes.append(Route(space, destination.lease_s))
        dispatcher = Dispatcher(store.registry, routes, clock, chance=random.Random(), on_settled=changes.announce)  # noqa: S311
        planner = Planner(
            store.registry,
            store.readings,
            clock,
            [planning_destination(destination) for destination in settings.destinations],
            _period_of(summaries, people),
            on_planned=dispatcher.wake,
            first_of=lambda person_id: people[person_id].glucose_sources if person_id in people else (),
        )
        followers += [dispatcher.wake, planner.wake]

        inbox = Inbox(store.attributions, clock, planned_identities, on_decision=changes.announce)
        url = None
        if settings.web.enabled:
            names = {destination.id: destination.name for destination in settings.destinations}
            house = ZoneInfo(settings.gateway.time_zone)
            mqtt = next((source for source in sources if isinstance(source, MqttSource)), None)
            strangers = None if mqtt is None else mqtt.strangers
            leftovers = Leftovers(store.quarantine, store.ledger, store.readings, store.registry, clock, house)
            view = View(
                store.readings,
                store.registry,
                summaries,
                clock,
                people,
                names,
                radios,
                house,
                caretaker,
                strangers,
                leftovers,
                store.attributions,
            )
            desk = WeighInDesk(inbox, store.readings, store.registry, people, clock, names)
            url = await _serve(stack, view, changes, settings, clock, office, desk)

        attributor = Attributor(
            store.attributions,
            store.registry,
            store.enrolments,
            clock,
            people,
            {DeviceId(device.id): device.slots_and_names() for device in settings.devices},
        )

        nightscout = await _open_nightscout(stack, settings, store, intake, clock, everybody)

        def computed() -> None:
            planner.wake()
            changes.announce()

        changed = stack.enter_context(changes.follow())
        weighed = stack.enter_context(changes.follow())
        async with asyncio.TaskGroup() as tasks:

            def keep(name: str, work: Callable[[], Awaitable[None]]) -> None:
                tasks.create_task(supervise(name, work), name=name)

            tasks.create_task(
                store.watch(), name="store.watch"
            )  # without a store the process must end, to be restarted
            if keeper is not None:
                keep("clock", keeper.run)
            keep("attributor", lambda: attributor.run(weighed, changes.announce))
            keep("summaries", lambda: summaries.run(changed, computed))
            keep("planner", planner.run)
            if routes:
                keep("dispatcher", dispatcher.run)
            keep("outages", watch.run)
            keep("retention", lambda: _purge(store, clock, settings.store.raw_retention_days))
            if office is not None:
                keep("pairing", office.run)
            if nightscout is not None:
                keep("source.nightscout", nightscout.run)
            for source in sources:
                keep(f"source.{source.name}", _collecting(source, intake))
            if radios is not None:
                keep("radios", lambda: _announcing(radios.changed, changes))
                keep("states", lambda: _announcing(radios.state_changed, changes))
            gc.collect()
            gc.freeze()  # what was built at the start lives to the end: no collection needs to walk it again
            _log.info("gateway.started", sources=len(sources), destinations=len(routes), people=len(people))
            if started is not None:
                started(Running(url, store.readings, store.registry, summaries, changes, inbox, office, nightscout))


def _tell(followers: Sequence[Callable[[], None]]) -> None:
    for follow in followers:
        follow()


def _collecting(source: Source, intake: StoreIntake) -> Callable[[], Awaitable[None]]:
    return lambda: source.run(intake)


async def _announcing(changed: Callable[[], Awaitable[None]], changes: Changes) -> None:
    """Open pages follow the state of the radios and of the devices."""
    while True:
        await changed()
        changes.announce()


def _caretaker(store: SqliteStore, clock: Clock, source: BluetoothSource | None) -> Caretaker:
    if source is None:
        return Caretaker(store.readings, store.registry, clock)
    return Caretaker(store.readings, store.registry, clock, standings=source.states, permissions=source.permissions)


def _outage_watch(store: SqliteStore, clock: Clock, sources: Sequence[Source]) -> OutageWatch:
    radios = next((source for source in sources if isinstance(source, BluetoothSource)), None)
    mqtt = next((source for source in sources if isinstance(source, MqttSource)), None)
    return OutageWatch(
        store.ledger,
        store.registry,
        store.readings,
        clock,
        reports=None if radios is None else radios.reports,
        broker=None if mqtt is None else lambda: BrokerReport(mqtt.is_connected, mqtt.counters.sessions_lost),
        spells=store.take_unavailable_spells,
    )


def open_pairing(
    settings: Settings,
    store: SqliteStore,
    sources: Sequence[Source],
    clock: Clock,
    backends: BluetoothBackends,
    zones: dict[DeviceId, tzinfo],
    people: Mapping[PersonId, Person],
    on_change: Callable[[], None],
    caretaker: Caretaker | None = None,
) -> PairingOffice | None:
    """Where people pair devices of the Bluetooth source among `sources`; None: there is none."""
    source = next((source for source in sources if isinstance(source, BluetoothSource)), None)
    if source is None:
        return None
    bonds = backends.bonds or BluezBonds(adapters=_adapters(settings))
    drivers = load_drivers()
    _, configured = settings.household()
    desk = PairingDesk(
        bonds, source, clock, drivers=drivers, just_works=settings.bluetooth.just_works, on_change=on_change
    )
    household = Household(
        store.enrolments,
        store.registry,
        source,
        bonds,
        clock,
        configured=configured,
        codes=settings.store.path.parent / "scale-codes",
        zones=zones,
        needs_key=lambda name: any(driver.unlock is not None for driver in drivers if driver.name == name),
    )

    def needs_pairing() -> frozenset[DeviceId]:
        return frozenset(s.device_id for s in source.states() if s.state is LinkState.NEEDS_PAIRING)

    return PairingOffice(
        desk,
        household,
        source,
        bonds,
        drivers=drivers,
        people=people,
        needs_pairing=needs_pairing,
        caretaker=caretaker,
        permissions=source.permissions,
    )


def _adapters(settings: Settings) -> tuple[str, ...]:
    only = settings.bluetooth.adapter
    return settings.bluetooth.adapters or ((only,) if only is not None else ())


def _zones(settings: Settings) -> dict[DeviceId, tzinfo]:
    return {DeviceId(device.id): settings.time_zone_of(DeviceId(device.id)) for device in settings.devices}


def _zone_of(settings: Settings, zones: Mapping[DeviceId, tzinfo]) -> Callable[[DeviceId], tzinfo]:
    house = ZoneInfo(settings.gateway.time_zone)
    return lambda device_id: zones.get(device_id, house)


def _sources(
    settings: Settings,
    clock: Clock,
    backends: BluetoothBackends,
    zones: Mapping[DeviceId, tzinfo],
    addresses: Addresses,
    broadcasts: Broadcasts,
) -> list[Source]:
    zone_of = _zone_of(settings, zones)
    sources: list[Source] = [broadcasts] if settings.bluetooth.enabled or settings.mqtt.enabled else []
    if settings.bluetooth.enabled:
        _, devices = settings.household()
        users = {
            DeviceId(device.id): ScaleUser(device.scale_user, _consent_code(device.id, device.scale_consent_file))
            for device in settings.devices
            if device.scale_user is not None and device.scale_consent_file is not None
        }
        sources.append(
            BluetoothSource(
                settings.bluetooth,
                [device for device in devices if device.address is not None],
                scale_users=users,
                permissions={
                    DeviceId(device.id): Permissions(device.set_clock, device.cgm_interval_min)
                    for device in settings.devices
                },
                keys=configured_keys(settings),
                broadcasts=broadcasts,
                zone_of=zone_of,
                clock=clock,
                drivers=load_drivers(),
                scanner_backend=backends.scanner,
                client_backend=backends.client,
            )
        )
    if settings.mqtt.enabled:
        on_advert = broadcasts.hear_from_elsewhere
        sources.append(
            MqttSource(settings.mqtt, clock=clock, zone_of=zone_of, addresses=addresses, on_advert=on_advert)
        )
    return sources


async def _open_nightscout(
    stack: AsyncExitStack,
    settings: Settings,
    store: SqliteStore,
    intake: StoreIntake,
    clock: Clock,
    people: Mapping[PersonId, Person],
) -> NightscoutIntake | None:
    if not settings.nightscout.enabled:
        return None
    return await stack.enter_async_context(
        NightscoutIntake.open(
            settings.nightscout,
            intake=intake,
            stores=NightscoutStores(store.readings, store.documents, store.access),
            clock=clock,
            people=people,
            house=ZoneInfo(settings.gateway.time_zone),
            folder=settings.store.path.parent,
        )
    )


def _broadcasts(settings: Settings, clock: Clock, zone_of: Callable[[DeviceId], tzinfo]) -> Broadcasts:
    return Broadcasts(
        lambda device_id, zone, source: Material(device_id, zone, source=source),
        zone_of=zone_of,
        clock=clock,
        drivers=load_drivers(),
        retry_s=settings.bluetooth.retry_s,
    )


def _consent_code(device_id: str, path: Path) -> int:
    text = read_secret(path).get_secret_value()
    if not text.isdigit() or int(text) > _HIGHEST_CONSENT_CODE:
        raise ConfigurationError([(f"devices.{device_id}.scale_consent_file", "the code is a number of 0 to 9999")])
    return int(text)


def _period_of(
    summaries: Summaries, people: Mapping[PersonId, Person]
) -> Callable[[PersonId, date, int], Awaitable[GlucosePeriod | None]]:
    async def period_of(person_id: PersonId, last_day: date, days: int) -> GlucosePeriod | None:
        if person_id not in people:
            return None
        await summaries.refresh()
        period = await summaries.glucose(person_id, last_day, days)
        return period if period.count else None

    return period_of


async def _purge(store: SqliteStore, clock: Clock, keep_days: int) -> None:
    while True:
        if clock.is_trusted:  # a clock that is ahead by years would take everything away
            await store.purge_raw(clock.now() - timedelta(days=keep_days))
        await asyncio.sleep(_PURGE_EVERY_S)


async def _serve(
    stack: AsyncExitStack,
    view: View,
    changes: Changes,
    settings: Settings,
    clock: Clock,
    office: PairingOffice | None,
    desk: WeighInDesk,
) -> str:
    code_file = settings.web.access_code_file
    door = Door(read_secret(code_file), clock) if code_file is not None else None
    application = create_app(
        view, changes, settings.web, language=settings.gateway.language, door=door, office=office, desk=desk
    )
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0, handler_cancellation=True)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, settings.web.host, settings.web.port).start()
    except OSError as error:
        where = f"{settings.web.host}:{settings.web.port}"
        why = "another program uses it; choose another port" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConfigurationError([("web.port", f"cannot listen on {where}: {why}")]) from error
    host = "localhost" if settings.web.host == "127.0.0.1" else settings.web.host
    return f"http://{host}:{runner.addresses[0][1]}"
