"""What a scale knows about its users: round trips, unknown parts, lists in pieces, and nothing for strange bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.user_profile import (
    BirthDate,
    Gender,
    RegisteredUser,
    UserListing,
    parse_age,
    parse_birth_date,
    parse_gender,
    parse_height_cm,
    parse_registered_user,
    parse_user_list_segment,
    parse_user_weight_kg,
    write_birth_date,
    write_gender,
    write_height_cm,
)
from gateway.errors import MalformedFrame
from gateway.sandbox.frames_device import encode_birth_date, encode_registered_user

PARSERS: tuple[Callable[[bytes], object], ...] = (
    parse_age,
    parse_birth_date,
    parse_gender,
    parse_height_cm,
    parse_registered_user,
    parse_user_list_segment,
    parse_user_weight_kg,
)


@given(born=st.dates(min_value=date(1582, 1, 1)))
def test_birth_date_round_trip(born: date) -> None:
    """Our octets are those of the virtual scale, and read back as the same day."""
    assert encode_birth_date(born) == write_birth_date(born)
    assert born == parse_birth_date(write_birth_date(born)).whole


@pytest.mark.parametrize(
    ("frame", "expected"),
    [("00000000", BirthDate(None, None, None)), ("b2070000", BirthDate(1970, None, None))],
)
def test_parts_of_a_birth_date_may_be_unknown(frame: str, expected: BirthDate) -> None:
    """0 is "not known"; a day that does not exist is no date."""
    assert expected == parse_birth_date(bytes.fromhex(frame))
    assert expected.whole is None
    assert BirthDate(2025, 2, 30).whole is None


def test_numbers() -> None:
    """Units, resolution, and the codes that say nothing."""
    assert 168 == parse_height_cm(write_height_cm(168))
    assert [None, None] == [parse_height_cm(b"\0\0"), parse_height_cm(b"\xff\xff")]
    assert Decimal("71.25") == parse_user_weight_kg(b"\xaa\x37")
    assert parse_user_weight_kg(b"\xff\xff") is None
    assert 55 == parse_age(b"\x37")
    assert [*Gender, None] == [parse_gender(bytes((code,))) for code in range(4)]
    assert b"\x01" == write_gender(Gender.FEMALE)


@pytest.mark.parametrize("height_cm", [0, 301, -1])
def test_height_out_of_range(height_cm: int) -> None:
    """No scale is told an impossible height."""
    with pytest.raises(ValueError, match="1 to 300"):
        write_height_cm(height_cm)


def test_birth_date_before_the_calendar() -> None:
    """The format begins in 1582."""
    with pytest.raises(ValueError, match="1582"):
        write_birth_date(date(1581, 12, 31))


@given(
    index=st.integers(0, 254),
    name=st.none()
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=64).map(lambda text: text.strip()),
    room=st.integers(3, 40),
)
def test_users_in_pieces_of_any_size(index: int, name: str | None, room: int) -> None:
    """However a user is cut up, it comes out whole."""
    listing = UserListing()
    *first, last = [listing.add(parse_user_list_segment(s)) for s in encode_registered_user(index, name, room=room)]
    assert [None] * len(first) == first
    assert RegisteredUser(index, name) == last


def test_missing_piece_spoils_one_user_only() -> None:
    """A lost segment is noticed; the next user is read."""
    listing = UserListing()
    pieces = [parse_user_list_segment(s) for s in encode_registered_user(3, "x" * 40, room=20)]
    listing.add(pieces[0])
    with pytest.raises(MalformedFrame):
        listing.add(pieces[2])
    (whole,) = encode_registered_user(4, None)
    assert RegisteredUser(4) == listing.add(parse_user_list_segment(whole))


def test_names_are_not_shown() -> None:
    """Neither a user nor a part of one prints what it is called."""
    assert "Camille" not in repr(RegisteredUser(1, "Camille"))
    assert "Camille" not in repr(parse_user_list_segment(encode_registered_user(1, "Camille")[0]))


@given(frame=st.binary(max_size=80))
def test_any_bytes_are_a_value_or_malformed(frame: bytes) -> None:
    """No other exception, whatever the octets."""
    for parse in PARSERS:
        with contextlib.suppress(MalformedFrame):
            parse(frame)


@given(frames=st.lists(st.binary(max_size=80), max_size=30))
def test_any_list_is_joined_or_malformed(frames: list[bytes]) -> None:
    """No run of segments does worse, nor grows without bound."""
    listing = UserListing()
    for frame in frames:
        with contextlib.suppress(MalformedFrame):
            listing.add(parse_user_list_segment(frame))
