"""What was set aside and the ledger, over a real file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlite_store_kit import METER, NOW, open_store, query

from gateway.model import Batch, DeviceId, Outage, OutageReason, Quarantined, QuarantineReason, RawFrame, SourceKind

HOUR = timedelta(hours=1)


def aside(
    payload: bytes = b"\x00",
    *,
    reason: QuarantineReason = QuarantineReason.MALFORMED,
    hours: float = 0,
    source: SourceKind = SourceKind.MQTT,
    device: DeviceId | None = METER,
    is_retained: bool | None = None,
    qos: int | None = None,
) -> Quarantined:
    """One payload, received so many hours after NOW."""
    frame = RawFrame(device, source, "a/topic", payload, NOW + hours * HOUR)
    return Quarantined(frame, reason, f"why {reason.value}", is_retained, qos)


async def test_rows_have_numbers_and_can_be_chosen(tmp_path: Path) -> None:
    """Newest first, by reason, source and device; each is found by its number, with how it was delivered."""
    async with open_store(tmp_path) as store:
        kept = aside(b"1", is_retained=True, qos=1)
        for item in (
            kept,
            aside(b"2", reason=QuarantineReason.IMPLAUSIBLE, hours=2),
            aside(b"3", source=SourceKind.BLUETOOTH, hours=1, device=None),
        ):
            await store.readings.commit(Batch(quarantined=(item,)))
        rows = await store.quarantine.rows()
        assert [b"2", b"3", b"1"] == [row.item.frame.payload for row in rows]
        assert [1, 2, 3] == sorted(row.number for row in rows)
        assert [b"1", b"2", b"3"] == [r.item.frame.payload for r in await store.quarantine.rows(oldest_first=True)]
        assert [b"2"] == [
            r.item.frame.payload for r in await store.quarantine.rows(reason=QuarantineReason.IMPLAUSIBLE)
        ]
        assert [b"3"] == [r.item.frame.payload for r in await store.quarantine.rows(source=SourceKind.BLUETOOTH)]
        assert [b"2", b"1"] == [r.item.frame.payload for r in await store.quarantine.rows(device_id=METER)]
        assert {QuarantineReason.MALFORMED: 2, QuarantineReason.IMPLAUSIBLE: 1} == await store.quarantine.counts()
        found = await store.quarantine.set_aside(1)
        assert found is not None
        assert (kept, True, None) == (found.item, found.is_whole, found.resolved_at)
        for number in (0, 99, -1, 2**70):
            assert await store.quarantine.set_aside(number) is None


async def test_what_is_resolved_is_out_of_the_way_and_comes_back_when_it_fails_again(tmp_path: Path) -> None:
    """Resolved rows are listed only on request; the same payload set aside again later is a question again."""
    async with open_store(tmp_path) as store:
        await store.readings.commit(Batch(quarantined=(aside(),)))
        await store.quarantine.resolve(1, "read again: 1 reading", NOW + HOUR)
        await store.quarantine.resolve(1, "a second time", NOW + 2 * HOUR)
        assert [] == await store.quarantine.rows()
        assert [] == await store.readings.quarantined()
        assert {} == await store.quarantine.counts()
        (row,) = await store.quarantine.rows(with_resolved=True)
        assert (NOW + HOUR, "read again: 1 reading") == (row.resolved_at, row.resolution)
        await store.readings.commit(Batch(quarantined=(aside(),)))
        assert [] == await store.quarantine.rows()
        await store.readings.commit(Batch(quarantined=(aside(hours=3),)))
        (row,) = await store.quarantine.rows()
        assert (1, NOW, None) == (row.number, row.item.frame.received_at, row.resolution)


async def test_a_payload_that_was_cut_is_known_as_such(tmp_path: Path) -> None:
    """Of a very long payload the beginning is kept, and the row says so."""
    async with open_store(tmp_path) as store:
        await store.readings.commit(
            Batch(quarantined=(aside(bytes(70_000)), aside(b"x", reason=QuarantineReason.TOO_LARGE)))
        )
        assert [False, False] == [row.is_whole for row in await store.quarantine.rows()]


async def test_rewording(tmp_path: Path) -> None:
    """A row that still fails says what stands in the way now."""
    async with open_store(tmp_path) as store:
        await store.readings.commit(Batch(quarantined=(aside(),)))
        await store.quarantine.reword(1, QuarantineReason.UNSUPPORTED, "another reason")
        (row,) = await store.quarantine.rows()
        assert (QuarantineReason.UNSUPPORTED, "another reason") == (row.item.reason, row.item.detail)


async def test_outages_begin_once_and_end(tmp_path: Path) -> None:
    """An open outage is not begun again, ends once, never before it began, and a whole one is recorded once."""
    async with open_store(tmp_path) as store:
        ledger = store.ledger
        for hours in (0, 1):
            await ledger.begin("bluetooth", OutageReason.RADIO_DEAF, NOW + hours * HOUR)
        await ledger.begin("mqtt", OutageReason.BROKER_AWAY, NOW, "a word")
        deaf = Outage("bluetooth", OutageReason.RADIO_DEAF, NOW)
        away = Outage("mqtt", OutageReason.BROKER_AWAY, NOW, None, "a word")
        assert [deaf, away] == await ledger.outages()
        assert 1 == await ledger.end("bluetooth", None, NOW + 2 * HOUR)
        assert 0 == await ledger.end("bluetooth", OutageReason.RADIO_DEAF, NOW + 3 * HOUR)
        assert 1 == await ledger.end(None, None, NOW - HOUR)
        assert [NOW + 2 * HOUR, NOW] == [outage.ended_at for outage in await ledger.outages()]
        off = Outage("gateway", OutageReason.GATEWAY_OFF, NOW + 5 * HOUR, NOW + 6 * HOUR)
        for _ in range(3):
            await ledger.record(off)
        assert [off] == await ledger.outages(start=NOW + 4 * HOUR)
        assert [deaf.subject] == [o.subject for o in await ledger.outages(start=NOW + HOUR, end=NOW + 5 * HOUR)]


async def test_the_last_sign_of_life_counts(tmp_path: Path) -> None:
    """Also in another life of the process, and when the clock was set back: what it said before is no time."""
    async with open_store(tmp_path) as store:
        assert await store.ledger.last_alive() is None
        await store.ledger.alive(NOW)
        await store.ledger.alive(NOW - HOUR)
    async with open_store(tmp_path) as store:
        assert NOW - HOUR == await store.ledger.last_alive()
    assert [(1,)] == query(tmp_path, "SELECT count(*) FROM sign_of_life")
