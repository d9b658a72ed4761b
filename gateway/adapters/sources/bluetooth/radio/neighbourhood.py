"""Who is on the air: every device heard in the last minutes, ours or not; bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData

from gateway.devices.advert import Advert, short_uuid
from gateway.devices.drivers import Driver, driver_for
from gateway.devices.models import why_not_read
from gateway.model import DeviceId, DeviceKind, Neighbour
from gateway.ports import Clock

__all__ = ["FRESH_S", "MINUTES_S", "Heard", "Neighbourhood", "advert_of", "strongest_first"]

MINUTES_S: Final = 300.0
"""How long a device is remembered after its last packet."""
FRESH_S: Final = 10.0
"""How long a packet says that a device is there now."""
_MOST: Final = 256
_NAME_CHARS: Final = 64
_NO_RSSI: Final = -127
_KIND_ORDER: Final = tuple(DeviceKind)


def advert_of(data: AdvertisementData) -> Advert:
    """What bleak reports, in our own words."""
    return Advert(
        name=data.local_name,
        services=frozenset(short_uuid(uuid) for uuid in data.service_uuids),
        service_data={short_uuid(uuid): payload for uuid, payload in data.service_data.items()},
        manufacturer_data=data.manufacturer_data,
    )


@dataclass(slots=True)
class Heard:
    """What is remembered of one address.

    Attributes:
        device: bleak's handle of the last packet: what a connection needs.
        advert: the last packet.
        driver: who claims it; the last that was found stays when a later packet says less.
        not_read: why it cannot be read although it is recognised, by name; None: no reason is known.
        rssi_dbm: of the last packet; None: not known.
        is_bonded: the adapter has keys for it, as far as the platform tells.
        awake_since_s: monotonic, first packet after a silence longer than `FRESH_S`.
        last_s: monotonic, last packet.
        first_at, last_at: UTC, gateway clock.
    """

    device: BLEDevice
    advert: Advert
    driver: Driver | None
    not_read: str | None
    name: str | None
    rssi_dbm: int | None
    is_bonded: bool
    awake_since_s: float
    last_s: float
    first_at: datetime
    last_at: datetime


class Neighbourhood:
    """The devices that one radio has heard lately, at most 256: the one unheard for longest makes room.

    Args:
        drivers: what can be read.
        enrolled: the enrolled device with an address (upper case), or None.
    """

    def __init__(self, clock: Clock, drivers: Sequence[Driver], enrolled: Callable[[str], DeviceId | None]) -> None:
        self._clock = clock
        self._drivers = tuple(drivers)
        self._enrolled = enrolled
        self._heard: OrderedDict[str, Heard] = OrderedDict()

    def __len__(self) -> int:
        self._forget()
        return len(self._heard)

    def hear(self, device: BLEDevice, data: AdvertisementData) -> Heard:
        """One packet. Cheap, and never raises: this runs for every packet in the street."""
        now_s, now = self._clock.monotonic(), self._clock.now()
        address = device.address.upper()
        advert = advert_of(data)
        rssi = None if data.rssi == _NO_RSSI else data.rssi
        known = self._heard.get(address)
        if known is None:
            while len(self._heard) >= _MOST:
                self._heard.popitem(last=False)
            known = self._heard[address] = Heard(
                device,
                advert,
                driver_for(advert, self._drivers),
                _reason(advert),
                None,
                rssi,
                False,
                now_s,
                now_s,
                now,
                now,
            )
        elif not _says_the_same(advert, known.advert):
            known.driver = driver_for(advert, self._drivers) or known.driver
            known.not_read = _reason(advert) or known.not_read
        if now_s - known.last_s > FRESH_S:
            known.awake_since_s = now_s
        if advert.name:
            known.name = advert.name[:_NAME_CHARS]
        known.device, known.advert, known.rssi_dbm, known.is_bonded = device, advert, rssi, _is_bonded(device, data)
        known.last_s, known.last_at = now_s, now
        self._heard.move_to_end(address)
        return known

    def clear(self) -> None:
        """Forget everybody: the handles belong to an adapter that has gone."""
        self._heard.clear()

    def find(self, address: str) -> Heard | None:
        """What is remembered of an address (upper case); None: not heard in the last minutes."""
        self._forget()
        return self._heard.get(address)

    def enrolled(self) -> frozenset[DeviceId]:
        """Which of ours are among them."""
        self._forget()
        return frozenset(device for address in self._heard if (device := self._enrolled(address)) is not None)

    def neighbours(self) -> tuple[Neighbour, ...]:
        """For people, strongest first."""
        self._forget()
        return strongest_first(
            Neighbour(
                address=address,
                name=heard.name,
                rssi_dbm=heard.rssi_dbm,
                driver=None if heard.driver is None else heard.driver.name,
                kind=None if heard.driver is None else min(heard.driver.kinds, key=_KIND_ORDER.index, default=None),
                device_id=self._enrolled(address),
                first_heard_at=heard.first_at,
                last_heard_at=heard.last_at,
                not_read=heard.not_read if heard.driver is None or heard.driver.unlock is not None else None,
            )
            for address, heard in self._heard.items()
        )

    def _forget(self) -> None:
        oldest_s = self._clock.monotonic() - MINUTES_S
        while self._heard and next(iter(self._heard.values())).last_s < oldest_s:
            self._heard.popitem(last=False)


def strongest_first(neighbours: Iterable[Neighbour]) -> tuple[Neighbour, ...]:
    """Ordered by strength; those of unknown strength last."""
    return tuple(sorted(neighbours, key=lambda n: (n.rssi_dbm is None, -(n.rssi_dbm or 0), n.address)))


def _says_the_same(advert: Advert, before: Advert) -> bool:
    """Whether a driver could not see a difference: all but what changes with each measurement."""
    return (
        advert.name == before.name
        and advert.services == before.services
        and advert.service_data.keys() == before.service_data.keys()
        and advert.manufacturer_data.keys() == before.manufacturer_data.keys()
    )


def _reason(advert: Advert) -> str | None:
    entry = why_not_read(advert)
    return None if entry is None else entry.name


def _is_bonded(device: BLEDevice, data: AdvertisementData) -> bool:
    """As BlueZ says now; what bleak keeps with the device is as old as the scan."""
    details = device.details
    properties = details.get("props") if isinstance(details, dict) else None
    for word in data.platform_data:
        if isinstance(word, dict):
            properties = word
    return isinstance(properties, dict) and bool(properties.get("Paired"))
