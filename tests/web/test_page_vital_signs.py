"""What the page says of blood pressure, heart rate, saturation and temperature."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import aiohttp
from web_kit import CAMILLE, NOE, PARIS, Site, reading, serve

from gateway.model import Absent, Device, DeviceId, DeviceKind, Metric, Person, Reading, TimeQuality

DEVICES = (
    Device(DeviceId("cuff"), DeviceKind.BLOOD_PRESSURE_MONITOR, "Tensiomètre", person_id=CAMILLE),
    Device(DeviceId("belt"), DeviceKind.HEART_RATE_MONITOR, "Ceinture", person_id=CAMILLE),
    Device(DeviceId("meter"), DeviceKind.GLUCOSE_METER, "Lecteur", person_id=NOE),
)
PEOPLE = (Person(CAMILLE, "Camille", PARIS), Person(NOE, "Noé", PARIS))


def pressure(ago: timedelta, high: str | None, low: str | None) -> list[Reading]:
    """One measurement of the cuff; None: that pressure has no number."""
    made = []
    for metric, value in ((Metric.BLOOD_PRESSURE_SYSTOLIC, high), (Metric.BLOOD_PRESSURE_DIASTOLIC, low)):
        number = reading(ago, value or "1", metric=metric, device="cuff")
        made.append(number if value else replace(number, value=None, absent=Absent.UNSUCCESSFUL))
    return made


async def words_of(site: Site, language: str) -> str:
    """What a person reads."""
    async with aiohttp.ClientSession() as client, client.get(f"{site.url}/?lang={language}") as answer:
        assert 200 == answer.status
        return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", await answer.text()))


async def test_newest_of_each_with_its_age(tmp_path: Path) -> None:
    """One line each, in both languages: both pressures of one measurement, and the newest of the others."""
    async with serve(tmp_path, people=PEOPLE, devices=DEVICES) as site:
        await site.commit(
            *pressure(timedelta(hours=30), "141", "92"),
            *pressure(timedelta(minutes=12), "121.6", "79"),
            reading(timedelta(minutes=12), "66", metric=Metric.HEART_RATE, device="cuff"),
            reading(timedelta(minutes=3), "74", metric=Metric.HEART_RATE, device="belt"),
            reading(timedelta(hours=3), "97", metric=Metric.OXYGEN_SATURATION, device="belt"),
            reading(timedelta(days=3), "37.25", metric=Metric.BODY_TEMPERATURE, device="belt"),
        )
        french, english = await words_of(site, "fr"), await words_of(site, "en")
    for line in (
        "tension artérielle il y a 12 min 122/79 mmHg",
        "fréquence cardiaque il y a 3 min 74 /min",
        "saturation en oxygène il y a 3 h 97 %",
        "température il y a 3 jours 37,2 °C",
    ):
        assert line in french
    for line in (
        "blood pressure 12 min ago 122/79 mmHg",
        "heart rate 3 min ago 74 /min",
        "oxygen saturation 3 h ago 97 %",
        "temperature 3 days ago 37.2 °C",
    ):
        assert line in english
    assert "141" not in french


async def test_failed_measurement_hides_nothing(tmp_path: Path) -> None:
    """After a measurement without a result, or of unknown time, the last good one stays, with its true age."""
    async with serve(tmp_path, people=PEOPLE, devices=DEVICES) as site:
        await site.commit(
            *pressure(timedelta(hours=5), "128", "83"),
            *pressure(timedelta(hours=4), "130", None),
            *pressure(timedelta(hours=3), None, None),
            *(replace(r, time_quality=TimeQuality.UNKNOWN) for r in pressure(timedelta(hours=2), "150", "99")),
        )
        words = await words_of(site, "fr")
    assert "tension artérielle il y a 5 h 128/83 mmHg" in words


async def test_people_see_only_what_they_have(tmp_path: Path) -> None:
    """Somebody with a cuff alone gets no empty cards, and somebody without gets no line."""
    async with serve(tmp_path, people=PEOPLE, devices=DEVICES) as site:
        await site.commit(
            *pressure(timedelta(hours=5), "128", "83"),
            reading(timedelta(hours=1), "110", metric=Metric.GLUCOSE_CAPILLARY, device="meter"),
        )
        words = await words_of(site, "fr")
    camille, noe = words.split("Noé", 1)
    assert "Constantes" in camille
    assert "Pas encore" not in camille.rsplit("Camille", 1)[1]
    assert "Constantes" not in noe
    assert Decimal(110) == Decimal(re.findall(r"\b110\b", noe)[0])
