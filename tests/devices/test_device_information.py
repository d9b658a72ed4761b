"""Device Information Service: text from careless firmware, identifiers in the order that IEEE writes them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.device_information import MAX_TEXT, PnpId, parse_pnp_id, parse_system_id, parse_text
from gateway.errors import MalformedFrame


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b"Roche", "Roche"),
        (b"Roche\0\0\0", "Roche"),
        (b"Roche\0\xff\xfegarbage", "Roche"),
        (b"  929 \r\n", "929"),
        ("Gewichtswaage für zwei".encode(), "Gewichtswaage für zwei"),
        (b"bad \xff octet", "bad \ufffd octet"),
        (b"", ""),
        (b"\0hidden", ""),
        (b"x" * 200, "x" * 64),
    ],
)
def test_text(frame: bytes, expected: str) -> None:
    """Text ends at the first NUL, is trimmed, replaced where undecodable, and bounded."""
    assert expected == parse_text(frame)


@given(st.binary(max_size=300))
def test_text_never_fails(frame: bytes) -> None:
    """Any octets give a bounded text without NUL or white space at its ends."""
    text = parse_text(frame)
    assert len(text) <= MAX_TEXT
    assert "\0" not in text
    assert text == text.strip()


def test_system_id() -> None:
    """The identifier is given OUI first, although it is sent OUI last."""
    assert parse_system_id(bytes.fromhex("debc9afeff563412")) == "123456FFFE9ABCDE"


def test_pnp_id() -> None:
    """Vendor source, vendor, product and version are separate numbers."""
    assert PnpId("bluetooth_sig", 0x0170, 0x0001, 0x0213) == parse_pnp_id(bytes.fromhex("01700101001302"))
    assert PnpId("usb_if", 1, 2, 3) == parse_pnp_id(bytes.fromhex("02010002000300"))
    assert PnpId(None, 1, 2, 3) == parse_pnp_id(bytes.fromhex("09010002000300"))


@given(st.binary(max_size=12))
def test_any_frame_parses_or_is_malformed(frame: bytes) -> None:
    """No byte string makes a parser raise anything else."""
    with contextlib.suppress(MalformedFrame):
        assert len(parse_system_id(frame)) == 16
    with contextlib.suppress(MalformedFrame):
        parse_pnp_id(frame)
