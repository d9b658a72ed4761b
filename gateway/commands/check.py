"""`gateway check`: is the configuration sound, down to the secret files?"""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.bind_keys import read_bind_key
from gateway.commands.common import Commands, add_config, settings_of, write_line
from gateway.errors import ConfigurationError
from gateway.settings import Settings, read_secret

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check",
        help="check the configuration",
        description="Lists every fault with its path in the file, and says what the gateway would do.",
    )
    add_config(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    problems: list[tuple[str, str]] = []
    for path, file in _secret_files(settings):
        try:
            read_secret(file)
        except ConfigurationError as error:
            problems += [(path, text) for _, text in error.problems]
    for i, device in enumerate(settings.devices):
        if device.bind_key_file is not None:
            try:
                read_bind_key(device.bind_key_file)
            except ConfigurationError as error:
                problems += [(f"devices[{i}].bind_key_file", text) for _, text in error.problems]
    if settings.bluetooth.enabled:
        from gateway.adapters.sources.bluetooth.proxies.radios import proxy_radios

        try:
            proxy_radios(settings.bluetooth)
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    for sentence in _sentences(settings):
        write_line(sentence)
    return 0


def _secret_files(settings: Settings) -> list[tuple[str, Path]]:
    files: list[tuple[str, Path | None]] = []
    if settings.web.enabled:
        files.append(("web.access_code_file", settings.web.access_code_file))
    if settings.mqtt.enabled:
        files += [("mqtt.password_file", settings.mqtt.password_file), ("mqtt.key_file", settings.mqtt.key_file)]
    if settings.nightscout.enabled:
        files.append(("nightscout.key_file", settings.nightscout.key_file))
    for i, device in enumerate(settings.devices):
        files.append((f"devices[{i}].scale_consent_file", device.scale_consent_file))
    for i, destination in enumerate(settings.destinations):
        for j, account in enumerate(destination.accounts):
            files.append((f"destinations[{i}].accounts[{j}].client_secret_file", account.client_secret_file))
    return [(path, file) for path, file in files if file is not None]


def _sentences(settings: Settings) -> list[str]:
    said = ["The configuration is sound.", f"Readings are kept in {settings.store.path}."]
    bluetooth = [device.id for device in settings.devices if device.address is not None]
    if settings.bluetooth.enabled:
        said.append(f"Bluetooth is on and reads: {', '.join(bluetooth) or 'no device yet'}.")
    elif bluetooth:
        said.append(f"Bluetooth is off, so these devices are not read: {', '.join(bluetooth)}.")
    if settings.mqtt.enabled:
        how = "TLS" if settings.mqtt.tls else "no TLS, this machine only"
        said.append(f"MQTT listens at {settings.mqtt.host}:{settings.mqtt.port} ({how}).")
        for each in settings.mqtt.dialects:
            whose = "the devices whose address the topic names" if each.device is None else each.device
            said.append(f"MQTT takes {each.dialect} on {', '.join(each.filters)} for {whose}.")
    if settings.nightscout.enabled:
        how = "TLS" if settings.nightscout.cert_file is not None else "no TLS, private addresses only"
        said.append(f"Phone apps are listened to at {settings.nightscout.host}:{settings.nightscout.port} ({how}).")
    said += [f"{device.id} has no owner: its readings wait." for device in settings.devices if device.person is None]
    if settings.web.enabled:
        said.append(f"The page is at http://{settings.web.host}:{settings.web.port}.")
    for destination in settings.destinations:
        people = ", ".join(account.person for account in destination.accounts) or "nobody"
        said.append(f"{destination.name} has an account of: {people}. Nothing leaves without their consent.")
    if not settings.destinations:
        said.append("No destination: nothing leaves the house.")
    return said
