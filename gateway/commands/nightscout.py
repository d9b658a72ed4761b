"""`gateway nightscout`: secrets for the phone apps that upload to us or read from us."""

from __future__ import annotations

import argparse
import asyncio
import secrets
from urllib.parse import quote

from gateway.commands.common import Commands, add_config, dump, opened, settings_of, utc_now, write_line
from gateway.errors import ConfigurationError
from gateway.model import Device, DeviceId, DeviceKind, PersonId, is_identifier
from gateway.ports import AccessToken, Registry, Rights
from gateway.settings import Settings

__all__ = ["register"]

_LONGEST_NAME = 64


def register(commands: Commands) -> None:
    """Add the command."""
    nightscout = commands.add_parser("nightscout", help="secrets for phone apps (xDrip+, Juggluco, AAPS, Loop...)")
    acts = nightscout.add_subparsers(title="what", required=True, metavar="WHAT")
    add = acts.add_parser("add", help="make a secret for one app of one person; it is shown once")
    add_config(add)
    add.add_argument("--person", required=True, metavar="ID", help="whose sensor it is")
    add.add_argument("--device", required=True, metavar="ID", help="name under which its values are kept")
    add.add_argument("--name", default="", metavar="TEXT", help="what you call it, e.g. 'xDrip on the old phone'")
    add.add_argument(
        "--rights", choices=[right.value for right in Rights], default=Rights.BOTH.value, help="default: both"
    )
    add.set_defaults(run=lambda arguments: asyncio.run(_add(arguments)))
    listed = acts.add_parser("list", help="every secret that was made, without the secret")
    add_config(listed)
    listed.set_defaults(run=lambda arguments: asyncio.run(_list(arguments)))
    revoke = acts.add_parser("revoke", help="make a secret worthless, at once")
    add_config(revoke)
    revoke.add_argument("token", metavar="ID", help="as `gateway nightscout list` calls it")
    revoke.set_defaults(run=lambda arguments: asyncio.run(_revoke(arguments)))


async def _add(arguments: argparse.Namespace) -> int:
    from gateway.adapters.sources.nightscout.credentials import (
        new_secret,
        new_token,
        secret_digest,
        secret_header,
        token_digest,
    )

    settings = settings_of(arguments)
    person_id, device_id = PersonId(arguments.person), DeviceId(arguments.device)
    label = str(arguments.name).strip() or str(device_id)
    if not is_identifier(device_id):
        raise ConfigurationError([("", f"{device_id!r}: use lower-case letters, digits, '-' and '_'")])
    if len(label) > _LONGEST_NAME or not label.isprintable():
        raise ConfigurationError([("", f"--name is a text of at most {_LONGEST_NAME} characters")])
    async with opened(settings, must_exist=False) as store:
        people, devices = settings.household()
        if person_id not in {person.person_id for person in people}:
            known = ", ".join(person.person_id for person in people) or "nobody"
            raise ConfigurationError([("people", f"nobody called {person_id!r}; known: {known}")])
        await store.registry.declare(people, devices)
        await _own(store.registry, settings, person_id, device_id, label)
        secret, token = new_secret(), new_token(label)
        made = AccessToken(
            token_id=f"ns-{secrets.token_hex(4)}",
            person_id=person_id,
            device_id=device_id,
            label=label,
            rights=Rights(arguments.rights),
            created_at=utc_now(),
        )
        await store.access.add(
            made, secret_digest=secret_digest(secret_header(secret)), token_digest=token_digest(token)
        )
    scheme = "http" if settings.nightscout.cert_file is None else "https"
    place = f"THIS-MACHINE:{settings.nightscout.port}"
    for line in (
        f"Made {made.token_id} for {person_id}, device {device_id}, rights {made.rights.value}.",
        "This is shown once; nobody can look it up later.",
        "",
        f"  secret (API_SECRET)  {secret}",
        f"  token                {token}",
        "",
        f"  xDrip+               {scheme}://{quote(secret)}@{place}/api/v1/",
        f"  Juggluco, Loop, Trio {scheme}://{place}   and the secret",
        f"  AAPS (NSClient v3)   {scheme}://{place}   and the token",
        "",
        "Put the name or address of this machine in place of THIS-MACHINE.",
    ):
        write_line(line)
    if not settings.nightscout.enabled:
        write_line("The listener is off: write enabled = true under [nightscout] and start the gateway again.")
    elif settings.nightscout.host in ("127.0.0.1", "::1", "localhost"):
        write_line('It listens to this machine only; for a phone of the house set host = "0.0.0.0" under [nightscout].')
    return 0


async def _own(registry: Registry, settings: Settings, person_id: PersonId, device_id: DeviceId, label: str) -> None:
    """Make the device known as this person's. Raises ConfigurationError: it is another's, or the file says nobody's."""
    configured = next((device for device in settings.devices if device.id == device_id), None)
    if configured is not None:
        if configured.person != person_id:
            owner = configured.person or "nobody"
            raise ConfigurationError(
                [(f"devices.{device_id}.person", f"this device is {owner}'s in the configuration")]
            )
        return
    known = next((device for device in await registry.devices() if device.device_id == device_id), None)
    if known is not None and known.person_id is not None:
        if known.person_id != person_id:
            raise ConfigurationError([("", f"device {device_id!r} is {known.person_id}'s; choose another name")])
        return
    await registry.declare([], [Device(device_id, DeviceKind.CGM, label, person_id)])


async def _list(arguments: argparse.Namespace) -> int:
    async with opened(settings_of(arguments)) as store:
        owners = {device.device_id: device.person_id for device in await store.registry.devices()}
        for token in await store.access.tokens():
            state = "revoked" if token.revoked_at else "valid"
            if state == "valid" and owners.get(token.device_id) != token.person_id:
                state = "device has another owner"
            line = {
                "id": token.token_id,
                "name": token.label,
                "person": token.person_id,
                "device": token.device_id,
                "rights": token.rights.value,
                "state": state,
                "created_at": token.created_at.isoformat(),
                "last_used_at": token.last_used_at.isoformat() if token.last_used_at else None,
                "revoked_at": token.revoked_at.isoformat() if token.revoked_at else None,
            }
            write_line(dump({name: value for name, value in line.items() if value is not None}))
    return 0


async def _revoke(arguments: argparse.Namespace) -> int:
    async with opened(settings_of(arguments)) as store:
        if not await store.access.revoke(arguments.token, utc_now()):
            raise ConfigurationError(
                [("", f"no valid secret is called {arguments.token!r}; see: gateway nightscout list")]
            )
    write_line("Revoked. What it uploaded stays.")
    return 0
