"""Pairing over a real link layer and a real security manager (Bumble on both sides), seen from the desk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pairing_kit import METER, PASSKEY, Comparing, SkippingClock, Typing, desk_on, meter_on

from gateway.devices.drivers import GENERIC_DRIVERS
from gateway.devices.quirks import Bonding, Quirks
from gateway.model import DeviceKind, PairingFailure, PairingState
from gateway.pairing.desk import PairingRefused
from gateway.pairing.lockout import Lockout
from gateway.sandbox.radio import VirtualAir

PASSKEY_FAMILY = tuple(replace(d, quirks=Quirks(bonding=Bonding.PASSKEY)) for d in GENERIC_DRIVERS)


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


async def test_the_right_digits_pair(air: VirtualAir) -> None:
    """The person sees each step, types what the meter shows, and both sides keep keys; the link is given back."""
    meter = await meter_on(air)
    async with desk_on(air) as person:
        attempt = person.desk.begin(METER.lower())
        assert PairingState.LOOKING is attempt.state
        asked = await person.sees(PairingState.WANTS_PASSKEY)
        assert ("meter+51", DeviceKind.GLUCOSE_METER, None) == (asked.name, asked.kind, asked.digits)
        person.desk.enter_passkey(asked.attempt_id, f"{PASSKEY:06d}")
        paired = await person.sees_the_end()
        await meter.wait_disconnected()
    assert (PairingState.PAIRED, None, True) == (paired.state, paired.failure, paired.is_authenticated)
    assert meter.is_bonded
    assert {METER} == await air.bonds.bonded()


async def test_wrong_digits_leave_nothing(air: VirtualAir) -> None:
    """A wrong passkey is said as such; neither side keeps anything, and the next attempt succeeds."""
    meter = await meter_on(air)
    async with desk_on(air) as person:
        for digits, state in (("000001", PairingState.FAILED), (f"{PASSKEY}", PairingState.PAIRED)):
            person.desk.begin(METER)
            asked = await person.sees(PairingState.WANTS_PASSKEY)
            person.desk.enter_passkey(asked.attempt_id, digits)
            over = await person.sees_the_end()
            assert state is over.state
            if state is PairingState.FAILED:
                assert PairingFailure.WRONG_PASSKEY is over.failure
                assert frozenset() == await air.bonds.bonded()
                await meter.wait_disconnected()
    assert meter.is_bonded


async def test_three_wrong_tries_close_the_way_for_longer_and_longer(air: VirtualAir) -> None:
    """After three wrong passkeys the device waits a minute, then two; the right digits open it again (C8)."""
    await meter_on(air)
    async with desk_on(air) as person:

        async def attempt(digits: str) -> PairingState:
            person.desk.begin(METER)
            asked = await person.sees(PairingState.WANTS_PASSKEY)
            person.desk.enter_passkey(asked.attempt_id, digits)
            return (await person.sees_the_end()).state

        for _ in range(3):
            assert PairingState.FAILED is await attempt("111111")
        for wait_s in (60.0, 120.0):
            with pytest.raises(PairingRefused) as refused:
                person.desk.begin(METER)
            assert "locked" == refused.value.reason
            assert refused.value.wait_s == pytest.approx(wait_s, abs=10)
            person.clock.skipped_s += wait_s
            if wait_s == 60.0:
                assert PairingState.FAILED is await attempt("222222")
        assert PairingState.PAIRED is await attempt(f"{PASSKEY}")
        assert 0.0 == person.desk.wait_s(METER)


async def test_nobody_at_the_screen(air: VirtualAir) -> None:
    """A question that nobody answers ends the attempt cleanly; the radio is free for the next one (C7)."""
    meter = await meter_on(air)
    async with desk_on(air, answer_s=0.3) as person:
        person.desk.begin(METER)
        over = await person.sees_the_end()
        assert (PairingState.TIMED_OUT, PairingFailure.NOBODY_ANSWERED) == (over.state, over.failure)
        await meter.wait_disconnected()
        with pytest.raises(PairingRefused, match="over"):
            person.desk.enter_passkey(over.attempt_id, f"{PASSKEY}")
        assert frozenset() == await air.bonds.bonded()
        asked = person.desk.begin(METER)
        await person.sees(PairingState.WANTS_PASSKEY)
        person.desk.enter_passkey(asked.attempt_id, f"{PASSKEY}")
        assert PairingState.PAIRED is (await person.sees_the_end()).state


@pytest.mark.parametrize("is_same", [True, False])
async def test_comparing_digits(air: VirtualAir, is_same: bool) -> None:
    """Both sides show the same six digits, and only a person's yes pairs."""
    owner = Comparing()
    meter = await meter_on(air, passkey=None, delegate=owner)
    async with desk_on(air) as person:
        person.desk.begin(METER)
        asked = await person.sees(PairingState.WANTS_COMPARISON)
        assert asked.digits == f"{owner.shown:06d}"
        assert asked.digits not in repr(asked)
        person.desk.compare(asked.attempt_id, is_same=is_same)
        over = await person.sees_the_end()
    assert (None if is_same else PairingFailure.DIFFERENT_DIGITS) is over.failure
    assert (True if is_same else None) is over.is_authenticated
    assert over.digits is None
    assert is_same is (METER in await air.bonds.bonded())
    assert meter.address == METER


async def test_digits_to_type_on_the_device(air: VirtualAir) -> None:
    """A device with keys and no screen is given the digits that our side shows."""
    shown: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def read_from_the_screen() -> int:
        return await shown

    await meter_on(air, passkey=None, delegate=Typing(read_from_the_screen))
    async with desk_on(air) as person:
        person.desk.begin(METER)
        asked = await person.sees(PairingState.SHOWS_PASSKEY)
        assert asked.digits is not None
        shown.set_result(int(asked.digits))
        assert PairingState.PAIRED is (await person.sees_the_end()).state


async def test_a_link_without_proof_is_marked(air: VirtualAir) -> None:
    """Where the family has nothing better, Just Works is taken and told as what it is."""
    await meter_on(air, passkey=None)
    async with desk_on(air) as person:
        person.desk.begin(METER)
        over = await person.sees_the_end()
    assert (PairingState.PAIRED, False) == (over.state, over.is_authenticated)


async def test_a_family_without_bonds_is_added_as_it_is(air: VirtualAir) -> None:
    """What only broadcasts, or never bonds, makes no keys and claims no proof."""
    await meter_on(air, passkey=None)
    drivers = tuple(replace(d, quirks=Quirks(bonding=Bonding.NONE)) for d in GENERIC_DRIVERS)
    async with desk_on(air, drivers=drivers) as person:
        person.desk.begin(METER)
        over = await person.sees_the_end()
    assert (PairingState.PAIRED, False, False) == (over.state, over.is_bonded, over.is_authenticated)
    assert frozenset() == await air.bonds.bonded()


@pytest.mark.parametrize("how", ["family", "settings"])
async def test_a_link_without_proof_where_one_is_due(air: VirtualAir, how: str) -> None:
    """A device that offers Just Works although its family has a passkey is refused, and no bond stays (C9)."""
    meter = await meter_on(air, passkey=None)
    drivers = PASSKEY_FAMILY if how == "family" else GENERIC_DRIVERS
    async with desk_on(air, drivers=drivers, just_works="by_family" if how == "family" else "never") as person:
        person.desk.begin(METER)
        over = await person.sees_the_end()
        await meter.wait_disconnected()
    assert (PairingState.FAILED, PairingFailure.UNPROVEN) == (over.state, over.failure)
    assert frozenset() == await air.bonds.bonded()


async def test_a_device_that_does_not_show_itself(air: VirtualAir) -> None:
    """Nothing in range: looking ends in time, in words."""
    async with desk_on(air, look_s=0.3) as person:
        person.desk.begin(METER)
        over = await person.sees_the_end()
    assert (PairingState.TIMED_OUT, PairingFailure.NOT_HEARD) == (over.state, over.failure)


async def test_giving_up(air: VirtualAir) -> None:
    """Cancelling while digits are wanted hangs up and frees the desk at once; one attempt at a time."""
    meter = await meter_on(air)
    async with desk_on(air) as person:
        person.desk.begin(METER)
        with pytest.raises(PairingRefused, match="busy"):
            person.desk.begin("C0:FF:EE:00:00:52")
        asked = await person.sees(PairingState.WANTS_PASSKEY)
        for digits in ("12345", "1234567", "12345x", "١٢٣٤٥٦", ""):
            with pytest.raises(PairingRefused, match="digits"):
                person.desk.enter_passkey(asked.attempt_id, digits)
        with pytest.raises(PairingRefused, match="over"):
            person.desk.enter_passkey("another", "123456")
        person.desk.cancel(asked.attempt_id)
        assert PairingState.CANCELLED is (await person.sees_the_end()).state
        again = person.desk.begin(METER)
        await person.sees(PairingState.WANTS_PASSKEY)
        person.desk.enter_passkey(again.attempt_id, f"{PASSKEY}")
        assert PairingState.PAIRED is (await person.sees_the_end()).state
    assert meter.is_bonded


async def test_a_bond_that_the_meter_lost_is_replaced_on_request(air: VirtualAir) -> None:
    """After a battery change the meter knows us no more; pairing anew replaces our stale keys (C6)."""
    meter = await meter_on(air)
    async with desk_on(air) as person:
        for _ in range(2):
            asked = person.desk.begin(METER)
            await person.sees(PairingState.WANTS_PASSKEY)
            person.desk.enter_passkey(asked.attempt_id, f"{PASSKEY}")
            assert PairingState.PAIRED is (await person.sees_the_end()).state
            await meter.wait_disconnected()
            await meter.forget_bonds()


async def test_a_device_that_we_cannot_read_is_not_paired(air: VirtualAir) -> None:
    """A neighbour's earphones are not for us."""
    await meter_on(air)
    async with desk_on(air, drivers=()) as person:
        await person.hears(METER)
        with pytest.raises(PairingRefused, match="unreadable"):
            person.desk.begin(METER)


async def test_the_end_of_the_gateway_is_told() -> None:
    """An attempt that runs when the gateway stops does not stay "connecting" for ever."""
    async with VirtualAir() as air:
        async with desk_on(air) as person:
            person.desk.begin(METER)
            await asyncio.sleep(0)
        assert person.desk.attempt is not None
        assert PairingFailure.INTERRUPTED is person.desk.attempt.failure


def test_lockout_is_bounded_and_has_a_ceiling() -> None:
    """However many devices and tries: at most an hour, and only so many devices are remembered."""
    lockout = Lockout(SkippingClock())
    for _ in range(40):
        lockout.failed(METER)
    assert 3590 < lockout.wait_s(METER) <= 3600
    for number in range(300):
        lockout.failed(f"device-{number}")
    assert 256 == len(lockout._wrong)
    assert 0.0 == lockout.wait_s(METER)
