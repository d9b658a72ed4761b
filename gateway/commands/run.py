"""`gateway run`: the gateway itself. `gateway demo`: the same with virtual devices around it."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from gateway.commands.common import Commands, add_config, settings_of
from gateway.errors import GatewayError

__all__ = ["register", "run_until_stopped"]


def register(commands: Commands) -> None:
    """Add the commands."""
    parser = commands.add_parser("run", help="run the gateway until it is stopped")
    add_config(parser)
    parser.set_defaults(run=_run)

    demo = commands.add_parser(
        "demo",
        help="run the main job with virtual Bluetooth devices, a real broker and a sandbox health space",
        description="Everything stays on this machine. Ctrl-C ends it; a second start continues from what was stored.",
    )
    demo.add_argument(
        "--data", type=Path, default=Path("data/demo"), metavar="FOLDER", help="where it is kept (default: data/demo)"
    )
    demo.add_argument("--port", type=int, default=8080, help="of the page (default: 8080)")
    demo.add_argument("--seconds", type=float, metavar="N", help="stop by itself after N seconds")
    demo.set_defaults(run=_demo)


def _run(arguments: argparse.Namespace) -> int:
    from gateway.app import run_gateway
    from gateway.logs import configure_logs

    settings = settings_of(arguments)
    configure_logs(settings.gateway.log_format, settings.gateway.log_level)
    return run_until_stopped(run_gateway(settings))


def _demo(arguments: argparse.Namespace) -> int:
    from gateway.demo import run_demo
    from gateway.logs import configure_logs

    configure_logs("console", "warning")
    return run_until_stopped(run_demo(arguments.data, port=arguments.port, seconds=arguments.seconds))


def run_until_stopped(work: Coroutine[Any, Any, None]) -> int:
    """Run `work` until it ends or SIGINT or SIGTERM comes; a second signal ends the process at once."""

    async def main() -> None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()

        def stop(number: int) -> None:
            loop.remove_signal_handler(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        try:
            await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise

    try:
        asyncio.run(main())
    except BaseExceptionGroup as group:
        only = group.exceptions[0]
        while isinstance(only, BaseExceptionGroup) and len(only.exceptions) == 1:
            only = only.exceptions[0]
        if len(group.exceptions) == 1 and isinstance(only, GatewayError | BrokenPipeError):
            raise only from group  # what a task group wraps is said as plainly as the rest
        raise
    return 0
