"""The two packets of the hot path: PUBLISH in, PUBACK out.

paho speaks the rest of MQTT (session, subscriptions, keep-alive). It builds a property table and takes five locks for
every incoming message, which is most of the time that one costs; a PUBLISH needs neither.

Source: OASIS MQTT 5.0, 2.1 (fixed header), 3.3 (PUBLISH), 3.4 (PUBACK); MQTT 3.1.1, the same sections.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gateway.errors import MalformedFrame

__all__ = ["PUBLISH", "Inbox", "Publish", "encode_pubacks", "parse_publish"]

PUBLISH = 0x30
_LONGEST_LENGTH = 4


class Publish(NamedTuple):
    """An application message.

    Attributes:
        topic: invalid UTF-8 appears as backslash escapes.
        payload: the bytes.
        qos: 0 or 1.
        mid: packet identifier; 0 for QoS 0.
        is_duplicate: the broker sends it again.
        is_retained: it was kept by the broker for new subscribers.
    """

    topic: str
    payload: bytes
    qos: int
    mid: int
    is_duplicate: bool
    is_retained: bool


class Inbox:
    """Bytes as they come from the network, packets as they go out. Joins the pieces of a large packet once."""

    def __init__(self) -> None:
        self._data = b""
        self._position = 0
        self._pieces: list[bytes] = []
        self._missing = 0

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._pieces.append(data)
        self._missing -= len(data)

    def take(self) -> tuple[bytes, int, int, int] | None:
        """The next complete packet as (buffer, start, start of its body, end); None: more bytes are needed.

        Raises:
            MalformedFrame: the length field has more than four bytes.
        """
        if self._pieces:
            if self._missing > 0:
                return None
            rest = self._data[self._position :]
            self._data = b"".join([rest, *self._pieces]) if rest or len(self._pieces) > 1 else self._pieces[0]
            self._pieces.clear()
            self._position = 0
        data, start = self._data, self._position
        size = len(data)
        at = start + 1
        length = shift = 0
        while at < size:
            byte = data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                if at + length > size:
                    self._missing = at + length - size
                    return None
                self._position = at + length
                return data, start, at, at + length
            shift += 7
            if shift == 7 * _LONGEST_LENGTH:
                raise MalformedFrame("the remaining length has more than four bytes")
        return None


def parse_publish(data: bytes, start: int, body: int, end: int, *, has_properties: bool) -> Publish:
    """Read one PUBLISH of QoS 0 or 1.

    Args:
        data: a buffer that holds the packet in start..end; its variable header begins at `body`.
        has_properties: MQTT 5; the properties are skipped (we ask for nothing that would put one there).

    Raises:
        MalformedFrame: fields do not fit, or a QoS that was not subscribed to.
    """
    first = data[start]
    qos = (first >> 1) & 3
    if qos > 1:
        raise MalformedFrame("a PUBLISH of a QoS that was not subscribed to")
    at = body + 2
    topic_end = at + int.from_bytes(data[body:at], "big")
    topic = data[at:topic_end].decode("utf-8", "backslashreplace")
    at = topic_end
    mid = 0
    if qos:
        mid = int.from_bytes(data[at : at + 2], "big")
        at += 2
        if mid == 0:
            raise MalformedFrame("a PUBLISH of QoS 1 without a packet identifier")
    if has_properties and at < end:
        if data[at] == 0:
            at += 1
        else:
            at = _after_properties(data, at, end)
    elif has_properties:
        raise MalformedFrame("a PUBLISH of MQTT 5 without a property length")
    if at > end:
        raise MalformedFrame("the fields of a PUBLISH run over its end")
    return Publish(topic, data[at:end], qos, mid, bool(first & 8), bool(first & 1))


def _after_properties(data: bytes, at: int, end: int) -> int:
    length = 0
    for count in range(_LONGEST_LENGTH):
        if at + count >= end:
            break
        byte = data[at + count]
        length |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return at + count + 1 + length
    raise MalformedFrame("the property length of a PUBLISH is not a number")


def encode_pubacks(mids: Iterable[int]) -> bytes:
    """One PUBACK (success) per packet identifier, the same bytes in both protocol versions."""
    return b"".join([b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids])
