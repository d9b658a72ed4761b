"""The enrolled devices that tell everybody, whoever's radio hears them: ours, or a program's that publishes on MQTT.

There is one listener for each device, so that a weigh-in that several radios hear is one weigh-in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo

from gateway.devices.advert import Advert
from gateway.devices.drivers import Driver, driver_for
from gateway.devices.sealed import Lock
from gateway.listening import BatchMaker, Listening
from gateway.model import Device, DeviceId, SourceKind
from gateway.ports import Clock, Intake

__all__ = ["Broadcasts"]

_RADIOS = (SourceKind.BLUETOOTH, SourceKind.MQTT)


class Broadcasts:
    """Implements `gateway.ports.Source`; others bring what they hear.

    Args:
        maker: how batches are made for a device, with its owner's zone, of what a source has heard.
        zone_of: the owner's zone.
        clock: time.
        drivers: what can be read.
        retry_s: longest pause before a store that does not take a batch is asked again.
    """

    def __init__(
        self,
        maker: Callable[[DeviceId, tzinfo, SourceKind], BatchMaker],
        *,
        zone_of: Callable[[DeviceId], tzinfo],
        clock: Clock,
        drivers: Sequence[Driver],
        retry_s: float,
    ) -> None:
        self._maker = maker
        self._zone_of = zone_of
        self._clock = clock
        self._drivers = tuple(drivers)
        self._retry_s = retry_s
        self._listening: dict[str, Listening] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._work: tuple[asyncio.TaskGroup, Intake] | None = None
        self._followers: list[Callable[[], None]] = []

    @property
    def name(self) -> str:
        """For logs and task names."""
        return "broadcasts"

    async def run(self, intake: Intake) -> None:
        """Make readings of what is heard, for ever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._work = tasks, intake
                for address in self._listening:
                    self._start(address)
                await asyncio.Event().wait()
        finally:
            self._work = None
            self._tasks.clear()

    def watch(self, device: Device, key: bytes | None = None) -> None:
        """Listen to a device with an address from now on, in place of one with its id or its address.

        Args:
            key: its bind key, 16 octets, if it has one.
        """
        if device.address is None:
            return
        address, device_id = device.address.upper(), device.device_id
        self.unwatch(device_id)
        self._drop(address)
        zone = self._zone_of(device_id)
        self._listening[address] = Listening(
            device_id,
            {source: self._maker(device_id, zone, source) for source in _RADIOS},
            clock=self._clock,
            retry_s=self._retry_s,
            lock=None if key is None else Lock(address, key),
            on_change=self._announce,
        )
        self._start(address)

    def unwatch(self, device_id: DeviceId) -> None:
        """Stop listening to a device. Nothing happens when it was not listened to."""
        for address, listening in tuple(self._listening.items()):
            if listening.device_id == device_id:
                self._drop(address)

    def hear(self, address: str, driver: Driver, advert: Advert) -> None:
        """One of our radios has heard `advert`, which `driver` claims. Cheap, and never raises."""
        listening = self._listening.get(address)
        if listening is not None and listening.can_make_sense(driver):
            listening.hear(driver, advert)

    def hear_from_elsewhere(self, address: str, advert: Advert, heard_at: datetime) -> bool:
        """Somebody else's radio has heard `advert` (at `heard_at`: aware, UTC), who publishes it over MQTT.

        Returns:
            Whether it is listened to: the address is enrolled, and a driver can make sense of it.
        """
        listening = self._listening.get(address.upper())
        driver = None if listening is None else driver_for(advert, self._drivers)
        if listening is None or driver is None or not listening.can_make_sense(driver):
            return False
        listening.hear(driver, advert, heard_at=heard_at, source=SourceKind.MQTT)
        return True

    def has_key(self, device_id: DeviceId) -> bool:
        """Whether there is a key for a device."""
        return any(each.lock is not None for each in self._listening.values() if each.device_id == device_id)

    def follow(self, on_change: Callable[[], None]) -> None:
        """Call `on_change` at each change of `keys_that_fail`."""
        self._followers.append(on_change)

    def keys_that_fail(self) -> frozenset[DeviceId]:
        """The devices that do not open with the key that they have."""
        return frozenset(each.device_id for each in self._listening.values() if each.key_fits is False)

    def _announce(self) -> None:
        for on_change in self._followers:
            on_change()

    def _start(self, address: str) -> None:
        if self._work is not None:
            tasks, intake = self._work
            listening = self._listening[address]
            self._tasks[address] = tasks.create_task(listening.run(intake), name=f"broadcast.{listening.device_id}")

    def _drop(self, address: str) -> None:
        self._listening.pop(address, None)
        if (task := self._tasks.pop(address, None)) is not None:
            task.cancel()
