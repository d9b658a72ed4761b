"""One message at a time, decoded as the source decodes it: for a log, and for what was set aside."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, tzinfo

from gateway.adapters.sources.mqtt.decode import BatchDecoder
from gateway.adapters.sources.mqtt.packets import Publish
from gateway.model import Batch, DeviceId
from gateway.ports import DeviceSighting, Intake
from gateway.settings import MqttSettings

__all__ = ["SingleDecoder"]


class SingleDecoder:
    """The decoders of one configuration.

    Args:
        settings: the section `[mqtt]`.
        zone_of: zone of a device's owner.
    """

    def __init__(self, settings: MqttSettings, zone_of: Callable[[DeviceId], tzinfo]) -> None:
        self._own = BatchDecoder(settings, zone_of)

    async def decode(
        self, message: Publish, received_at: datetime, intake: Intake, *, clock_is_trusted: bool
    ) -> tuple[Batch, tuple[DeviceSighting, ...]]:
        """What `message` gives, received at `received_at` (aware, UTC).

        Args:
            intake: what was known before; nothing is submitted.
            clock_is_trusted: whether that instant can be right.

        Raises:
            StoreUnavailable: what was known before cannot be read.
        """
        decoded = self._own.decode([((message,), received_at)], clock_is_trusted=clock_is_trusted)
        return decoded[0], decoded[1]
