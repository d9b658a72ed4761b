"""BTHome v2 service data."""

from __future__ import annotations

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.bthome import (
    BthomePacket,
    is_bthome_encrypted,
    open_bthome,
    parse_bthome,
    parse_sealed_bthome,
)
from gateway.devices.sealed import Lock
from gateway.errors import MalformedFrame
from gateway.model import Unit
from gateway.sandbox.broadcast_frames import encode_bthome_mass
from gateway.sandbox.sealed_frames import encode_sealed_bthome


def test_worked_packet() -> None:
    """The worked example gives packet number, battery and mass."""
    expected = BthomePacket(False, 42, 95, Decimal("64.35"), Unit.KG, 6435)
    assert expected == parse_bthome(bytes.fromhex("40002a015f062319"))


def test_pounds_texts_and_unknown_objects() -> None:
    """Pounds are kept as pounds, texts are stepped over, and an unknown object ends the reading without a guess."""
    packet = parse_bthome(bytes.fromhex("44530361626307102 7".replace(" ", "") + "fe0102"))
    assert (True, Decimal("100.00"), Unit.LB, 3) == (
        packet.is_triggered,
        packet.mass,
        packet.mass_unit,
        packet.unread,
    )


@pytest.mark.parametrize("data", ["", "00", "41a4", "20062319", "400623", "4053ff61"])
def test_malformed(data: str) -> None:
    """Empty, another version, encrypted, cut off."""
    with pytest.raises(MalformedFrame):
        parse_bthome(bytes.fromhex(data))


def test_encryption_is_seen() -> None:
    """A device with a key is told apart without it."""
    assert is_bthome_encrypted(b"\x41")
    assert not is_bthome_encrypted(b"\x40")
    assert not is_bthome_encrypted(b"")


@given(st.integers(0, 0xFFFF), st.one_of(st.none(), st.integers(0, 255)), st.one_of(st.none(), st.integers(0, 100)))
def test_round_trip(raw: int, packet_id: int | None, battery: int | None) -> None:
    """What the virtual scale encodes is read again."""
    packet = parse_bthome(encode_bthome_mass(Decimal(raw) / 100, packet_id, battery_percent=battery))
    assert (raw, packet_id, battery, 0) == (packet.raw_mass, packet.packet_id, packet.battery_percent, packet.unread)


@given(st.binary(max_size=40))
def test_any_octets_are_a_value_or_malformed(data: bytes) -> None:
    """No other exception."""
    with contextlib.suppress(MalformedFrame):
        parse_bthome(data)


EXAMPLE = Lock("54:48:E6:8F:80:A5", bytes.fromhex("231d39c1d7cc1ab1aee224cd096db932"))


def test_encrypted_example() -> None:
    """The format's own example (temperature and humidity, no mass) opens; with another key it does not."""
    sealed = parse_sealed_bthome(bytes.fromhex("41a47266c95f730011223378237214"))
    packet = open_bthome(sealed, EXAMPLE)
    assert packet is not None
    assert (0x33221100, None, 0) == (sealed.counter, packet.mass, packet.unread)
    assert open_bthome(sealed, Lock(EXAMPLE.address, bytes(16))) is None


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**32 - 1), st.integers(1, 65535), st.integers(0, 255))
def test_encrypted_packet_is_decoded(key: bytes, counter: int, raw: int, packet_id: int) -> None:
    """By an encoder with a CCM of its own."""
    payload = encode_sealed_bthome(key, EXAMPLE.address, counter, Decimal(raw) / 100, packet_id)
    sealed = parse_sealed_bthome(payload)
    packet = open_bthome(sealed, Lock(EXAMPLE.address, key))
    assert packet is not None
    assert (counter, packet_id, raw) == (sealed.counter, packet.packet_id, packet.raw_mass)


@given(st.binary(max_size=30))
def test_any_encrypted_bytes_give_a_packet_or_the_documented_error(data: bytes) -> None:
    """Never anything else."""
    for octets in (data, b"\x41" + data):
        try:
            open_bthome(parse_sealed_bthome(octets), EXAMPLE)
        except MalformedFrame:
            continue
