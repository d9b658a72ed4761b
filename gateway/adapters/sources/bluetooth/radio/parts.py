"""What a radio is to the rest of this room: the seam for the machine's adapters, for proxies and for tests.

A radio is a name, the two classes that bleak is told to use (None: its own choice at the time of the call, so that a
library may put its classes in their place), and, where somebody can look after the adapter itself, its control.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import BaseBleakScanner

from gateway.errors import GatewayError, TransientError

__all__ = ["AdapterAbsent", "AdapterBlocked", "AdapterControl", "AdapterSession", "Radio", "RungFailed"]


class AdapterAbsent(TransientError):
    """There is no adapter now. `advice`: stable word for the texts: `no_bus`, `no_service`, `no_adapter`,
    `proxy_offline`."""

    def __init__(self, advice: str) -> None:
        super().__init__(f"no Bluetooth adapter: {advice}")
        self.advice = advice


class AdapterBlocked(TransientError):
    """The adapter is kept off. `advice`: `rfkill`, `permission`, `powered_off`, `proxy_key`, `proxy_firmware`."""

    def __init__(self, advice: str) -> None:
        super().__init__(f"the Bluetooth adapter is kept off: {advice}")
        self.advice = advice


class RungFailed(GatewayError):
    """A rung of the recovery ladder could not be tried. `reason`: words without values, for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AdapterSession(Protocol):
    """One adapter, from the moment it was found until it is lost."""

    @property
    def adapter(self) -> str | None:
        """What bleak calls it now, such as `hci0`; None: bleak need not be told."""
        ...

    @property
    def address(self) -> str | None:
        """Its own Bluetooth address, upper case; None when not known."""
        ...

    async def wait_lost(self) -> str:
        """Return when it was removed or switched off, or when the service or the bus went; which, for the log."""
        ...

    async def end_links(self, is_wanted: Callable[[str], bool], *, calling_too: bool = False) -> int:
        """End the links that the service holds to the wanted addresses (upper case), whoever made them; how many.

        `calling_too`: the service also stops calling those that it has no link to at the moment.
        """
        ...

    async def power_cycle(self) -> None:
        """Off and on again. Raises RungFailed."""
        ...

    async def reset(self) -> None:
        """Reset the hardware, by whatever means there are. Raises RungFailed, among others when there are none."""
        ...


class AdapterControl(Protocol):
    """Finds the adapter of a radio, again and again."""

    def attach(self) -> AbstractAsyncContextManager[AdapterSession]:
        """The adapter, found and switched on, for the length of the block.

        Entering raises AdapterAbsent or AdapterBlocked.
        """
        ...


@dataclass(frozen=True, slots=True)
class Radio:
    """A radio as it is given to the source.

    Attributes:
        name: unique; for people and logs: `hci0`, an address, or the name of a proxy.
        scanner, client: as bleak's `backend=`; None: bleak's own.
        control: looks after the adapter; None: nobody can, only the scan is started again.
        slots: connections at once; None: as the settings say.
    """

    name: str
    scanner: type[BaseBleakScanner] | None = None
    client: type[BaseBleakClient] | None = None
    control: AdapterControl | None = None
    slots: int | None = None
