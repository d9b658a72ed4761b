"""`gateway summary`: today and the last fortnight in figures, the same that the page shows and the space gets."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from gateway.commands.common import Commands, add_config, dump, opened, settings_of, write_line
from gateway.errors import ConfigurationError
from gateway.model import GlucosePeriod, Person, PersonId, WeightTrend
from gateway.web.texts import Texts

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("summary", help="figures of today and of the last 14 days")
    add_config(parser)
    parser.add_argument("--person", metavar="ID", help="only this person's")
    parser.add_argument(
        "--again", action="store_true", help="compute every glucose day anew first, after glucose_sources was changed"
    )
    parser.add_argument("--format", choices=["text", "json"], default="text", help="json: one object a person")
    parser.set_defaults(run=lambda arguments: asyncio.run(_run(arguments)))


async def _run(arguments: argparse.Namespace) -> int:
    from gateway.clock import SystemClock
    from gateway.summaries import Summaries

    settings = settings_of(arguments)
    people = {person.person_id: person for person in settings.household()[0]}
    shown = list(people.values())
    if arguments.person is not None:
        wanted = PersonId(arguments.person)
        if wanted not in people:
            raise ConfigurationError([("people", f"nobody called {arguments.person!r}; known: {', '.join(people)}")])
        shown = [people[wanted]]
    async with opened(settings) as store:
        others = {person.person_id: person for person in await store.registry.people()}
        summaries = Summaries(store.readings, SystemClock(), others | people)  # also of those who left the file
        await summaries.refresh()
        if arguments.again:
            for person in shown:
                await summaries.recompute(person.person_id)
        for person in shown:
            today = summaries.today(person.person_id)
            day = await summaries.glucose(person.person_id, today, 1)
            fortnight = await summaries.glucose(person.person_id, today - timedelta(days=1), 14)
            weight = await summaries.weight(person.person_id)
            if arguments.format == "json":
                figures = {"person": person.person_id, "today": _plain(day), "fortnight": _plain(fortnight)}
                write_line(dump(figures | {"weight": _plain(weight) if weight else None}))
            else:
                for line in _lines(person, day, fortnight, weight):
                    write_line(line)
    return 0


def _plain(figures: GlucosePeriod | WeightTrend) -> dict[str, Any]:
    """Two decimals more than anybody needs, dates as text; the person stands outside."""
    plain: dict[str, Any] = {}
    for name, value in dataclasses.asdict(figures).items():
        if isinstance(value, Decimal):
            plain[name] = value.quantize(Decimal("0.0001"))
        elif isinstance(value, date | datetime):
            plain[name] = value.isoformat()
        elif name != "person_id":
            plain[name] = value
    return plain


def _lines(person: Person, day: GlucosePeriod, fortnight: GlucosePeriod, weight: WeightTrend | None) -> list[str]:
    text, unit = Texts("en"), person.glucose_unit
    lines = [f"{person.display_name} ({person.person_id})"]
    for title, period in (("today", day), (f"{fortnight.first_day} to {fortnight.last_day}", fortnight)):
        mean = f"{text.glucose(period.mean_mg_dl, unit)} {unit.value}" if period.mean_mg_dl is not None else "-"
        lines += [
            f"  glucose, {title}: {period.count} readings, {period.days_of_wear} of {period.days} days, "
            f"sensor active {text.percent(period.sensor_active_percent, is_floored=True)}",
            f"    mean {mean}, CV {text.percent(period.cv_percent)}, GMI {text.percent(period.gmi_percent)}"
            + ("" if period.is_sufficient or period.days < 14 else " (not enough data)"),
            f"    very low {text.percent(period.very_low_percent)}, low {text.percent(period.low_percent)}, in range "
            f"{text.percent(period.in_range_percent)}, high {text.percent(period.high_percent)}, "
            f"very high {text.percent(period.very_high_percent)}",
        ]
    if weight is None:
        lines.append("  weight: no weigh-in")
    else:
        change = "-" if weight.weekly_change_kg is None else text.signed(weight.weekly_change_kg, 2)
        last, trend = text.number(weight.last_kg, 2), text.number(weight.trend_kg, 1)
        lines.append(f"  weight: {last} kg, trend {trend} kg, {change} kg a week")
    return lines
