"""`gateway quarantine`: what was set aside, why, and another attempt at it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from zoneinfo import ZoneInfo

from gateway.commands.common import (
    BAD_INPUT,
    Commands,
    add_config,
    dump,
    opened,
    settings_of,
    write_line,
)
from gateway.commands.weigh_ins import attribute_stored
from gateway.errors import ConfigurationError
from gateway.model import DeviceId, QuarantineReason, SourceKind
from gateway.ports import SetAside
from gateway.replaying import Replayed, ReplayOutcome, replay, replay_all, zones_of

__all__ = ["register", "shown_text"]

_HEX_OCTETS = 16
_SHOWN_OCTETS = 4096


def register(commands: Commands) -> None:
    """Add the command."""
    quarantine = commands.add_parser("quarantine", help="what was set aside, why, and another attempt at it")
    acts = quarantine.add_subparsers(title="what", required=True, metavar="WHAT")
    listed = acts.add_parser("list", help="every payload that was set aside, newest first, without what it holds")
    add_config(listed)
    listed.add_argument("--reason", choices=[reason.value for reason in QuarantineReason], help="only for this reason")
    listed.add_argument("--source", choices=[source.value for source in SourceKind], help="only from this source")
    listed.add_argument("--device", metavar="ID", help="only this device's")
    listed.add_argument("--all-states", action="store_true", help="also those that are resolved")
    listed.add_argument("--limit", type=int, default=50, help="rows at most (default: 50)")
    listed.set_defaults(run=lambda arguments: asyncio.run(_list(arguments)))

    show = acts.add_parser("show", help="one payload: health data, shown on this terminal")
    add_config(show)
    show.add_argument("number", type=int, metavar="N", help="as `list` says it")
    show.set_defaults(run=lambda arguments: asyncio.run(_show(arguments)))

    again = acts.add_parser("replay", help="decode again, and store what comes out")
    add_config(again)
    which = again.add_mutually_exclusive_group(required=True)
    which.add_argument("number", type=int, nargs="?", metavar="N", help="as `list` says it")
    which.add_argument("--all", action="store_true", help="everything that is not resolved")
    which.add_argument("--reason", choices=[reason.value for reason in QuarantineReason], help="all for this reason")
    again.set_defaults(run=lambda arguments: asyncio.run(_replay(arguments)))


async def _list(arguments: argparse.Namespace) -> int:
    async with opened(settings_of(arguments)) as store:
        rows = await store.quarantine.rows(
            reason=QuarantineReason(arguments.reason) if arguments.reason else None,
            source=SourceKind(arguments.source) if arguments.source else None,
            device_id=DeviceId(arguments.device) if arguments.device else None,
            with_resolved=arguments.all_states,
            limit=max(arguments.limit, 0),
        )
    for row in rows:
        write_line(dump(_described(row)))
    return 0


def _described(row: SetAside) -> dict[str, object]:
    frame = row.item.frame
    line = {
        "number": row.number,
        "received_at": frame.received_at.isoformat(),
        "source": frame.source.value,
        "channel": frame.channel,
        "device": frame.device_id,
        "reason": row.item.reason.value,
        "detail": row.item.detail,
        "size": len(frame.payload),
        "is_whole": None if row.is_whole else False,
        "resolved_at": row.resolved_at.isoformat() if row.resolved_at else None,
        "resolution": row.resolution,
    }
    return {name: value for name, value in line.items() if value is not None}


async def _show(arguments: argparse.Namespace) -> int:
    async with opened(settings_of(arguments)) as store:
        row = await store.quarantine.set_aside(arguments.number)
    if row is None:
        raise ConfigurationError([("", f"nothing was set aside under the number {arguments.number}")])
    for name, value in _described(row).items():
        write_line(f"{name}: {shown_text(str(value))}")
    if row.item.is_retained is not None:
        write_line(f"retained: {'yes' if row.item.is_retained else 'no'}")
    write_line("payload:")
    for line in _payload_lines(row.item.frame.payload):
        write_line(f"  {line}")
    return 0


def shown_text(text: str) -> str:
    r"""`text` with everything escaped that a terminal could act upon: controls, bidirectional marks, surrogates.

    What a terminal prints as itself stays; a backslash becomes two, so that nothing is ambiguous.
    """
    return "".join(
        character if character.isprintable() and character != "\\" else character.encode("unicode_escape").decode()
        for character in text
    )


def _payload_lines(payload: bytes) -> Iterator[str]:
    """JSON set out where it is JSON, otherwise octets and the text that they may be; the beginning of a long one."""
    try:
        document = json.loads(payload.decode(), parse_float=str, parse_int=str)
    except (ValueError, RecursionError):  # deep nesting ends the parser
        document = None
    if isinstance(document, dict | list) and len(payload) <= _SHOWN_OCTETS:
        yield from _json_lines(payload.decode())
        return
    shown = payload[:_SHOWN_OCTETS]
    for at in range(0, len(shown), _HEX_OCTETS):
        octets = shown[at : at + _HEX_OCTETS]
        text = "".join(chr(octet) if 0x20 <= octet < 0x7F else "." for octet in octets)
        yield f"{at:04x}  {octets.hex(' '):<{3 * _HEX_OCTETS - 1}}  {text}"
    if len(payload) > len(shown):
        yield f"... {len(payload) - len(shown)} more octets"
    try:
        text = shown.decode()
    except UnicodeDecodeError:
        return
    if text:
        yield f"as text: {shown_text(text)}"


def _json_lines(text: str) -> Iterator[str]:
    """The JSON document `text`, known to be one, indented; every token stands as it was written, escaped."""
    depth, line, in_string, is_escaped = 0, "", False, False
    for character in text:
        if in_string:
            line += character
            if is_escaped:
                is_escaped = False
            elif character == "\\":
                is_escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
            line += character
        elif character in "{[":
            yield "  " * depth + _shown_json(line + character)
            depth, line = depth + 1, ""
        elif character in "}]":
            if line:
                yield "  " * depth + _shown_json(line)
            depth, line = depth - 1, character
        elif character == ",":
            yield "  " * depth + _shown_json(line + ",")
            line = ""
        elif character == ":":
            line += ": "
        elif not character.isspace():
            line += character
    if line:
        yield "  " * depth + _shown_json(line)


def _shown_json(text: str) -> str:
    """As `shown_text`, with the escapes of JSON left as they are."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


async def _replay(arguments: argparse.Namespace) -> int:
    from gateway.addresses import AddressBook
    from gateway.changes import Changes
    from gateway.clock import SystemClock
    from gateway.intake import StoreIntake
    from gateway.redecoders import redecoders_of

    settings = settings_of(arguments)
    clock = SystemClock()
    async with opened(settings) as store:
        people, devices = settings.household()
        await store.registry.declare(people, devices)
        zone_of = await zones_of(store.registry, ZoneInfo(settings.gateway.time_zone))
        intake = StoreIntake(store.readings, store.registry, Changes(), zone_of=zone_of)
        redecoders = redecoders_of(settings, intake, zone_of, AddressBook(devices, store.enrolments, clock))
        reason = QuarantineReason(arguments.reason) if arguments.reason else None

        async def chosen() -> AsyncIterator[Replayed]:
            if arguments.number is None:
                async for one in replay_all(
                    redecoders, intake=intake, quarantine=store.quarantine, clock=clock, reason=reason
                ):
                    yield one
                return
            row = await store.quarantine.set_aside(arguments.number)
            if row is None:
                raise ConfigurationError([("", f"nothing was set aside under the number {arguments.number}")])
            yield await replay(row, redecoders, intake=intake, quarantine=store.quarantine, clock=clock)

        outcomes: Counter[ReplayOutcome] = Counter()
        added = 0
        async for one in chosen():
            outcomes[one.outcome] += 1
            added += one.added
            write_line(dump(_told(one)))
        await attribute_stored(settings, store)
    resolved = outcomes[ReplayOutcome.READ] + outcomes[ReplayOutcome.NOTHING]
    left = outcomes.total() - resolved - outcomes[ReplayOutcome.RESOLVED]
    write_line(f"{outcomes.total()} looked at: {resolved} resolved, {left} left; {added} new readings.", sys.stderr)
    return 0 if outcomes.total() or arguments.number is None else BAD_INPUT


def _told(one: Replayed) -> dict[str, object]:
    line = {
        "number": one.number,
        "outcome": one.outcome.value,
        "added": one.added,
        "corrected": one.corrected,
        "known": one.known,
        "reason": one.reason.value if one.reason else None,
        "detail": one.detail,
    }
    return {name: value for name, value in line.items() if value is not None}
