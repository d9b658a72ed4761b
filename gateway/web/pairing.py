"""The Bluetooth page and the JSON interface of pairing: what is in range, and a person's steps.

The page works without a script: each step is a form. The script only fetches the changing part again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import jinja2
from aiohttp import hdrs, web

from gateway.errors import PairingFailed
from gateway.model import PairingFailure
from gateway.pairing.desk import PairingRefused
from gateway.pairing.office import ACTIONS, PairingOffice
from gateway.web.sameorigin import FORM_HEADERS, PageTokens, is_from_elsewhere
from gateway.web.texts import Texts

__all__ = ["add_pairing"]

_PROOF_HEADER: Final = "X-Passerelle-Token"
_STATUS: Final = {"locked": 429, "unknown": 404} | dict.fromkeys(
    ("busy", "over", "not_paired", "has_user", "scale_away", "scale_refused", "scale_silent"), 409
)


class _Pages:
    """The handlers."""

    def __init__(
        self,
        office: PairingOffice | None,
        tokens: PageTokens,
        pages: jinja2.Environment,
        texts: Callable[[web.Request], Texts],
    ) -> None:
        self._office = office
        self._tokens = tokens
        self._pages = pages
        self._texts = texts

    # --- the page -----------------------------------------------------------------------------------------------

    async def page(self, request: web.Request) -> web.Response:
        return await self._render(request, "bluetooth.html")

    async def fragment(self, request: web.Request) -> web.Response:
        return await self._render(request, "bluetooth_content.html")

    async def _render(self, request: web.Request, template: str, refusal: str | None = None) -> web.Response:
        texts = self._texts(request)
        state = None if self._office is None else await self._office.state()
        html = self._pages.get_template(template).render(
            state=state, t=texts, token=self._tokens.issue(), refusal=refusal
        )
        status = 200 if refusal is None else 409
        return web.Response(text=html, content_type="text/html", headers=FORM_HEADERS, status=status)

    async def submit(self, request: web.Request) -> web.Response:
        """A form of the page; afterwards the browser fetches the page again, so that reloading repeats nothing."""
        if is_from_elsewhere(request):
            return web.Response(status=403, text="This request comes from another site.\n")
        form = await request.post()
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        if "people" in fields:  # a box for each
            fields["people"] = " ".join(value for value in form.getall("people") if isinstance(value, str))
        if not self._tokens.is_valid(fields.pop("token", None)):
            return await self._render(request, "bluetooth.html", "token")
        action = fields.pop("action", "")
        if (refusal := await self._act(action, fields)) is not None:
            return await self._render(request, "bluetooth.html", refusal["error"])
        language = self._texts(request).language
        return web.Response(status=303, headers={hdrs.LOCATION: f"/bluetooth?lang={language}"})

    # --- JSON ---------------------------------------------------------------------------------------------------

    async def state(self, _request: web.Request) -> web.Response:
        if self._office is None:
            return web.json_response({"error": "off"}, status=404)
        return web.json_response({"token": self._tokens.issue(), **await self._office.state()})

    async def act(self, request: web.Request) -> web.Response:
        if is_from_elsewhere(request):
            return web.json_response({"error": "elsewhere"}, status=403)
        if not self._tokens.is_valid(request.headers.get(_PROOF_HEADER)):
            return web.json_response({"error": "token"}, status=403)
        action = request.match_info["action"]
        if self._office is None or action not in ACTIONS:
            return web.json_response({"error": "off" if self._office is None else "unknown"}, status=404)
        try:
            fields = json.loads(await request.text()) if request.content_type == "application/json" else None
        except (ValueError, RecursionError):  # deep nesting ends the parser
            fields = None
        if not isinstance(fields, dict):
            return web.json_response({"error": "fields"}, status=400)
        if (refusal := await self._act(action, fields)) is not None:
            status = _STATUS.get(refusal["error"], 400 if refusal["error"] not in set(PairingFailure) else 503)
            return web.json_response(refusal, status=status)
        return web.json_response(await self._office.state())

    async def _act(self, action: str, fields: Mapping[str, Any]) -> dict[str, Any] | None:
        """Do it; what stood in the way, or None."""
        if self._office is None:
            return {"error": "off"}
        try:
            await self._office.act(action, fields)
        except PairingRefused as refused:
            return {"error": refused.reason, "wait_s": round(refused.wait_s)}
        except PairingFailed as failed:
            return {"error": str(failed.reason)}
        return None


def add_pairing(
    app: web.Application,
    office: PairingOffice | None,
    tokens: PageTokens,
    pages: jinja2.Environment,
    texts: Callable[[web.Request], Texts],
) -> None:
    """Add the routes; without an office (Bluetooth is off) they say so."""
    handlers = _Pages(office, tokens, pages, texts)
    app.router.add_get("/bluetooth", handlers.page)
    app.router.add_post("/bluetooth", handlers.submit)
    app.router.add_get("/bluetooth/fragment", handlers.fragment)
    app.router.add_get("/api/pairing", handlers.state)
    app.router.add_post("/api/pairing/{action}", handlers.act)
