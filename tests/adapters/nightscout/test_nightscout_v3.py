"""The third version of the interface, over a real socket and a real store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from nightscout_kit import ADA, NOON, Desk, bearer, entry, ms, site

from gateway.model import Absent, DeviceId, Metric, Provenance, Reading, SourceKind, TimeQuality, Unit
from gateway.model import Batch as ReadingBatch

UUID = "95e1a6e3-1146-5d6a-a3f1-41567cae0895"


def told(**more: object) -> dict[str, object]:
    """An entry as AndroidAPS creates it."""
    return entry(5, 104, app="AAPS", identifier=UUID, utcOffset=60) | more


async def test_what_a_client_learns_first(tmp_path: Path) -> None:
    """`version` is open; `status` says the permissions; `lastModified` the latest change of each collection."""
    async with site(tmp_path) as desk:
        status, said = await desk.ask("GET", "/api/v3/version", who=None)
        assert (200, "15.0.2", "3.0.4") == (status, said["result"]["version"], said["result"]["apiVersion"])
        assert 401 == (await desk.ask("GET", "/api/v3/status", who=None))[0]
        _, said = await desk.ask("GET", "/api/v3/status", who=None, headers=await bearer(desk))
        assert {"crud"} == set(said["result"]["apiPermissions"].values())
        assert {} == (await desk.ask("GET", "/api/v3/lastModified"))[1]["result"]["collections"]
        _, made = await desk.ask("POST", "/api/v3/entries", json=told())
        _, said = await desk.ask("GET", "/api/v3/lastModified")
        assert {"entries": made["lastModified"]} == said["result"]["collections"]


async def test_a_new_entry_is_created_and_a_known_one_recognised(tmp_path: Path) -> None:
    """201 with its place for a new one, 200 `isDeduplication` for one that is known; one reading either way."""
    async with site(tmp_path) as desk:
        status, head = await desk.head("POST", "/api/v3/entries", json=told())
        assert (201, f"/api/v3/entries/{UUID}") == (status, head["Location"])
        assert "Last-Modified" in head
        status, said = await desk.ask("POST", "/api/v3/entries", json=told())
        assert (200, True, UUID) == (status, said["isDeduplication"], said["identifier"])
        assert 1 == len(await desk.readings())


async def test_an_entry_is_read_under_the_name_that_was_answered(tmp_path: Path) -> None:
    """Also one without an identifier, and one that came through v1; an unchanged one is 304."""
    async with site(tmp_path) as desk:
        without = {key: value for key, value in told().items() if key != "identifier"}
        _, made = await desk.ask("POST", "/api/v3/entries", json=without)
        status, said = await desk.ask("GET", f"/api/v3/entries/{made['identifier']}")
        assert (200, 104, True) == (status, said["result"]["sgv"], said["result"]["isValid"])
        _, old = await desk.ask("POST", "/api/v1/entries", json=[entry(10, 111)])
        path = f"/api/v3/entries/{old[0]['_id']}"
        assert {"sgv": 111} == (await desk.ask("GET", path + "?fields=sgv"))[1]["result"]
        _, head = await desk.head("GET", path)
        assert 304 == (await desk.head("GET", path, headers={"If-Modified-Since": head["Last-Modified"]}))[0]
        assert (404, 404) == _status(await desk.ask("GET", "/api/v3/entries/nothing-of-that-name"))


def _status(answer: tuple[int, Any]) -> tuple[int, object]:
    return answer[0], answer[1]["status"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"date": None}, "Bad or missing date field"),
        ({"date": "2026"}, "Bad or missing date field"),
        ({"date": 1}, "Bad or missing date field"),
        ({"app": ""}, "Bad or missing app field"),
        ({"utcOffset": 5000}, "Bad or missing utcOffset field"),
        ({"sgv": "much"}, "sgv is not a number"),
        ({"sgv": 5000}, "Outside what glucose can be"),
        ({"type": "cal"}, "Calibrations are not kept"),
        ({"identifier": "two words"}, "identifier is not 1 to 120 printable ASCII characters without spaces"),
    ],
)
async def test_what_cannot_be_kept_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    """400 with a sentence that holds no value."""
    async with site(tmp_path) as desk:
        status, said = await desk.ask("POST", "/api/v3/entries", json=told(**change))
        assert (400, message) == (status, said["message"])
        assert [] == await desk.readings()


async def test_an_entry_is_changed_in_place(tmp_path: Path) -> None:
    """PUT replaces (or creates), PATCH changes single fields; both are corrections of the same reading."""
    async with site(tmp_path) as desk:
        path = f"/api/v3/entries/{UUID}"
        assert 404 == (await desk.ask("PATCH", path, json={"sgv": 110}))[0]
        assert 201 == (await desk.ask("PUT", path, json=told(identifier="ignored")))[0]
        assert 200 == (await desk.ask("PUT", path, json=told(sgv=108)))[0]
        assert 108 == (await desk.ask("GET", path))[1]["result"]["sgv"]
        assert 200 == (await desk.ask("PATCH", path, json={"sgv": 110, "direction": "SingleUp"}))[0]
        _, said = await desk.ask("GET", path)
        assert (110, "SingleUp", 1) == (said["result"]["sgv"], said["result"]["direction"], said["result"]["noise"])
        moved = {"date": ms(NOON)}
        status, said = await desk.ask("PATCH", path, json=moved)
        assert (400, "Field date cannot be modified by the client") == (status, said["message"])
        assert 400 == (await desk.ask("PUT", path, json=told(**moved)))[0]
        stale = {"If-Unmodified-Since": "Sun, 01 Mar 2026 11:00:00 GMT"}
        assert 412 == (await desk.ask("PUT", path, json=told(), headers=stale))[0]
        assert 1 == len(await desk.readings())


async def test_a_deleted_entry_is_gone_for_followers_only(tmp_path: Path) -> None:
    """Afterwards it is 410, its history says `isValid: false`, and the store still has what was measured."""
    async with site(tmp_path) as desk:
        path = f"/api/v3/entries/{UUID}"
        await desk.ask("POST", "/api/v3/entries", json=told())
        assert 403 == (await desk.ask("DELETE", path + "?permanent=true"))[0]
        assert (200, {"status": 200}) == await desk.ask("DELETE", path)
        assert (200, {"status": 200}) == await desk.ask("DELETE", path)
        assert (410, 410) == _status(await desk.ask("GET", path))
        assert (410, 410) == _status(await desk.ask("PATCH", path, json={"sgv": 99}))
        assert (404, 404) == _status(await desk.ask("DELETE", "/api/v3/entries/other"))
        _, said = await desk.ask("GET", "/api/v3/entries/history/0")
        assert [(UUID, False)] == [(each["identifier"], each["isValid"]) for each in said["result"]]
        assert [] == (await desk.ask("GET", "/api/v3/entries"))[1]["result"]
        (stored,) = await desk.readings()
        assert Absent.WITHDRAWN == stored.reading.absent
        assert 200 == (await desk.ask("POST", "/api/v3/entries", json=told()))[0]
        assert (410, 410) == _status(await desk.ask("GET", path))


async def test_a_search_filters_orders_and_pages(tmp_path: Path) -> None:
    """`date$gte`, `sort$desc`, `limit`, `skip`, `fields`."""
    async with site(tmp_path) as desk:
        await desk.ask("POST", "/api/v1/entries", json=[entry(5 * n, 100 + n) for n in range(1, 31)])
        since = ms(NOON - timedelta(minutes=100))
        path = f"/api/v3/entries?date$gte={since}&sort$desc=date&limit=3&skip=2&fields=sgv,date"
        status, said = await desk.ask("GET", path)
        assert (200, [103, 104, 105]) == (status, [each["sgv"] for each in said["result"]])
        assert {"sgv", "date"} == said["result"][0].keys()
        _, said = await desk.ask("GET", "/api/v3/entries?sort=date&limit=2")
        assert [130, 129] == [each["sgv"] for each in said["result"]]
        for bad in ("limit=0", "limit=5000", "skip=-1", "date$near=1", "sort=date&sort$desc=date"):
            assert 400 == (await desk.ask("GET", f"/api/v3/entries?{bad}"))[0]


async def test_a_history_misses_nothing(tmp_path: Path) -> None:
    """Whoever goes on from the mark of the last answer gets everything once, also what came in one upload."""
    async with site(tmp_path) as desk:
        for start in (1, 51):
            await desk.ask("POST", "/api/v1/entries", json=[entry(n, 100 + n % 50) for n in range(start, start + 50)])
        seen: list[str] = []
        mark = 0
        while True:
            path = f"/api/v3/entries/history/{mark}?limit=10"
            async with desk.client.get(desk.listener.url + path, headers=await bearer(desk)) as answer:
                found = (await answer.json())["result"]
                if not found:
                    break
                mark = int(answer.headers["ETag"][3:-1])
            seen += [each["identifier"] for each in found]
        assert (100, 100) == (len(seen), len(set(seen)))
        header = {"Last-Modified": "Sun, 01 Mar 2026 12:00:00 GMT"}
        assert 100 == len((await desk.ask("GET", "/api/v3/entries/history", headers=header))[1]["result"])
        assert 400 == (await desk.ask("GET", "/api/v3/entries/history"))[0]
        assert 400 == (await desk.ask("GET", "/api/v3/entries/history/soon"))[0]


async def test_followers_see_sensors_that_came_over_bluetooth(tmp_path: Path) -> None:
    """All devices of the person are told; what did not come through here may not be changed from here."""
    async with site(tmp_path) as desk:
        await _measured_over_bluetooth(desk)
        _, said = await desk.ask("GET", "/api/v3/entries")
        (found,) = said["result"]
        assert ("mbg", 99) == (found["type"], found["mbg"])
        path = f"/api/v3/entries/{found['identifier']}"
        assert 200 == (await desk.ask("GET", path))[0]
        assert (422, 422) == _status(await desk.ask("DELETE", path))
        assert (422, 422) == _status(await desk.ask("PATCH", path, json={"mbg": 100}))
        (old,) = (await desk.ask("GET", "/api/v1/entries.json"))[1]
        assert 403 == (await desk.ask("DELETE", f"/api/v1/entries/{old['_id']}"))[0]


async def _measured_over_bluetooth(desk: Desk) -> None:
    from decimal import Decimal
    from zoneinfo import ZoneInfo

    from gateway.model import Device, DeviceKind, Person

    meter = DeviceId("meter")
    await desk.store.registry.declare(
        [Person(ADA, "Ada", ZoneInfo("Europe/Paris"))], [Device(meter, DeviceKind.GLUCOSE_METER, "Meter", ADA)]
    )
    reading = Reading(
        device_id=meter,
        epoch=0,
        record_key="17",
        metric=Metric.GLUCOSE_CAPILLARY,
        effective_at=NOON - timedelta(hours=1),
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=NOON,
        provenance=Provenance(SourceKind.BLUETOOTH, "gatt.2a18"),
        value=Decimal(99),
        original_value=Decimal(99),
        original_unit=Unit.MG_DL,
    )
    await desk.store.readings.commit(ReadingBatch(readings=(reading,)))


@pytest.mark.parametrize("collection", ["treatments", "devicestatus", "profile", "food", "settings"])
async def test_the_other_collections_keep_documents(tmp_path: Path, collection: str) -> None:
    """Created, recognised, read, searched, changed, told as history, deleted."""
    async with site(tmp_path) as desk:
        path = f"/api/v3/{collection}"
        document = {"date": ms(NOON) - 5000, "app": "AAPS", "device": "phone", "eventType": "Note", "n": 1.50}
        status, made = await desk.ask("POST", path, json=document)
        name = made["identifier"]
        assert 201 == status
        status, known = await desk.ask("POST", path, json=document)
        assert (200, True, name) == (status, known["isDeduplication"], known["identifier"])
        _, said = await desk.ask("GET", f"{path}/{name}")
        assert document == {key: said["result"][key] for key in document}
        assert (made["lastModified"], "2026-03-01T11:59:55.000Z") == (
            said["result"]["srvModified"],
            said["result"]["created_at"],
        )
        _, said = await desk.ask("GET", f"{path}?date$gte={ms(NOON) - 6000}&sort$desc=date&fields=n")
        assert [{"n": 1.5}] == said["result"]
        assert 200 == (await desk.ask("PUT", f"{path}/{name}", json=document | {"n": 2}))[0]
        assert 200 == (await desk.ask("PATCH", f"{path}/{name}", json={"m": 3}))[0]
        _, said = await desk.ask("GET", f"{path}/{name}")
        assert (2, 3) == (said["result"]["n"], said["result"]["m"])
        assert 400 == (await desk.ask("PATCH", f"{path}/{name}", json={"device": "other"}))[0]
        assert 201 == (await desk.ask("PUT", f"{path}/other", json=document | {"date": ms(NOON)}))[0]
        assert 200 == (await desk.ask("DELETE", f"{path}/{name}"))[0]
        assert 410 == (await desk.ask("GET", f"{path}/{name}"))[0]
        assert 410 == (await desk.ask("PUT", f"{path}/{name}", json=document))[0]
        assert 404 == (await desk.ask("GET", f"{path}/nothing"))[0]
        _, said = await desk.ask("GET", f"{path}/history/0")
        assert [("other", None), (name, False)] == [(e["identifier"], e.get("isValid")) for e in said["result"]]
        _, said = await desk.ask("GET", "/api/v3/lastModified")
        assert collection in said["result"]["collections"]
        assert 404 == (await desk.ask("GET", "/api/v3/anything"))[0]
