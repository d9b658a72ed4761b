"""Fixtures of the tests in the guest; a test module names this one in `pytest_plugins`."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from guest_kit import BluezStack, powered, switched_off, until

from gateway.adapters.sources.bluetooth.bluez.bus import Bluez
from gateway.sandbox.vhci import KernelAir

__all__ = ["air", "bluez", "stack"]

_addresses = (f"00:1A:7D:DA:71:{n:02X}" for n in itertools.count(1))


@pytest.fixture(scope="session")
def stack() -> Iterator[BluezStack]:
    """The stack, running."""
    exchange = os.environ.get("PASSERELLE_BLUEZ_GUEST")
    if exchange is None:
        pytest.fail("these tests run in a guest: make test-bluez", pytrace=False)
    made = BluezStack(Path(exchange))
    made.start_bus()
    made.start_bluetoothd()
    yield made
    made.stop()


@pytest.fixture
async def bluez(stack: BluezStack) -> AsyncIterator[Bluez]:
    """A connection of the test's own to the bus."""
    async with Bluez.connect() as connection:
        await until(connection, connection.has_owner)
        yield connection


@pytest.fixture
async def air(bluez: Bluez) -> AsyncIterator[KernelAir]:
    """An adapter that BlueZ has never seen, powered on.

    It is switched off before it is taken away: Linux 6.1 does not survive the loss of an adapter with a link on it
    (a list in `hci_chan_del` is cut twice).
    """
    async with KernelAir(next(_addresses)) as made:
        await powered(bluez, made.address)
        yield made
        await made.calm()
        await switched_off(bluez, made.address)
