"""What a person is told about a device and may allow it, from the radio to the page, in a whole gateway over Bumble."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from house_kit import PATIENCE_S, Visitor, gateway_on, house_settings, is_in, until_readings, visitor_of
from pairing_kit import METER, PASSKEY, Comparing, meter_on, wall

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.app import BluetoothBackends
from gateway.clock import SystemClock
from gateway.commands.pair import pair, unpair
from gateway.sandbox.peripherals import MeterRecord, VirtualBroadcaster, VirtualMeter, VirtualScale, WeighIn
from gateway.sandbox.radio import VirtualAir

LOCKED = "C0:FF:EE:00:00:75"
SCALE = "C0:FF:EE:00:00:76"


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


async def added(visitor: Visitor, address: str, kind: str, **fields: Any) -> str:
    """Pair what is at `address`, typing its digits where they are asked for, and add it; its id."""
    await visitor.until(lambda state: state["neighbours"])
    await visitor.act("pair", address=address)
    attempt = (await visitor.until(is_in("wants_passkey", "paired")))["attempt"]
    if attempt["state"] == "wants_passkey":
        await visitor.act("passkey", attempt=attempt["id"], passkey=f"{PASSKEY}")
        await visitor.until(is_in("paired"))
    status, after = await visitor.act("enrol", attempt=attempt["id"], name="x", person="camille", kind=kind, **fields)
    assert 200 == status
    return str(after["attempt"]["device_id"])


def plain_meter(air: VirtualAir, *, behind: timedelta = timedelta()) -> VirtualMeter:
    """Of no known family, with one record, whose clock is late by `behind`; Just Works."""
    records = [MeterRecord(1, wall() - behind, Decimal(100))]
    return VirtualMeter(air, METER, "Gluco 51", "51", records, clock=lambda: wall() - behind)


async def gone(meter: VirtualMeter) -> None:
    """Asleep once its contact is over, then out of the house."""
    meter.stays_awake = False
    await meter.wait_disconnected()
    await meter.stop()


def concerns(state: dict[str, Any]) -> list[str]:
    """Of the only device."""
    return [care["concern"] for care in state["devices"][0]["cares"]]


async def test_what_is_recognised_and_not_read_says_why(air: VirtualAir, tmp_path: Path) -> None:
    """A scale with a key of its maker's: the reason and the way round in both languages, and nothing to pair."""
    scale = VirtualBroadcaster(air, LOCKED, "MJTZC01", 0xFE95)
    await scale.start()
    await scale.tell(b"\x48\x59")
    async with gateway_on(air, house_settings(tmp_path)) as running, visitor_of(running) as visitor:
        (row,) = (await visitor.until(lambda state: state["neighbours"]))["neighbours"]
        assert ("unreadable", "Xiaomi S800 and others") == (row["status"], row["title"])
        assert "xiaomi.encrypted" == row["not_read"]["name"]
        assert (400, "unreadable") == (lambda a: (a[0], a[1]["error"]))(await visitor.act("pair", address=LOCKED))
        async with aiohttp.ClientSession() as session:
            for language in ("fr", "en"):
                async with session.get(f"{running.url}/bluetooth?lang={language}") as answer:
                    text = (await answer.text()).replace("&#39;", "'")
                assert row["not_read"]["reason"][language] in text
                assert row["not_read"]["route"][language] in text
                assert 'value="pair"' not in text


# --- unpairing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feature", "farewell"),
    [(0x10, "forgotten"), (0x000400, "unable"), (None, "unable")],
    ids=["can", "cannot", "none"],
)
async def test_a_device_is_asked_to_forget_us_first(
    air: VirtualAir, tmp_path: Path, feature: int | None, farewell: str
) -> None:
    """Its own bond goes before ours where it can; where it cannot, ours goes all the same, and that is said."""
    meter = plain_meter(air)
    meter.bond_feature = feature
    await meter.start()
    async with gateway_on(air, house_settings(tmp_path)) as running, visitor_of(running) as visitor:
        device = await added(visitor, METER, "glucose_meter")
        await until_readings(running, 1, device)
        assert meter.is_bonded
        status, after = await visitor.act("unpair", device=device)
        assert (200, [], {"device_id": device, "farewell": farewell}) == (status, after["devices"], after["unpaired"])
        assert (farewell != "forgotten") is meter.is_bonded
        assert frozenset() == await air.bonds.bonded()
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{running.url}/bluetooth?lang=en") as answer,
        ):
            words = {"forgotten": "by the gateway and by the device", "unable": "delete it in its menu"}[farewell]
            assert words in await answer.text()


async def test_a_device_that_is_away_does_not_hold_up_the_unpairing(air: VirtualAir, tmp_path: Path) -> None:
    """It is looked for during some seconds, then our side is done, and that is said."""
    meter = await meter_on(air)
    async with gateway_on(air, house_settings(tmp_path)) as running, visitor_of(running) as visitor:
        device = await added(visitor, METER, "glucose_meter")
        await until_readings(running, 3, device)
        await gone(meter)
        async with asyncio.timeout(45):
            status, after = await visitor.act("unpair", device=device)
        assert (200, "not_reached") == (status, after["unpaired"]["farewell"])
        assert frozenset() == await air.bonds.bonded()
        assert [] == after["devices"]


async def test_unpaired_by_the_command_alone(
    air: VirtualAir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a running gateway the command reaches the device too, and says what became of it."""
    meter = plain_meter(air)
    meter.bond_feature = 0x10
    await meter.start()
    settings = house_settings(tmp_path, web={"enabled": False})
    backends = BluetoothBackends(air.scanner_backend, air.client_backend, air.bonds)
    await pair(settings, METER, name="x", person="camille", backends=backends)
    assert meter.is_bonded
    await unpair(settings, "glucose-meter-1", backends=backends)
    assert "forgotten, by the gateway and by the device" in capsys.readouterr().out
    assert not meter.is_bonded


# --- the clock ------------------------------------------------------------------------------------------------------


async def test_a_clock_is_set_only_when_a_person_allows_it(air: VirtualAir, tmp_path: Path) -> None:
    """Off at first: the page says by how much it is wrong; allowed later with one button, and after a restart still."""
    behind = timedelta(hours=3)
    meter = plain_meter(air, behind=behind)
    await meter.start()
    settings = house_settings(tmp_path)
    async with gateway_on(air, settings) as running, visitor_of(running) as visitor:
        device = await added(visitor, METER, "glucose_meter")
        state = await visitor.until(concerns)
        assert {"concern": "clock_settable", "count": 180, "after": None, "before": None} == state["devices"][0][
            "cares"
        ][0]
        assert state["devices"][0]["may_set_clock"] is False
        await until_readings(running, 1, device)
        assert [] == [char for char, _ in meter.log if char in {"2a2b", "2a08"}]
        status, after = await visitor.act("clock", device=device, is_allowed=True)
        assert (200, True) == (status, after["devices"][0]["may_set_clock"])
        await visitor.until(lambda state: not concerns(state))
        assert ["2a2b"] == [char for char, _ in meter.log if char in {"2a2b", "2a08"}]
        assert (404, "unknown") == _refusal(await visitor.act("clock", device="another", is_allowed=True))
    meter.reset_clock(wall() - behind)
    async with gateway_on(air, settings) as running, visitor_of(running) as visitor:
        assert (await visitor.state())["devices"][0]["may_set_clock"] is True
        await _until_log(meter, "2a2b", 2)
        _, after = await visitor.act("clock", device=device, is_allowed=False)
        assert after["devices"][0]["may_set_clock"] is False


async def test_a_clock_is_allowed_while_adding(air: VirtualAir, tmp_path: Path) -> None:
    """The box beside the name, and `--set-clock`: kept with the enrolment; offered where it can be done."""
    meter = plain_meter(air, behind=timedelta(hours=3))
    await meter.start()
    async with gateway_on(air, house_settings(tmp_path)) as running, visitor_of(running) as visitor:
        await added(visitor, METER, "glucose_meter", set_clock="yes")
        state = await visitor.state()
        assert (True, True) == (state["attempt"]["can_set_clock"], state["devices"][0]["may_set_clock"])
        await _until_log(meter, "2a2b", 1)
        await visitor.act("unpair", device="glucose-meter-1")
        await meter.forget_bonds()
    settings = house_settings(tmp_path, web={"enabled": False})
    backends = BluetoothBackends(air.scanner_backend, air.client_backend, air.bonds)
    for is_allowed in (False, True):
        await pair(settings, METER, name="x", person="camille", set_clock=is_allowed, backends=backends)
        async with SqliteStore.open(settings.store.path, clock=SystemClock()) as store:
            assert [is_allowed] == [enrolment.may_set_clock for enrolment in await store.enrolments.enrolments()]
        await unpair(settings, "glucose-meter-1", backends=backends)
        await meter.forget_bonds()


async def test_a_clock_of_the_file_is_decided_there(air: VirtualAir, tmp_path: Path) -> None:
    """The page shows what the configuration allows, and does not change it."""
    device = {"id": "meter", "kind": "glucose_meter", "name": "Lecteur", "address": METER, "set_clock": True}
    async with (
        gateway_on(air, house_settings(tmp_path, devices=[device])) as running,
        visitor_of(running) as visitor,
    ):
        assert (await visitor.state())["devices"][0]["may_set_clock"] is True
        assert (400, "configured") == _refusal(await visitor.act("clock", device="meter", is_allowed=False))


# --- users of a scale -----------------------------------------------------------------------------------------------


async def test_the_owner_becomes_a_user_of_the_scale(air: VirtualAir, tmp_path: Path) -> None:
    """One explicit step: the scale gives a slot, our code is in a file for us alone, weigh-ins of that slot come in."""
    scale = VirtualScale(air, SCALE, "Scale", "S-3", users={0: 1}, clock=wall)
    await scale.start()
    settings = house_settings(tmp_path)
    async with gateway_on(air, settings) as running, visitor_of(running) as visitor:
        device = await added(visitor, SCALE, "body_composition_analyser")
        state = await visitor.until(lambda state: state["devices"][0]["can_register"])
        assert state["devices"][0]["scale_user"] is None
        status, after = await visitor.act("register", device=device)
        assert (200, 1, False) == (status, after["devices"][0]["scale_user"], after["devices"][0]["can_register"])
        file = tmp_path / "scale-codes" / f"{device}.code"
        assert 0o600 == stat.S_IMODE(file.stat().st_mode)
        assert {0: 1, 1: int(file.read_text(encoding="utf-8"))} == scale.users
        assert (409, "has_user") == _refusal(await visitor.act("register", device=device))
        await scale.weigh(WeighIn(Decimal("70.5"), 1, wall(), fat_percent=Decimal("20.0")))
        await until_readings(running, 1, device)
    async with gateway_on(air, settings) as running, visitor_of(running) as visitor:
        assert 1 == (await visitor.state())["devices"][0]["scale_user"]


async def test_a_user_by_the_command(air: VirtualAir, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`gateway pair --new-user` says the slot, and not the code."""
    scale = VirtualScale(air, SCALE, "Scale", "S-3", users={0: 1}, clock=wall)
    await scale.start()
    settings = house_settings(tmp_path, web={"enabled": False})
    backends = BluetoothBackends(air.scanner_backend, air.client_backend, air.bonds)
    await pair(settings, SCALE, name="x", person="camille", kind="scale", new_user=True, backends=backends)
    slot, code = 1, scale.users[1]
    said = capsys.readouterr().out
    assert f"scale-1: its owner is a new user of the scale, slot {slot}." in said
    assert f"{code:04d}" not in said.split("scale-1: its owner")[1]


async def test_a_device_without_users_refuses(air: VirtualAir, tmp_path: Path) -> None:
    """A meter is no scale: said so, and no code is left behind."""
    meter = plain_meter(air)
    await meter.start()
    async with gateway_on(air, house_settings(tmp_path)) as running, visitor_of(running) as visitor:
        device = await added(visitor, METER, "glucose_meter")
        assert (await visitor.state())["devices"][0]["can_register"] is False
        assert (409, "scale_refused") == _refusal(await visitor.act("register", device=device))
        assert [] == list((tmp_path / "scale-codes").iterdir())
        assert (404, "unknown") == _refusal(await visitor.act("register", device="another"))


# --- proof ----------------------------------------------------------------------------------------------------------


async def test_paired_again_with_proof(air: VirtualAir, tmp_path: Path) -> None:
    """A device that proved nothing at first and is paired again with digits counts as proven, after a restart too."""
    meter = plain_meter(air)
    await meter.start()
    settings = house_settings(tmp_path)
    async with gateway_on(air, settings) as running, visitor_of(running) as visitor:
        device = await added(visitor, METER, "glucose_meter")
        await until_readings(running, 1, device)
        assert (await visitor.state())["devices"][0]["is_authenticated"] is False
        await meter.wait_disconnected()
        await meter.forget_bonds()
        meter.delegate = Comparing()
        await visitor.act("pair", address=METER)
        asked = (await visitor.until(is_in("wants_comparison")))["attempt"]
        await visitor.act("compare", attempt=asked["id"], is_same=True)
        await visitor.until(is_in("paired"))
        await visitor.until(lambda state: state["devices"][0]["is_authenticated"])
    async with gateway_on(air, settings) as running, visitor_of(running) as visitor:
        assert (await visitor.state())["devices"][0]["is_authenticated"] is True


def _refusal(answer: tuple[int, dict[str, Any]]) -> tuple[int, object]:
    return answer[0], answer[1]["error"]


async def _until_log(meter: VirtualMeter, char: str, count: int) -> None:
    """Until the meter has been written to that often."""
    async with asyncio.timeout(PATIENCE_S):
        while len([name for name, _ in meter.log if name == char]) < count:  # noqa: ASYNC110 - a device has no event for it
            await asyncio.sleep(0.02)
