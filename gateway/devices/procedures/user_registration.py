"""A person and a scale: who is registered on it, and how somebody becomes its user. User Data Service 181C.

Both are started by a command that a person gives, never by the source that reads the scale. Nobody is ever deleted.

Source: Bluetooth User Data Service 1.1, User Control Point procedures, Database Change Increment.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from gateway.devices.procedures.requests import Close, Outcome, Patience, Read, Request, Subscribe, Write
from gateway.devices.user_data import (
    UserControlPointOp,
    UserControlPointResponse,
    consent,
    list_all_users,
    next_database_change,
    parse_database_change_increment,
    parse_user_control_point_response,
    register_new_user,
)
from gateway.devices.user_profile import (
    Gender,
    RegisteredUser,
    UserListing,
    parse_user_list_segment,
    write_birth_date,
    write_gender,
    write_height_cm,
)
from gateway.errors import MalformedFrame

__all__ = ["UserList", "UserProfile", "UserRegistration"]

_CONTROL_POINT: Final = "2a9f"
_LISTED: Final = "2b37"
_CHANGES: Final = "2a99"
_MOST_USERS: Final = 255


@dataclass(frozen=True, slots=True)
class UserProfile:
    """What a scale computes body composition from; None is not written.

    Attributes:
        born: date of birth.
        gender: as the scale's formula wants it.
        height_cm: 1..300.
    """

    born: date | None = field(default=None, repr=False)
    gender: Gender | None = field(default=None, repr=False)
    height_cm: int | None = field(default=None, repr=False)

    @property
    def writes(self) -> list[Request]:
        """One write for each part that is known; ValueError for a part that no scale can hold."""
        requests: list[Request] = []
        if self.born is not None:
            requests.append(Write("2a85", write_birth_date(self.born)))
        if self.gender is not None:
            requests.append(Write("2a8c", write_gender(self.gender)))
        if self.height_cm is not None:
            requests.append(Write("2a8e", write_height_cm(self.height_cm)))
        return requests


class _Step(enum.Enum):
    SUBSCRIBING = enum.auto()
    REGISTERING = enum.auto()
    CONSENTING = enum.auto()
    WRITING = enum.auto()
    DONE = enum.auto()


class UserRegistration:
    """Makes a new user on a scale, and writes what the person wants the scale to know.

    Args:
        consent_code: the new user's code, 0..9999; a secret.
        profile: what to write once the user exists; empty: nothing.

    Attributes:
        user_index: the slot that the scale gave; None until it did.
        refused: characteristics of the profile that the scale did not take.
    """

    def __init__(self, consent_code: int, profile: UserProfile | None = None) -> None:
        self._code = consent_code
        self._request = register_new_user(consent_code)
        self._writes = [] if profile is None else profile.writes
        self._step = _Step.SUBSCRIBING
        self.user_index: int | None = None
        self.refused: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether it was tried."""
        return self._step is _Step.DONE

    @property
    def patience(self) -> Patience:
        """The scale may ask its user to confirm on its own keys."""
        return Patience.ANSWER

    def start(self) -> list[Request]:
        """One request; a second one would make a second user."""
        self._step = _Step.REGISTERING
        return [Subscribe(_CONTROL_POINT), Write(_CONTROL_POINT, self._request)]

    def on_notify(self, char: str, data: bytes) -> list[Request]:
        """The slot, then the answer to the new user's consent."""
        if char != _CONTROL_POINT or self.is_done:
            return []
        try:
            answer = parse_user_control_point_response(data)
        except MalformedFrame:
            return self._close(Outcome.REFUSED, f"unreadable {_CONTROL_POINT}")
        match self._step, answer.request:
            case (_Step.REGISTERING, UserControlPointOp.REGISTER_NEW_USER):
                return self._on_registered(answer)
            case (_Step.CONSENTING, UserControlPointOp.CONSENT):
                return self._on_consent(answer)
            case _:
                return []

    def on_read(self, char: str, data: bytes) -> list[Request]:
        """The change counter, one more of which says that the profile is ours."""
        if char != _CHANGES or self._step is not _Step.WRITING:
            return []
        try:
            change = next_database_change(parse_database_change_increment(data))
        except MalformedFrame:
            return self._close(Outcome.COMPLETE, None)
        self._step = _Step.DONE
        return [Write(_CHANGES, change), Close(Outcome.COMPLETE)]

    def on_refused(self, char: str, att_code: int) -> list[Request]:
        """A part of the profile may be refused; the registration itself may not."""
        match self._step:
            case _Step.DONE:
                return []
            case _Step.WRITING if char == _CHANGES:
                return self._close(Outcome.COMPLETE, None)
            case _Step.WRITING:
                self.refused = (*self.refused, char)
                return []
            case _:
                return self._close(Outcome.REFUSED, f"attribute error {att_code:#04x} on {char}")

    def on_kept(self) -> list[Request]:
        """Nothing is kept: whoever asked stores slot and code."""
        return []

    def on_silence(self) -> list[Request]:
        """The scale did not answer; a user may exist all the same, which its display shows."""
        return [] if self.is_done else self._close(Outcome.SILENT, "no answer")

    def on_link_lost(self) -> list[Request]:
        """What is known so far is in `user_index`."""
        if self.is_done:
            return []
        self._step = _Step.DONE
        return []

    def _on_registered(self, answer: UserControlPointResponse) -> list[Request]:
        if answer.user_index is None or answer.user_index > _MOST_USERS - 1:
            return self._close(Outcome.REFUSED, f"user control point code {answer.code}")
        self.user_index = answer.user_index
        if not self._writes:
            return self._close(Outcome.COMPLETE, None)
        self._step = _Step.CONSENTING
        return [Write(_CONTROL_POINT, consent(answer.user_index, self._code))]

    def _on_consent(self, answer: UserControlPointResponse) -> list[Request]:
        if not answer.is_success:
            return self._close(Outcome.CONSENT_REFUSED, f"user control point code {answer.code}")
        self._step = _Step.WRITING
        return [*self._writes, Read(_CHANGES)]

    def _close(self, outcome: Outcome, detail: str | None) -> list[Request]:
        self._step = _Step.DONE
        return [Close(outcome, detail)]


class UserList:
    """Asks a scale who is registered on it.

    Attributes:
        users: in the order in which the scale told them.
        is_whole: as many came as the scale says there are.
    """

    def __init__(self) -> None:
        self._listing = UserListing()
        self._count: int | None = None
        self._is_done = False
        self.users: tuple[RegisteredUser, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether it was tried."""
        return self._is_done

    @property
    def is_whole(self) -> bool:
        """See above."""
        return self._count is not None and self._count == len(self.users)

    @property
    def patience(self) -> Patience:
        """Once their number is known, only latecomers are waited for."""
        return Patience.ANSWER if self._count is None else Patience.QUIET

    def start(self) -> list[Request]:
        """Listen to both, then ask."""
        return [Subscribe(_CONTROL_POINT), Subscribe(_LISTED), Write(_CONTROL_POINT, list_all_users())]

    def on_notify(self, char: str, data: bytes) -> list[Request]:
        """A user, a part of one, or their number."""
        if self._is_done:
            return []
        try:
            if char == _LISTED:
                user = self._listing.add(parse_user_list_segment(data))
                if user is not None and len(self.users) < _MOST_USERS:
                    self.users = (*self.users, user)
            elif char == _CONTROL_POINT:
                answer = parse_user_control_point_response(data)
                if answer.request == UserControlPointOp.LIST_ALL_USERS:
                    if answer.user_count is None:
                        return self._close(Outcome.REFUSED, f"user control point code {answer.code}")
                    self._count = answer.user_count
        except MalformedFrame:
            return self._close(Outcome.REFUSED, f"unreadable {char}")
        return self._close(Outcome.COMPLETE, None) if self.is_whole else []

    def on_read(self, char: str, data: bytes) -> list[Request]:
        """Nothing is read."""
        del char, data
        return []

    def on_refused(self, char: str, att_code: int) -> list[Request]:
        """An older scale cannot list its users."""
        return [] if self._is_done else self._close(Outcome.REFUSED, f"attribute error {att_code:#04x} on {char}")

    def on_kept(self) -> list[Request]:
        """Nothing is kept."""
        return []

    def on_silence(self) -> list[Request]:
        """Fewer came than it said, or nothing."""
        if self._is_done:
            return []
        if self._count is None:
            return self._close(Outcome.SILENT, "no answer")
        return self._close(Outcome.COMPLETE, "the scale told fewer users than it has")

    def on_link_lost(self) -> list[Request]:
        """What came is in `users`."""
        self._is_done = True
        return []

    def _close(self, outcome: Outcome, detail: str | None) -> list[Request]:
        self._is_done = True
        return [Close(outcome, detail)]
