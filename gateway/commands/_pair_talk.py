"""To whom the pairing commands talk: the running gateway over its JSON interface, or its Bluetooth half in here."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp

from gateway.errors import ConfigurationError, GatewayError, PairingFailed, TransientError
from gateway.pairing.desk import PairingRefused
from gateway.pairing.office import PairingOffice
from gateway.settings import MqttSettings, Settings, WebSettings, read_secret

__all__ = ["Desk", "ask", "desk_of", "secret_line"]

_ANSWER_S: Final = 10.0
_WORK_S: Final = 70.0
"""Some actions talk to the device first, and it to a person."""
_ANY_HOST: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on


class Desk(Protocol):
    """A `PairingOffice`, near or far."""

    async def state(self) -> dict[str, Any]:
        """See `PairingOffice.state`."""
        ...

    async def act(self, action: str, fields: Mapping[str, Any]) -> dict[str, Any] | None:
        """See `PairingOffice.act`; what stood in the way (`error`, perhaps `wait_s`), or None."""
        ...


class _Near:
    """In this process."""

    def __init__(self, office: PairingOffice) -> None:
        self._office = office

    async def state(self) -> dict[str, Any]:
        return await self._office.state()

    async def act(self, action: str, fields: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            await self._office.act(action, fields)
        except PairingRefused as refused:
            return {"error": refused.reason, "wait_s": round(refused.wait_s)}
        except PairingFailed as failed:
            return {"error": str(failed.reason)}
        return None


class _Far:
    """In the gateway that runs."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._token = ""

    async def state(self) -> dict[str, Any]:
        try:
            async with self._session.get(self._url) as answer:
                if answer.status != 200:
                    raise TransientError(f"the running gateway answered {answer.status}")
                state: dict[str, Any] = await answer.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransientError("the running gateway does not answer any more") from error
        self._token = state["token"]
        return state

    async def act(self, action: str, fields: Mapping[str, Any]) -> dict[str, Any] | None:
        await self.state()
        headers = {"X-Passerelle-Token": self._token}
        try:
            limit = aiohttp.ClientTimeout(total=_WORK_S)
            url = f"{self._url}/{action}"
            async with self._session.post(url, json=dict(fields), headers=headers, timeout=limit) as answer:
                body: dict[str, Any] = await answer.json()
                return None if answer.status == 200 else body
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransientError("the running gateway does not answer any more") from error


@asynccontextmanager
async def desk_of(settings: Settings, backends: Any = None) -> AsyncIterator[Desk]:
    """The desk of the running gateway, else one of our own for the length of the block.

    Args:
        backends: as `run_gateway`'s, for a desk of our own.

    Raises:
        GatewayError: neither can be had.
    """
    if settings.web.enabled:
        async with _session(settings) as session:
            far = _Far(session, f"{_url(settings)}/api/pairing")
            if await _is_running(session, settings):
                await far.state()
                yield far
                return
    async with _own_desk(settings, backends) as near:
        yield near


def _session(settings: Settings) -> aiohttp.ClientSession:
    code, headers = settings.web.access_code_file, {}
    if code is not None:
        pair = f"gateway:{read_secret(code).get_secret_value()}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    return aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=_ANSWER_S))


def _url(settings: Settings) -> str:
    host = "127.0.0.1" if settings.web.host in _ANY_HOST else settings.web.host
    return f"http://[{host}]:{settings.web.port}" if ":" in host else f"http://{host}:{settings.web.port}"


async def _is_running(session: aiohttp.ClientSession, settings: Settings) -> bool:
    """Whether our own gateway answers there, and not another program."""
    try:
        async with session.get(f"{_url(settings)}/health") as answer:
            return "status" in await answer.json()
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return False


@asynccontextmanager
async def _own_desk(settings: Settings, backends: Any) -> AsyncIterator[Desk]:
    from gateway.app import Running, run_gateway

    alone = settings.model_copy(update={"web": WebSettings(enabled=False), "mqtt": MqttSettings(), "destinations": ()})
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_gateway(alone, backends=backends, started=ready.set_result), name="gateway")
    try:
        either: list[asyncio.Future[Any]] = [task, ready]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        office = ready.result().office
        if office is None:
            raise ConfigurationError([("bluetooth.enabled", "Bluetooth is off")])
        yield _Near(office)
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, GatewayError):
            raise error


async def ask(prompt: str) -> str | None:
    """A line from standard input, without its end; None when the input has ended. Can be cancelled at a terminal."""
    sys.stdout.write(prompt)
    sys.stdout.flush()
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    try:
        descriptor = sys.stdin.fileno()
        loop.add_reader(descriptor, readable.set)
    except (OSError, ValueError):
        pass  # a file, or a stand-in: it never waits
    else:
        try:
            await readable.wait()
        finally:
            loop.remove_reader(descriptor)
    line = sys.stdin.readline()
    return line.strip() if line else None


async def secret_line(path: str) -> str:
    """The first line of a secret file; of standard input for `-`. Raises ConfigurationError."""
    if path == "-":
        line: str = await asyncio.to_thread(sys.stdin.readline)
        if not line.strip():
            raise ConfigurationError([("", "standard input holds no passkey")])
        return line.strip()
    return read_secret(Path(path)).get_secret_value()
