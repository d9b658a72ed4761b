"""MiBeacon of Xiaomi scales: captured frames, an encoder that shares nothing with the decoder, and any bytes at all.

The captured frames with their keys are published: those of the S400 in the tests of several open-source readers of it,
that of the S200 in the tests of xiaomi-ble and openScale.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.mibeacon import (
    MiWeighIn,
    is_mibeacon_scale,
    open_mibeacon,
    parse_mi_weigh_in,
    parse_mibeacon,
)
from gateway.devices.sealed import Lock
from gateway.errors import MalformedFrame
from gateway.sandbox.sealed_frames import encode_s200, encode_s400

S400 = Lock("8C:D0:B2:F6:BE:EF", bytes.fromhex("0728974d657a4b60964c1b1677f35f7c"))
OTHER_S400 = Lock("84:46:93:64:A5:E6", bytes.fromhex("58305740b64e4b425e518aa1f4e51339"))
S200 = Lock("D0:7B:6F:27:D7:29", bytes.fromhex("653b1b10e1cb35e4ac5e60fa45f3bf29"))
FIRST = bytes.fromhex("4859d53b0abc078ff2348c844138e930220000009e538599")
SECOND = bytes.fromhex("4859d53b0bd6ef0b25db72785e7e2f46d6000000d8642df6")
OF_S200 = bytes.fromhex("4859044c019a80a275939010f0abc4fadc0600003d29c044")
AT = datetime(2025, 6, 2, 10, 0, tzinfo=UTC)


def weigh_in(frame: bytes, lock: Lock) -> MiWeighIn | None:
    objects = open_mibeacon(parse_mibeacon(frame), lock)
    return None if objects is None else parse_mi_weigh_in(objects)


def test_captured_weigh_in_of_an_s400() -> None:
    """Mass, heart rate and the impedance at 50 kHz, then that at 250 kHz; counters in a row, one time."""
    at = datetime(2025, 4, 10, 2, 3, 25, tzinfo=UTC)
    assert MiWeighIn(1, Decimal("69.9"), 699, 92, Decimal("543.2"), None, at) == weigh_in(FIRST, S400)
    assert MiWeighIn(1, None, None, None, None, Decimal("497.6"), at) == weigh_in(SECOND, S400)
    assert [10, 11] == [parse_mibeacon(frame).counter for frame in (FIRST, SECOND)]


def test_captured_weigh_ins_of_another_s400() -> None:
    """The heart rate may be near its least, 51 per minute."""
    first = weigh_in(bytes.fromhex("4859d53b2d3314943c58b133638c7457a4000000c3e670dc"), OTHER_S400)
    second = weigh_in(bytes.fromhex("4859d53b2e724a8c783dc8a392c10db411000000a8a7bad5"), OTHER_S400)
    assert first is not None
    assert second is not None
    assert (Decimal("74.2"), 52, Decimal("400.9")) == (
        first.mass_kg,
        first.heart_rate_per_min,
        first.impedance_50_khz_ohm,
    )
    assert (first.stamp, Decimal("360.0")) == (second.stamp, second.impedance_250_khz_ohm)


def test_captured_weigh_in_of_an_s200() -> None:
    """A mass alone; the extended counter is the upper three octets of the counter."""
    at = datetime(2025, 11, 9, 22, 54, 2, tzinfo=UTC)
    assert MiWeighIn(1, Decimal("62.25"), 6225, None, None, None, at) == weigh_in(OF_S200, S200)
    assert 6 * 256 + 1 == parse_mibeacon(OF_S200).counter


def test_only_its_own_key_and_address_open_a_frame() -> None:
    """Another key, another address, or one bit that was changed: nothing is read."""
    assert weigh_in(FIRST, Lock(S400.address, bytes(16))) is None
    assert weigh_in(FIRST, Lock("8C:D0:B2:F6:BE:EE", S400.key)) is None
    for at in range(2, len(FIRST)):
        changed = FIRST[:at] + bytes((FIRST[at] ^ 1,)) + FIRST[at + 1 :]
        assert weigh_in(changed, S400) is None


def test_scales_are_known_by_their_product() -> None:
    """Also before there is a key, and in an idle frame; a thermometer with the same protocol is none."""
    assert is_mibeacon_scale(FIRST)
    assert is_mibeacon_scale(OF_S200)
    assert is_mibeacon_scale(bytes.fromhex("1059d53b06"))
    assert not is_mibeacon_scale(bytes.fromhex("5858 5b05 01"))
    assert not is_mibeacon_scale(b"\x48\x59")


def test_idle_frames_hold_nothing() -> None:
    """Neither a counter nor anything sealed."""
    beacon = parse_mibeacon(bytes.fromhex("1059d53b06e6bef6b2d08c"))
    assert (None, b"") == (beacon.counter, beacon.sealed)
    assert open_mibeacon(beacon, S400) is None


@pytest.mark.parametrize(
    ("frame", "why"),
    [("4829d53b0a", "version 4"), ("c859d53b0a", "mesh"), ("4859d53b0a000102", "octet"), ("48", "ends")],
)
def test_frames_that_cannot_be_read_say_why(frame: str, why: str) -> None:
    """In words without values."""
    with pytest.raises(MalformedFrame, match=why):
        parse_mibeacon(bytes.fromhex(frame))


@given(
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**32 - 1),
    st.integers(1, 2046),
    st.integers(51, 176) | st.none(),
    st.integers(1, 16383) | st.none(),
)
def test_what_was_encoded_is_decoded(key: bytes, counter: int, mass: int, rate: int | None, ohms: int | None) -> None:
    """By an encoder with a CCM of its own."""
    impedance = None if ohms is None else Decimal(ohms) / 10
    frame = encode_s400(
        key,
        S400.address,
        counter,
        AT,
        mass_kg=Decimal(mass) / 10,
        heart_rate_per_min=rate,
        impedance_ohm=impedance,
    )
    assert MiWeighIn(1, Decimal(mass) / 10, mass, rate, impedance, None, AT) == weigh_in(frame, Lock(S400.address, key))
    assert counter == parse_mibeacon(frame).counter


def test_the_encoder_makes_the_captured_frames() -> None:
    """Octet for octet."""
    at = datetime(2025, 4, 10, 2, 3, 25, tzinfo=UTC)
    masses: dict[str, Any] = {"mass_kg": Decimal("69.9"), "impedance_ohm": Decimal("543.2")}
    assert FIRST == encode_s400(S400.key, S400.address, 10, at, heart_rate_per_min=92, **masses)
    assert SECOND == encode_s400(S400.key, S400.address, 11, at, impedance_ohm=Decimal("497.6"))
    seconds = datetime(2025, 11, 9, 22, 54, 2, tzinfo=UTC)
    assert OF_S200 == encode_s200(S200.key, S200.address, 6 * 256 + 1, seconds, Decimal("62.25"))


@given(st.binary(max_size=40))
def test_any_bytes_give_a_frame_or_the_documented_error(data: bytes) -> None:
    """As service data, and as what was sealed."""
    for parse in (parse_mibeacon, parse_mi_weigh_in):
        try:
            parse(data)
        except MalformedFrame:
            continue
    is_mibeacon_scale(data)
