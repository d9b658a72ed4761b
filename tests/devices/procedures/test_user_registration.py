"""Becoming a user of a scale, and being forgotten by a device: one request each, and every refusal named."""

from __future__ import annotations

from datetime import date

import pytest

from gateway.devices.procedures import (
    BondRemoval,
    Close,
    Outcome,
    Read,
    Subscribe,
    UserList,
    UserProfile,
    UserRegistration,
    Write,
)
from gateway.devices.user_profile import Gender
from gateway.sandbox.frames_device import encode_registered_user

PROFILE = UserProfile(date(1970, 2, 3), Gender.FEMALE, 168)


def test_one_request_makes_one_user() -> None:
    """Whatever else is said, the request is not repeated."""
    registration = UserRegistration(4711)
    assert [Subscribe("2a9f"), Write("2a9f", b"\x01\x67\x12")] == registration.start()
    assert [] == registration.on_notify("2a9f", b"\x20\x02\x01")
    assert [Close(Outcome.COMPLETE)] == registration.on_notify("2a9f", b"\x20\x01\x01\x07")
    assert 7 == registration.user_index


def test_profile_is_written_after_consent_and_counted_as_one_change() -> None:
    """The new user's own code opens its data; a part that the scale refuses is named."""
    registration = UserRegistration(4711, PROFILE)
    registration.start()
    assert [Write("2a9f", b"\x02\x07\x67\x12")] == registration.on_notify("2a9f", b"\x20\x01\x01\x07")
    writes = registration.on_notify("2a9f", b"\x20\x02\x01")
    assert ["2a85", "2a8c", "2a8e"] == [request.char for request in writes if isinstance(request, Write)]
    assert Read("2a99") == writes[-1]
    assert [] == registration.on_refused("2a8c", 0x80)
    assert [Write("2a99", b"\x0a\0\0\0"), Close(Outcome.COMPLETE)] == registration.on_read("2a99", b"\x09\0\0\0")
    assert ("2a8c",) == registration.refused


def test_scale_without_a_change_counter() -> None:
    """The user exists all the same."""
    registration = UserRegistration(4711, PROFILE)
    registration.start()
    registration.on_notify("2a9f", b"\x20\x01\x01\x07")
    registration.on_notify("2a9f", b"\x20\x02\x01")
    assert [Close(Outcome.COMPLETE)] == registration.on_refused("2a99", 0x0A)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"\x20\x01\x04", Close(Outcome.REFUSED, "user control point code 4")),
        (b"\x20\x01\x01\xff", Close(Outcome.REFUSED, "user control point code 1")),
        (b"\x20\x01", Close(Outcome.REFUSED, "unreadable 2a9f")),
    ],
)
def test_refused_registration(answer: bytes, expected: Close) -> None:
    """A full scale, a slot that is none, and nonsense."""
    registration = UserRegistration(4711, PROFILE)
    registration.start()
    assert [expected] == registration.on_notify("2a9f", answer)
    assert registration.user_index is None


def test_consent_that_is_refused_keeps_the_slot() -> None:
    """The user exists; its profile was not written."""
    registration = UserRegistration(4711, PROFILE)
    registration.start()
    registration.on_notify("2a9f", b"\x20\x01\x01\x07")
    (closed,) = registration.on_notify("2a9f", b"\x20\x02\x05")
    assert Close(Outcome.CONSENT_REFUSED, "user control point code 5") == closed
    assert 7 == registration.user_index


def test_code_and_profile_are_not_shown() -> None:
    """Neither is in the words of the objects."""
    assert "1970" not in repr(PROFILE)
    assert "4711" not in repr(UserRegistration(4711, PROFILE))


def test_listing_that_stops_short_is_not_whole() -> None:
    """The scale counts two users and tells one; it may still come late."""
    listing = UserList()
    listing.start()
    listing.on_notify("2b37", encode_registered_user(3, None)[0])
    assert [] == listing.on_notify("2a9f", b"\x20\x04\x01\x02")
    (closed,) = listing.on_silence()
    assert Close(Outcome.COMPLETE, "the scale told fewer users than it has") == closed
    assert ([3], False) == ([user.index for user in listing.users], listing.is_whole)


@pytest.mark.parametrize("answer", [b"\x20\x04\x02", b"\x20\x04"])
def test_scale_that_cannot_list(answer: bytes) -> None:
    """An older one."""
    listing = UserList()
    listing.start()
    (closed,) = listing.on_notify("2a9f", answer)
    assert isinstance(closed, Close)
    assert Outcome.REFUSED is closed.outcome


def test_bond_is_gone_when_the_device_hangs_up_over_it() -> None:
    """Before the request a lost link is a lost link; after it, the answer."""
    early = BondRemoval()
    early.start()
    assert [Close(Outcome.LINK_LOST, "before it was asked")] == early.on_link_lost()
    removal = BondRemoval()
    removal.start()
    assert [Write("2aa4", b"\x03")] == removal.on_read("2aa5", b"\x10\0\0")
    assert [Close(Outcome.COMPLETE)] == removal.on_link_lost()
    assert (False, True) == (early.is_forgotten, removal.is_forgotten)


def test_refused_removal_keeps_the_bond() -> None:
    """The device has said so."""
    removal = BondRemoval()
    removal.start()
    removal.on_read("2aa5", b"\x10\0\0")
    assert [Close(Outcome.REFUSED, "attribute error 0x81 on 2aa4")] == removal.on_refused("2aa4", 0x81)
    assert not removal.is_forgotten
