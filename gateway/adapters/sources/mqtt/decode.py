"""Messages of our topics -> one batch and the sightings of their devices. Those of dialects are left for `dialects`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, tzinfo
from typing import NamedTuple

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

__all__ = ["BatchDecoder", "DecodedGroups"]

_CONFIRMED, _UNCONFIRMED = (
    tuple(
        Provenance(SourceKind.MQTT, DECODER, is_retained=is_retained, is_unconfirmed=is_unconfirmed)
        for is_retained in (False, True)
    )
    for is_unconfirmed in (False, True)
)
"""By whether the message is retained."""
_LONGEST_CHANNEL = 256


class DecodedGroups(NamedTuple):
    """What groups of messages gave.

    Attributes:
        batch: readings and quarantined payloads of our own format.
        sightings: at most one per device.
        foreign: (number of the group, message) of each message of a dialect, in order.
    """

    batch: Batch
    sightings: tuple[DeviceSighting, ...]
    foreign: tuple[tuple[int, Publish], ...] = ()


def _of_no_dialect(_topic: str) -> bool:
    return False


class BatchDecoder:
    """Turns groups of messages into a `Batch`. Never raises for what a message holds.

    Args:
        zone_of: zone of a device's owner; asked once per device and group of messages.
        is_foreign: whether a topic that is not ours is of a dialect.
    """

    def __init__(
        self,
        settings: MqttSettings,
        zone_of: Callable[[DeviceId], tzinfo],
        is_foreign: Callable[[str], bool] = _of_no_dialect,
    ) -> None:
        self._is_foreign = is_foreign
        self._prefix = f"{settings.topic_root}/"
        self._max_payload_bytes = settings.max_payload_bytes
        self._zone_of = zone_of

    def decode(
        self, groups: Iterable[tuple[Sequence[Publish], datetime]], *, clock_is_trusted: bool = True
    ) -> DecodedGroups:
        """One batch for all messages of our format, and at most one sighting per device.

        Args:
            groups: messages with the instant of their reception (aware, UTC).
            clock_is_trusted: whether that instant can be right.
        """
        readings: list[Reading] = []
        frames: list[RawFrame] = []
        quarantined: list[Quarantined] = []
        sightings: dict[DeviceId, DeviceSighting] = {}
        contacts: dict[tuple[DeviceId, bool, datetime], Contact] = {}
        foreign: list[tuple[int, Publish]] = []
        limit = self._max_payload_bytes
        for number, (messages, received_at) in enumerate(groups):
            for message in messages:
                channel, device_id, kind = self._route(message)
                if device_id is None and self._is_foreign(message.topic):
                    foreign.append((number, message))
                    continue
                payload = message.payload
                frame = RawFrame(device_id, SourceKind.MQTT, channel, payload[:limit], received_at)
                if device_id is None:
                    quarantined.append(_set_aside(message, frame, QuarantineReason.MALFORMED, kind))
                elif len(payload) > limit:
                    detail = f"more than {limit} bytes"
                    quarantined.append(_set_aside(message, frame, QuarantineReason.TOO_LARGE, detail))
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
                    provenance = (_CONFIRMED if message.qos else _UNCONFIRMED)[is_retained]
                    decoded = decode_reading_message(payload, contact, provenance, frame=len(frames))
                    if decoded.readings:
                        frames.append(frame)
                        readings.extend(decoded.readings)
                    if decoded.problems:
                        first = decoded.problems[0]
                        more = len(decoded.problems) - 1
                        detail = f"{first.detail} (and {more} more)" if more else first.detail
                        quarantined.append(_set_aside(message, frame, first.reason, detail))
                    if not is_retained and device_id not in sightings:
                        sightings[device_id] = DeviceSighting(device_id, received_at)
                else:
                    try:
                        status = parse_status_message(payload)
                    except Refused as error:
                        quarantined.append(_set_aside(message, frame, error.reason, str(error)))
                    else:
                        if not message.is_retained and status.is_online is not False:
                            sightings[device_id] = _sighting(device_id, received_at, status)
        batch = Batch(tuple(readings), tuple(frames), tuple(quarantined))
        return DecodedGroups(batch, tuple(sightings.values()), tuple(foreign))

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


def _set_aside(message: Publish, frame: RawFrame, reason: QuarantineReason, detail: str) -> Quarantined:
    return Quarantined(frame, reason, detail, message.is_retained, message.qos)


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
