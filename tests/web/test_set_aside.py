"""The page of what was set aside, and what the main page says about it and about a sensor that is silent."""

from __future__ import annotations

import html
import os
import re
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import async_playwright
from web_kit import DEVICES, NOW, Site, reading, serve

from gateway.model import (
    Batch,
    Device,
    DeviceId,
    DeviceKind,
    Outage,
    OutageReason,
    Quarantined,
    QuarantineReason,
    RawFrame,
    SourceKind,
)

FIVE_MIN = timedelta(minutes=5)
SECRET = b'{"value":71.25,"name":"Ada"}'


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A visitor."""
    async with aiohttp.ClientSession() as session:
        yield session


async def _words(client: aiohttp.ClientSession, url: str) -> str:
    async with client.get(url) as answer:
        assert 200 == answer.status
        text = await answer.text()
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


async def _set_aside(
    site: Site,
    reason: QuarantineReason,
    *,
    minutes: int,
    device: str | None = "scale",
    channel: str = "gateway/scale/reading",
) -> None:
    device_id = None if device is None else DeviceId(device)
    payload = SECRET + str(minutes).encode()
    frame = RawFrame(device_id, SourceKind.MQTT, channel, payload, NOW - timedelta(minutes=minutes))
    await site.store.readings.commit(Batch(quarantined=(Quarantined(frame, reason, f"why {minutes}"),)))


async def test_nothing_is_said_about_nothing(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """Without anything set aside the page has no line about it, and the list says so."""
    async with serve(tmp_path) as site:
        assert "de côté" not in await _words(client, f"{site.url}/")
        assert "Rien n'est mis de côté." in await _words(client, f"{site.url}/set-aside")


async def test_reason_device_and_time_are_listed_and_never_the_payload(
    tmp_path: Path, client: aiohttp.ClientSession
) -> None:
    """What contradicts its sender comes first and is marked; the others newest first; in both languages."""
    async with serve(tmp_path) as site:
        await _set_aside(site, QuarantineReason.IDENTITY_MISMATCH, minutes=90)
        await _set_aside(site, QuarantineReason.MALFORMED, minutes=5, device=None, channel="x" * 200)
        await _set_aside(site, QuarantineReason.IMPLAUSIBLE, minutes=60)
        french = await _words(client, f"{site.url}/set-aside")
        english = await _words(client, f"{site.url}/set-aside?lang=en")
        main = await _words(client, f"{site.url}/")
    first, second, third = (french.index(f"why {minutes}") for minutes in (90, 5, 60))
    assert first < second < third
    assert "Balance à vérifier Il se dit d'un autre appareil" in french
    assert "20 mars 10:30 · n° 1" in french
    assert "appareil inconnu" in french
    assert "x" * 61 not in french
    assert "It claims another device or person than the way it came in by." in english
    assert "Un message se dit d'un autre appareil ou d'une autre personne. 3 messages ont été mis de côté." in main
    for text in (french, english, main):
        assert "71.25" not in text
        assert "Ada" not in text


async def test_what_is_resolved_is_off_the_page(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """After a replay the line is gone."""
    async with serve(tmp_path) as site:
        await _set_aside(site, QuarantineReason.MALFORMED, minutes=5)
        assert "Un message a été mis de côté." in await _words(client, f"{site.url}/")
        await site.store.quarantine.resolve(1, "read again: 1 reading", NOW)
        assert "de côté" not in await _words(client, f"{site.url}/")


async def test_a_silent_sensor_is_named_with_the_reason(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """Since when, by the house's clock, and why as far as it is known; one that is not late has no sentence."""
    async with serve(tmp_path) as site:
        await site.commit(*(reading(FIVE_MIN * n, "104") for n in range(2, 20)))
        assert "Pas de mesure depuis" not in await _words(client, f"{site.url}/")
    (tmp_path / "late").mkdir()
    async with serve(tmp_path / "late") as site:
        await site.commit(*(reading(FIVE_MIN * n, "104") for n in range(12, 30)))
        assert "Pas de mesure depuis 11:00." in await _words(client, f"{site.url}/")
        outage = Outage("device:sensor", OutageReason.DEVICE_OFFLINE, NOW - FIVE_MIN * 12)
        await site.store.ledger.record(outage)
        assert "Pas de mesure depuis 11:00 : le capteur est hors de portée ou arrêté." in await _words(
            client, f"{site.url}/"
        )
        assert "No reading since 11:00: the sensor is out of reach or stopped." in await _words(
            client, f"{site.url}/?lang=en"
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_list_fits_a_telephone(tmp_path: Path, scheme: str) -> None:
    """At 390 pixels nothing sticks out, names and topics run nothing, and the browser complains about nothing."""
    path = shutil.which("chromium")
    if path is None:
        words = "no chromium on this machine: install the package chromium to test the page in a real browser"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    hostile = Device(DeviceId("scale"), DeviceKind.SCALE, "<img src=x onerror='window.hit = 1'>")
    async with serve(tmp_path, devices=(*DEVICES[:2], hostile)) as site, async_playwright() as playwright:
        await _set_aside(site, QuarantineReason.IDENTITY_MISMATCH, minutes=90, channel="gateway/" + "scale" * 30)
        for number, reason in enumerate(QuarantineReason):
            await _set_aside(site, reason, minutes=number + 1, channel="<script>window.hit = 1</script>")
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            context = await browser.new_context(
                viewport={"width": 390, "height": 844},
                locale="fr-FR",
                color_scheme="dark" if scheme == "dark" else "light",
            )
            page = await context.new_page()
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await page.goto(f"{site.url}/")
            await page.get_by_role("link", name="Voir lesquels").click()
            await page.get_by_role("heading", name="Mis de côté").wait_for()
            assert 390 >= await page.evaluate("document.documentElement.scrollWidth")
            assert await page.evaluate("window.hit") is None
            shot = Path(os.environ.get("PASSERELLE_SHOTS", str(tmp_path))) / f"set-aside-{scheme}.png"
            await page.screenshot(path=shot, full_page=True)
            assert [] == complaints
        finally:
            await browser.close()
