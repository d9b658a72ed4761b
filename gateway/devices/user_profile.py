"""What a scale knows about one of its users: the characteristics of the User Data Service, and its list of users.

Readable only after consent. All of it is personal data: never logged.

Source: Bluetooth User Data Service 1.1; GATT Specification Supplement, Date of Birth (2A85), Gender (2A8C), Height
(2A8E), Weight (2A98), Age (2A80), First Name (2A8A), Last Name (2A90), Registered User (2B37).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from gateway.devices._reader import FrameReader
from gateway.errors import MalformedFrame

__all__ = [
    "BirthDate",
    "Gender",
    "RegisteredUser",
    "UserListSegment",
    "UserListing",
    "parse_age",
    "parse_birth_date",
    "parse_gender",
    "parse_height_cm",
    "parse_registered_user",
    "parse_user_list_segment",
    "parse_user_weight_kg",
    "write_birth_date",
    "write_gender",
    "write_height_cm",
]

_EARLIEST_YEAR: Final = 1582
_KG_PER_BIT: Final = Decimal("0.005")
_UNSPECIFIED: Final = 0xFFFF
_FIRST, _LAST = 0x01, 0x02
_HAS_NAME, _IS_CUT = 0x01, 0x02
_LONGEST_NAME: Final = 64
_COUNTERS: Final = 64
_LONGEST_BODY: Final = 512
_LAST_HEIGHT_CM: Final = 300


class Gender(enum.IntEnum):
    """Codes of 2A8C."""

    MALE = 0
    FEMALE = 1
    UNSPECIFIED = 2


@dataclass(frozen=True, slots=True)
class BirthDate:
    """2A85; None where the scale does not know that part."""

    year: int | None
    month: int | None
    day: int | None

    @property
    def whole(self) -> date | None:
        """The whole date; None when a part is unknown or the day does not exist."""
        if self.year is None or self.month is None or self.day is None:
            return None
        try:
            return date(self.year, self.month, self.day)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class UserListSegment:
    """One indication of 2B37; a user whose name is long takes several.

    Attributes:
        is_first, is_last: whether a user begins and ends with it.
        counter: 0..63, one more with each segment.
        body: what it carries of the user.
    """

    is_first: bool
    is_last: bool
    counter: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RegisteredUser:
    """One user of a scale.

    Attributes:
        index: slot, 0..254.
        name: as the scale shows it, at most 64 characters; None when it says none.
        is_name_cut: the scale has more of it than it told.
    """

    index: int
    name: str | None = field(default=None, repr=False)
    is_name_cut: bool = False


class UserListing:
    """Puts the segments of 2B37 together."""

    def __init__(self) -> None:
        self._body = b""
        self._next: int | None = None

    def add(self, segment: UserListSegment) -> RegisteredUser | None:
        """The user that ends with `segment`; None while more is to come.

        Raises:
            MalformedFrame: a segment is missing, or the user makes no sense; the next first segment begins anew.
        """
        if segment.is_first:
            self._body = b""
        elif self._next != segment.counter:
            self._next = None
            raise MalformedFrame("Registered User: a segment is missing")
        self._body += segment.body
        self._next = (segment.counter + 1) % _COUNTERS
        if len(self._body) > _LONGEST_BODY:
            self._next = None
            raise MalformedFrame("Registered User: longer than a value can be")
        if not segment.is_last:
            return None
        self._next = None
        return parse_registered_user(self._body)


def parse_user_list_segment(frame: bytes) -> UserListSegment:
    """Decode an indication of 2B37: header u8 (bit 0 first, bit 1 last, bits 2-7 counter), then a piece of the user.

    Raises:
        MalformedFrame: no octet at all.
    """
    reader = FrameReader(frame, "Registered User")
    header = reader.u8()
    return UserListSegment(bool(header & _FIRST), bool(header & _LAST), header >> 2, reader.rest())


def parse_registered_user(body: bytes) -> RegisteredUser:
    """Decode the joined body: flags u8 (bit 0 name follows, bit 1 name was cut), index u8, name in UTF-8.

    Raises:
        MalformedFrame: fewer than 2 octets, or octets after the index that the flags do not explain.
    """
    reader = FrameReader(body, "Registered User")
    flags, index = reader.u8(), reader.u8()
    name = None
    if flags & _HAS_NAME:
        name = reader.rest().split(b"\0", 1)[0].decode("utf-8", errors="replace").strip()[:_LONGEST_NAME]
    reader.finish()
    return RegisteredUser(index, name, is_name_cut=bool(flags & _IS_CUT))


def parse_birth_date(frame: bytes) -> BirthDate:
    """Decode 2A85: year u16 (0 unknown, else 1582..9999), month u8, day u8; a part outside its range is unknown.

    Raises:
        MalformedFrame: not 4 octets.
    """
    reader = FrameReader(frame, "Date of Birth")
    year, month, day = reader.u16(), reader.u8(), reader.u8()
    reader.finish()
    return BirthDate(
        year if _EARLIEST_YEAR <= year <= 9999 else None,
        month if 1 <= month <= 12 else None,
        day if 1 <= day <= 31 else None,
    )


def parse_gender(frame: bytes) -> Gender | None:
    """Decode 2A8C: u8; None for a code without a meaning.

    Raises:
        MalformedFrame: not 1 octet.
    """
    code = _one(frame, "Gender", 1)
    return Gender(code) if code <= Gender.UNSPECIFIED else None


def parse_height_cm(frame: bytes) -> int | None:
    """Decode 2A8E: u16, centimetres; None for 0 and 0xFFFF, which say nothing.

    Raises:
        MalformedFrame: not 2 octets.
    """
    height_cm = _one(frame, "Height", 2)
    return None if height_cm in (0, _UNSPECIFIED) else height_cm


def parse_user_weight_kg(frame: bytes) -> Decimal | None:
    """Decode 2A98, what the user weighs: u16 x 0.005 kg; None for 0 and 0xFFFF, which say nothing.

    Raises:
        MalformedFrame: not 2 octets.
    """
    raw = _one(frame, "Weight", 2)
    return None if raw in (0, _UNSPECIFIED) else raw * _KG_PER_BIT


def parse_age(frame: bytes) -> int:
    """Decode 2A80: u8, years.

    Raises:
        MalformedFrame: not 1 octet.
    """
    return _one(frame, "Age", 1)


def write_birth_date(born: date) -> bytes:
    """The 4 octets of 2A85 for a date from 1582 on; ValueError before."""
    if born.year < _EARLIEST_YEAR:
        raise ValueError(f"Date of Birth begins in {_EARLIEST_YEAR}")
    return born.year.to_bytes(2, "little") + bytes((born.month, born.day))


def write_gender(gender: Gender) -> bytes:
    """The octet of 2A8C."""
    return bytes((gender,))


def write_height_cm(height_cm: int) -> bytes:
    """The 2 octets of 2A8E, 1..300 cm; ValueError outside."""
    if not 1 <= height_cm <= _LAST_HEIGHT_CM:
        raise ValueError(f"a height is 1 to {_LAST_HEIGHT_CM} cm")
    return height_cm.to_bytes(2, "little")


def _one(frame: bytes, what: str, octets: int) -> int:
    reader = FrameReader(frame, what)
    number = int.from_bytes(reader.bytes(octets), "little")
    reader.finish()
    return number
