"""`gateway intake replay`: what a captured log would become."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from gateway.commands.common import BAD_INPUT, Commands, dump, input_lines, utc_now, write_line
from gateway.commands.quarantine import shown_text
from gateway.commands.weigh_ins import attributor_of
from gateway.errors import ConfigurationError
from gateway.model import Reading
from gateway.reading_json import dump_reading
from gateway.settings import Settings, load_settings

if TYPE_CHECKING:
    from gateway.intake_log import Fed, LoggedMessage, LoggedRequest

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command."""
    intake = commands.add_parser("intake", help="what a captured log would become")
    acts = intake.add_subparsers(title="what", required=True, metavar="WHAT")
    replay = acts.add_parser(
        "replay",
        help="feed a log of MQTT messages and HTTP requests through the real pipeline",
        description="Everything goes into a store of its own, which is thrown away. Nothing of the gateway is touched.",
    )
    replay.add_argument("file", metavar="FILE", help="JSON lines; - for standard input")
    replay.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: an empty one)")
    replay.add_argument("--keep", type=Path, metavar="DB", help="keep the store: a database file that is made")
    replay.add_argument("--format", choices=("text", "json"), default="text", help="of the answer (default: text)")
    replay.add_argument("--values", action="store_true", help="also what was measured: health data on this terminal")
    replay.set_defaults(run=lambda arguments: asyncio.run(_replay(arguments)))


@contextmanager
def _database(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="passerelle-replay-") as folder:
            yield Path(folder) / "replay.db"
        return
    if keep.exists():
        raise ConfigurationError([("", f"{keep} exists already; --keep makes a new database")])
    yield keep


async def _replay(arguments: argparse.Namespace) -> int:
    settings = load_settings(arguments.config) if arguments.config else Settings.model_validate({})
    with input_lines(arguments.file) as lines, _database(arguments.keep) as path:
        return await _run(arguments, settings, lines, path)


async def _run(arguments: argparse.Namespace, settings: Settings, lines: Iterable[bytes], path: Path) -> int:
    from gateway.adapters.stores.sqlite import SqliteStore
    from gateway.addresses import AddressBook
    from gateway.changes import Changes
    from gateway.intake import StoreIntake
    from gateway.intake_log import BadLine, HttpFeed, LogClock, LogFeed, parse_log_line
    from gateway.nightscout_log import NightscoutFeed
    from gateway.redecoders import mqtt_decoder
    from gateway.replaying import zones_of

    clock = LogClock(utc_now())
    outcomes: Counter[str] = Counter()
    readings = new = 0
    is_json = arguments.format == "json"
    async with SqliteStore.open(path, clock=clock) as store, AsyncExitStack() as own:
        people, devices = settings.household()
        await store.registry.declare(people, devices)
        zone_of = await zones_of(store.registry, ZoneInfo(settings.gateway.time_zone))
        intake = StoreIntake(store.readings, store.registry, Changes())

        async def listener() -> HttpFeed:
            folder = own.enter_context(tempfile.TemporaryDirectory(prefix="passerelle-replay-"))
            return await own.enter_async_context(NightscoutFeed.open(settings, store, intake, clock, Path(folder)))

        decoder = mqtt_decoder(settings, zone_of, AddressBook(devices, store.enrolments, clock))
        attributor = attributor_of(settings, store)
        feed = LogFeed(intake, decoder, clock, listener)
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                logged = parse_log_line(line)
            except BadLine as error:
                outcomes["malformed"] += 1
                write_line(f"gateway intake replay: line {number}: {error}", sys.stderr)
                continue
            fed = await feed.feed(logged, utc_now())
            outcomes[fed.outcome] += 1
            readings, new = readings + len(fed.readings), new + fed.receipt.added
            await attributor.look()
            write_line(dump(_object(number, logged, fed)) if is_json else _sentence(number, logged, fed))
            if arguments.values:
                for reading in fed.readings:
                    write_line(_value(reading, is_json=is_json))
    words = ("readings", "duplicate", "quarantined", "ignored", "malformed")
    if is_json:
        counted = {word: outcomes[word] for word in words}
        totals = {"lines": outcomes.total(), "readings": readings, "new": new, "outcomes": counted}
        write_line(dump({"totals": totals}))
    else:
        write_line(
            f"{outcomes.total()} lines: {outcomes['readings']} gave {new} new readings,"
            f" {outcomes['duplicate']} known already, {outcomes['quarantined']} set aside,"
            f" {outcomes['ignored']} ignored, {outcomes['malformed']} not of a log."
        )
    return BAD_INPUT if outcomes["malformed"] else 0


def _where(logged: LoggedMessage | LoggedRequest) -> tuple[str, str]:
    from gateway.intake_log import LoggedMessage

    if isinstance(logged, LoggedMessage):
        return "mqtt", logged.topic
    return "http", f"{logged.method} {logged.path.partition('?')[0]}"


def _metrics(readings: tuple[Reading, ...]) -> list[str]:
    return sorted({reading.metric.value for reading in readings})


def _object(number: int, logged: LoggedMessage | LoggedRequest, fed: Fed) -> dict[str, object]:
    source, where = _where(logged)
    first = fed.quarantined[0] if fed.quarantined else None
    line: dict[str, object] = {
        "line": number,
        "source": source,
        "where": where,
        "outcome": fed.outcome,
        "readings": len(fed.readings),
        "metrics": _metrics(fed.readings),
        "added": fed.receipt.added,
        "corrected": fed.receipt.corrected,
        "known": fed.receipt.known,
    }
    if first is not None:
        line |= {"reason": first.reason.value, "detail": first.detail}
    if fed.note is not None:
        line["note"] = fed.note
    return line


def _sentence(number: int, logged: LoggedMessage | LoggedRequest, fed: Fed) -> str:
    count = len(fed.readings)
    parts = []
    if count:
        words = f"{count} {'reading' if count == 1 else 'readings'} ({', '.join(_metrics(fed.readings))})"
        news = (
            (fed.receipt.added, "new"),
            (fed.receipt.corrected, "corrected"),
            (fed.receipt.known, "known already"),
        )
        parts.append(f"{words}: {', '.join(f'{how_many} {what}' for how_many, what in news if how_many)}")
    parts += [f"set aside, {item.reason.value}: {shown_text(item.detail)}" for item in fed.quarantined[:1]]
    if not parts:
        parts.append("ignored" if fed.note is None else f"ignored: {fed.note}")
    elif fed.note is not None:
        parts.append(fed.note)
    return f"{number}  {shown_text(_where(logged)[1])}  {'; '.join(parts)}"


def _value(reading: Reading, *, is_json: bool) -> str:
    line = dump_reading(reading, None)
    return line if is_json else f"     {line}"
