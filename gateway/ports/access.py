"""Secrets by which programs outside reach one person's readings. The secrets themselves are never kept."""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.model import DeviceId, PersonId

__all__ = ["AccessToken", "AccessTokens", "Rights"]


class Rights(enum.StrEnum):
    """What a token is good for."""

    READ = "read"
    WRITE = "write"
    BOTH = "both"

    @property
    def may_read(self) -> bool:
        """Whether it may be told the person's entries and documents."""
        return self is not Rights.WRITE

    @property
    def may_write(self) -> bool:
        """Whether it may upload for the device."""
        return self is not Rights.READ


@dataclass(frozen=True, slots=True)
class AccessToken:
    """One secret handed to one program, without the secret.

    Attributes:
        token_id: local name.
        person_id: whose readings and documents it is told.
        device_id: under which device its uploads are kept; it opens nothing once that device has another owner.
        label: what a person calls it.
        rights: see `Rights`.
        created_at, revoked_at: aware, UTC.
        last_used_at: to within some minutes, aware, UTC; None: never.
    """

    token_id: str
    person_id: PersonId
    device_id: DeviceId
    label: str
    rights: Rights
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


class AccessTokens(Protocol):
    """The tokens that were handed out. Other processes may add and revoke at the same time."""

    async def add(self, token: AccessToken, *, secret_digest: bytes, token_digest: bytes) -> None:
        """Keep a new one. Raises PermanentError: its person or device is not known, or the device is another's."""
        ...

    async def opened_by(self, *, secrets: Collection[bytes] = (), tokens: Collection[bytes] = ()) -> AccessToken | None:
        """The valid token that one of these SHA-256 digests belongs to; None: there is none (any more)."""
        ...

    async def valid(self, token_id: str) -> AccessToken | None:
        """The token of that name if it is still good."""
        ...

    async def tokens(self) -> list[AccessToken]:
        """Every token, revoked or not, oldest first."""
        ...

    async def used(self, token_id: str, at: datetime) -> None:
        """Note that it was used."""
        ...

    async def revoke(self, token_id: str, at: datetime) -> bool:
        """It opens nothing from now on; False: there is none of that name, or it was revoked before."""
        ...
