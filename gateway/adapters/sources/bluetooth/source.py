"""The Bluetooth central: scans for ever, and connects to each configured device when it shows itself.

One task per device and one for the scanner: a device that is slow, silent or refuses does not hold up another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from types import MappingProxyType
from typing import Final

import bleak
import structlog
from bleak.args.bluez import BlueZScannerArgs
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner

from gateway.adapters.sources.bluetooth.listening import Listening
from gateway.adapters.sources.bluetooth.session import RADIO_ERRORS, heed_cancellation
from gateway.adapters.sources.bluetooth.states import DeviceState, LinkState
from gateway.adapters.sources.bluetooth.visit import Visit
from gateway.adapters.sources.bluetooth.watch import Found, Watch
from gateway.devices.advert import Advert, short_uuid
from gateway.devices.drivers import GENERIC_DRIVERS, Driver, driver_for, driver_for_kind
from gateway.devices.procedures import Close, Outcome, ScaleUser
from gateway.errors import GatewayError, StoreUnavailable
from gateway.model import Device, DeviceId
from gateway.ports import Clock, Intake
from gateway.settings import BluetoothSettings

__all__ = ["BluetoothSource"]

_SCANNER_SILENCE_S: Final = 300.0
"""A scan that has heard nothing at all for this long is started again: the bus may have died unnoticed."""
_STOP_S: Final = 5.0
_NO_USERS: Mapping[DeviceId, ScaleUser] = MappingProxyType({})
log = structlog.get_logger()


class BluetoothSource:
    """Reads the configured Bluetooth devices; implements `gateway.ports.Source`.

    Args:
        settings: section `[bluetooth]`.
        devices: those without an address are left to other sources.
        zone_of: the owner's zone.
        clock: time.
        scale_users: the owner's slot on each scale that wants consent.
        drivers: what can be read; see `gateway.devices.drivers.load_drivers`.
        may_set_clocks: whether scales are given our time; only with a trusted clock.
        scanner_backend, client_backend: as bleak's `backend=`; None: the machine's own radio.
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
        may_set_clocks: bool = False,
        scanner_backend: type[BaseBleakScanner] | None = None,
        client_backend: type[BaseBleakClient] | None = None,
    ) -> None:
        self._settings = settings
        self._zone_of = zone_of
        self._clock = clock
        self._scale_users = dict(scale_users)
        self._drivers = tuple(drivers)
        self._may_set_clocks = may_set_clocks
        self._scanner_backend = scanner_backend
        self._client_backend = client_backend
        self._watches = {
            device.address.upper(): Watch(device, clock, settings, self._on_state)
            for device in devices
            if device.address is not None
        }
        self._listening = {
            address: Listening(
                watch.device.device_id, zone_of(watch.device.device_id), clock=clock, retry_s=settings.retry_s
            )
            for address, watch in self._watches.items()
        }
        self._state_changed = asyncio.Event()
        self._has_heard = asyncio.Event()
        self._is_scanning = False

    @property
    def name(self) -> str:
        """For logs and task names."""
        return "bluetooth"

    @property
    def is_scanning(self) -> bool:
        """Whether the radio is listening now."""
        return self._is_scanning

    def states(self) -> tuple[DeviceState, ...]:
        """Where the gateway stands with each device, by device id."""
        return tuple(sorted((watch.state for watch in self._watches.values()), key=lambda state: state.device_id))

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
        if not self._watches:
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._scan(), name="bluetooth.scan")
            for watch in self._watches.values():
                tasks.create_task(self._attend(watch, intake), name=f"bluetooth.{watch.device.device_id}")
            for listening in self._listening.values():
                tasks.create_task(listening.run(intake), name=f"bluetooth.{listening.device_id}.listening")

    # --- scanning -----------------------------------------------------------------------------------------------

    async def _scan(self) -> None:
        pause_s, was_up = min(1.0, self._settings.retry_s), True
        while True:
            try:
                await self._scan_once()
                pause_s = min(1.0, self._settings.retry_s)
            except RADIO_ERRORS as error:
                if was_up:
                    log.warning("bluetooth.scanner_failed", error=type(error).__name__)
                was_up = False
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, self._settings.retry_s)
            else:
                if not was_up:
                    log.info("bluetooth.scanner_restored")
                was_up = True
            heed_cancellation()

    async def _scan_once(self) -> None:
        """Listen until nothing at all has been heard for minutes.

        Raises one of RADIO_ERRORS when the radio cannot be used.
        """
        scanner = bleak.BleakScanner(
            self._on_advertisement, bluez=self._scanner_arguments, backend=self._scanner_backend
        )
        self._has_heard.clear()
        async with asyncio.timeout(self._settings.connect_timeout_s):
            await scanner.start()
        self._is_scanning = True
        try:
            while await self._is_anything_on_air():
                self._has_heard.clear()
        finally:
            self._is_scanning = False
            async with asyncio.timeout(_STOP_S):
                await scanner.stop()

    async def _is_anything_on_air(self) -> bool:
        try:
            async with asyncio.timeout(_SCANNER_SILENCE_S):
                await self._has_heard.wait()
        except TimeoutError:
            return False
        return True

    def _on_advertisement(self, device: BLEDevice, data: AdvertisementData) -> None:
        """Cheap, and never raises: this runs for every packet in the street."""
        self._has_heard.set()
        address = device.address.upper()
        watch = self._watches.get(address)
        if watch is None or not (watch.is_wanted or data.service_data):
            return
        advert = Advert(
            name=data.local_name,
            services=frozenset(short_uuid(uuid) for uuid in data.service_uuids),
            service_data={short_uuid(uuid): payload for uuid, payload in data.service_data.items()},
            manufacturer_data=data.manufacturer_data,
        )
        driver = driver_for(advert, self._drivers)
        if driver is not None and driver.listen is not None:
            self._listening[address].hear(driver, advert)
        if driver is None and not advert.service_data:
            driver = driver_for_kind(watch.device.kind, self._drivers)
        if driver is not None and driver.open is not None:
            watch.offer(Found(device, driver, driver.open))

    @property
    def _scanner_arguments(self) -> BlueZScannerArgs:
        return BlueZScannerArgs(adapter=self._settings.adapter) if self._settings.adapter else BlueZScannerArgs()

    # --- one device ---------------------------------------------------------------------------------------------

    async def _attend(self, watch: Watch, intake: Intake) -> None:
        device_id = watch.device.device_id
        while True:
            found = await watch.next_found()
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
                may_set_clock=self._may_set_clocks,
                client_backend=self._client_backend,
            )
            try:
                closed = await visit.run()
            except StoreUnavailable:
                closed = Close(Outcome.NOT_KEPT)
            except GatewayError as error:
                closed = Close(Outcome.RETRY_LATER, type(error).__name__)
            heed_cancellation()
            watch.settle(closed, records_kept=visit.records_kept, lasted_s=self._clock.monotonic() - began)
            fields = {"device": device_id, "driver": found.driver.name, "outcome": closed.outcome.value}
            if watch.state.state is LinkState.ASLEEP:
                log.info("bluetooth.device_read", **fields, records=visit.records_kept)
            elif watch.state.detail != before:
                log.warning("bluetooth.contact_failed", **fields, detail=closed.detail)
