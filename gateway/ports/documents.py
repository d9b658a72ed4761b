"""What sources send beside readings and may ask back: treatments, states of devices. Kept, never interpreted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.model import DeviceId, PersonId

__all__ = ["Documents", "KeptDocument"]


@dataclass(frozen=True, slots=True)
class KeptDocument:
    """One document.

    Attributes:
        person_id: whose it is: the owner of the device when it came.
        device_id: under which device it came.
        collection: `treatments`, `devicestatus`...
        identifier: its name, unique within the person's collection, 1-128 printable ASCII characters.
        content: a JSON object, as it came.
        dated_at: what it speaks of; the reception where it does not say. Aware, UTC.
        received_at: when it first came, aware, UTC.
        modified_at: when this content came or it was withdrawn, aware, UTC.
        is_deleted: its source took it back.
    """

    person_id: PersonId
    device_id: DeviceId
    collection: str
    identifier: str
    content: str
    dated_at: datetime
    received_at: datetime
    modified_at: datetime
    is_deleted: bool = False


class Documents(Protocol):
    """The documents, each person's by itself."""

    async def keep(self, documents: Sequence[KeptDocument], *, most: int) -> tuple[bool, ...]:
        """Durable when it returns; says of each whether its name is new.

        The same content again changes nothing; another content replaces it, and brings back what was deleted. Of each
        person and collection the `most` that changed last are kept. Raises PermanentError: a person is not known.
        """
        ...

    async def document(self, person_id: PersonId, collection: str, identifier: str) -> KeptDocument | None:
        """The one of that name, deleted or not."""
        ...

    async def documents(
        self,
        person_id: PersonId,
        collection: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        newest_first: bool = True,
        limit: int = 100,
        skip: int = 0,
    ) -> list[KeptDocument]:
        """Those not deleted with start <= dated_at < end, by `dated_at`."""
        ...

    async def changed_documents(
        self, person_id: PersonId, collection: str, *, after: datetime, limit: int
    ) -> list[KeptDocument]:
        """Those modified after that instant, deleted ones too, by `modified_at`.

        More than `limit` where several changed at the same instant as the last: whoever goes on from there misses none.
        """
        ...

    async def withdraw_document(self, person_id: PersonId, collection: str, identifier: str, at: datetime) -> bool:
        """Mark it deleted; False: there is none of that name, or it was deleted before."""
        ...

    async def last_changes(self, person_id: PersonId) -> dict[str, datetime]:
        """The latest `modified_at` of each collection that has documents."""
        ...

    async def purge_documents(self, before: datetime) -> int:
        """Delete what is dated and was last modified before that instant; returns how many."""
        ...
