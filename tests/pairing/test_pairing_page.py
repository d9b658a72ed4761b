"""The Bluetooth page over real HTTP and in a real browser, with a meter on a real link layer behind it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest
from house_kit import gateway_on, house_settings, is_in, until_readings, visitor_of
from pairing_kit import METER, PASSKEY, Comparing, meter_on, wall
from playwright.async_api import Browser, Page, async_playwright

from gateway.app import Running
from gateway.devices.procedures.glucose_gap import GlucoseGap
from gateway.model import Batch, Checkpoint, DeviceId, DeviceKind, Farewell, PairingFailure, PairingState
from gateway.sandbox.broadcast_frames import encode_mi_scale
from gateway.sandbox.peripherals import MeterRecord, VirtualBroadcaster, VirtualMeter
from gateway.sandbox.radio import VirtualAir
from gateway.web.sameorigin import PageTokens
from gateway.web.texts import LANGUAGES, Texts

_PATIENCE_MS = 15_000
REFUSALS = (
    "busy", "locked", "unreadable", "over", "digits", "fields", "name", "person", "kind", "slot", "not_paired",
    "configured", "has_user", "scale_away", "scale_refused", "scale_silent", "unknown", "off", "token",
)  # fmt: skip


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


@pytest.fixture
async def house(air: VirtualAir, tmp_path: Path) -> AsyncIterator[Running]:
    async with gateway_on(air, house_settings(tmp_path)) as running:
        yield running


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
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pairing_with_a_telephone_in_hand(
    browser: Browser, air: VirtualAir, house: Running, tmp_path: Path, scheme: str
) -> None:
    """In range, pair, six digits, a name: each step in French on a small screen, and then its readings come in."""
    await meter_on(air)
    context = await browser.new_context(
        viewport={"width": 390, "height": 844}, locale="fr-FR", color_scheme="dark" if scheme == "dark" else "light"
    )
    page = await context.new_page()
    complaints = _listen(page)
    shots = Path(os.environ.get("PASSERELLE_SHOTS", str(tmp_path)))

    async def shot(name: str) -> None:
        assert 390 >= await page.evaluate("document.documentElement.scrollWidth")
        await page.screenshot(path=shots / f"{scheme}-{name}.png", full_page=True)

    await page.goto(f"{house.url}/bluetooth")
    await page.get_by_role("button", name="Appairer").wait_for(timeout=_PATIENCE_MS)
    await shot("1-range")
    await page.get_by_role("button", name="Appairer").click()
    await page.locator("#passkey").wait_for(timeout=_PATIENCE_MS)
    await shot("2-digits")
    await page.locator("#passkey").fill("123 456")
    await page.get_by_role("button", name="Valider").click()
    await page.locator("#name").wait_for(timeout=_PATIENCE_MS)
    await shot("3-name")
    assert "glucose_meter" == await page.locator("#kind").input_value()
    assert "camille" == await page.locator("#person").input_value()
    await page.locator("#name").fill('"><img src=x onerror="window.hit = 1">')
    await page.get_by_role("button", name="Enregistrer").click()
    await page.get_by_text("C'est fait").wait_for(timeout=_PATIENCE_MS)
    await until_readings(house, 3, "glucose-meter-1")
    await shot("4-done")
    assert await page.get_by_text("onerror").first.is_visible()
    assert await page.evaluate("window.hit") is None
    await page.locator(".ours summary").click()
    await page.get_by_role("button", name="Oui, retirer").click()
    await page.get_by_text("Aucun appareil Bluetooth").wait_for(timeout=_PATIENCE_MS)
    assert frozenset() == await air.bonds.bonded()
    assert [] == complaints
    await context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_what_devices_want_of_a_person_is_seen(
    browser: Browser, air: VirtualAir, house: Running, tmp_path: Path, scheme: str
) -> None:
    """A wrong clock with its button, a weak battery, lost records, an open broadcast, a scale that cannot be read."""
    late = timedelta(hours=3)
    meter = VirtualMeter(
        air, METER, "Gluco 51", "51", [MeterRecord(1, wall() - late, Decimal(100))], clock=lambda: wall() - late
    )
    meter.battery_percent = 10
    await meter.start()
    async with visitor_of(house) as visitor:
        await visitor.until(lambda state: state["neighbours"])
        await visitor.act("pair", address=METER)
        attempt = (await visitor.until(is_in("paired")))["attempt"]
        await visitor.act("enrol", attempt=attempt["id"], name="Lecteur", person="camille", kind="glucose_meter")
        await until_readings(house, 1, "glucose-meter-1")
        gap = GlucoseGap(0, 4, 9, f"{wall() - timedelta(days=9):%Y-%m-%dT%H:%M}", f"{wall():%Y-%m-%dT%H:%M}").mark
        lost = Checkpoint(DeviceId("glucose-meter-1"), gap.name, gap.state)
        await house.store.commit(Batch(checkpoints=(lost,)))
        locked = VirtualBroadcaster(air, "C0:FF:EE:00:00:75", "MJTZC01", 0xFE95)
        await locked.start()
        await locked.tell(b"\x48\x59")
        open_scale = VirtualBroadcaster(air, "C0:FF:EE:00:00:74", "MI", 0x181D)
        await open_scale.start()
        await open_scale.tell(encode_mi_scale(Decimal("70.00"), wall()))
        await visitor.until(lambda state: len(state["neighbours"]) == 3)
        await visitor.act("pair", address=open_scale.address)
        attempt = (await visitor.until(is_in("paired")))["attempt"]
        await visitor.act("enrol", attempt=attempt["id"], name="Balance", person="camille", kind="scale")
        await open_scale.tell(encode_mi_scale(Decimal("70.50"), wall()))
        await until_readings(house, 1, "scale-1")
    context = await browser.new_context(
        viewport={"width": 390, "height": 844}, locale="fr-FR", color_scheme="dark" if scheme == "dark" else "light"
    )
    page = await context.new_page()
    complaints = _listen(page)
    shots = Path(os.environ.get("PASSERELLE_SHOTS", str(tmp_path)))
    for path, name in (("/", "5-readings"), ("/bluetooth", "6-devices")):
        await page.goto(f"{house.url}{path}")
        for words in (
            "La pile est presque vide (10 %)",
            "Son horloge est fausse de 3 h",
            "Ce lecteur a effacé 6 mesures",
            "Cet appareil parle en clair",
        ):
            await page.get_by_text(words).first.wait_for(timeout=_PATIENCE_MS)
        assert 390 >= await page.evaluate("document.documentElement.scrollWidth")
        await page.screenshot(path=shots / f"{scheme}-{name}.png", full_page=True)
    near = page.locator(".near li", has_text="Xiaomi S800")
    assert await near.get_by_text("Cet appareil chiffre ses mesures").is_visible()
    assert 0 == await near.get_by_role("button").count()
    ours = page.locator(".ours li", has_text="Balance")
    assert await ours.get_by_text("n'importe qui à proximité peut l'imiter").is_visible()
    assert 0 == await ours.get_by_role("button", name="Appairer").count()
    await page.get_by_role("button", name="Laisser la passerelle la régler").click()
    await page.get_by_text("la passerelle règle son horloge").first.wait_for(timeout=_PATIENCE_MS)
    assert await page.get_by_role("button", name="Ne plus régler son horloge").is_visible()
    assert [] == complaints
    await context.close()


async def test_comparing_and_failing_in_words(browser: Browser, air: VirtualAir, house: Running) -> None:
    """Digits to compare are shown large; a no ends with a sentence that a person understands, in English too."""
    owner = Comparing()
    await meter_on(air, passkey=None, delegate=owner)
    page = await browser.new_page(locale="en-GB")
    complaints = _listen(page)
    await page.goto(f"{house.url}/bluetooth")
    await page.get_by_role("button", name="Pair", exact=True).click(timeout=_PATIENCE_MS)
    await page.locator("#digits").wait_for(timeout=_PATIENCE_MS)
    shown = (await page.locator("#digits").inner_text()).replace(" ", "")
    assert f"{owner.shown:06d}" == shown
    await page.get_by_role("button", name="No", exact=True).click()
    await page.get_by_text("The digits were different").wait_for(timeout=_PATIENCE_MS)
    assert await page.get_by_role("button", name="Try again").is_visible()
    assert [] == complaints


async def test_without_a_script(air: VirtualAir, house: Running) -> None:
    """Every step is a form: a browser without scripts pairs too, and a reload repeats nothing."""
    await meter_on(air)
    async with visitor_of(house) as visitor, aiohttp.ClientSession() as session:
        await visitor.until(lambda state: state["neighbours"])

        async def form(**fields: str) -> tuple[int, str]:
            async with session.get(f"{house.url}/bluetooth?lang=en") as answer:
                (token, *_) = re.findall(r'name="token" value="([^"]+)"', await answer.text())
            data = {"token": token, **fields}
            async with session.post(f"{house.url}/bluetooth?lang=en", data=data, allow_redirects=False) as answer:
                return answer.status, await answer.text()

        assert 303 == (await form(action="pair", address=METER))[0]
        asked = (await visitor.until(is_in("wants_passkey")))["attempt"]
        status, text = await form(action="passkey", attempt=asked["id"], passkey="12")
        assert (409, True) == (status, "Exactly six digits" in text)
        assert 303 == (await form(action="passkey", attempt=asked["id"], passkey=f"{PASSKEY}"))[0]
        await visitor.until(is_in("paired"))
        status, text = await form(action="passkey", attempt=asked["id"], passkey=f"{PASSKEY}")
        assert (409, True) == (status, "already over" in text)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost"},
    ],
    ids=str,
)
async def test_other_sites_change_nothing(house: Running, headers: dict[str, str]) -> None:
    """A request that another page caused is refused, by form and by JSON, even with a valid token (I2)."""
    async with visitor_of(house) as visitor, aiohttp.ClientSession() as session:
        token = (await visitor.state())["token"]
        data = {"token": token, "action": "pair", "address": METER}
        async with session.post(f"{house.url}/bluetooth", data=data, headers=headers) as answer:
            assert 403 == answer.status
        proof = {"X-Passerelle-Token": token, **headers}
        async with session.post(f"{house.url}/api/pairing/pair", json={"address": METER}, headers=proof) as answer:
            assert 403 == answer.status
        assert (await visitor.state())["attempt"] is None


async def test_without_a_token_nothing_changes(house: Running) -> None:
    """No token, a made-up one, and one of another process are refused; so is a body that is no JSON object."""
    async with visitor_of(house) as visitor, aiohttp.ClientSession() as session:
        url = f"{house.url}/api/pairing/pair"
        for token in ("", "x", "1.2.3", "é"):
            async with session.post(url, json={"address": METER}, headers={"X-Passerelle-Token": token}) as answer:
                assert 403 == answer.status
        async with session.post(f"{house.url}/bluetooth", data={"action": "pair", "address": METER}) as answer:
            assert 409 == answer.status
        proof = {"X-Passerelle-Token": (await visitor.state())["token"]}
        for body in (b"", b"[]", b"{", b"\xff"):
            kind = {"Content-Type": "application/json", **proof}
            async with session.post(url, data=body, headers=kind) as answer:
                assert 400 == answer.status
        async with session.post(url, data={"address": METER}, headers=proof) as answer:
            assert 400 == answer.status, "a form of another site could send this without asking first"
        assert (404, "unknown") == (lambda a: (a[0], a[1]["error"]))(await visitor.act("dance"))
        assert (await visitor.state())["attempt"] is None


async def test_the_door_stands_before_pairing(air: VirtualAir, tmp_path: Path) -> None:
    """Whoever does not have the access code can neither see the neighbourhood nor pair."""
    code = tmp_path / "code"
    code.write_text("bon-courage", encoding="utf-8")
    code.chmod(0o600)
    settings = house_settings(tmp_path, web={"port": 0, "access_code_file": code})
    async with gateway_on(air, settings) as running, aiohttp.ClientSession() as session:
        for path in ("/bluetooth", "/bluetooth/fragment", "/api/pairing"):
            async with session.get(f"{running.url}{path}") as answer:
                assert 401 == answer.status
        for path in ("/bluetooth", "/api/pairing/pair"):
            async with session.post(f"{running.url}{path}", json={}) as answer:
                assert 401 == answer.status


async def test_bluetooth_is_off(air: VirtualAir, tmp_path: Path) -> None:
    """Without Bluetooth the page says so in words, and the interface with 404."""
    async with (
        gateway_on(air, house_settings(tmp_path, bluetooth={"enabled": False})) as running,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(f"{running.url}/bluetooth?lang=fr") as answer:
            assert "Le Bluetooth est éteint" in await answer.text()
        async with session.get(f"{running.url}/api/pairing") as answer:
            assert 404 == answer.status


@pytest.mark.parametrize("body", ["", "{", "[]", "null", "[" * 30_000], ids=["empty", "cut", "list", "null", "deep"])
async def test_what_is_no_object_is_refused(house: Running, body: str) -> None:
    """A body that is not a JSON object, however deep it goes, is answered with 400."""
    async with visitor_of(house) as visitor, aiohttp.ClientSession() as session:
        proof = {"X-Passerelle-Token": (await visitor.state())["token"], "Content-Type": "application/json"}
        async with session.post(f"{house.url}/api/pairing/pair", data=body, headers=proof) as answer:
            assert (400, {"error": "fields"}) == (answer.status, await answer.json())


def test_tokens_age() -> None:
    """A page that was left open for more than twelve hours must be loaded again."""

    class Clock:
        seconds = 1000.0

        def now(self) -> None:
            pytest.fail("tokens age by the monotonic clock")

        def monotonic(self) -> float:
            return self.seconds

        is_trusted = True

    clock = Clock()
    tokens = PageTokens(clock)  # type: ignore[arg-type]
    token = tokens.issue()
    assert tokens.is_valid(token)
    assert not PageTokens(clock).is_valid(token)  # type: ignore[arg-type]
    clock.seconds += 12 * 3600 + 1
    assert not tokens.is_valid(token)


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_that_can_happen_has_words(language: str) -> None:
    """Each state, failure and refusal, and each kind of device, has a sentence in both languages."""
    texts = Texts(language)
    names = [f"pairing_state_{state.value}" for state in PairingState]
    names += [f"pairing_why_{failure.value}" for failure in PairingFailure]
    names += [f"pairing_no_{refusal}" for refusal in REFUSALS]
    names += [f"pairing_signal_{signal}" for signal in ("strong", "fair", "weak", "unknown")]
    names += [f"pairing_bye_{farewell.value}" for farewell in Farewell]
    names += [f"pairing_is_{status}" for status in ("new", "yours", "unreadable")]
    assert [] == [name for name in names if name not in texts or not texts(name)]
    assert all(texts.kind_named(kind.value) for kind in DeviceKind)
