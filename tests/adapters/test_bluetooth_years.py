"""What goes wrong once in a year must not stop a gateway in a cupboard: one bad device, a radio that errs, long waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from bleak.exc import BleakDBusError
from bluetooth_kit import NOW, PARIS, MemoryIntake, make_device, make_source, running
from bumble.core import UUID
from bumble.gatt import Characteristic, Service

from gateway.adapters.sources.bluetooth import LinkState
from gateway.adapters.sources.bluetooth.radio.parts import Radio
from gateway.devices.advert import Advert
from gateway.devices.drivers import GENERIC_DRIVERS, load_drivers
from gateway.devices.procedures import Keep, ScaleUser
from gateway.model import DeviceId, DeviceKind
from gateway.sandbox.broadcast_frames import encode_mi_scale
from gateway.sandbox.peripherals import VirtualBroadcaster, VirtualMeter, VirtualScale
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records import MeterRecord, WeighIn

METER, SCALE = "C0:FF:EE:00:00:00", "C0:FF:EE:00:00:03"
DEVICE = DeviceId("device-1")
WALL = NOW.astimezone(PARIS).replace(tzinfo=None)
SCALE_DEVICE = make_device(SCALE, DeviceKind.SCALE)


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


async def add_meter(air: VirtualAir) -> VirtualMeter:
    records = [MeterRecord(1, WALL, Decimal(100))]
    meter = VirtualMeter(air, METER, "meter", "S-1", records, clock=lambda: WALL, secure=False)
    meter.stays_awake = True
    await meter.start()
    return meter


# --- one bad device -------------------------------------------------------------------------------------------------


async def test_an_error_that_nobody_foresaw_stops_one_device_only(air: VirtualAir) -> None:
    """A driver that raises what it must not: its device fails and is tried again, the others keep their links."""

    def broken(_opening: object) -> Any:
        raise AssertionError("of a library below")

    meter = await add_meter(air)
    scale = VirtualScale(air, SCALE, "scale", "S-3", clock=lambda: WALL, secure=False)
    await scale.start()
    intake = MemoryIntake()
    source = make_source(
        air,
        make_device(METER, DeviceKind.GLUCOSE_METER),
        make_device(SCALE, DeviceKind.SCALE, "scale"),
        drivers=[replace(GENERIC_DRIVERS[0], open=broken), *GENERIC_DRIVERS[1:]],
    )
    async with running(source, intake):
        async with asyncio.timeout(10):
            while meter.connections < 2 or LinkState.FAILED is not source.states()[0].state:
                await source.state_changed()
        await scale.weigh(WeighIn(Decimal("71.35"), time_stamp=WALL))
        await intake.until(lambda: len(intake.readings) == 1)
    assert {DeviceId("scale")} == {reading.device_id for reading in intake.readings.values()}


async def test_a_listener_that_raises_what_it_must_not_goes_on_listening(air: VirtualAir) -> None:
    """The packet is lost, and nothing else."""
    driver = next(driver for driver in load_drivers() if driver.name == "xiaomi.scale")
    assert driver.listen is not None
    real = driver.listen({})

    class Once:
        wait_s = None
        has_raised = False

        def on_advert(self, advert: Advert, heard_at: Any) -> list[Keep]:
            if not self.has_raised:
                self.has_raised = True
                raise AssertionError
            return real.on_advert(advert, heard_at)

        def on_silence(self) -> list[Keep]:
            return []

    once = Once()
    scale = VirtualBroadcaster(air, SCALE, "MI_SCALE", 0x181D)
    await scale.start()
    intake = MemoryIntake()
    source = make_source(air, SCALE_DEVICE, drivers=[replace(driver, listen=lambda _state: once)])
    async with running(source, intake):
        await scale.tell(encode_mi_scale(Decimal(60), WALL))
        async with asyncio.timeout(10):
            while not once.has_raised:
                await asyncio.sleep(0.01)
        await scale.tell(encode_mi_scale(Decimal(61), WALL))
        await intake.until(lambda: len(intake.readings) == 1)
    assert [Decimal(61)] == [reading.value for reading in intake.readings.values()]


# --- what BlueZ says ------------------------------------------------------------------------------------------------


class QuietChanges(VirtualScale):
    """Its Database Change Increment can be read and written only, as the User Data Service allows."""

    def services(self) -> list[Service]:
        made = super().services()
        for service in made:
            for characteristic in service.characteristics:
                if characteristic.uuid == UUID.from_16_bits(0x2A99):
                    characteristic.properties &= ~Characteristic.Properties.NOTIFY
        return made


async def test_a_scale_without_an_optional_notification_is_read(air: VirtualAir) -> None:
    """BlueZ and a proxy answer such a subscription with an error of their own: a refusal, not the end of the link."""

    class Strict(air.client_backend):  # type: ignore[misc, name-defined]  # a class that the air makes
        async def start_notify(self, characteristic: Any, callback: Any, **kwargs: Any) -> None:
            if not {"notify", "indicate"} & set(characteristic.properties):
                raise BleakDBusError("org.bluez.Error.NotSupported", ["Operation is not supported"])
            await super().start_notify(characteristic, callback, **kwargs)

    scale = QuietChanges(air, SCALE, "scale", "S-3", users={1: 4711}, clock=lambda: WALL, secure=False)
    await scale.weigh(WeighIn(Decimal("71.25"), user=1, time_stamp=WALL))
    await scale.start()
    intake = MemoryIntake()
    source = make_source(
        air, SCALE_DEVICE, scale_users={DEVICE: ScaleUser(1, 4711)}, radios=[Radio("one", air.scanner_backend, Strict)]
    )
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 1)


async def test_a_device_that_bluez_calls_not_paired_is_paired(air: VirtualAir) -> None:
    """BlueZ has words of its own for insufficient authentication: they ask for a bond, like the ATT error."""

    class Shy(air.client_backend):  # type: ignore[misc, name-defined]  # a class that the air makes
        is_paired = False

        async def pair(self, *_args: Any, **_kwargs: Any) -> None:
            type(self).is_paired = True

        async def start_notify(self, characteristic: Any, callback: Any, **kwargs: Any) -> None:
            if not self.is_paired:
                raise BleakDBusError("org.bluez.Error.NotPermitted", ["Not paired"])
            await super().start_notify(characteristic, callback, **kwargs)

    scale = VirtualScale(air, SCALE, "scale", "S-3", clock=lambda: WALL, secure=False)
    await scale.weigh(WeighIn(Decimal("71.25"), time_stamp=WALL))
    await scale.start()
    intake = MemoryIntake()
    source = make_source(air, SCALE_DEVICE, radios=[Radio("one", air.scanner_backend, Shy)])
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 1)
    assert Shy.is_paired
