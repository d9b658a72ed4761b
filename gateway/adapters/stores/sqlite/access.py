"""`AccessTokens` over one SQLite file: digests of secrets, and what they open."""

from __future__ import annotations

import hmac
import sqlite3
from collections.abc import Collection
from datetime import datetime

from gateway.adapters.stores.sqlite.codec import instant, micros, optional_instant
from gateway.adapters.stores.sqlite.figures import person_number
from gateway.adapters.stores.sqlite.reader import Readers
from gateway.adapters.stores.sqlite.writer import Writer
from gateway.errors import PermanentError
from gateway.model import DeviceId, PersonId
from gateway.ports import AccessToken, Rights

__all__ = ["SqliteAccessTokens"]

_COLUMNS = (
    "SELECT t.token_id, p.person_id, d.device_id, t.label, t.rights, t.created_at, t.last_used_at, t.revoked_at,"
    " t.secret_digest, t.token_digest"
    " FROM access_token t JOIN person p ON p.id = t.person JOIN device d ON d.id = t.device"
)
_IS_VALID = "t.revoked_at IS NULL AND d.person = t.person"
_BY_SECRET = f"{_COLUMNS} WHERE t.secret_digest = ? AND {_IS_VALID}"
_BY_TOKEN = f"{_COLUMNS} WHERE t.token_digest = ? AND {_IS_VALID}"
_BY_NAME = f"{_COLUMNS} WHERE t.token_id = ? AND {_IS_VALID}"
_ALL = f"{_COLUMNS} ORDER BY t.created_at, t.token_id"
_ADD = """
INSERT INTO access_token (token_id, secret_digest, token_digest, person, device, label, rights, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

_Row = tuple[str, str, str, str, str, int, int | None, int | None, bytes, bytes]


class SqliteAccessTokens:
    """See `gateway.ports.AccessTokens`."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def add(self, token: AccessToken, *, secret_digest: bytes, token_digest: bytes) -> None:
        """Keep a new one. Raises PermanentError: its person or device is not known, or the device is another's."""
        await self._writer.run(lambda connection: _add(connection, token, secret_digest, token_digest))

    async def opened_by(self, *, secrets: Collection[bytes] = (), tokens: Collection[bytes] = ()) -> AccessToken | None:
        """The valid token that one of these digests belongs to.

        The index finds a row by a digest, whose bytes nobody can choose; what is found is compared in constant time.
        """
        return await self._readers.run(lambda connection: _opened(connection, secrets, tokens))

    async def valid(self, token_id: str) -> AccessToken | None:
        """The token of that name if it is still good."""

        def read(connection: sqlite3.Connection) -> AccessToken | None:
            row: _Row | None = connection.execute(_BY_NAME, (token_id,)).fetchone()
            return None if row is None else _token(row)

        return await self._readers.run(read)

    async def tokens(self) -> list[AccessToken]:
        """Every token, revoked or not, oldest first."""
        return await self._readers.run(lambda connection: [_token(row) for row in connection.execute(_ALL)])

    async def used(self, token_id: str, at: datetime) -> None:
        """Note that it was used."""
        await self._writer.run(
            lambda connection: connection.execute(
                "UPDATE access_token SET last_used_at = max(coalesce(last_used_at, ?1), ?1) WHERE token_id = ?2",
                (micros(at), token_id),
            )
        )

    async def revoke(self, token_id: str, at: datetime) -> bool:
        """It opens nothing from now on."""
        return await self._writer.run(
            lambda connection: (
                connection.execute(
                    "UPDATE access_token SET revoked_at = ? WHERE token_id = ? AND revoked_at IS NULL",
                    (micros(at), token_id),
                ).rowcount
                > 0
            )
        )


def _add(connection: sqlite3.Connection, token: AccessToken, secret_digest: bytes, token_digest: bytes) -> None:
    person = person_number(connection, token.person_id)
    device = connection.execute("SELECT id, person FROM device WHERE device_id = ?", (token.device_id,)).fetchone()
    if device is None or device[1] != person:
        raise PermanentError("the device is not known, or it is not this person's")
    if connection.execute("SELECT 1 FROM access_token WHERE token_id = ?", (token.token_id,)).fetchone():
        raise PermanentError("there is a token of that name already")
    connection.execute(
        _ADD,
        (
            token.token_id,
            secret_digest,
            token_digest,
            person,
            device[0],
            token.label,
            token.rights.value,
            micros(token.created_at),
        ),
    )


def _opened(
    connection: sqlite3.Connection, secrets: Collection[bytes], tokens: Collection[bytes]
) -> AccessToken | None:
    for statement, digests, column in ((_BY_SECRET, secrets, 8), (_BY_TOKEN, tokens, 9)):
        for digest in digests:
            row = connection.execute(statement, (digest,)).fetchone()
            if row is not None and hmac.compare_digest(row[column], digest):
                return _token(row)
    return None


def _token(row: _Row) -> AccessToken:
    return AccessToken(
        token_id=row[0],
        person_id=PersonId(row[1]),
        device_id=DeviceId(row[2]),
        label=row[3],
        rights=Rights(row[4]),
        created_at=instant(row[5]),
        last_used_at=optional_instant(row[6]),
        revoked_at=optional_instant(row[7]),
    )
