"""From "new device in range" to readings that belong to somebody, in a whole gateway over Bumble."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from house_kit import gateway_on, house_settings, is_in, until_readings, visitor_of
from pairing_kit import METER, PASSKEY, meter_on, wall

from gateway.model import DecisionSource, Device, DeviceId, DeviceKind, Enrolment, Metric, PersonId
from gateway.pairing.household import beside_configuration
from gateway.sandbox.peripherals import MeterRecord, VirtualScale, WeighIn
from gateway.sandbox.radio import VirtualAir

SCALE = "C0:FF:EE:00:00:71"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


async def test_paired_named_collected_and_remembered(air: VirtualAir, tmp_path: Path) -> None:
    """Without a line in a file: in range, paired with digits, named, read at once, and read again after a restart."""
    meter = await meter_on(air)
    settings = house_settings(tmp_path)
    with structlog.testing.capture_logs() as logs:
        async with gateway_on(air, settings) as running, visitor_of(running) as visitor:
            state = await visitor.until(lambda state: state["neighbours"])
            (near,) = state["neighbours"]
            assert ("new", "meter+51", "glucose_meter") == (near["status"], near["name"], near["kind"])
            assert 200 == (await visitor.act("pair", address=near["address"]))[0]
            asked = (await visitor.until(is_in("wants_passkey")))["attempt"]
            status, after = await visitor.act("passkey", attempt=asked["id"], passkey=f"{PASSKEY}")
            assert 200 == status
            assert f"{PASSKEY}" not in str(after)
            paired = (await visitor.until(is_in("paired")))["attempt"]
            assert (True, True) == (paired["wants_name"], paired["is_authenticated"])
            status, after = await visitor.act(
                "enrol", attempt=paired["id"], name="  Mon   lecteur ", person="camille", kind="glucose_meter"
            )
            assert 200 == status
            assert "glucose-meter-1" == after["attempt"]["device_id"]
            (ours,) = after["devices"]
            assert ("Mon lecteur", "camille", True, False) == (
                ours["name"], ours["person_id"], ours["is_bonded"], ours["is_configured"],
            )  # fmt: skip
            await until_readings(running, 3, "glucose-meter-1")
            assert {"camille"} == {item.person_id for item in await running.store.readings()}
    assert f"{PASSKEY}" not in str(logs)
    assert METER not in str(logs)

    async with gateway_on(air, settings) as running, visitor_of(running) as visitor:
        assert ["glucose-meter-1"] == [row["device_id"] for row in (await visitor.state())["devices"]]
        await meter.add_record(MeterRecord(4, wall(), Decimal(140)))
        await until_readings(running, 4, "glucose-meter-1")
        status, after = await visitor.act("unpair", device="glucose-meter-1")
        assert (200, []) == (status, after["devices"])
        assert frozenset() == await air.bonds.bonded()
        assert 4 == len(await running.store.readings()), "its readings stay"

    async with gateway_on(air, settings) as running, visitor_of(running) as visitor:
        assert [] == (await visitor.state())["devices"]
        await visitor.until(lambda state: state["neighbours"] and state["neighbours"][0]["status"] == "new")


async def test_what_came_back_keeps_its_id(air: VirtualAir, tmp_path: Path) -> None:
    """A device that was removed and is added again continues its own history."""
    meter = await meter_on(air)
    async with gateway_on(air, house_settings(tmp_path)) as running, visitor_of(running) as visitor:
        for _ in range(2):
            await visitor.until(lambda state: state["neighbours"])
            await visitor.act("pair", address=METER)
            asked = (await visitor.until(is_in("wants_passkey")))["attempt"]
            await visitor.act("passkey", attempt=asked["id"], passkey=f"{PASSKEY}")
            await visitor.until(is_in("paired"))
            _, after = await visitor.act("enrol", attempt=asked["id"], name="x", kind="glucose_meter")
            assert ["glucose-meter-1"] == [row["device_id"] for row in after["devices"]]
            await until_readings(running, 3, "glucose-meter-1")
            await visitor.act("unpair", device="glucose-meter-1")
            await meter.forget_bonds()
        assert 3 == len(await running.store.readings())


async def test_a_scale_with_a_slot(air: VirtualAir, tmp_path: Path) -> None:
    """Slot and code are given on the page; the code lies in a file for its owner alone, and opens the scale."""
    scale = VirtualScale(air, SCALE, "Virtual Scale", "BS71", users={1: 4321}, clock=wall)
    await scale.start()
    async with gateway_on(air, house_settings(tmp_path)) as running, visitor_of(running) as visitor:
        await visitor.until(lambda state: state["neighbours"])
        await visitor.act("pair", address=SCALE)
        attempt = (await visitor.until(is_in("paired")))["attempt"]
        assert attempt["is_authenticated"] is False
        named = {"attempt": attempt["id"], "name": "Balance", "person": "camille", "kind": "body_composition_analyser"}
        for wrong in ({"scale_user": 1}, {"scale_user": 1, "scale_code": 10_000}, {"scale_user": 255, "scale_code": 1}):
            assert (400, "slot") == _refusal(await visitor.act("enrol", **named, **wrong))
        for name, value, reason in (
            ("name", "x" * 81, "name"),
            ("person", "nobody", "person"),
            ("kind", "cgm", "kind"),
        ):
            assert (400, reason) == _refusal(await visitor.act("enrol", **{**named, name: value}))
        status, after = await visitor.act("enrol", **named, scale_user="1", scale_code="4321")
        assert 200 == status
        assert "4321" not in str(after)
        (device,) = after["devices"]
        assert device["is_authenticated"] is False
        file = tmp_path / "scale-codes" / f"{device['device_id']}.code"
        assert "4321\n" == file.read_text(encoding="utf-8")
        assert 0o600 == stat.S_IMODE(file.stat().st_mode)
        await scale.weigh(WeighIn(Decimal("70.5"), 1, wall(), fat_percent=Decimal("20.0")))
        await until_readings(running, 1, device["device_id"])
        await visitor.act("unpair", device=device["device_id"])
        assert not file.exists()


async def test_a_scale_of_several_people(air: VirtualAir, tmp_path: Path) -> None:
    """A box for each person on the page; a weigh-in waits for one of them, also after a restart, and a tap files it."""
    scale = VirtualScale(air, SCALE, "Virtual Scale", "BS71", users={1: 4321}, clock=wall)
    await scale.start()
    people = [{"id": each, "name": each.title()} for each in ("camille", "dominique", "noe")]
    settings = house_settings(tmp_path, people=people)
    async with gateway_on(air, settings) as running, visitor_of(running) as visitor:
        await visitor.until(lambda state: state["neighbours"])
        await visitor.act("pair", address=SCALE)
        attempt = (await visitor.until(is_in("paired")))["attempt"]
        named = {"attempt": attempt["id"], "name": "Balance", "kind": "body_composition_analyser"}
        assert (400, "person") == _refusal(await visitor.act("enrol", **named, people=["camille", "nobody"]))
        assert (400, "person") == _refusal(await visitor.act("enrol", **named, people={"camille": 1}))
        fields = [*named.items(), ("people", "dominique"), ("people", "camille"), ("action", "enrol")]
        token = (await visitor.state())["token"]
        async with aiohttp.ClientSession() as session:
            form = aiohttp.FormData([*fields, ("token", token), ("scale_user", "1"), ("scale_code", "4321")])
            async with session.post(f"{visitor.url}/bluetooth", data=form, allow_redirects=False) as answer:
                assert 303 == answer.status
    async with gateway_on(air, settings) as running:
        (device,) = await running.registry.devices()
        assert (None, True, ("camille", "dominique")) == (device.person_id, device.is_by_evidence, device.candidates)
        await scale.weigh(WeighIn(Decimal("70.5"), 1, wall()))
        await until_readings(running, 1, device.device_id)
        with running.changes.follow() as changed:
            while not (waiting := await running.inbox.attributions.waiting()) or waiting[0].decision is None:
                await changed.wait()
                changed.clear()
        evidence: dict[str, Any] = dict(waiting[0].decision.evidence)
        assert {"camille", "dominique"} == set(evidence["probabilities"])
        await running.inbox.assign([waiting[0].number], PersonId("dominique"), DecisionSource.PAGE)
        assert {"dominique"} == {item.person_id for item in await running.store.readings(metrics=[Metric.BODY_MASS])}


async def test_a_device_of_the_file_is_only_paired(air: VirtualAir, tmp_path: Path) -> None:
    """A configured meter that wants digits says that it needs pairing; once paired it is read, and it stays."""
    await meter_on(air)
    device = {"id": "meter", "kind": "glucose_meter", "name": "Lecteur", "person": "camille", "address": METER}
    settings = house_settings(tmp_path, devices=[device])
    async with gateway_on(air, settings) as running, visitor_of(running) as visitor:
        state = await visitor.until(lambda state: state["devices"][0]["needs_pairing"])
        assert state["devices"][0]["steps"]["fr"]
        await visitor.act("pair", address=METER)
        asked = (await visitor.until(is_in("wants_passkey")))["attempt"]
        await visitor.act("passkey", attempt=asked["id"], passkey=f"{PASSKEY}")
        attempt = (await visitor.until(is_in("paired")))["attempt"]
        assert (False, "meter") == (attempt["wants_name"], attempt["device_id"])
        assert (409, "not_paired") == _refusal(
            await visitor.act("enrol", attempt=attempt["id"], name="x", kind="glucose_meter")
        )
        await until_readings(running, 3, "meter")
        _, after = await visitor.act("unpair", device="meter")
        assert ["meter"] == [row["device_id"] for row in after["devices"]]
        assert (404, "unknown") == _refusal(await visitor.act("unpair", device="another"))


async def test_a_lost_bond_is_told_and_kept_until_a_person_acts(air: VirtualAir, tmp_path: Path) -> None:
    """A battery change: the meter is shown as to be paired again, with steps, and our key stays until that is done."""
    meter = await meter_on(air)
    device = {"id": "meter", "kind": "glucose_meter", "name": "Lecteur", "person": "camille", "address": METER}
    async with gateway_on(air, house_settings(tmp_path, devices=[device])) as running, visitor_of(running) as visitor:

        async def pair_it() -> None:
            await visitor.act("pair", address=METER)
            asked = (await visitor.until(is_in("wants_passkey")))["attempt"]
            await visitor.act("passkey", attempt=asked["id"], passkey=f"{PASSKEY}")
            await visitor.until(is_in("paired"))

        await visitor.until(lambda state: state["neighbours"])
        await pair_it()
        await until_readings(running, 3, "meter")
        await meter.wait_disconnected()
        await meter.forget_bonds()
        await meter.add_record(MeterRecord(4, wall(), Decimal(140)))
        state = await visitor.until(lambda state: state["devices"][0]["needs_pairing"])
        assert state["devices"][0]["steps"]["fr"]
        assert state["devices"][0]["is_bonded"], "a stale key is not removed behind a person's back"
        await pair_it()
        await until_readings(running, 4, "meter")
        await visitor.until(lambda state: not state["devices"][0]["needs_pairing"])


def _refusal(answer: tuple[int, dict[str, object]]) -> tuple[int, object]:
    return answer[0], answer[1]["error"]


def _enrolled(device_id: str, address: str, *, withdrawn: bool = False) -> Enrolment:
    device = Device(DeviceId(device_id), DeviceKind.SCALE, "x", address=address)
    return Enrolment(device, NOW, is_authenticated=True, withdrawn_at=NOW if withdrawn else None)


def test_the_configuration_wins() -> None:
    """The same id or the same address in the file overrules what was added by hand; what was withdrawn is neither."""
    configured = [
        Device(DeviceId("a"), DeviceKind.SCALE, "file", address="AA:00:00:00:00:01"),
        Device(DeviceId("mqtt"), DeviceKind.SCALE, "file"),
    ]
    same_id = _enrolled("a", "AA:00:00:00:00:02")
    same_address = _enrolled("b", "aa:00:00:00:00:01")
    free = _enrolled("c", "AA:00:00:00:00:03")
    gone = _enrolled("d", "AA:00:00:00:00:04", withdrawn=True)
    kept, overruled = beside_configuration(configured, [same_id, same_address, free, gone])
    assert [free] == kept
    assert ["a", "b"] == overruled
