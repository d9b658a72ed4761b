"""`gateway fhir`: readings as the FHIR resources that would be sent. The output is a contract."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from gateway.clinical.glucose import glucose_day, glucose_period, local_day_bounds
from gateway.commands.common import BAD_INPUT, Commands, input_lines, output, settings_of, utc_now, write_line
from gateway.fhir.mes import MesContext, drafts_for, summary_drafts
from gateway.model import (
    DepartureDraft,
    DestinationId,
    Device,
    DeviceId,
    DeviceKind,
    Metric,
    PersonId,
    Reading,
    StoredReading,
)
from gateway.reading_json import parse_readings
from gateway.settings import Settings

__all__ = ["register"]

Terminology = Literal["2024", "2025", "both"]
_DAYS = 14
_KIND_OF = {
    Metric.GLUCOSE_INTERSTITIAL: DeviceKind.CGM,
    Metric.GLUCOSE_CAPILLARY: DeviceKind.GLUCOSE_METER,
    Metric.BODY_MASS: DeviceKind.SCALE,
}


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "fhir",
        help="readings as FHIR R4",
        description="Reads JSON lines of one person, writes one transaction bundle a line, as it would be sent: each "
        "finger-stick and weigh-in, and for each closed fortnight of the sensor its mean glucose and GMI.",
    )
    parser.add_argument("--input", required=True, metavar="FILE", help="JSON lines; '-' is standard input")
    parser.add_argument("--target", choices=["mes"], required=True, help="mes: API Mesures of Mon espace santé")
    parser.add_argument("--config", type=Path, metavar="FILE", help="take account and devices from this configuration")
    parser.add_argument("--person", metavar="ID", help="only this person's readings; whose account to use")
    parser.add_argument(
        "--terminology", choices=["2024", "2025", "both"], default="both", help="code of the mean interstitial glucose"
    )
    parser.add_argument("--output", default="-", metavar="FILE", help="default: standard output")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments) if arguments.config else Settings()
    context, destination_id = _context(settings, arguments.person, arguments.terminology)
    zones = (person.time_zone for person in settings.household()[0] if person.person_id == arguments.person)
    zone: tzinfo = next(zones, ZoneInfo(settings.gateway.time_zone))
    status = 0
    sensor: dict[tuple[str, str], Reading] = {}
    described = {device.device_id: device for device in settings.household()[1]}
    with input_lines(arguments.input) as lines, output(arguments.output) as stream:
        for row, item in enumerate(parse_readings(lines, received_at=utc_now()), start=1):
            if len(item) == 2:
                write_line(f"gateway fhir: line {item[0]}: {item[1]}", sys.stderr)
                status = BAD_INPUT
                continue
            _, reading, person_id = item
            if arguments.person is not None and person_id not in (None, arguments.person):
                continue
            if reading.metric is Metric.GLUCOSE_INTERSTITIAL:
                sensor[(reading.device_id, reading.key)] = reading
                continue
            stored = StoredReading(reading, person_id or PersonId(arguments.person or "person"), row, None)
            device = described.get(reading.device_id) or _device(reading)
            for draft in drafts_for(stored, device, context, destination_id):
                write_line(draft.resource, stream)
        for draft in _fortnights(list(sensor.values()), described, context, destination_id, zone, arguments.person):
            write_line(draft.resource, stream)
    return status


def _context(settings: Settings, person: str | None, terminology: Terminology) -> tuple[MesContext, DestinationId]:
    for destination in settings.destinations:
        for account in destination.accounts:
            if person in (None, account.person):
                context = MesContext(
                    destination.solution_oid,
                    destination.patient_authority_oid,
                    account.patient_id,
                    terminology=destination.terminology,
                )
                return context, DestinationId(destination.id)
    # 2.999 is the arc for examples: nothing made here can be mistaken for a real account
    return MesContext("2.999.5.1", "2.999.5.1.1", "idpe-example", terminology=terminology), DestinationId("mes")


def _device(reading: Reading) -> Device:
    """A device of which only the name is known."""
    return Device(reading.device_id, _KIND_OF.get(reading.metric, DeviceKind.UNKNOWN), reading.device_id)


def _fortnights(
    readings: list[Reading],
    described: dict[DeviceId, Device],
    context: MesContext,
    destination_id: DestinationId,
    zone: tzinfo,
    person: str | None,
) -> Iterator[DepartureDraft]:
    """Closed fortnights, counted from the first day with a reading; a day that is not over closes none."""
    by_day: dict[date, list[Reading]] = {}
    for reading in readings:
        by_day.setdefault(reading.local_day, []).append(reading)
    if not by_day:
        return
    person_id = PersonId(person or "person")
    first, newest = min(by_day), max(by_day)
    while (last := first + timedelta(days=_DAYS - 1)) <= newest and _is_over(last, zone, readings):
        days = [glucose_day(person_id, day, by_day[day], zone) for day in sorted(by_day) if first <= day <= last]
        _, end = local_day_bounds(last, zone)
        period = glucose_period(person_id, days, first, last, zone, now=end)
        newest_of_period = max((r for d in by_day for r in by_day[d] if d <= last), key=lambda r: r.effective_at)
        device = described.get(newest_of_period.device_id) or _device(newest_of_period)
        yield from summary_drafts(period, device, context, destination_id, end.astimezone(zone))
        first = last + timedelta(days=1)


def _is_over(day: date, zone: tzinfo, readings: list[Reading]) -> bool:
    """Whether the data reach the end of `day`, give or take an hour."""
    _, end = local_day_bounds(day, zone)
    newest: datetime = max(reading.effective_at for reading in readings)
    return newest >= end - timedelta(hours=1)
