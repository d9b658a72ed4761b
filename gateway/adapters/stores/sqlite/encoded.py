"""A batch prepared for the writer, on the caller's side of the queue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from gateway.adapters.stores.sqlite.codec import ParameterRow, compact, encode_reading, micros
from gateway.errors import PermanentError
from gateway.model import Batch, Checkpoint, DeviceId, RawFrame, SourceKind

__all__ = [
    "QUARANTINE_PAYLOAD_BYTES",
    "BatchEncoder",
    "EncodedBatch",
    "EncodedFrame",
    "EncodedQuarantine",
    "frame_origin",
    "origin_parts",
]

QUARANTINE_PAYLOAD_BYTES = 65_536
"""A quarantined payload is kept up to this length."""


class EncodedFrame(NamedTuple):
    """A raw payload: number within this process, where it came from, when (microseconds), the bytes.

    `digest` is of origin and payload where no reading refers to the payload; None where one does.
    """

    number: int
    origin: str
    received_at: int
    payload: bytes
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class EncodedQuarantine:
    """A payload set aside; `digest` is of channel and whole payload."""

    digest: bytes
    origin: str
    received_at: int
    payload: bytes
    reason: str
    detail: str
    is_retained: bool | None
    qos: int | None


@dataclass(slots=True)
class EncodedBatch:
    """What the writer needs, with as little left to do as possible; not frozen, for the sake of speed.

    Attributes:
        rows: parameters of each reading.
        series (device, epoch, metric code), provenances: what the rows refer to and must exist before them.
        row_frames: frame number of each row, None where there is no raw payload.
        frames: the payloads, by growing number, except those that quarantine holds and no row refers to.
    """

    rows: list[ParameterRow]
    series: set[tuple[str, int, int]]
    provenances: set[str]
    row_frames: list[int | None]
    frames: list[EncodedFrame]
    quarantined: list[EncodedQuarantine]
    checkpoints: tuple[Checkpoint, ...]


@lru_cache(maxsize=4096)
def _origin(source: str, device_id: DeviceId | None, channel: str) -> str:
    return compact([source, device_id, channel])


def frame_origin(frame: RawFrame) -> str:
    """Source, device and channel of a payload as one text."""
    return _origin(frame.source.value, frame.device_id, frame.channel)


def _quarantine(batch: Batch) -> Iterator[EncodedQuarantine]:
    for item in batch.quarantined:
        frame = item.frame
        digest = hashlib.blake2b(compact(frame.channel).encode() + b"\n" + frame.payload, digest_size=16).digest()
        yield EncodedQuarantine(
            digest,
            frame_origin(frame),
            micros(frame.received_at),
            frame.payload[:QUARANTINE_PAYLOAD_BYTES],
            item.reason.value,
            item.detail.encode("utf-8", "backslashreplace").decode(),
            item.is_retained,
            item.qos,
        )


def _frames(batch: Batch, referred: set[int], first: int) -> list[EncodedFrame]:
    is_all_referred = len(referred) == len(batch.frames)
    set_aside = () if is_all_referred else {q.frame for q in batch.quarantined if _is_kept_whole(q.frame)}
    frames: list[EncodedFrame] = []
    for index, frame in enumerate(batch.frames):
        origin, digest = frame_origin(frame), None
        if index not in referred:
            if frame in set_aside:
                continue
            digest = hashlib.blake2b(origin.encode() + b"\n" + frame.payload, digest_size=16).digest()
        frames.append(EncodedFrame(first + index, origin, micros(frame.received_at), frame.payload, digest))
    return frames


def _is_kept_whole(frame: RawFrame) -> bool:
    return len(frame.payload) <= QUARANTINE_PAYLOAD_BYTES


class BatchEncoder:
    """Prepares batches, numbering their frames in order. Belongs to one thread."""

    def __init__(self) -> None:
        self._next_frame = 1

    def encode(self, batch: Batch) -> EncodedBatch:
        """The batch as the writer takes it.

        Raises:
            PermanentError: something in the batch cannot be stored.
        """
        rows: list[ParameterRow] = []
        row_frames: list[int | None] = []
        referred: set[int] = set()
        first = self._next_frame
        self._next_frame += len(batch.frames)
        for reading in batch.readings:
            number: int | None = None
            index = reading.frame
            if index is not None:
                if not 0 <= index < len(batch.frames):
                    raise PermanentError("a reading refers to a frame that its batch does not have")
                referred.add(index)
                number = first + index
            rows.append(encode_reading(reading, number))
            row_frames.append(number)
        return EncodedBatch(
            rows,
            {row[:3] for row in rows},
            {row[9] for row in rows},
            row_frames,
            _frames(batch, referred, first) if batch.frames else [],
            list(_quarantine(batch)) if batch.quarantined else [],
            batch.checkpoints,
        )


def origin_parts(text: str) -> tuple[SourceKind, DeviceId | None, str]:
    """The inverse of `frame_origin`: source, device, channel."""
    source, device_id, channel = json.loads(text)
    return SourceKind(source), None if device_id is None else DeviceId(device_id), channel
