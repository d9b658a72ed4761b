"""The virtual air reached from another host, over HCI packets."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from bleak import BleakClient, BleakScanner
from virtual_link import PATIENCE_S, Inbox, noon, records

from gateway.sandbox.hci import DistantCentral, HciAir, HciDoor, TransportUnusable, opened_transport
from gateway.sandbox.peripherals import VirtualMeter
from gateway.sandbox.radio import VirtualAir

ADDRESS = "C0:FF:EE:00:00:21"
SUCCESS = b"\x06\x00\x01\x01"


async def fetched(central: DistantCentral) -> list[bytes]:
    """What the meter tells somebody who pairs and asks for everything."""
    device = await BleakScanner.find_device_by_address(ADDRESS, timeout=PATIENCE_S, backend=central.scanner_backend)
    assert device is not None
    async with BleakClient(device, pair=True, timeout=PATIENCE_S, backend=central.client_backend) as client:
        inbox = Inbox()
        await inbox.subscribe(client, 0x2A18, 0x2A34, 0x2A52)
        assert SUCCESS == await inbox.ask(client, 0x2A52, b"\x01\x01")
        return inbox.of(0x2A18)


async def test_devices_outlive_a_client_of_the_door(tmp_path: Path) -> None:
    """A host that vanishes in mid-link is a lost link for the device; the next one uses the bond of the first."""
    bonds = tmp_path / "bonds.json"
    async with VirtualAir() as air, HciDoor(air, tmp_path / "hci").opened():
        meter = VirtualMeter(air, ADDRESS, "meter", "1", records(5), clock=noon, passkey=123456)
        await meter.start()
        async with opened_transport(f"unix:{tmp_path / 'hci'}") as transport:
            central = DistantCentral(transport, bonds, {ADDRESS: 123456})
            assert 5 == len(await fetched(central))
            device = await BleakScanner.find_device_by_address(
                ADDRESS, timeout=PATIENCE_S, backend=central.scanner_backend
            )
            assert device is not None
            await BleakClient(device, backend=central.client_backend).connect()
            assert meter.is_connected
        await meter.wait_at_rest()
        await meter.measure(Decimal(99))
        async with opened_transport(f"unix:{tmp_path / 'hci'}") as transport:
            again = DistantCentral(transport, bonds, {})
            assert 6 == len(await fetched(again))
            await again.close()


async def test_a_device_on_a_controller_elsewhere(tmp_path: Path) -> None:
    """A virtual device runs on whatever controller a transport leads to, and is heard where that controller is."""
    door = tmp_path / "hci"
    async with (
        VirtualAir() as air,
        HciDoor(air, door).opened(),
        opened_transport(f"unix:{door}") as transport,
        HciAir(transport) as real,
    ):
        meter = VirtualMeter(real, ADDRESS, "meter", "1", records(4), clock=noon, secure=False)
        await meter.start()
        with pytest.raises(ValueError, match="one virtual device"):
            real.controller("another")
        device = await BleakScanner.find_device_by_name("meter", timeout=PATIENCE_S, backend=air.scanner_backend)
        assert device is not None
        async with BleakClient(device, timeout=PATIENCE_S, backend=air.client_backend) as client:
            inbox = Inbox()
            await inbox.subscribe(client, 0x2A18, 0x2A34, 0x2A52)
            assert SUCCESS == await inbox.ask(client, 0x2A52, b"\x01\x01")
            assert 4 == len(inbox.of(0x2A18))


@pytest.mark.parametrize("spec", ["nonsense", "usb:0", "hci-socket:77", "unix:/nowhere/hci", "tcp-client:127.0.0.1:1"])
async def test_transport_that_cannot_be_used(spec: str) -> None:
    """The message names the transport."""
    with pytest.raises(TransportUnusable, match=spec.partition(":")[0]):
        async with opened_transport(spec):
            pass
