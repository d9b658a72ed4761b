"""Nightscout clients that others wrote, against a running gateway: what they upload is stored, what they read is right.

* `nightscout-cli` (PyPI): a command line that uploads, reads and deletes, for people with Juggluco and with scripts.
* `py-nightscout` (PyPI): the library with which Home Assistant follows a Nightscout site.

They are installed for tests only. Neither knows of us: they speak to the gateway's process as to any site.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import importlib.util
import io
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.clock import SystemClock
from gateway.model import Absent, Metric, PersonId, SourceKind, StoredReading

pytestmark = pytest.mark.timeout(120)
_READY_S, _CLIENT_S = 40.0, 30.0
_CONFIG = """
[store]
path = "passerelle.db"
[web]
enabled = false
[nightscout]
enabled = true
port = {port}
[[people]]
id = "camille"
name = "Camille"
time_zone = "Europe/Paris"
"""


@pytest.fixture(autouse=True)
def _clients() -> None:
    missing = [name for name in ("nightscout_cli", "py_nightscout") if importlib.util.find_spec(name) is None]
    if missing:
        words = f"not installed: {', '.join(missing)}; `make test` installs what the tests need"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)


@dataclass(frozen=True)
class House:
    """A running gateway, and what `gateway nightscout add` said."""

    folder: Path
    port: int
    secret: str
    token: str

    async def client(self, *words: str, secret: str | None = None) -> tuple[int, str]:
        """Exit code and output (its complaint, where it fails) of one run of nightscout-cli."""
        shown = secret or hashlib.sha1(self.secret.encode(), usedforsecurity=False).hexdigest()
        code, output, errors = await _run(
            self.folder,
            *("-m", "nightscout_cli.main", "--host", "127.0.0.1", "--port", str(self.port), "--api-secret", shown),
            *words,
        )
        return code, output if code == 0 else errors

    async def stored(self) -> list[StoredReading]:
        """What is in the file; asked when the gateway has stopped."""
        async with SqliteStore.open(self.folder / "passerelle.db", clock=SystemClock()) as store:
            return await store.readings.readings(metrics=(Metric.GLUCOSE_INTERSTITIAL,))


async def _run(folder: Path, *words: str) -> tuple[int, str, str]:
    home = {"HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=home
    )
    async with asyncio.timeout(_CLIENT_S):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


@asynccontextmanager
async def running_house(folder: Path) -> AsyncIterator[House]:
    """The gateway's own process with the listener, and a secret for one device of Camille's; stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "hub.toml"
    config.write_text(_CONFIG.format(port=port), encoding="utf-8")
    code, said, errors = await _run(
        folder, "-m", "gateway", "nightscout", "add", "--config", str(config), "--person", "camille", "--device", "cli"
    )
    secret, token = re.search(r"API_SECRET\) +(\S+)", said), re.search(r"token +(\S+-[0-9a-f]{16})", said)
    assert code == 0, errors
    assert secret is not None
    assert token is not None
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "run", "--config", str(config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    reading: asyncio.Task[bytes] | None = None
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_READY_S):
            while b"gateway.started" not in (line := await process.stdout.readline()):
                assert line, "the gateway ended"
        reading = asyncio.create_task(process.stdout.read(), name="read the gateway's log")
        yield House(folder, port, secret[1], token[1])
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            if reading is not None:
                await reading
            await process.wait()


async def test_a_command_line_uploads_reads_and_deletes(tmp_path: Path) -> None:
    """nightscout-cli pushes two values, reads them back in three ways and deletes one; the store says the same."""
    before = datetime.now(UTC)
    async with running_house(tmp_path) as house:
        for value, minutes, arrow in ((104, 10, "Flat"), (111, 5, "FortyFiveUp")):
            code, said = await house.client("push", str(value), "--minutes-ago", str(minutes), "--direction", arrow)
            assert (0, True) == (code, f"{value} mg/dL" in said), said
        code, said = await house.client("list")
        rows = list(csv.DictReader(io.StringIO(said)))
        assert (0, ["111", "104"]) == (code, [row["value"] for row in rows])
        assert all(re.fullmatch(r"[0-9a-f]{24}", row["id"]) for row in rows)
        _, said = await house.client("history", "--days-ago", "1", "--period", "2880", "--jsonl")
        assert [(104, "Flat"), (111, "FortyFiveUp")] == [
            (row["sgv"], row["direction"]) for row in map(json.loads, said.splitlines())
        ]
        _, said = await house.client("get", "2")
        assert ["104 mg/dL Flat", "111 mg/dL FortyFiveUp"] == [line.split(" ", 1)[1] for line in said.splitlines()]
        code, said = await house.client("delete", rows[0]["id"])
        assert (0, True) == (code, "Deleted 1 entries, 0 failed" in said), said
        _, said = await house.client("list")
        assert ["104"] == [row["value"] for row in csv.DictReader(io.StringIO(said))]
    kept, deleted = await house.stored()
    assert (Decimal(104), "Flat") == (kept.reading.value, kept.reading.context.trend_arrow)
    assert Absent.WITHDRAWN is deleted.reading.absent
    assert before - timedelta(minutes=10, seconds=1) < kept.reading.effective_at < before - timedelta(minutes=9)
    assert {(PersonId("camille"), "cli", SourceKind.HTTP)} == {
        (each.person_id, each.reading.device_id, each.reading.provenance.source) for each in (kept, deleted)
    }


async def test_the_documented_token_opens_and_a_wrong_secret_does_not(tmp_path: Path) -> None:
    """The client's own manual puts an access token in place of the secret; anything else is refused and said."""
    async with running_house(tmp_path) as house:
        code, said = await house.client("push", "99", secret=house.token)
        assert (0, True) == (code, "Successfully pushed" in said), said
        code, said = await house.client("push", "100", secret="0" * 40)
        assert code == 1
        assert "401" in said
        code, said = await house.client("list", secret="wrong")
        assert code == 1
        assert "401" in said
    assert [Decimal(99)] == [each.reading.value for each in await house.stored()]


async def test_home_assistants_library_follows(tmp_path: Path) -> None:
    """py-nightscout reads the site's status, and the values with arrow, change and instant, newest first."""
    import py_nightscout

    async with running_house(tmp_path) as house:
        pushed = [(100 + 2 * n, 60 - 5 * n) for n in range(12)]
        answers = await asyncio.gather(
            *(house.client("push", str(value), "--minutes-ago", str(minutes)) for value, minutes in pushed)
        )
        assert {0} == {code for code, _ in answers}, answers
        api = py_nightscout.Api(f"http://127.0.0.1:{house.port}", api_secret=house.secret)
        status = await api.get_server_status()
        assert ("ok", True, "Passerelle") == (status.status, status.apiEnabled, status.name)
        values = await api.get_sgvs()
        assert [122, 120, 118, 116, 114, 112, 110, 108, 106, 104] == [value.sgv for value in values]
        assert {"Flat"} == {value.direction for value in values}
        assert all(1.5 < value.delta < 2.5 for value in values)
        assert all(earlier.date < later.date for later, earlier in pairwise(values))
        assert timedelta(0) <= datetime.now(UTC) - values[0].date - timedelta(minutes=5) < timedelta(minutes=1)
        assert [] == await api.get_treatments()
        assert [] == await api.get_devices_status()
