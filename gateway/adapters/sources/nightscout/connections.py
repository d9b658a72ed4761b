"""The connections to our listener: how many, from where, and how long one may stay silent before it asks anything.

One address has half of them at most: one machine alone cannot shut out the phones of the house.

aiohttp bounds the time between two requests, not the time before the first: somebody who opens connections and says
nothing would keep them for ever.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final

import structlog

__all__ = ["Connections"]

_LOGGED_EVERY_S: Final = 60.0
_LEAST_PER_ADDRESS: Final = 8
_log = structlog.get_logger()


class Connections:
    """Knows the connections of a listener.

    Args:
        most: connections open at once; further ones are closed.
        first_request_s: time until the head of the first request must be complete.
        is_private: turn away everybody whose address is not one of a private network.
    """

    def __init__(self, *, most: int, first_request_s: float, is_private: bool) -> None:
        self.most = most
        self.most_of_one = max(_LEAST_PER_ADDRESS, most // 2)
        self.first_request_s = first_request_s
        self.is_private = is_private
        self._open: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}
        self._addresses: Counter[str] = Counter()
        self._logged_at: float | None = None
        self.turned_away = 0
        """Connections closed because there were too many, or because of where they came from."""
        self.silent = 0
        """Connections closed because no request came."""

    def around(self, inner: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Makes protocols that are known here and hand everything on to those that `inner` makes."""
        return lambda: _Watched(self, inner())

    def __len__(self) -> int:
        """How many are open now."""
        return len(self._open)

    def has_asked(self, transport: asyncio.BaseTransport | None) -> None:
        """The head of a request is complete."""
        if transport is not None and (timer := self._open.get(transport)) is not None:
            timer.cancel()

    def opened(self, transport: asyncio.Transport) -> bool:
        """Whether the connection may stay; otherwise it is closed."""
        address = _address_of(transport)
        is_too_many = len(self._open) >= self.most or self._addresses[address] >= self.most_of_one
        if is_too_many or (self.is_private and not _is_private(address)):
            self.turned_away += 1
            self._tell()
            transport.abort()
            return False
        self._addresses[address] += 1
        loop = asyncio.get_running_loop()
        self._open[transport] = loop.call_later(self.first_request_s, self._give_up, transport)
        return True

    def lost(self, transport: asyncio.BaseTransport) -> None:
        """The connection is gone."""
        if (timer := self._open.pop(transport, None)) is not None:
            timer.cancel()
            address = _address_of(transport)
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def _give_up(self, transport: asyncio.Transport) -> None:
        self.silent += 1
        transport.abort()

    def _tell(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._logged_at is None or now - self._logged_at >= _LOGGED_EVERY_S:
            self._logged_at = now
            _log.warning("nightscout.connection_turned_away", count=self.turned_away, most=self.most)


class _Watched(asyncio.Protocol):
    """Hands everything on; what was turned away is never heard of inside."""

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        self._connections = connections
        self._inner: asyncio.Protocol | None = inner
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream listener gives
        self._transport = transport
        if self._connections.opened(transport) and self._inner is not None:
            self._inner.connection_made(transport)
        else:
            self._inner = None

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._inner is None else self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._connections.lost(self._transport)
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()


def _address_of(transport: asyncio.BaseTransport) -> str:
    """Of the other side; empty: not known."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]).partition("%")[0] if isinstance(peer, tuple) and peer else ""


def _is_private(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_private or address.is_loopback or address.is_link_local
