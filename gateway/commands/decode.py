"""`gateway decode`: bytes of a device in words, for whoever debugs one. The output is a contract."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator

from gateway.commands.common import BAD_INPUT, Commands, dump, write_line
from gateway.devices.describe import (
    CHARACTERISTICS,
    SERVICE_DATA_FORMATS,
    UnknownFormat,
    describe_characteristic,
    describe_service_data,
)
from gateway.errors import MalformedFrame

__all__ = ["register"]

_SEPARATORS = re.compile(r"[\s:_-]|^0[xX]")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "decode",
        help="say what the bytes of a Bluetooth device mean",
        description="Writes one JSON object per HEX. Malformed bytes give an error object and exit status 2.",
        epilog="characteristics: "
        + ", ".join(f"{uuid} {name}" for uuid, name in CHARACTERISTICS.items())
        + "; service data: "
        + ", ".join(f"{uuid} {name}" for uuid, name in SERVICE_DATA_FORMATS.items()),
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--characteristic", metavar="UUID", help="value of this characteristic, for instance 2a18")
    what.add_argument("--service-data", metavar="UUID", help="service data of an advertisement, for instance 181d")
    crc = parser.add_mutually_exclusive_group()
    crc.add_argument("--crc", dest="has_crc", action="store_true", default=None, help="the sensor sends an E2E-CRC")
    crc.add_argument("--no-crc", dest="has_crc", action="store_false", help="it sends none (default: found out)")
    parser.add_argument("payloads", metavar="HEX", nargs="+", help="bytes as hex digits; '-' reads lines of them")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    status = 0
    for payload in arguments.payloads:
        for text in _lines() if payload == "-" else (payload,):
            try:
                answer = _described(arguments, text)
            except MalformedFrame as error:
                answer, status = {"error": "malformed", "reason": str(error)}, BAD_INPUT
            except UnknownFormat as error:
                write_line(f"gateway decode: {error}", sys.stderr)
                return BAD_INPUT
            write_line(dump(answer))
    return status


def _lines() -> Iterator[str]:
    """Lines of standard input that are not blank; bytes that are not UTF-8 make a line malformed, not the program."""
    for line in sys.stdin.buffer:
        if line.strip():
            yield line.decode("utf-8", errors="replace")


def _described(arguments: argparse.Namespace, text: str) -> dict[str, object]:
    digits = _SEPARATORS.sub("", text.strip())
    try:
        payload = bytes.fromhex(digits)
    except ValueError:
        raise MalformedFrame("not an even number of hexadecimal digits") from None
    if arguments.service_data is not None:
        return describe_service_data(arguments.service_data, payload)
    return describe_characteristic(arguments.characteristic, payload, has_crc=arguments.has_crc)
