"""Weigh-ins beside the rest of the gateway: it files while it runs, and takes over what older releases kept."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from weigh_in_kit import ANNE, BRUNO, METER, NOW, OWNED_SETTINGS, SCALE, house, reading, settings_of

from gateway.adapters.stores.sqlite.codec import micros
from gateway.adapters.stores.sqlite.migrations import migrate
from gateway.adapters.stores.sqlite.schema import MIGRATIONS
from gateway.app import Running, run_gateway
from gateway.intake import StoreIntake
from gateway.model import Batch, DecisionSource, Metric

_PATIENCE_S = 20.0


async def test_a_running_gateway_files_at_once_and_computes(tmp_path: Path) -> None:
    """A live weigh-in of a scale with one owner is the owner's, figures included, without anybody asking for it."""
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_gateway(settings_of(tmp_path, OWNED_SETTINGS), started=ready.set_result))
    try:
        async with asyncio.timeout(_PATIENCE_S):
            running = await ready
            now = datetime.now(UTC).replace(microsecond=0)
            with running.changes.follow() as changed:
                intake = StoreIntake(running.store, running.registry, running.changes)
                await intake.submit(Batch(readings=(reading("a", "62.0", at=now),)))
                while await running.summaries.weight(ANNE) is None:
                    await changed.wait()
                    changed.clear()
            trend = await running.summaries.weight(ANNE)
            assert trend is not None
            assert Decimal("62.0") == trend.last_kg
            (decided,) = await running.inbox.attributions.decided()
            assert decided.decision is not None
            assert (ANNE, DecisionSource.EVIDENCE) == (decided.person_id, decided.decision.by)
    finally:
        task.cancel()
        await asyncio.wait({task})


def _old_file(path: Path) -> None:
    """A database of the release before: a scale of Anne's with one reading, a scale of nobody's with another."""
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path, MIGRATIONS[:5])
    connection.execute("INSERT INTO person VALUES (1, 'anne', 'Anne', 'Europe/Paris', 'mg/dL')")
    connection.execute("INSERT INTO provenance VALUES (1, 'bluetooth:gatt.scale')")
    for number, device, kind, person in ((1, "scale", "scale", 1), (2, "attic", "scale", 0), (3, "meter", "cgm", 1)):
        connection.execute(
            "INSERT INTO device (id, device_id, kind, display_name, person) VALUES (?, ?, ?, ?, ?)",
            (number, device, kind, device, person),
        )
        connection.execute("INSERT INTO series VALUES (?, ?, 0, ?)", (number, number, 2 if device == "meter" else 3))
        value = "40.0" if device == "attic" else "62.0"
        at = micros(NOW - timedelta(days=1))
        connection.execute(
            "INSERT INTO reading (series, record_key, person, effective_at, digest, utc_offset_min, time_quality,"
            " received_at, provenance, value, original_value) VALUES (?, 'old', ?, ?, ?, 60, 0, ?, 1, ?, ?)",
            (number, person, at, number, at, value, value),
        )
    connection.close()


async def test_an_older_database_keeps_what_was_filed(tmp_path: Path) -> None:
    """What was somebody's stays theirs and teaches; it can be corrected; what was nobody's asks."""
    _old_file(tmp_path / "passerelle.db")
    async with house(tmp_path) as home:
        await home.attributor.look()
        devices = {device.device_id: device for device in await home.store.registry.devices()}
        assert (True, ()) == (devices["attic"].is_by_evidence, devices["attic"].candidates)  # type: ignore[index]
        assert not devices[METER].is_by_evidence
        assert ANNE == await home.whose("old")
        assert [Decimal("62.0")] == [past.mass_kg for past in await home.store.attributions.past(ANNE)]
        (asks,) = await home.store.attributions.waiting()
        assert "attic" == asks.device_id
        await home.inbox.assign([(await home.find("old")).number], BRUNO, DecisionSource.PAGE)
        assert BRUNO == await home.whose("old", Metric.BODY_MASS, SCALE)


async def test_a_person_reads_why(tmp_path: Path) -> None:
    """The evidence of a decision is kept with it: probabilities that make one, and reasons without a value."""
    async with house(tmp_path) as home:
        await home.live_together(days=10)
        await home.weigh("between", "73.0")
        decision = (await home.find("between")).decision
        assert decision is not None
        evidence: dict[str, Any] = dict(decision.evidence)
        total = sum(evidence["probabilities"].values()) + evidence["somebody_else"]
        assert abs(total - 1) < 0.001
        assert {"anne", "bruno"} == set(evidence["probabilities"])
        assert all(word.replace("_", "").isalpha() for word in evidence["reasons"])


async def test_who_has_just_stepped_off_does_not_wait_for_a_full_inbox(tmp_path: Path) -> None:
    """The first of the two looks decides what is new; what waits already is looked at again after it."""
    async with house(tmp_path) as home:
        await home.live_together(days=10)
        odd = [reading(f"odd-{n}", f"{70 + n}", at=NOW - timedelta(hours=n)) for n in range(6)]
        await home.measure(*odd)
        asking = await home.store.attributions.waiting()
        assert 6 == len(asking)
        await home.store.readings.commit(Batch(readings=(reading("a", "62.0", at=NOW),)))
        assert 1 == await home.attributor.look(only_new=True)
        assert ANNE == await home.whose("a")
        assert asking == await home.store.attributions.waiting()
