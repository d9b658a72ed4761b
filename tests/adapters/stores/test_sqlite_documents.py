"""Documents and access tokens in the embedded store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlite_store_kit import ADA, BOB, METER, NOW, household, open_store

from gateway.errors import PermanentError
from gateway.model import DeviceId, PersonId
from gateway.ports import AccessToken, KeptDocument, Rights

TREATMENTS = "treatments"


def document(number: int = 1, person: PersonId = ADA, *, content: str = "{}", changed: int = 0) -> KeptDocument:
    """A document dated `number` minutes after NOW, modified `changed` seconds after it."""
    return KeptDocument(
        person_id=person,
        device_id=METER,
        collection=TREATMENTS,
        identifier=f"d{number}",
        content=content,
        dated_at=NOW + timedelta(minutes=number),
        received_at=NOW,
        modified_at=NOW + timedelta(seconds=changed),
    )


async def test_a_document_is_kept_once(tmp_path: Path) -> None:
    """The same again changes nothing; another content replaces it and keeps the first reception."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        keep = store.documents.keep
        assert (True, True) == await keep([document(1), document(2)], most=10)
        assert (False,) == await keep([document(1, changed=5)], most=10)
        assert document(1) == await store.documents.document(ADA, TREATMENTS, "d1")
        changed = document(1, content='{"a":1}', changed=9)
        assert (False,) == await keep([changed], most=10)
        assert changed == await store.documents.document(ADA, TREATMENTS, "d1")
        assert await store.documents.document(BOB, TREATMENTS, "d1") is None
        assert {TREATMENTS: changed.modified_at} == await store.documents.last_changes(ADA)
        assert {} == await store.documents.last_changes(BOB)


async def test_a_deleted_document_is_told_as_a_change_only(tmp_path: Path) -> None:
    """It leaves the searches and stays in the history; sent again with another content it is back."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        await store.documents.keep([document(n) for n in range(1, 4)], most=10)
        later = NOW + timedelta(seconds=30)
        assert await store.documents.withdraw_document(ADA, TREATMENTS, "d2", later)
        assert not await store.documents.withdraw_document(ADA, TREATMENTS, "d2", later)
        assert not await store.documents.withdraw_document(BOB, TREATMENTS, "d1", later)
        assert ["d3", "d1"] == [each.identifier for each in await store.documents.documents(ADA, TREATMENTS)]
        gone = await store.documents.changed_documents(ADA, TREATMENTS, after=NOW, limit=5)
        assert [replace(document(2), modified_at=later, is_deleted=True)] == gone
        await store.documents.keep([document(2, content='{"b":2}', changed=60)], most=10)
        assert 3 == len(await store.documents.documents(ADA, TREATMENTS))


async def test_documents_are_found_by_time_and_change(tmp_path: Path) -> None:
    """Half-open interval, both orders, pages; what changed at the same instant comes together."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        await store.documents.keep([document(n, changed=n // 4) for n in range(8)], most=100)

        async def names(**question: object) -> str:
            found = await store.documents.documents(ADA, TREATMENTS, **question)  # type: ignore[arg-type]
            return "".join(each.identifier[1:] for each in found)

        assert "76543210" == await names()
        assert "234" == await names(
            start=NOW + timedelta(minutes=2), end=NOW + timedelta(minutes=5), newest_first=False
        )
        assert "54" == await names(limit=2, skip=2)
        changed = await store.documents.changed_documents(ADA, TREATMENTS, after=NOW - timedelta(1), limit=2)
        assert ["d0", "d1", "d2", "d3"] == [each.identifier for each in changed]
        rest = await store.documents.changed_documents(ADA, TREATMENTS, after=changed[-1].modified_at, limit=2)
        assert ["d4", "d5", "d6", "d7"] == [each.identifier for each in rest]


async def test_the_oldest_changes_go_above_the_bound(tmp_path: Path) -> None:
    """Of each person and collection, the ones that changed last stay."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        await store.documents.keep([document(1, BOB)], most=3)
        await store.documents.keep([document(n, changed=n) for n in range(6)], most=3)
        kept = await store.documents.documents(ADA, TREATMENTS, newest_first=False)
        assert ["d3", "d4", "d5"] == [each.identifier for each in kept]
        assert 1 == len(await store.documents.documents(BOB, TREATMENTS))
        assert 1 == await store.documents.purge_documents(NOW + timedelta(minutes=2))
        with pytest.raises(PermanentError):
            await store.documents.keep([document(9), document(9, PersonId("nobody"))], most=3)
        assert await store.documents.document(ADA, TREATMENTS, "d9") is None


def token(name: str = "t1", person: PersonId = ADA, device: DeviceId = METER) -> AccessToken:
    """A token made at NOW."""
    return AccessToken(name, person, device, "a phone", Rights.BOTH, NOW)


async def test_a_token_is_found_by_its_digests_while_it_is_valid(tmp_path: Path) -> None:
    """By either digest, of the right kind; no more once it is revoked or its device has another owner."""
    async with open_store(tmp_path) as store:
        people, devices = household()
        await store.registry.declare(people, devices)
        await store.access.add(token(), secret_digest=b"s" * 32, token_digest=b"t" * 32)
        opened = store.access.opened_by
        assert token() == await opened(secrets=[b"x" * 32, b"s" * 32])
        assert token() == await opened(tokens=[b"t" * 32])
        assert await opened(secrets=[b"t" * 32], tokens=[b"s" * 32]) is None
        assert token() == await store.access.valid("t1")
        await store.access.used("t1", NOW + timedelta(hours=1))
        await store.access.used("t1", NOW)
        assert [replace(token(), last_used_at=NOW + timedelta(hours=1))] == await store.access.tokens()
        await store.registry.declare([], [replace(devices[0], person_id=BOB)])
        assert await opened(tokens=[b"t" * 32]) is None
        assert await store.access.valid("t1") is None
        await store.registry.declare([], devices)
        assert await store.access.revoke("t1", NOW)
        assert not await store.access.revoke("t1", NOW)
        assert await opened(tokens=[b"t" * 32]) is None
        assert [NOW] == [each.revoked_at for each in await store.access.tokens()]


@pytest.mark.parametrize("wrong", [token(device=DeviceId("unknown")), token(person=BOB), token(person=PersonId("x"))])
async def test_a_token_is_for_a_device_of_its_person(tmp_path: Path, wrong: AccessToken) -> None:
    """An unknown device, another person's device, an unknown person: nothing is kept."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(*household())
        with pytest.raises(PermanentError):
            await store.access.add(wrong, secret_digest=b"s", token_digest=b"t")
        assert [] == await store.access.tokens()
        await store.access.add(token(), secret_digest=b"s", token_digest=b"t")
        with pytest.raises(PermanentError):
            await store.access.add(token(), secret_digest=b"u", token_digest=b"v")
