"""Who asks, and what they may: one person and one device per token."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Final

from aiohttp import web

from gateway.adapters.sources.nightscout.answers import Refusal
from gateway.adapters.sources.nightscout.credentials import Shown, shown_by, token_digest
from gateway.adapters.sources.nightscout.patience import Patience
from gateway.adapters.sources.nightscout.sessions import Sessions
from gateway.errors import StoreUnavailable
from gateway.ports import AccessToken, AccessTokens, Clock

__all__ = ["Visitors"]

_NOTED_EVERY: Final = timedelta(minutes=10)


class Visitors:
    """Finds the token that a request shows. Asked of the store every time: a revoked token is good for nothing at once,
    by whichever process it was revoked."""

    def __init__(self, tokens: AccessTokens, sessions: Sessions, patience: Patience, clock: Clock) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._patience = patience
        self._clock = clock

    async def visitor(self, request: web.Request, body: object = None) -> AccessToken | None:
        """The token of the request; None: it shows none, or (after a pause) a wrong one.

        Args:
            body: the JSON of an upload that shows nothing elsewhere.

        Raises:
            Refusal: 429, too many wrong ones at once.
            StoreUnavailable: nobody can tell now.
        """
        shown = shown_by(request.headers, request.query, body)
        return await self._identified(request, shown) if any(shown) else None

    async def by_access_token(self, request: web.Request, text: str) -> AccessToken | None:
        """The token in `name-16hex` form; errors as for `visitor`."""
        return await self._identified(request, Shown(tokens=(token_digest(text),)))

    async def reader(self, request: web.Request) -> AccessToken:
        """A token that may read. Raises Refusal: 401, 403."""
        token = await self.visitor(request)
        if token is None:
            raise _unauthorized(request)
        if not token.rights.may_read:
            raise Refusal(403, "Forbidden", "this token may upload only")
        return token

    def writer(self, request: web.Request, token: AccessToken | None) -> AccessToken:
        """`token` if it may write. Raises Refusal: 401, 403."""
        if token is None:
            raise _unauthorized(request)
        if not token.rights.may_write:
            raise Refusal(403, "Forbidden", "this token may read only")
        return token

    async def _identified(self, request: web.Request, shown: Shown) -> AccessToken | None:
        address = request.remote or ""
        token = await self._tokens.opened_by(secrets=shown.secrets, tokens=shown.tokens)
        for session in shown.sessions:
            if token is None and (token_id := self._sessions.holder(session)) is not None:
                token = await self._tokens.valid(token_id)
        if token is None:
            if not await self._patience.wrong_try(address):
                raise Refusal(429, "Too many wrong secrets; wait", headers={"Retry-After": "30"})
            return None
        self._patience.right(address)
        await self._note(token)
        return token

    async def _note(self, token: AccessToken) -> None:
        now = self._clock.now()
        if token.last_used_at is None or now - token.last_used_at >= _NOTED_EVERY:
            with contextlib.suppress(StoreUnavailable):  # a convenience: it must not keep anybody from reading
                await self._tokens.used(token.token_id, now)


def _unauthorized(request: web.Request) -> Refusal:
    if request.path.startswith("/api/v3"):
        return Refusal(401, "Missing or bad access token or JWT")
    return Refusal(401, "Unauthorized", "Invalid/Missing")
