"""What the handlers of both versions of the interface share: the parts they use, and how an upload is taken in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from gateway.adapters.sources.nightscout.answers import Refusal
from gateway.adapters.sources.nightscout.book import EntryBook
from gateway.adapters.sources.nightscout.credentials import shown_by
from gateway.adapters.sources.nightscout.papers import Papers
from gateway.adapters.sources.nightscout.sessions import Sessions
from gateway.adapters.sources.nightscout.uploads import Uploads
from gateway.adapters.sources.nightscout.visitors import Visitors
from gateway.devices.passerelle_fields import Refused, strict_json
from gateway.model import Person, PersonId, Unit
from gateway.ports import AccessToken, Clock
from gateway.settings_nightscout import NightscoutSettings

__all__ = ["SITE", "VERSION", "Site", "Upload"]

VERSION: Final = "15.0.2"
"""The release of Nightscout whose interface this follows: clients ask for a least version."""

_SMALL: Final = 65_536
_LARGE_AT_ONCE: Final = 2
_IN_THREAD_FROM: Final = 262_144
_LONGEST_NUMBER: Final = 64
"""Swift writes a `Decimal` with up to 38 digits (Trio's states of devices)."""
_DEEPEST: Final = 100
"""As in Mongo. What is taken in must be written and read again, however deep the caller stands then."""
_CREDENTIALS: Final = ("secret", "token")


class Upload(NamedTuple):
    """A body that was admitted: from whom, the JSON without what let it in."""

    token: AccessToken
    document: object


@dataclass(slots=True)
class Site:
    """The parts."""

    settings: NightscoutSettings
    clock: Clock
    people: Mapping[PersonId, Person]
    visitors: Visitors
    sessions: Sessions
    uploads: Uploads
    book: EntryBook
    papers: Papers
    _large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LARGE_AT_ONCE))

    def units_of(self, token: AccessToken | None) -> str:
        """Nightscout's word for the unit that the person is shown."""
        person = None if token is None else self.people.get(token.person_id)
        return "mmol" if person is not None and person.glucose_unit is Unit.MMOL_L else "mg/dl"

    async def upload(self, request: web.Request, channel: str) -> Upload:
        """Who uploads, and what. Who shows nothing in head or address may do so in a small body.

        Raises:
            Refusal: 400, 401, 403, 408, 413, 429; a body that is no JSON is kept in quarantine.
            StoreUnavailable: nothing can be kept now.
        """
        length = request.content_length
        if length is not None and length > self.settings.max_body_bytes:
            raise self.too_large()
        token: AccessToken | None = None
        if any(shown_by(request.headers, request.query)):
            token = self.visitors.writer(request, await self.visitors.visitor(request))
        elif length is None or length > _SMALL or hdrs.CONTENT_ENCODING in request.headers:
            self.visitors.writer(request, None)
        async with self._turn(length):
            body = await self._body(request)
            try:
                document = await _parsed(body)
            except Refused as error:
                if token is None:
                    self.visitors.writer(request, None)
                else:
                    await self.uploads.set_aside(token, body, error.reason, str(error), channel)
                raise Refusal(400, "Bad or missing request body", str(error)) from error
            if token is None:
                token = self.visitors.writer(request, await self.visitors.visitor(request, document))
        _forget_credentials(document)
        return Upload(token, document)

    def too_large(self) -> Refusal:
        """413, and what to do."""
        return Refusal(
            413,
            "Request entity too large",
            f"an upload holds {self.settings.max_body_bytes} bytes at most; send fewer entries at once, or raise"
            " [nightscout] max_body_bytes",
        )

    def bounded(self, items: list[object], most: int) -> list[object]:
        """`items` if there are not too many. Raises Refusal: 413."""
        if len(items) > most:
            raise Refusal(413, "Request entity too large", f"an upload holds {most} entries or documents at most")
        return items

    def now(self) -> datetime:
        """By the gateway's clock."""
        return self.clock.now()

    @contextlib.asynccontextmanager
    async def _turn(self, length: int | None) -> AsyncIterator[None]:
        """Large bodies are in memory two at a time; small ones do not wait for them."""
        if length is not None and length <= _SMALL:
            yield
            return
        async with self._large:
            yield

    async def _body(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self.settings.request_timeout_s):
                return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise self.too_large() from None
        except TimeoutError:
            raise Refusal(
                408, "Request timeout", "the body did not come in time", headers={"Connection": "close"}
            ) from None


async def _parsed(body: bytes) -> object:
    return _read(body) if len(body) < _IN_THREAD_FROM else await asyncio.to_thread(_read, body)


def _read(body: bytes) -> object:
    document = strict_json(body, longest_number=_LONGEST_NUMBER)
    level = [document]
    for _ in range(_DEEPEST + 1):
        level = [each for holder in level if isinstance(holder, list | dict) for each in _held_by(holder)]
        if not level:
            return document
    raise Refused("nested too deeply")


def _held_by(holder: list[object] | dict[str, object]) -> Iterable[object]:
    return holder if isinstance(holder, list) else holder.values()


def _forget_credentials(document: object) -> None:
    first = document[0] if type(document) is list and document else document
    if type(first) is dict:
        for name in _CREDENTIALS:
            first.pop(name, None)


SITE: Final = web.AppKey("site", Site)
