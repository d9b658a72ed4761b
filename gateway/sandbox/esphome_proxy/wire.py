"""Frames of ESPHome's native API, the board's side: in the clear and encrypted.

In the clear: 0x00, length and type as variable-length integers, the message. Encrypted: 0x01, length (16 bits, big end
first), a Noise message that holds type and length (16 bits each) and the message; before it a hello and a handshake of
Noise_NNpsk0_25519_ChaChaPoly_SHA256 with the prologue "NoiseAPIInit" and two zero octets.

Source: ESPHome developer documentation, "Native API protocol"; the Noise Protocol Framework, revision 34.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from typing import Protocol

from cryptography.exceptions import InvalidTag
from noise.connection import NoiseConnection

__all__ = ["ClearWire", "NoiseWire", "Wire", "WireError"]

_PROTOCOL = b"Noise_NNpsk0_25519_ChaChaPoly_SHA256"
_PROLOGUE = b"NoiseAPIInit\x00\x00"


class WireError(Exception):
    """The other side does not speak as agreed."""


class Wire(Protocol):
    """Messages over one TCP connection."""

    async def greet(self) -> None:
        """What comes before the first message. Raises WireError."""
        ...

    async def read(self) -> tuple[int, bytes]:
        """Number of the message's type, and its octets. Raises WireError, EOFError, OSError."""
        ...

    def write(self, kind: int, message: bytes) -> None:
        """Queue one message."""
        ...


class ClearWire:
    """Without encryption."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def greet(self) -> None:
        """Nothing."""

    async def read(self) -> tuple[int, bytes]:
        if await self._reader.readexactly(1) != b"\x00":
            self._writer.write(b"\x00Bad indicator byte")  # what a board without a key says to an encrypted hello
            raise WireError("not in the clear")
        length = await self._number()
        kind = await self._number()
        return kind, await self._reader.readexactly(length)

    async def _number(self) -> int:
        number = shift = 0
        while True:
            (octet,) = await self._reader.readexactly(1)
            number |= (octet & 0x7F) << shift
            if not octet & 0x80:
                return number
            shift += 7

    def write(self, kind: int, message: bytes) -> None:
        self._writer.write(b"\x00" + _number_octets(len(message)) + _number_octets(kind) + message)


class NoiseWire:
    """Encrypted with the key that both sides know (base64 of 32 octets)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str, name: str) -> None:
        self._reader = reader
        self._writer = writer
        self._key = b64decode(key)
        self._name = name
        self._noise = NoiseConnection.from_name(_PROTOCOL)

    async def greet(self) -> None:
        await self._frame()  # the client's hello is empty
        self._send(b"\x01" + self._name.encode() + b"\x00")
        self._noise.set_as_responder()
        self._noise.set_psks(self._key)
        self._noise.set_prologue(_PROLOGUE)
        self._noise.start_handshake()
        hello = await self._frame()
        try:
            self._noise.read_message(hello[1:])
        except InvalidTag as error:
            self._send(b"\x01Handshake MAC failure")
            raise WireError("another key") from error
        self._send(b"\x00" + bytes(self._noise.write_message()))

    async def read(self) -> tuple[int, bytes]:
        message = bytes(self._noise.decrypt(await self._frame()))
        return int.from_bytes(message[:2], "big"), message[4:]

    def write(self, kind: int, message: bytes) -> None:
        head = kind.to_bytes(2, "big") + len(message).to_bytes(2, "big")
        self._send(bytes(self._noise.encrypt(head + message)))

    async def _frame(self) -> bytes:
        head = await self._reader.readexactly(3)
        if head[0] != 1:
            self._writer.write(b"\x01\x00\x00")
            raise WireError("not encrypted")
        return await self._reader.readexactly(int.from_bytes(head[1:], "big"))

    def _send(self, frame: bytes) -> None:
        self._writer.write(b"\x01" + len(frame).to_bytes(2, "big") + frame)


def _number_octets(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*octets, number))
