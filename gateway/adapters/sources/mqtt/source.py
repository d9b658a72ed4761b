"""The MQTT source: `<root>/<device_id>/reading` and `.../status`, and the topics of dialects, become readings; PUBACK
only after the commit.

The messages of one wake-up are decoded into one batch. A few batches may be on their way to the disk at once, so that
decoding and the disk work side by side; PUBACKs leave in the order in which the messages came, each group after its
own commit. What is not yet durable is bounded here, whatever the broker does: above `receive_maximum` messages or
8 MiB the connection is not read any further.

Batches that carry a memory of dialects are committed one after the other: it must never be durable ahead of what it
remembers.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

import structlog

from gateway.adapters.sources.mqtt.backlog import Backlog
from gateway.adapters.sources.mqtt.client import MqttConnection, MqttUnavailable
from gateway.adapters.sources.mqtt.decode import BatchDecoder
from gateway.adapters.sources.mqtt.dialects import AdvertSink, DialectDecoder, Foreign, NobodyEnrolled
from gateway.adapters.sources.mqtt.packets import Publish
from gateway.adapters.sources.mqtt.routes import RouteTable, routes_of
from gateway.adapters.sources.mqtt.strangers import Strangers
from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.model import Batch, DeviceId
from gateway.ports import Addresses, Clock, DeviceSighting, Intake, Stranger
from gateway.settings import MqttSettings

__all__ = ["MqttCounters", "MqttSource"]

log = structlog.get_logger()

_BATCHES_AT_ONCE = 3
_LARGEST_BATCH = 500
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 60.0
_ATTENTION_RETRY_S = 60.0
_LONGEST_STORE_RETRY_S = 15.0
_SHORT_LIVED = 4
"""Connections in a row, each lost within a minute: somebody takes our session (mosquitto 2.0.11 does not say so)."""
_SIGHTING_INTERVAL_S = 60.0
_SIGHTINGS_QUEUED = 1000
_MOST_HELD_BYTES = 8 * 1024 * 1024
_DEVICES_REMEMBERED = 50_000


@dataclass(slots=True)
class MqttCounters:
    """What has happened since the start; for the health page and for tests.

    Attributes:
        received: messages, redelivered ones included.
        redelivered: with the DUP flag.
        acknowledged: PUBACKs written.
        quarantined: payloads set aside.
        connections: sessions begun or resumed.
        sessions_lost: reconnections at which the broker no longer knew our session.
        held: messages not yet durable, now; `most_held` is its maximum, always below twice `receive_maximum`.
    """

    received: int = 0
    redelivered: int = 0
    acknowledged: int = 0
    quarantined: int = 0
    connections: int = 0
    sessions_lost: int = 0
    held: int = 0
    most_held: int = 0


@dataclass(frozen=True, slots=True)
class _Group:
    """Messages of one wake-up; `size` is the sum of their payloads in bytes, `is_trusted` whether `received_at` is."""

    connection: MqttConnection
    messages: list[Publish]
    size: int
    received_at: datetime
    is_backlog: bool
    is_trusted: bool


class MqttSource:
    """Implements `Source` for a broker that speaks MQTT 5 or 3.1.1.

    Args:
        settings: the section `[mqtt]`.
        clock: for reception times and the pace of sightings.
        zone_of: zone of a device's owner; asked once per device and group of messages.
        addresses: which device has which Bluetooth address, for dialects whose topics name one; default: none has.
        on_advert: where the advertisements go that somebody else's radio heard; default: nowhere.
    """

    def __init__(
        self,
        settings: MqttSettings,
        *,
        clock: Clock,
        zone_of: Callable[[DeviceId], tzinfo],
        addresses: Addresses | None = None,
        on_advert: AdvertSink | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._zone_of = zone_of
        self._addresses = addresses or NobodyEnrolled()
        self._on_advert = on_advert
        self._table = RouteTable(routes_of(settings))
        self._strangers = Strangers()
        self._decoder = BatchDecoder(settings, zone_of, lambda topic: self._table.find(topic) is not None)
        own = (f"{settings.topic_root}/+/reading", f"{settings.topic_root}/+/status")
        self._topics = (*own, *self._table.topics)
        self.counters = MqttCounters()
        self._standing = asyncio.Event()
        self._begin()

    def _begin(self) -> None:
        """Forget what an earlier run left behind: it was not acknowledged, so the broker still has it."""
        self._groups: deque[_Group] = deque()
        self._arrived = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._commits: asyncio.Queue[tuple[asyncio.Task[None], list[_Group]]] = asyncio.Queue(_BATCHES_AT_ONCE)
        self._sightings: asyncio.Queue[DeviceSighting] = asyncio.Queue(_SIGHTINGS_QUEUED)
        self._sighted_at: dict[DeviceId, float] = {}
        self._held_bytes = 0
        self.counters.held = 0
        self._standing.clear()
        self._is_loss_announced = False
        self._dialects = DialectDecoder(
            self._table,
            self._addresses,
            self._zone_of,
            self._settings.max_payload_bytes,
            self._on_advert,
            self._strangers,
        )
        self._backlog = Backlog()
        self._delivering: MqttConnection | None = None
        self._last_told: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """For logs and task names."""
        return "mqtt"

    @property
    def is_connected(self) -> bool:
        """Whether the subscription stands now."""
        return self._standing.is_set()

    def strangers(self) -> tuple[Stranger, ...]:
        """Bluetooth addresses that dialects speak of and that nobody enrolled, heard last first; bounded."""
        return self._strangers.all()

    async def connected(self) -> None:
        """Wait until the subscription stands."""
        await self._standing.wait()

    async def run(self, intake: Intake) -> None:
        """Collect for ever; a lost broker or store is waited for, never raised."""
        self._begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stay_connected(), name="mqtt.connection")
            tasks.create_task(self._decode(intake, tasks), name="mqtt.decode")
            tasks.create_task(self._acknowledge(), name="mqtt.acknowledge")
            tasks.create_task(self._report_sightings(intake), name="mqtt.sightings")

    async def _stay_connected(self) -> None:
        failures = short_lived = 0
        while True:
            slow = False
            try:
                connection = await MqttConnection.open(self._settings, self._topics, self._deliver)
                began = self._clock.monotonic()
                self._announce_connected(connection)
                try:
                    await connection.serve()
                finally:
                    self._backlog.stopped(asyncio.get_running_loop().time())
                    await connection.close()
                    held = self._clock.monotonic() - began > _LONGEST_RETRY_S
                    failures, short_lived = (0, 0) if held else (failures, short_lived + 1)
            except MqttUnavailable as error:
                self._announce_lost(str(error), error.needs_attention)
                slow = error.needs_attention or short_lived >= _SHORT_LIVED
                if short_lived == _SHORT_LIVED:
                    log.warning("mqtt.session_contested", hint="does another gateway use the same [mqtt] client_id?")
            except ConfigurationError as error:
                self._announce_lost(str(error), True)
                slow = True
            # What was received stays ours; without a connection no more can come until it is on disk.
            await self._drained.wait()
            ceiling = _ATTENTION_RETRY_S if slow else min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0**failures)
            failures = min(failures + 1, 10)
            await asyncio.sleep(random.uniform(ceiling / 2, ceiling))  # noqa: S311

    def _announce_connected(self, connection: MqttConnection) -> None:
        self.counters.connections += 1
        if self.counters.connections > 1 and not connection.session_present:
            self.counters.sessions_lost += 1
            log.warning("mqtt.session_lost", hint="messages that waited in the broker may be gone; see its persistence")
        self._standing.set()
        self._is_loss_announced = False
        log.info("mqtt.connected", session_present=connection.session_present)

    def _announce_lost(self, reason: str, needs_attention: bool) -> None:
        self._standing.clear()
        if not self._is_loss_announced:
            log.warning("mqtt.connection_lost", reason=reason, needs_attention=needs_attention)
        self._is_loss_announced = True

    def _deliver(self, connection: MqttConnection, messages: list[Publish]) -> None:
        counters = self.counters
        counters.received += len(messages)
        counters.redelivered += sum(message.is_duplicate for message in messages)
        now = asyncio.get_running_loop().time()
        if connection is not self._delivering:
            self._delivering = connection
            self._backlog.resumed(connection.began_at or now, has_queue=connection.session_present)
        limit = self._settings.max_payload_bytes
        if max(len(message.payload) for message in messages) > limit:
            # refused whatever they hold: keep the beginning for the quarantine
            messages = [each._replace(payload=each.payload[: limit + 1]) for each in messages]
        size = sum(len(message.payload) for message in messages)
        self._held_bytes += size
        counters.held += len(messages)
        counters.most_held = max(counters.most_held, counters.held)
        if counters.held >= self._settings.receive_maximum or self._held_bytes >= _MOST_HELD_BYTES:
            connection.pause()
            self._backlog.stopped(now)
        self._drained.clear()
        is_backlog = self._backlog.is_draining(now)
        is_trusted = self._clock.is_trusted
        self._groups.append(_Group(connection, messages, size, self._clock.now(), is_backlog, is_trusted))
        self._arrived.set()

    async def _decode(self, intake: Intake, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._arrived.wait()
            groups = self._take()
            clock_is_trusted = groups[0].is_trusted
            batch, sightings, foreign = self._decoder.decode(
                [(g.messages, g.received_at) for g in groups], clock_is_trusted=clock_is_trusted
            )
            after = None
            if foreign:
                theirs, also = await self._decode_foreign(
                    [Foreign(each, groups[at].received_at, groups[at].is_backlog) for at, each in foreign],
                    intake,
                    clock_is_trusted=clock_is_trusted,
                )
                batch, sightings, after = _joined(batch, theirs), (*sightings, *also), self._last_told
            self.counters.quarantined += len(batch.quarantined)
            task = tasks.create_task(_commit(intake, batch, after), name="mqtt.commit")
            if foreign:
                self._last_told = task
            await self._commits.put((task, groups))
            for sighting in sightings:
                self._note(sighting)

    async def _decode_foreign(
        self, messages: list[Foreign], intake: Intake, *, clock_is_trusted: bool
    ) -> tuple[Batch, tuple[DeviceSighting, ...]]:
        """Decode as soon as the store tells what was known before; until then nothing is acknowledged."""
        delay_s = _FIRST_RETRY_S
        while True:
            try:
                return await self._dialects.decode(messages, intake, clock_is_trusted=clock_is_trusted)
            except StoreUnavailable:
                await asyncio.sleep(random.uniform(delay_s / 2, delay_s))  # noqa: S311
                delay_s = min(_LONGEST_STORE_RETRY_S, 2 * delay_s)

    def _take(self) -> list[_Group]:
        """Groups for one batch: by one clock, which was believed for all of them or for none."""
        taken = [self._groups.popleft()]
        count = len(taken[0].messages)
        while (
            self._groups
            and count + len(self._groups[0].messages) <= _LARGEST_BATCH
            and self._groups[0].is_trusted is taken[0].is_trusted
        ):
            taken.append(self._groups.popleft())
            count += len(taken[-1].messages)
        if not self._groups:
            self._arrived.clear()
        return taken

    async def _acknowledge(self) -> None:
        counters = self.counters
        while True:
            task, groups = await self._commits.get()
            await task
            for group in groups:
                mids = [message.mid for message in group.messages if message.qos > 0]
                if group.connection.acknowledge(mids):
                    counters.acknowledged += len(mids)
                counters.held -= len(group.messages)
                self._held_bytes -= group.size
                has_room = counters.held < self._settings.receive_maximum and self._held_bytes < _MOST_HELD_BYTES
                if has_room and group.connection.resume():
                    self._backlog.resumed(asyncio.get_running_loop().time(), has_queue=True)
            if counters.held == 0:
                self._drained.set()

    def _note(self, sighting: DeviceSighting) -> None:
        """Queue a sighting unless it says nothing new and the device was noted within the last minute."""
        now = self._clock.monotonic()
        says_more = sighting.battery_percent is not None or sighting.model is not None
        last = self._sighted_at.get(sighting.device_id)
        if last is not None and now - last < _SIGHTING_INTERVAL_S and not says_more:
            return
        if self._sightings.full():
            return
        if len(self._sighted_at) >= _DEVICES_REMEMBERED:
            self._sighted_at.clear()
        self._sighted_at[sighting.device_id] = now
        self._sightings.put_nowait(sighting)

    async def _report_sightings(self, intake: Intake) -> None:
        while True:
            sighting = await self._sightings.get()
            try:
                await intake.sighted(sighting)
            except StoreUnavailable:
                self._sighted_at.pop(sighting.device_id, None)


def _joined(own: Batch, theirs: Batch) -> Batch:
    """One batch of two; the frames of the second follow those of the first."""
    shift = len(own.frames)
    moved = [replace(each, frame=None if each.frame is None else each.frame + shift) for each in theirs.readings]
    return Batch(
        (*own.readings, *moved),
        own.frames + theirs.frames,
        own.quarantined + theirs.quarantined,
        own.checkpoints + theirs.checkpoints,
    )


async def _commit(intake: Intake, batch: Batch, after: asyncio.Task[None] | None = None) -> None:
    """Submit until it is durable; while the store is away nothing is acknowledged and the broker keeps the rest.

    Args:
        after: a commit that must be over first.
    """
    if after is not None:
        await asyncio.wait([after])
    delay_s = _FIRST_RETRY_S
    while True:
        try:
            await intake.submit(batch)
        except StoreUnavailable:
            await asyncio.sleep(random.uniform(delay_s / 2, delay_s))  # noqa: S311
            delay_s = min(_LONGEST_STORE_RETRY_S, 2 * delay_s)
        else:
            return
