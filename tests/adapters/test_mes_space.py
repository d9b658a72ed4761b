"""The client of Mon espace santé against a real server on the loopback, with every failure switched on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr

from gateway.adapters.spaces.http import same_origin
from gateway.adapters.spaces.mes import MesAccount, MesSpace, accounts_of
from gateway.clock import SystemClock
from gateway.errors import (
    AccountMismatch,
    ConfigurationError,
    ConsentWithdrawn,
    GatewayError,
    OutcomeUnknown,
    RateLimited,
    ReauthNeeded,
    Rejected,
    TransientError,
)
from gateway.fhir.mes import MesContext, drafts_for
from gateway.fhir.r4 import Quantity
from gateway.model import (
    Departure,
    DepartureState,
    DestinationId,
    Device,
    DeviceId,
    DeviceKind,
    Metric,
    OutboxId,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    StoredReading,
    TimeQuality,
)
from gateway.sandbox.space import Fault, RunningSpace, SandboxAccount, SandboxConfig, run_space
from gateway.settings import AccountSettings, DestinationSettings

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
ANNE = PersonId("anne")
SECRET = "p@ss:word+/= é"
CONTEXT = MesContext("2.999.5.1", "2.999.7.1", "idpe-anne")
CONFIG = SandboxConfig("2.999.5.1", "2.999.7.1", (SandboxAccount("client:anne", SECRET, "idpe-anne"),))
SCALE = Device(DeviceId("scale"), DeviceKind.SCALE, "Scale", person_id=ANNE, system_id="FEEDABEEDEAD77C3")


def departure(mass_kg: str = "71.35", *, record: str = "1", person: PersonId = ANNE) -> Departure:
    """A weight that is about to leave."""
    reading = Reading(
        device_id=SCALE.device_id,
        epoch=0,
        record_key=record,
        metric=Metric.BODY_MASS,
        effective_at=datetime(2026, 3, 2, 6, 12, 5, tzinfo=UTC),
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=NOW,
        provenance=Provenance(SourceKind.SIMULATED, "test"),
        value=Decimal(mass_kg),
    )
    (draft,) = drafts_for(StoredReading(reading, person, 1, None), SCALE, CONTEXT, DestinationId("mes"))
    return Departure(OutboxId(1), draft, DepartureState.LEASED, 1, NOW, NOW)


def client_of(url: str, *, timeout_s: float = 5.0, token_url: str | None = None, body: int = 100_000) -> MesSpace:
    """A client with Anne's account."""
    settings = DestinationSettings(
        id="mes",
        name="Mon espace santé",
        base_url=url,
        token_url=token_url or f"{url}/token",
        solution_oid="2.999.5.1",
        patient_authority_oid="2.999.7.1",
        timeout_s=timeout_s,
    )
    accounts = {ANNE: MesAccount("client:anne", SecretStr(SECRET))}
    return MesSpace(settings, accounts, SystemClock(), max_body_bytes=body)


@contextlib.asynccontextmanager
async def connected(
    config: SandboxConfig = CONFIG, *, timeout_s: float = 5.0
) -> AsyncIterator[tuple[RunningSpace, MesSpace]]:
    """A sandbox space and a client of it."""
    async with run_space(config) as running:
        client = client_of(running.url, timeout_s=timeout_s)
        try:
            yield running, client
        finally:
            await client.close()


@contextlib.asynccontextmanager
async def serving(handler: web.Application) -> AsyncIterator[str]:
    """Any server; gives its URL."""
    runner = web.AppRunner(handler, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def allowed() -> bool:
    """Permission to send."""
    return True


def stored(running: RunningSpace) -> int:
    """How many measures the space holds."""
    return len(running.space.store.observations)


async def test_delivered_measure_is_found_again() -> None:
    """What was delivered bears the name that reading back gives, and another value is not taken for it."""
    async with connected() as (running, client):
        remote_id = await client.deliver(departure(), still_allowed=allowed)
        assert running.space.store.observations[0].id == remote_id
        assert remote_id == await client.find(departure())
        assert await client.find(departure("71.36")) is None


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.CONSENT, ConsentWithdrawn),
        (Fault.WRONG_PATIENT, AccountMismatch),
        (Fault.OID_CONFLICT, AccountMismatch),
        (Fault.REFUSED, Rejected),
        (Fault.ENTRY_4XX, Rejected),
        (Fault.TOO_MANY, RateLimited),
        (Fault.UNAVAILABLE, TransientError),
        (Fault.HTML, OutcomeUnknown),
        (Fault.REDIRECT, OutcomeUnknown),
        (Fault.LOST_ANSWER, OutcomeUnknown),
        (Fault.HALF_JSON, OutcomeUnknown),
        (Fault.MISSING_ENTRY, OutcomeUnknown),
    ],
)
async def test_every_failure_says_what_to_do(fault: Fault, error: type[GatewayError]) -> None:
    """Each failure becomes its error; only those that may have been applied are OutcomeUnknown."""
    async with connected() as (running, client):
        running.space.faults.arm(fault)
        with pytest.raises(GatewayError) as caught:
            await client.deliver(departure(), still_allowed=allowed)
        assert error is type(caught.value)
        assert not stored(running) or error is OutcomeUnknown


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.HALF_JSON, Fault.MISSING_ENTRY, Fault.HTML, Fault.REDIRECT])
async def test_lost_answer_is_stored_once(fault: Fault) -> None:
    """After a lost answer, reading back before repeating leaves exactly one measure."""
    async with connected() as (running, client):
        running.space.faults.arm(fault)
        with pytest.raises(OutcomeUnknown):
            await client.deliver(departure(), still_allowed=allowed)
        found = await client.find(departure())
        if found is None:
            await client.deliver(departure(), still_allowed=allowed)
        assert (fault.is_applied, 1) == (found is not None, stored(running))


async def test_silence_ends_in_time() -> None:
    """A space that never answers makes the outcome unknown after the timeout."""
    async with connected(timeout_s=0.3) as (running, client):
        running.space.faults.arm(Fault.HANG)
        with pytest.raises(OutcomeUnknown):
            await client.deliver(departure(), still_allowed=allowed)


async def test_refused_token_is_replaced_once() -> None:
    """A 401 in the middle is cured by a new token; a second one stops the account."""
    async with connected() as (running, client):
        await client.deliver(departure(), still_allowed=allowed)
        running.space.expire_tokens()
        await client.deliver(departure(record="2"), still_allowed=allowed)
        assert stored(running) == 2
        running.space.faults.arm(Fault.UNAUTHORIZED, 2)
        with pytest.raises(ReauthNeeded):
            await client.deliver(departure(record="3"), still_allowed=allowed)
        assert stored(running) == 2


async def test_permission_is_asked_before_every_request() -> None:
    """H1: consent is asked for with the token in hand, and again before a resend; without it nothing is sent."""
    asked = 0

    async def once() -> bool:
        nonlocal asked
        asked += 1
        return asked == 1

    async def never() -> bool:
        return False

    async with connected() as (running, client):
        with pytest.raises(ConsentWithdrawn):
            await client.deliver(departure(), still_allowed=never)
        running.space.faults.arm(Fault.UNAUTHORIZED)
        with pytest.raises(ConsentWithdrawn):
            await client.deliver(departure(), still_allowed=once)
        assert (2, 0, []) == (asked, stored(running), running.space.faults.pending())


async def test_permission_is_asked_after_the_token() -> None:
    """H1: a withdrawal while the token is fetched still counts."""
    order: list[str] = []

    async def token(request: web.Request) -> web.Response:
        order.append("token")
        return web.json_response({"access_token": "t", "token_type": "Bearer"})

    async def transaction(request: web.Request) -> web.Response:
        order.append("post")
        return web.Response(status=503)

    async def asked() -> bool:
        order.append("asked")
        return True

    app = web.Application()
    app.router.add_post("/token", token)
    app.router.add_post("/fhir", transaction)
    async with serving(app) as url:
        client = client_of(url)
        with pytest.raises(TransientError):
            await client.deliver(departure(), still_allowed=asked)
        await client.close()
    assert ["token", "asked", "post"] == order


@pytest.mark.parametrize("link", ["http://[", "https://[::1/fhir", "//[x]/", "http://h:99999999/"])
async def test_next_link_that_is_no_address(link: str) -> None:
    """A hostile `next` link is a failed search, not a crash."""

    async def token(request: web.Request) -> web.Response:
        return web.json_response({"access_token": "t", "token_type": "Bearer"})

    async def page(request: web.Request) -> web.Response:
        links = [{"relation": "next", "url": link}]
        return web.json_response({"resourceType": "Bundle", "type": "searchset", "link": links})

    app = web.Application()
    app.router.add_post("/token", token)
    app.router.add_get("/fhir/Observation", page)
    async with serving(app) as url:
        client = client_of(url)
        with pytest.raises(TransientError):
            await client.find(departure())
        await client.close()


async def test_token_is_kept_until_it_runs_out() -> None:
    """One token serves many requests, also concurrent ones."""
    async with connected() as (running, client):
        running.space.faults.arm(Fault.UNAVAILABLE, target="token")
        with pytest.raises(TransientError):
            await client.deliver(departure(), still_allowed=allowed)
        await client.deliver(departure(), still_allowed=allowed)
        running.space.faults.arm(Fault.UNAVAILABLE, target="token")
        async with asyncio.TaskGroup() as tasks:
            for record in range(5):
                tasks.create_task(
                    client.deliver(departure(record=str(record)), still_allowed=allowed), name=f"deliver.{record}"
                )
        assert stored(running) == 6


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault.HTML, TransientError), (Fault.TOO_MANY, RateLimited), (Fault.REDIRECT, TransientError)],
)
async def test_token_endpoint_failures_send_nothing(fault: Fault, error: type[GatewayError]) -> None:
    """Whatever goes wrong before a token is had, the measure was certainly not sent."""
    async with connected() as (running, client):
        running.space.faults.arm(fault, target="token", retry_after="5")
        with pytest.raises(GatewayError) as caught:
            await client.deliver(departure(), still_allowed=allowed)
        assert error is type(caught.value)
        assert stored(running) == 0


async def test_closed_account_needs_a_person() -> None:
    """A desynchronised account, and a person without one, are ReauthNeeded."""
    async with connected() as (running, client):
        running.space.change(replace(CONFIG.accounts[0], is_paired=False))
        with pytest.raises(ReauthNeeded):
            await client.deliver(departure(), still_allowed=allowed)
        with pytest.raises(ReauthNeeded):
            await client.deliver(departure(person=PersonId("bruno")), still_allowed=allowed)


async def test_nobody_listens() -> None:
    """A refused connection is transient: nothing was sent."""
    async with serving(web.Application()) as url:
        pass
    client = client_of(url)
    with pytest.raises(TransientError):
        await client.deliver(departure(), still_allowed=allowed)
    with pytest.raises(TransientError):
        await client.find(departure())
    await client.close()


@pytest.mark.parametrize("fault", [Fault.HTML, Fault.HALF_JSON, Fault.LOST_ANSWER, Fault.UNAVAILABLE, Fault.REDIRECT])
async def test_failed_search_is_never_not_there(fault: Fault) -> None:
    """A search that was not answered properly is transient: never "not found"."""
    async with connected() as (running, client):
        await client.deliver(departure(), still_allowed=allowed)
        running.space.faults.arm(fault, 2, target="read")  # the HTTP library repeats a GET once by itself
        with pytest.raises(TransientError):
            await client.find(departure())


async def test_search_reads_every_page() -> None:
    """A match on the last page is found."""
    async with connected() as (running, client):
        remote_id = await client.deliver(departure("70.00", record="first"), still_allowed=allowed)
        first = running.space.store.observations[0]
        for mass_kg in range(71, 175):
            heavier = Quantity(value=Decimal(mass_kg), unit="kg", system="http://unitsofmeasure.org", code="kg")
            other = first.model_copy(update={"valueQuantity": heavier})
            running.space.store.apply(other, None, source="urn:oid:2.999.5.1", at=NOW)
        newest = running.space.store.observations[-1]
        assert remote_id == await client.find(departure("70.00"))
        assert newest.id == await client.find(departure("174.00"))


async def test_token_stays_on_its_host() -> None:
    """G13, G14: neither a redirect nor a `next` link takes the token to another host."""
    seen: list[str | None] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({})

    other = web.Application()
    other.router.add_route("*", "/{tail:.*}", elsewhere)

    async def token(request: web.Request) -> web.Response:
        return web.json_response({"access_token": "t", "token_type": "bearer"})

    async with serving(other) as other_url:

        async def moved(request: web.Request) -> web.Response:
            raise web.HTTPTemporaryRedirect(f"{other_url}/fhir")

        async def page(request: web.Request) -> web.Response:
            link = [{"relation": "next", "url": f"{other_url}/fhir/Observation?_offset=1"}]
            return web.json_response({"resourceType": "Bundle", "type": "searchset", "link": link, "entry": []})

        app = web.Application()
        app.router.add_post("/token", token)
        app.router.add_post("/fhir", moved)
        app.router.add_get("/fhir/Observation", page)
        async with serving(app) as url:
            client = client_of(url)
            with pytest.raises(OutcomeUnknown):
                await client.deliver(departure(), still_allowed=allowed)
            with pytest.raises(TransientError):
                await client.find(departure())
            await client.close()
    assert seen == []


async def test_endless_pages_and_huge_answers_are_bounded() -> None:
    """P6: neither a search that never ends nor an answer that is too large is followed to the end."""
    pages = 0

    async def token(request: web.Request) -> web.Response:
        return web.json_response({"access_token": "t", "token_type": "Bearer", "expires_in": 60})

    async def page(request: web.Request) -> web.Response:
        nonlocal pages
        pages += 1
        link = [{"relation": "next", "url": "Observation?more=1"}]
        return web.json_response({"resourceType": "Bundle", "type": "searchset", "link": link})

    async def huge(request: web.Request) -> web.Response:
        return web.Response(body=b"[" * 200_000, content_type="application/json")

    app = web.Application()
    app.router.add_post("/token", token)
    app.router.add_get("/fhir/Observation", page)
    app.router.add_post("/fhir", huge)
    async with serving(app) as url:
        client = client_of(url)
        with pytest.raises(OutcomeUnknown):
            await client.find(departure())
        with pytest.raises(OutcomeUnknown):
            await client.deliver(departure(), still_allowed=allowed)
        await client.close()
    assert pages == 20


async def test_foreign_entries_do_not_hide_ours() -> None:
    """A measure of another origin that we cannot read does not stop ours from being found."""
    async with connected() as (running, client):
        remote_id = await client.deliver(departure(), still_allowed=allowed)
        ours = running.space.store.observations[0]

        async def token(request: web.Request) -> web.Response:
            return web.json_response({"access_token": "t", "token_type": "Bearer"})

        async def page(request: web.Request) -> web.Response:
            resource = ours.model_dump(mode="json", exclude_none=True)
            resource["valueQuantity"]["value"] = 71.35
            resource["somethingNew"] = {"a": [1]}
            entries = [{"resource": {"resourceType": "Observation", "status": 7}}, {}, {"resource": resource}]
            return web.json_response({"resourceType": "Bundle", "type": "searchset", "entry": entries})

        app = web.Application()
        app.router.add_post("/token", token)
        app.router.add_get("/fhir/Observation", page)
        async with serving(app) as url:
            other = client_of(url)
            assert remote_id == await other.find(departure())
            await other.close()


@pytest.mark.parametrize(
    ("url", "is_same"),
    [
        ("https://mes.example/fhir?x=1", True),
        ("http://mes.example/fhir", False),
        ("https://mes.example:8443/fhir", False),
        ("https://mes.example@evil.example/fhir", False),
        ("https://user@mes.example/fhir", False),
        ("//evil.example/fhir", False),
        ("https://[", False),
    ],
)
def test_same_origin(url: str, is_same: bool) -> None:
    """Scheme, host and port must be the configured ones."""
    assert is_same == same_origin(url, "https://mes.example/fhir")


def test_secrets_come_from_private_files(tmp_path: Path) -> None:
    """An account's secret is read from its file, which nobody else may read; it never shows in a repr."""
    path = tmp_path / "secret"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    settings = DestinationSettings(
        id="mes",
        name="MES",
        base_url="https://mes.example",
        token_url="https://mes.example/token",
        solution_oid="2.999.5.1",
        patient_authority_oid="2.999.7.1",
        accounts=(AccountSettings(person="anne", patient_id="p", client_id="c", client_secret_file=path),),
    )
    accounts = accounts_of(settings)
    assert accounts[ANNE].client_secret.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(accounts)
    path.chmod(0o644)
    with pytest.raises(ConfigurationError):
        accounts_of(settings)
