"""The first version of the interface, over a real socket and a real store."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from nightscout_kit import ADA, ADA_PHONE, BOB, NOON, entry, ms, site

from gateway.model import Absent, BoundKind, Metric, SourceKind

PATHS = ("/api/v1/entries", "/api/v1/entries.json", "/api/v1/entries/")


@pytest.mark.parametrize("path", PATHS)
async def test_an_upload_is_stored_before_it_is_answered(tmp_path: Path, path: str) -> None:
    """Entries become readings of the token's device, each with its raw entry, and come back with names."""
    async with site(tmp_path) as desk:
        status, said = await desk.ask("POST", path, json=[entry(5, 104), entry(10, 39), entry(15, 401)])
        assert (200, 3) == (status, len(said))
        assert all(len(each["_id"]) == 24 for each in said)
        stored = await desk.readings()
        assert [BoundKind.ABOVE, BoundKind.BELOW, None] == [
            each.reading.bound.kind if each.reading.bound else None for each in stored
        ]
        last = stored[-1]
        assert (ADA, ADA_PHONE, Metric.GLUCOSE_INTERSTITIAL, Decimal(104), SourceKind.HTTP, "nightscout.entries") == (
            last.person_id,
            last.reading.device_id,
            last.reading.metric,
            last.reading.value,
            last.reading.provenance.source,
            last.reading.provenance.decoder,
        )
        assert last.raw_id is not None
        frame = await desk.store.readings.raw(last.raw_id)
        assert frame is not None
        assert ("nightscout/v1/entries", entry(5, 104)) == (frame.channel, json.loads(frame.payload))


async def test_one_object_is_an_upload_too(tmp_path: Path) -> None:
    """The legacy form: a single object, a finger-stick without a type."""
    async with site(tmp_path) as desk:
        finger = {"date": ms(NOON - timedelta(minutes=3)), "mbg": "121", "device": "meter"}
        status, said = await desk.ask("POST", "/api/v1/entries", json=finger)
        assert (200, 1) == (status, len(said))
        (stored,) = await desk.readings()
        assert (Metric.GLUCOSE_CAPILLARY, Decimal(121)) == (stored.reading.metric, stored.reading.value)


async def test_a_repeated_upload_gives_nothing_new(tmp_path: Path) -> None:
    """The same entries again, in another order and in other company, add nothing and change no name."""
    async with site(tmp_path) as desk:
        first = await desk.ask("POST", "/api/v1/entries", json=[entry(5), entry(10)])
        again = await desk.ask("POST", "/api/v1/entries", json=[entry(10), entry(5), entry(10)])
        assert 200 == again[0]
        assert [each["_id"] for each in first[1]] == [again[1][1]["_id"], again[1][0]["_id"]]
        assert 2 == len(await desk.readings())
        assert 2 == desk.listener.reports().counters.added


async def test_a_bad_entry_is_set_aside_and_its_neighbours_stay(tmp_path: Path) -> None:
    """What is wrong with one entry keeps no other out, and the app is not made to repeat it for ever."""
    async with site(tmp_path) as desk:
        bad = [
            entry(20, sgv="much"),
            entry(25, sgv=-5),
            entry(30) | {"date": 1772366400},
            {"no": "date"},
            "a text",
            entry(35, sgv=99_999),
        ]
        status, said = await desk.ask("POST", "/api/v1/entries", json=[entry(5), *bad, entry(10)])
        assert 200 == status
        assert 2 == sum("_id" in each for each in said if each.get("sgv") == 104)
        assert 2 == len(await desk.readings())
        set_aside = await desk.store.readings.quarantined()
        assert (6, 6) == (len(set_aside), desk.listener.reports().counters.quarantined)
        assert not any("99999" in each.detail or "much" in each.detail for each in set_aside)


async def test_a_calibration_is_understood_and_not_kept(tmp_path: Path) -> None:
    """A `cal` is echoed, gives no reading, and is nothing to look into."""
    async with site(tmp_path) as desk:
        calibration = {"type": "cal", "date": ms(NOON), "slope": 846.2, "intercept": 30923.08, "scale": 1}
        assert (200, [calibration]) == await desk.ask("POST", "/api/v1/entries", json=[calibration])
        assert ([], []) == (await desk.readings(), await desk.store.readings.quarantined())
        assert 1 == desk.listener.reports().counters.ignored


async def test_a_code_of_the_sensor_is_no_glucose(tmp_path: Path) -> None:
    """An `sgv` below 13 is kept as untrustworthy and told as it came."""
    async with site(tmp_path) as desk:
        await desk.ask("POST", "/api/v1/entries", json=[entry(5, 10)])
        (stored,) = await desk.readings()
        assert Absent.UNTRUSTWORTHY == stored.reading.absent
        assert 10 == (await desk.ask("GET", "/api/v1/entries.json"))[1][0]["sgv"]


async def test_followers_are_told_the_newest_first(tmp_path: Path) -> None:
    """Ten by default, `count` of them where asked, newest first; `find` filters as clients write it."""
    async with site(tmp_path) as desk:
        await desk.ask("POST", "/api/v1/entries", json=[entry(5 * n, 100 + n) for n in range(1, 21)])
        finger = {"type": "mbg", "mbg": 140, "date": ms(NOON) - 1000, "device": "meter"}
        await desk.ask("POST", "/api/v1/entries", json=finger)
        _, ten = await desk.ask("GET", "/api/v1/entries.json")
        assert [140, *range(101, 110)] == [each.get("sgv", each.get("mbg")) for each in ten]
        _, three = await desk.ask("GET", "/api/v1/entries/sgv.json?count=3")
        assert [101, 102, 103] == [each["sgv"] for each in three]
        since = ms(NOON - timedelta(minutes=16))
        _, newer = await desk.ask("GET", f"/api/v1/entries.json?count=500&find[date][$gt]={since}&find[type]=sgv")
        assert [101, 102, 103] == [each["sgv"] for each in newer]
        _, high = await desk.ask(
            "GET", "/api/v1/entries/sgv?find[sgv][$gte]=118&count=9", headers={"Accept": "application/json"}
        )
        assert [118, 119, 120] == [each["sgv"] for each in high]
        assert (200, [finger["mbg"]]) == _only(await desk.ask("GET", "/api/v1/entries/mbg.json"), "mbg")
        assert (200, [101]) == _only(await desk.ask("GET", "/api/v1/entries/current.json"), "sgv")
        assert (200, []) == await desk.ask("GET", "/api/v1/entries/cal.json")
        assert 400 == (await desk.ask("GET", "/api/v1/entries.json?find[sgv][$where]=1"))[0]


def _only(answer: tuple[int, list[dict[str, object]]], name: str) -> tuple[int, list[object]]:
    return answer[0], [each[name] for each in answer[1]]


async def test_without_an_extension_entries_are_lines(tmp_path: Path) -> None:
    """`/entries` is tab-separated text for whoever does not ask for JSON: time, milliseconds, value, arrow, device."""
    async with site(tmp_path) as desk:
        await desk.ask("POST", "/api/v1/entries", json=[entry(5)])
        expected = f'"2026-03-01T11:55:00.000Z"\t{ms(NOON) - 300_000}\t104\t"Flat"\t"xDrip-DexcomG6"\n'
        assert (200, expected) == await desk.ask("GET", "/api/v1/entries")


async def test_one_entry_by_its_name_and_its_deletion(tmp_path: Path) -> None:
    """`/entries/<_id>` answers one entry; DELETE takes it back: followers no longer see it, the store still has it."""
    async with site(tmp_path) as desk:
        _, said = await desk.ask("POST", "/api/v1/entries", json=[entry(5), entry(10, 120)])
        name = said[0]["_id"]
        assert (200, [104]) == _only(await desk.ask("GET", f"/api/v1/entries/{name}.json"), "sgv")
        assert (200, {"n": 1, "ok": 1, "deletedCount": 1}) == await desk.ask("DELETE", f"/api/v1/entries/{name}")
        assert (200, []) == await desk.ask("GET", f"/api/v1/entries/{name}.json")
        found = await desk.ask("GET", f"/api/v1/entries.json?find[_id][$in][]={name}&find[_id][$in][]={said[1]['_id']}")
        assert (200, [120]) == _only(found, "sgv")
        assert (200, [120]) == _only(await desk.ask("GET", "/api/v1/entries.json"), "sgv")
        assert [None, Absent.WITHDRAWN] == [each.reading.absent for each in await desk.readings()]
        second = said[1]["_id"]
        path = f"/api/v1/entries.json?find[_id]={second}"
        assert 1 == (await desk.ask("DELETE", path))[1]["n"]
        assert 0 == (await desk.ask("DELETE", path))[1]["n"]
        assert 403 == (await desk.ask("DELETE", "/api/v1/entries.json?find[sgv][$gt]=0"))[0]


async def test_an_unchanged_answer_is_not_sent_again(tmp_path: Path) -> None:
    """`If-Modified-Since` with the time of the newest entry is answered 304."""
    async with site(tmp_path) as desk:
        await desk.ask("POST", "/api/v1/entries", json=[entry(5)])
        _, head = await desk.head("GET", "/api/v1/entries.json")
        since = {"If-Modified-Since": head["Last-Modified"]}
        assert 304 == (await desk.head("GET", "/api/v1/entries.json", headers=since))[0]
        await desk.ask("POST", "/api/v1/entries", json=[entry(1)])
        assert 200 == (await desk.head("GET", "/api/v1/entries.json", headers=since))[0]


async def test_a_compressed_upload_is_read(tmp_path: Path) -> None:
    """Clients that compress are understood."""
    async with site(tmp_path) as desk:
        body = gzip.compress(json.dumps([entry(5)]).encode())
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        assert 200 == (await desk.ask("POST", "/api/v1/entries", data=body, headers=headers))[0]
        assert 1 == len(await desk.readings())


async def test_treatments_are_kept_and_told(tmp_path: Path) -> None:
    """Treatments come back as they were sent; they are found by time, changed by PUT, and hidden by DELETE."""
    async with site(tmp_path) as desk:
        meal = {"eventType": "Meal Bolus", "insulin": 3.15, "created_at": "2026-03-01T10:00:00Z", "enteredBy": "AAPS"}
        snack = {"eventType": "Carb Correction", "carbs": 15, "created_at": "2026-03-01T11:30:00+0100"}
        status, said = await desk.ask("POST", "/api/v1/treatments", json=[meal, snack])
        assert (200, [meal, snack]) == (status, [{k: v for k, v in each.items() if k != "_id"} for each in said])
        again = await desk.ask("POST", "/api/v1/treatments", json=meal)
        assert [said[0]] == again[1]
        _, listed = await desk.ask("GET", "/api/v1/treatments.json")
        assert ["Carb Correction", "Meal Bolus"] == [each["eventType"] for each in listed]
        path = "/api/v1/treatments.json?find[created_at][$gte]=2026-03-01T10:10:00.000Z&count=5"
        assert ["Carb Correction"] == [each["eventType"] for each in (await desk.ask("GET", path))[1]]
        path = "/api/v1/treatments.json?find[eventType]=Meal%20Bolus"
        assert [3.15] == [each["insulin"] for each in (await desk.ask("GET", path))[1]]
        status, changed = await desk.ask("PUT", "/api/v1/treatments", json=said[0] | {"insulin": 4})
        assert (200, 4) == (status, changed["insulin"])
        assert 2 == len((await desk.ask("GET", "/api/v1/treatments"))[1])
        assert 1 == (await desk.ask("DELETE", f"/api/v1/treatments/{said[0]['_id']}"))[1]["n"]
        assert ["Carb Correction"] == [each["eventType"] for each in (await desk.ask("GET", "/api/v1/treatments"))[1]]
        assert 403 == (await desk.ask("DELETE", "/api/v1/treatments?find[eventType]=Note"))[0]


async def test_a_finger_stick_is_one_reading_though_it_comes_twice(tmp_path: Path) -> None:
    """xDrip+ sends it as `mbg` and again as a treatment `BG Check`: the treatment is a document only."""
    async with site(tmp_path) as desk:
        at = ms(NOON - timedelta(minutes=5))
        await desk.ask("POST", "/api/v1/entries", json=[{"type": "mbg", "mbg": 121, "date": at}])
        check = {"eventType": "BG Check", "glucose": 121, "glucoseType": "Finger", "units": "mg/dl", "mills": at}
        await desk.ask("POST", "/api/v1/treatments", json=[check])
        assert 1 == len(await desk.readings())


async def test_states_of_devices_and_profiles_are_kept(tmp_path: Path) -> None:
    """`devicestatus` answers its ten newest; a profile comes back as the current one."""
    async with site(tmp_path) as desk:
        for minute in range(12):
            state = {
                "device": "loop://phone",
                "created_at": f"2026-03-01T11:{minute:02}:00Z",
                "uploaderBattery": minute,
            }
            assert 200 == (await desk.ask("POST", "/api/v1/devicestatus.json", json=state))[0]
        _, told = await desk.ask("GET", "/api/v1/devicestatus.json")
        assert list(range(11, 1, -1)) == [each["uploaderBattery"] for each in told]
        assert (200, {}) == await desk.ask("GET", "/api/v1/profile/current")
        profile = {"startDate": "2026-02-01T00:00:00Z", "defaultProfile": "Default", "store": {"Default": {"dia": 5}}}
        assert 200 == (await desk.ask("POST", "/api/v1/profile.json", json=profile))[0]
        assert "Default" == (await desk.ask("GET", "/api/v1/profile/current"))[1]["defaultProfile"]
        assert [{"dia": 5}] == [each["store"]["Default"] for each in (await desk.ask("GET", "/api/v1/profile.json"))[1]]


async def test_of_each_kind_only_so_many_are_kept(tmp_path: Path) -> None:
    """Above the bound the oldest go; a document that is too long is refused, or left out among others."""
    async with site(tmp_path, documents_per_kind=100, max_document_bytes=1024) as desk:
        states = [{"device": "a", "created_at": f"2026-03-01T10:{n // 60:02}:{n % 60:02}Z", "n": n} for n in range(130)]
        for state in (states[:65], states[65:]):
            await desk.ask("POST", "/api/v1/devicestatus", json=state)
        _, told = await desk.ask("GET", "/api/v1/devicestatus.json?count=1000")
        assert (100, 129, 30) == (len(told), told[0]["n"], told[-1]["n"])
        long = {"eventType": "Note", "notes": "x" * 2000, "created_at": "2026-03-01T10:00:00Z"}
        assert 413 == (await desk.ask("POST", "/api/v1/treatments", json=long))[0]
        short = long | {"notes": "y"}
        status, said = await desk.ask("POST", "/api/v1/treatments", json=[long, short])
        assert (200, [False, True]) == (status, ["_id" in each for each in said])
        assert 2 == desk.listener.reports().counters.documents_refused


async def test_documents_end_with_their_time(tmp_path: Path) -> None:
    """What is older than `document_days` and was not touched since goes."""
    async with site(tmp_path, document_days=30) as desk:
        old = {"eventType": "Note", "created_at": "2026-01-01T00:00:00Z", "notes": "old"}
        await desk.ask("POST", "/api/v1/treatments", json=[old, old | {"created_at": "2026-03-01T00:00:00Z"}])
        assert 0 == await desk.store.documents.purge_documents(desk.clock.at - timedelta(days=30))
        desk.clock.at += timedelta(days=31)
        assert 2 == await desk.store.documents.purge_documents(desk.clock.at - timedelta(days=30))


async def test_what_apps_ask_before_they_upload(tmp_path: Path) -> None:
    """Status is open and says the person's unit to the person; the secret check says yes or no."""
    async with site(tmp_path) as desk:
        status, said = await desk.ask("GET", "/api/v1/status.json", who=None)
        assert (200, "ok", True, "mg/dl") == (status, said["status"], said["apiEnabled"], said["settings"]["units"])
        assert "mmol" == (await desk.ask("GET", "/api/v1/status.json", who=BOB))[1]["settings"]["units"]
        assert (200, "STATUS OK") == await desk.ask("GET", "/api/v1/status.txt", who=None)
        assert (200, {"status": "ok"}) == await desk.ask("GET", "/api/v1/experiments/test")
        assert 401 == (await desk.ask("GET", "/api/v1/experiments/test", who=None))[0]
        _, known = await desk.ask("GET", "/api/v1/verifyauth")
        assert ("OK", True, True, False, "FOUND") == tuple(
            known["message"][name] for name in ("message", "canRead", "canWrite", "isAdmin", "rolefound")
        )
        _, unknown = await desk.ask("GET", "/api/v1/verifyauth", who=None)
        assert (200, "UNAUTHORIZED", False) == (
            unknown["status"],
            unknown["message"]["message"],
            unknown["message"]["canRead"],
        )
        assert ["/api/v1", "/api/v2", "/api/v3"] == [
            each["url"] for each in (await desk.ask("GET", "/api/versions", who=None))[1]
        ]


@pytest.mark.parametrize("kind", ["activity", "food"])
async def test_what_is_not_kept_is_said_back(tmp_path: Path, kind: str) -> None:
    """The app goes on; nothing is stored, and nothing is answered later."""
    async with site(tmp_path) as desk:
        said = {"created_at": "2026-03-01T10:00:00Z", "heartrate": 61}
        assert (200, [said]) == await desk.ask("POST", f"/api/v1/{kind}", json=[said])
        assert (200, []) == await desk.ask("GET", f"/api/v1/{kind}.json")


async def test_what_does_not_exist_is_said_in_json(tmp_path: Path) -> None:
    """Unknown addresses are 404, unknown methods 405, both as Nightscout says it."""
    async with site(tmp_path) as desk:
        for path in ("/", "/api/v1/nothing", "/socket.io/", "/api/v1/../../etc/passwd", "/pebble"):
            assert (404, 404) == _status(await desk.ask("GET", path))
        assert (405, 405) == _status(await desk.ask("PUT", "/api/v1/entries"))


def _status(answer: tuple[int, dict[str, object]]) -> tuple[int, object]:
    return answer[0], answer[1]["status"]
