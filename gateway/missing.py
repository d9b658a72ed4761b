"""What is missing of a household's readings, and why: the readings, the ledger and the facts brought together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.devices.procedures.glucose_gap import GAP_FACT
from gateway.model import Absent, Checkpoint, DeviceId, Metric, Outage, PersonId, SourceKind, StoredReading, TimeQuality
from gateway.normalise.gaps import (
    Gap,
    Numbered,
    Seen,
    Session,
    gaps_of_numbers,
    gaps_of_series,
    record_number,
)
from gateway.outages import GATEWAY, STORE, device_subject
from gateway.ports import Ledger, ReadingStore

__all__ = ["Missing", "missing_readings"]

_AROUND: Final = timedelta(days=1)
"""How far before the interval is looked for the result after which a hole began."""

_SESSION: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\+\d+")


@dataclass(frozen=True, slots=True)
class Missing:
    """One hole.

    Attributes:
        gap: from when to when, and why.
        device_id: the device, or the last one before the hole where a person changed sensors.
        person_id: whose; None: nobody's yet.
        metric: of a series with a pace; None: records of a device that numbers them.
    """

    gap: Gap
    device_id: DeviceId
    person_id: PersonId | None
    metric: Metric | None


async def missing_readings(
    store: ReadingStore,
    ledger: Ledger,
    *,
    start: datetime,
    end: datetime,
    person_id: PersonId | None = None,
    device_id: DeviceId | None = None,
    metrics: Collection[Metric] | None = None,
) -> list[Missing]:
    """Every hole that reaches into start..end, in time order.

    A person's sensor results are one series, whatever sensors they came from; a device's are one where `device_id`
    asks for it, and where nobody owns it.

    Args:
        start, end: aware, UTC; a hole after the last result is open and ends at `end`.
        metrics: only these; None: all.
    """
    stored = [
        item
        for item in await store.readings(
            person_id=person_id, device_id=device_id, metrics=metrics, start=start - _AROUND, end=end
        )
        if item.reading.time_quality is not TimeQuality.UNKNOWN and item.reading.absent is not Absent.WITHDRAWN
    ]
    outages = await ledger.outages(start=start - _AROUND, end=end)
    facts = await store.facts(device_id)
    paced: dict[tuple[PersonId | None, DeviceId | None], list[StoredReading]] = {}
    numbered: dict[tuple[DeviceId, int], list[StoredReading]] = {}
    for item in stored:
        reading = item.reading
        if reading.metric is Metric.GLUCOSE_INTERSTITIAL:
            own = reading.device_id if device_id is not None or item.person_id is None else None
            paced.setdefault((item.person_id, own), []).append(item)
        else:
            numbered.setdefault((reading.device_id, reading.epoch), []).append(item)
    found = [missing for items in paced.values() for missing in _of_sensor(items, outages, end)]
    found += [missing for items in numbered.values() for missing in _of_numbers(items, outages, facts)]
    return sorted(
        (missing for missing in found if missing.gap.end > start and missing.gap.start < end),
        key=lambda missing: (missing.gap.start, missing.device_id),
    )


def _of_sensor(items: Sequence[StoredReading], outages: Iterable[Outage], end: datetime) -> list[Missing]:
    series: list[Seen] = []
    sessions: dict[str, Session] = {}
    devices: dict[datetime, DeviceId] = {}
    for item in items:
        reading = item.reading
        sensor = f"{reading.device_id}/{reading.epoch}"
        if (match := _SESSION.fullmatch(reading.record_key)) is not None:
            sensor = f"{sensor}/{match[1]}"
            if sensor not in sessions and (began_at := _instant(match[1])) is not None:
                sessions[sensor] = Session(sensor, began_at)
        series.append(Seen(reading.effective_at, sensor))
        devices[reading.effective_at] = reading.device_id
    gaps = gaps_of_series(series, outages=_concerning(outages, items), sessions=tuple(sessions.values()), until=end)
    instants = sorted(devices)
    return [
        Missing(gap, devices[_last_before(instants, gap.start)], items[0].person_id, Metric.GLUCOSE_INTERSTITIAL)
        for gap in gaps
    ]


def _of_numbers(
    items: Sequence[StoredReading], outages: Iterable[Outage], facts: Iterable[Checkpoint]
) -> list[Missing]:
    first = items[0].reading
    numbers = [record_number(item.reading.record_key) for item in items]
    if None in numbers:
        return []
    records = [
        Numbered(number, item.reading.effective_at)
        for number, item in zip(numbers, items, strict=True)
        if number is not None
    ]
    lost: list[tuple[int, int, str]] = []
    for fact in facts:
        if fact.device_id == first.device_id and fact.name.startswith(f"{GAP_FACT}.{first.epoch}."):
            begin, last = fact.state.get("first"), fact.state.get("last")
            if isinstance(begin, int) and isinstance(last, int):
                lost.append((begin, last, str(fact.state.get("why") or "")))
    gaps = gaps_of_numbers(records, outages=_concerning(outages, items), lost=lost)
    return [Missing(gap, first.device_id, items[0].person_id, None) for gap in gaps]


def _concerning(outages: Iterable[Outage], items: Iterable[StoredReading]) -> list[Outage]:
    """Outages of the gateway, of the ways by which these readings came, and of their devices."""
    subjects: set[str] = set()
    for item in items:
        source = item.reading.provenance.source
        if source is not SourceKind.FILE:  # what a person brings is not missed because nobody listened
            subjects |= {GATEWAY, STORE, source.value, device_subject(item.reading.device_id)}
    return [outage for outage in outages if outage.subject in subjects]


def _last_before(instants: Sequence[datetime], instant: datetime) -> datetime:
    """The last of `instants` (ascending, not empty) that is not after `instant`, else the first."""
    earlier = [each for each in instants if each <= instant]
    return earlier[-1] if earlier else instants[0]


def _instant(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
