"""Messages of our topics -> one batch and the sightings of their devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, tzinfo

from gateway.adapters.sources.mqtt.packets import Publish
from gateway.devices.passerelle_json import (
    DECODER,
    DeviceStatus,
    Refused,
    decode_reading_message,
    parse_status_message,
)
from gateway.model import (
    Batch,
    DeviceId,
    Provenance,
    Quarantined,
    QuarantineReason,
    RawFrame,
    Reading,
    SourceKind,
    is_identifier,
)
from gateway.normalise.contact import Contact
from gateway.ports import DeviceSighting
from gateway.settings import MqttSettings

__all__ = ["BatchDecoder"]

_LIVE = Provenance(SourceKind.MQTT, DECODER)
_RETAINED = Provenance(SourceKind.MQTT, DECODER, is_retained=True)
_LONGEST_CHANNEL = 256


class BatchDecoder:
    """Turns groups of messages into a `Batch`. Never raises for what a message holds."""

    def __init__(self, settings: MqttSettings, zone_of: Callable[[DeviceId], tzinfo]) -> None:
        self._prefix = f"{settings.topic_root}/"
        self._max_payload_bytes = settings.max_payload_bytes
        self._zone_of = zone_of

    def decode(
        self, groups: Iterable[tuple[Sequence[Publish], datetime]], *, clock_is_trusted: bool = True
    ) -> tuple[Batch, tuple[DeviceSighting, ...]]:
        """One batch for all messages, and at most one sighting per device.

        Args:
            groups: messages with the instant of their reception (aware, UTC).
            clock_is_trusted: whether that instant can be right.
        """
        readings: list[Reading] = []
        frames: list[RawFrame] = []
        quarantined: list[Quarantined] = []
        sightings: dict[DeviceId, DeviceSighting] = {}
        contacts: dict[tuple[DeviceId, bool, datetime], Contact] = {}
        limit = self._max_payload_bytes
        for messages, received_at in groups:
            for message in messages:
                channel, device_id, kind = self._route(message)
                payload = message.payload
                frame = RawFrame(device_id, SourceKind.MQTT, channel, payload[:limit], received_at)
                if device_id is None:
                    quarantined.append(Quarantined(frame, QuarantineReason.MALFORMED, kind))
                elif len(payload) > limit:
                    detail = f"more than {limit} bytes"
                    quarantined.append(Quarantined(frame, QuarantineReason.TOO_LARGE, detail))
                elif kind == "reading":
                    is_retained = message.is_retained
                    at = (device_id, is_retained, received_at)
                    contact = contacts.get(at)
                    if contact is None:
                        contact = contacts[at] = Contact(
                            device_id,
                            self._zone_of(device_id),
                            received_at,
                            SourceKind.MQTT,
                            is_live=not is_retained,
                            clock_is_trusted=clock_is_trusted,
                        )
                    decoded = decode_reading_message(
                        payload, contact, _RETAINED if is_retained else _LIVE, frame=len(frames)
                    )
                    if decoded.readings:
                        frames.append(frame)
                        readings.extend(decoded.readings)
                    if decoded.problems:
                        first = decoded.problems[0]
                        more = len(decoded.problems) - 1
                        detail = f"{first.detail} (and {more} more)" if more else first.detail
                        quarantined.append(Quarantined(frame, first.reason, detail))
                    if not is_retained and device_id not in sightings:
                        sightings[device_id] = DeviceSighting(device_id, received_at)
                else:
                    try:
                        status = parse_status_message(payload)
                    except Refused as error:
                        quarantined.append(Quarantined(frame, error.reason, str(error)))
                    else:
                        if not message.is_retained and status.is_online is not False:
                            sightings[device_id] = _sighting(device_id, received_at, status)
        return Batch(tuple(readings), tuple(frames), tuple(quarantined)), tuple(sightings.values())

    def _route(self, message: Publish) -> tuple[str, DeviceId | None, str]:
        """Topic, device and `reading` or `status`; or topic, None and what is wrong with it."""
        topic = message.topic
        if topic.startswith(self._prefix):
            device, _, kind = topic[len(self._prefix) :].partition("/")
            if kind in ("reading", "status"):
                if is_identifier(device):
                    return topic, DeviceId(device), kind
                return topic[:_LONGEST_CHANNEL], None, "the topic does not name a device by our rules"
        return topic[:_LONGEST_CHANNEL], None, "the topic is not one of ours"


def _sighting(device_id: DeviceId, heard_at: datetime, status: DeviceStatus) -> DeviceSighting:
    return DeviceSighting(
        device_id,
        heard_at,
        manufacturer=status.manufacturer,
        model=status.model,
        serial=status.serial,
        firmware=status.firmware,
        battery_percent=status.battery_percent,
    )
