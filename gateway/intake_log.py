"""A captured log, line by line through the real pipeline into a store of its own.

One JSON object a line. MQTT: `topic`, `payload` (text) or `payload_base64`, and where known `retain`, `qos` and
`received_at`; what `mosquitto_sub -F %j` writes is such a line (its time is called `tst`). HTTP: `source` is "http",
`method`, `path`, and where known `headers`, `body` (text) or `body_base64`, and `received_at`. Other keys are passed
over. A line without an instant was received when it is read.

Source of `-F %j`: the manual page mosquitto_sub(1), output format.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from gateway.adapters.sources.mqtt.packets import Publish
from gateway.adapters.sources.mqtt.single import SingleDecoder
from gateway.clock import EARLIEST_NOW
from gateway.model import Batch, CommitReceipt, Quarantined, Reading
from gateway.ports import Intake

__all__ = ["BadLine", "Fed", "HttpFeed", "LogClock", "LogFeed", "LoggedMessage", "LoggedRequest", "parse_log_line"]

LONGEST_LINE: Final = 32 * 1024 * 1024
"""Octets; a longer line is none of a log."""

_HIGHEST_QOS = 2
_Z_AND_OFFSET: Final = re.compile(r"Z(?=[+-]\d{4}$)")
"""mosquitto_sub 2.0 writes the local time, a Z, and then the zone's offset, which is what counts."""
_NOTHING: Final = CommitReceipt()
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


class BadLine(ValueError):
    """A line is not one of a log; the message holds nothing of it."""


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """An MQTT message; `received_at` None: it was not noted."""

    topic: str
    payload: bytes
    is_retained: bool = False
    qos: int = 1
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """An HTTP request; `received_at` None: it was not noted. `headers` may hold secrets and is not shown."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime | None = None


def parse_log_line(line: bytes) -> LoggedMessage | LoggedRequest:
    """One line; total.

    Raises:
        BadLine: it is none.
    """
    if len(line) > LONGEST_LINE:
        raise BadLine("too long")
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise BadLine("not JSON") from None
    if not isinstance(document, dict):
        raise BadLine("not an object")
    source = document.get("source", "mqtt")
    received_at = _instant(document)
    if source == "mqtt":
        topic = _text(document, "topic")
        payload = _octets(document, "payload")
        qos = document.get("qos", 1)
        if type(qos) is not int or not 0 <= qos <= _HIGHEST_QOS:
            raise BadLine("qos is 0, 1 or 2")
        retain = document.get("retain", False)
        if type(retain) not in (bool, int) or retain not in (0, 1):
            raise BadLine("retain is true or false")
        return LoggedMessage(topic, payload, bool(retain), qos, received_at)
    if source == "http":
        method = _text(document, "method").upper()
        if method not in _METHODS:
            raise BadLine("method is not one of HTTP's")
        path = _text(document, "path")
        if not path.startswith("/"):
            raise BadLine("path begins with /")
        headers = document.get("headers", {})
        if not isinstance(headers, dict) or not all(type(value) is str for value in headers.values()):
            raise BadLine("headers is an object of texts")
        has_body = "body" in document or "body_base64" in document
        return LoggedRequest(method, path, headers, _octets(document, "body") if has_body else b"", received_at)
    raise BadLine("source is mqtt or http")


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if type(value) is not str or not value:
        raise BadLine(f"{name} is a text")
    return value


def _octets(document: Mapping[str, Any], name: str) -> bytes:
    encoded = document.get(f"{name}_base64")
    if encoded is None:
        value = document.get(name)
        if type(value) is not str:
            raise BadLine(f"{name} is a text, or {name}_base64 is one")
        # a lone surrogate is no text; what it stood for is left to the decoder to refuse
        return value.encode("utf-8", "surrogatepass")
    if type(encoded) is not str or name in document:
        raise BadLine(f"either {name} or {name}_base64, as a text")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise BadLine(f"{name}_base64 is not base64") from None


def _instant(document: Mapping[str, Any]) -> datetime | None:
    name = "received_at" if "received_at" in document else "tst"
    value = document.get(name)
    if value is None:
        return None
    try:
        text = _Z_AND_OFFSET.sub("", value) if type(value) is str else ""
        instant = datetime.fromisoformat(text) if text else None
        if instant is None or instant.tzinfo is None:
            raise BadLine(f"{name} is an instant with its zone")
        return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadLine(f"{name} is an instant with its zone") from None


class LogClock:
    """A clock that says what the log says."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def move(self, instant: datetime) -> None:
        """It is `instant` now, aware, UTC."""
        self._now = instant

    def now(self) -> datetime:
        """The instant of the line that is being fed."""
        return self._now

    def monotonic(self) -> float:
        """Seconds; nobody waits in a replay."""
        return self._now.timestamp()

    @property
    def is_trusted(self) -> bool:
        """False while the log shows a time before this program."""
        return self._now >= EARLIEST_NOW


@dataclass(frozen=True, slots=True)
class Fed:
    """What became of one line.

    Attributes:
        readings: what came out, known or not.
        quarantined: what was set aside.
        receipt: what of it was new.
        note: what else there is to say, without values; for HTTP the status that was answered.
    """

    readings: tuple[Reading, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    receipt: CommitReceipt = _NOTHING
    note: str | None = None

    @property
    def outcome(self) -> str:
        """`readings`, `duplicate`, `quarantined` or `ignored`; a line that gave readings counts as such."""
        if self.readings:
            return "readings" if self.receipt.added or self.receipt.corrected else "duplicate"
        return "quarantined" if self.quarantined else "ignored"


class HttpFeed(Protocol):
    """The HTTP intake, as far as a replay needs it."""

    async def feed(self, request: LoggedRequest, intake: Intake) -> str:
        """Let the real handlers answer; what they take goes to `intake`. Returns a note without values."""
        ...


class LogFeed:
    """Feeds one line after the other.

    Args:
        intake: of the throw-away store.
        decoder: the MQTT source's.
        clock: moved to each line's instant.
        listener: opens the HTTP intake at the first request.
    """

    def __init__(
        self, intake: Intake, decoder: SingleDecoder, clock: LogClock, listener: Callable[[], Awaitable[HttpFeed]]
    ) -> None:
        self._intake = intake
        self._decoder = decoder
        self._clock = clock
        self._listener = listener
        self._http: HttpFeed | None = None

    async def feed(self, logged: LoggedMessage | LoggedRequest, otherwise: datetime) -> Fed:
        """What `logged` becomes; `otherwise` is its instant where none was noted. Raises StoreUnavailable."""
        received_at = logged.received_at or otherwise
        self._clock.move(received_at)
        if isinstance(logged, LoggedRequest):
            return await self._request(logged)
        message = Publish(logged.topic, logged.payload, logged.qos, 1 if logged.qos else 0, False, logged.is_retained)
        batch, sightings = await self._decoder.decode(
            message, received_at, self._intake, clock_is_trusted=self._clock.is_trusted
        )
        receipt = await self._intake.submit(batch)
        for sighting in sightings:
            await self._intake.sighted(sighting)
        note = "a device told about itself" if sightings and not (batch.readings or batch.quarantined) else None
        return Fed(batch.readings, batch.quarantined, receipt, note)

    async def _request(self, request: LoggedRequest) -> Fed:
        if self._http is None:
            self._http = await self._listener()
        seen = _Seen(self._intake)
        note = await self._http.feed(request, seen)
        return Fed(
            tuple(reading for batch in seen.batches for reading in batch.readings),
            tuple(item for batch in seen.batches for item in batch.quarantined),
            CommitReceipt(
                sum(receipt.added for receipt in seen.receipts),
                sum(receipt.corrected for receipt in seen.receipts),
                sum(receipt.known for receipt in seen.receipts),
                sum(receipt.quarantined for receipt in seen.receipts),
            ),
            note,
        )


class _Seen:
    """An intake that remembers what went through it."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.batches: list[Batch] = []
        self.receipts: list[CommitReceipt] = []
        self.checkpoint = intake.checkpoint
        self.sighted = intake.sighted

    async def submit(self, batch: Batch) -> CommitReceipt:
        """As the intake behind it."""
        receipt = await self._intake.submit(batch)
        self.batches.append(batch)
        self.receipts.append(receipt)
        return receipt
