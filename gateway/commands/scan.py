"""`gateway scan`: which Bluetooth devices are in range, and which of them the gateway can read."""

from __future__ import annotations

import argparse
import asyncio
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from gateway.commands.common import Commands, add_config, dump, settings_of, write_line
from gateway.logs import configure_logs
from gateway.settings import Settings
from gateway.web.radio_words import RadioLine, is_well, radio_sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.adapters.sources.bluetooth.radio.parts import Radio
    from gateway.devices.drivers import Driver
    from gateway.model import Neighbour, RadioReport

__all__ = ["listened", "register", "report_lines", "seconds"]

_LONGEST_S: Final = 300.0
_SERIAL: Final = re.compile(r"[0-9A-Fa-f]*[0-9]{4,}[0-9A-Fa-f]*")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "scan",
        help="Bluetooth devices in range",
        description="Listens, connects to nothing, and says what was heard: name, signal, family, and whether it is "
        "new, configured, or known but not readable, and why, and the way round. Works beside a running gateway.",
    )
    add_config(parser)
    parser.add_argument("--seconds", type=seconds, default=10.0, metavar="N", help="how long to listen (default: 10)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=lambda arguments: asyncio.run(_run(arguments)))


def seconds(text: str) -> float:
    """An argument of 1 to 300 seconds."""
    if not text.isdigit() or not 1 <= int(text) <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to {_LONGEST_S:.0f}")
    return float(text)


async def listened(
    settings: Settings, listen_s: float, radios: Sequence[Radio] | None = None
) -> tuple[tuple[Neighbour, ...], tuple[RadioReport, ...]]:
    """Who was heard in `listen_s` seconds, and how the radios are; at once when there is no radio.

    Args:
        radios: None: the machine's.
    """
    from gateway.adapters.sources.bluetooth import BluetoothSource
    from gateway.adapters.sources.bluetooth.radio.ladder import Pace, Rung
    from gateway.bind_keys import configured_keys
    from gateway.clock import SystemClock
    from gateway.devices.drivers import load_drivers
    from gateway.model import RadioState

    configure_logs("console", "error")  # what is wrong is said in the sentences
    source = BluetoothSource(
        settings.bluetooth,
        [device for device in settings.household()[1] if device.address is not None],
        zone_of=settings.time_zone_of,
        clock=SystemClock(),
        drivers=load_drivers(),
        keys=configured_keys(settings),
        radios=radios,
        pace=Pace(quiet_s=listen_s / 2, rungs=(Rung.RESTART_SCAN, Rung.TELL)),
    )
    useless = {RadioState.ABSENT, RadioState.BLOCKED, RadioState.DEAF}
    listening = asyncio.create_task(source.listen(), name="scan")
    try:
        async with asyncio.timeout(listen_s):
            while not all(report.state in useless and report.advice for report in source.reports()):
                await source.changed()
    except TimeoutError:
        pass  # listened for as long as was asked
    finally:
        listening.cancel()
        await asyncio.wait([listening])
    return source.neighbours(), source.reports()


def report_lines(reports: Sequence[RadioReport], now: datetime) -> list[str]:
    """A sentence for each radio that was listened to for a moment. `now`: aware."""
    return [radio_sentence(line, "en", now) for line in RadioLine.of(reports)]


async def _run(arguments: argparse.Namespace) -> int:
    from gateway.commands.common import utc_now
    from gateway.devices.drivers import load_drivers

    settings = settings_of(arguments)
    neighbours, reports = await listened(settings, arguments.seconds)
    drivers = {driver.name: driver for driver in load_drivers()}
    rows = [_row(neighbour, drivers) for neighbour in neighbours if _is_known(neighbour)]
    others = len(neighbours) - len(rows)
    if arguments.json:
        radios = [line.as_json() for line in RadioLine.of(reports)]
        write_line(dump({"radios": radios, "devices": rows, "others": others}))
    else:
        for row in rows:
            write_line(_sentence(row))
        if neighbours or any(map(is_well, reports)):
            write_line(f"{others} other device{'' if others == 1 else 's'} that the gateway does not know.")
        for line in report_lines(reports, utc_now()):
            write_line(line)
    return 0 if all(map(is_well, reports)) else 1


def _is_known(neighbour: Neighbour) -> bool:
    return bool(neighbour.driver or neighbour.device_id or neighbour.not_read)


def _row(neighbour: Neighbour, drivers: dict[str, Driver]) -> dict[str, Any]:
    from gateway.devices.models import not_read_named

    driver, not_read = drivers.get(neighbour.driver or ""), not_read_named(neighbour.not_read)
    can_read = driver is not None and (driver.open is not None or driver.listen is not None)
    return {
        "address": neighbour.address,
        "name": None if neighbour.name is None else _SERIAL.sub("…", neighbour.name),
        "rssi_dbm": neighbour.rssi_dbm,
        "kind": None if neighbour.kind is None else neighbour.kind.value,
        "driver": neighbour.driver,
        "title": not_read.title
        if not_read is not None
        else driver.title
        if driver is not None and driver.title
        else None,
        "status": "configured" if neighbour.device_id else "new" if can_read else "not_readable",
        "device": neighbour.device_id,
        "not_read": neighbour.not_read,
        "reason": None if not_read is None else not_read.reason[1],
        "route": None if not_read is None or not_read.route is None else not_read.route[1],
    }


def _sentence(row: dict[str, Any]) -> str:
    status = {
        "configured": f"configured as {row['device']}",
        "new": "new",
        "not_readable": "known, but cannot be read",
    }[row["status"]]
    signal = "    ?" if row["rssi_dbm"] is None else f"{row['rssi_dbm']:5}"
    family = row["title"] or (row["kind"] or "device").replace("_", " ")
    line = f"{row['address']}  {signal} dBm  {family}  {row['name'] or '(no name)'}  {status}"
    return "\n    ".join((line, *(row[part] for part in ("reason", "route") if row[part])))
