"""What the tests of the embedded store share."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.model import (
    Batch,
    Consent,
    DataType,
    DepartureDraft,
    DestinationId,
    Device,
    DeviceId,
    DeviceKind,
    Metric,
    Person,
    PersonId,
    Provenance,
    RawFrame,
    Reading,
    SourceKind,
    TimeQuality,
    Unit,
)

__all__ = [
    "ADA",
    "BOB",
    "METER",
    "NOW",
    "SPACE",
    "FixedClock",
    "batch",
    "consent",
    "draft",
    "household",
    "open_store",
    "query",
    "reading",
]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADA, BOB = PersonId("ada"), PersonId("bob")
METER = DeviceId("meter-1")
SPACE = DestinationId("mes")
_BLUETOOTH = Provenance(SourceKind.BLUETOOTH, "gatt.2a18")


class FixedClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    @property
    def is_trusted(self) -> bool:
        return True


def open_store(
    folder: Path, *, queue_batches: int = 2000, busy_timeout_s: float = 5.0
) -> AbstractAsyncContextManager[SqliteStore]:
    """The store of a test, in its own folder."""
    path = folder / "state" / "passerelle.db"
    return SqliteStore.open(path, clock=FixedClock(), queue_batches=queue_batches, busy_timeout_s=busy_timeout_s)


def query(folder: Path, sql: str) -> list[tuple[object, ...]]:
    """Run one statement from outside, as another process would."""
    connection = sqlite3.connect(folder / "state" / "passerelle.db", isolation_level=None)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def reading(
    number: int = 1,
    value: str = "104",
    *,
    device: DeviceId = METER,
    epoch: int = 0,
    metric: Metric = Metric.GLUCOSE_CAPILLARY,
    received: int = 0,
    minute: int | None = None,
    frame: int | None = None,
) -> Reading:
    """Record `number` of a meter; `received` seconds after NOW, measured `minute` minutes after NOW minus a day."""
    return Reading(
        device_id=device,
        epoch=epoch,
        record_key=f"r{number}",
        metric=metric,
        effective_at=NOW - timedelta(days=1) + timedelta(minutes=number if minute is None else minute),
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=NOW + timedelta(seconds=received),
        provenance=_BLUETOOTH,
        value=Decimal(value),
        original_value=Decimal(value),
        original_unit=Unit.MG_DL,
        frame=frame,
    )


def batch(*readings: Reading, payload: bytes | None = None) -> Batch:
    """A batch, with one raw payload that all readings refer to when `payload` is given."""
    if payload is None:
        return Batch(readings=readings)
    frame = RawFrame(METER, SourceKind.BLUETOOTH, "2a18", payload, readings[0].received_at)
    return Batch(readings=readings, frames=(frame,))


def household(owner: PersonId | None = ADA) -> tuple[list[Person], list[Device]]:
    """Two people and a meter."""
    paris = ZoneInfo("Europe/Paris")
    people = [Person(ADA, "Ada", paris), Person(BOB, "Bob", paris, Unit.MMOL_L)]
    return people, [Device(METER, DeviceKind.GLUCOSE_METER, "Meter", owner)]


def consent(person: PersonId = ADA, *, days: int | None = None, data_type: DataType = DataType.GLUCOSE) -> Consent:
    """A consent given two days before NOW, which covers the last ten days."""
    return Consent(
        person,
        data_type,
        SPACE,
        granted_at=NOW - timedelta(days=2),
        covers_from=NOW - timedelta(days=10),
        expires_at=None if days is None else NOW + timedelta(days=days),
    )


def draft(
    number: int = 1, person: PersonId = ADA, *, days_ago: int = 1, data_type: DataType = DataType.GLUCOSE
) -> DepartureDraft:
    """Something to send."""
    return DepartureDraft(
        identity=f"{person}/{number}",
        person_id=person,
        data_type=data_type,
        destination_id=SPACE,
        kind="glucose_capillary",
        effective_at=NOW - timedelta(days=days_ago),
        resource=f'{{"resourceType":"Observation","id":"{number}"}}',
    )
