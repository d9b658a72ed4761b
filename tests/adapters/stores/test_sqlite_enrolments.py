"""Devices that people added, in the embedded store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlite_store_kit import ADA, METER, NOW, batch, household, open_store, query, reading

from gateway.adapters.stores.sqlite.database import connect
from gateway.adapters.stores.sqlite.migrations import migrate
from gateway.adapters.stores.sqlite.schema import MIGRATIONS
from gateway.errors import PermanentError
from gateway.model import Device, DeviceId, DeviceKind, Enrolment, PersonId

ENROLMENT = Enrolment(
    Device(METER, DeviceKind.GLUCOSE_METER, "Lecteur", person_id=ADA, address="C0:FF:EE:00:00:01"),
    enrolled_at=NOW,
    is_authenticated=True,
    scale_user=3,
    may_set_clock=True,
)


async def test_kept_over_a_restart_and_withdrawn(tmp_path: Path) -> None:
    """What was enrolled is there after closing, word for word; withdrawing happens once and keeps the readings."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(household()[0], ())
        await store.readings.commit(batch(reading(1)))
        await store.enrolments.enrol(ENROLMENT)
    async with open_store(tmp_path) as store:
        assert [ENROLMENT] == await store.enrolments.enrolments()
        assert [ADA] == [item.person_id for item in await store.readings.readings()], "what waited is Ada's now"
        assert not await store.enrolments.withdraw_device(DeviceId("another"), NOW)
        later = NOW + timedelta(days=1)
        assert await store.enrolments.withdraw_device(METER, later)
        assert not await store.enrolments.withdraw_device(METER, later + timedelta(days=1))
        assert [replace(ENROLMENT, withdrawn_at=later)] == await store.enrolments.enrolments()
        assert 1 == len(await store.readings.readings())


async def test_enrolled_again(tmp_path: Path) -> None:
    """A withdrawn device that comes back is collected from again, as it is now called."""
    async with open_store(tmp_path) as store:
        await store.registry.declare(household()[0], ())
        await store.enrolments.enrol(ENROLMENT)
        await store.enrolments.withdraw_device(METER, NOW)
        again = replace(
            ENROLMENT,
            device=replace(ENROLMENT.device, display_name="Neuf"),
            is_authenticated=False,
            scale_user=None,
            may_set_clock=False,
        )
        await store.enrolments.enrol(again)
        assert [again] == await store.enrolments.enrolments()


async def test_an_undeclared_owner_changes_nothing(tmp_path: Path) -> None:
    """All of an enrolment or nothing: neither device nor enrolment is left behind."""
    nobody = replace(ENROLMENT, device=replace(ENROLMENT.device, person_id=PersonId("nobody")))
    async with open_store(tmp_path) as store:
        with pytest.raises(PermanentError):
            await store.enrolments.enrol(nobody)
        assert [] == await store.enrolments.enrolments()
        assert [] == await store.registry.devices()


async def test_a_file_from_before_gains_the_table(tmp_path: Path) -> None:
    """A database of the release before keeps its devices and can enrol."""
    path = tmp_path / "state" / "passerelle.db"
    path.parent.mkdir()
    old = connect(path, busy_timeout_s=1)
    migrate(old, path, MIGRATIONS[:4])
    old.execute("INSERT INTO person VALUES (1, 'ada', 'Ada', 'Europe/Paris', 'mg/dL')")
    old.execute("INSERT INTO device (device_id, kind, display_name, person) VALUES ('old', 'scale', 'Old', 1)")
    old.close()
    async with open_store(tmp_path) as store:
        assert [] == await store.enrolments.enrolments()
        await store.enrolments.enrol(ENROLMENT)
        assert ["meter-1", "old"] == [device.device_id for device in await store.registry.devices()]
    assert [("ok",)] == query(tmp_path, "PRAGMA integrity_check")
