"""A message that was set aside, decoded again by the decoder of the source."""

from __future__ import annotations

from datetime import datetime

from gateway.adapters.sources.mqtt.packets import Publish
from gateway.adapters.sources.mqtt.single import SingleDecoder
from gateway.model import Quarantined
from gateway.ports import Intake, Redecoded

__all__ = ["MqttRedecoder"]


class MqttRedecoder:
    """Implements `gateway.ports.Redecoder`.

    Where nobody noted whether the broker had kept the message (rows of older releases), it counts as kept: a record in
    it that says no time then has none, instead of that of a reception that may have been years later.

    Args:
        decoder: the source's.
        intake: what was known before.
        trusted_from: receptions before this instant were stamped by a clock that cannot have been right.
    """

    def __init__(self, decoder: SingleDecoder, intake: Intake, trusted_from: datetime) -> None:
        self._decoder = decoder
        self._intake = intake
        self._trusted_from = trusted_from

    async def redecode(self, item: Quarantined) -> Redecoded:
        """What the message gives today."""
        frame = item.frame
        message = Publish(
            topic=frame.channel,
            payload=frame.payload,
            qos=1 if item.qos is None else item.qos,
            mid=0,
            is_duplicate=False,
            is_retained=item.is_retained is not False,
        )
        batch = await self._decoder.decode_late(
            message, frame.received_at, self._intake, clock_is_trusted=frame.received_at >= self._trusted_from
        )
        return Redecoded(batch)
