"""Requests of a log, answered by the real listener for phone apps over a store of its own.

What a request shows to be let in is replaced by a token of the throw-away store, one device for each that differs; a
request that shows nothing shows nothing here either, and is turned away as it would be.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import aiohttp
from yarl import URL

from gateway.adapters.sources.nightscout import NightscoutIntake, NightscoutStores
from gateway.adapters.sources.nightscout.credentials import (
    new_secret,
    new_token,
    secret_digest,
    secret_header,
    shown_by,
    token_digest,
)
from gateway.adapters.stores.sqlite import SqliteStore
from gateway.intake_log import LoggedRequest
from gateway.model import Batch, Checkpoint, CommitReceipt, Device, DeviceId, DeviceKind, Person, PersonId
from gateway.ports import AccessToken, Clock, DeviceSighting, Intake, Rights
from gateway.settings import Settings

__all__ = ["NightscoutFeed"]

_SOMEBODY: Final = PersonId("replay")
_MOST_VISITORS: Final = 1000
_SECRET_HEADERS: Final = frozenset({"api-secret", "authorization"})
_LENGTHS: Final = frozenset({"content-length", "transfer-encoding", "host", "connection", "content-encoding"})
_SECRET_FIELDS: Final = ("token", "secret")
_TIMEOUT: Final = aiohttp.ClientTimeout(total=60)


class _Relay:
    """The intake of the listener: whatever the present request is given."""

    def __init__(self, target: Intake) -> None:
        self.target = target

    async def submit(self, batch: Batch) -> CommitReceipt:
        return await self.target.submit(batch)

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        return await self.target.checkpoint(device_id, name)

    async def sighted(self, sighting: DeviceSighting) -> None:
        await self.target.sighted(sighting)


class NightscoutFeed:
    """Implements `gateway.intake_log.HttpFeed`."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, store: SqliteStore, relay: _Relay, clock: Clock
    ) -> None:
        self._url = url
        self._session = session
        self._store = store
        self._relay = relay
        self._clock = clock
        self._secrets: dict[bytes, str] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, store: SqliteStore, intake: Intake, clock: Clock, folder: Path
    ) -> AsyncIterator[NightscoutFeed]:
        """Listen on this machine, on a free port, for as long as the block lasts.

        Args:
            store: the throw-away store.
            folder: where the listener keeps the key of its sessions.
        """
        house = ZoneInfo(settings.gateway.time_zone)
        somebody = Person(_SOMEBODY, "Replay", house)
        await store.registry.declare([somebody], [])
        relay = _Relay(intake)
        local = settings.nightscout.model_copy(
            update={"enabled": True, "host": "127.0.0.1", "port": 0, "cert_file": None, "key_file": None}
        )
        async with (
            NightscoutIntake.open(
                local,
                intake=relay,
                stores=NightscoutStores(store.readings, store.documents, store.access),
                clock=clock,
                people={_SOMEBODY: somebody},
                house=house,
                folder=folder,
            ) as listener,
            aiohttp.ClientSession(timeout=_TIMEOUT, auto_decompress=True) as session,
        ):
            yield cls(listener.url, session, store, relay, clock)

    async def feed(self, request: LoggedRequest, intake: Intake) -> str:
        """Let the listener answer; the note is the status."""
        self._relay.target = intake
        url = URL(f"{self._url}{request.path}")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _LENGTHS}
        by_name = {_canonical(name): value for name, value in request.headers.items()}
        shown = shown_by(by_name, dict(url.query), _document(request.body))
        if any(shown):
            headers = {name: value for name, value in headers.items() if name.lower() not in _SECRET_HEADERS}
            url = url.without_query_params(*(name for name in _SECRET_FIELDS if name in url.query))
            secret = await self._secret_for(hashlib.sha256(repr(shown).encode()).digest())
            if secret is None:
                return "more visitors than a replay keeps apart"
            headers["api-secret"] = secret
        try:
            async with self._session.request(
                request.method, url, data=request.body or None, headers=headers, allow_redirects=False
            ) as answer:
                await answer.read()
                return f"answered {answer.status}"
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return "the listener could not be asked this"

    async def _secret_for(self, digest: bytes) -> str | None:
        """The header of our own secret for a visitor; one device each. None: there are too many."""
        if (known := self._secrets.get(digest)) is not None:
            return known
        if len(self._secrets) >= _MOST_VISITORS:
            return None
        device_id = DeviceId(f"nightscout-{len(self._secrets) + 1}")
        await self._store.registry.declare([], [Device(device_id, DeviceKind.CGM, device_id, person_id=_SOMEBODY)])
        secret, token = new_secret(), new_token(device_id)
        made = AccessToken(device_id, _SOMEBODY, device_id, device_id, Rights.BOTH, self._clock.now())
        await self._store.access.add(
            made, secret_digest=secret_digest(secret_header(secret)), token_digest=token_digest(token)
        )
        self._secrets[digest] = secret_header(secret)
        return self._secrets[digest]


def _canonical(name: str) -> str:
    return "Authorization" if name.lower() == "authorization" else name.lower()


def _document(body: bytes) -> object:
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document
