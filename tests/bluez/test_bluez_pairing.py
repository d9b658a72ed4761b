"""Bonds through a real BlueZ: who answers, who does not, and what is left afterwards."""

from __future__ import annotations

import asyncio

import pytest
from bluetooth_kit import MemoryIntake, make_device, running, until_state
from bonding import bonding
from guest_kit import Person, kernel_source, make_meter, numbers, records, until_told

from gateway.adapters.sources.bluetooth import LinkState
from gateway.errors import GatewayError
from gateway.model import DeviceId, DeviceKind
from gateway.sandbox.vhci import KernelAir

pytest_plugins = ("guest_fixtures",)
pytestmark = pytest.mark.bluez

METER = "C0:FF:EE:00:00:01"
OTHER = "C0:FF:EE:00:00:02"
DEVICE = DeviceId("device-1")
PASSKEY = 123456


async def test_without_an_agent_nothing_is_paired(air: KernelAir) -> None:
    """BlueZ refuses even a pairing without digits when nobody answers for it; people are told, and nothing is read."""
    meter = await make_meter(air, records(1, 3), address=METER, secure=True, stays_awake=True)
    intake, source = MemoryIntake(), kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER))
    async with running(source, intake):
        await until_state(source, LinkState.NEEDS_PAIRING)
    assert {} == intake.readings
    assert not meter.is_bonded


@pytest.mark.parametrize("passkey", [None, PASSKEY])
async def test_bond_is_made_once_and_used_again(air: KernelAir, passkey: int | None) -> None:
    """Just Works or six digits: one question at most, then every visit uses the keys."""
    meter = await make_meter(air, records(1, 3), address=METER, passkey=passkey, secure=True, stays_awake=True)
    person, intake = Person(passkey), MemoryIntake()
    source = kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER))
    async with bonding() as bonds, running(kernel_source(make_device(OTHER, DeviceKind.SCALE)), MemoryIntake()):
        await bonds.bond(METER, person)
    await meter.wait_disconnected()
    assert meter.is_bonded
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 3)
        await meter.wait_disconnected()
        await meter.add_record(records(4, 4)[0])
        await intake.until(lambda: len(intake.readings) == 4)
    assert [1, 2, 3, 4] == numbers(intake)
    assert (0 if passkey is None else 1) == person.asked


async def test_wrong_digits_leave_nothing_behind(air: KernelAir) -> None:
    """Refused; no keys on either side; with the right digits it works at once."""
    meter = await make_meter(air, records(1, 3), address=METER, passkey=PASSKEY, secure=True, stays_awake=True)
    intake, source = MemoryIntake(), kernel_source(make_device(METER, DeviceKind.GLUCOSE_METER))
    async with bonding() as bonds:
        async with running(kernel_source(make_device(OTHER, DeviceKind.SCALE)), MemoryIntake()):
            with pytest.raises(GatewayError):
                await bonds.bond(METER, Person(654321))
            assert not meter.is_bonded
            await meter.wait_disconnected()
            await bonds.bond(METER, Person(PASSKEY))
        async with running(source, intake):
            await intake.until(lambda: len(intake.readings) == 3)
    assert [1, 2, 3] == numbers(intake)


async def test_nobody_answers(air: KernelAir) -> None:
    """The question runs out; the adapter goes on reading others, and the device can be paired afterwards."""
    meter = await make_meter(air, records(1, 3), address=METER, passkey=PASSKEY, secure=True, stays_awake=True)
    await make_meter(air, records(1, 2), address=OTHER, name="other")
    intake, source = MemoryIntake(), kernel_source(make_device(OTHER, DeviceKind.GLUCOSE_METER))
    person = Person(is_away=True)
    async with bonding() as bonds, running(source, intake):
        pairing = asyncio.create_task(bonds.bond(METER, person))
        await person.was_asked.wait()
        pairing.cancel()
        await asyncio.wait([pairing])
        await intake.until(lambda: len(intake.readings) == 2)
        assert not meter.is_bonded
        await meter.wait_disconnected()
        await bonds.bond(METER, Person(PASSKEY))
    assert meter.is_bonded


async def test_bond_lost_on_the_meter_needs_a_person(air: KernelAir) -> None:
    """After a battery change the meter has forgotten us: people are told, and nothing is read."""
    meter = await make_meter(air, records(1, 3), address=METER, passkey=PASSKEY, secure=True, stays_awake=True)
    device = make_device(METER, DeviceKind.GLUCOSE_METER)
    intake, source = MemoryIntake(), kernel_source(device, procedure_timeout_s=8.0)
    async with bonding() as bonds:
        async with running(kernel_source(make_device(OTHER, DeviceKind.SCALE)), MemoryIntake()):
            await bonds.bond(METER, Person(PASSKEY))
        await meter.wait_disconnected()
        await meter.forget_bonds()
        async with running(source, intake):
            await until_told(source, LinkState.NEEDS_PAIRING)
        assert {} == intake.readings
