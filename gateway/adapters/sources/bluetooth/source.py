"""The Bluetooth central: listens for ever, and connects to each enrolled device when it shows itself.

One task per radio and one per device: a device that is slow, silent or refuses does not hold up another.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import tzinfo
from functools import partial
from types import MappingProxyType
from typing import Final

import structlog
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import BaseBleakScanner

from gateway.adapters.sources.bluetooth.errand import found_within, run_errand
from gateway.adapters.sources.bluetooth.material import Material
from gateway.adapters.sources.bluetooth.proxies.radios import proxy_radios
from gateway.adapters.sources.bluetooth.radio.ensemble import Ensemble
from gateway.adapters.sources.bluetooth.radio.ladder import Pace
from gateway.adapters.sources.bluetooth.radio.machine import machine_radios
from gateway.adapters.sources.bluetooth.radio.manager import RadioManager
from gateway.adapters.sources.bluetooth.radio.neighbourhood import FRESH_S, Heard, strongest_first
from gateway.adapters.sources.bluetooth.radio.parts import Radio
from gateway.adapters.sources.bluetooth.radio.turns import Turn
from gateway.adapters.sources.bluetooth.session import heed_cancellation
from gateway.adapters.sources.bluetooth.states import DeviceState, LinkState
from gateway.adapters.sources.bluetooth.visit import Visit
from gateway.adapters.sources.bluetooth.watch import GIVEN_UP, NO_SLOT, Found, Watch
from gateway.broadcasts import Broadcasts
from gateway.devices.drivers import GENERIC_DRIVERS, Driver, Permissions, driver_for, driver_for_kind, recognised
from gateway.devices.procedures import Close, Outcome, Procedure, ScaleUser
from gateway.devices.procedures.sealed_scale import KEY_DOES_NOT_FIT
from gateway.errors import GatewayError, StoreUnavailable
from gateway.model import Device, DeviceId, DeviceKind, Neighbour, RadioReport
from gateway.ports import Clock, Intake
from gateway.settings import BluetoothSettings
from gateway.supervisor import contain, supervise

__all__ = ["BluetoothSource"]

_LEAVE_S: Final = 60.0
_LOOK_S: Final = 4.0
_BLUEZ_HOLD_S: Final = 2.0
"""BlueZ keeps a link for this long after it was given back; a new connection within it would be the old one."""
_ASSUMED_WAKE_S: Final = MappingProxyType({DeviceKind.GLUCOSE_METER: 30.0})
"""Of families whose window is not known, for their place in the queue only."""
_PATIENT: Final = Pace()
_NO_USERS: Mapping[DeviceId, ScaleUser] = MappingProxyType({})
_MAY_NOTHING: Final = Permissions()
_NO_PERMISSIONS: Mapping[DeviceId, Permissions] = MappingProxyType({})
_NO_KEYS: Mapping[DeviceId, bytes] = MappingProxyType({})
log = structlog.get_logger()


class BluetoothSource:
    """Reads the enrolled Bluetooth devices; implements `gateway.ports.Source` and `gateway.ports.Radios`.

    Args:
        settings: section `[bluetooth]`.
        devices: those without an address are left to other sources.
        zone_of: the owner's zone.
        clock: time.
        scale_users: the owner's slot on each scale that wants consent.
        drivers: what can be read; see `gateway.devices.drivers.load_drivers`.
        permissions: what the gateway may change on each device; nothing on those that are not named.
        keys: bind keys of devices that encrypt what they tell everybody.
        broadcasts: where advertisements are listened to, run by the caller; None: by this source itself.
        scanner_backend, client_backend: as bleak's `backend=`, for one radio that is made of them.
        radios: the radios; None: that of the backends, or where there are none, the machine's adapters.
        pace: how patient the radios are.
    """

    def __init__(
        self,
        settings: BluetoothSettings,
        devices: Sequence[Device],
        *,
        zone_of: Callable[[DeviceId], tzinfo],
        clock: Clock,
        scale_users: Mapping[DeviceId, ScaleUser] = _NO_USERS,
        drivers: Sequence[Driver] = GENERIC_DRIVERS,
        permissions: Mapping[DeviceId, Permissions] = _NO_PERMISSIONS,
        keys: Mapping[DeviceId, bytes] = _NO_KEYS,
        broadcasts: Broadcasts | None = None,
        scanner_backend: type[BaseBleakScanner] | None = None,
        client_backend: type[BaseBleakClient] | None = None,
        radios: Sequence[Radio] | None = None,
        pace: Pace = _PATIENT,
    ) -> None:
        self._settings = settings
        self._zone_of = zone_of
        self._clock = clock
        self._scale_users = dict(scale_users)
        self._drivers = tuple(drivers)
        self._permissions = dict(permissions)
        self._state_changed = asyncio.Event()
        self._chance = random.Random()  # noqa: S311 - jitter, not a secret
        self._watches: dict[str, Watch] = {}
        self._owns_broadcasts = broadcasts is None
        self._broadcasts = broadcasts or Broadcasts(
            lambda device_id, zone, source: Material(device_id, zone, source=source),
            zone_of=zone_of,
            clock=clock,
            drivers=drivers,
            retry_s=settings.retry_s,
        )
        self._tasks: dict[DeviceId, asyncio.Task[None]] = {}
        self._holds: Counter[str] = Counter()
        self._work: tuple[asyncio.TaskGroup, Intake] | None = None
        self._broadcasts.follow(self._on_state)
        if radios is None and scanner_backend is None and client_backend is None:
            radios = (*machine_radios(settings), *proxy_radios(settings))
        made = radios if radios is not None else (Radio("radio", scanner_backend, client_backend),)
        self._radios = Ensemble(clock, lambda on_change: [self._manager(radio, on_change, pace) for radio in made])
        for device in devices:
            self._add(device, keys.get(device.device_id))

    def _manager(self, radio: Radio, on_change: Callable[[], None], pace: Pace) -> RadioManager:
        return RadioManager(
            radio,
            self._settings,
            self._clock,
            drivers=self._drivers,
            enrolled=self._enrolled,
            on_heard=self._on_heard,
            on_change=on_change,
            pace=pace,
            chance=self._chance,
        )

    @property
    def name(self) -> str:
        """For logs and task names."""
        return "bluetooth"

    @property
    def is_scanning(self) -> bool:
        """Whether a radio is listening now."""
        return self._radios.is_scanning

    def states(self) -> tuple[DeviceState, ...]:
        """Where the gateway stands with each device, by device id."""
        locked = self._broadcasts.keys_that_fail()
        states = []
        for watch in self._watches.values():
            state = replace(watch.state, clock_offset=watch.clock_offset, can_set_clock=watch.can_set_clock)
            if state.device_id in locked:
                state = replace(state, state=LinkState.FAILED, detail=KEY_DOES_NOT_FIT)
            states.append(state)
        return tuple(sorted(states, key=lambda state: state.device_id))

    def has_key(self, device_id: DeviceId) -> bool:
        """Whether there is a key for a device that encrypts what it tells everybody."""
        return self._broadcasts.has_key(device_id)

    async def state_changed(self) -> None:
        """Return at the next change of any device's state."""
        await self._state_changed.wait()

    def _on_state(self) -> None:
        self._state_changed.set()
        self._state_changed = asyncio.Event()

    def retry(self, device_id: DeviceId) -> None:
        """A person has paired a device or corrected its code: answer its next advertisement."""
        for watch in self._watches.values():
            if watch.device.device_id == device_id:
                watch.retry()

    async def run(self, intake: Intake) -> None:
        """Collect for ever, handing everything to `intake`."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._work = tasks, intake
                self._radios.start(tasks)
                if self._owns_broadcasts:
                    tasks.create_task(self._broadcasts.run(intake), name="bluetooth.broadcasts")
                for watch in self._watches.values():
                    self._start(watch)
        finally:
            self._work = None
            self._tasks.clear()

    async def listen(self) -> None:
        """Only hear, for ever: nothing is connected and nothing is read."""
        async with asyncio.TaskGroup() as tasks:
            self._radios.start(tasks)

    # --- the radios ---------------------------------------------------------------------------------------------

    def neighbours(self) -> tuple[Neighbour, ...]:
        """Devices heard in the last minutes, by the radio that hears each best; strongest first."""
        best = self._radios.neighbours()
        for address, watch in self._watches.items():
            if address not in best and watch.visit is not None:  # a device with a link need not advertise
                best[address] = Neighbour(
                    address=address,
                    name=None,
                    rssi_dbm=None,
                    driver=watch.visit.driver.name,
                    kind=watch.device.kind,
                    device_id=watch.device.device_id,
                    first_heard_at=watch.state.since,
                    last_heard_at=self._clock.now(),
                )
        opened = (
            replace(near, not_read=None) if near.device_id is not None and self.has_key(near.device_id) else near
            for near in best.values()
        )
        return strongest_first(opened)

    def reports(self) -> tuple[RadioReport, ...]:
        """Every radio, now."""
        return self._radios.reports()

    async def changed(self) -> None:
        """Return at the next change of a report."""
        await self._radios.changed()

    def heard(self, address: str) -> tuple[BLEDevice, Radio] | None:
        """What a connection to `address` needs, from the radio that hears it best; None: nobody hears it."""
        found = self._radios.best(address)
        return None if found is None else (found[1].device, found[0].radio)

    @asynccontextmanager
    async def hold(self, address: str) -> AsyncIterator[None]:
        """Leave the device with this address to the caller for the length of the block.

        A contact with it is ended first; what came in it is kept.
        """
        key = address.upper()
        self._holds[key] += 1
        try:
            await self._let_go(self._watches.get(key))
            yield
        finally:
            self._holds[key] -= 1
            self._holds += Counter()  # forgets zeros
            if (watch := self._watches.get(key)) is not None:
                watch.retry()  # a person has done something about it

    async def errand(self, device_id: DeviceId, procedure: Procedure) -> Close:
        """Carry `procedure` out on one of our devices, over a link of its own; a contact with it is ended first.

        Returns:
            How it ended; LINK_LOST for a device that is not heard within some seconds, or cannot be reached.
        """
        found = await found_within(_LOOK_S, lambda: self._in_reach(device_id))
        if found is None or self._work is None:
            return Close(Outcome.LINK_LOST, "it is not heard")
        address, manager, heard = found
        material, intake = Material(device_id, self._zone_of(device_id)), self._work[1]
        async with self.hold(address):
            return await run_errand(
                procedure,
                heard,
                manager,
                material=material,
                intake=intake,
                clock=self._clock,
                settings=self._settings,
            )

    def _in_reach(self, device_id: DeviceId) -> tuple[str, RadioManager, Heard] | None:
        """Its address and the radio that hears it now; a device with a link need not advertise."""
        for address, watch in self._watches.items():
            if watch.device.device_id == device_id and self._work and (found := self._radios.best(address)) is not None:
                is_heard = self._clock.monotonic() - found[1].last_s <= FRESH_S
                return (address, *found) if is_heard or watch.visit is not None else None
        return None

    @staticmethod
    async def _let_go(watch: Watch | None) -> None:
        if watch is None or watch.visit is None:
            return
        watch.visit.hang_up_soon()
        try:
            async with asyncio.timeout(_LEAVE_S):
                await watch.at_rest()
        except TimeoutError:
            log.warning("bluetooth.hold_without_rest", device=watch.device.device_id)

    # --- enrolment ----------------------------------------------------------------------------------------------

    def watch(
        self,
        device: Device,
        scale_user: ScaleUser | None = None,
        may: Permissions = _MAY_NOTHING,
        key: bytes | None = None,
    ) -> None:
        """Read `device` from now on, in place of one with its id or its address; one without an address is left to
        other sources.

        Args:
            scale_user: its owner's slot.
            may: what the gateway may change on it.
            key: its bind key, for one that encrypts what it tells everybody.
        """
        if device.address is None:
            return
        address = device.address.upper()
        self.unwatch(device.device_id)
        if address in self._watches:
            self.unwatch(self._watches[address].device.device_id)
        if scale_user is not None:
            self._scale_users[device.device_id] = scale_user
        self._permissions[device.device_id] = may
        self._add(device, key)
        self._start(self._watches[address])
        self._on_state()

    def _add(self, device: Device, key: bytes | None) -> None:
        if device.address is not None:
            self._watches[device.address.upper()] = Watch(
                device, self._clock, self._settings, self._on_state, self._chance
            )
            self._broadcasts.watch(device, key)

    def unwatch(self, device_id: DeviceId) -> None:
        """Stop reading a device; a contact that has begun is broken off. Nothing happens when it was not watched."""
        for address, watch in tuple(self._watches.items()):
            if watch.device.device_id == device_id:
                del self._watches[address]
                self._broadcasts.unwatch(device_id)
                self._scale_users.pop(device_id, None)
                self._permissions.pop(device_id, None)
                if (task := self._tasks.pop(device_id, None)) is not None:
                    task.cancel()
                self._on_state()

    def allow(self, device_id: DeviceId, may: Permissions) -> None:
        """From the next contact on, the gateway may change this on a device."""
        self._permissions[device_id] = may

    def permissions(self, device_id: DeviceId) -> Permissions:
        """What the gateway may change on a device."""
        return self._permissions.get(device_id, _MAY_NOTHING)

    def _enrolled(self, address: str) -> DeviceId | None:
        watch = self._watches.get(address)
        return None if watch is None else watch.device.device_id

    def _start(self, watch: Watch) -> None:
        if self._work is not None:
            tasks, intake = self._work
            name = f"bluetooth.{watch.device.device_id}"
            work = supervise(name, partial(self._attend, watch, intake))
            self._tasks[watch.device.device_id] = tasks.create_task(work, name=name)

    # --- one packet ---------------------------------------------------------------------------------------------

    def _on_heard(self, manager: RadioManager, address: str, heard: Heard) -> None:
        """Cheap, and never raises: this runs for every packet in the street."""
        watch = self._watches.get(address)
        if watch is None:
            return
        if heard.is_bonded:
            watch.bonded_with = manager.radio.name
        elif watch.bonded_with == manager.radio.name:
            watch.bonded_with = None
        if heard.driver is not None and heard.advert.service_data:
            self._broadcasts.hear(address, heard.driver, heard.advert)
        if not watch.is_wanted or self._holds[address]:
            return
        bonded_with, unreached_by = watch.bonded_with, watch.unreached_by
        if not self._radios.should_take(manager, address, heard, bonded_with=bonded_with, unreached_by=unreached_by):
            return
        driver = driver_for(heard.advert, self._drivers)
        if driver is None and not heard.advert.service_data:
            driver = driver_for_kind(watch.device.kind, self._drivers)
        if driver is not None and driver.open is not None:
            watch.offer(Found(heard, driver, driver.open, manager))

    # --- one device ---------------------------------------------------------------------------------------------

    async def _attend(self, watch: Watch, intake: Intake) -> None:
        device_id = watch.device.device_id
        address = (watch.device.address or "").upper()
        await self._radios.end_leftovers(address)
        while True:
            found = await watch.next_found()
            manager = found.manager
            family = recognised(found.driver, watch.identity, self._drivers)
            async with manager.turns.turn(
                device_id,
                awake_since_s=found.heard.awake_since_s,
                wake_s=family.quirks.wake_s or _ASSUMED_WAKE_S.get(watch.device.kind),
                is_awake=partial(manager.is_awake, address),
            ) as turn:
                if turn is not None and not self._holds[address]:
                    await self._visit(watch, found, intake, turn)

    async def _visit(self, watch: Watch, found: Found, intake: Intake, turn: Turn) -> None:
        device_id = watch.device.device_id
        began = self._clock.monotonic()
        before = watch.state.detail
        visit = Visit(
            watch,
            found,
            intake,
            clock=self._clock,
            drivers=self._drivers,
            zone=self._zone_of(device_id),
            settings=self._settings,
            scale_user=self._scale_users.get(device_id),
            may=self.permissions(device_id),
            turn=turn,
        )
        try:
            with watch.visiting(visit):
                closed = await contain(f"bluetooth.{device_id}", visit.run, otherwise=_unforeseen, passing=GatewayError)
        except StoreUnavailable:
            closed = Close(Outcome.NOT_KEPT)
        except GatewayError as error:
            closed = Close(Outcome.RETRY_LATER, type(error).__name__)
        except asyncio.CancelledError:  # a library's own, unless the next line says otherwise
            closed = Close(Outcome.LINK_LOST, "cancelled")
        heed_cancellation()
        watch.settle(
            closed,
            records_kept=visit.records_kept,
            lasted_s=self._clock.monotonic() - began,
            wake_s=visit.driver.quirks.wake_s,
            link_hold_s=_BLUEZ_HOLD_S if found.manager.radio.control is not None else 0.0,
        )
        if closed.detail == NO_SLOT:
            log.debug("bluetooth.no_slot", device=device_id)
            return
        if closed.outcome is Outcome.LINK_LOST and closed.detail != GIVEN_UP and not visit.has_connected:
            watch.unreached_by = found.manager.radio.name
        fields = {"device": device_id, "driver": found.driver.name, "outcome": closed.outcome.value}
        if watch.state.state is LinkState.ASLEEP:
            log.info("bluetooth.device_read", **fields, records=visit.records_kept)
        elif watch.state.state is LinkState.SESSION_ENDED:
            log.info("bluetooth.sensor_looked_at", **fields, records=visit.records_kept)
        elif watch.state.detail != before:
            log.warning("bluetooth.contact_failed", **fields, detail=closed.detail)


def _unforeseen(error: Exception) -> Close:
    return Close(Outcome.RETRY_LATER, type(error).__name__)
