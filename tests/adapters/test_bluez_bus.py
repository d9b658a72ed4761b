"""The connection to the bus, against a real dbus-daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from dbus_kit import private_bus

from gateway.adapters.sources.bluetooth.bluez.bus import Bluez, BluezRefused, BusUnavailable


async def test_nobody_there_is_said_by_name(tmp_path: Path) -> None:
    """Without bluetoothd a call ends in the bus's own error, not in silence."""
    async with private_bus(tmp_path) as bus, Bluez.connect(bus.address) as bluez:
        assert not await bluez.has_owner()
        with pytest.raises(BluezRefused) as refused:
            await bluez.objects()
        assert "org.freedesktop.DBus.Error.ServiceUnknown" == refused.value.name


async def test_no_socket_is_unavailable(tmp_path: Path) -> None:
    """A bus that is not there is a transient error."""
    with pytest.raises(BusUnavailable):
        async with Bluez.connect(f"unix:path={tmp_path / 'none'}"):
            pass


async def test_a_bus_that_dies_is_noticed(tmp_path: Path) -> None:
    """Whoever waits for the end of the bus hears of it, and a call afterwards says so."""
    async with private_bus(tmp_path) as bus, Bluez.connect(bus.address) as bluez:
        lost = asyncio.create_task(bluez.wait_lost())
        await bus.kill()
        async with asyncio.timeout(5):
            await lost
        assert not bluez.is_connected
        with pytest.raises(BusUnavailable):
            await bluez.has_owner()
