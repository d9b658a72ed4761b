"""The command line. Exit status: 0 done, 1 failed, 2 wrong arguments or malformed input."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from gateway import __version__
from gateway.commands import (
    check,
    decode,
    doctor,
    facts,
    fhir,
    gaps,
    imports,
    intake,
    nightscout,
    outbox,
    pair,
    quarantine,
    radio,
    readings,
    run,
    scan,
    simulate,
    summary,
    weigh_ins,
)
from gateway.commands.common import BAD_INPUT, write_line
from gateway.errors import ConfigurationError, GatewayError
from gateway.logs import configure_logs

__all__ = ["build_parser", "main"]


def build_parser() -> argparse.ArgumentParser:
    """Every command with its help."""
    parser = argparse.ArgumentParser(
        prog="gateway",
        description="Passerelle: from glucose sensors and scales at home into the patient's own health space.",
        epilog="Passerelle collects, displays and files readings. It gives no medical advice and raises no alarm.",
    )
    parser.add_argument("--version", action="version", version=f"passerelle {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in (
        run, check, doctor, scan, radio, pair, nightscout, readings, weigh_ins, imports, summary, facts, gaps,
        intake, quarantine, outbox, decode, fhir, simulate,
    ):  # fmt: skip
        module.register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the `gateway` script; returns the exit status."""
    arguments = build_parser().parse_args(argv)
    configure_logs("console", "warning")  # standard output belongs to what the command says
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except ConfigurationError as error:
        for path, text in error.problems:
            write_line(f"gateway: {path}: {text}" if path else f"gateway: {text}", sys.stderr)
        return BAD_INPUT
    except GatewayError as error:
        write_line(f"gateway: {error}", sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status
