from __future__ import annotations

import asyncio

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakDeviceNotFoundError, BleakError, BleakGATTProtocolError
from virtual_link import PATIENCE_S, Inbox, find, linked, noon, records, sig

from gateway.sandbox.peripherals import VirtualMeter
from gateway.sandbox.radio import VirtualAir

ADDRESS = "C0:FF:EE:00:00:01"
SECOND = "C0:FF:EE:00:00:02"


def meter_on(
    air: VirtualAir, address: str = ADDRESS, *, passkey: int | None = None, secure: bool = True
) -> VirtualMeter:
    return VirtualMeter(air, address, "meter", "0042", records(3), clock=noon, passkey=passkey, secure=secure)


async def test_scanner_reports_what_is_advertised() -> None:
    """A scan sees address, name and services of every device that is awake, and a service filter holds."""
    heard: dict[str, tuple[str | None, list[str]]] = {}
    both = asyncio.Event()

    def on_advertisement(device: BLEDevice, data: AdvertisementData) -> None:
        heard[device.address] = (data.local_name, data.service_uuids)
        if len(heard) == 2:
            both.set()

    async with VirtualAir() as air:
        await meter_on(air).start()
        await meter_on(air, SECOND).start()
        async with BleakScanner(on_advertisement, backend=air.scanner_backend), asyncio.timeout(PATIENCE_S):
            await both.wait()
        assert {ADDRESS: ("meter", [sig(0x1808)]), SECOND: ("meter", [sig(0x1808)])} == heard
        other = await BleakScanner.find_device_by_filter(
            lambda _d, _a: True, timeout=0.2, service_uuids=[sig(0x181D)], backend=air.scanner_backend
        )
        assert other is None


async def test_just_works_bond_is_used_again() -> None:
    """A device without a display bonds by Just Works and is read over the bond later, without pairing."""
    async with VirtualAir() as air:
        meter = meter_on(air)
        await meter.start()
        async with linked(air, ADDRESS, pair=True) as client:
            assert b"\xff\x03" == bytes(await client.read_gatt_char(sig(0x2A51)))
        assert meter.is_bonded
        async with linked(air, ADDRESS) as client:
            assert b"\xff\x03" == bytes(await client.read_gatt_char(sig(0x2A51)))
        assert 2 == meter.connections


async def test_right_passkey_bonds() -> None:
    """Typing what the display shows bonds, and the bond opens the protected characteristics."""
    async with VirtualAir() as air:
        await meter_on(air, passkey=271828).start()
        air.passkeys[ADDRESS] = 271828
        async with linked(air, ADDRESS, pair=True) as client:
            await Inbox().subscribe(client, 0x2A18)
            assert b"0042" == bytes(await client.read_gatt_char(sig(0x2A25)))


@pytest.mark.parametrize("typed", [314159, None])
async def test_wrong_passkey_is_refused(typed: int | None) -> None:
    """A wrong passkey, or none, gives no bond and leaves no link behind."""
    async with VirtualAir() as air:
        meter = meter_on(air, passkey=271828)
        await meter.start()
        if typed is not None:
            air.passkeys[ADDRESS] = typed
        client = BleakClient(await find(air, ADDRESS), pair=True, timeout=PATIENCE_S, backend=air.client_backend)
        with pytest.raises(BleakError):
            await client.connect()
        assert not client.is_connected
        assert not meter.is_bonded
        await meter.wait_disconnected()
        air.passkeys[ADDRESS] = 271828
        async with linked(air, ADDRESS, pair=True):
            assert meter.is_bonded


async def test_protected_characteristics_need_the_bond() -> None:
    """Reading or subscribing without a bond is refused with an ATT error; device information stays readable."""
    async with VirtualAir() as air:
        await meter_on(air).start()
        async with linked(air, ADDRESS) as client:
            with pytest.raises(BleakGATTProtocolError) as reading:
                await client.read_gatt_char(sig(0x2A51))
            with pytest.raises(BleakGATTProtocolError) as subscribing:
                await client.start_notify(sig(0x2A18), lambda _c, _d: None)
            assert (0x0F, 0x0F) == (reading.value.args[0], subscribing.value.args[0])
            assert b"0042" == bytes(await client.read_gatt_char(sig(0x2A25)))
            assert b"\x5a" == bytes(await client.read_gatt_char(sig(0x2A19)))


async def test_stale_bond_fails_until_it_is_removed() -> None:
    """When the device has lost its keys the bonded client cannot connect; after `unpair` it can bond anew."""
    async with VirtualAir() as air:
        meter = meter_on(air)
        await meter.start()
        async with linked(air, ADDRESS, pair=True):
            pass
        await meter.wait_disconnected()
        await meter.forget_bonds()
        client = BleakClient(await find(air, ADDRESS), pair=True, timeout=PATIENCE_S, backend=air.client_backend)
        with pytest.raises(BleakError):
            await client.connect()
        await client.unpair()
        async with linked(air, ADDRESS, pair=True):
            assert meter.is_bonded


async def test_silence_times_out_and_leaves_nothing_behind() -> None:
    """A device that sleeps gives TimeoutError, an address never heard BleakDeviceNotFoundError; both can be retried."""
    async with VirtualAir() as air:
        meter = meter_on(air, secure=False)
        await meter.start()
        device = await find(air, ADDRESS)
        await meter.sleep()
        with pytest.raises(TimeoutError):
            await BleakClient(device, timeout=0.2, backend=air.client_backend).connect()
        with pytest.raises(BleakDeviceNotFoundError):
            await BleakClient(SECOND, timeout=0.2, backend=air.client_backend).connect()
        await meter.wake()
        async with BleakClient(device, timeout=PATIENCE_S, backend=air.client_backend) as client:
            assert b"0042" == bytes(await client.read_gatt_char(sig(0x2A25)))
        assert 1 == meter.connections


async def test_lost_link_fails_what_is_under_way() -> None:
    """When the device drops the link a pending operation fails with BleakError, and the client is told once."""
    told: list[BleakClient] = []
    async with VirtualAir() as air:
        meter = meter_on(air, secure=False)
        await meter.start()
        client = BleakClient(await find(air, ADDRESS), told.append, timeout=PATIENCE_S, backend=air.client_backend)
        await client.connect()
        reading = asyncio.gather(
            client.read_gatt_char(sig(0x2A51)), client.read_gatt_char(sig(0x2A25)), return_exceptions=True
        )
        dropping = asyncio.ensure_future(meter.drop_link())
        assert {BleakError} == {type(outcome) for outcome in await reading}
        await dropping
        assert [client] == told
        assert not client.is_connected
        with pytest.raises(BleakError):
            await client.read_gatt_char(sig(0x2A25))


async def test_two_devices_at_once_while_scanning() -> None:
    """Several links and a scan live side by side on the one adapter."""
    async with VirtualAir() as air:
        await meter_on(air, secure=False).start()
        await meter_on(air, SECOND, secure=False).start()
        async with (
            BleakScanner(backend=air.scanner_backend),
            linked(air, ADDRESS) as first,
            linked(air, SECOND) as second,
        ):
            assert (True, True) == (first.is_connected, second.is_connected)
            assert 517 == first.mtu_size


async def test_close_leaves_no_task_behind() -> None:
    """After `close()` the loop runs nothing of the air's, even when a link was open."""
    before = asyncio.all_tasks()
    air = VirtualAir()
    meter = meter_on(air)
    await meter.start()
    client = BleakClient(await find(air, ADDRESS), pair=True, timeout=PATIENCE_S, backend=air.client_backend)
    await client.connect()
    await air.close()
    await air.close()
    assert not client.is_connected
    assert not meter.is_connected
    assert before == asyncio.all_tasks()


async def test_public_address_is_refused() -> None:
    """Devices of the air have random static addresses only, which real meters and scales have too."""
    async with VirtualAir() as air:
        with pytest.raises(ValueError):
            meter_on(air, "00:11:22:33:44:55")
