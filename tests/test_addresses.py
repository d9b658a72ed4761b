"""Which device has which address."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.addresses import AddressBook
from gateway.model import Device, DeviceId, DeviceKind, Enrolment

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONFIGURED = Device(DeviceId("scale"), DeviceKind.SCALE, "Balance", address="5C:CA:D3:70:D4:A2")
ADDED = Device(DeviceId("scale-2"), DeviceKind.SCALE, "Autre", address="0C:1C:B1:00:00:02")


class Ticking:
    """Time moves when the test says so."""

    seconds = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.seconds

    @property
    def is_trusted(self) -> bool:
        return True


async def test_devices_come_and_go_while_we_run(tmp_path: Path) -> None:
    """A configured device is known at once; one that is enrolled or withdrawn later is followed within seconds."""
    clock = Ticking()
    async with SqliteStore.open(tmp_path / "passerelle.db", clock=clock) as store:
        await store.registry.declare([], [CONFIGURED])
        book = AddressBook([CONFIGURED], store.enrolments, clock)
        assert CONFIGURED.device_id == await book.device_of("5c:ca:d3:70:d4:a2")
        assert "5C:CA:D3:70:D4:A2" == await book.address_of(CONFIGURED.device_id)
        await store.enrolments.enrol(Enrolment(ADDED, enrolled_at=NOW, is_authenticated=False))
        assert None is await book.device_of("0C:1C:B1:00:00:02")
        clock.seconds += 6
        assert ADDED.device_id == await book.device_of("0C:1C:B1:00:00:02")
        await store.enrolments.withdraw_device(ADDED.device_id, NOW)
        clock.seconds += 6
        assert (None, None) == (await book.device_of("0C:1C:B1:00:00:02"), await book.address_of(ADDED.device_id))
