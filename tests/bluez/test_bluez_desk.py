"""The pairing desk over a real BlueZ: what a person does at it, with the source at work beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from bluetooth_kit import FrozenClock, MemoryIntake, make_device, running
from bonding import bonding
from guest_kit import kernel_source, make_meter, numbers, records, until_told

from gateway.adapters.sources.bluetooth import BluetoothSource, LinkState
from gateway.adapters.sources.bluetooth.bluez.bonds import BluezBonds
from gateway.devices.drivers import load_drivers
from gateway.model import DeviceKind, PairingAttempt, PairingState
from gateway.pairing.desk import PairingDesk
from gateway.sandbox.vhci import KernelAir

pytest_plugins = ("guest_fixtures",)
pytestmark = pytest.mark.bluez

METER = "C0:FF:EE:00:00:01"
PASSKEY = "123456"


@asynccontextmanager
async def desk_at(source: BluetoothSource, bonds: BluezBonds) -> AsyncIterator[PairingDesk]:
    """A desk at work."""
    desk = PairingDesk(bonds, source, FrozenClock(), drivers=load_drivers())
    task = asyncio.create_task(desk.run(), name="desk")
    try:
        yield desk
    finally:
        task.cancel()
        await asyncio.wait({task})


async def pair_at(desk: PairingDesk, address: str) -> PairingAttempt:
    """Somebody pairs the device and types its digits; how it ended."""
    attempt = desk.begin(address)
    async with asyncio.timeout(90):
        while not attempt.state.is_over:
            if attempt.state is PairingState.WANTS_PASSKEY:
                desk.enter_passkey(attempt.attempt_id, PASSKEY)
            await desk.changed()
            assert desk.attempt is not None
            attempt = desk.attempt
    return attempt


async def test_lost_bond_is_replaced_on_request_only(air: KernelAir) -> None:
    """The meter has lost its keys: ours stay until a person pairs it again, and then reading goes on by itself."""
    meter = await make_meter(air, records(1, 3), address=METER, passkey=int(PASSKEY), secure=True, stays_awake=True)
    intake = MemoryIntake()
    device = make_device(METER, DeviceKind.GLUCOSE_METER)
    source = kernel_source(device, drivers=load_drivers(), procedure_timeout_s=8.0)
    async with bonding() as bonds, running(source, intake), desk_at(source, bonds) as desk:
        assert PairingState.PAIRED is (await pair_at(desk, METER)).state
        await intake.until(lambda: len(intake.readings) == 3)
        await meter.wait_disconnected()
        await meter.forget_bonds()
        await meter.add_record(records(4, 4)[0])
        await until_told(source, LinkState.NEEDS_PAIRING)
        assert frozenset({METER}) == await bonds.bonded()
        assert not meter.is_bonded
        attempt = await pair_at(desk, METER)
        assert (PairingState.PAIRED, True, True) == (attempt.state, attempt.is_authenticated, attempt.is_bonded)
        await intake.until(lambda: len(intake.readings) == 4)
    assert [1, 2, 3, 4] == numbers(intake)
    assert meter.is_bonded
