"""`gateway doctor`: can this machine be used for Bluetooth, and if not, which line puts it right?"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from gateway.commands.common import DEFAULT_CONFIG, Commands, add_config, dump, settings_of, write_line
from gateway.hub_clock import HubClock

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "doctor",
        help="find out why Bluetooth does not work",
        description="Looks at D-Bus, BlueZ, the adapter, switches, the service and the container around it, and says "
        "for each fault the line that puts it right. Changes nothing.",
    )
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of sentences")
    parser.add_argument("--bus", metavar="ADDRESS", help="D-Bus address of another bus than the system's")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from gateway.adapters.sources.bluetooth.bluez.doctor import Severity, diagnose
    from gateway.adapters.sources.bluetooth.bluez.look import look_at_host

    has_config = arguments.config != DEFAULT_CONFIG or arguments.config.exists()
    settings = settings_of(arguments) if has_config else None
    bluetooth = None if settings is None else settings.bluetooth
    is_believed = settings is not None and settings.gateway.clock == "trusted"
    facts = asyncio.run(
        look_at_host(
            bus_address=arguments.bus,
            root=Path("/"),
            environment=os.environ,
            wanted_adapter=bluetooth.adapter if bluetooth is not None else None,
            is_enabled=bluetooth.enabled if bluetooth is not None else None,
            is_local=bluetooth is None or bluetooth.local,
            clock_is_trusted=HubClock(is_believed=is_believed).is_trusted,
        )
    )
    findings = diagnose(facts)
    is_well = all(finding.severity is not Severity.FAULT for finding in findings)
    if arguments.json:
        said = [
            {"code": f.code, "severity": f.severity.value, "text": f.text, "fixes": list(f.fixes)} for f in findings
        ]
        write_line(dump({"is_well": is_well, "container": facts.container.value, "findings": said}))
        return 0 if is_well else 1
    for finding in findings:
        write_line(f"{finding.severity.value:<6} {finding.text}")
        for fix in finding.fixes:
            write_line(f"         {fix}")
    write_line("Bluetooth can be used." if is_well else "Bluetooth cannot be used yet. The first fault comes first.")
    return 0 if is_well else 1
