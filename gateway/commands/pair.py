"""`gateway pair` and `gateway unpair`: what the Bluetooth page does, in a terminal.

With a running gateway they talk to it; without one they start its Bluetooth half for as long as they need it.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any, Final

from gateway.bind_keys import read_bind_key
from gateway.commands._pair_talk import Desk, ask, desk_of, secret_line
from gateway.commands.common import Commands, add_config, settings_of, write_line
from gateway.commands.run import run_until_stopped
from gateway.errors import ConfigurationError, GatewayError
from gateway.settings import Settings
from gateway.web.texts import Texts

__all__ = ["pair", "register", "unpair"]

_WORDS: Final = Texts("en")
_GLANCE_S: Final = 0.2
_SEARCH_S: Final = 30.0
_CANDIDATES: Final = ("new", "yours")


class _NotPaired(GatewayError):
    """It did not come to a bond; the message says why, in words for people."""


def register(commands: Commands) -> None:
    """Add the commands."""
    parser = commands.add_parser(
        "pair",
        help="pair a Bluetooth device, and add it",
        description="Without a device it lists what is in range and asks. The six digits are asked for, or read from "
        "--passkey-file; they are never printed.",
    )
    parser.add_argument("device", nargs="?", metavar="DEVICE", help="address, advertised name, or id of a known device")
    add_config(parser)
    parser.add_argument("--passkey-file", metavar="FILE", help="holds the six digits, mode 0600; - for standard input")
    parser.add_argument(
        "--bind-key-file", metavar="FILE", help="holds the key of a device that encrypts: 32 hex digits, mode 0600"
    )
    parser.add_argument("--name", help="what to call a new device")
    parser.add_argument("--person", metavar="ID", help='who owns it; of a shared scale several, in quotes: "a b"')
    parser.add_argument("--kind", help="what it is, when it may be several things")
    parser.add_argument(
        "--set-clock", action="store_true", help="let the gateway set a new device's clock when it is wrong"
    )
    parser.add_argument("--new-user", action="store_true", help="make the owner a new user of a scale")
    parser.set_defaults(run=_pair)

    parser = commands.add_parser(
        "unpair",
        help="forget a Bluetooth device's pairing, and stop reading it",
        description="Its readings stay. A device of the configuration file only loses its pairing.",
    )
    parser.add_argument("device", metavar="DEVICE", help="id of the device")
    add_config(parser)
    parser.set_defaults(run=_unpair)


def _pair(arguments: argparse.Namespace) -> int:
    settings = _checked(settings_of(arguments))
    return run_until_stopped(
        pair(
            settings,
            arguments.device,
            passkey_file=arguments.passkey_file,
            bind_key_file=arguments.bind_key_file,
            name=arguments.name,
            person=arguments.person,
            kind=arguments.kind,
            set_clock=arguments.set_clock,
            new_user=arguments.new_user,
        )
    )


def _unpair(arguments: argparse.Namespace) -> int:
    return run_until_stopped(unpair(_checked(settings_of(arguments)), arguments.device))


def _checked(settings: Settings) -> Settings:
    if not settings.bluetooth.enabled:
        raise ConfigurationError([("bluetooth.enabled", "Bluetooth is off")])
    return settings


async def unpair(settings: Settings, device_id: str, *, backends: Any = None) -> None:
    """Forget the device's keys and stop reading it. Raises GatewayError with words."""
    async with desk_of(settings, backends) as desk:
        await _act(desk, "unpair", device=device_id)
        farewell = ((await desk.state())["unpaired"] or {}).get("farewell", "no_bond")
    write_line(f"{device_id}: the pairing is forgotten; its readings stay.")
    if farewell != "no_bond":
        write_line(_WORDS(f"pairing_bye_{farewell}"))


async def pair(
    settings: Settings,
    device: str | None,
    *,
    passkey_file: str | None = None,
    bind_key_file: str | None = None,
    name: str | None = None,
    person: str | None = None,
    kind: str | None = None,
    set_clock: bool = False,
    new_user: bool = False,
    backends: Any = None,
) -> None:
    """Pair `device`, or one that the person chooses, and add it when it is new. Raises GatewayError with words."""
    passkey = None if passkey_file is None else await secret_line(passkey_file)
    key = None if bind_key_file is None else read_bind_key(Path(bind_key_file)).hex()
    async with desk_of(settings, backends) as desk:
        address = await _chosen(desk, device)
        await _act(desk, "pair", address=address)
        state = await desk.state()
        for sentence in state["attempt"]["steps"]["en"]:
            write_line(f"  {sentence}")
        attempt = await _follow(desk, passkey)
        if attempt["state"] != "paired":
            why = attempt["failure"]
            raise _NotPaired(_WORDS(f"pairing_why_{why}") if why else _WORDS(f"pairing_state_{attempt['state']}"))
        if attempt["is_authenticated"] is False:
            write_line(_WORDS("pairing_marked" if attempt["is_bonded"] else "pairing_open"))
        if attempt["wants_name"]:
            await _add(desk, attempt, name=name, person=person, kind=kind, set_clock=set_clock, key=key)
        elif key is not None:
            await _act(desk, "key", device=attempt["device_id"], bind_key=key)
            write_line(f"{attempt['device_id']}: its key is kept.")
        else:
            write_line(f"{attempt['device_id']}: paired.")
        if new_user:
            await _register(desk)


async def _chosen(desk: Desk, wanted: str | None) -> str:
    """The address of the device that is meant; waits for it to be heard when only its name is known."""
    listed = False
    try:
        async with asyncio.timeout(_SEARCH_S):
            while True:
                state = await desk.state()
                near = [row for row in state["neighbours"] if row["status"] in _CANDIDATES]
                if wanted is not None:
                    if (found := _match(wanted, near, state["devices"])) is not None:
                        return found
                elif near:
                    break
                if not listed:
                    write_line("Looking for devices...")
                    listed = True
                await asyncio.sleep(_GLANCE_S)
    except TimeoutError as error:
        raise _NotPaired(_WORDS("pairing_none_near")) from error
    for number, row in enumerate(near, start=1):
        what = _WORDS.kind_named(row["kind"]) if row["kind"] else ""
        words = (what, _WORDS(f"pairing_signal_{row['signal']}"), _WORDS(f"pairing_is_{row['status']}"))
        label = ", ".join(part for part in (row["title"], row["name"]) if part) or _WORDS("pairing_unnamed")
        write_line(f"  {number}  {label} ({row['address']}): {', '.join(word for word in words if word)}")
    while True:
        answer = await ask(f"Which one (1 to {len(near)})? ")
        if answer is None:
            raise _NotPaired(_WORDS("pairing_state_cancelled"))
        if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(near):
            return str(near[int(answer) - 1]["address"])


def _match(wanted: str, near: list[dict[str, Any]], devices: list[dict[str, Any]]) -> str | None:
    if len(wanted) == 17 and wanted.count(":") == 5:
        return wanted.upper()
    for row in devices:
        if wanted == row["device_id"]:
            return str(row["address"])
    found = [row["address"] for row in near if (row["name"] or "").casefold() == wanted.casefold()]
    if len(found) > 1:
        raise _NotPaired("Several devices have this name; give the address.")
    return str(found[0]) if found else None


async def _follow(desk: Desk, passkey: str | None) -> dict[str, Any]:
    """Say each state once, answer its question, until the end."""
    said = None
    while True:
        attempt: dict[str, Any] = (await desk.state())["attempt"]
        if attempt["state"] != said:
            said = attempt["state"]
            if attempt["is_over"]:
                return attempt
            write_line(_WORDS(f"pairing_state_{said}"))
            if attempt["digits"]:
                write_line(f"  {attempt['digits'][:3]} {attempt['digits'][3:]}")
            await _answer(desk, attempt, passkey)
        await asyncio.sleep(_GLANCE_S)


async def _answer(desk: Desk, attempt: dict[str, Any], passkey: str | None) -> None:
    number = attempt["id"]
    if attempt["state"] == "wants_passkey":
        while True:
            digits = passkey if passkey is not None else await _before_it_is_over(desk, ask("Six digits: "))
            if digits is None:
                return await _give_up(desk, number)
            error = await desk.act("passkey", {"attempt": number, "passkey": digits or " "})
            if error is None or error["error"] == "over":
                return None
            write_line(_refusal(error))
            if passkey is not None:
                return await _give_up(desk, number)
    if attempt["state"] == "wants_comparison":
        answer = await _before_it_is_over(desk, ask("The same (yes or no)? "))
        if answer is None:
            return await _give_up(desk, number)
        await desk.act("compare", {"attempt": number, "is_same": answer.casefold() in {"y", "yes"}})
    return None


async def _before_it_is_over(desk: Desk, answering: Any) -> str | None:
    """The person's answer; None: the input has ended, or the attempt ended first."""
    task = asyncio.ensure_future(answering)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_GLANCE_S)
            if not task.done() and (await desk.state())["attempt"]["is_over"]:
                return None
        answer: str | None = task.result()
        return answer
    finally:
        task.cancel()


async def _give_up(desk: Desk, attempt_id: str) -> None:
    await desk.act("cancel", {"attempt": attempt_id})


async def _add(
    desk: Desk,
    attempt: dict[str, Any],
    *,
    name: str | None,
    person: str | None,
    kind: str | None,
    set_clock: bool,
    key: str | None,
) -> None:
    people = [row["person_id"] for row in (await desk.state())["people"]]
    kind = kind or attempt["kinds"][0]
    default = _WORDS.kind_named(attempt["kinds"][0]).capitalize()
    name = name or await ask(f"Its name ({default}): ") or default
    if person is None and people:
        person = await ask(f"Its owner ({', '.join(people)}; a scale may have several; empty: nobody): ")
    given = {"name": name, "person": person or None, "kind": kind, "set_clock": set_clock}
    if key is not None:
        given["bind_key"] = key
    await _act(desk, "enrol", attempt=attempt["id"], **given)
    device_id = (await desk.state())["attempt"]["device_id"]
    write_line(f"{device_id}: paired and added; its readings are collected while the gateway runs.")


async def _register(desk: Desk) -> None:
    device_id = (await desk.state())["attempt"]["device_id"]
    write_line(_WORDS("pairing_register_help"))
    await _act(desk, "register", device=device_id)
    rows = [row for row in (await desk.state())["devices"] if row["device_id"] == device_id]
    write_line(f"{device_id}: its owner is a new user of the scale, slot {rows[0]['scale_user']}.")


async def _act(desk: Desk, action: str, **fields: Any) -> None:
    if (error := await desk.act(action, fields)) is not None:
        raise _NotPaired(_refusal(error))


def _refusal(error: dict[str, Any]) -> str:
    reason = error["error"]
    words = next(
        (_WORDS(f"{stem}{reason}") for stem in ("pairing_no_", "pairing_why_") if f"{stem}{reason}" in _WORDS), ""
    )
    wait_s = error.get("wait_s") or 0
    return f"{words or reason} ({wait_s} s)" if wait_s else words or str(reason)
