"""x"""

from __future__ import annotations

import pytest
import bleak
from bluetooth_kit import MemoryIntake, make_device, running, until_state
from bluez_kit import kernel_source, make_meter, records

from gateway.adapters.sources.bluetooth import LinkState
from gateway.model import DeviceKind
from gateway.sandbox.vhci import KernelAir

pytest_plugins = ("bluez_fixtures",)
pytestmark = pytest.mark.bluez
METER = "C0:FF:EE:00:00:01"


async def test_scan(air: KernelAir) -> None:
    await make_meter(air, records(1, 3), address=METER)
    device = await bleak.BleakScanner.find_device_by_address(METER, timeout=20)
    assert device is not None
    assert "meter" == device.name


async def test_open_meter(air: KernelAir) -> None:
    meter = await make_meter(air, records(1, 3), address=METER)
    intake, source = MemoryIntake(), kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER))
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 3)
        await meter.wait_disconnected()
        await until_state(source, LinkState.ASLEEP)


@pytest.mark.parametrize("n", [500, 1000])
async def test_burst(air: KernelAir, n: int) -> None:
    meter = await make_meter(air, records(1, n), address=METER)
    intake, source = MemoryIntake(), kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER))
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == n)
        await meter.wait_disconnected()
    assert 1 == meter.connections
