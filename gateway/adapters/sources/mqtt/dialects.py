"""Messages of dialects -> readings: whose they are, what is new in them, and what has to be set aside.

The topic says which device a message is about: the configuration binds it, or it names a Bluetooth address that
somebody enrolled. What the payload says about that may only agree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Final, NamedTuple

import structlog

from gateway.adapters.sources.mqtt.packets import Publish
from gateway.adapters.sources.mqtt.routes import Route, RouteTable
from gateway.adapters.sources.mqtt.strangers import Strangers
from gateway.devices.advert import Advert
from gateway.devices.dialects import Message, Said
from gateway.devices.procedures.untimed_records import UNTIMED_CHECKPOINT, Origin, UntimedRecords
from gateway.devices.procedures.weigh_in_trust import TOO_MANY
from gateway.model import (
    Batch,
    Checkpoint,
    DeviceId,
    Provenance,
    Quarantined,
    QuarantineReason,
    RawFrame,
    Reading,
    SourceKind,
)
from gateway.normalise.contact import Contact
from gateway.normalise.reported import Parsed, Problem, ReportedRecord, readings_of
from gateway.ports import Addresses, DeviceSighting, Intake

__all__ = ["AdvertSink", "DialectDecoder", "Foreign", "NobodyEnrolled"]

log = structlog.get_logger()

AdvertSink = Callable[[str, Advert, datetime], bool]
"""Takes an advertisement that somebody else's radio heard: address, what it said, when it was heard (aware, UTC); says
whether our own decoders make something of it."""

_ADDRESS = re.compile(r"(?:[0-9A-F]{2}:){5}[0-9A-F]{2}")
_LONGEST_CHANNEL: Final = 256


class Foreign(NamedTuple):
    """A message of a dialect.

    Attributes:
        message: as it came.
        received_at: aware, UTC.
        is_backlog: it may have waited in the broker.
    """

    message: Publish
    received_at: datetime
    is_backlog: bool = False


class NobodyEnrolled:
    """Implements `Addresses` for a house without Bluetooth addresses."""

    async def device_of(self, address: str) -> DeviceId | None:
        """None."""
        return None

    async def address_of(self, device_id: DeviceId) -> str | None:
        """None."""
        return None


class _Decoded(NamedTuple):
    """A message, what it says, and whom it is about; `address`: of the topic, else of the device."""

    foreign: Foreign
    dialect: str
    said: Said
    device_id: DeviceId | None
    address: str | None
    is_contradicted: bool


@dataclass(slots=True)
class _Harvest:
    """A batch in the making."""

    readings: list[Reading] = field(default_factory=list)
    frames: list[RawFrame] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    sightings: dict[DeviceId, DeviceSighting] = field(default_factory=dict)
    touched: dict[DeviceId, UntimedRecords] = field(default_factory=dict)


class DialectDecoder:
    """Decodes what other programs publish; remembers per device what was told without a name or a time.

    What it remembers runs ahead of the disk: the batches that it makes are committed in their order, and after a
    failure a new decoder begins with what is durable.

    Args:
        table: the routes.
        addresses: which device has which address.
        zone_of: zone of a device's owner.
        limit: longest payload in bytes.
        on_advert: where advertisements go; None: nowhere.
        strangers: takes down who is heard and not recorded.
    """

    def __init__(
        self,
        table: RouteTable,
        addresses: Addresses,
        zone_of: Callable[[DeviceId], tzinfo],
        limit: int,
        on_advert: AdvertSink | None = None,
        strangers: Strangers | None = None,
    ) -> None:
        self._table = table
        self._addresses = addresses
        self._zone_of = zone_of
        self._limit = limit
        self._on_advert = on_advert
        self._strangers = strangers or Strangers()
        self._memories: dict[DeviceId, UntimedRecords] = {}
        self._mismatches: set[DeviceId] = set()
        self._was_trusted = True

    async def decode(
        self, messages: Sequence[Foreign], intake: Intake, *, clock_is_trusted: bool = True
    ) -> tuple[Batch, tuple[DeviceSighting, ...]]:
        """One batch for all messages, with the checkpoints that belong to it, and at most one sighting per device.

        Raises:
            StoreUnavailable: a checkpoint or the enrolments cannot be read; nothing was decoded then.
        """
        decoded = [
            await self._identify(foreign, route, intake)
            for foreign in messages
            if (route := self._table.find(foreign.message.topic)) is not None
        ]
        if clock_is_trusted is not self._was_trusted:
            self._was_trusted = clock_is_trusted
            for memory in self._memories.values():
                memory.interrupt()  # the clock has stepped: how long ago the last word was cannot be told by it
        harvest = _Harvest()
        for each in decoded:
            self._take(each, harvest, clock_is_trusted=clock_is_trusted)
        checkpoints = tuple(
            Checkpoint(device_id, UNTIMED_CHECKPOINT, state)
            for device_id, memory in harvest.touched.items()
            if (state := memory.mark()) is not None
        )
        batch = Batch(tuple(harvest.readings), tuple(harvest.frames), tuple(harvest.quarantined), checkpoints)
        return batch, tuple(harvest.sightings.values())

    async def _identify(self, foreign: Foreign, route: Route, intake: Intake) -> _Decoded:
        """Whom a message is about; its memory is at hand then."""
        message = foreign.message
        address, device_id = route.dialect.address_of(message.topic), route.device_id
        if device_id is None and address is not None:
            device_id = await self._addresses.device_of(address)
        said = Said()
        if len(message.payload) <= self._limit:
            said = route.dialect.decode(Message(message.topic, message.payload, message.is_retained, message.qos))
        is_contradicted = False
        if device_id is not None:
            if device_id not in self._memories:
                checkpoint = await intake.checkpoint(device_id, UNTIMED_CHECKPOINT)
                self._memories[device_id] = UntimedRecords(None if checkpoint is None else checkpoint.state)
            is_contradicted = not await self._agrees(said.claims, address, device_id)
            address = address or await self._addresses.address_of(device_id)
        return _Decoded(foreign, route.dialect.name, said, device_id, address, is_contradicted)

    async def _agrees(self, claims: str | None, in_topic: str | None, device_id: DeviceId) -> bool:
        """Whether what topic and payload say about the sender may be true of the device."""
        if claims is not None and _ADDRESS.fullmatch(claims) is None:
            return claims == device_id
        said = {address.upper() for address in (claims, in_topic) if address is not None}
        if len(said) != 1:
            return not said
        own = await self._addresses.address_of(device_id)
        if own is not None:
            return said == {own.upper()}
        return await self._addresses.device_of(said.pop()) in (None, device_id)

    def _take(self, decoded: _Decoded, harvest: _Harvest, *, clock_is_trusted: bool) -> None:
        foreign, dialect, said, device_id, address, is_contradicted = decoded
        message, received_at = foreign.message, foreign.received_at
        if device_id is None:
            if address is not None and (said.records or said.untimed):
                self._strangers.note(address, dialect, received_at)
            self._is_handed_over(said, address, _origin(foreign), received_at)
            return
        if address is not None:
            self._strangers.forget(address)
        frame = RawFrame(
            device_id, SourceKind.MQTT, message.topic[:_LONGEST_CHANNEL], message.payload[: self._limit], received_at
        )
        if len(message.payload) > self._limit:
            detail = f"more than {self._limit} bytes"
            harvest.quarantined.append(_set_aside(message, frame, QuarantineReason.TOO_LARGE, detail))
            return
        if is_contradicted:
            detail = "topic and payload do not agree on the device"
            harvest.quarantined.append(_set_aside(message, frame, QuarantineReason.IDENTITY_MISMATCH, detail))
            self._warn_of(device_id)
            return
        origin = _origin(foreign)
        if self._is_handed_over(said, address, origin, received_at):
            said = said._replace(untimed=())  # the same weigh-in, decoded by the sender, would be a second one
        provenance = Provenance(
            SourceKind.MQTT,
            f"mqtt.{dialect}",
            is_retained=message.is_retained,
            is_unconfirmed=message.qos == 0,
        )
        before, problems = len(harvest.readings), list(said.problems)
        for records, is_live in self._records(said, device_id, received_at, origin, harvest, problems):
            contact = Contact(
                device_id,
                self._zone_of(device_id),
                received_at,
                SourceKind.MQTT,
                is_live=is_live,
                clock_is_trusted=clock_is_trusted,
            )
            normal = readings_of(Parsed(records), contact, provenance, frame=len(harvest.frames))
            harvest.readings += normal.readings
            problems += normal.problems
        if len(harvest.readings) > before:
            harvest.frames.append(frame)
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            harvest.quarantined.append(_set_aside(message, frame, problems[0].reason, f"{problems[0].detail}{more}"))
        has_spoken = bool(said.records or said.untimed or said.adverts)
        if origin is Origin.LIVE and has_spoken and device_id not in harvest.sightings:
            harvest.sightings[device_id] = DeviceSighting(device_id, received_at)

    def _records(
        self,
        said: Said,
        device_id: DeviceId,
        received_at: datetime,
        origin: Origin,
        harvest: _Harvest,
        problems: list[Problem],
    ) -> list[tuple[tuple[ReportedRecord, ...], bool]]:
        """What is new of what was said, each with whether it was measured just now."""
        found: list[tuple[tuple[ReportedRecord, ...], bool]] = []
        if said.records:
            found.append((said.records, origin is Origin.LIVE))
        if said.untimed or said.is_interrupted:
            memory = harvest.touched[device_id] = self._memories[device_id]
            if said.is_interrupted:
                memory.interrupt()
            for untimed in said.untimed:
                heard = memory.hear(untimed, received_at, origin)
                if heard.record is not None:
                    found.append(((heard.record,), heard.is_live))
                if heard.is_refused:
                    problems.append(Problem(QuarantineReason.IMPLAUSIBLE, TOO_MANY))
        return found

    def _is_handed_over(self, said: Said, address: str | None, origin: Origin, received_at: datetime) -> bool:
        """Give advertisements to our own decoders; whether they make something of them.

        Only what is said now: one that the broker kept, or that waited in it, would be placed at the wrong time.
        """
        if self._on_advert is None or origin is not Origin.LIVE:
            return False
        named = address or said.claims
        if named is None or _ADDRESS.fullmatch(named) is None or (said.claims or named) != named:
            return False
        taken = [self._on_advert(named, advert, received_at) for advert in said.adverts]
        return any(taken)

    def _warn_of(self, device_id: DeviceId) -> None:
        if device_id not in self._mismatches:
            self._mismatches.add(device_id)
            log.warning("mqtt.identity_mismatch", device=device_id, hint="see the quarantine; said once per device")


def _set_aside(message: Publish, frame: RawFrame, reason: QuarantineReason, detail: str) -> Quarantined:
    return Quarantined(frame, reason, detail, message.is_retained, message.qos)


def _origin(foreign: Foreign) -> Origin:
    message = foreign.message
    if message.is_retained:
        return Origin.RETAINED
    if message.is_duplicate or (foreign.is_backlog and message.qos > 0):
        return Origin.QUEUED
    return Origin.LIVE
