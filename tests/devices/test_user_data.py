"""User Data Service: consent, registering, listing, and nothing that deletes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices import user_data
from gateway.devices.user_data import (
    UserControlPointResponse,
    consent,
    list_all_users,
    next_database_change,
    parse_database_change_increment,
    parse_user_control_point_response,
    parse_user_index,
    register_new_user,
)
from gateway.errors import MalformedFrame


def test_consent_request() -> None:
    """Consent names the user and the code, little-endian."""
    assert bytes.fromhex("0202d204") == consent(2, 1234)


@pytest.mark.parametrize(("user", "code"), [(-1, 0), (255, 0), (0, -1), (0, 10_000)])
def test_consent_out_of_range(user: int, code: int) -> None:
    """An impossible user or code is refused before it reaches the scale."""
    with pytest.raises(ValueError):
        consent(user, code)


def test_consent_error_keeps_the_code_secret() -> None:
    """The refusal does not repeat the code."""
    with pytest.raises(ValueError) as caught:
        consent(2, 54_321)
    assert "54321" not in str(caught.value)


def test_no_builder_deletes_users() -> None:
    """Neither a user nor its data can be deleted: there is no such request."""
    builders = [name for name in user_data.__all__ if name[0].islower() and not name.startswith("parse_")]
    assert ["consent", "list_all_users", "next_database_change", "register_new_user"] == builders


def test_requests_of_a_person() -> None:
    """A new user with its code; the list; one more change, which begins again at 0."""
    assert bytes.fromhex("01d204") == register_new_user(1234)
    assert b"\x04" == list_all_users()
    assert [b"\x01\0\0\0", bytes(4)] == [next_database_change(0), next_database_change(0xFFFF_FFFF)]


@pytest.mark.parametrize("code", [-1, 10_000])
def test_code_of_a_new_user_out_of_range(code: int) -> None:
    """Refused without repeating it."""
    with pytest.raises(ValueError) as caught:
        register_new_user(code)
    assert str(code) not in str(caught.value)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("200201", UserControlPointResponse(2, 1)),
        ("200205", UserControlPointResponse(2, 5)),
        ("20010107", UserControlPointResponse(1, 1, user_index=7)),
        ("200104", UserControlPointResponse(1, 4)),
        ("20040103", UserControlPointResponse(4, 1, user_count=3)),
        ("20fe02", UserControlPointResponse(0xFE, 2)),
    ],
)
def test_responses(frame: str, expected: UserControlPointResponse) -> None:
    """Each answer is decoded with the data that belongs to it."""
    response = parse_user_control_point_response(bytes.fromhex(frame))
    assert expected == response
    assert (expected.code == 1) == response.is_success


@pytest.mark.parametrize("frame", ["", "20", "2002", "20020100", "200101", "210201", "02020000"])
def test_malformed_responses(frame: str) -> None:
    """A cut, longer or foreign frame is refused."""
    with pytest.raises(MalformedFrame):
        parse_user_control_point_response(bytes.fromhex(frame))


def test_small_characteristics() -> None:
    """The change counter is 32 bits; user 255 is nobody."""
    assert parse_database_change_increment(bytes.fromhex("04030201")) == 0x01020304
    assert [parse_user_index(bytes((user,))) for user in (0, 254, 255)] == [0, 254, None]


@given(st.binary(max_size=8))
def test_any_frame_parses_or_is_malformed(frame: bytes) -> None:
    """No byte string makes a parser raise anything else."""
    with contextlib.suppress(MalformedFrame):
        parse_user_control_point_response(frame)
    with contextlib.suppress(MalformedFrame):
        parse_database_change_increment(frame)
    with contextlib.suppress(MalformedFrame):
        parse_user_index(frame)
