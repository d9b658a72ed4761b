"""A family that shows only after connecting gets its own conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from bluetooth_kit import NOW, PARIS, FrozenClock, MemoryIntake, make_device, running

from gateway.adapters.sources.bluetooth import BluetoothSource
from gateway.devices.drivers import load_drivers
from gateway.model import DeviceKind
from gateway.sandbox.peripherals import VirtualMeter
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records import MeterRecord
from gateway.settings import BluetoothSettings

METER = "C0:FF:EE:00:00:01"
WALL = NOW.astimezone(PARIS).replace(tzinfo=None)


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


def wall() -> datetime:
    return WALL


def backwards(count: int) -> list[MeterRecord]:
    """The newest test has the number 0."""
    return [
        MeterRecord(count - 1 - place, WALL - timedelta(days=1) + timedelta(minutes=place), Decimal(100 + place))
        for place in range(count)
    ]


async def test_backwards_meter_is_recognised_after_connecting(air: VirtualAir) -> None:
    """It advertises a name that says nothing; its maker's name decides, at the first visit and at later ones."""
    meter = VirtualMeter(air, METER, "meter", "S-1", backwards(5), clock=wall, secure=False)
    meter.manufacturer, meter.model = "TaiDoc", "TD-4286"
    await meter.start()
    settings = BluetoothSettings(
        enabled=True, connect_timeout_s=5.0, procedure_timeout_s=5.0, quiet_s=0.1, retry_s=0.05, revisit_s=0.05
    )
    source = BluetoothSource(
        settings,
        [make_device(METER, DeviceKind.GLUCOSE_METER)],
        zone_of=lambda _device_id: PARIS,
        clock=FrozenClock(),
        drivers=load_drivers(),
        scanner_backend=air.scanner_backend,
        client_backend=air.client_backend,
    )
    intake = MemoryIntake()
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 5)
        await meter.wait_disconnected()
        meter.records[:] = backwards(7)
        await intake.until(lambda: len(intake.readings) == 7)
    assert {0} == {reading.epoch for reading in intake.readings.values()}
    assert {100 + n for n in range(7)} == {reading.value for reading in intake.readings.values()}
    assert not any("@" in reading.record_key for reading in intake.readings.values())
