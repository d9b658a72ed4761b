"""Who is let in, by which ways, and to what: one person and one device per token."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import structlog
from aiohttp import web
from nightscout_kit import (
    ADA,
    ADA_PHONE,
    BOB,
    BOB_PHONE,
    NOON,
    PEOPLE,
    SECRETS,
    TOKENS,
    Desk,
    add_token,
    bearer,
    entry,
    header,
    ms,
    site,
)

from gateway.adapters.sources.nightscout.credentials import new_secret, new_token
from gateway.adapters.sources.nightscout.sessions import session_key
from gateway.adapters.sources.nightscout.v1 import add_v1
from gateway.adapters.sources.nightscout.v3 import add_v3
from gateway.errors import PermanentError
from gateway.model import Device, DeviceKind
from gateway.ports import Rights

SHA1 = hashlib.sha1(SECRETS[ADA].encode(), usedforsecurity=False).hexdigest()
READING = [
    "/api/v1/entries",
    "/api/v1/entries.json",
    "/api/v1/entries.tsv",
    "/api/v1/entries/sgv.json",
    "/api/v1/entries/mbg.json",
    "/api/v1/entries/current.json",
    "/api/v1/entries/{old}.json",
    "/api/v1/treatments.json",
    "/api/v1/devicestatus.json",
    "/api/v1/profile.json",
    "/api/v1/profile/current",
    "/api/v1/activity.json",
    "/api/v1/food.json",
    "/api/v3/lastModified",
    "/api/v3/entries",
    "/api/v3/entries/history/0",
    "/api/v3/entries/{new}",
    "/api/v3/treatments",
    "/api/v3/treatments/history/0",
    "/api/v3/treatments/{document}",
    "/api/v3/devicestatus",
    "/api/v3/profile",
    "/api/v3/food",
    "/api/v3/settings",
]
WRITING = [
    ("POST", "/api/v1/entries"),
    ("DELETE", "/api/v1/entries/{old}"),
    ("DELETE", "/api/v1/entries.json?find[_id]={old}"),
    ("POST", "/api/v1/treatments"),
    ("PUT", "/api/v1/treatments"),
    ("DELETE", "/api/v1/treatments/{document}"),
    ("DELETE", "/api/v1/treatments?find[_id]={document}"),
    ("POST", "/api/v1/activity"),
    ("POST", "/api/v3/entries"),
    ("PUT", "/api/v3/entries/{new}"),
    ("PATCH", "/api/v3/entries/{new}"),
    ("DELETE", "/api/v3/entries/{new}"),
    ("POST", "/api/v3/treatments"),
    ("PUT", "/api/v3/treatments/{document}"),
    ("PATCH", "/api/v3/treatments/{document}"),
    ("DELETE", "/api/v3/treatments/{document}"),
]
OPEN = {
    "/api/versions",
    "/api/v1/versions",
    "/api/v1/status",
    "/api/v1/verifyauth",
    "/api/v1/experiments/test",
    "/api/v2/authorization/request/",
    "/api/v3/version",
    "/api/v3/status",
}


@pytest.mark.parametrize(
    "request_of",
    [
        {"headers": {"api-secret": SHA1}},
        {"headers": {"API-SECRET": SHA1.upper()}},
        {"headers": {"api-secret": SECRETS[ADA]}},
        {"headers": {"api-secret": f"token={TOKENS[ADA]}"}},
        {"headers": {"Authorization": f"Bearer {TOKENS[ADA]}"}},
        {"params": {"secret": SHA1}},
        {"params": {"secret": SECRETS[ADA]}},
        {"params": {"token": TOKENS[ADA]}},
    ],
    ids=["header", "upper case", "plain", "token in header", "token as bearer", "query", "plain query", "token query"],
)
async def test_every_way_in(tmp_path: Path, request_of: dict[str, Any]) -> None:
    """Each way that clients use opens reading and writing in both versions."""
    async with site(tmp_path) as desk:
        assert 200 == (await desk.ask("GET", "/api/v1/experiments/test", who=None, **request_of))[0]
        assert 200 == (await desk.ask("POST", "/api/v1/entries", who=None, json=[entry()], **request_of))[0]
        status, said = await desk.ask("GET", "/api/v3/entries", who=None, **request_of)
        assert (200, [104]) == (status, [each["sgv"] for each in said["result"]])
        assert [ADA] == [each.person_id for each in await desk.readings()]


@pytest.mark.parametrize("body", [{"secret": SHA1}, {"secret": SECRETS[ADA]}, {"token": TOKENS[ADA]}])
async def test_a_secret_in_the_body_is_a_way_in_and_is_not_kept(tmp_path: Path, body: dict[str, str]) -> None:
    """In the object, or in the first one of an array; what is stored does not hold it."""
    async with site(tmp_path) as desk:
        assert 200 == (await desk.ask("POST", "/api/v1/entries", who=None, json=[entry(5) | body, entry(10)]))[0]
        assert 200 == (await desk.ask("POST", "/api/v1/treatments", who=None, json={"notes": "x"} | body))[0]
        assert 2 == len(await desk.readings())
        assert _is_nowhere(desk, *body.values())


def _is_nowhere(desk: Desk, *texts: str) -> bool:
    found = b"".join(path.read_bytes() for path in (desk.folder / "state").iterdir() if path.is_file())
    return not any(text.encode() in found for text in texts)


async def test_a_session_is_a_way_in(tmp_path: Path) -> None:
    """A JWT for the token, good for eight hours by the gateway's clock, in v1 as well as in v3."""
    async with site(tmp_path) as desk:
        status, said = await desk.ask("GET", f"/api/v2/authorization/request/{TOKENS[ADA]}", who=None)
        assert (200, 8 * 3600, 2) == (status, said["exp"] - said["iat"], said["token"].count("."))
        assert ["api:*:read", "api:*:create", "api:*:update", "api:*:delete"] == said["permissionGroups"][0]
        session = {"Authorization": f"Bearer {said['token']}"}
        for path in ("/api/v3/entries", "/api/v1/entries.json"):
            assert 200 == (await desk.ask("GET", path, who=None, headers=session))[0]
        assert 200 == (await desk.ask("GET", "/api/v3/entries", who=None, params={"token": said["token"]}))[0]
        desk.clock.at += timedelta(hours=8)
        assert 401 == (await desk.ask("GET", "/api/v3/entries", who=None, headers=session))[0]
        assert 401 == (await desk.ask("GET", "/api/v2/authorization/request/ada-0000", who=None))[0]


async def test_a_session_outlives_a_new_start(tmp_path: Path) -> None:
    """The key of the sessions is a file of its own, for its owner only."""
    async with site(tmp_path) as desk:
        session = await bearer(desk)
    key = tmp_path / "state" / "nightscout-sessions.key"
    assert (32, 0o600) == (len(key.read_bytes()), key.stat().st_mode & 0o777)
    async with site(tmp_path) as desk:
        assert 200 == (await desk.ask("GET", "/api/v3/entries", who=None, headers=session))[0]
    key.write_bytes(b"torn")
    assert 32 == len(session_key(key))
    async with site(tmp_path) as desk:
        assert 401 == (await desk.ask("GET", "/api/v3/entries", who=None, headers=session))[0]


def _part(claims: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


async def test_a_forged_session_is_refused(tmp_path: Path) -> None:
    """Without a signature, with another key's, with another algorithm, or with changed claims."""
    claims = {"sub": ADA, "iat": ms(NOON) // 1000, "exp": ms(NOON) // 1000 + 3600}
    async with site(tmp_path) as desk:
        genuine = (await bearer(desk, BOB))["Authorization"].removeprefix("Bearer ").split(".")
        forged = [
            f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(claims)}.",
            jwt.encode(claims, b"k" * 32, algorithm="HS256"),
            jwt.encode(claims, b"k" * 64, algorithm="HS512"),
            f"{genuine[0]}.{_part(claims)}.{genuine[2]}",
            "a.b.c",
            "..",
        ]
        for text in forged:
            status, said = await desk.ask(
                "GET", "/api/v3/entries", who=None, headers={"Authorization": f"Bearer {text}"}
            )
            assert (401, "Missing or bad access token or JWT") == (status, said["message"])


async def _filled(desk: Desk) -> dict[str, str]:
    """Entries and a document of Ada's; their names."""
    _, old = await desk.ask("POST", "/api/v1/entries", json=[entry(5, 104)])
    _, new = await desk.ask("POST", "/api/v3/entries", json=entry(10, 105, app="AAPS", identifier="uuid-of-ada"))
    _, document = await desk.ask("POST", "/api/v1/treatments", json={"notes": "of ada", "eventType": "Note"})
    await desk.ask("POST", "/api/v1/devicestatus", json={"device": "phone of ada"})
    await desk.ask("POST", "/api/v1/profile", json={"defaultProfile": "of ada"})
    for collection in ("food", "settings"):
        await desk.ask("POST", f"/api/v3/{collection}", json={"date": ms(NOON), "app": "of ada"})
    return {"old": old[0]["_id"], "new": new["identifier"], "document": document[0]["_id"]}


@pytest.mark.parametrize("path", READING)
async def test_nobody_reads_what_is_another_persons(tmp_path: Path, path: str) -> None:
    """Without a token 401; with another person's nothing of Ada's, not even that it exists."""
    async with site(tmp_path) as desk:
        names = await _filled(desk)
        path = path.format(**names)
        assert 401 == (await desk.ask("GET", path, who=None))[0]
        status, mine = await desk.ask("GET", path)
        assert 200 == status
        status, theirs = await desk.ask("GET", path, who=BOB)
        emptied = {"status": 200, "result": []} if path.startswith("/api/v3") else []
        if status == 404:
            return
        if path.endswith("lastModified"):
            assert {} == theirs["result"]["collections"]
        elif path.endswith("current"):
            assert {} == theirs
        else:
            assert (200, emptied if isinstance(mine, dict | list) else "") == (status, theirs)


@pytest.mark.parametrize(("method", "path"), WRITING)
async def test_nobody_changes_what_is_another_persons(tmp_path: Path, method: str, path: str) -> None:
    """Without a token 401, with a token for reading 403, with another person's token nothing of Ada's changes."""
    async with site(tmp_path) as desk:
        await add_token(
            desk.store, ADA, name="reader", secret="reading-only", token="r-1", rights=Rights.READ, device=ADA_PHONE
        )
        names = await _filled(desk)
        path = path.format(**names)
        body = {} if method == "DELETE" else {"json": entry(3, 99, app="x", _id=names["document"])}
        assert 401 == (await desk.ask(method, path, who=None, **body))[0]
        reader = {"api-secret": "reading-only"}
        assert 403 == (await desk.ask(method, path, who=None, headers=reader, **body))[0]
        before = [await desk.ask("GET", each.format(**names)) for each in READING]
        await desk.ask(method, path, who=BOB, **body)
        after = [await desk.ask("GET", each.format(**names)) for each in READING]
        assert _without_clock(before) == _without_clock(after)
        assert 2 == len(await desk.readings(ADA))


def _without_clock(answers: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    for _, said in answers:
        if isinstance(said, dict) and isinstance(said.get("result"), dict):
            said["result"].pop("srvDate", None)
    return answers


async def test_every_route_is_tried_above(tmp_path: Path) -> None:
    """A route that is added must be put among those whose doors are tried, or among the few that are open."""
    app = web.Application()
    add_v1(app)
    add_v3(app)
    tried = {("GET", path) for path in READING} | set(WRITING)
    example = {"old": "0" * 24, "new": "x", "document": "y"}
    unmatched = []
    for resource in app.router.resources():
        for route in resource:
            if route.method == "HEAD" or any(resource.canonical.startswith(path) for path in OPEN):
                continue
            collections = ("food", "settings", "profile", "devicestatus", "activity")
            names = {path.format(**example).partition("?")[0] for method, path in tried if method == route.method}
            names |= {name.replace("treatments", other) for name in names for other in collections}
            pattern = resource.get_info().get("pattern")
            matched = [n for n in names if (pattern.fullmatch(n) if pattern else n == resource.canonical)]
            if not matched and "history" not in resource.canonical:
                unmatched.append((route.method, resource.canonical))
    assert [] == unmatched


async def test_a_token_for_uploading_reads_nothing(tmp_path: Path) -> None:
    """Rights are what they say."""
    async with site(tmp_path) as desk:
        await add_token(
            desk.store, ADA, name="writer", secret="writing-only", token="w-1", rights=Rights.WRITE, device=ADA_PHONE
        )
        writer = {"api-secret": "writing-only"}
        assert 200 == (await desk.ask("POST", "/api/v1/entries", who=None, headers=writer, json=[entry()]))[0]
        assert 403 == (await desk.ask("GET", "/api/v1/entries.json", who=None, headers=writer))[0]
        _, said = await desk.ask("GET", "/api/v1/verifyauth", who=None, headers=writer)
        assert (False, True) == (said["message"]["canRead"], said["message"]["canWrite"])
        _, said = await desk.ask("GET", "/api/v3/status", who=None, headers=writer)
        assert {"cud"} == set(said["result"]["apiPermissions"].values())


async def test_a_revoked_token_opens_nothing_at_once(tmp_path: Path) -> None:
    """Neither its secret nor its token nor a session that was given for it; others are untouched."""
    async with site(tmp_path) as desk:
        session = await bearer(desk)
        assert await desk.store.access.revoke(ADA, NOON)
        assert not await desk.store.access.revoke(ADA, NOON)
        for ways in ({"headers": header(ADA)}, {"params": {"token": TOKENS[ADA]}}, {"headers": session}):
            assert 401 == (await desk.ask("GET", "/api/v1/entries.json", who=None, **ways))[0]
        assert 401 == (await desk.ask("GET", f"/api/v2/authorization/request/{TOKENS[ADA]}", who=None))[0]
        assert 200 == (await desk.ask("GET", "/api/v1/entries.json", who=BOB))[0]


async def test_a_device_that_changed_hands_opens_nothing(tmp_path: Path) -> None:
    """The token was for one person: it does not follow the device to another one, nor do the documents."""
    async with site(tmp_path) as desk:
        await desk.ask("POST", "/api/v1/treatments", json={"notes": "of ada"})
        await desk.store.registry.declare([], [Device(ADA_PHONE, DeviceKind.CGM, "Phone", BOB)])
        assert 401 == (await desk.ask("GET", "/api/v1/treatments"))[0]
        assert (200, []) == await desk.ask("GET", "/api/v1/treatments", who=BOB)
        with pytest.raises(PermanentError):
            await add_token(desk.store, ADA, name="x", secret="s", token="t", rights=Rights.BOTH, device=ADA_PHONE)


async def test_secrets_are_nowhere(tmp_path: Path) -> None:
    """Neither the secret nor what is sent for it nor the token is in a file of the store or in a log line."""
    with structlog.testing.capture_logs() as lines:
        async with site(tmp_path) as desk:
            await desk.ask("POST", "/api/v1/entries", json=[entry()])
            await desk.ask("GET", f"/api/v1/entries.json?token={TOKENS[ADA]}&secret={SHA1}", who=None)
            await desk.ask("GET", f"/api/v1/entries.json?token={TOKENS[ADA]}x", who=None)
            await bearer(desk)
            await desk.ask("POST", "/api/v1/entries?secret=wrong-secret", who=None, json=[entry()])
            assert _is_nowhere(desk, SECRETS[ADA], SHA1, TOKENS[ADA], "wrong-secret")
    said = repr(lines)
    assert not any(text in said for text in (SECRETS[ADA], SHA1, TOKENS[ADA], "wrong-secret", "104"))
    assert 1 == said.count("nightscout.secret_wrong")


async def test_who_guesses_waits_and_who_knows_does_not(tmp_path: Path) -> None:
    """Wrong secrets are answered later and later; the right one at once, from the same address too."""
    async with site(tmp_path) as desk:
        loop = asyncio.get_running_loop()
        waits = []
        for number in range(5):
            began = loop.time()
            path = "/api/v1/experiments/test"
            assert 401 == (await desk.ask("GET", path, who=None, headers={"api-secret": f"guess-{number}"}))[0]
            waits.append(loop.time() - began)
        assert [True] * 5 == [wait >= 0.05 * 2**n for n, wait in enumerate(waits)]
        assert 200 == (await desk.ask("GET", "/api/v1/experiments/test"))[0]
        assert 5 == desk.listener.reports().wrong_secrets


async def test_many_who_guess_at_once_are_told_to_wait(tmp_path: Path) -> None:
    """Only so many answers are held back at once: further ones are 429, and the right secret is served meanwhile."""
    async with site(tmp_path, connections=200) as desk:
        guess = {"api-secret": "a guess"}
        guesses = [desk.ask("GET", "/api/v1/experiments/test", who=None, headers=guess) for _ in range(60)]
        tasks = [asyncio.create_task(each) for each in guesses]
        assert 200 == (await desk.ask("GET", "/api/v1/experiments/test"))[0]
        done = await asyncio.gather(*tasks)
        assert {401, 429} == {status for status, _ in done}


async def test_the_last_use_is_noted(tmp_path: Path) -> None:
    """To within ten minutes, so that a token nobody uses can be found and revoked."""
    async with site(tmp_path) as desk:
        await desk.ask("GET", "/api/v1/entries.json")
        first = {token.token_id: token.last_used_at for token in await desk.store.access.tokens()}
        assert (True, None) == (first[ADA] is not None, first[BOB])
        await desk.ask("GET", "/api/v1/entries.json")
        desk.clock.at += timedelta(minutes=11)
        await desk.ask("GET", "/api/v1/entries.json")
        second = {token.token_id: token.last_used_at for token in await desk.store.access.tokens()}
        before, after = first[ADA], second[ADA]
        assert before is not None
        assert after is not None
        assert after - before >= timedelta(minutes=11)


def test_secrets_are_long_and_tokens_have_nightscouts_form() -> None:
    """28 letters and digits that fit into an address; `name-16hex`."""
    secret = new_secret()
    assert (28, True) == (len(secret), secret.isalnum())
    assert new_secret() != secret
    name, _, rest = new_token("xDrip on Zoë's old phone").rpartition("-")
    assert ("xdriponzos", 16) == (name, len(rest))
    assert new_token("…").startswith("gateway-")


def test_the_people_of_the_kit_have_their_own_devices() -> None:
    """The tests above mean something: two people, two devices."""
    assert {ADA, BOB} == set(PEOPLE)
    assert ADA_PHONE != BOB_PHONE
