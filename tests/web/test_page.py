"""The page over real HTTP: what it shows, to whom, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest
from web_kit import CAMILLE, DEVICES, NOE, NOW, PARIS, Site, reading, serve

from gateway import __version__
from gateway.errors import StoreUnavailable
from gateway.model import (
    Batch,
    Bound,
    BoundKind,
    Consent,
    DataType,
    DepartureDraft,
    DepartureState,
    DestinationId,
    Device,
    DeviceId,
    DeviceKind,
    Meal,
    Metric,
    Person,
    PersonId,
    Quarantined,
    QuarantineReason,
    RawFrame,
    SourceKind,
    TimeMethod,
)
from gateway.web.view import View

FIVE_MIN = timedelta(minutes=5)
HOSTILE = '"><svg onload=alert(1)><!--'


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A page of two people without any reading."""
    async with serve(tmp_path) as served:
        yield served


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A visitor."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


async def _get(client: aiohttp.ClientSession, url: str, **headers: str) -> tuple[int, str]:
    async with client.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}) as answer:
        return answer.status, await answer.text()


def _words(html: str) -> str:
    """What a person reads: no tags, single spaces."""
    return re.sub(r"[ \n]+", " ", re.sub(r"<[^>]*>", " ", html))


async def test_an_empty_house(site: Site, client: aiohttp.ClientSession) -> None:
    """Before the first reading the page says so, in words, for everybody."""
    status, html = await _get(client, f"{site.url}/")
    assert 200 == status
    for words in ("Camille", "Noé", "Pas encore de mesure de glucose.", "Pas encore de pesée.", "jamais entendu"):
        assert words in html
    assert "tout reste à la maison" in html
    assert "ni un avis médical, ni une alarme" in html


async def test_without_people(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """A gateway without people says what to write where."""
    async with serve(tmp_path, people=(), devices=()) as site:
        assert "[[people]]" in (await _get(client, f"{site.url}/"))[1]


async def test_what_it_shows(site: Site, client: aiohttp.ClientSession) -> None:
    """Newest value with arrow and age, the day, finger-sticks with meals, weight: as stored, in the person's unit."""
    await site.commit(
        *(reading(FIVE_MIN * n, str(100 + n), trend="1.5" if n == 1 else None) for n in range(1, 20)),
        reading(timedelta(hours=3), "95", metric=Metric.GLUCOSE_CAPILLARY, device="meter", meal=Meal.FASTING),
        reading(timedelta(hours=4), "70.45", metric=Metric.BODY_MASS, device="scale"),
        reading(timedelta(days=1, hours=4), "70.55", metric=Metric.BODY_MASS, device="scale"),
    )
    words = _words((await _get(client, f"{site.url}/"))[1])
    for shown in (
        "101 ↗ mg/dL il y a 5 min",
        "100\u202f% dans la cible",
        "110 mg/dL glycémie moyenne · 19 mesures",
        "95 20 mars 09:00 · à jeun",
        "70,4 kg il y a 4 h",
        "Données insuffisantes",
    ):
        assert shown in words
    english = _words((await _get(client, f"{site.url}/?lang=en"))[1])
    for shown in ("101 ↗ mg/dL 5 min ago", "95 20 Mar 09:00 · fasting", "70.4 kg 4 h ago", "Not enough data"):
        assert shown in english


async def test_one_of_two_sources_is_shown(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """The sensor and the phone tell the same: newest value, arrow and finger-sticks come from the preferred one."""
    devices = tuple(
        Device(DeviceId(name), DeviceKind.CGM, name, person_id=CAMILLE) for name in ("sensor", "a-phone", "meter")
    )
    people = (Person(CAMILLE, "Camille", PARIS, glucose_sources=(DeviceId("sensor"), DeviceId("meter"))),)
    async with serve(tmp_path, people=people, devices=devices) as site:
        minute = timedelta(minutes=1)
        phone = [reading(FIVE_MIN * n - 2 * minute, str(200 + n), device="a-phone") for n in range(1, 20)]
        phone = [replace(r, context=replace(r.context, trend_arrow="SingleUp")) for r in phone]
        await site.commit(
            *phone,
            *(reading(FIVE_MIN * n, str(100 + n)) for n in range(1, 20)),
            reading(timedelta(hours=3), "95", metric=Metric.GLUCOSE_CAPILLARY, device="meter"),
            reading(timedelta(hours=3) - minute, "95", metric=Metric.GLUCOSE_CAPILLARY, device="a-phone"),
        )
        words = _words((await _get(client, f"{site.url}/"))[1])
        assert "101 mg/dL il y a 5 min" in words
        assert "110 mg/dL glycémie moyenne · 19 mesures" in words
        assert 1 == words.count("95 20 mars")
        await site.commit(replace(phone[0], record_key="x", effective_at=NOW, received_at=NOW))
        assert "201 ↑ mg/dL" in _words((await _get(client, f"{site.url}/"))[1])


async def test_e1_and_e4_an_uncertain_time_says_so(site: Site, client: aiohttp.ClientSession) -> None:
    """A time between neighbours, and one in the hour that exists twice, are marked with a word."""
    for hours, method in ((3, TimeMethod.NEIGHBOURS), (4, TimeMethod.CLOCK_AMBIGUOUS), (5, TimeMethod.CLOCK_CHECKED)):
        stick = reading(timedelta(hours=hours), "95", metric=Metric.GLUCOSE_CAPILLARY, device="meter")
        await site.commit(replace(stick, time_method=method))
    words = _words((await _get(client, f"{site.url}/"))[1])
    for shown in ("95 20 mars 09:00 · heure estimée", "95 20 mars 08:00 · heure à une heure près"):
        assert shown in words
    assert "07:00 ·" not in words
    assert "09:00 · estimated time" in _words((await _get(client, f"{site.url}/?lang=en"))[1])


async def test_units_are_the_persons(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """Somebody who thinks in mmol/L reads mmol/L, and a bound is words instead of a number."""
    sensor = Device(DeviceId("sensor"), DeviceKind.CGM, "Capteur", person_id=NOE)
    async with serve(tmp_path, devices=(sensor,)) as site:
        await site.commit(reading(FIVE_MIN * 2, "99.085745"))
        assert "5,5 mmol/L" in _words((await _get(client, f"{site.url}/"))[1])
        await site.commit(reading(FIVE_MIN, None, bound=Bound(BoundKind.ABOVE, Decimal(400))))
        words = _words((await _get(client, f"{site.url}/"))[1])
        assert "HI mmol/L il y a 5 min · au-dessus de la plage du capteur" in words


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        ("", None, "fr"),
        ("", "en-GB,en;q=0.9", "en"),
        ("", "de,fr-CA;q=0.8,en;q=0.5", "fr"),
        ("", "de", "fr"),
        ("", "*", "fr"),
        ("?lang=en", "fr", "en"),
        ("?lang=fr", "en", "fr"),
        ("?lang=xx", "en", "en"),
        ("?lang=%22%3E%3Cb%3E", None, "fr"),
    ],
)
async def test_language(
    site: Site, client: aiohttp.ClientSession, query: str, accept: str | None, expected: str
) -> None:
    """The wish in the address wins, then the browser's, then the house's; anything else is passed over."""
    _, html = await _get(client, f"{site.url}/{query}", **({"Accept_Language": accept} if accept else {}))
    assert f'<html lang="{expected}">' in html


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 200),
        ("127.0.0.1:{port}", 200),
        ("[::1]:{port}", 200),
        ("[::1]", 200),
        ("localhost:1", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("evil.example:{port}", 421),
        ("localhost:x", 421),
        ("127.0.0.1.nip.io", 421),
    ],
)
async def test_only_known_names_are_answered(
    site: Site, client: aiohttp.ClientSession, host: str, expected: int
) -> None:
    """A page of another site that points its own name at this machine gets nothing (DNS rebinding)."""
    for path in ("/", "/fragment", "/health", "/static/style.css"):
        status, text = await _get(client, site.url + path, Host=host.format(port=site.port))
        assert expected == status
        assert (expected == 200) or "Camille" not in text


def _basic(user: str, code: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{code}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (None, 401),
        (_basic("anybody", "1234-5678"), 200),
        (_basic("", "1234-5678").replace("Basic", "basic"), 200),
        (_basic("x", "1234-567"), 401),
        (_basic("x", ""), 401),
        (_basic("1234-5678", "x"), 401),
        ("Basic", 401),
        ("Basic !!!", 401),
        ("Basic Zm9v", 401),
        ("Basic é", 401),
        ("Bearer 1234-5678", 401),
    ],
)
async def test_the_access_code(
    tmp_path: Path, client: aiohttp.ClientSession, authorization: str | None, expected: int
) -> None:
    """With an access code nothing of a person is shown without it; health for machines stays open."""
    headers = {"Authorization": authorization} if authorization is not None else {}
    async with serve(tmp_path, access_code="1234-5678") as site:
        for path in ("/", "/fragment", "/static/style.css", "/nothing"):
            async with client.get(site.url + path, headers=headers) as answer:
                assert (404 if expected == 200 and path == "/nothing" else expected) == answer.status
                assert (expected == 401) is ("WWW-Authenticate" in answer.headers)
                assert (expected == 200) or "Camille" not in await answer.text()
        if expected == 401:
            assert 401 == (await _get(client, f"{site.url}/events", **headers))[0]
        assert 200 == (await _get(client, f"{site.url}/health", **headers))[0]


async def test_headers(site: Site, client: aiohttp.ClientSession) -> None:
    """Every answer, refusals included, forbids caches, foreign content, frames and guessing of types."""
    for path, host in (("/", ""), ("/fragment", ""), ("/static/live.js", ""), ("/nothing", ""), ("/", "evil.example")):
        async with client.get(site.url + path, headers={"Host": host} if host else {}) as answer:
            assert "no-store" == answer.headers["Cache-Control"]
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'")
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert ("nosniff", "no-referrer") == (
                answer.headers["X-Content-Type-Options"],
                answer.headers["Referrer-Policy"],
            )


async def test_nothing_comes_from_elsewhere(site: Site, client: aiohttp.ClientSession) -> None:
    """The page has no address of another machine, no inline script and no inline style."""
    html = (await _get(client, f"{site.url}/"))[1]
    assert [] == re.findall(r"""(?:src|href)=["'](?!/)[^"']*""", html)
    assert [] == re.findall(r"<style|style=|<script(?! src)|\son[a-z]+=", html)


async def test_names_are_text(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """A name of a person, a device or a destination is shown as text, whatever it holds."""
    person = Person(CAMILLE, f"P{HOSTILE}", PARIS)
    device = Device(DeviceId("sensor"), DeviceKind.CGM, f"D{HOSTILE}", person_id=CAMILLE)
    async with serve(tmp_path, people=(person,), devices=(device,), destinations={"mes": f"S{HOSTILE}"}) as site:
        await _plan(site, CAMILLE, f'{{"note": "F{HOSTILE.replace(chr(34), chr(39))}"}}')
        await site.commit(reading(FIVE_MIN, "100"))
        for path in ("/", "/fragment"):
            html = (await _get(client, site.url + path))[1]
            assert "<svg onload" not in html
            for letter in "PDSF":
                assert re.search(rf"{letter}(&#34;|&#39;)&gt;&lt;svg onload=alert\(1\)&gt;&lt;!--", html), letter


async def _plan(site: Site, person: PersonId, resource: str, state: DepartureState | None = None) -> None:
    draft = DepartureDraft(
        "body_mass|1", person, DataType.WEIGHT, DestinationId("mes"), "body_mass", NOW - timedelta(hours=1), resource
    )
    registry = site.store.registry
    await registry.grant(
        Consent(person, DataType.WEIGHT, DestinationId("mes"), NOW - timedelta(days=1), NOW - timedelta(days=1))
    )
    await registry.plan([draft], [], NOW - timedelta(minutes=30))
    if state is not None:
        (row,) = await registry.lease(DestinationId("mes"), NOW - timedelta(minutes=20), lease_s=60)
        await registry.settle(row.outbox_id, state, NOW - timedelta(minutes=10), remote_id="Observation/1")


async def test_what_left_the_house(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """What was sent is shown with its value, its destination and its exact content; the counts add up."""
    resource = '{"entry":[{"resource":{"valueQuantity":{"value":70.450,"unit":"kg"}}}]}'
    async with serve(tmp_path, destinations={"mes": "Mon espace santé"}) as site:
        await _plan(site, CAMILLE, resource, DepartureState.DONE)
        html = (await _get(client, f"{site.url}/fragment"))[1]
        words = _words(html)
    assert "Poids 70,45 kg Camille · 20 mars 11:00 → Mon espace santé accepté il y a 10 min" in words
    assert "1 acceptés · 0 en attente · 0 refusés" in words
    assert "&#34;value&#34;: 70.450," in html


async def test_what_waits_is_counted(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """Readings without an owner and messages that were set aside are counted, never shown."""
    devices = (*DEVICES, Device(DeviceId("found"), DeviceKind.SCALE, "Trouvée"))
    async with serve(tmp_path, devices=devices) as site:
        frame = RawFrame(DeviceId("sensor"), SourceKind.BLUETOOTH, "2aa7", b"\x00", NOW)
        await site.store.readings.commit(
            Batch(quarantined=(Quarantined(frame, QuarantineReason.MALFORMED, "too short"),))
        )
        await site.commit(reading(FIVE_MIN, "93.21", metric=Metric.BODY_MASS, device="found"))
        words = _words((await _get(client, f"{site.url}/"))[1])
    assert "Les mesures de 1 appareil(s) attendent" in words
    assert "Un message a été mis de côté." in words
    assert "93,2" not in words


async def test_somebody_with_a_scale_alone_gets_no_empty_charts(site: Site, client: aiohttp.ClientSession) -> None:
    """Charts of glucose are for people who have some."""
    await site.commit(reading(timedelta(hours=4), "70.45", metric=Metric.BODY_MASS, device="scale"))
    html = (await _get(client, f"{site.url}/"))[1]
    camille = html[html.index('aria-label="Camille"') : html.index('aria-label="Noé"')]
    assert "70,4" in camille
    assert 'class="curve"' not in camille


async def test_the_fragment_is_the_content(site: Site, client: aiohttp.ClientSession) -> None:
    """The fragment that replaces the content is what the page holds, without its frame."""
    await site.commit(reading(FIVE_MIN, "100"))
    page = (await _get(client, f"{site.url}/?lang=en"))[1]
    status, fragment = await _get(client, f"{site.url}/fragment?lang=en")
    assert 200 == status
    assert fragment.strip() in page
    assert "<html" not in fragment


async def test_health(site: Site, client: aiohttp.ClientSession) -> None:
    """Machines learn that it runs and which release, nothing about people."""
    async with client.get(f"{site.url}/health") as answer:
        assert {"status": "ok", "version": __version__} == await answer.json()


async def test_health_reflects_the_store(
    site: Site, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the store cannot answer, machines hear 503 instead of a cheerful lie."""

    async def silent(_view: View) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(View, "is_answering", silent)
    status, text = await _get(client, f"{site.url}/health")
    assert 503 == status
    assert "disk" not in text


async def test_guessing_is_slowed_down(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """After five wrong codes the next try, even a right one, must wait; whoever gives no code is only asked for it."""
    async with serve(tmp_path, access_code="1234-5678") as site:
        for _ in range(5):
            assert 401 == (await _get(client, site.url, Authorization=_basic("x", "0000-0000")))[0]
        for code in ("0000-0000", "1234-5678"):
            async with client.get(site.url, headers={"Authorization": _basic("x", code)}) as answer:
                assert (429, "1") == (answer.status, answer.headers["Retry-After"])
                assert "Camille" not in await answer.text()
        assert 401 == (await _get(client, site.url))[0]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/..%5capp.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/",
        "/static",
        "/nothing",
        "/templates/page.html",
    ],
)
async def test_no_way_to_other_files(site: Site, path: str) -> None:
    """No address leads out of the folder of static files, however it is written."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    status = int(answer.split(b" ")[1])
    assert status in {400, 403, 404}
    assert b"create_app" not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_can_be_changed(site: Site, client: aiohttp.ClientSession, method: str) -> None:
    """The page only shows: every method that could change something is refused."""
    for path in ("/", "/fragment", "/events", "/health"):
        async with client.request(method, site.url + path) as answer:
            assert 405 == answer.status


async def _next_event(answer: aiohttp.ClientResponse) -> str:
    async with asyncio.timeout(10):
        while not (line := (await answer.content.readline()).decode()).startswith("event:"):
            assert line, "the stream ended"
    return line.strip()


async def test_events(site: Site, client: aiohttp.ClientSession) -> None:
    """Every open page is told that something changed, as often as it changes, and never what."""
    async with client.get(f"{site.url}/events") as first, client.get(f"{site.url}/events") as second:
        assert "text/event-stream" == first.headers["Content-Type"]
        for _ in range(2):
            site.changes.announce()
            assert ["event: changed"] * 2 == [await _next_event(stream) for stream in (first, second)]


async def test_events_end_with_the_server(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    """Stopping the gateway does not wait for open pages."""
    async with serve(tmp_path) as site, client.get(f"{site.url}/events") as stream:
        assert b"retry: 3000\n" == await stream.content.readline()
        async with asyncio.timeout(5):
            await site.runner.cleanup()
            await stream.content.read()


async def test_visitors_are_bounded(site: Site) -> None:
    """Fifty pages may follow at once; the next one is asked to come back later."""
    async with AsyncExitStack() as stack:
        crowd = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        for _ in range(50):
            stream = await stack.enter_async_context(crowd.get(f"{site.url}/events"))
            assert 200 == stream.status
        async with crowd.get(f"{site.url}/events") as refused:
            assert (503, "60") == (refused.status, refused.headers["Retry-After"])


async def test_hours_are_the_persons(site: Site, client: aiohttp.ClientSession) -> None:
    """Every reading stands at the person's own hour, whatever the zone of the machine."""
    at = datetime(2026, 3, 20, 6, 2, tzinfo=UTC)
    await site.commit(reading(NOW - at, "88", metric=Metric.GLUCOSE_CAPILLARY, device="meter"))
    assert "88 20 mars 07:02" in _words((await _get(client, f"{site.url}/"))[1])
