"""`gateway nightscout`: secrets for phone apps."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import aiohttp
import pytest

from gateway.app import Running, run_gateway
from gateway.cli import main
from gateway.settings import load_settings

CONFIG = """
[store]
path = "passerelle.db"
[web]
enabled = false
[nightscout]
enabled = true
port = 0
[[people]]
id = "camille"
name = "Camille"
[[people]]
id = "noe"
name = "Noé"
[[devices]]
id = "sensor"
kind = "cgm"
name = "Capteur"
person = "noe"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with the listener."""
    path = tmp_path / "hub.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def _run(config: Path, *words: str) -> int:
    return main(["nightscout", words[0], "--config", str(config), *words[1:]])


def test_a_secret_is_made_shown_once_listed_and_revoked(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The list never shows it again; what is revoked cannot be revoked twice."""
    made = ["add", "--person", "camille", "--device", "phone", "--name", "xDrip on the old phone", "--rights", "write"]
    assert 0 == _run(config, *made)
    said = capsys.readouterr().out
    secret = re.search(r"secret \(API_SECRET\) +(\S{28})\n", said)
    assert secret is not None
    assert f"http://{secret[1]}@THIS-MACHINE:0/api/v1/" in said
    assert re.search(r"token +xdriponthe-[0-9a-f]{16}\n", said)
    assert 0 == _run(config, "list")
    listed = capsys.readouterr().out
    line = json.loads(listed)
    assert ("xDrip on the old phone", "camille", "phone", "write", "valid") == tuple(
        line[name] for name in ("name", "person", "device", "rights", "state")
    )
    assert secret[1] not in listed
    assert 0 == _run(config, "revoke", line["id"])
    assert 2 == _run(config, "revoke", line["id"])
    capsys.readouterr()
    _run(config, "list")
    assert "revoked" == json.loads(capsys.readouterr().out)["state"]


def test_check_says_where_phone_apps_are_listened_to(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And that there is no encryption; a key that others can read is a fault with its path."""
    assert 0 == main(["check", "--config", str(config)])
    assert "Phone apps are listened to at 127.0.0.1:0 (no TLS, private addresses only)." in capsys.readouterr().out
    for name in ("cert.pem", "key.pem"):
        (config.parent / name).write_text("PEM", encoding="utf-8")
    (config.parent / "key.pem").chmod(0o644)
    files = '[nightscout]\ncert_file = "cert.pem"\nkey_file = "key.pem"\n'
    config.write_text(CONFIG.replace("[nightscout]\n", files), encoding="utf-8")
    assert 2 == main(["check", "--config", str(config)])
    assert "nightscout.key_file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--person", "nobody", "--device", "phone"], "nobody called 'nobody'"),
        (["--person", "camille", "--device", "sensor"], "this device is noe's in the configuration"),
        (["--person", "camille", "--device", "Big Phone"], "use lower-case letters"),
        (["--person", "camille", "--device", "phone", "--name", "x" * 65], "at most 64"),
    ],
)
def test_a_secret_is_for_one_person_and_one_device(
    config: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """Nobody unknown, no device of somebody else's."""
    assert 2 == _run(config, "add", *words)
    assert message in capsys.readouterr().err


def test_a_device_that_is_known_as_anothers_is_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that only the store knows."""
    assert 0 == _run(config, "add", "--person", "noe", "--device", "phone")
    assert 0 == _run(config, "add", "--person", "noe", "--device", "sensor", "--rights", "read")
    assert 2 == _run(config, "add", "--person", "camille", "--device", "phone")
    assert "is noe's" in capsys.readouterr().err


async def test_the_running_gateway_knows_a_new_secret_at_once(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made and revoked while the gateway runs, without a new start; readings get through to the store."""
    started: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    gateway = asyncio.create_task(run_gateway(load_settings(config), started=started.set_result))
    try:
        running = await asyncio.wait_for(started, 30)
        assert running.nightscout is not None
        url = running.nightscout.url + "/api/v1/entries"
        assert 0 == await asyncio.to_thread(_run, config, "add", "--person", "camille", "--device", "phone")
        secret = re.search(r"API_SECRET\) +(\S+)", capsys.readouterr().out)
        assert secret is not None
        headers = {"api-secret": secret[1]}
        entry = {"type": "sgv", "sgv": 104, "date": 1772366100000}
        async with aiohttp.ClientSession(headers=headers) as client:
            async with client.post(url, json=[entry]) as answer:
                assert 200 == answer.status
            (stored,) = await running.store.readings()
            assert ("phone", "camille") == (stored.reading.device_id, stored.person_id)
            (token,) = await _listed(config, capsys)
            assert 0 == await asyncio.to_thread(_run, config, "revoke", token["id"])
            async with client.post(url, json=[entry]) as answer:
                assert 401 == answer.status
    finally:
        gateway.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gateway


async def _listed(config: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    capsys.readouterr()
    assert 0 == await asyncio.to_thread(_run, config, "list")
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]
