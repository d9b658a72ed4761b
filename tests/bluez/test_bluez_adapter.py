"""The adapter itself, over a real BlueZ: pulled out with a link on it, switched off and on, scanning passively."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from bluetooth_kit import PARIS, MemoryIntake, make_device, running
from guest_kit import ADAPTER, BluezStack, kernel_source, make_meter, numbers, powered, records
from structlog.testing import capture_logs

from gateway.adapters.sources.bluetooth.bluez.bus import Bluez
from gateway.adapters.sources.bluetooth.radio.ladder import Pace, Rung
from gateway.model import DeviceKind, RadioState
from gateway.sandbox.peripherals import VirtualCgm
from gateway.sandbox.records import CgmSample
from gateway.sandbox.vhci import KernelAir

pytest_plugins = ("guest_fixtures",)
pytestmark = pytest.mark.bluez

METER = "C0:FF:EE:00:00:01"
CGM = "C0:FF:EE:00:00:03"


@pytest.fixture
async def experimental(stack: BluezStack, bluez: Bluez, air: KernelAir) -> AsyncIterator[None]:
    """bluetoothd with its experimental interfaces, for the length of a test; started again when it dies."""

    async def again(*options: str) -> None:
        stack.kill_bluetoothd()
        stack.start_bluetoothd(*options)
        await powered(bluez, air.address)

    async def keep() -> None:
        while True:
            await asyncio.sleep(0.2)
            if stack.has_bluetoothd_died():
                stack.start_bluetoothd("--experimental")

    await again("--experimental")
    keeping = asyncio.create_task(keep())
    yield
    keeping.cancel()
    await asyncio.wait({keeping})
    await again()


async def test_adapter_is_pulled_out_with_a_live_link(bluez: Bluez, air: KernelAir) -> None:
    """A sensor is being followed when the adapter goes: what it measured meanwhile comes when the adapter is back."""
    start = datetime(2025, 6, 1, 10, 0, tzinfo=UTC)
    samples = [CgmSample(offset, Decimal(90 + offset % 60)) for offset in range(5, 105, 5)]
    cgm = VirtualCgm(air, CGM, "sensor", "S-2", samples, session_start=start, zone=PARIS, secure=False)
    await cgm.start()
    intake, source = MemoryIntake(), kernel_source(make_device(CGM, DeviceKind.CGM))
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 20)
        await cgm.add_sample(CgmSample(105, Decimal(121)))
        await intake.until(lambda: len(intake.readings) == 21)
        assert cgm.is_connected
        await air.pull_out()
        await cgm.wait_disconnected()
        await cgm.add_sample(CgmSample(110, Decimal(122)))
        await air.plug_in()
        await powered(bluez, air.address)
        await intake.until(lambda: len(intake.readings) == 22)
        await cgm.add_sample(CgmSample(115, Decimal(123)))
        await intake.until(lambda: len(intake.readings) == 23)
    assert 23 == sum(len(batch.readings) for batch in intake.batches)


async def test_adapter_is_pulled_out_in_mid_fetch(bluez: Bluez, air: KernelAir) -> None:
    """Records are coming when it goes: what was kept stays, the rest is fetched when it is back; none twice."""
    fetching = asyncio.Event()
    meter = await make_meter(air, records(1, 400), address=METER, stays_awake=True, at_frame=(50, fetching.set))
    intake, source = MemoryIntake(), kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER))
    async with running(source, intake):
        async with asyncio.timeout(60):
            await fetching.wait()
        await air.pull_out()
        await meter.wait_disconnected()
        await air.plug_in()
        await powered(bluez, air.address)
        await intake.until(lambda: len(intake.readings) == 400)
    assert list(range(1, 401)) == numbers(intake)


async def test_power_cycle_leaves_a_working_radio(bluez: Bluez, air: KernelAir) -> None:
    """Nothing is heard: the scan is started again, the adapter goes off and on, and then a meter is heard and read."""
    switched: list[bool] = []
    is_on_again = asyncio.Event()

    def note(_path: str, _interface: str, member: str, body: tuple[Any, ...]) -> None:
        if member == "PropertiesChanged" and body[0] == ADAPTER and "Powered" in body[1]:
            switched.append(bool(body[1]["Powered"]))
            if switched[-1]:
                is_on_again.set()

    await bluez.listen(note)
    pace = Pace(quiet_s=1, silence_s=2, listen_s=30, rungs=(Rung.POWER_CYCLE, Rung.TELL))
    source = kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER), pace=pace, adapter=air.address)
    intake = MemoryIntake()
    with capture_logs() as lines:
        async with running(source, intake):
            async with asyncio.timeout(60):
                await is_on_again.wait()
            await make_meter(air, records(1, 3), address=METER)
            await intake.until(lambda: len(intake.readings) == 3)
            assert RadioState.HEARING is source.reports()[0].state
    assert [False, True] == switched
    events = [line["event"] for line in lines]
    assert "bluetooth.radio_restored" in events
    assert not {"bluetooth.recovery_rung_failed", "bluetooth.adapter_lost", "bluetooth.scanner_failed"} & set(events)


async def read_passively(air: KernelAir) -> tuple[MemoryIntake, list[str]]:
    """What comes with `scanning = "passive"`, and which events were logged."""
    await make_meter(air, records(1, 3), address=METER)
    intake = MemoryIntake()
    pace = Pace(quiet_s=1, silence_s=5, rungs=(Rung.RESTART_SCAN, Rung.TELL))
    source = kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER), scanning="passive", pace=pace)
    with capture_logs() as lines:
        async with running(source, intake):
            async with asyncio.timeout(100):
                while len(intake.readings) < 3:
                    await asyncio.wait([asyncio.ensure_future(intake.until(lambda: len(intake.readings) == 3))])
    return intake, [line["event"] for line in lines]


async def test_passive_scan_needs_experimental_bluez(air: KernelAir) -> None:
    """bluetoothd as Debian starts it refuses: the scan is active, it is said once, and the meter is read."""
    intake, events = await read_passively(air)
    assert [1, 2, 3] == numbers(intake)
    assert 1 == events.count("bluetooth.passive_scan_refused")


@pytest.mark.usefixtures("experimental")
async def test_passive_scan_with_experimental_bluez(air: KernelAir) -> None:
    """`bluetoothd --experimental` takes the patterns; where the kernel then refuses them, the scan becomes active.

    BlueZ 5.66 on Linux 6.12 does: "Failed to Add Adv Patterns Monitor" in its log, and not a word to us. Then it dies
    when the patterns are taken back, and is started again.
    """
    intake, events = await read_passively(air)
    assert [1, 2, 3] == numbers(intake)
    assert "bluetooth.passive_scan_refused" not in events
