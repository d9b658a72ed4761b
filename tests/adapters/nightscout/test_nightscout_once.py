"""Followers are told once what several devices tell: over a real socket and a real store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import nightscout_kit
import pytest
from nightscout_kit import ADA, ADA_PHONE, NOON, PEOPLE, Desk, bearer, entry, ms, site

from gateway.model import Batch, Device, DeviceId, DeviceKind, Metric, Provenance, SourceKind

SENSOR = DeviceId("ada-sensor")


async def sensor_beside_the_phone(desk: Desk, count: int = 30) -> None:
    """Ada's phone uploads `count` values; her sensor over Bluetooth tells the same 40 s earlier, all but the tenth."""
    await desk.store.registry.declare([], [Device(SENSOR, DeviceKind.CGM, "Sensor", ADA)])
    uploads = [entry(5 * n, 100 + n) for n in range(1, count + 1)]
    stick = {"type": "mbg", "mbg": 110, "date": ms(NOON - timedelta(minutes=33)), "device": "typed in"}
    assert (await desk.ask("POST", "/api/v1/entries", json=[*uploads, stick]))[0] == 200
    own = [
        replace(
            each.reading,
            device_id=SENSOR,
            record_key=f"own-{each.row_id}",
            effective_at=each.reading.effective_at - timedelta(seconds=40),
            provenance=Provenance(SourceKind.BLUETOOTH, "gatt.test"),
            context=replace(each.reading.context, recorded_by=None),
        )
        for each in await desk.readings()
        if each.reading.value != 110 or each.reading.metric is not Metric.GLUCOSE_INTERSTITIAL
    ]
    await desk.store.readings.commit(Batch(readings=tuple(own)))


def devices(said: list[dict[str, object]]) -> dict[object, list[object]]:
    """Device -> its values, newest first."""
    found: dict[object, list[object]] = {}
    for each in said:
        found.setdefault(each["device"], []).append(each.get("sgv", each.get("mbg")))
    return found


async def test_the_sensor_is_told_and_the_phone_fills_its_hole(tmp_path: Path) -> None:
    """v1 and v3 tell 30 values and one finger-stick, not 61; all of them stay stored."""
    expected = {SENSOR: [n for n in range(101, 131) if n != 110], "xDrip-DexcomG6": [110]}
    async with site(tmp_path) as desk:
        await sensor_beside_the_phone(desk)
        assert 61 == len(await desk.readings())
        _, said = await desk.ask("GET", "/api/v1/entries/sgv.json?count=1000")
        assert expected == devices(said)
        session = await bearer(desk)
        _, v3 = await desk.ask("GET", "/api/v3/entries?sort$desc=date&type=sgv", headers=session, who=None)
        assert expected == devices(v3["result"])
        _, sticks = await desk.ask("GET", "/api/v1/entries/mbg.json?count=1000")
        assert {SENSOR: [110]} == devices(sticks)
        _, ten = await desk.ask("GET", "/api/v1/entries.json?find[type]=sgv")
        assert list(range(101, 111)) == [each["sgv"] for each in ten]
        _, newest = await desk.ask("GET", "/api/v1/entries/current.json")
        assert [101] == [each["sgv"] for each in newest]


@pytest.mark.parametrize("minutes", [100, 101, 102, 103, 104])
async def test_an_answer_ends_where_the_question_does(tmp_path: Path, minutes: int) -> None:
    """A bound between a value and its copy shows neither of them twice nor lets a hidden one out."""
    async with site(tmp_path) as desk:
        await sensor_beside_the_phone(desk)
        bound = ms(NOON - timedelta(minutes=minutes))
        _, newer = await desk.ask("GET", f"/api/v1/entries/sgv.json?count=1000&find[date][$gte]={bound}")
        _, older = await desk.ask("GET", f"/api/v1/entries/sgv.json?count=1000&find[date][$lt]={bound}")
        assert list(range(101, 131)) == [each["sgv"] for each in [*newer, *older]]


async def test_the_persons_order_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who prefers the phone reads the phone's values."""
    ada = replace(PEOPLE[ADA], glucose_sources=(ADA_PHONE,))
    monkeypatch.setitem(nightscout_kit.PEOPLE, ADA, ada)
    async with site(tmp_path) as desk:
        await sensor_beside_the_phone(desk)
        _, said = await desk.ask("GET", "/api/v1/entries/sgv.json?count=1000")
        assert {"xDrip-DexcomG6": list(range(101, 131))} == devices(said)


async def test_followers_see_the_change(tmp_path: Path) -> None:
    """`delta` in mg/dL per five minutes, also at the end of a short answer; an arrow only where none was sent."""
    async with site(tmp_path) as desk:
        uploads = [entry(5, 120), entry(10, 113.5), entry(15, 100, direction=None), entry(20, 90, direction=None)]
        assert (await desk.ask("POST", "/api/v1/entries", json=uploads))[0] == 200
        _, said = await desk.ask("GET", "/api/v1/entries/sgv.json")
        assert [("Flat", 6.5), ("Flat", 13.5), ("FortyFiveUp", 10), ("NONE", None)] == [
            (each["direction"], each.get("delta")) for each in said
        ]
        for question in ("count=1", f"find[date][$gte]={ms(NOON - timedelta(minutes=7))}"):
            _, newest = await desk.ask("GET", f"/api/v1/entries/sgv.json?{question}")
            assert said[:1] == newest
