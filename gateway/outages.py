"""Notes when the gateway could not hear, while it runs, and at its start for how long it had not run.

Looks around four times a minute and writes once: a sign of life, by which the next start knows when this life ended,
and outages when they begin and when they end. Ten seconds without a broker explain no hole, and are not noted.
Nothing is noted by a clock that cannot be right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog

from gateway.errors import StoreUnavailable
from gateway.model import DeviceId, DeviceKind, Outage, OutageReason, RadioReport, RadioState
from gateway.ports import Clock, Ledger, ReadingStore, Registry

__all__ = ["BLUETOOTH", "BROKER", "GATEWAY", "STORE", "BrokerReport", "OutageWatch", "device_subject"]

GATEWAY: Final = "gateway"
STORE: Final = "store"
BLUETOOTH: Final = "bluetooth"
BROKER: Final = "mqtt"

_LOOK_EVERY_S: Final = 15.0
_ALIVE_EVERY: Final = timedelta(minutes=1)
_WORTH_NOTING: Final = timedelta(minutes=2)
_SILENT: Final = timedelta(minutes=20)
"""A sensor that nobody has heard for so long is out of reach; most speak every five minutes."""
_MUTE: Final = frozenset({RadioState.DEAF, RadioState.ABSENT, RadioState.BLOCKED, RadioState.RECOVERING})

log = structlog.get_logger()


def device_subject(device_id: DeviceId) -> str:
    """The subject of an outage of one device."""
    return f"device:{device_id}"


class BrokerReport(NamedTuple):
    """The connection to the broker, now.

    Attributes:
        is_connected: whether the subscription stands.
        sessions_lost: how often the broker no longer knew us, since the start.
    """

    is_connected: bool
    sessions_lost: int


class OutageWatch:
    """Looks after the ledger.

    Args:
        reports: every radio, now; None: Bluetooth is off.
        broker: None: MQTT is off.
        spells: from when to when the store could not be written, each told once.
    """

    def __init__(
        self,
        ledger: Ledger,
        registry: Registry,
        store: ReadingStore,
        clock: Clock,
        *,
        reports: Callable[[], Iterable[RadioReport]] | None = None,
        broker: Callable[[], BrokerReport] | None = None,
        spells: Callable[[], list[tuple[datetime, datetime]]] = list,
    ) -> None:
        self._ledger = ledger
        self._registry = registry
        self._store = store
        self._clock = clock
        self._reports = reports
        self._broker = broker
        self._spells = spells
        self._pending: list[Outage] = []
        self._started_at: datetime | None = None
        self._alive_at: datetime | None = None
        self._mute: OutageReason | None = None
        self._connected_at: datetime | None = None
        self._away_since: datetime | None = None
        self._is_away_noted = False
        self._sessions_lost = 0
        self._silent: dict[DeviceId, datetime] = {}

    async def run(self) -> None:
        """Look around for ever; a store that is away is waited for."""
        while True:
            with suppress(StoreUnavailable):  # it notes itself, once it can be written again
                await self.look()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Once around. Raises StoreUnavailable: what was seen is seen again the next time."""
        if not self._clock.is_trusted:
            return
        now = self._clock.now()
        if self._started_at is None:
            await self._begin(now)
        self._pending += [
            Outage(STORE, OutageReason.STORE_UNAVAILABLE, began_at, ended_at)
            for began_at, ended_at in self._spells()
            if ended_at > began_at
        ]
        while self._pending:
            await self._ledger.record(self._pending[0])
            del self._pending[0]
        await self._look_at_radios(now)
        await self._look_at_broker(now)
        if self._alive_at is None or now - self._alive_at >= _ALIVE_EVERY or now < self._alive_at:
            await self._look_at_sensors(now)
            await self._ledger.alive(now)
            self._alive_at = now

    async def farewell(self) -> None:
        """The gateway ends in good order: the next start knows from when it was off."""
        if self._clock.is_trusted and self._started_at is not None:
            try:
                await self._ledger.alive(self._clock.now())
            except StoreUnavailable:
                log.info("outages.farewell_lost")

    async def _begin(self, now: datetime) -> None:
        """What an earlier life left open ended with it."""
        last = await self._ledger.last_alive()
        if last is not None:
            last = min(last, now)  # a clock that was ahead
            await self._ledger.end(None, None, last)
            if now - last >= _WORTH_NOTING:
                await self._ledger.record(Outage(GATEWAY, OutageReason.GATEWAY_OFF, last, now))
        self._started_at = now

    async def _look_at_radios(self, now: datetime) -> None:
        reports = [] if self._reports is None else list(self._reports())
        if not reports:
            return
        if any(report.state is RadioState.HEARING for report in reports):
            if self._mute is not None:
                await self._ledger.end(BLUETOOTH, None, now)
                self._mute = None
            return
        if self._mute is not None or not all(report.state in _MUTE for report in reports):
            return  # quiet and starting are no verdict yet
        deaf = [report for report in reports if report.state in {RadioState.DEAF, RadioState.RECOVERING}]
        reason = OutageReason.RADIO_DEAF if deaf else OutageReason.RADIO_OFF
        heard = [report.last_heard_at for report in reports if report.last_heard_at is not None]
        since = max(heard, default=min(report.since for report in reports))
        await self._ledger.begin(BLUETOOTH, reason, min(since, now))
        self._mute = reason

    async def _look_at_broker(self, now: datetime) -> None:
        if self._broker is None:
            return
        report = self._broker()
        lost = report.sessions_lost
        if lost > self._sessions_lost:
            began_at = self._connected_at or self._started_at or now
            await self._ledger.record(Outage(BROKER, OutageReason.BROKER_SESSION_LOST, began_at, now))
            self._sessions_lost = lost
        if report.is_connected:
            if self._is_away_noted:
                await self._ledger.end(BROKER, OutageReason.BROKER_AWAY, now)
            self._connected_at, self._away_since, self._is_away_noted = now, None, False
            return
        if self._away_since is None:
            self._away_since = self._connected_at or now
        if not self._is_away_noted and now - self._away_since >= _WORTH_NOTING:
            await self._ledger.begin(BROKER, OutageReason.BROKER_AWAY, self._away_since)
            self._is_away_noted = True

    async def _look_at_sensors(self, now: datetime) -> None:
        """A sensor that is silent while we could hear it."""
        received: dict[DeviceId, datetime] = {}
        for item in await self._store.latest():
            device_id, at = item.reading.device_id, item.reading.received_at
            received[device_id] = max(at, received.get(device_id, at))
        for device in await self._registry.devices():
            if device.kind is not DeviceKind.CGM:
                continue
            signs = [at for at in (device.last_heard_at, received.get(device.device_id)) if at is not None]
            if not signs:
                continue
            heard_at = max(signs)
            silent_since = self._silent.get(device.device_id)
            subject = device_subject(device.device_id)
            if silent_since is not None:
                if heard_at > silent_since:
                    await self._ledger.end(subject, OutageReason.DEVICE_OFFLINE, min(heard_at, now))
                    del self._silent[device.device_id]
                continue
            since = max(heard_at, self._started_at or heard_at)
            if now - since >= _SILENT and self._mute is None and not self._is_away_noted:
                await self._ledger.begin(subject, OutageReason.DEVICE_OFFLINE, since)
                self._silent[device.device_id] = since
