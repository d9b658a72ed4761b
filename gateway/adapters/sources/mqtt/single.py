"""One message at a time, decoded as the source decodes it: for a log, and for what was set aside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, tzinfo

from gateway.adapters.sources.mqtt.decode import BatchDecoder
from gateway.adapters.sources.mqtt.dialects import DialectDecoder, Foreign
from gateway.adapters.sources.mqtt.packets import Publish
from gateway.adapters.sources.mqtt.routes import RouteTable, routes_of
from gateway.model import Batch, DeviceId
from gateway.ports import Addresses, DeviceSighting, Intake
from gateway.settings import MqttSettings

__all__ = ["SingleDecoder"]


class SingleDecoder:
    """The decoders of one configuration. What a dialect's message hands to the Bluetooth source is left out.

    Args:
        settings: the section `[mqtt]`.
        zone_of: zone of a device's owner.
        addresses: which device has which Bluetooth address.
    """

    def __init__(self, settings: MqttSettings, zone_of: Callable[[DeviceId], tzinfo], addresses: Addresses) -> None:
        self._limit = settings.max_payload_bytes
        self._zone_of = zone_of
        self._addresses = addresses
        self._table = RouteTable(routes_of(settings))
        self._own = BatchDecoder(settings, zone_of, lambda topic: self._table.find(topic) is not None)
        self._dialects = self._new_dialects()

    async def decode(
        self, message: Publish, received_at: datetime, intake: Intake, *, clock_is_trusted: bool
    ) -> tuple[Batch, tuple[DeviceSighting, ...]]:
        """What `message` gives, received at `received_at` (aware, UTC), after those that were decoded before it.

        Args:
            intake: what was known before; nothing is submitted.
            clock_is_trusted: whether that instant can be right.

        Raises:
            StoreUnavailable: what was known before cannot be read.
        """
        batch, sightings, foreign = self._own.decode([((message,), received_at)], clock_is_trusted=clock_is_trusted)
        if foreign:
            said = Foreign(message, received_at)
            return await self._dialects.decode([said], intake, clock_is_trusted=clock_is_trusted)
        return batch, sightings

    async def decode_late(
        self, message: Publish, received_at: datetime, intake: Intake, *, clock_is_trusted: bool
    ) -> Batch:
        """What `message` gives long after it came; as `decode`.

        What neither names nor dates itself counts as having waited in the broker: it is compared with what is
        remembered, and if it is new, nobody knows when it was measured. The memory itself is the running source's, and
        is not in the batch.
        """
        batch, _, foreign = self._own.decode([((message,), received_at)], clock_is_trusted=clock_is_trusted)
        if foreign:
            said = Foreign(message._replace(is_duplicate=True), received_at)
            batch, _ = await self._new_dialects().decode([said], intake, clock_is_trusted=clock_is_trusted)
        return replace(batch, checkpoints=())

    def _new_dialects(self) -> DialectDecoder:
        return DialectDecoder(self._table, self._addresses, self._zone_of, self._limit)
