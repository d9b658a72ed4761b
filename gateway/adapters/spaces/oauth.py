"""Access tokens of one account: fetched by client credentials, kept until shortly before they run out.

Source: RFC 6749, 4.4 (client credentials grant), 2.3.1 (client authentication by HTTP Basic), 5.2 (errors).
"""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import quote_plus

from pydantic import BaseModel, Field, SecretStr, ValidationError

from gateway.adapters.spaces.http import Answer, HttpClient
from gateway.adapters.spaces.verdicts import json_object, retry_after_s
from gateway.errors import OutcomeUnknown, RateLimited, ReauthNeeded, TransientError
from gateway.ports import Clock

__all__ = ["TokenSource"]

_EARLY_S = 30.0


class _TokenAnswer(BaseModel):
    access_token: str = Field(pattern=r"^[\x21-\x7e]{1,8192}$")
    token_type: str = Field(pattern=r"^[Bb][Ee][Aa][Rr][Ee][Rr]$")
    expires_in: float = Field(default=60.0, ge=0, le=31_536_000)


class TokenSource:
    """Gives one account's access token; concurrent askers share one request."""

    def __init__(
        self, http: HttpClient, token_url: str, client_id: str, client_secret: SecretStr, clock: Clock
    ) -> None:
        self._http = http
        self._token_url = token_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token: SecretStr | None = None
        self._renew_at = 0.0

    async def token(self, *, timeout_s: float, refused: SecretStr | None = None) -> SecretStr:
        """A token that should be valid now.

        Args:
            refused: a token that the space has just refused: never given again.

        Raises:
            RateLimited, TransientError: no token now; nothing of the person's data was sent.
            ReauthNeeded: the account is closed, or its credentials are wrong.
        """
        async with self._lock:
            if refused is not None and self._token == refused:
                self._token = None
            if self._token is None or self._clock.monotonic() >= self._renew_at:
                self._token = await self._fetch(timeout_s)
            return self._token

    async def _fetch(self, timeout_s: float) -> SecretStr:
        pair = f"{quote_plus(self._client_id)}:{quote_plus(self._client_secret.get_secret_value())}"
        headers = {
            "Authorization": f"Basic {base64.b64encode(pair.encode()).decode('ascii')}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        try:
            answer = await self._http.exchange(
                "POST", self._token_url, headers=headers, timeout_s=timeout_s, data=b"grant_type=client_credentials"
            )
        except OutcomeUnknown as error:
            raise TransientError("the token endpoint did not answer") from error
        if answer.status == 401 or (answer.status in (400, 403) and _is_refusal(answer)):
            raise ReauthNeeded("the health space does not accept the account's credentials")
        wait_s = retry_after_s(answer.retry_after, self._clock.now())
        if answer.status == 429 or (answer.status == 503 and wait_s is not None):
            raise RateLimited("the token endpoint asks for patience", retry_after_s=wait_s or 0.0)
        if answer.status != 200 or not answer.is_whole:
            raise TransientError(f"the token endpoint gave no token ({answer.status})")
        try:
            given = _TokenAnswer.model_validate_json(answer.body)
        except ValidationError:
            raise TransientError("the token endpoint gave something else than a token") from None
        life_s = max(given.expires_in - _EARLY_S, given.expires_in / 2)
        self._renew_at = self._clock.monotonic() + life_s
        return SecretStr(given.access_token)


def _is_refusal(answer: Answer) -> bool:
    """Whether the error is about the account, rather than a page that something on the way put there."""
    error = (json_object(answer.body) or {}).get("error")
    return isinstance(error, str) and error not in {"temporarily_unavailable", "server_error"}
