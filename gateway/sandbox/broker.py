"""A real mosquitto in a folder of its own, for trying the gateway and for tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import ConfigurationError, TransientError

__all__ = ["Broker", "BrokerTls", "run_mosquitto"]

_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.02
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class BrokerTls:
    """Files for the listener: its CA, its certificate and the certificate's key, all PEM."""

    ca_file: Path
    cert_file: Path
    key_file: Path


class Broker:
    """One mosquitto process; keeps its port, configuration and persistence over `restart`."""

    def __init__(self, folder: Path, port: int, program: str, configuration: Path) -> None:
        self.host = _HOST
        self.port = port
        self.folder = folder
        self._program = program
        self._configuration = configuration
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start and wait until the port accepts a connection.

        Raises:
            TransientError: it ended at once or did not listen within ten seconds; its log is in the folder.
        """
        with (self.folder / "mosquitto.out").open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                self._program, "-c", str(self._configuration), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                while not await self._accepts():
                    if self._process.returncode is not None:
                        raise TransientError(f"mosquitto ended at once; see {self.folder / 'mosquitto.out'}")
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            await self.kill()
            raise TransientError(f"mosquitto does not listen; see {self.folder / 'mosquitto.out'}") from None

    async def _accepts(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def stop(self) -> None:
        """End it cleanly (SIGTERM): it saves its state."""
        await self._end(kill=False)

    async def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        await self._end(kill=True)

    async def restart(self, *, kill: bool = False) -> None:
        """Stop (or kill) and start again on the same port with what it kept on disk."""
        await self._end(kill=kill)
        await self.start()

    async def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill() if kill else process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def run_mosquitto(
    folder: Path,
    *,
    port: int = 0,
    persistent: bool = True,
    users: Mapping[str, str] | None = None,
    acl: str | None = None,
    tls: BrokerTls | None = None,
    template: str | None = None,
    extra: Sequence[str] = (),
) -> AsyncIterator[Broker]:
    """Run mosquitto on the loopback interface until the block ends.

    Args:
        folder: for its configuration, log and persistence; created.
        port: 0 takes a free one.
        persistent: keep sessions and queues on disk after every change.
        users: name -> password; None: anonymous clients are welcome.
        acl: text of an access-control file.
        tls: makes the listener speak TLS only.
        template: a whole configuration to use instead of the generated one; `listener` and `user` are still written
            by this function, so it must hold neither.
        extra: further configuration lines.

    Raises:
        ConfigurationError: mosquitto is not installed.
        TransientError: it does not start.
    """
    broker = await asyncio.to_thread(_prepare, folder, port, persistent, users, acl, tls, template, extra)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


def _prepare(
    folder: Path,
    port: int,
    persistent: bool,
    users: Mapping[str, str] | None,
    acl: str | None,
    tls: BrokerTls | None,
    template: str | None,
    extra: Sequence[str],
) -> Broker:
    program = _find("mosquitto")
    folder.mkdir(parents=True, exist_ok=True)
    chosen = port or _free_port()
    lines = [] if os.geteuid() else ["user root"]
    lines += [f"listener {chosen} {_HOST}"]
    if tls is not None:
        lines += [f"cafile {tls.ca_file}", f"certfile {tls.cert_file}", f"keyfile {tls.key_file}"]
        lines += ["tls_version tlsv1.2"]
    if template is None:
        lines += [f"allow_anonymous {'true' if users is None else 'false'}", "max_queued_messages 100000"]
        if persistent:
            lines += ["persistence true", f"persistence_location {folder}/", "autosave_on_changes true"]
            lines += ["autosave_interval 1"]
    else:
        lines.append(template)
    if users is not None:
        lines.append(f"password_file {_write_passwords(folder / 'passwords', users)}")
    if acl is not None:
        lines.append(f"acl_file {_write_private(folder / 'acl', acl)}")
    configuration = _write_private(folder / "mosquitto.conf", "\n".join([*lines, *extra, ""]))
    return Broker(folder, chosen, program, configuration)


def _find(program: str) -> str:
    found = shutil.which(program) or shutil.which(program, path=os.pathsep.join(_SYSTEM_FOLDERS))
    if found is None:
        raise ConfigurationError([("", f"{program} is not installed; on Debian: apt install mosquitto")])
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _write_private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")
    return path


def _write_passwords(path: Path, users: Mapping[str, str]) -> Path:
    _write_private(path, "".join(f"{name}:{password}\n" for name, password in users.items()))
    subprocess.run([_find("mosquitto_passwd"), "-U", str(path)], check=True, capture_output=True)  # noqa: S603
    return path
