"""Session tokens (JWT) of the third version of Nightscout's interface: short-lived, and worth no more than the token
that they were given for."""

from __future__ import annotations

import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

from gateway.errors import ConfigurationError
from gateway.ports import Clock

__all__ = ["Session", "Sessions", "session_key"]

_LASTS: Final = timedelta(hours=8)
_KEY_BYTES: Final = 32
_ALGORITHM: Final = "HS256"


class Session(NamedTuple):
    """A session token and its times, seconds since 1970."""

    text: str
    issued_at_s: int
    expires_at_s: int


class Sessions:
    """Issues and checks session tokens. They name the access token, nothing else; whether that still opens anything is
    asked at every request."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def issue(self, token_id: str) -> Session:
        """A session of eight hours for that access token."""
        import jwt  # 30 ms and 4 to 14 MB that a gateway without such clients need not pay

        now = self._clock.now()
        issued, expires = int(now.timestamp()), int((now + _LASTS).timestamp())
        text = jwt.encode({"sub": token_id, "iat": issued, "exp": expires}, self._key, algorithm=_ALGORITHM)
        return Session(text, issued, expires)

    def holder(self, text: str) -> str | None:
        """The access token that a session belongs to; None: not ours, changed, or over."""
        import jwt

        if not text.isascii():
            return None
        try:
            claims = jwt.decode(
                text,
                self._key,
                algorithms=[_ALGORITHM],
                options={
                    "require": ["sub", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                },  # by our own clock, below
            )
        except jwt.InvalidTokenError:
            return None
        expires, subject = claims["exp"], claims["sub"]
        if type(expires) is not int or expires <= self._clock.now().timestamp():
            return None
        return subject if type(subject) is str else None


def session_key(path: Path) -> bytes:
    """The 32 random bytes in that file, mode 0600; made when there are none.

    Raises:
        ConfigurationError: the file cannot be read or written.
    """
    try:
        if path.is_file() and len(key := path.read_bytes()) == _KEY_BYTES:
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)
            return key
        key = secrets.token_bytes(_KEY_BYTES)
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(key)
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError([("nightscout", f"the key of its sessions, {path}: {error.strerror}")]) from error
    return key
