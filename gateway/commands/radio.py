"""`gateway radio`: is the Bluetooth radio well? Asks the running gateway, else listens by itself."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.commands.common import Commands, add_config, dump, settings_of, utc_now, write_line
from gateway.commands.scan import listened, seconds
from gateway.model import RadioReport, RadioState
from gateway.settings import Settings, WebSettings, read_secret
from gateway.web.radio_words import RadioLine, is_well, radio_sentence

__all__ = ["register"]

_ASK_S: Final = 10.0
_ANYWHERE: Final = frozenset({"0.0.0.0", "::", "localhost"})  # noqa: S104 - compared with, not listened on


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "radio",
        help="is the Bluetooth radio well?",
        description="The verdict in plain sentences; status 1 when something is wrong with a radio.",
    )
    add_config(parser)
    parser.add_argument(
        "--seconds", type=seconds, default=10.0, metavar="N", help="how long to listen without a gateway (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=lambda arguments: asyncio.run(_run(arguments)))


async def _run(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    if not settings.bluetooth.enabled:
        write_line("Bluetooth is off: set enabled = true under [bluetooth].")
        return 1
    lines = await _asked(settings)
    is_gateway = lines is not None
    if lines is None:
        _, reports = await listened(settings, arguments.seconds)
        lines = RadioLine.of(reports)
    if arguments.json:
        source = "gateway" if is_gateway else "listened"
        write_line(dump({"source": source, "radios": [line.as_json() for line in lines]}))
    else:
        if not is_gateway:
            write_line("No running gateway answers: this command has listened by itself.")
        for line in lines:
            write_line(radio_sentence(line, "en", utc_now()))
    return 0 if all(is_well(line.report) for line in lines) else 1


async def _asked(settings: Settings) -> tuple[RadioLine, ...] | None:
    """What the running gateway says; None: nobody answers at its address, or it has no pages."""
    import aiohttp

    web = settings.web
    if not web.enabled or web.port == 0:
        return None
    host = "127.0.0.1" if web.host in _ANYWHERE else web.host
    url = f"http://{f'[{host}]' if ':' in host else host}:{web.port}/api/radio"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ASK_S)) as session,
            session.get(url, headers=_headers(web), allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                return None
            said = json.loads(await answer.text())
            return tuple(
                _line(entry, ZoneInfo(settings.gateway.time_zone), len(said["radios"])) for entry in said["radios"]
            )
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError):
        return None  # another program may be at that address


def _headers(web: WebSettings) -> dict[str, str]:
    headers = {"Host": web.allowed_hosts[0] if web.allowed_hosts else "localhost"}
    if web.access_code_file is not None:
        code = read_secret(web.access_code_file).get_secret_value()
        headers["Authorization"] = "Basic " + base64.b64encode(f"gateway:{code}".encode()).decode("ascii")
    return headers


def _line(entry: dict[str, Any], zone: ZoneInfo, count: int) -> RadioLine:
    heard = entry["last_heard_at"]
    report = RadioReport(
        name=str(entry["name"]),
        address=None,
        state=RadioState(entry["state"]),
        since=datetime.fromisoformat(entry["since"]),
        last_heard_at=None if heard is None else datetime.fromisoformat(heard),
        devices_heard=int(entry["devices_heard"]),
        advice=entry["advice"],
    )
    return RadioLine(report, tuple(map(str, entry["asleep"])), report.since.astimezone(zone), count > 1)
