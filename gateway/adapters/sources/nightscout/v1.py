"""The first version of Nightscout's interface, and what belongs to no version.

Sources: cgm-remote-monitor `lib/api/` (entries, status, verifyauth, experiments, treatments, devicestatus, profile,
food, activity), `lib/authorization/endpoints.js`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from aiohttp import hdrs, web

from gateway import __version__
from gateway.adapters.sources.nightscout.answers import (
    EPOCH,
    Refusal,
    answer,
    beside,
    http_date,
    is_unchanged,
    milliseconds,
)
from gateway.adapters.sources.nightscout.papers import names_in
from gateway.adapters.sources.nightscout.site import SITE, VERSION
from gateway.devices.nightscout import (
    EntryQuery,
    ParsedEntry,
    entry_of,
    is_entry,
    object_id,
    parse_entries,
    parse_query,
)
from gateway.devices.passerelle_fields import Refused
from gateway.model import Absent
from gateway.ports import AccessToken

__all__ = ["add_v1"]

_JSON: Final = r"{ext:(?:\.json)?/?}"
_ANY: Final = r"{ext:(?:\.(?:json|tsv|txt|csv))?/?}"
_CHANNEL: Final = "nightscout/v1"
_KEPT: Final = ("treatments", "devicestatus", "profile")
_ECHOED: Final = ("activity", "food")
_MOST_NAMES: Final = 100
_MOST_ENTRIES: Final = 20_000
_MOST_DOCUMENTS: Final = 5_000
_USUAL: Final = {"treatments": 1000, "devicestatus": 10, "profile": 10}
_TSV_FIELDS: Final = ("dateString", "date", "sgv", "direction", "device")
_VERSIONS: Final = [
    {"version": "1.0.0", "url": "/api/v1"},
    {"version": "2.0.0", "url": "/api/v2"},
    {"version": "3.0.4", "url": "/api/v3"},
]


def add_v1(app: web.Application) -> None:
    """Add the routes."""
    router = app.router
    for versions in ("/api/versions", "/api/v1/versions"):
        router.add_get(versions + _JSON, _versions)
    router.add_get("/api/v1/status" + _ANY, _status)
    router.add_get("/api/v1/verifyauth" + _JSON, _verify)
    router.add_get("/api/v1/experiments/test" + _JSON, _test)
    router.add_get(r"/api/v2/authorization/request/{token:[^/]{1,256}}", _session)
    router.add_post("/api/v1/entries" + _JSON, _post_entries)
    router.add_get("/api/v1/entries" + _ANY, _get_entries)
    router.add_delete("/api/v1/entries" + _JSON, _delete_entries)
    router.add_get(r"/api/v1/entries/{spec:[^/]{1,128}}", _get_spec)
    router.add_delete(r"/api/v1/entries/{spec:[^/]{1,128}}", _delete_spec)
    for collection in _KEPT:
        path = f"/api/v1/{{collection:{collection}}}"
        router.add_get(path + _JSON, _get_documents)
        router.add_post(path + _JSON, _keep_documents)
        router.add_put(path + _JSON, _keep_documents)
        router.add_delete(path + _JSON, _delete_documents)
        router.add_delete(path + r"/{name:[^/]{1,128}}", _delete_document)
    router.add_get("/api/v1/profile/current" + _JSON, _current_profile)
    for collection in _ECHOED:
        router.add_get(f"/api/v1/{collection}" + _JSON, _nothing)
        router.add_post(f"/api/v1/{collection}" + _JSON, _echo)
        router.add_put(f"/api/v1/{collection}" + _JSON, _echo)


async def _versions(_request: web.Request) -> web.Response:
    return await answer(_VERSIONS)


async def _status(request: web.Request) -> web.Response:
    """Open to everybody: it says that we are here, and nothing of anybody."""
    site = request.app[SITE]
    token = await site.visitors.visitor(request)
    if request.match_info["ext"].startswith((".txt", ".tsv", ".csv")):
        return web.Response(text="STATUS OK")
    now = site.now()
    return await answer(
        {
            "status": "ok",
            "name": "Passerelle",
            "version": VERSION,
            "passerelle": __version__,
            "serverTime": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "serverTimeEpoch": milliseconds(now),
            "apiEnabled": True,
            "careportalEnabled": True,
            "boluscalcEnabled": False,
            "settings": {
                "units": site.units_of(token),
                "timeFormat": 24,
                "theme": "default",
                "enable": ["careportal"],
                "thresholds": {"bgHigh": 250, "bgTargetTop": 180, "bgTargetBottom": 70, "bgLow": 54},
            },
            "extendedSettings": {},
            "authorized": None,
            "runtimeState": "loaded",
        }
    )


async def _verify(request: web.Request) -> web.Response:
    token = await request.app[SITE].visitors.visitor(request)
    message = {
        "canRead": token is not None and token.rights.may_read,
        "canWrite": token is not None and token.rights.may_write,
        "isAdmin": False,
        "message": "UNAUTHORIZED" if token is None else "OK",
        "rolefound": "NOTFOUND" if token is None else "FOUND",
        "permissions": "DEFAULT" if token is None else "ROLE",
    }
    return await answer({"status": 200, "message": message})


async def _test(request: web.Request) -> web.Response:
    """Whether a secret is right; apps that upload ask this before they do."""
    if await request.app[SITE].visitors.visitor(request) is None:
        raise Refusal(401, "Unauthorized", "Invalid/Missing")
    return await answer({"status": "ok"})


async def _session(request: web.Request) -> web.Response:
    site = request.app[SITE]
    token = await site.visitors.by_access_token(request, request.match_info["token"])
    if token is None:
        raise Refusal(401, "Unauthorized", "Invalid/Missing")
    session = site.sessions.issue(token.token_id)
    granted = [f"api:*:{right}" for right in _rights(token)]
    return await answer(
        {
            "token": session.text,
            "sub": token.label,
            "permissionGroups": [granted],
            "iat": session.issued_at_s,
            "exp": session.expires_at_s,
        }
    )


def _rights(token: AccessToken) -> Sequence[str]:
    return [
        *(["read"] if token.rights.may_read else []),
        *(["create", "update", "delete"] if token.rights.may_write else []),
    ]


async def _post_entries(request: web.Request) -> web.Response:
    site = request.app[SITE]
    token, document = await site.upload(request, f"{_CHANNEL}/entries")
    if type(document) not in (dict, list):
        raise Refusal(400, "Bad or missing request body", "neither an object nor an array")
    items = site.bounded(document if type(document) is list else [document] if document else [], _MOST_ENTRIES)
    entries = await beside(lambda: parse_entries(items), len(items))
    await site.uploads.store(token, entries, f"{_CHANNEL}/entries")
    stored = await beside(lambda: [_stored(entry) for entry in entries if entry.document], len(entries))
    return await answer(stored)


def _stored(entry: ParsedEntry) -> dict[str, object]:
    """The entry as it came, with its name; what was set aside comes back without one: a client that was told of it
    could only repeat it for ever."""
    if entry.record is None or entry.record.time is None:
        return entry.document
    at = entry.record.time
    names: dict[str, object] = {"_id": object_id(entry.record.record_key, at)}
    if "sysTime" not in entry.document:
        names["sysTime"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return entry.document | names


def _query(request: web.Request) -> EntryQuery:
    try:
        return parse_query(list(request.query.items()))
    except Refused as error:
        raise Refusal(400, "Bad query", str(error)) from error


async def _get_entries(request: web.Request) -> web.Response:
    site = request.app[SITE]
    token = await site.visitors.reader(request)
    query = _query(request)
    if names := list(names_in(query))[:_MOST_NAMES]:  # without looking through everything
        found = [await site.book.named(token.person_id, name, first=token.device_id) for name in names]
        told = [entry_of(each) for each in found if each is not None and is_entry(each.reading)]
        return await _entries(request, query.answer({str(each["_id"]): each for each in told}.values()))
    return await _entries(request, await site.book.search(token.person_id, query))


async def _get_spec(request: web.Request) -> web.Response:
    """`current`, a type of entry, or one entry by its name."""
    site = request.app[SITE]
    token = await site.visitors.reader(request)
    spec = request.match_info["spec"].removesuffix(".json")
    if spec == "current":
        return await _entries(request, await site.book.newest(token.person_id))
    if spec in ("sgv", "mbg", "cal"):
        try:
            query = parse_query(
                [*((k, v) for k, v in request.query.items() if k != "find[type]"), ("find[type]", spec)]
            )
        except Refused as error:
            raise Refusal(400, "Bad query", str(error)) from error
        return await _entries(request, await site.book.search(token.person_id, query))
    stored = await site.book.named(token.person_id, spec, first=token.device_id)
    return await _entries(request, [entry_of(stored)] if stored is not None and is_entry(stored.reading) else [])


async def _entries(request: web.Request, entries: list[dict[str, object]]) -> web.Response:
    headers: dict[str, str] = {}
    newest = max((date for entry in entries if isinstance(date := entry.get("date"), int)), default=None)
    if newest is not None:
        at = EPOCH + timedelta(milliseconds=newest)
        headers[hdrs.LAST_MODIFIED] = http_date(at)
        if is_unchanged(request, at):
            return web.Response(status=304, headers=headers)
    extension = request.match_info.get("ext", "") or request.match_info.get("spec", "")
    accepted = request.headers.get(hdrs.ACCEPT, "")
    if extension.rstrip("/").endswith(".json") or "json" in accepted:
        return await answer(entries, headers=headers)
    lines = ["\t".join(_cell(entry.get(name)) for name in _TSV_FIELDS) + "\n" for entry in entries]
    return web.Response(text="".join(lines), content_type="text/plain", headers=headers)


def _cell(value: object) -> str:
    return f'"{value}"'.replace("\t", " ") if isinstance(value, str) else "" if value is None else str(value)


async def _delete_entries(request: web.Request) -> web.Response:
    """Only what is named: a question may match more than its author thinks."""
    names = list(names_in(_query(request)))
    if not names:
        raise Refusal(403, "Forbidden", "entries are deleted by find[_id] or find[identifier] only")
    return await _withdraw(request, names)


async def _delete_spec(request: web.Request) -> web.Response:
    return await _withdraw(request, [request.match_info["spec"].removesuffix(".json")])


async def _withdraw(request: web.Request, names: Sequence[str]) -> web.Response:
    site = request.app[SITE]
    token = site.visitors.writer(request, await site.visitors.visitor(request))
    count = 0
    for name in names:
        stored = await site.book.named(token.person_id, name, first=token.device_id)
        if stored is None or stored.reading.absent is Absent.WITHDRAWN:
            continue
        if stored.reading.device_id != token.device_id:
            raise Refusal(403, "Forbidden", "this entry came from another device; its own source may take it back")
        await site.uploads.withdraw(token, stored, f"{_CHANNEL}/entries")
        count += 1
    return await answer({"n": count, "ok": 1, "deletedCount": count})


async def _get_documents(request: web.Request) -> web.Response:
    site = request.app[SITE]
    token = await site.visitors.reader(request)
    collection = request.match_info["collection"]
    query = _query(request)
    if not request.query.get("count"):
        query = replace(query, limit=_USUAL[collection])
    return await answer(await site.papers.search(token.person_id, collection, query))


async def _current_profile(request: web.Request) -> web.Response:
    site = request.app[SITE]
    token = await site.visitors.reader(request)
    found = await site.papers.search(token.person_id, "profile", EntryQuery(limit=1))
    return await answer(found[0] if found else {})


async def _keep_documents(request: web.Request) -> web.Response:
    site = request.app[SITE]
    collection = request.match_info["collection"]
    token, document = await site.upload(request, f"{_CHANNEL}/{collection}")
    items = site.bounded(document if type(document) is list else [document], _MOST_DOCUMENTS)
    documents = [item for item in items if type(item) is dict and item]
    if len(documents) != len(items):
        raise Refusal(400, "Bad or missing request body", "neither an object nor an array of objects")
    kept = await site.papers.keep(token, collection, documents)
    if len(kept) == 1 and kept[0].identifier is None:
        raise Refusal(413, "Document too large", f"a document holds {site.settings.max_document_bytes} bytes at most")
    told = [each.document for each in kept]
    return await answer(told[0] if request.method == "PUT" and type(document) is dict else told)


async def _delete_documents(request: web.Request) -> web.Response:
    names = list(names_in(_query(request)))
    if not names:
        raise Refusal(403, "Forbidden", "documents are deleted by find[_id] or find[identifier] only")
    return await _remove(request, names)


async def _delete_document(request: web.Request) -> web.Response:
    return await _remove(request, [request.match_info["name"].removesuffix(".json")])


async def _remove(request: web.Request, names: Sequence[str]) -> web.Response:
    site = request.app[SITE]
    token = site.visitors.writer(request, await site.visitors.visitor(request))
    collection = request.match_info["collection"]
    removed = [await site.papers.withdraw(token.person_id, collection, name) for name in names]
    return await answer({"n": sum(removed), "ok": 1, "deletedCount": sum(removed)})


async def _nothing(request: web.Request) -> web.Response:
    await request.app[SITE].visitors.reader(request)
    return await answer([])


async def _echo(request: web.Request) -> web.Response:
    """Said back and not kept, so that the client goes on."""
    _, document = await request.app[SITE].upload(request, _CHANNEL)
    return await answer(document if type(document) is list else [document])
