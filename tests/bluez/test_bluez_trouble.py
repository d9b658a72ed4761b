"""What a real BlueZ does to a gateway: it dies, it comes back, its adapter is pulled out and returns."""

from __future__ import annotations

import pytest
from bluetooth_kit import MemoryIntake, make_device, running
from guest_kit import BluezStack, kernel_source, make_meter, numbers, powered, records

from gateway.adapters.sources.bluetooth.bluez.bus import Bluez
from gateway.model import DeviceKind
from gateway.sandbox.vhci import KernelAir

pytest_plugins = ("guest_fixtures",)
pytestmark = pytest.mark.bluez

METER = "C0:FF:EE:00:00:01"


async def test_bluetoothd_restarts(stack: BluezStack, bluez: Bluez, air: KernelAir) -> None:
    """Killed and started again while we scan: scanning resumes, and the next fetch begins at the watermark."""
    meter = await make_meter(air, records(1, 3), address=METER)
    intake, source = MemoryIntake(), kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER))
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 3)
        await meter.wait_disconnected()
        stack.kill_bluetoothd()
        stack.start_bluetoothd()
        await powered(bluez, air.address)
        await meter.add_record(records(4, 4)[0])
        await intake.until(lambda: len(intake.readings) == 4)
    assert [1, 2, 3, 4] == numbers(intake)


async def test_bluetoothd_dies_in_mid_fetch(stack: BluezStack, bluez: Bluez, air: KernelAir) -> None:
    """Killed while records arrive: what was kept stays, the rest comes after it is back; none twice, none lost."""

    def die() -> None:
        stack.kill_bluetoothd()
        stack.start_bluetoothd()

    await make_meter(air, records(1, 400), address=METER, stays_awake=True, at_frame=(50, die))
    intake, source = MemoryIntake(), kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER))
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 400)
    assert list(range(1, 401)) == numbers(intake)


async def test_adapter_is_followed_by_its_address(bluez: Bluez, air: KernelAir) -> None:
    """Pulled out and put back after another one: it is hci1 now, and it is the one that is used."""
    meter = await make_meter(air, records(1, 3), address=METER)
    intake = MemoryIntake()
    source = kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER), adapter=air.address)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 3)
        await meter.wait_disconnected()
        before = air.index
        await air.pull_out()
        async with KernelAir("00:1A:7D:DA:71:FE") as intruder:
            assert before == intruder.index
            await air.plug_in()
            await powered(bluez, air.address)
            assert before != air.index
            await meter.add_record(records(4, 4)[0])
            await intake.until(lambda: len(intake.readings) == 4)
    assert [1, 2, 3, 4] == numbers(intake)
