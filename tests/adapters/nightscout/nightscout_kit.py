"""What the tests of the listener for phone apps share: a real store, a real socket, two people with a token each."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp

from gateway.adapters.sources.nightscout import NightscoutIntake, NightscoutStores
from gateway.adapters.sources.nightscout.credentials import secret_digest, secret_header, token_digest
from gateway.adapters.stores.sqlite import SqliteStore
from gateway.changes import Changes
from gateway.errors import StoreUnavailable
from gateway.intake import StoreIntake
from gateway.model import (
    Batch,
    Checkpoint,
    CommitReceipt,
    Device,
    DeviceId,
    DeviceKind,
    Metric,
    Person,
    PersonId,
    StoredReading,
    Unit,
)
from gateway.ports import AccessToken, DeviceSighting, Intake, Rights
from gateway.settings_nightscout import NightscoutSettings

__all__ = [
    "ADA",
    "ADA_PHONE",
    "BOB",
    "BOB_PHONE",
    "NOON",
    "PEOPLE",
    "SECRETS",
    "TOKENS",
    "Desk",
    "Gate",
    "RunningClock",
    "add_token",
    "bearer",
    "entry",
    "header",
    "ms",
    "site",
]

ADA, BOB = PersonId("ada"), PersonId("bob")
ADA_PHONE, BOB_PHONE = DeviceId("ada-phone"), DeviceId("bob-phone")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRETS = {ADA: "a-secret-of-ada-23456789", BOB: "a-secret-of-bob-23456789"}
TOKENS = {ADA: "ada-0123456789abcdef", BOB: "bob-fedcba9876543210"}
PEOPLE = {
    ADA: Person(ADA, "Ada", ZoneInfo("Europe/Paris")),
    BOB: Person(BOB, "Bob", ZoneInfo("Europe/Paris"), Unit.MMOL_L),
}


class RunningClock:
    """A clock that goes a millisecond further with every look at it, and as far as the test says."""

    def __init__(self) -> None:
        self.at = NOON
        self.seconds = 1000.0
        self.is_trusted = True

    def now(self) -> datetime:
        self.at += timedelta(milliseconds=1)
        return self.at

    def monotonic(self) -> float:
        self.seconds += 0.001
        return self.seconds


class Gate:
    """The intake, which a test can shut: nothing is then durable."""

    def __init__(self, inner: Intake) -> None:
        self._inner = inner
        self.is_away = False
        self.batches: list[Batch] = []

    async def submit(self, batch: Batch) -> CommitReceipt:
        if self.is_away:
            raise StoreUnavailable("away")
        self.batches.append(batch)
        return await self._inner.submit(batch)

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        return await self._inner.checkpoint(device_id, name)

    async def sighted(self, sighting: DeviceSighting) -> None:
        await self._inner.sighted(sighting)


@dataclass
class Desk:
    """A listener, its store, and a client."""

    store: SqliteStore
    listener: NightscoutIntake
    client: aiohttp.ClientSession
    clock: RunningClock
    gate: Gate
    folder: Path
    answers: list[int] = field(default_factory=list)

    async def ask(self, method: str, path: str, *, who: PersonId | None = ADA, **more: Any) -> tuple[int, Any]:
        """Status and JSON (or text) of one request, with the person's `api-secret` header."""
        headers = dict(more.pop("headers", {}))
        if who is not None:
            headers |= header(who)
        async with self.client.request(method, self.listener.url + path, headers=headers, **more) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json" and text
            return answer.status, json.loads(text) if is_json else text

    async def head(self, method: str, path: str, *, who: PersonId | None = ADA, **more: Any) -> tuple[int, Any]:
        """Status and headers."""
        headers = dict(more.pop("headers", {})) | (header(who) if who is not None else {})
        async with self.client.request(method, self.listener.url + path, headers=headers, **more) as answer:
            return answer.status, answer.headers

    async def readings(self, person: PersonId | None = None) -> list[StoredReading]:
        """What the store has."""
        return await self.store.readings.readings(
            person_id=person, metrics=(Metric.GLUCOSE_INTERSTITIAL, Metric.GLUCOSE_CAPILLARY)
        )


def header(who: PersonId) -> dict[str, str]:
    """What a phone app sends."""
    return {"api-secret": hashlib.sha1(SECRETS[who].encode(), usedforsecurity=False).hexdigest()}


async def bearer(desk: Desk, who: PersonId = ADA) -> dict[str, str]:
    """A session of the third version."""
    status, said = await desk.ask("GET", f"/api/v2/authorization/request/{TOKENS[who]}", who=None)
    assert 200 == status
    return {"Authorization": f"Bearer {said['token']}"}


def ms(at: datetime) -> int:
    """Epoch milliseconds."""
    return int(at.timestamp() * 1000)


def entry(minutes_ago: float = 5, sgv: object = 104, **more: object) -> dict[str, object]:
    """A sensor value as xDrip+ uploads it."""
    at = NOON - timedelta(minutes=minutes_ago)
    return {
        "device": "xDrip-DexcomG6",
        "date": ms(at),
        "dateString": at.isoformat(timespec="milliseconds"),
        "sgv": sgv,
        "delta": 1.5,
        "direction": "Flat",
        "type": "sgv",
        "noise": 1,
    } | more


async def add_token(
    store: SqliteStore, who: PersonId, *, name: str, secret: str, token: str, rights: Rights, device: DeviceId
) -> None:
    """Hand out a token."""
    await store.access.add(
        AccessToken(name, who, device, f"phone of {who}", rights, NOON),
        secret_digest=secret_digest(secret_header(secret)),
        token_digest=token_digest(token),
    )


@contextlib.asynccontextmanager
async def site(folder: Path, *, gate: type[Gate] = Gate, **settings: object) -> AsyncIterator[Desk]:
    """A listener at work over a store in `folder`, with tokens of two people."""
    clock = RunningClock()
    made = NightscoutSettings.model_validate({"enabled": True, "port": 0} | settings)
    async with SqliteStore.open(folder / "state" / "passerelle.db", clock=clock) as store:
        await store.registry.declare(
            list(PEOPLE.values()),
            [
                Device(ADA_PHONE, DeviceKind.CGM, "Ada's phone", ADA),
                Device(BOB_PHONE, DeviceKind.CGM, "Bob's phone", BOB),
            ],
        )
        known = {token.token_id for token in await store.access.tokens()}
        for who, device in ((ADA, ADA_PHONE), (BOB, BOB_PHONE)):
            if who not in known:
                await add_token(
                    store, who, name=who, secret=SECRETS[who], token=TOKENS[who], rights=Rights.BOTH, device=device
                )
        intake = gate(StoreIntake(store.readings, store.registry, Changes()))
        async with (
            NightscoutIntake.open(
                made,
                intake=intake,
                stores=NightscoutStores(store.readings, store.documents, store.access),
                clock=clock,
                people=PEOPLE,
                house=ZoneInfo("Europe/Paris"),
                folder=folder / "state",
            ) as listener,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client,
        ):
            yield Desk(store, listener, client, clock, intake, folder)
