"""openScale sync, ble-scale-sync, xiaomi_mi_scale, Tasmota and a mapping: their captured messages, published on a real
broker, through the source."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest
from mqtt_kit import KnownAddresses, Line, MemoryIntake, mqtt_settings, play, reading_json, running

from gateway.model import Absent, DeviceId, Metric, QuarantineReason, Reading, TimeQuality
from gateway.sandbox.broker import Broker, run_mosquitto

SCALE = DeviceId("scale")
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "mqtt"
MARKER = Line("gateway/marker/reading", reading_json("end"))


def lines(name: str) -> list[Line]:
    """The messages of a captured log, as live ones: a kept copy comes at once to whoever listens."""
    rows = [json.loads(row) for row in (FIXTURES / name).read_text(encoding="utf-8").splitlines()]
    return [Line(row["topic"], row["payload"].encode(), qos=row["qos"]) for row in rows]


async def heard(broker: Broker, name: str, **section: object) -> MemoryIntake:
    """What the source makes of a log, with this section in `[mqtt]`."""
    intake = MemoryIntake()
    settings = mqtt_settings(broker, **{key: [value] for key, value in section.items()})
    async with running(settings, intake, addresses=KnownAddresses(scale="70:87:9E:56:8C:44")):
        await play(broker, [*lines(name), MARKER])
        async with asyncio.timeout(20):
            while "end" not in intake.records:
                await intake.until(offered=intake.offered + 1)
    return intake


def of_scale(intake: MemoryIntake, metric: Metric) -> list[Reading]:
    """What is stored of one metric."""
    return [one for one in intake.readings.values() if (one.device_id, one.metric) == (SCALE, metric)]


async def test_openscale_corrects_and_withdraws(tmp_path: Path) -> None:
    """Of three measurements of two people one is corrected and one withdrawn; a `clear` is set aside."""
    async with run_mosquitto(tmp_path) as broker:
        intake = await heard(
            broker, "openscale_sync/days.jsonl", dialects={"dialect": "openscale_sync", "device": "scale"}
        )
    masses = {one.record_key: (one.value, one.absent) for one in of_scale(intake, Metric.BODY_MASS)}
    assert {
        "1@2026-03-01T06:12Z": (Decimal("71.5"), None),
        "2@2026-03-01T06:12Z": (Decimal("88.2"), None),
        "1@2026-03-02T06:05Z": (None, Absent.WITHDRAWN),
    } == masses
    assert [QuarantineReason.UNSUPPORTED] == [each.reason for each in intake.quarantined]


@pytest.mark.parametrize(
    ("name", "section", "masses"),
    [
        ("ble_scale_sync/household.jsonl", {"dialect": "ble_scale_sync"}, ["71.35", "71.2"]),
        ("tasmota/bridge.jsonl", {"dialect": "tasmota"}, ["71.35", "3"]),
    ],
)
async def test_repeats_are_one_weigh_in(
    tmp_path: Path, name: str, section: dict[str, object], masses: list[str]
) -> None:
    """What names neither itself nor a time is told once, at the time of its reception; its halves are joined."""
    async with run_mosquitto(tmp_path) as broker:
        intake = await heard(broker, name, dialects=section | {"device": "scale"})
    found = of_scale(intake, Metric.BODY_MASS)
    assert masses == [str(one.value) for one in found]
    assert {TimeQuality.RECEIVED} == {one.time_quality for one in found}
    (impedance,) = of_scale(intake, Metric.IMPEDANCE)
    assert found[0].record_key == impedance.record_key
    assert [] == intake.quarantined


async def test_xiaomi_mi_scale_is_kept_once_and_marked(tmp_path: Path) -> None:
    """A repetition adds nothing; QoS 0 is marked; the clock is the house's."""
    async with run_mosquitto(tmp_path) as broker:
        section = {"dialect": "xiaomi_mi_scale", "device": "scale"}
        intake = await heard(broker, "xiaomi_mi_scale/weigh-in.jsonl", dialects=section)
    found = of_scale(intake, Metric.BODY_MASS)
    assert ["t2026-03-01T07:11:58", "t2026-03-01T07:12:05", "t2020-11-02T07:12:05"] == [one.record_key for one in found]
    assert all(one.provenance.is_unconfirmed and one.device_time is not None for one in found)


async def test_a_mapping_is_listened_to(tmp_path: Path) -> None:
    """The configured topic is subscribed to; a number is a reading, a word is set aside."""
    async with run_mosquitto(tmp_path) as broker:
        section = {"topic": "house/bathroom/weight", "device": "scale", "metric": "body_mass", "unit": "kg"}
        intake = await heard(broker, "mapping/home.jsonl", mappings=section)
    (mass,) = of_scale(intake, Metric.BODY_MASS)
    assert (Decimal("71.3"), "mqtt.mapping") == (mass.value, mass.provenance.decoder)
    assert [QuarantineReason.MALFORMED] == [each.reason for each in intake.quarantined]
