"""`gateway facts`: what devices have said about themselves, and what is known to be missing of them."""

from __future__ import annotations

import argparse
import asyncio

from gateway.commands.common import Commands, add_config, dump, opened, settings_of, write_line
from gateway.model import DeviceId

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command."""
    facts = commands.add_parser("facts", help="what is kept about devices beside their readings")
    add_config(facts)
    facts.add_argument("--device", metavar="ID", help="only this device's")
    facts.set_defaults(run=lambda arguments: asyncio.run(_facts(arguments)))


async def _facts(arguments: argparse.Namespace) -> int:
    device_id = DeviceId(arguments.device) if arguments.device else None
    async with opened(settings_of(arguments)) as store:
        for fact in await store.readings.facts(device_id):
            write_line(dump({"device": fact.device_id, "fact": fact.name, **fact.state}))
    return 0
