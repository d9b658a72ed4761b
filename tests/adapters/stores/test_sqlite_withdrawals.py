"""Corrections and withdrawals of openScale, through its dialect into a real store, in every order."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_store_kit import NOW, open_store, query

from gateway.devices.dialects.openscale_sync import METRICS, OPENSCALE_SYNC
from gateway.devices.dialects.shape import Message
from gateway.model import Absent, Batch, CommitReceipt, DeviceId, Metric, Provenance, Reading, SourceKind
from gateway.normalise.contact import Contact
from gateway.normalise.reported import Parsed, readings_of

PHONE = DeviceId("openscale")
PARIS = ZoneInfo("Europe/Paris")
FIRST = datetime(2026, 2, 1, 7, 12, tzinfo=UTC)
TABLES = (
    "SELECT record_key, effective_at, digest, received_at, value, extra, metric FROM reading r"
    " JOIN series s ON s.id = r.series ORDER BY record_key, metric",
    "SELECT record_key, v.digest, v.received_at, v.value, v.extra, metric FROM revision v"
    " JOIN reading r ON r.row_id = v.row_id JOIN series s ON s.id = r.series ORDER BY record_key, metric, v.digest",
)


def heard(event: str, payload: object, received_s: int, *, is_retained: bool = False) -> Batch:
    """One message of user 1 as the source makes a batch of it, heard `received_s` seconds after NOW."""
    said = OPENSCALE_SYNC.decode(
        Message(f"openScaleSync/1/measurements/{event}", json.dumps(payload).encode(), is_retained)
    )
    assert not said.problems
    contact = Contact(PHONE, PARIS, NOW + timedelta(seconds=received_s), SourceKind.MQTT, is_live=not is_retained)
    provenance = Provenance(SourceKind.MQTT, "mqtt.openscale_sync", is_retained)
    return Batch(readings_of(Parsed(said.records), contact, provenance).readings)


def measurement(minute: int, weight: str, fat: str = "0") -> dict[str, object]:
    """What the app says of a measurement."""
    time = FIRST + timedelta(minutes=minute)
    return {"id": minute, "userId": 1, "date": f"{time:%Y-%m-%dT%H:%M}+0000", "weight": weight, "body_fat": fat}


def deletion(minute: int) -> dict[str, object]:
    """What it says when one is deleted."""
    return {"dateTime": f"{FIRST + timedelta(minutes=minute):%Y-%m-%dT%H:%M}+0000"}


def history(*rows: tuple[int, str]) -> dict[str, object]:
    """The retained list of all measurements."""
    cells = [[int((FIRST + timedelta(minutes=m, seconds=31)).timestamp() * 1000), weight, None] for m, weight in rows]
    return {"fields": ["date", "weight", "body_fat"], "units": {"weight": "kg"}, "rows": cells}


def said(readings: list[Reading]) -> list[tuple[Metric, Decimal | None, Absent | None]]:
    """What is given out."""
    return [(one.metric, one.value, one.absent) for one in readings]


async def test_a_deletion_withdraws_what_was_there_and_shows_nothing_else(tmp_path: Path) -> None:
    """The weight and its older version are kept, current is the withdrawal; metrics that never were are not listed."""
    async with open_store(tmp_path) as store:
        await store.readings.commit(heard("insert", measurement(0, "71.35", "18.4"), 1))
        await store.readings.commit(heard("update", measurement(0, "71.5", "18.4"), 2))
        receipt = await store.readings.commit(heard("delete", deletion(0), 3))
        assert CommitReceipt(added=len(METRICS) - 2, corrected=2) == receipt
        expected = [(Metric.BODY_MASS, None, Absent.WITHDRAWN), (Metric.BODY_FAT_PERCENTAGE, None, Absent.WITHDRAWN)]
        assert expected == said([one.reading for one in await store.readings.readings()])
        assert 2 == len(await store.readings.latest())
        assert 2 == sum([len(chunk) async for chunk in store.readings.export(chunk=1)])
        again = await store.readings.commit(heard("history", history((0, "71.5")), 9, is_retained=True))
        assert CommitReceipt(known=1) == again
        assert expected == said([one.reading for one in await store.readings.readings()])
    assert [("71.35",), ("71.5",)] == query(
        tmp_path, "SELECT value FROM revision WHERE value LIKE '71%' ORDER BY value"
    )


async def test_a_deletion_of_the_unknown_shows_nothing_and_still_counts(tmp_path: Path) -> None:
    """What was told before the deletion and is committed after it, out of the quarantine, comes in withdrawn; what is
    told after it is a new word."""
    async with open_store(tmp_path) as store:
        await store.readings.commit(heard("delete", deletion(0), 5))
        assert [] == await store.readings.readings()
        assert [] == await store.readings.latest()
        assert [] == [chunk async for chunk in store.readings.export()]
        await store.readings.commit(heard("insert", measurement(0, "71.35"), 1))
        assert [(Metric.BODY_MASS, None, Absent.WITHDRAWN)] == said(
            [one.reading for one in await store.readings.readings()]
        )
        await store.readings.commit(heard("insert", measurement(0, "72"), 6))
        assert [(Metric.BODY_MASS, Decimal("72"), None)] == said(
            [one.reading for one in await store.readings.readings()]
        )


_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "update", "delete", "last", "history"]),
        st.integers(0, 2),
        st.sampled_from(["71.35", "71.5", "72.0"]),
    ),
    min_size=1,
    max_size=9,
)


def batch_of(event: str, minute: int, weight: str, received_s: int) -> Batch:
    """One event; the retained ones come as the broker keeps them."""
    if event == "delete":
        return heard(event, deletion(minute), received_s)
    if event == "history":
        return heard(event, history((minute, weight)), received_s, is_retained=True)
    return heard(event, measurement(minute, weight), received_s, is_retained=event == "last")


def expected_masses(events: list[tuple[str, int, str]]) -> dict[int, str | None]:
    """The body mass by minute, worked out by hand: the content that was new last; None when that is a deletion."""
    first_heard: dict[int, dict[str | None, int]] = {}
    for at, (event, minute, weight) in enumerate(events):
        first_heard.setdefault(minute, {}).setdefault(None if event == "delete" else weight, at)
    return {minute: max(contents, key=lambda key: contents[key]) for minute, contents in first_heard.items()}


@given(_EVENTS, st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_order_and_repetition_of_corrections_and_deletions_do_not_matter(
    tmp_path: Path, events: list[tuple[str, int, str]], random: object
) -> None:
    """Any order and any repetition of the messages, each with its reception, leaves the same store; what is current is
    what was said last."""
    batches = [batch_of(*event, at) for at, event in enumerate(events)]
    late = [batch_of(*event, 1000 + at) for at, event in enumerate(events)]
    shuffled = batches + batches[::2] + late
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    async def fill(folder: Path, order: list[Batch]) -> tuple[list[object], dict[int, str | None]]:
        async with open_store(folder) as store:
            for one in order:
                await store.readings.commit(one)
            given_out = [each.reading for each in await store.readings.readings(metrics={Metric.BODY_MASS})]
        masses = {
            (one.effective_at - FIRST) // timedelta(minutes=1): None if one.value is None else str(one.value)
            for one in given_out
        }
        return [query(folder, table) for table in TABLES], masses

    run = len(list(tmp_path.iterdir()))
    in_order = asyncio.run(fill(tmp_path / f"a{run}", batches))
    assert in_order == asyncio.run(fill(tmp_path / f"b{run}", shuffled))
    known = expected_masses(events)
    never_there = {minute for minute, mass in known.items() if mass is None} - {
        minute for event, minute, _ in events if event != "delete"
    }
    assert {minute: mass for minute, mass in known.items() if minute not in never_there} == in_order[1]
