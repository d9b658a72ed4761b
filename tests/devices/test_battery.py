"""Battery Service."""

from __future__ import annotations

import pytest

from gateway.devices.battery import parse_battery_level
from gateway.errors import MalformedFrame


def test_every_octet() -> None:
    """0 to 100 is a percentage, everything above is unknown."""
    expected = [*range(101), *[None] * 155]
    assert expected == [parse_battery_level(bytes((level,))) for level in range(256)]


@pytest.mark.parametrize("frame", [b"", b"\x32\x00"])
def test_length(frame: bytes) -> None:
    """A battery level is one octet."""
    with pytest.raises(MalformedFrame):
        parse_battery_level(frame)
