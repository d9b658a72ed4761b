"""Treatments, states of devices, profiles: kept as they come, for those who ask them back. Nothing of them becomes a
reading: a finger-stick that an app sends as an entry and again as a treatment `BG Check` is one reading.

A document without a name is named by what Nightscout itself tells it apart by (its time and kind), else by its content.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from gateway.adapters.sources.nightscout.answers import EPOCH, compact, milliseconds
from gateway.adapters.sources.nightscout.uploads import Counters
from gateway.devices.nightscout import EntryQuery
from gateway.devices.passerelle_fields import strict_json
from gateway.model import PersonId
from gateway.ports import AccessToken, Clock, Documents, KeptDocument
from gateway.settings_nightscout import NightscoutSettings

__all__ = ["COLLECTIONS", "Kept", "Papers", "names_in"]

COLLECTIONS: Final = ("treatments", "devicestatus", "profile", "food", "settings")
_PAGE: Final = 100
_AT_ONCE: Final = 200
_MOST_TOLD: Final = 8_388_608
"""Characters of documents in one answer; what follows is left for the next question."""
_MOST_READ: Final = 5_000
_LONGEST_NAME: Final = 128
_LONGEST_NUMBER: Final = 128
"""Of what we wrote ourselves: `123e30` is longer as `1.23E+32`."""
_BY_TIME: Final = frozenset({"date", "created_at", "mills", "timestamp"})
_TIMES: Final = ("created_at", "date", "mills", "timestamp", "startDate", "dateString")
_KIND: Final[Mapping[str, str]] = {"treatments": "eventType", "devicestatus": "device"}
_OWN_FIELDS: Final = frozenset({"srvCreated", "srvModified", "subject"})


class Kept(NamedTuple):
    """One document after an upload: its name, the document for the answer, and whether the name was new.

    `identifier` None: it was too long and is not kept.
    """

    identifier: str | None
    document: dict[str, object]
    is_new: bool


class Papers:
    """The documents of the people, in Nightscout's shapes."""

    def __init__(self, documents: Documents, clock: Clock, settings: NightscoutSettings, counters: Counters) -> None:
        self._documents = documents
        self._clock = clock
        self._settings = settings
        self._counters = counters

    async def keep(
        self, token: AccessToken, collection: str, documents: Sequence[dict[str, object]], *, name: str | None = None
    ) -> list[Kept]:
        """Durable when it returns; in order. `name` is the name of the only one."""
        kept: list[Kept] = []
        for start in range(0, len(documents), _AT_ONCE):
            if start:
                await asyncio.sleep(0)  # the others' turn
            kept += await self._keep(token, collection, documents[start : start + _AT_ONCE], name)
        return kept

    async def _keep(
        self, token: AccessToken, collection: str, documents: Sequence[dict[str, object]], name: str | None
    ) -> list[Kept]:
        now = self._clock.now()
        drafts: list[KeptDocument | None] = []
        for document in documents:
            content = compact({key: value for key, value in document.items() if key not in _OWN_FIELDS})
            if len(content) > self._settings.max_document_bytes:
                self._counters.documents_refused += 1
                drafts.append(None)
                continue
            at = _dated_at(document)
            drafts.append(
                KeptDocument(
                    person_id=token.person_id,
                    device_id=token.device_id,
                    collection=collection,
                    identifier=name or _name_of(collection, document, content, at or now),
                    content=content,
                    dated_at=at or now,
                    received_at=now,
                    modified_at=now,
                )
            )
        kept = [draft for draft in drafts if draft is not None]
        are_new = iter(await self._documents.keep(kept, most=self._settings.documents_per_kind))
        self._counters.documents += len(kept)
        return [
            Kept(None, dict(document), False) if draft is None else Kept(draft.identifier, _v1(draft), next(are_new))
            for draft, document in zip(drafts, documents, strict=True)
        ]

    async def search(
        self, person_id: PersonId, collection: str, query: EntryQuery, *, is_v3: bool = False
    ) -> list[dict[str, object]]:
        """The answer to a question; of what is not asked for by time, the newest `_MOST_READ` are looked at."""
        start, end = _window(query)
        is_by_time = query.order in _BY_TIME
        tell = _v3 if is_v3 else _v1
        found: list[dict[str, object]] = []
        skip = size = 0
        while skip < self._settings.documents_per_kind:
            page = await self._documents.documents(
                person_id,
                collection,
                start=start,
                end=end,
                newest_first=query.is_descending or not is_by_time,
                limit=_PAGE,
                skip=skip,
            )
            for kept in page:
                if query.accepts(document := tell(kept)):
                    found.append(document)
                    size += len(kept.content)
            skip += _PAGE
            is_enough = size >= _MOST_TOLD or (is_by_time and len(found) >= query.skip + query.limit)
            if len(page) < _PAGE or is_enough or (not is_by_time and skip >= _MOST_READ):
                break
        if is_by_time:  # the store's order, which knows the time of those too that say it in another field
            return [query.told(document) for document in found[query.skip : query.skip + query.limit]]
        return query.answer(found)

    async def named(self, person_id: PersonId, collection: str, name: str) -> KeptDocument | None:
        """The one of that name, deleted or not."""
        return await self._documents.document(person_id, collection, name)

    async def changed(self, person_id: PersonId, collection: str, after: datetime, limit: int) -> list[KeptDocument]:
        """What was modified after that instant, in that order, what was deleted too.

        Where it is too much for one answer it ends between two instants of change, so that nothing is missed.
        """
        told: list[KeptDocument] = []
        size = 0
        for each in await self._documents.changed_documents(person_id, collection, after=after, limit=limit):
            if size >= _MOST_TOLD and told[-1].modified_at != each.modified_at:
                break
            told.append(each)
            size += len(each.content)
        return told

    async def withdraw(self, person_id: PersonId, collection: str, name: str) -> bool:
        """Mark it deleted; False: there was nothing to delete."""
        return await self._documents.withdraw_document(person_id, collection, name, self._clock.now())

    async def last_changes(self, person_id: PersonId) -> dict[str, datetime]:
        """By collection."""
        return await self._documents.last_changes(person_id)

    async def purge(self) -> int:
        """Delete what is older than the configuration says."""
        return await self._documents.purge_documents(self._clock.now() - timedelta(days=self._settings.document_days))

    @staticmethod
    def v3(document: KeptDocument) -> dict[str, object]:
        """Its v3 form."""
        return _v3(document)


def _content(kept: KeptDocument) -> dict[str, object]:
    content = strict_json(kept.content.encode(), longest_number=_LONGEST_NUMBER)
    return content if type(content) is dict else {}


def _v1(kept: KeptDocument) -> dict[str, object]:
    content = _content(kept)
    content.setdefault("created_at", _iso(kept.dated_at))
    return content | {"_id": kept.identifier}


def _v3(kept: KeptDocument) -> dict[str, object]:
    content = _content(kept)
    content.pop("_id", None)
    content.setdefault("date", milliseconds(kept.dated_at))
    content.setdefault("created_at", _iso(kept.dated_at))
    said = {
        "identifier": kept.identifier,
        "srvCreated": milliseconds(kept.received_at),
        "srvModified": milliseconds(kept.modified_at),
    }
    return content | said | ({"isValid": False} if kept.is_deleted else {})


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _name_of(collection: str, document: Mapping[str, object], content: str, at: datetime) -> str:
    for field in ("identifier", "_id"):
        given = document.get(field)
        if type(given) is str and 0 < len(given) <= _LONGEST_NAME and given.isascii() and given.isprintable():
            return given
    told = [document.get(field) for field in ("created_at", "date", _KIND.get(collection, "created_at"))]
    parts = told if any(each is not None for each in told[:2]) and told[2] is not None else [content, milliseconds(at)]
    digest = hashlib.sha256(compact([collection, *parts]).encode()).hexdigest()
    return f"{milliseconds(at) // 1000 & 0xFFFFFFFF:08x}{digest[:16]}"


def _dated_at(document: Mapping[str, object]) -> datetime | None:
    for field in _TIMES:
        value = document.get(field)
        try:
            if type(value) is Decimal and 10**11 <= value < 10**13:
                return EPOCH + timedelta(milliseconds=int(value))
            if type(value) is str and 8 <= len(value) <= 40:
                at = datetime.fromisoformat(value)
                return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return None


def _window(query: EntryQuery) -> tuple[datetime | None, datetime | None]:
    """Between what instants the answers lie, by their conditions on the fields that date a document."""
    lows: list[datetime] = []
    highs: list[datetime] = []
    for condition in query.conditions:
        if condition.field not in {"created_at", "date"} or not condition.values:
            continue
        value = condition.values[0]
        if type(value) is not Decimal or not 0 <= value < 10**14:
            continue
        at = EPOCH + timedelta(milliseconds=int(value))
        if condition.operator in {"gt", "gte", "eq"}:
            lows.append(at)
        if condition.operator in {"lt", "lte", "eq"}:
            highs.append(at + timedelta(milliseconds=1))
    return max(lows, default=None), min(highs, default=None)


def names_in(query: EntryQuery) -> Iterable[str]:
    """The names that a question asks for by `_id` or `identifier`, if it asks for nothing else."""
    for condition in query.conditions:
        if condition.field not in {"_id", "identifier"} or condition.operator not in {"eq", "in"}:
            return ()
    return [str(value) for condition in query.conditions for value in condition.values]
