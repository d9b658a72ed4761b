"""The page of weigh-ins in a real browser and over real HTTP: one tap files, undo takes back, nobody else can tap."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser, Page, async_playwright
from web_kit import CAMILLE, NOE, NOW, PARIS, Site, StillClock, reading, serve

from gateway.attributor import Attributor
from gateway.departures.planner import planned_identities
from gateway.inbox import Inbox
from gateway.model import (
    DataType,
    DecisionSource,
    DepartureDraft,
    DepartureState,
    DestinationId,
    Device,
    DeviceId,
    DeviceKind,
    Metric,
    Person,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
)
from gateway.web.weigh_in_texts import WEIGH_IN_WORDS

PEOPLE = (
    Person(CAMILLE, "Camille-Marie-Antoinette de la Tour-Saint-Hilaire", PARIS),
    Person(NOE, "Noé", PARIS),
)
DEVICES = (
    Device(
        DeviceId("scale"),
        DeviceKind.SCALE,
        "Pèse-personne-très-connecté-du-rez-de-chaussée",
        is_by_evidence=True,
        candidates=(CAMILLE, NOE),
    ),
    Device(DeviceId("meter"), DeviceKind.GLUCOSE_METER, "Lecteur", person_id=CAMILLE),
)
_PATIENCE_MS = 10_000


def mass(ago: timedelta, value: str, *, is_memory: bool = False) -> Reading:
    """A weigh-in, `ago` before now."""
    found = reading(ago, value, metric=Metric.BODY_MASS, device="scale")
    told = Provenance(SourceKind.BLUETOOTH, "gatt.scale")
    return replace(found, received_at=NOW, provenance=told) if is_memory else found


def attributor(site: Site) -> Attributor:
    """What `gateway run` has beside the page."""
    store = site.store
    return Attributor(store.attributions, store.registry, store.enrolments, StillClock(), (CAMILLE, NOE), {})


async def to_correct(site: Site) -> None:
    """A weight of Camille's that was sent, and set aside afterwards."""
    sent = mass(timedelta(days=40), "61.9")
    await site.commit(sent)
    registry, mes = site.store.registry, DestinationId("mes")
    (stored,) = await site.store.readings.readings(metrics=[Metric.BODY_MASS], end=NOW - timedelta(days=39))
    inbox = Inbox(site.store.attributions, StillClock(), planned_identities)
    number = (await inbox.of_row(stored.row_id)).number
    await inbox.assign([number], CAMILLE, DecisionSource.PAGE)
    (identity,) = planned_identities(stored, CAMILLE)
    resource = '{"entry":[{"resource":{"valueQuantity":{"value":61.9,"unit":"kg"}}}]}'
    draft = DepartureDraft(identity, CAMILLE, DataType.WEIGHT, mes, "body_mass", sent.effective_at, resource)
    await registry.plan([draft], (), NOW)
    (row,) = await registry.departures()
    await registry.settle(row.outbox_id, DepartureState.DONE, NOW)
    await inbox.set_aside([number], DecisionSource.PAGE)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A house with a memory of old weigh-ins, some that wait, one to correct, and decisions."""
    async with serve(tmp_path, people=PEOPLE, devices=DEVICES, destinations={"mes": "Mon espace santé"}) as served:
        await to_correct(served)
        await served.commit(mass(timedelta(hours=6), "62.10"), mass(timedelta(hours=5), "84.40"))
        for ago, value in ((timedelta(hours=4), "15.20"), (timedelta(minutes=3), "71.35")):
            await served.commit(mass(ago, value))
        await served.commit(
            *(
                mass(timedelta(days=50 + n), f"{kilos + n % 3 / 10:.2f}", is_memory=True)
                for n in range(12)
                for kilos in ((62,) if n % 2 else (84,))
            )
        )
        await served.commit(
            *(
                reading(timedelta(hours=n), str(90 + n), metric=Metric.GLUCOSE_CAPILLARY, device="meter")
                for n in range(1, 5)
            )
        )
        await attributor(served).look()
        await served.summaries.refresh()
        yield served


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A real Chromium."""
    path = shutil.which("chromium")
    if path is None:
        words = "no chromium on this machine: install the package chromium to test the page in a real browser"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield launched
        finally:
            await launched.close()


def _listen(page: Page) -> list[str]:
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "response", lambda answer: complaints.append(f"{answer.url}: {answer.status}") if answer.status >= 400 else None
    )
    return complaints


async def _owners(site: Site, value: str) -> list[PersonId | None]:
    stored = await site.store.readings.readings(metrics=[Metric.BODY_MASS])
    return [each.person_id for each in stored if str(each.reading.value) == value]


@pytest.mark.parametrize("with_script", [True, False])
async def test_one_tap_files_and_undo_takes_back(browser: Browser, site: Site, with_script: bool) -> None:
    """From the note on the first page to a filed weigh-in and back, with and without a script."""
    context = await browser.new_context(locale="en-GB", java_script_enabled=with_script)
    page = await context.new_page()
    complaints = _listen(page)
    await page.goto(site.url)
    await page.get_by_role("link", name="16 weigh-ins wait: who was on the scale?").click()
    card = page.locator(".weigh-in", has_text="71.35")
    await card.get_by_role("button", name="Noé").click()
    await page.locator(".decided li", has_text="71.35 kg → Noé").wait_for(timeout=_PATIENCE_MS)
    assert [NOE] == await _owners(site, "71.35")
    guest = page.locator(".weigh-in", has_text="15.2")
    await guest.get_by_role("button", name="Not us").click()
    row = page.locator(".decided li", has_text="15.2 kg → not us")
    await row.wait_for(timeout=_PATIENCE_MS)
    await page.locator(".decided li", has_text="71.35").get_by_role("button", name="Undo").click()
    await page.locator(".weigh-in", has_text="You took a decision back.").wait_for(timeout=_PATIENCE_MS)
    assert [None] == await _owners(site, "71.35")
    await row.get_by_text("Change").click()
    await row.get_by_role("button", name="Noé").click()
    await page.locator(".decided li", has_text="15.2 kg → Noé").wait_for(timeout=_PATIENCE_MS)
    assert [] == complaints


async def test_a_memory_is_filed_in_one_go(browser: Browser, site: Site) -> None:
    """F4: each person's old weigh-ins are one card; one tap files all of it and nothing else."""
    page = await browser.new_page(locale="fr-FR")
    await page.goto(f"{site.url}/weigh-ins")
    bundles = page.locator(".bundle")
    assert 2 == await bundles.count()
    light = page.locator(".bundle", has_text="62,0–62,2 kg")
    await light.locator(":scope > .row").get_by_role("button", name="Camille").click()
    await page.locator(".decided li", has_text="Camille").first.wait_for(timeout=_PATIENCE_MS)
    assert 1 == await bundles.count()
    stored = await site.store.readings.readings(person_id=CAMILLE, metrics=[Metric.BODY_MASS])
    assert [62] * 6 == [int(each.reading.value or 0) for each in stored]


async def test_a_lent_meter_and_a_correction(browser: Browser, site: Site) -> None:
    """F5: a reading of a meter is set aside by a tap; what was put right in the space leaves the list."""
    page = await browser.new_page(locale="en-GB")
    await page.goto(f"{site.url}/weigh-ins")
    await page.get_by_role("link", name="Lecteur").click()
    record = page.locator("li", has_text="91 mg/dL").get_by_role("button", name="Not mine")
    await record.click()
    await page.locator("li", has_text="91 mg/dL → not us").first.wait_for(timeout=_PATIENCE_MS)
    (newest, *_) = await site.store.readings.readings(device_id=DeviceId("meter"), newest_first=True)
    assert newest.person_id is None
    await page.get_by_role("button", name="Done").click()
    await page.get_by_role("button", name="Done").wait_for(state="detached", timeout=_PATIENCE_MS)
    assert [] == await site.store.registry.corrections()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_it_fits(browser: Browser, site: Site, tmp_path: Path, width: int, scheme: str) -> None:
    """Nothing sticks out on a telephone or a desk, with long names, and every button can be hit with a thumb."""
    context = await browser.new_context(
        viewport={"width": width, "height": 844}, locale="fr-FR", color_scheme="dark" if scheme == "dark" else "light"
    )
    page = await context.new_page()
    complaints = _listen(page)
    await page.goto(f"{site.url}/weigh-ins?device=meter")
    assert "fr" == await page.locator("html").get_attribute("lang")
    assert width >= await page.evaluate("document.documentElement.scrollWidth")
    small = await page.evaluate(
        """Array.from(document.querySelectorAll("main button"))
             .filter((e) => e.getClientRects().length)
             .map((e) => e.getBoundingClientRect())
             .filter((r) => r.height < 43 || r.right > innerWidth + 0.5).length"""
    )
    assert 0 == small
    await page.screenshot(path=tmp_path / f"weigh-ins-{width}-{scheme}.png", full_page=True)
    assert [] == complaints


async def test_nobody_else_can_tap(site: Site) -> None:
    """Another site, a missing token, a stranger's name and nonsense change nothing."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{site.url}/weigh-ins") as answer:
            text = await answer.text()
            assert "form-action 'self'" in answer.headers["Content-Security-Policy"]
        found = re.search(r'name="token" value="([^"]+)"', text)
        assert found is not None
        good = {"token": found[1], "action": "assign", "numbers": "1", "person": "noe"}
        for fields, headers, status in (
            (good, {"Sec-Fetch-Site": "cross-site"}, 403),
            ({**good, "token": "x"}, {}, 409),
            ({**good, "person": "eve"}, {}, 409),
            ({**good, "numbers": "1 x"}, {}, 409),
            ({**good, "numbers": "9" * 30}, {}, 409),
            ({**good, "numbers": "77777"}, {}, 409),
            ({**good, "action": "undo", "numbers": "4"}, {}, 409),
            ({**good, "action": "undo", "numbers": "4", "decision": "1"}, {}, 409),
            ({**good, "action": "corrected", "outbox": "99"}, {}, 409),
            ({**good, "row": "99999"}, {}, 409),
            ({**good, "action": "burn"}, {}, 409),
        ):
            async with session.post(f"{site.url}/weigh-ins", data=fields, headers=headers) as answer:
                assert status == answer.status, fields
        for query in ("before=x", "before=" + "9" * 40, "device=%00", "device=scale"):
            async with session.get(f"{site.url}/weigh-ins?{query}") as answer:
                assert 200 == answer.status
    assert 16 == await site.store.attributions.waiting_count()


async def test_a_button_hit_twice_undoes_once(site: Site) -> None:
    """The second of two equal requests does not take the undoing back."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{site.url}/weigh-ins") as answer:
            found = re.search(r'name="token" value="([^"]+)"', await answer.text())
        assert found is not None
        (waiting, *_) = await site.store.attributions.waiting()
        number = str(waiting.number)
        fields = {"token": found[1], "action": "assign", "numbers": number, "person": "noe"}
        async with session.post(f"{site.url}/weigh-ins", data=fields) as answer:
            assert 200 == answer.status
            text = await answer.text()
        form = re.search(rf'name="numbers" value="{number}"><input type="hidden" name="decision" value="(\d+)"', text)
        assert form is not None
        for _ in range(2):
            fields = {"token": found[1], "action": "undo", "numbers": number, "decision": form[1]}
            async with session.post(f"{site.url}/weigh-ins", data=fields) as answer:
                assert 200 == answer.status
    assert 16 == await site.store.attributions.waiting_count()


def test_every_reason_to_wait_has_a_sentence() -> None:
    """What docs/attribution.md names as a reason to wait is said in words."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "attribution.md").read_text(encoding="utf-8")
    table = text.partition("reason it gives when it waits")[2].partition("\n\n")[0]
    reasons = [word for line in table.splitlines()[2:] for word in re.findall(r"`([a-z_]+)`", line.split("|")[-2])]
    assert len(reasons) > 6
    assert [] == [reason for reason in reasons if f"weigh_in_why_{reason}" not in WEIGH_IN_WORDS]
