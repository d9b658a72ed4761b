"""A stand-in health space that behaves as the API Mesures publishes it, on this machine only.

What the real space does not publish is ours: tokens come from `POST /token` (client_credentials, client_secret_basic)
and each client belongs to one patient. Faults are switched on at `/_sandbox/faults` or through `Space.faults`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from urllib.parse import unquote_plus

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.clock import SystemClock
from gateway.fhir.r4 import (
    Bundle,
    BundleEntry,
    Device,
    FhirError,
    Observation,
    from_json_as,
)
from gateway.fhir.rules import check_transaction, to_outcome
from gateway.ports import Clock
from gateway.sandbox.space_answers import fhir_answer, outcome, outcomes, refused_entries, transaction_answer
from gateway.sandbox.space_config import SandboxAccount, SandboxConfig
from gateway.sandbox.space_faults import Fault, FaultOrder, FaultSwitch, spoilt
from gateway.sandbox.space_search import SearchRefused, parse_search, run_search
from gateway.sandbox.space_store import SpaceStore, subject_of

__all__ = [
    "Fault",
    "FaultOrder",
    "RunningSpace",
    "SandboxAccount",
    "SandboxConfig",
    "Space",
    "create_space",
    "run_space",
]

_log = structlog.get_logger()
_MAX_BODY = 1024 * 1024
_CONSENT = "Consent not given, access refused."
_PATIENT = "idPe requested do not match authorized idPe."
_OID = (
    "HTTP code 409 :OID conflict between the one from id_token and the one in the system"
    " -> OID different between id_token and ecosystem"
)


class _Rights(BaseModel):
    """Body of `PUT /_sandbox/accounts/{client_id}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    can_write: bool | None = None
    can_read: bool | None = None
    is_paired: bool | None = None


class Space:
    """The state of the space and its request handlers."""

    def __init__(self, config: SandboxConfig, clock: Clock) -> None:
        self.config = config
        self.store = SpaceStore(config.path)
        self.faults = FaultSwitch()
        self._clock = clock
        self._accounts = {account.client_id: account for account in config.accounts}
        self._tokens: dict[str, tuple[str, float]] = {}

    def account(self, client_id: str) -> SandboxAccount:
        """The account as it is now. Raises KeyError."""
        return self._accounts[client_id]

    def change(self, account: SandboxAccount) -> None:
        """Replace an account: the patient changed a consent or desynchronised."""
        self._accounts[account.client_id] = account

    def expire_tokens(self) -> None:
        """Every token given so far stops working."""
        self._tokens.clear()

    async def token(self, request: web.Request) -> web.StreamResponse:
        """`POST /token`: client_credentials with client_secret_basic (RFC 6749, 2.3.1 and 4.4)."""
        if (order := self.faults.take("token")) is not None:
            return await self.faults.refusal(order)
        form = await request.post()
        if form.get("grant_type") != "client_credentials":
            return _token_error("unsupported_grant_type", 400)
        account = self._authenticated(request.headers.get("Authorization", ""))
        if account is None:
            return _token_error("invalid_client", 401)
        if not account.is_paired:
            return _token_error("invalid_grant", 400)
        token = secrets.token_urlsafe(32)
        now = self._clock.monotonic()
        self._tokens = {kept: entry for kept, entry in self._tokens.items() if entry[1] > now}
        self._tokens[token] = (account.client_id, now + self.config.token_lifetime_s)
        return web.json_response(
            {"access_token": token, "token_type": "Bearer", "expires_in": self.config.token_lifetime_s},
            headers={"Cache-Control": "no-store"},
        )

    async def transaction(self, request: web.Request) -> web.StreamResponse:
        """`POST /fhir`: one Observation and at most one Device."""
        account = self._bearer(request)
        if account is None:
            return _unauthorized()
        order = self.faults.take("write")
        if order is not None and order.fault is not Fault.ENTRY_4XX and not order.fault.is_applied:
            return await self.faults.refusal(order)
        try:
            bundle = from_json_as(Bundle, await request.read())
        except FhirError as error:
            if not error.problems or error.problems[0][0] in ("", "resourceType"):
                return outcome(400, "invalid", "No bundle provided.")
            return outcomes(422, [("structure", f"{path}: {text}") for path, text in error.problems])
        if (refusal := self._refusal(account, bundle)) is not None:
            return refusal
        issues = check_transaction(bundle, solution_oid=self.config.solution_oid)
        if any(issue.severity in ("error", "fatal") for issue in issues):
            return fhir_answer(to_outcome(issues), status=422)
        if order is not None and order.fault is Fault.ENTRY_4XX:
            return fhir_answer(refused_entries(bundle))
        observation, device = _parts(bundle)
        applied = self.store.apply(
            observation, device, source=f"urn:oid:{self.config.solution_oid}", at=self._clock.now()
        )
        _log.info("space.measure_stored", measures=len(self.store.observations), device_is_new=applied.device_is_new)
        return spoilt(request, transaction_answer(bundle, applied), order)

    async def search(self, request: web.Request) -> web.StreamResponse:
        """`GET /fhir/Observation`."""
        account = self._bearer(request)
        if account is None:
            return _unauthorized()
        order = self.faults.take("read")
        if order is not None and not order.fault.is_applied:
            return await self.faults.refusal(order)
        if self._solution_of(account) != self.config.solution_oid:
            return outcome(409, "conflict", _OID)
        if not account.can_read:
            return outcome(403, "forbidden", _CONSENT)
        try:
            search = parse_search(list(request.query.items()))
        except SearchRefused as error:
            return outcome(400, "invalid", str(error))
        if (search.authority, search.patient_id) != (self.config.patient_authority_oid, account.patient_id):
            return outcome(403, "forbidden", _PATIENT)
        url = str(request.url.with_query(None))
        answer = run_search(search, self.store.observations, self.store.device, url)
        return spoilt(request, answer, order)

    async def device(self, request: web.Request) -> web.StreamResponse:
        """`GET /fhir/Device/{id}`."""
        account = self._bearer(request)
        if account is None:
            return _unauthorized()
        if not account.can_read:
            return outcome(403, "forbidden", _CONSENT)
        found = self.store.device(request.match_info["id"])
        return outcome(404, "not-found", "Device not found") if found is None else fhir_answer(found)

    async def put_fault(self, request: web.Request) -> web.StreamResponse:
        """`PUT /_sandbox/faults`: replaces what is armed by one `FaultOrder`."""
        try:
            order = FaultOrder.model_validate_json(await request.read())
        except ValidationError as error:
            return web.json_response({"problems": [e["msg"] for e in error.errors()]}, status=400)
        self.faults.clear()
        self.faults.add(order)
        return web.json_response(order.model_dump(mode="json"))

    async def list_faults(self, request: web.Request) -> web.StreamResponse:
        """`GET /_sandbox/faults`."""
        return web.json_response([order.model_dump(mode="json") for order in self.faults.pending()])

    async def delete_faults(self, request: web.Request) -> web.StreamResponse:
        """`DELETE /_sandbox/faults`."""
        self.faults.clear()
        return web.Response(status=204)

    async def put_account(self, request: web.Request) -> web.StreamResponse:
        """`PUT /_sandbox/accounts/{client_id}`: what the patient does in the app."""
        account = self._accounts.get(request.match_info["client_id"])
        if account is None:
            return web.json_response({"problems": ["no such account"]}, status=404)
        try:
            rights = _Rights.model_validate_json(await request.read())
        except ValidationError as error:
            return web.json_response({"problems": [e["msg"] for e in error.errors()]}, status=400)
        self.change(replace(account, **rights.model_dump(exclude_none=True)))
        return web.Response(status=204)

    async def list_observations(self, request: web.Request) -> web.StreamResponse:
        """`GET /_sandbox/observations`: everything held, oldest first, as a collection."""
        entries = [BundleEntry(resource=item) for item in self.store.observations]
        return fhir_answer(Bundle(type="collection", entry=tuple(entries)))

    async def let_go(self, app: web.Application) -> None:
        """Requests that hang end with the server."""
        self.faults.clear()

    def _authenticated(self, header: str) -> SandboxAccount | None:
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            client_id, _, secret = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        account = self._accounts.get(unquote_plus(client_id))
        if account is None or not secrets.compare_digest(account.client_secret.encode(), unquote_plus(secret).encode()):
            return None
        return account

    def _bearer(self, request: web.Request) -> SandboxAccount | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        client_id, expires_at = self._tokens.get(token, ("", 0.0))
        account = self._accounts.get(client_id)
        is_valid = scheme.lower() == "bearer" and expires_at > self._clock.monotonic()
        return account if is_valid and account is not None and account.is_paired else None

    def _solution_of(self, account: SandboxAccount) -> str:
        return account.solution_oid or self.config.solution_oid

    def _refusal(self, account: SandboxAccount, bundle: Bundle) -> web.Response | None:
        """Identity and consent, in the order: solution, consent to write, patient."""
        if self._solution_of(account) != self.config.solution_oid:
            return outcome(409, "conflict", _OID)
        if not account.can_write:
            return outcome(403, "forbidden", _CONSENT)
        for entry in bundle.entry:
            if isinstance(entry.resource, Observation):
                subject = subject_of(entry.resource)
                if all(subject) and subject != (self.config.patient_authority_oid, account.patient_id):
                    return outcome(403, "forbidden", _PATIENT)
        return None


@dataclass(frozen=True, slots=True)
class RunningSpace:
    """A space that listens.

    Attributes:
        url: `http://127.0.0.1:port`; FHIR is at `/fhir`, tokens at `/token`.
        space: its state, for switching faults and looking inside.
    """

    url: str
    space: Space


def create_space(config: SandboxConfig, *, clock: Clock | None = None, space: Space | None = None) -> web.Application:
    """The application; `space` to keep a hand on its state."""
    held = space or Space(config, clock or SystemClock())
    app = web.Application(client_max_size=_MAX_BODY)
    app.router.add_post("/token", held.token)
    app.router.add_post("/fhir", held.transaction)
    app.router.add_get("/fhir/Observation", held.search)
    app.router.add_get("/fhir/Device/{id}", held.device)
    app.router.add_put("/_sandbox/faults", held.put_fault)
    app.router.add_get("/_sandbox/faults", held.list_faults)
    app.router.add_delete("/_sandbox/faults", held.delete_faults)
    app.router.add_put("/_sandbox/accounts/{client_id}", held.put_account)
    app.router.add_get("/_sandbox/observations", held.list_observations)
    app.on_shutdown.append(held.let_go)
    return app


@contextlib.asynccontextmanager
async def run_space(
    config: SandboxConfig, *, port: int = 0, host: str = "127.0.0.1", clock: Clock | None = None
) -> AsyncIterator[RunningSpace]:
    """Listen on this machine until the block ends; port 0 takes a free one."""
    space = Space(config, clock or SystemClock())
    runner = web.AppRunner(create_space(config, space=space), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield RunningSpace(f"http://{host}:{runner.addresses[0][1]}", space)
    finally:
        await runner.cleanup()


def _token_error(code: str, status: int) -> web.Response:
    return web.json_response({"error": code}, status=status, headers={"Cache-Control": "no-store"})


def _unauthorized() -> web.Response:
    return outcome(401, "login", "Unauthorized", headers={"WWW-Authenticate": "Bearer"})


def _parts(bundle: Bundle) -> tuple[Observation, Device | None]:
    """The observation and the device of a bundle that passed the rules."""
    resources = [entry.resource for entry in bundle.entry]
    observation = next(resource for resource in resources if isinstance(resource, Observation))
    return observation, next((resource for resource in resources if isinstance(resource, Device)), None)
