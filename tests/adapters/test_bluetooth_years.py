"""What goes wrong once in a year must not stop a gateway in a cupboard: a bad device, a radio that errs, long waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bleak.exc import BleakDBusError, BleakError
from bluetooth_kit import NOW, PARIS, FrozenClock, MemoryIntake, make_device, make_source, running, until_state
from bumble.core import UUID
from bumble.gatt import Characteristic, Service
from dbus_kit import private_bus

from gateway.adapters.sources.bluetooth import LinkState
from gateway.adapters.sources.bluetooth.bluez.adapters import BluezSession
from gateway.adapters.sources.bluetooth.bluez.bus import Bluez
from gateway.adapters.sources.bluetooth.material import Material
from gateway.adapters.sources.bluetooth.radio.parts import Radio
from gateway.devices.advert import Advert
from gateway.devices.drivers import GENERIC_DRIVERS, load_drivers
from gateway.devices.procedures import Facts, Keep, ScaleUser
from gateway.devices.quirks import Quirks
from gateway.listening import Listening
from gateway.model import DeviceId, DeviceKind, SourceKind
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
        has_raised = asyncio.Event()

        def on_advert(self, advert: Advert, heard_at: Any) -> list[Keep]:
            if not self.has_raised.is_set():
                self.has_raised.set()
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
            await once.has_raised.wait()
        await scale.tell(encode_mi_scale(Decimal(61), WALL))
        await intake.until(lambda: len(intake.readings) == 1)
    assert [Decimal(61)] == [reading.value for reading in intake.readings.values()]


async def test_a_cancellation_that_nobody_asked_for_is_a_lost_link(air: VirtualAir) -> None:
    """A library that cancels its own future when the bus goes must not end the task that attends to the device."""

    class Cancelling(air.client_backend):  # type: ignore[misc, name-defined]  # a class that the air makes
        connections = 0

        async def connect(self, *args: Any, **kwargs: Any) -> None:
            type(self).connections += 1
            if self.connections == 1:
                raise asyncio.CancelledError
            await super().connect(*args, **kwargs)

    await add_meter(air)
    intake = MemoryIntake()
    device = make_device(METER, DeviceKind.GLUCOSE_METER)
    source = make_source(air, device, radios=[Radio("one", air.scanner_backend, Cancelling)])
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 1)


async def test_a_radio_whose_library_fails_does_not_stop_the_other(air: VirtualAir) -> None:
    """An error that nobody foresaw, at the start of a scan: the other radio reads on, and this one is tried again."""
    starts = asyncio.Semaphore(0)

    class Broken(air.scanner_backend):  # type: ignore[misc, name-defined]  # a class that the air makes
        async def start(self) -> None:
            starts.release()
            raise AssertionError("of a library below")

    await add_meter(air)
    radios = [Radio("broken", Broken, air.client_backend), Radio("sound", air.scanner_backend, air.client_backend)]
    intake = MemoryIntake()
    source = make_source(air, make_device(METER, DeviceKind.GLUCOSE_METER), radios=radios)
    async with running(source, intake), asyncio.timeout(10):
        await intake.until(lambda: len(intake.readings) == 1)
        for _ in range(2):
            await starts.acquire()


async def test_a_family_that_cannot_be_recognised_stops_one_device_only(air: VirtualAir) -> None:
    """Its look at what a device says about itself fails, before any contact: the scale beside it is read."""

    def recognises(facts: Facts) -> bool:
        raise AssertionError(facts.model)

    meter, *others = GENERIC_DRIVERS
    await add_meter(air)
    scale = VirtualScale(air, SCALE, "scale", "S-3", clock=lambda: WALL, secure=False)
    intake = MemoryIntake()
    source = make_source(
        air,
        make_device(METER, DeviceKind.GLUCOSE_METER),
        make_device(SCALE, DeviceKind.SCALE, "scale"),
        drivers=[meter, replace(meter, name="broken", matches=lambda _advert: False, recognises=recognises), *others],
    )
    async with running(source, intake):
        await scale.weigh(WeighIn(Decimal("71.35"), time_stamp=WALL))
        await scale.start()
        await intake.until(lambda: len(intake.readings) == 1)


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


# --- who ended the link, and who should make the next ---------------------------------------------------------------


async def test_a_link_that_we_gave_up_is_no_wish_for_a_bond(air: VirtualAir) -> None:
    """A person holds the device in the middle of a contact: that it said nothing until then is not its fault."""

    class Counting(air.client_backend):  # type: ignore[misc, name-defined]  # a class that the air makes
        pairings = 0

        async def pair(self, *args: Any, **kwargs: Any) -> None:
            type(self).pairings += 1
            await super().pair(*args, **kwargs)

    meter = await add_meter(air)
    meter.silent = True
    intake = MemoryIntake()
    device = make_device(METER, DeviceKind.GLUCOSE_METER)
    source = make_source(air, device, radios=[Radio("one", air.scanner_backend, Counting)])
    async with running(source, intake):
        await until_state(source, LinkState.READING)
        async with source.hold(METER):
            meter.silent = False
        await intake.until(lambda: len(intake.readings) == 1)
    assert 0 == Counting.pairings


async def test_a_family_that_showed_itself_keeps_its_wake_window(air: VirtualAir) -> None:
    """Its advertisement is of the generic kind; once known by its own words, a connection that fails is tried again
    within its window."""
    tried: list[float] = []

    class Failing(air.client_backend):  # type: ignore[misc, name-defined]  # a class that the air makes
        async def connect(self, *args: Any, **kwargs: Any) -> None:
            tried.append(asyncio.get_running_loop().time())
            if len(tried) > 1:
                raise BleakError("nobody answers")
            await super().connect(*args, **kwargs)

    generic = GENERIC_DRIVERS[0]
    family = replace(
        generic,
        name="a.family",
        title="A family",
        matches=lambda _advert: False,
        quirks=Quirks(wake_s=0.5),
        recognises=lambda facts: facts.serial == "S-1",
    )
    await add_meter(air)
    source = make_source(
        air,
        make_device(METER, DeviceKind.GLUCOSE_METER),
        drivers=[family, generic],
        radios=[Radio("one", air.scanner_backend, Failing)],
        retry_s=60,
    )
    async with running(source, MemoryIntake()), asyncio.timeout(10):
        while len(tried) < 4:
            await source.state_changed()
    assert tried[3] - tried[1] < 5


# --- what is told once ----------------------------------------------------------------------------------------------


async def test_what_a_scale_tells_while_we_hang_up_is_kept(air: VirtualAir) -> None:
    """BlueZ takes two seconds over a disconnection, confirms what comes in them, and the scale forgets it."""

    class Slow(air.client_backend):  # type: ignore[misc, name-defined]  # a class that the air makes
        told = asyncio.Event()

        async def start_notify(self, characteristic: Any, callback: Any, **kwargs: Any) -> None:
            def notified(data: bytearray) -> None:
                callback(data)
                self.told.set()

            await super().start_notify(characteristic, notified, **kwargs)

        async def disconnect(self) -> None:
            if len(intake.readings) == 1:
                self.told.clear()
                await scale.weigh(WeighIn(Decimal("72.25"), time_stamp=WALL + timedelta(minutes=1)))
                await self.told.wait()
            await super().disconnect()

    scale = VirtualScale(air, SCALE, "scale", "S-3", clock=lambda: WALL, secure=False)
    await scale.weigh(WeighIn(Decimal("71.25"), time_stamp=WALL))
    await scale.start()
    intake = MemoryIntake()
    source = make_source(air, SCALE_DEVICE, radios=[Radio("one", air.scanner_backend, Slow)])
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 2)
    assert {Decimal("71.250"), Decimal("72.250")} == {reading.value for reading in intake.readings.values()}


async def test_weigh_ins_of_a_long_outage_of_the_store_are_kept() -> None:
    """What a person wobbles on the scale is no result: it takes no place of one while the store is away."""
    driver = next(driver for driver in load_drivers() if driver.name == "xiaomi.scale")
    listening = Listening(DEVICE, {SourceKind.BLUETOOTH: Material(DEVICE, PARIS)}, clock=FrozenClock(), retry_s=0.05)
    intake = MemoryIntake(is_down=True)
    task = asyncio.create_task(listening.run(intake))

    def hear(mass: Decimal, minute: int, *, is_stable: bool) -> None:
        payload = encode_mi_scale(mass, WALL + timedelta(minutes=minute), is_stable=is_stable)
        listening.hear(driver, Advert(service_data={"181d": payload}))

    for number in range(5):
        for wobble in range(50):
            hear(Decimal(60) + Decimal(wobble) / 10, number, is_stable=False)
            await asyncio.sleep(0)
        hear(Decimal(61 + number), number, is_stable=True)
        await asyncio.sleep(0.01)
    intake.is_down = False
    await intake.until(lambda: len(intake.readings) == 5)
    task.cancel()
    await asyncio.wait([task])
    assert 0 == listening.dropped


# --- the bus --------------------------------------------------------------------------------------------------------


async def test_an_adapter_that_goes_while_it_is_being_found_is_lost(tmp_path: Path) -> None:
    """Its removal may be told before we have looked at what we found."""
    async with private_bus(tmp_path) as bus, Bluez.connect(bus.address) as bluez, asyncio.timeout(5):
        session = BluezSession(bluez)
        removed = ("/org/bluez/hci0", ["org.bluez.Adapter1"])
        session.on_signal("/", "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved", removed)
        session.begin("/org/bluez/hci0", SCALE)
        assert "removed" == await session.wait_lost()


async def test_two_may_wait_for_the_end_of_the_bus(tmp_path: Path) -> None:
    """One who has stopped waiting does not end it for the other."""
    async with private_bus(tmp_path) as bus, Bluez.connect(bus.address) as bluez, asyncio.timeout(5):
        first = asyncio.create_task(bluez.wait_lost())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        second = asyncio.create_task(bluez.wait_lost())
        await asyncio.sleep(0.05)
        assert not second.done()
        await bus.kill()
        await second
