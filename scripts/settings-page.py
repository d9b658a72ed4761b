#!/usr/bin/env python3
"""Write docs/settings.md from the settings models: scripts/settings-page.py [--check]

With --check nothing is written; the exit status is 1 when the page is not what the models say.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import AfterValidator, AwareDatetime, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway import settings, settings_mappings, settings_mqtt_dialects, settings_people
from gateway.model import Metric, Unit

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """\
# Settings

The configuration is one TOML file, `/etc/passerelle/hub.toml` unless `--config` names another; `config/hub.toml` is a
commented example. `gateway check` reads it and lists every fault with its path in the file. A key that is not in these
tables stops the start. Relative paths count from the file's folder.

Secrets are never in the file: `access_code_file`, `password_file`, `key_file`, `bind_key_file`,
`scale_consent_file` and `client_secret_file` name files whose first line is the secret. Such a file must not be
readable by group or others (`chmod 600`).

This page is made from the settings models by `scripts/settings-page.py`; a test fails when it is stale.
"""
SECTIONS: dict[str, tuple[type[BaseModel], str]] = {
    "[gateway]": (settings.GatewaySettings, "The house, the language of its pages, and the log."),
    "[store]": (settings.StoreSettings, "The database file."),
    "[web]": (
        settings.WebSettings,
        "The page. Listening beyond this machine needs `access_code_file`; a code has eight characters at least.",
    ),
    "[mqtt]": (
        settings.MqttSettings,
        "The subscription to a broker. `cert_file` and `key_file` go together; `password_file` needs `username`.",
    ),
    "[[mqtt.dialects]]": (
        settings_mqtt_dialects.DialectSettings,
        "One table for each program whose messages are taken too, see [`mqtt.md`](mqtt.md). No two may have topics in "
        "common. `device` is one of `[[devices]]`; it is needed where the topics name no Bluetooth address.",
    ),
    "[[mqtt.dialects.entities]]": (
        settings_mqtt_dialects.EntitySettings,
        "For `esphome_miscale` (default: by the end of the object's name) and `ha_statestream` (needed): what a bare "
        "number means.",
    ),
    "[[mqtt.mappings]]": (
        settings_mappings.MappingSettings,
        "One table for each kind of message that no dialect knows, see [`sources/mapping.md`](sources/mapping.md). "
        "Give `metric`, `path` and `unit` here, or several tables `[[mqtt.mappings.values]]`.",
    ),
    "[[mqtt.mappings.values]]": (settings_mappings.MappedValueSettings, "One table for each number of the message."),
    "[nightscout]": (
        settings.NightscoutSettings,
        "The listener for phone apps, see [`sources/nightscout.md`](sources/nightscout.md). `cert_file` and `key_file` "
        'go together. Beyond this machine it needs them, or `plaintext = "private_network"`: everybody in that '
        "network may then read along, and whoever comes from a public address is turned away.",
    ),
    "[bluetooth]": (
        settings.BluetoothSettings,
        "The radio. Only devices under `[[devices]]` with an address are read.",
    ),
    "[[bluetooth.proxies]]": (
        settings.ProxySettings,
        "One table for each ESP32 with ESPHome; needs the extra `proxies`, see [`bluetooth-proxies.md`]"
        "(bluetooth-proxies.md). With `local = false` there must be one.",
    ),
    "[[people]]": (settings.PersonSettings, "One table for each person."),
    "[[people.travels]]": (
        settings_people.TravelSettings,
        "One table for each zone that a person has lived in since, see [`time.md`](time.md). Keep them: readings of "
        "then are placed by them.",
    ),
    "[[devices]]": (
        settings.DeviceSettings,
        "One table for each device. `scale_user` and `scale_consent_file` go together. `bind_key_file` needs "
        "`address`; see [`sources/advertising.md`](sources/advertising.md).",
    ),
    "[[destinations]]": (
        settings.DestinationSettings,
        "Where data may go, once a person has agreed. URLs begin with `https://`, except on this machine. `lease_s` is "
        "more than twice `timeout_s`, or a slow answer could be sent twice.",
    ),
    "[[destinations.accounts]]": (settings.AccountSettings, "One person's account there."),
}
WORDS = {
    "[gateway].log_level": "Least severe lines to write.",
    "[web].enabled": "Whether there is a page at all.",
    "[web].port": "0 takes a free one.",
    "[mqtt].enabled": "Whether to listen to a broker.",
    "[mqtt].host": "The broker.",
    "[mqtt].port": "Of the broker.",
    "[mqtt].username": "Who we are to the broker.",
    "[mqtt].max_payload_bytes": "Larger payloads are set aside, cut to this length.",
    "[mqtt].keepalive_s": "Silence after which the broker is asked whether it is there.",
    "[nightscout].enabled": "Whether to listen to phone apps.",
    "[nightscout].port": "0 takes a free one.",
    "[bluetooth].enabled": "Whether to use the radio.",
    "[bluetooth].connect_timeout_s": "For finding the services of a device, and for starting the scan.",
    "[[people]].id": "Short name; commands and exports use it. Never sent.",
    "[[people]].name": "What the page says. Never logged, never sent.",
    "[[people]].glucose_unit": "On the page.",
    "[[devices]].id": "Short name; over MQTT it is the topic level.",
    "[[devices]].kind": "What it is.",
    "[[devices]].name": "What the page says.",
    "[[devices]].manufacturer": "For a device that does not say it itself.",
    "[[devices]].model": "Likewise.",
    "[[devices]].serial": "Likewise.",
    "[[destinations]].id": "Short name; `gateway consent grant --to` takes it.",
    "[[destinations]].name": "What the page says.",
    "[[destinations]].token_url": "Where access tokens are given.",
    "[[destinations]].timeout_s": "For one request.",
    "[[destinations]].lease_s": "How long an item is held for sending.",
    "[[destinations.accounts]].person": "Whose account.",
    "[[destinations.accounts]].client_id": "Given at the pairing.",
}


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_section(title, model, words) for title, (model, words) in SECTIONS.items())


def _section(title: str, model: type[BaseModel], words: str) -> str:
    rows = [
        f"| `{name}` | {_kind(field)} | {_default(field)} | {field.description or WORDS[f'{title}.{name}']} |"
        for name, field in model.model_fields.items()
        if not _is_list_of_tables(field)
    ]
    table = "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows])
    return f"\n## `{title}`\n\n{words}\n\n{table}\n"


def _is_list_of_tables(field: FieldInfo) -> bool:
    arguments = typing.get_args(field.annotation)
    return bool(arguments) and isinstance(arguments[0], type) and issubclass(arguments[0], BaseModel)


def _kind(field: FieldInfo) -> str:
    plain, notes = _unwrapped(field.annotation)
    notes = [*notes, *field.metadata]
    if any(isinstance(note, AfterValidator) and note.func.__name__ == "_identifier" for note in notes):
        return "identifier"
    if any(isinstance(note, AfterValidator) and note.func.__name__ == "_zone" for note in notes):
        return "IANA time zone"
    if typing.get_origin(plain) is typing.Literal:
        return ", ".join(f"`{_text(value)}`" for value in typing.get_args(plain))
    if plain in (Metric, Unit):
        return f"{plain.__name__.lower()}, see [`metrics.md`](metrics.md)"
    if isinstance(plain, type) and issubclass(plain, Enum):
        return ", ".join(f"`{member.value}`" for member in plain)
    if typing.get_origin(plain) is dict:
        return "table of identifiers"
    if typing.get_origin(plain) is tuple:
        return "list of texts"
    if plain is AwareDatetime:
        return "date and time with its offset"
    pattern = next((text for note in notes if (text := getattr(note, "pattern", None))), None)
    name = {bool: "`true`, `false`", int: "whole number", float: "number", str: "text", Path: "path"}[plain]
    if pattern is not None:
        address = "Bluetooth address `AA:BB:CC:DD:EE:FF`"
        return "OID, digits and dots" if "0-2" in pattern else f"{address} or `hci0`" if "hci" in pattern else address
    return name + _bounds(notes)


def _unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """The type without `| None` and `Annotated`, and what was annotated."""
    notes: list[Any] = []
    while True:
        arguments = typing.get_args(annotation)
        if hasattr(annotation, "__metadata__"):
            notes += _flattened(annotation.__metadata__)
            annotation = arguments[0]
        elif type(None) in arguments:
            (annotation,) = [each for each in arguments if each is not type(None)]
        else:
            return annotation, notes


def _flattened(metadata: tuple[Any, ...]) -> Iterator[Any]:
    for note in metadata:
        if isinstance(note, FieldInfo):
            yield from note.metadata
        else:
            yield note


def _bounds(notes: list[Any]) -> str:
    said = []
    for name, words in (("ge", "from"), ("gt", "above"), ("le", "to"), ("lt", "below")):
        said += [f"{words} {getattr(note, name)}" for note in notes if getattr(note, name, None) is not None]
    longest = [note.max_length for note in notes if getattr(note, "max_length", None) is not None]
    said += [f"{longest[0]} characters at most"] if longest else []
    return f", {' '.join(said)}" if said else ""


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "**needed**"
    return "none" if field.default is None else f"`{_text(field.default)}`"


def _text(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{each}"' for each in value) + "]"
    return str(value)


def main() -> int:
    """Write the page, or check it."""
    if sys.argv[1:] == ["--check"]:
        return 0 if PAGE.read_text(encoding="utf-8") == page() else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
