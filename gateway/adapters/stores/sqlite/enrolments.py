"""`Enrolments` over one SQLite file: devices that people added beside the configuration."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from gateway.adapters.stores.sqlite import household
from gateway.adapters.stores.sqlite.codec import instant, micros, optional_instant
from gateway.adapters.stores.sqlite.reader import Readers
from gateway.adapters.stores.sqlite.writer import Writer
from gateway.model import DeviceId, Enrolment

__all__ = ["SqliteEnrolments"]

_ENROL = """
INSERT INTO enrolment (device, enrolled_at, is_authenticated, scale_user, may_set_clock)
SELECT id, ?2, ?3, ?4, ?5 FROM device WHERE device_id = ?1
ON CONFLICT (device) DO UPDATE SET
  enrolled_at = excluded.enrolled_at, is_authenticated = excluded.is_authenticated,
  scale_user = excluded.scale_user, may_set_clock = excluded.may_set_clock, withdrawn_at = NULL
"""
_WITHDRAW = """
UPDATE enrolment SET withdrawn_at = ?2
WHERE withdrawn_at IS NULL AND device = (SELECT id FROM device WHERE device_id = ?1)
"""
_ALL = (
    "SELECT e.enrolled_at, e.is_authenticated, e.scale_user, e.withdrawn_at, e.may_set_clock,"  # noqa: S608 - column names
    f" {household.DEVICE_COLUMNS} FROM enrolment e JOIN device d ON d.id = e.device JOIN person p ON p.id = d.person"
    " ORDER BY d.device_id"
)


class SqliteEnrolments:
    """See `gateway.ports.Enrolments`."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def enrol(self, enrolment: Enrolment) -> None:
        """Make the device known with its owner, in one transaction. Raises PermanentError: an undeclared owner."""
        await self._writer.run(lambda connection: _enrol(connection, enrolment))

    async def withdraw_device(self, device_id: DeviceId, at: datetime) -> bool:
        """Stop collecting from it; its readings stay."""
        return await self._writer.run(
            lambda connection: connection.execute(_WITHDRAW, (device_id, micros(at))).rowcount > 0
        )

    async def enrolments(self) -> list[Enrolment]:
        """Every enrolment, withdrawn or not, by device id."""
        return await self._readers.run(
            lambda connection: [
                Enrolment(
                    device=household.device_of(row[5:]),
                    enrolled_at=instant(row[0]),
                    is_authenticated=bool(row[1]),
                    scale_user=row[2],
                    withdrawn_at=optional_instant(row[3]),
                    may_set_clock=bool(row[4]),
                )
                for row in connection.execute(_ALL)
            ]
        )


def _enrol(connection: sqlite3.Connection, enrolment: Enrolment) -> None:
    household.declare(connection, (), (enrolment.device,))
    connection.execute(
        _ENROL,
        (
            enrolment.device.device_id,
            micros(enrolment.enrolled_at),
            int(enrolment.is_authenticated),
            enrolment.scale_user,
            int(enrolment.may_set_clock),
        ),
    )
