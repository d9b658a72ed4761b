"""The page where people say whose a weigh-in is. It works without a script: each choice is a form."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import jinja2
from aiohttp import hdrs, web

from gateway.model import DeviceId
from gateway.web.sameorigin import FORM_HEADERS, PageTokens, is_from_elsewhere
from gateway.web.texts import Texts
from gateway.web.weigh_in_view import WeighInDesk

__all__ = ["add_weigh_ins"]

_LONGEST_NUMBER = 18


class _Pages:
    """The handlers."""

    def __init__(
        self,
        desk: WeighInDesk | None,
        tokens: PageTokens,
        pages: jinja2.Environment,
        texts: Callable[[web.Request], Texts],
    ) -> None:
        self._desk = desk
        self._tokens = tokens
        self._pages = pages
        self._texts = texts

    async def page(self, request: web.Request) -> web.Response:
        return await self._render(request, "weigh_ins.html")

    async def fragment(self, request: web.Request) -> web.Response:
        return await self._render(request, "weigh_ins_content.html")

    async def submit(self, request: web.Request) -> web.Response:
        """A form of the page; afterwards the browser fetches the page again, so that reloading repeats nothing."""
        if is_from_elsewhere(request):
            return web.Response(status=403, text="This request comes from another site.\n")
        if self._desk is None:
            return web.Response(status=404)
        form = await request.post()
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        if not self._tokens.is_valid(fields.pop("token", None)):
            return await self._render(request, "weigh_ins.html", "token")
        refusal = await self._desk.act(fields.pop("action", ""), fields)
        if refusal is not None:
            return await self._render(request, "weigh_ins.html", refusal)
        where = {"lang": self._texts(request).language}
        where |= {name: request.query[name] for name in ("before", "device") if name in request.query}
        return web.Response(status=303, headers={hdrs.LOCATION: f"/weigh-ins?{urlencode(where)}"})

    async def _render(self, request: web.Request, template: str, refusal: str | None = None) -> web.Response:
        if self._desk is None:
            return web.Response(status=404)
        before, device = request.query.get("before", ""), request.query.get("device", "")
        is_number = before.isascii() and before.isdigit() and len(before) <= _LONGEST_NUMBER
        page = await self._desk.page(
            before=int(before) if is_number else None, device_id=DeviceId(device) if device else None
        )
        html = self._pages.get_template(template).render(
            page=page, t=self._texts(request), token=self._tokens.issue(), refusal=refusal
        )
        status = 200 if refusal is None else 409
        return web.Response(text=html, content_type="text/html", headers=FORM_HEADERS, status=status)


def add_weigh_ins(
    app: web.Application,
    desk: WeighInDesk | None,
    tokens: PageTokens,
    pages: jinja2.Environment,
    texts: Callable[[web.Request], Texts],
) -> None:
    """Add the routes."""
    handlers = _Pages(desk, tokens, pages, texts)
    app.router.add_get("/weigh-ins", handlers.page)
    app.router.add_post("/weigh-ins", handlers.submit)
    app.router.add_get("/weigh-ins/fragment", handlers.fragment)
