"""The page in a real browser: it lives, fits a telephone and complains about nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright
from web_kit import CAMILLE, NOE, PARIS, Site, reading, serve

from gateway.model import Device, DeviceId, DeviceKind, Meal, Metric, Person, Unit

FIVE_MIN = timedelta(minutes=5)
_PATIENCE_MS = 10_000


def _chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        words = "no chromium on this machine: install the package chromium to test the page in a real browser"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return found


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A real Chromium."""
    path = _chromium()
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield launched
        finally:
            await launched.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A lived-in house: long names, a day of glucose, finger-sticks, a month of weight, vital signs."""
    people = (
        Person(CAMILLE, "Camille-Marie-Antoinette de la Tour-Saint-Hilaire", PARIS),
        Person(NOE, "Noé", PARIS, Unit.MMOL_L),
    )
    devices = (
        Device(DeviceId("sensor"), DeviceKind.CGM, "Capteur", person_id=CAMILLE),
        Device(DeviceId("meter"), DeviceKind.GLUCOSE_METER, "Lecteur", person_id=CAMILLE),
        Device(DeviceId("scale"), DeviceKind.SCALE, "Pèse-personne-très-connecté-du-rez-de-chaussée", person_id=NOE),
    )
    async with serve(tmp_path, people=people, devices=devices, destinations={"mes": "Mon espace santé"}) as served:
        await served.commit(
            *(reading(FIVE_MIN * n, str(100 + (7 * n) % 90), trend="0.5") for n in range(2, 140)),
            *(
                reading(
                    timedelta(hours=n), "95", metric=Metric.GLUCOSE_CAPILLARY, device="meter", meal=Meal.PREPRANDIAL
                )
                for n in (3, 7)
            ),
            *(
                reading(timedelta(days=n, hours=4), f"{80 + n / 10:.2f}", metric=Metric.BODY_MASS, device="scale")
                for n in range(25)
            ),
            *(
                reading(timedelta(minutes=40), value, metric=metric, device="scale")
                for metric, value in (
                    (Metric.BLOOD_PRESSURE_SYSTOLIC, "128"),
                    (Metric.BLOOD_PRESSURE_DIASTOLIC, "83"),
                    (Metric.HEART_RATE, "64"),
                    (Metric.OXYGEN_SATURATION, "97"),
                    (Metric.BODY_TEMPERATURE, "36.8"),
                )
            ),
        )
        yield served


def _listen(page: Page) -> list[str]:
    """Collects everything that a browser complains about."""
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
    page.on(
        "response", lambda answer: complaints.append(f"{answer.url}: {answer.status}") if answer.status >= 400 else None
    )
    return complaints


async def _following(page: Page) -> None:
    """Waits until the page hears about changes."""
    async with asyncio.timeout(_PATIENCE_MS / 1000):
        while not await page.evaluate(
            "events.readyState === EventSource.OPEN"
        ):  # the page's policy forbids its own eval
            await page.wait_for_timeout(20)


async def test_a_reading_appears_without_reloading(browser: Browser, site: Site, tmp_path: Path) -> None:
    """A reading that is committed while the page is open appears on it by itself, and nothing is complained about."""
    page = await browser.new_page(locale="en-GB", viewport={"width": 1280, "height": 900})
    complaints = _listen(page)
    await page.goto(site.url)
    await _following(page)
    assert "en" == await page.locator("html").get_attribute("lang")
    newest = page.locator(".now .big").first
    assert "114" in await newest.inner_text()
    await page.evaluate("window.sameDocument = true")
    await site.commit(reading(FIVE_MIN, "187", trend="2.4"))
    await page.get_by_text("187").first.wait_for(timeout=_PATIENCE_MS)
    assert "187 ↑ mg/dL" == " ".join((await newest.inner_text()).split())
    assert await page.evaluate("window.sameDocument") is True
    assert "live" == await page.locator("#live").inner_text()
    shot = tmp_path / "page.png"
    await page.screenshot(path=shot, full_page=True)
    assert b"\x89PNG" == shot.read_bytes()[:4]
    assert [] == complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_telephone(browser: Browser, site: Site, tmp_path: Path, scheme: str) -> None:
    """At 390 pixels nothing sticks out: no sideways scrolling, with long names, in either colour scheme."""
    context = await browser.new_context(
        viewport={"width": 390, "height": 844}, locale="fr-FR", color_scheme="dark" if scheme == "dark" else "light"
    )
    page = await context.new_page()
    complaints = _listen(page)
    await page.goto(site.url)
    await _following(page)
    assert "fr" == await page.locator("html").get_attribute("lang")
    assert 390 >= await page.evaluate("document.documentElement.scrollWidth")
    outside = await page.evaluate(
        """Array.from(document.querySelectorAll("body *:not(svg *)"))
             .filter((e) => e.getClientRects().length && e.getBoundingClientRect().right > innerWidth + 0.5)
             .map((e) => e.tagName + "." + e.className)"""
    )
    assert [] == outside
    await page.screenshot(path=tmp_path / f"telephone-{scheme}.png", full_page=True)
    assert [] == complaints


async def test_losing_the_gateway(browser: Browser, site: Site) -> None:
    """When the gateway stops, an open page says so instead of looking alive, and keeps what it showed."""
    page = await browser.new_page(locale="fr-FR")
    await page.goto(site.url)
    await _following(page)
    assert "en direct" == await page.locator("#live").inner_text()
    await site.runner.cleanup()
    await page.get_by_text("connexion à la passerelle perdue").wait_for(timeout=_PATIENCE_MS)
    assert "114" in await page.locator(".now .big").first.inner_text()


async def test_names_run_nothing(browser: Browser, tmp_path: Path) -> None:
    """A device that calls itself a piece of HTML is a name on the page, before and after a live change."""
    hostile = Device(DeviceId("sensor"), DeviceKind.CGM, "<img src=x onerror='window.hit = 1'>", person_id=CAMILLE)
    people = (Person(CAMILLE, "<script>window.hit = 1</script>", PARIS),)
    async with serve(tmp_path, people=people, devices=(hostile,)) as site:
        page = await browser.new_page()
        complaints = _listen(page)
        await page.goto(site.url)
        await _following(page)
        await site.commit(reading(FIVE_MIN, "123"))
        await page.get_by_text("123").first.wait_for(timeout=_PATIENCE_MS)
        assert await page.evaluate("window.hit") is None
        assert await page.get_by_text("onerror").first.is_visible()
        assert [] == complaints
