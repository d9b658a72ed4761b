"""Answers in the shapes of Nightscout: JSON with exact decimals, refusals as v1 and as v3 word them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final, TypeVar

import simplejson
from aiohttp import hdrs, web

from gateway.errors import GatewayError

__all__ = ["EPOCH", "Refusal", "answer", "beside", "compact", "http_date", "is_unchanged", "milliseconds", "result"]

T = TypeVar("T")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LARGE: Final = 200
"""Documents from which on they are read and written beside the event loop."""


class Refusal(GatewayError):
    """A request that is answered with an error.

    Attributes:
        status: of HTTP.
        message, description: for the client; without values, names and secrets.
        headers: sent along.
    """

    def __init__(
        self, status: int, message: str, description: str | None = None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.description = description
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        """As Nightscout says it."""
        said: dict[str, object] = {"status": self.status, "message": self.message}
        if self.description is not None:
            said["description"] = self.description
        return web.Response(
            text=compact(said), status=self.status, content_type="application/json", headers=self.headers
        )


def compact(data: object) -> str:
    """ASCII JSON; decimals as they are, lone surrogates escaped."""
    return simplejson.dumps(data, use_decimal=True, separators=(",", ":"))


async def beside(work: Callable[[], T], size: int) -> T:
    """The result of `work`; in a thread where it has to do with many documents, so that others have their turn."""
    return await asyncio.to_thread(work) if size >= _LARGE else work()


async def answer(data: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON as it stands (v1); a long list is written in a thread."""
    text = await beside(lambda: compact(data), len(data) if type(data) is list else 1)
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)


async def result(data: object, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON in the envelope of v3: `{"status": 200, "result": ...}`."""
    text = await beside(lambda: compact(data), len(data) if type(data) is list else 1)
    return web.Response(
        text=f'{{"status":200,"result":{text}}}', status=200, content_type="application/json", headers=headers
    )


def milliseconds(at: datetime) -> int:
    """Since 1970, rounded down."""
    return (at - EPOCH) // timedelta(milliseconds=1)


def http_date(at: datetime) -> str:
    """As in the header `Last-Modified`."""
    return format_datetime(at.astimezone(UTC), usegmt=True)


def is_unchanged(request: web.Request, modified_at: datetime, header: str = hdrs.IF_MODIFIED_SINCE) -> bool:
    """Whether the client's `header` names the second of `modified_at` or a later one."""
    try:
        known = parsedate_to_datetime(request.headers.get(header, ""))
    except (TypeError, ValueError, OverflowError):
        return False
    if known.tzinfo is None:
        known = known.replace(tzinfo=UTC)
    return modified_at.replace(microsecond=0) <= known
