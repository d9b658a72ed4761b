"""The aiohttp application: the page, its live fragment, the event stream, pairing, health and radio for machines.

Answers only to the host names it was told, sends nothing that a cache may keep, and loads nothing from elsewhere.
Reached from another machine than its own, it asks for the access code (HTTP Basic, any user name).
"""

from __future__ import annotations

import asyncio
import base64
import math
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Final

import jinja2
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway import __version__
from gateway.changes import Changes
from gateway.clock import SystemClock
from gateway.errors import GatewayError
from gateway.pairing.office import PairingOffice
from gateway.settings import WebSettings
from gateway.web.care_words import care_sentence
from gateway.web.door import Door
from gateway.web.leftovers import SetAsidePage
from gateway.web.pairing import add_pairing
from gateway.web.radio_words import radio_sentence
from gateway.web.sameorigin import PageTokens
from gateway.web.texts import Texts, choose_language
from gateway.web.view import View
from gateway.web.weigh_in_view import WeighInDesk
from gateway.web.weigh_ins import add_weigh_ins

__all__ = ["create_app"]

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
}
_KEEP_ALIVE_S = 20.0
_CALM_S = 0.5
_MOST_STREAMS = 50
_HEALTH_S = 5.0

_VIEW: Final = web.AppKey("view", View)
_CHANGES: Final = web.AppKey("changes", Changes)
_PAGES: Final = web.AppKey("pages", jinja2.Environment)
_LANGUAGE: Final = web.AppKey("language", str)
_STREAMS: Final = web.AppKey("streams", set[asyncio.Event])
_ENDING: Final = web.AppKey("ending", asyncio.Event)


def create_app(
    view: View,
    changes: Changes,
    settings: WebSettings,
    *,
    language: str,
    door: Door | None = None,
    office: PairingOffice | None = None,
    desk: WeighInDesk | None = None,
) -> web.Application:
    """Build the application.

    Args:
        view: where the content comes from.
        changes: told when something changed; every open page follows it.
        settings: host names that are answered.
        language: of a browser without a wish, `fr` or `en`.
        door: asks everybody for the access code; None: nobody is asked.
        office: where devices are paired; None: Bluetooth is off.
        desk: where people say whose a weigh-in is; None: there is no such page.
    """
    app = web.Application(middlewares=[_guard(frozenset(settings.allowed_hosts), door)], client_max_size=64 * 1024)
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("gateway.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["decimal"] = Decimal
    pages.globals["radio_sentence"] = radio_sentence
    pages.globals["care_sentence"] = care_sentence
    app[_VIEW], app[_CHANGES], app[_PAGES] = view, changes, pages
    app[_LANGUAGE], app[_STREAMS], app[_ENDING] = language, set(), asyncio.Event()
    app.router.add_get("/", _index)
    app.router.add_get("/fragment", _fragment)
    app.router.add_get("/set-aside", _set_aside)
    app.router.add_get("/events", _events)
    app.router.add_get("/health", _health)
    app.router.add_get("/api/radio", _radio)
    tokens = PageTokens(SystemClock())
    add_pairing(app, office, tokens, pages, _texts)
    add_weigh_ins(app, desk, tokens, pages, _texts)
    app.router.add_static("/static", Path(str(files("gateway.web") / "static")), append_version=False)
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(_end_streams)
    return app


def _guard(allowed_hosts: frozenset[str], door: Door | None) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if _host_name(request.headers.get(hdrs.HOST, "")) not in allowed_hosts:
            return web.Response(status=421, text="This name is not one of the gateway's (web.allowed_hosts).\n")
        if door is not None and request.path != "/health":
            given = _given_code(request)
            if given is not None and (wait_s := door.wait_s()) > 0:
                waiting = {"Retry-After": str(math.ceil(wait_s))}
                return web.Response(status=429, text="Too many wrong codes; wait.\n", headers=waiting)
            if given is None or not door.opens(given):
                challenge = {hdrs.WWW_AUTHENTICATE: 'Basic realm="Passerelle", charset="UTF-8"'}
                return web.Response(status=401, text="The access code is needed.\n", headers=challenge)
        return await handler(request)

    return guard


def _host_name(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host


def _given_code(request: web.Request) -> bytes | None:
    scheme, _, credentials = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except ValueError:
        return None


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


async def _end_streams(app: web.Application) -> None:
    app[_ENDING].set()
    for stream in app[_STREAMS]:
        stream.set()


def _texts(request: web.Request) -> Texts:
    accepted = request.headers.get(hdrs.ACCEPT_LANGUAGE, "")
    return Texts(choose_language(request.query.get("lang"), accepted, request.app[_LANGUAGE]))


async def _render(request: web.Request, template: str) -> web.Response:
    page = await request.app[_VIEW].page()
    html = request.app[_PAGES].get_template(template).render(page=page, t=_texts(request))
    return web.Response(text=html, content_type="text/html")


async def _index(request: web.Request) -> web.StreamResponse:
    return await _render(request, "page.html")


async def _fragment(request: web.Request) -> web.StreamResponse:
    return await _render(request, "content.html")


async def _set_aside(request: web.Request) -> web.StreamResponse:
    """What was received and gave no reading, without what it holds."""
    leftovers = request.app[_VIEW].leftovers
    aside = SetAsidePage((), 0) if leftovers is None else await leftovers.set_aside()
    html = request.app[_PAGES].get_template("set_aside.html").render(aside=aside, t=_texts(request))
    return web.Response(text=html, content_type="text/html")


async def _health(request: web.Request) -> web.StreamResponse:
    """200 while the store answers, 503 when it does not: a service manager may then restart the gateway."""
    try:
        async with asyncio.timeout(_HEALTH_S):
            await request.app[_VIEW].is_answering()
    except (GatewayError, TimeoutError):
        return web.json_response({"status": "store unavailable", "version": __version__}, status=503)
    return web.json_response({"status": "ok", "version": __version__})


async def _radio(request: web.Request) -> web.StreamResponse:
    """How the Bluetooth radios are, for `gateway radio`; 404 while Bluetooth is off."""
    lines = await request.app[_VIEW].radios()
    if lines is None:
        return web.json_response({"error": "Bluetooth is off"}, status=404)
    return web.json_response({"radios": [line.as_json() for line in lines]})


async def _events(request: web.Request) -> web.StreamResponse:
    streams, ending = request.app[_STREAMS], request.app[_ENDING]
    if len(streams) >= _MOST_STREAMS:
        return web.Response(status=503, headers={"Retry-After": "60"}, text="Too many open pages.\n")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    with request.app[_CHANGES].follow() as changed:
        streams.add(changed)
        try:
            await response.prepare(request)
            await response.write(b"retry: 3000\n\n")
            while not ending.is_set():
                try:
                    async with asyncio.timeout(_KEEP_ALIVE_S):
                        await changed.wait()
                except TimeoutError:
                    await response.write(b": still here\n\n")
                    continue
                changed.clear()
                await response.write(b"event: changed\ndata: 1\n\n")
                await asyncio.sleep(_CALM_S)  # a burst is one change
        except ConnectionResetError:
            pass  # the visitor left
        finally:
            streams.discard(changed)
    return response
