"""What a source hands over to be made durable in one transaction."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gateway.model.ids import DeviceId
from gateway.model.reading import Reading, SourceKind

__all__ = ["Batch", "Checkpoint", "CommitReceipt", "QuarantineReason", "Quarantined", "RawFrame"]


@dataclass(frozen=True, slots=True)
class RawFrame:
    """A payload exactly as it came.

    Attributes:
        device_id: the sender as far as the transport knows it; None when it does not.
        source: the transport.
        channel: characteristic or service-data UUID (`2a18`), or MQTT topic.
        payload: the bytes.
        received_at: aware, UTC, gateway clock.
    """

    device_id: DeviceId | None
    source: SourceKind
    channel: str
    payload: bytes
    received_at: datetime


class QuarantineReason(enum.StrEnum):
    """Why a payload gave no reading."""

    MALFORMED = "malformed"
    IMPLAUSIBLE = "implausible"
    UNSUPPORTED = "unsupported"
    IDENTITY_MISMATCH = "identity_mismatch"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A payload set aside.

    Attributes:
        frame: the payload.
        reason, detail: why, and the same as a sentence that holds no value.
        is_retained: MQTT: the broker had kept it, so that it is no news; None: not known, or not MQTT.
        qos: MQTT: as delivered; None likewise.
    """

    frame: RawFrame
    reason: QuarantineReason
    detail: str
    is_retained: bool | None = None
    qos: int | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a device has been read; advanced only together with what it covers.

    Attributes:
        device_id: which device.
        name: what is counted, e.g. `glucose.records`, `cgm.session`.
        state: small JSON object: strings, integers, booleans, nulls.
    """

    device_id: DeviceId
    name: str
    state: Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class Batch:
    """One unit of durability: everything in it is on disk, or nothing is.

    `Reading.frame` indexes `frames`. An empty batch is legal and does nothing.
    """

    readings: tuple[Reading, ...] = ()
    frames: tuple[RawFrame, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitReceipt:
    """What a commit changed; all zero for a batch that was known already."""

    added: int = 0
    corrected: int = 0
    known: int = 0
    quarantined: int = field(default=0)
