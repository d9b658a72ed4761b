"""The third version of Nightscout's interface: collections of documents, each with an identifier.

`entries` are readings, the other collections are documents that are kept as they come. Nothing is ever erased: what a
client deletes is told as `isValid: false` from then on, and its earlier versions stay in the store.

Sources: cgm-remote-monitor `lib/api3` (swagger.yaml, const.json, generic/*, specific/*), AndroidAPS `core/nssdk` for
what a client makes of the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote

from aiohttp import hdrs, web

from gateway import __version__
from gateway.adapters.sources.nightscout.answers import (
    EPOCH,
    Refusal,
    answer,
    http_date,
    is_unchanged,
    milliseconds,
    result,
)
from gateway.adapters.sources.nightscout.papers import COLLECTIONS
from gateway.adapters.sources.nightscout.site import SITE, VERSION
from gateway.devices.nightscout import (
    MOST_V3,
    EntryQuery,
    ParsedEntry,
    entry_v3_of,
    is_entry,
    parse_entries,
    parse_v3_query,
)
from gateway.devices.passerelle_fields import Refused
from gateway.model import Absent, StoredReading
from gateway.ports import AccessToken, KeptDocument

__all__ = ["add_v3"]

_NAME: Final = r"{name:[^/]{1,128}}"
_CHANNEL: Final = "nightscout/v3"
_API: Final = "3.0.4"
_FIRST_MS: Final = 946_684_800_000
_MOST_OFFSET_MIN: Final = 1440
_FIXED: Final = ("date", "utcOffset", "eventType", "device", "app")
_SERVER_FIELDS: Final = frozenset({"srvCreated", "srvModified", "subject", "modifiedBy"})


def add_v3(app: web.Application) -> None:
    """Add the routes."""
    router = app.router
    router.add_get("/api/v3/version", _version)
    router.add_get("/api/v3/status", _status)
    router.add_get("/api/v3/lastModified", _last_modified)
    router.add_get("/api/v3/entries", _search_entries)
    router.add_post("/api/v3/entries", _create_entry)
    router.add_get("/api/v3/entries/history", _history_of_entries)
    router.add_get(r"/api/v3/entries/history/{since:[^/]{1,64}}", _history_of_entries)
    router.add_get("/api/v3/entries/" + _NAME, _read_entry)
    router.add_put("/api/v3/entries/" + _NAME, _update_entry)
    router.add_patch("/api/v3/entries/" + _NAME, _patch_entry)
    router.add_delete("/api/v3/entries/" + _NAME, _delete_entry)
    any_collection = f"/api/v3/{{collection:{'|'.join(COLLECTIONS)}}}"
    router.add_get(any_collection, _search)
    router.add_post(any_collection, _create)
    router.add_get(any_collection + "/history", _history)
    router.add_get(any_collection + r"/history/{since:[^/]{1,64}}", _history)
    router.add_get(any_collection + "/" + _NAME, _read)
    router.add_put(any_collection + "/" + _NAME, _update)
    router.add_patch(any_collection + "/" + _NAME, _patch)
    router.add_delete(any_collection + "/" + _NAME, _delete)


def _about(request: web.Request) -> dict[str, object]:
    return {
        "version": VERSION,
        "apiVersion": _API,
        "srvDate": milliseconds(request.app[SITE].now()),
        "storage": {"storage": "passerelle", "version": __version__},
    }


async def _version(request: web.Request) -> web.Response:
    return await result(_about(request))


async def _status(request: web.Request) -> web.Response:
    token = await request.app[SITE].visitors.visitor(request)
    if token is None:
        raise Refusal(401, "Missing or bad access token or JWT")
    rights = ("c" if token.rights.may_write else "") + ("r" if token.rights.may_read else "")
    rights += "ud" if token.rights.may_write else ""
    return await result(_about(request) | {"apiPermissions": dict.fromkeys(("entries", *COLLECTIONS), rights)})


async def _last_modified(request: web.Request) -> web.Response:
    site = request.app[SITE]
    token = await site.visitors.reader(request)
    collections = {name: milliseconds(at) for name, at in (await site.papers.last_changes(token.person_id)).items()}
    if (at := await site.book.last_change(token.person_id)) is not None:
        collections["entries"] = milliseconds(at)
    return await result({"srvDate": milliseconds(site.now()), "collections": collections})


def _query(request: web.Request) -> EntryQuery:
    try:
        return parse_v3_query(list(request.query.items()))
    except Refused as error:
        raise Refusal(400, str(error)) from error


def _since(request: web.Request) -> datetime:
    """From the address (after it) or from the header `Last-Modified` (from its second on)."""
    text = request.match_info.get("since")
    try:
        if text is None:
            at = parsedate_to_datetime(request.headers[hdrs.LAST_MODIFIED])
            at = (at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)) - timedelta(microseconds=1)
        elif text.isascii() and text.isdecimal():
            at = EPOCH + timedelta(milliseconds=int(text) + 1) - timedelta(microseconds=1)
        else:
            at = datetime.fromisoformat(text)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        return max(at, EPOCH)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise Refusal(400, "Bad or missing Last-Modified header/parameter") from None


async def _told(query: EntryQuery, found: list[dict[str, object]]) -> web.Response:
    """The changes of a history, with the mark from which the next one goes on."""
    if not found:
        return await result([])
    last_ms = max(ms for each in found if isinstance(ms := each.get("srvModified"), int))
    at = EPOCH + timedelta(milliseconds=last_ms)
    headers: dict[str, str] = {hdrs.LAST_MODIFIED: http_date(at), hdrs.ETAG: f'W/"{last_ms}"'}
    return await result([query.told(each) for each in found], headers=headers)


def _location(request: web.Request, collection: str, name: str) -> str:
    return f"/api/v3/{collection}/{quote(name, safe='')}"


async def _kept(
    request: web.Request, collection: str, name: str, at: datetime, *, is_new: bool, is_create: bool
) -> web.Response:
    said: dict[str, object] = {"status": 201 if is_new else 200, "lastModified": milliseconds(at)}
    headers: dict[str, str] = {hdrs.LAST_MODIFIED: http_date(at)}
    if is_new or is_create:
        said["identifier"] = name
        headers[hdrs.LOCATION] = _location(request, collection, name)
    if is_create and not is_new:
        said["isDeduplication"] = True
    return await answer(said, status=201 if is_new else 200, headers=headers)


def _one(document: object) -> dict[str, object]:
    if type(document) is not dict or not document:
        raise Refusal(400, "Bad or missing request body")
    return document


def _must_be_valid(document: Mapping[str, object], *, is_patch: bool = False) -> None:
    """The fields that every document of v3 has. `utcOffset` may be missing: it is not believed anyway."""
    date, app, offset = document.get("date"), document.get("app"), document.get("utcOffset")
    if not (is_patch and date is None) and not (type(date) is Decimal and date > _FIRST_MS):
        raise Refusal(400, "Bad or missing date field")
    if not (is_patch and app is None) and not (type(app) is str and app.strip()):
        raise Refusal(400, "Bad or missing app field")
    if offset is not None and not (type(offset) is Decimal and -_MOST_OFFSET_MIN <= offset <= _MOST_OFFSET_MIN):
        raise Refusal(400, "Bad or missing utcOffset field")


def _may_not_change(document: Mapping[str, object], stored: Mapping[str, object], fields: tuple[str, ...]) -> None:
    for name in fields:
        if document.get(name) is not None and name in stored and document[name] != stored[name]:
            raise Refusal(400, f"Field {name} cannot be modified by the client")


def _refuse_erasure(request: web.Request) -> None:
    if request.query.get("permanent") == "true":
        raise Refusal(403, "Nothing is erased here; delete without permanent=true")


def _unmodified(request: web.Request, modified_at: datetime) -> None:
    if hdrs.IF_UNMODIFIED_SINCE in request.headers and not is_unchanged(request, modified_at, hdrs.IF_UNMODIFIED_SINCE):
        raise Refusal(412, "Precondition failed")


# --- entries: readings


async def _search_entries(request: web.Request) -> web.Response:
    site = request.app[SITE]
    token = await site.visitors.reader(request)
    return await result(await site.book.search(token.person_id, _query(request), is_v3=True))


async def _history_of_entries(request: web.Request) -> web.Response:
    site = request.app[SITE]
    token = await site.visitors.reader(request)
    query = _query_of_history(request)
    return await _told(query, await site.book.changed(token.person_id, _since(request), query.limit))


def _query_of_history(request: web.Request) -> EntryQuery:
    """Only `limit` and `fields` mean something there."""
    try:
        return parse_v3_query([(name, value) for name, value in request.query.items() if name in ("limit", "fields")])
    except Refused as error:
        raise Refusal(400, str(error)) from error


async def _read_entry(request: web.Request) -> web.Response:
    site = request.app[SITE]
    token = await site.visitors.reader(request)
    stored = await _entry(request, token)
    modified_at = stored.reading.received_at
    headers: dict[str, str] = {hdrs.LAST_MODIFIED: http_date(modified_at)}
    if is_unchanged(request, modified_at):
        return web.Response(status=304, headers=headers)
    fields = replace(_query_of_history(request), limit=MOST_V3)
    return await result(fields.told(entry_v3_of(stored)), headers=headers)


async def _entry(request: web.Request, token: AccessToken, *, is_gone_found: bool = False) -> StoredReading:
    """The reading that the address names. Raises Refusal: 404, 410."""
    stored = await request.app[SITE].book.named(token.person_id, request.match_info["name"], first=token.device_id)
    if stored is None:
        raise Refusal(404, "Not found")
    if stored.reading.absent is Absent.WITHDRAWN:
        if not is_gone_found:
            raise Refusal(410, "Gone")
    elif not is_entry(stored.reading):
        raise Refusal(404, "Not found")
    return stored


async def _create_entry(request: web.Request) -> web.Response:
    upload = await request.app[SITE].upload(request, f"{_CHANNEL}/entries")
    document = _one(upload.document)
    _must_be_valid(document)
    return await _store_entry(request, upload.token, document, is_create=True)


async def _update_entry(request: web.Request) -> web.Response:
    site = request.app[SITE]
    upload = await site.upload(request, f"{_CHANNEL}/entries")
    document = _one(upload.document) | {"identifier": request.match_info["name"]}
    _must_be_valid(document)
    stored = await site.book.named(upload.token.person_id, request.match_info["name"], first=upload.token.device_id)
    if stored is not None:
        _must_be_ours(upload.token, stored)
        if stored.reading.absent is Absent.WITHDRAWN:
            raise Refusal(410, "Gone")
        _unmodified(request, stored.reading.received_at)
        _may_not_change(document, entry_v3_of(stored), ("date",))
    return await _store_entry(request, upload.token, document, is_create=False)


async def _patch_entry(request: web.Request) -> web.Response:
    site = request.app[SITE]
    upload = await site.upload(request, f"{_CHANNEL}/entries")
    patch = _one(upload.document)
    _must_be_valid(patch, is_patch=True)
    stored = await _entry(request, upload.token)
    _must_be_ours(upload.token, stored)
    _unmodified(request, stored.reading.received_at)
    told = {
        name: Decimal(value) if type(value) is int else value
        for name, value in entry_v3_of(stored).items()
        if name not in _SERVER_FIELDS
    }
    _may_not_change(patch, told, ("date",))
    return await _store_entry(
        request, upload.token, told | patch | {"identifier": request.match_info["name"]}, is_create=False
    )


async def _store_entry(
    request: web.Request, token: AccessToken, document: dict[str, object], *, is_create: bool
) -> web.Response:
    site = request.app[SITE]
    (entry,) = parse_entries(document)
    receipt = await site.uploads.store(token, [entry], f"{_CHANNEL}/entries")
    _must_be_kept(entry)
    if receipt.quarantined or not (receipt.added or receipt.corrected or receipt.known):
        raise Refusal(400, "Outside what glucose can be")
    name = entry.identifier or ""
    stored = await site.book.named(token.person_id, name, first=token.device_id)
    at = site.now() if stored is None else stored.reading.received_at
    return await _kept(request, "entries", name, at, is_new=receipt.added > 0, is_create=is_create)


def _must_be_kept(entry: ParsedEntry) -> None:
    if entry.is_ignored:
        raise Refusal(400, "Calibrations are not kept")
    if entry.problem is not None:
        raise Refusal(400, entry.problem.detail.partition(": ")[2] or "Bad or missing request body")


def _must_be_ours(token: AccessToken, stored: StoredReading) -> None:
    if stored.reading.device_id != token.device_id:
        raise Refusal(422, "Trying to modify read-only document")


async def _delete_entry(request: web.Request) -> web.Response:
    site = request.app[SITE]
    token = site.visitors.writer(request, await site.visitors.visitor(request))
    _refuse_erasure(request)
    stored = await _entry(request, token, is_gone_found=True)
    _must_be_ours(token, stored)
    if stored.reading.absent is not Absent.WITHDRAWN:
        await site.uploads.withdraw(token, stored, f"{_CHANNEL}/entries")
    return await answer({"status": 200})


# --- the other collections: documents


async def _search(request: web.Request) -> web.Response:
    site = request.app[SITE]
    token = await site.visitors.reader(request)
    query = _query(request)
    return await result(await site.papers.search(token.person_id, request.match_info["collection"], query, is_v3=True))


async def _history(request: web.Request) -> web.Response:
    site = request.app[SITE]
    token = await site.visitors.reader(request)
    query = _query_of_history(request)
    found = await site.papers.changed(token.person_id, request.match_info["collection"], _since(request), query.limit)
    return await _told(query, [site.papers.v3(each) for each in found])


async def _read(request: web.Request) -> web.Response:
    site = request.app[SITE]
    token = await site.visitors.reader(request)
    kept = await _document(request, token)
    headers: dict[str, str] = {hdrs.LAST_MODIFIED: http_date(kept.modified_at)}
    if is_unchanged(request, kept.modified_at):
        return web.Response(status=304, headers=headers)
    return await result(_query_of_history(request).told(site.papers.v3(kept)), headers=headers)


async def _document(request: web.Request, token: AccessToken, *, is_gone_found: bool = False) -> KeptDocument:
    """The document that the address names. Raises Refusal: 404, 410."""
    collection, name = request.match_info["collection"], request.match_info["name"]
    kept = await request.app[SITE].papers.named(token.person_id, collection, name)
    if kept is None:
        raise Refusal(404, "Not found")
    if kept.is_deleted and not is_gone_found:
        raise Refusal(410, "Gone")
    return kept


async def _create(request: web.Request) -> web.Response:
    collection = request.match_info["collection"]
    upload = await request.app[SITE].upload(request, f"{_CHANNEL}/{collection}")
    document = _one(upload.document)
    _must_be_valid(document)
    return await _store(request, upload.token, document, name=None, is_create=True)


async def _update(request: web.Request) -> web.Response:
    site = request.app[SITE]
    collection, name = request.match_info["collection"], request.match_info["name"]
    upload = await site.upload(request, f"{_CHANNEL}/{collection}")
    document = _one(upload.document)
    _must_be_valid(document)
    stored = await site.papers.named(upload.token.person_id, collection, name)
    if stored is not None:
        if stored.is_deleted:
            raise Refusal(410, "Gone")
        _unmodified(request, stored.modified_at)
        _may_not_change(document, site.papers.v3(stored), _FIXED)
    return await _store(request, upload.token, document, name=name, is_create=False)


async def _patch(request: web.Request) -> web.Response:
    site = request.app[SITE]
    collection, name = request.match_info["collection"], request.match_info["name"]
    upload = await site.upload(request, f"{_CHANNEL}/{collection}")
    patch = _one(upload.document)
    _must_be_valid(patch, is_patch=True)
    stored = await _document(request, upload.token)
    _unmodified(request, stored.modified_at)
    told = {key: value for key, value in site.papers.v3(stored).items() if key not in _SERVER_FIELDS}
    _may_not_change(patch, told, _FIXED)
    return await _store(request, upload.token, told | patch, name=name, is_create=False)


async def _store(
    request: web.Request, token: AccessToken, document: dict[str, object], *, name: str | None, is_create: bool
) -> web.Response:
    site = request.app[SITE]
    collection = request.match_info["collection"]
    (kept,) = await site.papers.keep(token, collection, [document], name=name)
    if kept.identifier is None:
        raise Refusal(413, f"A document holds {site.settings.max_document_bytes} bytes at most")
    stored = await site.papers.named(token.person_id, collection, kept.identifier)
    at = site.now() if stored is None else stored.modified_at
    return await _kept(request, collection, kept.identifier, at, is_new=kept.is_new, is_create=is_create)


async def _delete(request: web.Request) -> web.Response:
    site = request.app[SITE]
    token = site.visitors.writer(request, await site.visitors.visitor(request))
    _refuse_erasure(request)
    kept = await _document(request, token, is_gone_found=True)
    await site.papers.withdraw(token.person_id, kept.collection, kept.identifier)
    return await answer({"status": 200})
