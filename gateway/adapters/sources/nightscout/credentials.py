"""What a visitor shows to be let in, and what of it is kept.

Nightscout's clients send the SHA-1 of a secret as the header `api-secret`: for the server that digest *is* the secret.
It is never kept either: only its SHA-256. An access token (`name-16hex`) opens the same door for those who want one.
Some clients send the plain secret, or the digest in upper case; both are understood.

Sources: cgm-remote-monitor `lib/authorization` (`api-secret`, `secret`, `token`, `Authorization: Bearer`).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["Shown", "new_secret", "new_token", "secret_digest", "secret_header", "shown_by", "token_digest"]

_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_SECRET_LETTERS: Final = 28  # 138 bits: nobody guesses it, however fast
_LONGEST: Final = 1024
_HEADER_VALUE = re.compile(r"[0-9a-fA-F]{40}")
_TOKEN = re.compile(r"[a-z0-9]{1,10}-[0-9a-f]{16}")
_NOT_IN_TOKEN = re.compile(r"[^a-z0-9]")


class Shown(NamedTuple):
    """Digests of what may be secrets or tokens, and session tokens (JWT) as they came. All empty: nothing was shown."""

    secrets: tuple[bytes, ...] = ()
    tokens: tuple[bytes, ...] = ()
    sessions: tuple[str, ...] = ()


def new_secret() -> str:
    """28 lower-case letters and digits that are hard to mistake for one another."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LETTERS))


def new_token(label: str) -> str:
    """An access token in Nightscout's form: up to ten letters and digits of `label`, `-`, 16 hexadecimal digits."""
    name = _NOT_IN_TOKEN.sub("", label.lower())[:10] or "gateway"
    return f"{name}-{secrets.token_hex(8)}"


def secret_header(secret: str) -> str:
    """What clients send for `secret`: 40 lower-case hexadecimal digits."""
    return hashlib.sha1(secret.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def secret_digest(header: str) -> bytes:
    """What is kept of the header's value."""
    return hashlib.sha256(b"api-secret:" + header.lower().encode("utf-8", "surrogatepass")).digest()


def token_digest(token: str) -> bytes:
    """What is kept of an access token."""
    return hashlib.sha256(b"token:" + token.encode("utf-8", "surrogatepass")).digest()


def shown_by(headers: Mapping[str, str], query: Mapping[str, str], body: object = None) -> Shown:
    """Everything in a request that may let somebody in.

    Args:
        headers: without regard to case.
        query: of the address.
        body: the JSON of an upload: the object, or the first one of an array, may hold `secret` or `token`.
    """
    first = body[0] if type(body) is list and body else body
    said = first if type(first) is dict else {}
    scheme, _, bearer = headers.get("Authorization", "").partition(" ")
    texts = [headers.get("api-secret"), query.get("secret"), said.get("secret")]
    words = [query.get("token"), said.get("token")]
    if scheme.lower() == "bearer":
        words.append(bearer.strip())
    hashes: list[bytes] = []
    for text in texts:
        if type(text) is not str or not text or len(text) > _LONGEST:
            continue
        if text.startswith("token="):  # how some followers put a token into the header
            words.append(text.removeprefix("token="))
            continue
        if _TOKEN.fullmatch(text):  # nightscout-cli's manual has it so
            words.append(text)
            continue
        if _HEADER_VALUE.fullmatch(text):
            hashes.append(secret_digest(text))
        hashes.append(secret_digest(secret_header(text)))
    kept = [word for word in words if type(word) is str and 0 < len(word) <= _LONGEST]
    return Shown(
        tuple(hashes),
        tuple(token_digest(word) for word in kept if "." not in word),
        tuple(word for word in kept if word.count(".") == 2),
    )
