"""The E2E-CRC of the continuous glucose monitoring service."""

from __future__ import annotations

import pytest
from encoders_glucose import reference_crc
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.crc import append_crc, crc16_mcrf4xx, strip_crc
from gateway.errors import MalformedFrame


def test_check_value() -> None:
    """The catalogue's check value is met, not that of the variant which is not reflected (0x29B1)."""
    assert crc16_mcrf4xx(b"123456789") == 0x6F91
    assert crc16_mcrf4xx(b"") == 0xFFFF


@given(st.binary(max_size=64))
def test_agrees_with_long_division(data: bytes) -> None:
    """The table gives what bitwise division over mirrored octets gives."""
    assert data + reference_crc(data) == append_crc(data)


@given(st.binary(max_size=24), st.data())
def test_any_single_bit_flip_is_detected(data: bytes, draw: st.DataObject) -> None:
    """No single wrong bit passes, in the data or in the CRC itself."""
    frame = bytearray(append_crc(data))
    assert data == strip_crc(bytes(frame), "test")
    position = draw.draw(st.integers(0, len(frame) * 8 - 1))
    frame[position // 8] ^= 1 << position % 8
    with pytest.raises(MalformedFrame):
        strip_crc(bytes(frame), "test")


@pytest.mark.parametrize("frame", [b"", b"\xff"])
def test_no_room_for_a_crc(frame: bytes) -> None:
    """A frame shorter than a CRC is malformed."""
    with pytest.raises(MalformedFrame):
        strip_crc(frame, "test")
