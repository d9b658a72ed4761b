"""`gateway simulate`: synthetic readings, and virtual devices to try gateways and apps with."""

from __future__ import annotations

import argparse
from datetime import date
from zoneinfo import ZoneInfo

from gateway.commands import simulate_device
from gateway.commands.common import Commands, local_day, output, write_line

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("simulate", help="make synthetic data for trying the gateway out")
    kinds = parser.add_subparsers(title="what", required=True, metavar="WHAT")
    readings = kinds.add_parser(
        "readings",
        help="readings of a glucose sensor, a meter with meal marks and a scale",
        description="Deterministic: the same arguments give the same bytes. Not real, not a physiological model.",
    )
    readings.add_argument("--days", type=_days, default=15, help="local days (default: 15)")
    readings.add_argument("--seed", type=int, default=7, help="which synthetic person (default: 7)")
    readings.add_argument(
        "--start", type=local_day, default=date(2026, 3, 1), metavar="DAY", help="first day (default: 2026-03-01)"
    )
    readings.add_argument("--format", choices=["jsonl"], default="jsonl", help="our JSON lines")
    readings.add_argument("--output", default="-", metavar="FILE", help="default: standard output")
    readings.set_defaults(run=_run)
    simulate_device.register(kinds)


def _days(text: str) -> int:
    try:
        days = int(text)
    except ValueError:
        days = 0
    if not 1 <= days <= 3660:
        raise argparse.ArgumentTypeError("give 1 to 3660 days")
    return days


def _run(arguments: argparse.Namespace) -> int:
    from gateway.reading_json import dump_reading
    from gateway.sandbox.synthesis import SyntheticPerson, synthetic_readings

    person, zone = SyntheticPerson(arguments.seed), ZoneInfo("Europe/Paris")
    with output(arguments.output) as stream:
        for reading in synthetic_readings(person, arguments.start, arguments.days, zone):
            write_line(dump_reading(reading), stream)
    return 0
