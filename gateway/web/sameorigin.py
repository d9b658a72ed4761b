"""Whether a request that changes something comes from our own page.

Source: Fetch Metadata Request Headers (W3C), Sec-Fetch-Site; Fetch Standard, the Origin header.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

from aiohttp import hdrs, web

from gateway.ports import Clock

__all__ = ["FORM_HEADERS", "PageTokens", "is_from_elsewhere"]

_VALID_S: Final = 12 * 3600
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

# with "no-referrer" a browser would call the origin of our own forms "null"
FORM_HEADERS: Final = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "same-origin"}
"""Of a page with forms."""


def is_from_elsewhere(request: web.Request) -> bool:
    """Whether the browser says that another site, or nobody's page, caused this request.

    Programs that are no browser send neither header; for them the token alone decides.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site != "same-origin":
        return True
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is not None and origin.partition("://")[2] != request.headers.get(hdrs.HOST, "")


class PageTokens:
    """Tokens that only somebody who could read one of our pages has; each page gets its own, valid for 12 hours.

    Nothing is kept for them: a token says when it was made, and is signed with a key of this process.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def issue(self) -> str:
        """A fresh one."""
        text = f"{int(self._clock.monotonic())}.{secrets.token_urlsafe(12)}"
        return f"{text}.{self._sign(text)}"

    def is_valid(self, token: object) -> bool:
        """Whether it is ours and not too old."""
        if not isinstance(token, str) or not token.isascii():
            return False
        text, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature, self._sign(text)):
            return False
        return self._clock.monotonic() - int(text.partition(".")[0]) <= _VALID_S

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
