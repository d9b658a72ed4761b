from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client

from gateway.adapters.sources.mqtt.packets import Inbox, Publish, encode_pubacks, parse_publish
from gateway.errors import MalformedFrame


def varint(number: int) -> bytes:
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def encode(message: Publish, properties: bytes | None) -> bytes:
    """A PUBLISH as a broker writes it; None: MQTT 3.1.1."""
    first = 0x30 | message.is_duplicate << 3 | message.qos << 1 | message.is_retained
    topic = message.topic.encode()
    body = len(topic).to_bytes(2, "big") + topic
    if message.qos:
        body += message.mid.to_bytes(2, "big")
    if properties is not None:
        body += varint(len(properties)) + properties
    body += message.payload
    return bytes([first]) + varint(len(body)) + body


MESSAGES = st.builds(
    lambda topic, payload, qos, mid, dup, retain: Publish(topic, payload, qos, mid if qos else 0, dup, retain),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=300),
    st.integers(0, 1),
    st.integers(1, 65535),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(MESSAGES, max_size=5), st.none() | st.binary(max_size=200), st.integers(1, 50))
def test_messages_survive_any_cutting(messages: list[Publish], properties: bytes | None, step: int) -> None:
    """However the network cuts a stream, the same messages come out, with and without properties."""
    stream = b"".join(encode(message, properties) for message in messages)
    inbox = Inbox()
    found = []
    for at in range(0, len(stream), step):
        inbox.feed(stream[at : at + step])
        while (packet := inbox.take()) is not None:
            found.append(parse_publish(*packet, has_properties=properties is not None))
    assert messages == found


@given(st.binary(max_size=40), st.booleans())
def test_any_bytes_parse_or_are_malformed(stream: bytes, has_properties: bool) -> None:
    """No bytes make the parser raise anything else."""
    inbox = Inbox()
    inbox.feed(stream)
    with contextlib.suppress(MalformedFrame):
        while (packet := inbox.take()) is not None:
            parse_publish(*packet, has_properties=has_properties)


@pytest.mark.parametrize(
    ("stream", "has_properties"),
    [
        (b"\x30\xff\xff\xff\xff\x01", False),
        (b"\x34\x05\x00\x01t\x00\x01", False),
        (b"\x32\x05\x00\x01t\x00\x00", False),
        (b"\x30\x03\x00\x09t", False),
        (b"\x30\x03\x00\x01t", True),
        (b"\x30\x04\x00\x01t\x09", True),
    ],
    ids=[
        "length of five bytes",
        "QoS 2",
        "identifier 0",
        "topic too long",
        "no property length",
        "properties too long",
    ],
)
def test_malformed(stream: bytes, has_properties: bool) -> None:
    """Packets that break the rules are refused."""
    inbox = Inbox()
    inbox.feed(stream)
    with pytest.raises(MalformedFrame):
        parse_publish(*(inbox.take() or pytest.fail("no packet")), has_properties=has_properties)


def test_pubacks() -> None:
    """One four-byte PUBACK each, in order."""
    assert b"\x40\x02\x00\x01\x40\x02\xff\xff" == encode_pubacks([1, 65535])


def test_the_seam_in_paho_is_where_we_expect_it() -> None:
    """paho still makes its socket in `_create_socket`; when this fails, look at the client before upgrading."""
    assert "_create_socket" in vars(Client)
