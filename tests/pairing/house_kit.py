"""A whole gateway on a virtual air: store, source, desk and page, as `gateway run` starts them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from gateway.app import BluetoothBackends, Running, run_gateway
from gateway.sandbox.radio import VirtualAir
from gateway.settings import Settings

PATIENCE_S = 20.0


def house_settings(folder: Path, **more: Any) -> Settings:
    """One person, Bluetooth on, no device in the file."""
    return Settings.model_validate(
        {
            "gateway": {"clock": "trusted"},
            "store": {"path": folder / "passerelle.db"},
            "web": {"port": 0},
            "bluetooth": {"enabled": True, "revisit_s": 0.2, "retry_s": 0.2, "quiet_s": 0.3},
            "people": [{"id": "camille", "name": "Camille"}],
            **more,
        }
    )


@asynccontextmanager
async def gateway_on(air: VirtualAir, settings: Settings) -> AsyncIterator[Running]:
    """The gateway, running for the length of the block."""
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    backends = BluetoothBackends(air.scanner_backend, air.client_backend, air.bonds)
    task = asyncio.create_task(run_gateway(settings, backends=backends, started=ready.set_result))
    try:
        either: list[asyncio.Future[Any]] = [task, ready]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield ready.result()
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


async def until_readings(running: Running, count: int, device_id: str) -> None:
    """Until that many readings of the device are stored."""
    with running.changes.follow() as changed:
        async with asyncio.timeout(PATIENCE_S):
            while len([r for r in await running.store.readings() if r.reading.device_id == device_id]) < count:
                await changed.wait()
                changed.clear()


class Visitor:
    """A program that uses the JSON interface."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def state(self) -> dict[str, Any]:
        """What GET answers."""
        async with self._session.get(f"{self.url}/api/pairing") as answer:
            assert 200 == answer.status
            state: dict[str, Any] = await answer.json()
            return state

    async def until(self, is_so: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The state, once `is_so`."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_so(state := await self.state()):  # noqa: ASYNC110 - over HTTP there is no event
                await asyncio.sleep(0.05)
        return state

    async def act(self, action: str, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Status and body of a POST with a fresh token."""
        headers = {"X-Passerelle-Token": (await self.state())["token"]}
        async with self._session.post(f"{self.url}/api/pairing/{action}", json=fields, headers=headers) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def visitor_of(running: Running) -> AsyncIterator[Visitor]:
    """A visitor for the length of the block."""
    assert running.url is not None
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield Visitor(session, running.url)


def is_in(*states: str) -> Callable[[dict[str, Any]], bool]:
    """For `until`: the attempt is in one of these states."""
    return lambda state: state["attempt"] is not None and state["attempt"]["state"] in states
