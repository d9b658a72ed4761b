"""One radio and several devices: neighbours, turns, holds, devices that come and go at run time; over virtual air."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.exc import BleakError
from bluetooth_kit import NOW, PARIS, FrozenClock, MemoryIntake, make_device, running, until_state

from gateway.adapters.sources.bluetooth import BluetoothSource, LinkState
from gateway.adapters.sources.bluetooth.radio.ladder import Pace
from gateway.adapters.sources.bluetooth.radio.manager import RadioManager
from gateway.adapters.sources.bluetooth.radio.parts import AdapterAbsent, AdapterSession, Radio, RungFailed
from gateway.devices.drivers import GENERIC_DRIVERS
from gateway.devices.quirks import Quirks
from gateway.model import Device, DeviceId, DeviceKind, RadioState
from gateway.sandbox.peripherals import VirtualCgm, VirtualMeter
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records import CgmSample, MeterRecord
from gateway.settings import BluetoothSettings

WALL = NOW.astimezone(PARIS).replace(tzinfo=None)
START = NOW - timedelta(days=1)
SENSOR, METER = "C0:FF:EE:00:01:00", "C0:FF:EE:00:00:00"


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


def meter_address(number: int) -> str:
    return f"C0:FF:EE:00:00:{number:02X}"


def wall() -> datetime:
    return WALL


async def add_meter(air: VirtualAir, number: int, *, records: int = 2) -> VirtualMeter:
    memory = [MeterRecord(n, WALL - timedelta(days=1, minutes=-n), Decimal(100 + n)) for n in range(1, records + 1)]
    meter = VirtualMeter(air, meter_address(number), "meter", f"S-{number}", memory, clock=wall)
    meter.stays_awake = True
    await meter.start()
    return meter


def sensor_address(number: int) -> str:
    return f"C0:FF:EE:00:01:{number:02X}"


async def add_sensor(air: VirtualAir, number: int = 0) -> VirtualCgm:
    sensor = VirtualCgm(
        air,
        sensor_address(number),
        "sensor",
        "S-9",
        [CgmSample(5, Decimal(100))],
        session_start=START,
        zone=PARIS,
        secure=False,
    )
    await sensor.start()
    return sensor


def meter_device(number: int) -> Device:
    return make_device(meter_address(number), DeviceKind.GLUCOSE_METER, f"meter-{number}")


def make_source(air: VirtualAir, *devices: Device, connections: int = 3, **options: Any) -> BluetoothSource:
    settings = BluetoothSettings(
        enabled=True,
        connections=connections,
        connect_timeout_s=5.0,
        procedure_timeout_s=5.0,
        quiet_s=0.1,
        retry_s=options.pop("retry_s", 0.05),
        revisit_s=options.pop("revisit_s", 60.0),
    )
    if "radios" not in options:
        options["radios"] = [Radio("virtual", air.scanner_backend, air.client_backend)]
    return BluetoothSource(settings, devices, zone_of=lambda _device_id: PARIS, clock=FrozenClock(), **options)


def read_by(intake: MemoryIntake) -> set[DeviceId]:
    return {reading.device_id for reading in intake.readings.values()}


async def test_more_devices_than_slots_are_all_read(air: VirtualAir) -> None:
    """Eight meters and two connections: every record of every meter, once, and never a third link at a time."""
    for number in range(8):
        await add_meter(air, number)
    intake = MemoryIntake()
    source = make_source(air, *map(meter_device, range(8)), connections=2)
    most = 0

    def count() -> bool:
        nonlocal most
        busy = {LinkState.CONNECTING, LinkState.READING}
        most = max(most, sum(state.state in busy for state in source.states()))
        return len(intake.readings) == 16

    async with running(source, intake):
        await intake.until(count)
    assert 8 == len(read_by(intake))
    assert most <= 2


async def test_sensor_that_holds_its_link_makes_room(air: VirtualAir) -> None:
    """C13: one connection, and a sensor on it for ever: a meter that wakes is read, then the sensor again, complete."""
    sensor = await add_sensor(air)
    intake = MemoryIntake()
    devices = make_device(SENSOR, DeviceKind.CGM, "sensor"), meter_device(0)
    source = make_source(air, *devices, connections=1, revisit_s=0.05)
    async with running(source, intake):
        await intake.until(lambda: DeviceId("sensor") in read_by(intake))
        await sensor.add_sample(CgmSample(10, Decimal(101)))
        await intake.until(lambda: len(intake.readings) == 2)
        meter = await add_meter(air, 0)
        await intake.until(lambda: DeviceId("meter-0") in read_by(intake))
        await meter.stop()
        await sensor.add_sample(CgmSample(15, Decimal(102)))
        await intake.until(lambda: len(intake.readings) == 5)
    assert sensor.connections >= 2
    assert {LinkState.ASLEEP, LinkState.READING} >= {state.state for state in source.states()}


async def test_more_sensors_than_slots_take_turns(air: VirtualAir) -> None:
    """Three sensors that would each hold a link for ever, two slots, and a meter: nobody starves, nothing is missed."""
    sensors = [await add_sensor(air, number) for number in range(3)]
    devices = [make_device(sensor_address(n), DeviceKind.CGM, f"sensor-{n}") for n in range(3)]
    intake = MemoryIntake()
    source = make_source(air, *devices, meter_device(0), connections=2, revisit_s=0.05)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 3)
        for offset_min in (10, 15):
            for sensor in sensors:
                await sensor.add_sample(CgmSample(offset_min, Decimal(100 + offset_min)))
        await add_meter(air, 0)
        await intake.until(lambda: len(intake.readings) == 11)
    assert 4 == len(read_by(intake))


async def test_sensor_that_is_alone_and_linked_is_heard(air: VirtualAir) -> None:
    """It advertises no more; the values on its link are what the radio hears, and it is counted."""
    sensor = await add_sensor(air)
    intake = MemoryIntake()
    pace = Pace(quiet_s=0.1, silence_s=30)
    source = make_source(air, make_device(SENSOR, DeviceKind.CGM, "sensor"), pace=pace)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 1)
        async with asyncio.timeout(10):
            while RadioState.QUIET is not source.reports()[0].state:
                await source.changed()
            await sensor.add_sample(CgmSample(10, Decimal(101)))
            while RadioState.HEARING is not source.reports()[0].state:
                await source.changed()
        assert 1 == source.reports()[0].devices_heard
        assert [DeviceId("sensor")] == [neighbour.device_id for neighbour in source.neighbours()]


async def test_neighbour_of_the_same_model_is_shown_and_left_alone(air: VirtualAir) -> None:
    """C10: heard, named by what it is, without a device of ours, and never connected."""
    stranger = await add_meter(air, 1)
    await add_meter(air, 0)
    intake, source = MemoryIntake(), make_source(air, meter_device(0))
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 2)
        shown = {neighbour.address: neighbour for neighbour in source.neighbours()}
        assert RadioState.HEARING is source.reports()[0].state
    assert 0 == stranger.connections
    assert ("gatt.glucose_meter", DeviceKind.GLUCOSE_METER, None) == (
        shown[meter_address(1)].driver,
        shown[meter_address(1)].kind,
        shown[meter_address(1)].device_id,
    )
    assert DeviceId("meter-0") == shown[meter_address(0)].device_id


async def test_device_is_enrolled_and_dismissed_while_the_gateway_runs(air: VirtualAir) -> None:
    """`watch` reads it from its next advertisement on; `unwatch` gives its link back and reads it no more."""
    sensor = await add_sensor(air)
    intake, source = MemoryIntake(), make_source(air)
    async with running(source, intake):
        source.watch(make_device(SENSOR, DeviceKind.CGM, "sensor"))
        await intake.until(lambda: len(intake.readings) == 1)
        await until_state(source, LinkState.READING)
        source.unwatch(DeviceId("sensor"))
        await sensor.wait_disconnected()
        assert () == source.states()
        source.watch(make_device(SENSOR, DeviceKind.CGM, "first"))
        source.watch(make_device(SENSOR, DeviceKind.CGM, "sensor"))
        assert [DeviceId("sensor")] == [state.device_id for state in source.states()]
        await sensor.add_sample(CgmSample(10, Decimal(101)))
        await intake.until(lambda: len(intake.readings) == 2)
    assert {DeviceId("sensor")} == read_by(intake)


async def test_device_that_is_held_is_left_to_the_holder(air: VirtualAir) -> None:
    """A contact is ended before the block begins; within it nothing is connected; after it, reading goes on."""
    sensor = await add_sensor(air)
    intake, source = MemoryIntake(), make_source(air, make_device(SENSOR, DeviceKind.CGM, "sensor"), revisit_s=0.01)
    async with running(source, intake):
        await sensor.wait_connected()
        await intake.until(lambda: len(intake.readings) == 1)
        async with source.hold(SENSOR.lower()):
            await sensor.wait_disconnected()
            before = sensor.connections
            heard = source.heard(SENSOR)
            assert heard is not None
            client = air.client_backend(heard[0], disconnected_callback=None, timeout=5.0)
            await client.connect(pair=False)
            await client.disconnect()
            assert before + 1 == sensor.connections
        await sensor.add_sample(CgmSample(10, Decimal(101)))
        await intake.until(lambda: len(intake.readings) == 2)


# --- an adapter that comes and goes ---------------------------------------------------------------------------------


class Adapter:
    """Control over an adapter that the test takes away and brings back."""

    adapter: str | None = None
    address: str | None = "00:1A:7D:DA:71:13"

    def __init__(self) -> None:
        self.is_there = True
        self.is_flapping = False
        self.attached_s: list[float] = []
        self.power_cycles = 0
        self._gone = asyncio.Event()

    @asynccontextmanager
    async def attach(self) -> AsyncIterator[AdapterSession]:
        if not self.is_there:
            raise AdapterAbsent("no_adapter")
        self._gone.clear()
        self.attached_s.append(asyncio.get_running_loop().time())
        if self.is_flapping:
            self._gone.set()
        yield self

    def take_away(self) -> None:
        self.is_there = False
        self._gone.set()

    async def wait_lost(self) -> str:
        await self._gone.wait()
        return "removed"

    async def end_links(self, is_wanted: Callable[[str], bool], *, calling_too: bool = False) -> int:
        return 0

    async def power_cycle(self) -> None:
        self.power_cycles += 1
        raise RungFailed("not here")

    async def reset(self) -> None:
        raise RungFailed("not here")


async def test_fetch_is_taken_up_again_after_the_adapter_was_away(air: VirtualAir) -> None:
    """C3: taken away in the middle of a fetch, without a word from the link: the rest comes later, each record once."""
    meter = await add_meter(air, 0, records=60)
    meter.silent = True
    adapter, intake = Adapter(), MemoryIntake()
    radio = Radio("virtual", air.scanner_backend, air.client_backend, adapter)
    source = make_source(air, meter_device(0), radios=[radio], pace=Pace(first_pause_s=0.05, longest_pause_s=0.1))
    async with running(source, intake):
        await until_state(source, LinkState.READING)
        adapter.take_away()
        async with asyncio.timeout(4):  # sooner than the meter's silence would end it
            await meter.wait_disconnected()
            while source.reports()[0].advice is None:
                await source.changed()
        meter.silent = False
        adapter.is_there = True
        await intake.until(lambda: len(intake.readings) == 60)


async def test_radio_that_went_is_not_the_devices_fault(air: VirtualAir) -> None:
    """Taken away in the middle of a contact: the device is not shown as failed, and is answered as soon as the adapter
    is back."""
    meter = await add_meter(air, 0)
    meter.silent = True
    adapter, intake = Adapter(), MemoryIntake()
    radio = Radio("virtual", air.scanner_backend, air.client_backend, adapter)
    pace = Pace(first_pause_s=0.05, longest_pause_s=0.1)
    source = make_source(air, meter_device(0), radios=[radio], pace=pace, retry_s=60.0)
    async with running(source, intake):
        await until_state(source, LinkState.READING)
        adapter.take_away()
        async with asyncio.timeout(5):
            while LinkState.READING is source.states()[0].state:
                await source.state_changed()
        assert LinkState.ASLEEP is source.states()[0].state
        meter.silent = False
        adapter.is_there = True
        await intake.until(lambda: len(intake.readings) == 2)


async def test_adapter_that_is_lost_at_once_is_left_alone_for_longer_each_time(air: VirtualAir) -> None:
    """Something else switches it off whenever it is there: neither the log nor the processor is kept busy by that."""
    adapter = Adapter()
    adapter.is_flapping = True
    radio = Radio("virtual", air.scanner_backend, air.client_backend, adapter)
    source = make_source(air, radios=[radio], pace=Pace(first_pause_s=0.01, longest_pause_s=10))
    async with running(source, MemoryIntake()), asyncio.timeout(10):
        while len(adapter.attached_s) < 6:
            await source.changed()
    assert adapter.attached_s[5] - adapter.attached_s[4] > 0.1


async def test_a_link_that_speaks_ends_the_climb(air: VirtualAir) -> None:
    """The scan was started again for silence, then the sensor speaks: the radio works, and nothing is switched off."""
    sensor = await add_sensor(air)
    adapter, intake = Adapter(), MemoryIntake()
    radio = Radio("virtual", air.scanner_backend, air.client_backend, adapter)
    pace = Pace(quiet_s=0.1, silence_s=0.5, listen_s=10)
    source = make_source(air, make_device(SENSOR, DeviceKind.CGM, "sensor"), radios=[radio], pace=pace)
    async with running(source, intake), asyncio.timeout(9):
        await intake.until(lambda: len(intake.readings) == 1)
        while RadioState.RECOVERING is not source.reports()[0].state:
            await source.changed()
        await sensor.add_sample(CgmSample(10, Decimal(101)))
        while RadioState.HEARING is not source.reports()[0].state:
            await source.changed()
    assert 0 == adapter.power_cycles


async def test_a_radio_that_is_heard_while_its_links_are_awaited_is_not_switched_off() -> None:
    """The rung waits for a link to end, and the link brings something: that is what the rung was to bring about."""
    adapter, (radio, _ear) = Adapter(), radio_of("one", asyncio.Queue())
    changed, leave = asyncio.Event(), asyncio.Event()
    manager = RadioManager(
        replace(radio, control=adapter),
        BluetoothSettings(),
        FrozenClock(),
        drivers=GENERIC_DRIVERS,
        enrolled=lambda _address: None,
        on_heard=lambda _manager, _address, _heard: None,
        on_change=changed.set,
        pace=Pace(silence_s=0.2, listen_s=0.01),
        chance=random.Random(1),
    )
    task = asyncio.create_task(manager.run())
    async with manager.turns.turn("meter", awake_since_s=0, wake_s=None, is_awake=lambda: True) as turn:
        assert turn is not None
        turn.on_leave = leave.set
        async with asyncio.timeout(5):
            await leave.wait()
        manager.turns.on_alive()
        assert RadioState.HEARING is manager.report().state
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])
    assert 0 == adapter.power_cycles


# --- two radios, no air ---------------------------------------------------------------------------------------------


class Ear(BaseBleakScanner):
    """A scanner that hears what the test says."""

    now: Ear
    listening: asyncio.Event

    def __init__(self, callback: Any, service_uuids: Any, scanning_mode: str, **_kwargs: Any) -> None:
        super().__init__(callback, service_uuids)

    async def start(self) -> None:
        self.seen_devices = {}
        type(self).now = self
        self.listening.set()

    async def stop(self) -> None: ...

    def hear(self, rssi: int, *, is_bonded: bool = False) -> None:
        data = AdvertisementData("meter", {}, {}, ["00001808-0000-1000-8000-00805f9b34fb"], None, rssi, ())
        details = {"props": {"Paired": is_bonded}}
        device = self.create_or_update_device(METER, METER, "meter", details, data)
        device.details = details
        self.call_detection_callbacks(device, data)


class Hand(BaseBleakClient):
    """A client that never reaches anybody, and says which radio tried."""

    tried: asyncio.Queue[str]
    radio: str

    async def connect(self, pair: bool, **_kwargs: Any) -> None:
        self.tried.put_nowait(self.radio)
        await self._nobody()

    async def _nobody(self, *_args: Any, **_kwargs: Any) -> Any:
        raise BleakError("nobody answers")

    async def disconnect(self) -> None: ...

    @property
    def mtu_size(self) -> int:
        return 23

    @property
    def is_connected(self) -> bool:
        return False

    @property
    def name(self) -> str:
        return "hand"

    pair = unpair = start_notify = stop_notify = _nobody
    read_gatt_char = read_gatt_descriptor = write_gatt_char = write_gatt_descriptor = _nobody


def radio_of(name: str, tried: asyncio.Queue[str]) -> tuple[Radio, type[Ear]]:
    """A radio of an `Ear` and a `Hand` of its own."""
    ear = type(f"{name}Ear", (Ear,), {"listening": asyncio.Event()})
    return Radio(name, ear, type(f"{name}Hand", (Hand,), {"tried": tried, "radio": name})), ear


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ((-80, False), (-60, False), "right"),
        ((-60, False), (-80, False), "left"),
        ((-80, True), (-40, False), "left"),
    ],
    ids=["heard-better", "heard-worse", "has-the-keys"],
)
async def test_radio_that_hears_a_device_best_or_has_its_keys_connects(
    air: VirtualAir, left: tuple[int, bool], right: tuple[int, bool], expected: str
) -> None:
    """Two radios hear one meter: one of them tries."""
    tried: asyncio.Queue[str] = asyncio.Queue()
    made = [radio_of(name, tried) for name in ("left", "right")]
    ears = {radio.name: ear for radio, ear in made}
    source = make_source(air, radios=[radio for radio, _ in made])
    async with running(source, MemoryIntake()):
        for ear in ears.values():
            await ear.listening.wait()
        ears["left"].now.hear(left[0], is_bonded=left[1])  # nobody watches it yet: both only listen
        ears["right"].now.hear(right[0], is_bonded=right[1])
        source.watch(meter_device(0))
        await asyncio.sleep(0)
        ears["left"].now.hear(left[0], is_bonded=left[1])
        ears["right"].now.hear(right[0], is_bonded=right[1])
        async with asyncio.timeout(5):
            assert expected == await tried.get()
        assert tried.empty()


async def test_radio_that_hears_best_and_cannot_connect_gives_way(air: VirtualAir) -> None:
    """A board that only listens, in the same room as the device: the adapter next door reads it."""
    tried: asyncio.Queue[str] = asyncio.Queue()
    made = [radio_of(name, tried) for name in ("left", "right")]
    ears = {radio.name: ear for radio, ear in made}
    source = make_source(air, meter_device(0), radios=[radio for radio, _ in made])
    seen: list[str] = []
    async with running(source, MemoryIntake()), asyncio.timeout(10):
        for ear in ears.values():
            await ear.listening.wait()
        while len(seen) < 3:
            ears["right"].now.hear(-40)
            ears["left"].now.hear(-80)
            await asyncio.sleep(0.01)
            if not tried.empty():
                seen.append(tried.get_nowait())
    assert ["left", "right"] == sorted(set(seen))


async def test_short_window_is_used_again_at_once() -> None:
    """A meter awake for 20 s that could not be reached is tried again within its window, not half a minute later."""
    tried: asyncio.Queue[str] = asyncio.Queue()
    radio, ear = radio_of("one", tried)
    quick = replace(GENERIC_DRIVERS[0], quirks=Quirks(wake_s=0.2))
    settings = BluetoothSettings(enabled=True, retry_s=30)
    source = BluetoothSource(
        settings,
        [meter_device(0)],
        zone_of=lambda _device_id: PARIS,
        clock=FrozenClock(),
        drivers=[quick],
        radios=[radio],
    )
    async with running(source, MemoryIntake()), asyncio.timeout(5):
        await ear.listening.wait()
        for _ in range(2):
            while tried.empty():
                ear.now.hear(-60)
                await asyncio.sleep(0)
            tried.get_nowait()


class HalfOpenHand(Hand):
    """A client whose first link is cut off, and whose second is made and ends before anything is answered."""

    async def connect(self, pair: bool, **_kwargs: Any) -> None:
        is_first = not type(self).was_here
        type(self).was_here = True
        self.tried.put_nowait(self.radio)
        if is_first:
            raise BleakError("br-connection-canceled")

    was_here: bool


@pytest.mark.parametrize(
    ("is_bonded", "expected"), [(True, LinkState.NEEDS_PAIRING), (False, LinkState.FAILED)], ids=["bonded", "not"]
)
async def test_keys_that_open_nothing_are_told(is_bonded: bool, expected: LinkState) -> None:
    """Of keys that a device has lost BlueZ says two things in turn, neither of them by name; people are told."""
    tried: asyncio.Queue[str] = asyncio.Queue()
    radio, ear = radio_of("one", tried)
    hand = type("OneHand", (HalfOpenHand,), {"tried": tried, "radio": "one", "was_here": False})
    source = BluetoothSource(
        BluetoothSettings(enabled=True, retry_s=0.05, revisit_s=0.05, connect_timeout_s=2.0),
        [meter_device(0)],
        zone_of=lambda _device_id: PARIS,
        clock=FrozenClock(),
        radios=[replace(radio, client=hand)],
    )
    async with running(source, MemoryIntake()), asyncio.timeout(10):
        await ear.listening.wait()
        for _ in range(2):
            while tried.empty():
                ear.now.hear(-60, is_bonded=is_bonded)
                await asyncio.sleep(0.01)
            tried.get_nowait()
        await until_state(source, expected)
