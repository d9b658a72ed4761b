"""`gateway gaps`: which intervals are missing, and why."""

from __future__ import annotations

import argparse
import asyncio
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from gateway.commands.common import Commands, add_config, dump, local_day, opened, settings_of, utc_now, write_line
from gateway.missing import Missing, missing_readings
from gateway.model import DeviceId, PersonId
from gateway.normalise.gaps import GapReason

__all__ = ["register"]

_DAYS: Final = 14
_WORDS: Final = {
    GapReason.MEMORY_WRAPPED: "overwritten by the device before it was read",
    GapReason.WARM_UP: "the sensor was warming up",
    GapReason.GATEWAY_OFF: "the gateway was not running",
    GapReason.STORE_UNAVAILABLE: "the store could not be written",
    GapReason.RADIO_OFF: "the Bluetooth radio was off",
    GapReason.RADIO_DEAF: "the Bluetooth radio was deaf",
    GapReason.BROKER_SESSION_LOST: "the broker had forgotten what waited in it",
    GapReason.BROKER_AWAY: "the broker could not be reached",
    GapReason.BETWEEN_SENSORS: "between two sensors",
    GapReason.DEVICE_OFFLINE: "the device was not heard",
    GapReason.UNKNOWN: "not known why",
}


def register(commands: Commands) -> None:
    """Add the command."""
    gaps = commands.add_parser("gaps", help="which intervals are missing, and why")
    add_config(gaps)
    gaps.add_argument("--person", metavar="ID", help="only this person's")
    gaps.add_argument("--device", metavar="ID", help="only this device's, by itself")
    gaps.add_argument("--from", dest="first", type=local_day, metavar="DAY", help=f"default: {_DAYS} days ago")
    gaps.add_argument("--to", dest="last", type=local_day, metavar="DAY", help="this day included (default: now)")
    gaps.add_argument("--format", choices=("text", "json"), default="text", help="(default: text)")
    gaps.set_defaults(run=lambda arguments: asyncio.run(_gaps(arguments)))


async def _gaps(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    zone, now = ZoneInfo(settings.gateway.time_zone), utc_now()
    end = now
    if arguments.last is not None:
        end = min(now, datetime.combine(arguments.last + timedelta(days=1), time(), zone).astimezone(UTC))
    start = end - timedelta(days=_DAYS)
    if arguments.first is not None:
        start = datetime.combine(arguments.first, time(), zone).astimezone(UTC)
    async with opened(settings) as store:
        found = await missing_readings(
            store.readings,
            store.ledger,
            start=start,
            end=end,
            person_id=PersonId(arguments.person) if arguments.person else None,
            device_id=DeviceId(arguments.device) if arguments.device else None,
        )
    for missing in found:
        write_line(dump(_object(missing)) if arguments.format == "json" else _sentence(missing, zone))
    if arguments.format == "text" and not found:
        write_line("Nothing is missing that the gateway knows of.")
    return 0


def _object(missing: Missing) -> dict[str, object]:
    gap = missing.gap
    line = {
        "device": missing.device_id,
        "person": missing.person_id,
        "metric": missing.metric.value if missing.metric else None,
        "start": gap.start.isoformat(),
        "end": gap.end.isoformat(),
        "reason": gap.reason.value,
        "also": [reason.value for reason in gap.also] or None,
        "detail": gap.detail or None,
        "expected": gap.expected,
        "missing": gap.missing,
        "is_open": gap.is_open or None,
    }
    return {name: value for name, value in line.items() if value is not None}


def _sentence(missing: Missing, zone: ZoneInfo) -> str:
    gap = missing.gap
    start, end = gap.start.astimezone(zone), gap.end.astimezone(zone)
    until = f"{end:%Y-%m-%d %H:%M}{' and on' if gap.is_open else ''}"
    count = f"{gap.missing} {'reading' if gap.missing == 1 else 'readings'}"
    also = "".join(f"; {_WORDS[reason]}" for reason in gap.also)
    detail = f" ({gap.detail})" if gap.detail else ""
    return f"{start:%Y-%m-%d %H:%M} to {until}  {missing.device_id}  {count}  {_WORDS[gap.reason]}{also}{detail}"
