"""User Data Service (181C): proving to a scale whose data may be read, its users, and how a person becomes one.

Registering is a person's decision: its request is built for `procedures.user_registration` alone, which only a command
starts. Deleting a user or the data of one has no builder.

Source: Bluetooth User Data Service 1.1; User Control Point (2A9F), Database Change Increment (2A99), User Index (2A9A).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gateway.devices._reader import FrameReader
from gateway.devices.weight_scale import UNKNOWN_USER
from gateway.errors import MalformedFrame

__all__ = [
    "UserControlPointOp",
    "UserControlPointResponse",
    "UserControlPointResult",
    "consent",
    "list_all_users",
    "next_database_change",
    "parse_database_change_increment",
    "parse_user_control_point_response",
    "parse_user_index",
    "register_new_user",
]

_RESPONSE = 0x20
_LAST_USER = 254
_LAST_CONSENT_CODE = 9999


class UserControlPointOp(enum.IntEnum):
    """Requests that a response may name; the two that delete are never sent."""

    REGISTER_NEW_USER = 0x01
    CONSENT = 0x02
    DELETE_USER_DATA = 0x03
    LIST_ALL_USERS = 0x04
    DELETE_USERS = 0x05


class UserControlPointResult(enum.IntEnum):
    """What the scale answered."""

    SUCCESS = 0x01
    OP_CODE_NOT_SUPPORTED = 0x02
    INVALID_PARAMETER = 0x03
    OPERATION_FAILED = 0x04
    USER_NOT_AUTHORIZED = 0x05


@dataclass(frozen=True, slots=True)
class UserControlPointResponse:
    """One indication of 2A9F.

    Attributes:
        request: op code that is answered, see `UserControlPointOp`; other numbers are of newer services.
        code: response value, see `UserControlPointResult`; other numbers are of newer services.
        user_index: slot given to a new user (register only); None otherwise.
        user_count: how many users follow (list only); None otherwise.
    """

    request: int
    code: int
    user_index: int | None = None
    user_count: int | None = None

    @property
    def is_success(self) -> bool:
        """Whether the scale did what was asked."""
        return self.code == UserControlPointResult.SUCCESS


def consent(user_index: int, consent_code: int) -> bytes:
    """The request that opens one user's data for this connection (4 octets).

    A wrong code may lock the user on the scale: send it once, then ask the person.

    Args:
        user_index: slot on the scale, 0..254.
        consent_code: the person's code, 0..9999; a secret.

    Raises:
        ValueError: out of range; the message does not repeat the code.
    """
    if not 0 <= user_index <= _LAST_USER:
        raise ValueError(f"a user index is 0 to {_LAST_USER}")
    if not 0 <= consent_code <= _LAST_CONSENT_CODE:
        raise ValueError(f"a consent code is 0 to {_LAST_CONSENT_CODE}")
    return bytes((UserControlPointOp.CONSENT, user_index)) + consent_code.to_bytes(2, "little")


def register_new_user(consent_code: int) -> bytes:
    """The request that makes a new user (3 octets); answered with its index.

    Args:
        consent_code: what the new user will have to give, 0..9999; a secret.

    Raises:
        ValueError: out of range; the message does not repeat the code.
    """
    if not 0 <= consent_code <= _LAST_CONSENT_CODE:
        raise ValueError(f"a consent code is 0 to {_LAST_CONSENT_CODE}")
    return bytes((UserControlPointOp.REGISTER_NEW_USER,)) + consent_code.to_bytes(2, "little")


def list_all_users() -> bytes:
    """The request that lists the users (1 octet); they come on 2B37, then their number. Newer scales only."""
    return bytes((UserControlPointOp.LIST_ALL_USERS,))


def next_database_change(increment: int) -> bytes:
    """What is written to 2A99 after an edit of ours: `increment` + 1 as u32, which begins again at 0."""
    return ((increment + 1) & 0xFFFF_FFFF).to_bytes(4, "little")


def parse_user_control_point_response(frame: bytes) -> UserControlPointResponse:
    """Decode an indication of the User Control Point (2A9F).

    Args:
        frame: 0x20, op code u8, value u8, and one more octet for a successful register (user index) or list (count).

    Raises:
        MalformedFrame: another op code, or a length that does not belong to the answer.
    """
    reader = FrameReader(frame, "User Control Point")
    if reader.u8() != _RESPONSE:
        raise MalformedFrame("User Control Point: not a response")
    request, code = reader.u8(), reader.u8()
    user_index, user_count = None, None
    if code == UserControlPointResult.SUCCESS:
        if request == UserControlPointOp.REGISTER_NEW_USER:
            user_index = reader.u8()
        elif request == UserControlPointOp.LIST_ALL_USERS:
            user_count = reader.u8()
    reader.finish()
    return UserControlPointResponse(request, code, user_index, user_count)


def parse_database_change_increment(frame: bytes) -> int:
    """Decode Database Change Increment (2A99): u32, grows whenever the user's data changed.

    Raises:
        MalformedFrame: not 4 octets.
    """
    reader = FrameReader(frame, "Database Change Increment")
    increment = reader.u32()
    reader.finish()
    return increment


def parse_user_index(frame: bytes) -> int | None:
    """Decode User Index (2A9A): 0..254, None for the unknown user (255).

    Raises:
        MalformedFrame: not 1 octet.
    """
    reader = FrameReader(frame, "User Index")
    user = reader.u8()
    reader.finish()
    return None if user == UNKNOWN_USER else user
