"""The listener: made at the start, so that a port that is taken stops the start; answers until it is closed.

There is no check of the name in the `Host` header: apps use whatever name their owner typed, and nothing here is let in
by a cookie or by where it comes from, so that a page of somebody else's that is led to this address (DNS rebinding) can
ask for nothing but the public status. Addresses are never logged: they may hold secrets.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway.adapters.sources.nightscout.answers import Refusal
from gateway.adapters.sources.nightscout.book import EntryBook
from gateway.adapters.sources.nightscout.connections import Connections
from gateway.adapters.sources.nightscout.papers import Papers
from gateway.adapters.sources.nightscout.patience import Patience
from gateway.adapters.sources.nightscout.sessions import Sessions, session_key
from gateway.adapters.sources.nightscout.site import SITE, Site
from gateway.adapters.sources.nightscout.uploads import Counters, Uploads
from gateway.adapters.sources.nightscout.v1 import add_v1
from gateway.adapters.sources.nightscout.v3 import add_v3
from gateway.adapters.sources.nightscout.visitors import Visitors
from gateway.errors import ConfigurationError, GatewayError, PermanentError, StoreUnavailable
from gateway.model import Person, PersonId
from gateway.ports import AccessTokens, Clock, Documents, Intake, ReadingStore
from gateway.settings_nightscout import NightscoutSettings
from gateway.supervisor import contain

__all__ = ["NightscoutIntake", "NightscoutReport", "NightscoutStores"]

_SHUTDOWN_S: Final = 2.0
_KEEP_ALIVE_S: Final = 75.0
_LINGERING_S: Final = 2.0
"""How long what nobody wants to have is read (and unpacked) after the answer, so that the client sees the answer."""
_PURGE_EVERY_S: Final = 6 * 3600.0
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
}
_silent = logging.Logger("gateway.nightscout.http", logging.CRITICAL + 1)
"""aiohttp would log addresses and messages of errors, which may quote what was sent."""
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NightscoutReport:
    """How the listener is.

    Attributes:
        url: where it listens.
        connections: open now.
        turned_away, silent: connections closed because there were too many, or because no request came.
        wrong_secrets: tries with a secret that opens nothing.
        counters: what came in.
    """

    url: str
    connections: int
    turned_away: int
    silent: int
    wrong_secrets: int
    counters: Counters


@dataclass(frozen=True, slots=True)
class NightscoutStores:
    """What is read and written beside the intake."""

    readings: ReadingStore
    documents: Documents
    tokens: AccessTokens


@dataclass(slots=True)
class NightscoutIntake:
    """A listener at work.

    Attributes:
        url: where it listens.
    """

    url: str
    _site: Site
    _connections: Connections
    _patience: Patience
    _counters: Counters = field(default_factory=Counters)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: NightscoutSettings,
        *,
        intake: Intake,
        stores: NightscoutStores,
        clock: Clock,
        people: Mapping[PersonId, Person],
        house: ZoneInfo,
        folder: Path,
    ) -> AsyncIterator[NightscoutIntake]:
        """Listen; on leaving, requests in hand have two seconds to end.

        Args:
            people: for their zones and units.
            house: zone of whoever is not among them.
            folder: where the key of the sessions is kept.

        Raises:
            ConfigurationError: the port is taken, the certificate or the key of the sessions cannot be used.
        """
        context = _tls(settings)
        counters, patience = Counters(), Patience(clock)
        sessions = Sessions(session_key(folder / "nightscout-sessions.key"), clock)

        def zone_of(person_id: PersonId) -> tzinfo:
            person = people.get(person_id)
            return house if person is None else person.time_zone

        site = Site(
            settings=settings,
            clock=clock,
            people=people,
            visitors=Visitors(stores.tokens, sessions, patience, clock),
            sessions=sessions,
            uploads=Uploads(intake, clock, zone_of, counters),
            book=EntryBook(stores.readings, clock, settings.answered_days, people),
            papers=Papers(stores.documents, clock, settings, counters),
        )
        connections = Connections(
            most=settings.connections, first_request_s=settings.request_timeout_s, is_private=context is None
        )
        app = web.Application(client_max_size=settings.max_body_bytes, middlewares=[_shape(connections, counters)])
        app[SITE] = site
        add_v1(app)
        add_v3(app)
        app.on_response_prepare.append(_add_headers)
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=_silent,
            shutdown_timeout=_SHUTDOWN_S,
            keepalive_timeout=_KEEP_ALIVE_S,
            lingering_time=_LINGERING_S,
            handler_cancellation=False,  # an upload that is being stored is stored, though its sender hung up
        )
        await runner.setup()
        try:
            assert runner.server is not None  # noqa: S101 - set up above
            server = await _listen(settings, connections.around(runner.server), context)
            try:
                port = server.sockets[0].getsockname()[1]
                scheme = "http" if context is None else "https"
                yield cls(f"{scheme}://{_shown(settings.host)}:{port}", site, connections, patience, counters)
            finally:
                server.close()
        finally:
            await runner.cleanup()

    @property
    def name(self) -> str:
        """For logs and task names."""
        return "nightscout"

    async def run(self) -> None:
        """Keep the documents within their time, for ever."""
        while True:
            await self._site.papers.purge()
            await asyncio.sleep(_PURGE_EVERY_S)

    def reports(self) -> NightscoutReport:
        """How the listener is, now."""
        return NightscoutReport(
            self.url,
            len(self._connections),
            self._connections.turned_away,
            self._connections.silent,
            self._patience.wrong,
            self._counters,
        )


def _tls(settings: NightscoutSettings) -> ssl.SSLContext | None:
    if settings.cert_file is None or settings.key_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if settings.key_file.stat().st_mode & 0o077:
            raise ConfigurationError(
                [("nightscout.key_file", f"it can be read by others; run: chmod 600 {settings.key_file}")]
            )
        context.load_cert_chain(settings.cert_file, settings.key_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            [("nightscout.cert_file", f"the certificate or its key cannot be used: {error.strerror or 'not PEM'}")]
        ) from error
    return context


async def _listen(
    settings: NightscoutSettings, protocol: Callable[[], asyncio.Protocol], context: ssl.SSLContext | None
) -> asyncio.Server:
    handshake_s = settings.request_timeout_s if context is not None else None
    try:
        return await asyncio.get_running_loop().create_server(
            protocol, settings.host, settings.port, ssl=context, ssl_handshake_timeout=handshake_s
        )
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        why = "another program uses it; choose another port" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConfigurationError([("nightscout.port", f"cannot listen on {where}: {why}")]) from error


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.popall(hdrs.SERVER, None)


def _shape(connections: Connections, counters: Counters) -> Middleware:
    """Every refusal and every fault becomes an answer in Nightscout's words."""

    @web.middleware
    async def shape(request: web.Request, handler: Handler) -> web.StreamResponse:
        connections.has_asked(request.transport)
        try:
            return await contain(
                "nightscout.request",
                lambda: handler(request),
                otherwise=lambda _: Refusal(500, "Internal Server Error").response(),
                passing=(GatewayError, web.HTTPException),
            )
        except Refusal as refusal:
            return refusal.response()
        except StoreUnavailable:
            counters.unavailable += 1
            return Refusal(503, "Nothing can be stored now", "repeat later", headers={"Retry-After": "30"}).response()
        except PermanentError:
            return Refusal(400, "Bad or missing request body").response()
        except web.HTTPException as error:
            if error.status == 404:
                return Refusal(404, "Bad operation or collection").response()
            if error.status >= 400:
                allowed: dict[str, str] = {hdrs.ALLOW: error.headers[hdrs.ALLOW]} if hdrs.ALLOW in error.headers else {}
                return Refusal(error.status, error.reason, headers=allowed).response()
            raise

    return shape
