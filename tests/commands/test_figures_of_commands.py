"""What commands compute is what the gateway would have computed, for everybody."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.cli import main
from gateway.clock import SystemClock
from gateway.commands.common import utc_now
from gateway.model import (
    Batch,
    Device,
    DeviceId,
    DeviceKind,
    GlucoseDay,
    Metric,
    Person,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    TimeQuality,
    WeightDay,
)

CAMILLE, NOE = PersonId("camille"), PersonId("noe")
CONFIG = """
[store]
path = "passerelle.db"
[gateway]
time_zone = "UTC"
[[people]]
id = "camille"
name = "Camille"
glucose_sources = ["phone", "sensor"]
[[devices]]
id = "sensor"
kind = "cgm"
name = "Capteur"
person = "camille"
[[devices]]
id = "phone"
kind = "cgm"
name = "App"
person = "camille"
[[devices]]
id = "scale"
kind = "scale"
name = "Balance"
person = "camille"
"""


def _reading(device: str, metric: Metric, value: str, source: SourceKind) -> Reading:
    at = utc_now() - timedelta(days=2)
    return Reading(
        device_id=DeviceId(device),
        epoch=0,
        record_key="1",
        metric=metric,
        effective_at=at,
        utc_offset_min=0,
        time_quality=TimeQuality.DEVICE,
        received_at=at,
        provenance=Provenance(source, "test"),
        value=Decimal(value),
    )


async def _fill(folder: Path) -> None:
    """Two sources tell Camille's glucose; Noé, who has left the configuration since, was weighed."""
    people = [Person(CAMILLE, "Camille", ZoneInfo("UTC")), Person(NOE, "Noé", ZoneInfo("UTC"))]
    devices = [Device(DeviceId(name), DeviceKind.CGM, name, person_id=CAMILLE) for name in ("sensor", "phone")]
    devices.append(Device(DeviceId("old"), DeviceKind.UNKNOWN, "old", person_id=NOE))
    async with SqliteStore.open(folder / "passerelle.db", clock=SystemClock()) as store:
        await store.registry.declare(people, devices)
        await store.readings.commit(
            Batch(
                readings=(
                    _reading("sensor", Metric.GLUCOSE_INTERSTITIAL, "100", SourceKind.BLUETOOTH),
                    _reading("phone", Metric.GLUCOSE_INTERSTITIAL, "140", SourceKind.HTTP),
                    _reading("old", Metric.BODY_MASS, "70", SourceKind.MQTT),
                )
            )
        )


async def _figures(folder: Path) -> tuple[list[GlucoseDay], list[WeightDay]]:
    async with SqliteStore.open(folder / "passerelle.db", clock=SystemClock()) as store:
        return (
            await store.readings.glucose_days(CAMILLE, date.min, date.max),
            await store.readings.weight_days(NOE, date.min, date.max),
        )


@pytest.mark.parametrize("words", [("summary",), ("weigh-ins", "not-us", "old/0/1/body_mass")])
def test_everybodys_figures_in_their_own_order(tmp_path: Path, words: tuple[str, ...]) -> None:
    """The source that the person prefers counts, and who has left the file has figures as before."""
    (tmp_path / "hub.toml").write_text(CONFIG, encoding="utf-8")
    asyncio.run(_fill(tmp_path))
    main([*words, "--config", str(tmp_path / "hub.toml")])
    glucose, weight = asyncio.run(_figures(tmp_path))
    assert [Decimal(140)] == [day.maximum_mg_dl for day in glucose]
    assert ([] if words[0] == "weigh-ins" else [Decimal(70)]) == [day.mass_kg for day in weight]
