"""One HTTP exchange with a health space: bounded in time and size, no redirect, and honest about what was sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from gateway.errors import OutcomeUnknown, TransientError

__all__ = ["Answer", "HttpClient", "same_origin"]

_CHUNK = 65_536


def same_origin(url: str, base: str) -> bool:
    """Whether `url` is absolute, carries no user information, and has the scheme, host and port of `base`."""
    try:
        one, other = urlsplit(url), urlsplit(base)
        ports = one.port, other.port
    except ValueError:
        return False
    has_user = one.username is not None or one.password is not None
    return not has_user and (one.scheme, one.hostname) == (other.scheme, other.hostname) and ports[0] == ports[1]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: HTTP status.
        retry_after: the header as it came, None when absent.
        body: at most the limit; empty when it could not be read whole.
        is_whole: the body arrived completely and within the limit.
    """

    status: int
    retry_after: str | None
    body: bytes
    is_whole: bool


class HttpClient:
    """Makes exchanges over fresh connections.

    A kept connection may be closed by the other side at the moment of reuse, which would make a request's outcome
    unknown for no reason: with a few requests an hour a new connection each is the better bargain.
    """

    def __init__(self, *, max_body_bytes: int = 4 * 1024 * 1024) -> None:
        self._max_body_bytes = max_body_bytes
        self._session: aiohttp.ClientSession | None = None

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        params: list[tuple[str, str]] | None = None,
        data: bytes | None = None,
    ) -> Answer:
        """Send one request and read its answer.

        Args:
            timeout_s: for everything, connection included.

        Raises:
            TransientError: no connection was made, so nothing was sent.
            OutcomeUnknown: the connection was lost, or nothing came in time, after something may have been sent.
        """
        timeout = aiohttp.ClientTimeout(total=timeout_s, connect=timeout_s / 2)
        try:
            async with self._open().request(
                method, url, headers=headers, params=params, data=data, timeout=timeout, allow_redirects=False
            ) as response:
                body, is_whole = await self._read(response)
                return Answer(response.status, response.headers.get("Retry-After"), body, is_whole)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise TransientError(f"no connection to the health space ({type(error).__name__})") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise OutcomeUnknown(f"the answer was lost ({type(error).__name__})") from error

    async def close(self) -> None:
        """Release the connections; a later exchange opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    async def _read(self, response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
        """The body within the limit. A body cut short leaves the status known: that is for the caller to judge."""
        parts = bytearray()
        try:
            while part := await response.content.read(_CHUNK):
                parts += part
                if len(parts) > self._max_body_bytes:
                    return b"", False
        except (aiohttp.ClientError, TimeoutError, OSError):
            return b"", False
        return bytes(parts), True
