"""The agent and the bonds on a real dbus-daemon, with a stand-in for bluetoothd that asks as BlueZ does."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from bluez_kit import DEVICE_ADDRESS, OTHER_PATH, FakeBluez, fake_bluez
from dbus_fast.errors import DBusError
from dbus_kit import private_bus

from gateway.adapters.sources.bluetooth.bluez.agent import AGENT_PATH
from gateway.adapters.sources.bluetooth.bluez.bonds import BluezBonds
from gateway.errors import PairingFailed
from gateway.model import PairingFailure

REJECTED = "org.bluez.Error.Rejected"


class Person:
    """Answers what is asked, and keeps it."""

    def __init__(self, *, passkey: int | None = 12345, is_same: bool = True, allows_unproven: bool = False) -> None:
        self._passkey = passkey
        self._is_same = is_same
        self._allows_unproven = allows_unproven
        self.log: list[object] = []
        self.is_connected = asyncio.Event()

    def connected(self) -> None:
        self.log.append("connected")
        self.is_connected.set()

    async def passkey(self) -> int:
        self.log.append("passkey")
        if self._passkey is None:
            raise PairingFailed(PairingFailure.NOBODY_ANSWERED)
        return self._passkey

    async def is_same(self, digits: int) -> bool:
        self.log.append(digits)
        return self._is_same

    def show(self, digits: int) -> None:
        self.log.append(digits)

    def allows_unproven(self) -> bool:
        self.log.append("unproven")
        return self._allows_unproven


@asynccontextmanager
async def keeping(address: str) -> AsyncIterator[BluezBonds]:
    """Bonds whose agent is being kept registered."""
    bonds = BluezBonds(bus_address=address, retry_s=0.05)
    task = asyncio.create_task(bonds.run())
    try:
        yield bonds
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
async def bus_address(tmp_path: Path) -> AsyncIterator[str]:
    async with private_bus(tmp_path) as bus:
        yield bus.address


async def asks_passkey(fake: FakeBluez) -> None:
    """The peer shows a passkey; its own is 012345."""
    if 12345 != await fake.ask_agent("RequestPasskey", ""):
        raise DBusError("org.bluez.Error.AuthenticationFailed", "wrong")


async def test_pairing_with_a_passkey(bus_address: str) -> None:
    """The agent is registered with keyboard and display and made default, passes the question on, and hangs up."""
    person = Person()
    async with fake_bluez(bus_address) as fake, keeping(bus_address) as bonds:
        fake.pairing = asks_passkey
        await bonds.bond(DEVICE_ADDRESS.lower(), person)
        assert frozenset({DEVICE_ADDRESS}) == await bonds.bonded()
    ((_, path, capability),) = fake.agents
    assert (AGENT_PATH, "KeyboardDisplay") == (path, capability)
    assert {AGENT_PATH} == set(fake.defaults)
    assert ["connected", "passkey"] == person.log
    assert ["Pair", "Disconnect"] == fake.calls[-2:]


async def test_the_default_role_is_taken_back(bus_address: str) -> None:
    """Another program may take the default role, and BlueZ says nothing: it is claimed before each pairing."""
    async with fake_bluez(bus_address) as fake, keeping(bus_address) as bonds:
        fake.pairing = asks_passkey
        await fake.until(lambda: bool(fake.defaults))
        before = len(fake.defaults)
        await bonds.bond(DEVICE_ADDRESS, Person())
    assert before + 1 == len(fake.defaults)


async def test_every_question_of_bluez(bus_address: str) -> None:
    """Pin codes, displays and comparisons go to the person as six digits; digits typed twice are shown once."""
    person = Person()

    async def asks_everything(fake: FakeBluez) -> None:
        assert "012345" == await fake.ask_agent("RequestPinCode", "")
        await fake.ask_agent("DisplayPinCode", "s", "000042")
        await fake.ask_agent("DisplayPasskey", "uq", 43, 0)
        await fake.ask_agent("DisplayPasskey", "uq", 43, 1)
        await fake.ask_agent("RequestConfirmation", "u", 44)
        for asked, signature, body in (
            ("AuthorizeService", "s", ("0000110d-0000-1000-8000-00805f9b34fb",)),
            ("DisplayPinCode", "s", ("not digits",)),
        ):
            with pytest.raises(DBusError) as refused:
                await fake.ask_agent(asked, signature, *body)
            assert REJECTED == refused.value.type
        await fake.ask_agent("Cancel", "")

    async with fake_bluez(bus_address) as fake, keeping(bus_address) as bonds:
        fake.pairing = asks_everything
        await bonds.bond(DEVICE_ADDRESS, person)
    assert ["connected", "passkey", 42, 43, 44] == person.log


async def test_only_the_device_being_paired_is_answered(bus_address: str) -> None:
    """A question about another device, or outside of any pairing, is rejected; the person is not asked."""
    person = Person()

    async def asks_for_another(fake: FakeBluez) -> None:
        for member, signature, body in (
            ("RequestPasskey", "", ()),
            ("RequestConfirmation", "u", (1,)),
            ("RequestAuthorization", "", ()),
            ("DisplayPasskey", "uq", (1, 0)),
        ):
            with pytest.raises(DBusError) as refused:
                await fake.ask_agent(member, signature, *body, path=OTHER_PATH)
            assert REJECTED == refused.value.type

    async with fake_bluez(bus_address) as fake, keeping(bus_address) as bonds:
        await fake.until(lambda: bool(fake.defaults))
        with pytest.raises(DBusError) as refused:
            await fake.ask_agent("RequestPasskey", "")
        assert REJECTED == refused.value.type
        fake.pairing = asks_for_another
        with structlog.testing.capture_logs() as logs:
            await bonds.bond(DEVICE_ADDRESS, person)
    assert ["connected"] == person.log
    assert "C0:FF" not in str(logs)
    assert "bluetooth.pairing_refused" in {entry["event"] for entry in logs}


@pytest.mark.parametrize("allows", [True, False])
async def test_just_works_by_permission_only(bus_address: str, allows: bool) -> None:
    """BlueZ asks before a link without proof; the answer is the family's policy (C9)."""

    async def asks_leave(fake: FakeBluez) -> None:
        try:
            await fake.ask_agent("RequestAuthorization", "")
        except DBusError as error:
            raise DBusError("org.bluez.Error.AuthenticationRejected", "no") from error

    async with fake_bluez(bus_address) as fake, keeping(bus_address) as bonds:
        fake.pairing = asks_leave
        if allows:
            await bonds.bond(DEVICE_ADDRESS, Person(allows_unproven=True))
        else:
            with pytest.raises(PairingFailed) as failed:
                await bonds.bond(DEVICE_ADDRESS, Person())
            assert PairingFailure.REFUSED == failed.value.reason
        assert allows is fake.is_paired


async def test_nobody_answers(bus_address: str) -> None:
    """An unanswered question is a rejection for BlueZ, and the pairing is taken back."""

    async def asks(fake: FakeBluez) -> None:
        try:
            await fake.ask_agent("RequestPasskey", "")
        except DBusError as error:
            raise DBusError("org.bluez.Error.AuthenticationCanceled", "no") from error

    async with fake_bluez(bus_address) as fake, keeping(bus_address) as bonds:
        fake.pairing = asks
        with pytest.raises(PairingFailed):
            await bonds.bond(DEVICE_ADDRESS, Person(passkey=None))
    assert ["Pair", "CancelPairing", "Disconnect", "Get"] == fake.calls[-4:]


async def test_giving_up_cancels_in_bluez(bus_address: str) -> None:
    """A cancelled attempt leaves no pairing running and no link up in bluetoothd (C8)."""

    async def never(_: FakeBluez) -> None:
        await asyncio.Event().wait()

    person = Person()
    async with fake_bluez(bus_address) as fake, keeping(bus_address) as bonds:
        fake.pairing = never
        attempt = asyncio.create_task(bonds.bond(DEVICE_ADDRESS, person))
        async with asyncio.timeout(10):
            await person.is_connected.wait()
        attempt.cancel()
        await asyncio.wait({attempt})
        assert attempt.cancelled()
        assert {"CancelPairing", "Disconnect"} <= set(fake.calls)
        assert not fake.is_paired
        fake.pairing = asks_passkey
        await bonds.bond(DEVICE_ADDRESS, Person())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AuthenticationFailed", PairingFailure.REFUSED),
        ("AuthenticationTimeout", PairingFailure.UNREACHABLE),
        ("ConnectionAttemptFailed", PairingFailure.UNREACHABLE),
        ("Failed", PairingFailure.UNREACHABLE),
        ("NotReady", PairingFailure.NO_BLUETOOTH),
    ],
)
async def test_errors_of_bluez_are_reasons(bus_address: str, name: str, expected: PairingFailure) -> None:
    """Each of BlueZ's errors is one of the reasons that people are told."""

    async def fails(_: FakeBluez) -> None:
        raise DBusError(f"org.bluez.Error.{name}", "words")

    async with fake_bluez(bus_address) as fake, keeping(bus_address) as bonds:
        fake.pairing = fails
        with pytest.raises(PairingFailed) as failed:
            await bonds.bond(DEVICE_ADDRESS, Person())
        assert expected == failed.value.reason
        assert not fake.is_paired


async def test_an_older_bond_is_replaced(bus_address: str) -> None:
    """Stale keys are removed once a person pairs again; the device is then discovered anew."""
    async with fake_bluez(bus_address) as fake, keeping(bus_address) as bonds:
        fake.is_paired, fake.pairing = True, asks_passkey
        attempt = asyncio.create_task(bonds.bond(DEVICE_ADDRESS, Person()))
        await fake.until(lambda: "RemoveDevice" in fake.calls)
        assert not attempt.done()
        fake.appear()
        await attempt
        assert fake.is_paired


async def test_a_device_that_bluez_has_not_seen_yet(bus_address: str) -> None:
    """It is waited for, as long as the caller allows."""
    async with fake_bluez(bus_address) as fake, keeping(bus_address) as bonds:
        fake.is_known, fake.pairing = False, asks_passkey
        attempt = asyncio.create_task(bonds.bond(DEVICE_ADDRESS, Person()))
        await fake.until(lambda: len(fake.defaults) == 2)
        assert not attempt.done()
        fake.appear()
        await attempt


async def test_unpairing(bus_address: str) -> None:
    """Our keys go with RemoveDevice; a device without keys says so, and is left alone."""
    async with fake_bluez(bus_address) as fake, keeping(bus_address) as bonds:
        await bonds.wait_ready()
        assert not await bonds.unbond(DEVICE_ADDRESS)
        assert "RemoveDevice" not in fake.calls
        fake.is_paired = True
        assert await bonds.unbond(DEVICE_ADDRESS)
        assert "RemoveDevice" in fake.calls


async def test_bluetoothd_restarts(bus_address: str) -> None:
    """A new bluetoothd gets the agent again; while there is none, a person is told that Bluetooth is missing."""
    async with keeping(bus_address) as bonds:
        async with fake_bluez(bus_address) as first:
            await first.until(lambda: bool(first.defaults))
        async with fake_bluez(bus_address) as second:
            await second.until(lambda: bool(second.defaults))
            await second.ask_agent("Release", "")
            second.pairing = asks_passkey
            await bonds.bond(DEVICE_ADDRESS, Person())
            assert second.is_paired


async def test_the_bus_dies_and_returns(tmp_path: Path) -> None:
    """The agent comes back by itself after the bus; what runs meanwhile ends in words."""
    async with private_bus(tmp_path) as bus, keeping(bus.address) as bonds:
        async with fake_bluez(bus.address) as fake:
            await fake.until(lambda: bool(fake.defaults))
            fake.is_known = False
            attempt = asyncio.create_task(bonds.bond(DEVICE_ADDRESS, Person()))
            await fake.until(lambda: len(fake.defaults) == 2)
            await bus.kill()
            with pytest.raises(PairingFailed) as failed:
                await attempt
            assert PairingFailure.NO_BLUETOOTH == failed.value.reason
        assert frozenset() == await bonds.bonded()
        await bus.start()
        async with fake_bluez(bus.address) as again:
            await again.until(lambda: bool(again.defaults))
    gc.collect()  # dbus-fast drops the futures of what it could not send any more: they complain here, not elsewhere


async def test_without_bluetoothd(bus_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No service: pairing and unpairing say so, after a moment's patience."""
    monkeypatch.setattr("gateway.adapters.sources.bluetooth.bluez.bonds._READY_S", 0.2)
    async with keeping(bus_address) as bonds:
        for work in (bonds.bond(DEVICE_ADDRESS, Person()), bonds.unbond(DEVICE_ADDRESS)):
            with pytest.raises(PairingFailed) as failed:
                await work
            assert PairingFailure.NO_BLUETOOTH == failed.value.reason
