"""`gateway simulate KIND`: a virtual device, read back at once by our own source or put on the air by a transport."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from zoneinfo import ZoneInfo

from gateway.commands.common import local_day, write_line
from gateway.commands.run import run_until_stopped

if TYPE_CHECKING:
    from gateway.sandbox.lab import Kind, Plan, Specimen
    from gateway.sandbox.peripherals.faults import Faults
    from gateway.sandbox.radio import VirtualAir
    from gateway.sandbox.schedule import Schedule

__all__ = ["KINDS", "register"]

KINDS: Final = {
    "glucose-meter": "a blood glucose meter with a memory",
    "onetouch-meter": "a blood glucose meter with the protocol of OneTouch",
    "cgm": "a continuous glucose sensor",
    "scale": "a body composition scale for one person",
    "mi-scale": "a Xiaomi scale, which only broadcasts",
    "mi-body-composition": "a Xiaomi scale with impedance, which only broadcasts",
    "bthome-scale": "a BTHome scale, which only broadcasts",
    "blood-pressure-monitor": "a blood pressure monitor for the arm",
    "thermometer": "a thermometer for the mouth",
    "pulse-oximeter": "a pulse oximeter with a memory of spot checks",
    "heart-rate-belt": "a heart rate belt, worn for a minute",
}
"""Name and help of what can be simulated; a test holds them against the lab's own list, which is slow to import."""

_T = TypeVar("_T")
_ZONE: Final = ZoneInfo("Europe/Paris")
_NOON: Final = time(12, 0)
_EPILOG: Final = "Faults, schedules and transports are explained in docs/simulate.md."


def register(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add one command for each kind."""
    for name, title in KINDS.items():
        parser = kinds.add_parser(
            name,
            help=title,
            description=f"{title[0].upper()}{title[1:]}, made of software. Without --transport our own Bluetooth "
            "source reads it inside this process and prints what it received as reading lines.",
            epilog=_EPILOG,
        )
        _add_options(parser, name)
        parser.set_defaults(run=_run, kind=name)


def _add_options(parser: argparse.ArgumentParser, kind: str) -> None:
    parser.add_argument("--seed", type=int, default=7, help="which synthetic person, and which chances (default: 7)")
    parser.add_argument("--days", type=_number(1, 365), default=3, help="how long it has been measuring (default: 3)")
    parser.add_argument("--records", type=_number(0, 60_000), metavar="N", help="only the newest N of that time")
    parser.add_argument(
        "--start", type=local_day, metavar="DAY", help="it is noon of this day when it begins (default: it is now)"
    )
    parser.add_argument("--schedule", type=_schedule, metavar="WHEN", help="go on measuring: every=60s, at=07:00,12:00")
    parser.add_argument(
        "--speed", type=_number(1, 100_000), default=1, help="how fast its time passes (default: 1, as ours)"
    )
    parser.add_argument(
        "--faults",
        type=partial(_faults, kind),
        default="",
        metavar="WORDS",
        help="what goes wrong: corrupt@2,clock=1970-01-01; a kind refuses what it cannot have",
    )
    parser.add_argument("--passkey", type=_number(0, 999_999), metavar="DIGITS", help="on its display; else Just Works")
    parser.add_argument("--address", type=_address, help="a random static one, C0:... to FF:...")
    parser.add_argument("--name", type=_name, help="as it advertises, at most 20 octets")
    parser.add_argument(
        "--transport", metavar="HCI", help="put it on the air: usb:0, hci-socket:0, serial:/dev/ttyACM0, vhci..."
    )
    parser.add_argument("--seconds", type=float, metavar="N", help="stop by itself after N seconds")


# --- arguments --------------------------------------------------------------------------------------------------------


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r}: give a whole number, {lowest} to {highest}")
        return int(text)

    return number


def _in_words(parse: Callable[[str], _T], text: str) -> _T:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _faults(kind: str, text: str) -> Faults:
    from gateway.sandbox.lab import KINDS as LAB
    from gateway.sandbox.peripherals.faults import parse_faults

    def parse(text: str) -> Faults:
        faults = parse_faults(text)
        LAB[kind].check(faults)
        return faults

    return _in_words(parse, text)


def _schedule(text: str) -> object:
    from gateway.sandbox.schedule import parse_schedule

    return _in_words(parse_schedule, text)


def _address(text: str) -> str:
    from gateway.sandbox.lab import is_random_static

    if not is_random_static(text.upper()):
        raise argparse.ArgumentTypeError(f"{text!r} is no random static address; write C0:FF:EE:00:00:01")
    return text.upper()


def _name(text: str) -> str:
    if not 1 <= len(text.encode()) <= 20:
        raise argparse.ArgumentTypeError(f"{text!r}: give 1 to 20 octets")
    return text


# --- the device -------------------------------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace) -> int:
    status: list[int] = []
    work = _simulate(arguments, status.append)
    return run_until_stopped(work) or (status[0] if status else 0)


def _plan(arguments: argparse.Namespace) -> Plan:
    from gateway.sandbox.lab import LabClock, Plan

    begin: date | None = arguments.start
    start = None if begin is None else datetime.combine(begin, _NOON, _ZONE).astimezone(UTC)
    return Plan(
        LabClock(start, arguments.speed),
        _ZONE,
        seed=arguments.seed,
        days=arguments.days,
        records=arguments.records,
        faults=arguments.faults,
        passkey=arguments.passkey,
        address=arguments.address,
        name=arguments.name,
        is_on_air=arguments.transport is not None,
    )


async def _simulate(arguments: argparse.Namespace, done: Callable[[int], None]) -> None:
    from gateway.sandbox.lab import KINDS as LAB

    plan, kind = _plan(arguments), LAB[arguments.kind]
    with suppress(TimeoutError):
        async with asyncio.timeout(arguments.seconds), _air(arguments.transport) as air:
            specimen = kind.build(air, plan)
            if arguments.transport is None:
                done(await _read_back(air, kind, specimen, plan, arguments.schedule))
                return
            await specimen.device.start()
            write_line(f"{specimen.device.name} ({specimen.device.address}) is on the air. Ctrl-C ends it.")
            if specimen.uses and arguments.schedule is None:
                await specimen.measure()  # a device that remembers nothing would say nothing for ever
            await _go_on(specimen, plan, arguments.schedule)


_ADAPTER_ADDRESS: Final = "00:1B:DC:F2:20:01"
"""Of the adapter that BlueZ gets; it keeps bonds by it."""


@asynccontextmanager
async def _air(transport: str | None) -> AsyncIterator[VirtualAir]:
    from gateway.sandbox.hci import HciAir, TransportUnusable, opened_transport
    from gateway.sandbox.radio import VirtualAir
    from gateway.sandbox.vhci import VHCI, KernelAir

    if transport is None:
        async with VirtualAir() as air:
            yield air
    elif transport.partition(":")[0] == "vhci":
        kernel = KernelAir(_ADAPTER_ADDRESS, path=transport.partition(":")[2] or VHCI)
        try:
            await kernel.plug_in()
        except OSError as error:
            raise TransportUnusable(f"the transport {transport!r} cannot be used: {error.strerror}") from error
        async with kernel as air:
            yield air
    else:
        async with opened_transport(transport) as controller, HciAir(controller) as air:
            yield air


async def _go_on(specimen: Specimen, plan: Plan, schedule: Schedule | None) -> None:
    """Measure as the schedule says, for ever; without one, just be there."""
    if schedule is None:
        await asyncio.Event().wait()
        return
    for due in schedule.after(plan.local_now()):
        wait_s = max(0.0, (due - plan.local_now()).total_seconds()) / plan.clock.speed
        await asyncio.sleep(wait_s)
        await specimen.measure()


async def _read_back(air: VirtualAir, kind: Kind, specimen: Specimen, plan: Plan, schedule: Schedule | None) -> int:
    """Let the real source read the device and print what arrives; 1 when it could not be read."""
    from gateway.commands._read_back import ReadBack

    reading = ReadBack(air, kind, specimen, plan, comes_back=schedule is not None)
    async with asyncio.TaskGroup() as tasks:
        source: asyncio.Task[Any] = tasks.create_task(reading.run(), name="source")
        await specimen.device.start()
        await reading.is_listening()
        if schedule is not None:
            await _go_on(specimen, plan, schedule)
        for at in specimen.uses:
            plan.clock.set(plan.instant(at))
            await specimen.measure()
            await reading.is_over()
        if not specimen.uses:
            await reading.is_over()
        source.cancel()
    return reading.report()
