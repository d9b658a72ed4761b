"""`gateway weigh-ins`: who stood on the scale, and whose a single reading is."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from gateway.commands.common import Commands, add_config, dump, opened, settings_of, utc_now, write_line
from gateway.errors import ConfigurationError, PermanentError
from gateway.model import DecisionSource, DeviceId, Metric, OutboxId, PersonId, SourceKind, StoredWeighIn, WeighInNumber
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.attributor import Attributor
    from gateway.commands.common import OpenedStore
    from gateway.inbox import Inbox

__all__ = ["attribute_imported", "attribute_stored", "attributor_of", "register"]

_BY = DecisionSource.COMMAND
_MOST = 100_000


def register(commands: Commands) -> None:
    """Add the commands."""
    weigh_ins = commands.add_parser("weigh-ins", help="who stood on the scale, and readings that are somebody else's")
    acts = weigh_ins.add_subparsers(title="what", required=True, metavar="WHAT")
    listed = acts.add_parser("list", help="weigh-ins that wait, or recent decisions, newest first")
    add_config(listed)
    listed.add_argument("--decided", action="store_true", help="what was decided instead of what waits")
    listed.add_argument("--corrections", action="store_true", help="what is to be put right in a health space by hand")
    listed.add_argument("--device", metavar="ID", help="only this scale's")
    listed.add_argument("--limit", type=int, default=50, help="at most (default: 50)")
    listed.set_defaults(run=lambda arguments: asyncio.run(_list(arguments)))
    for name, words in (
        ("assign", "file weigh-ins or readings to a person"),
        ("not-us", "set them aside: they are nobody's of this house"),
        ("undo", "take the last decision about them back"),
    ):
        act = acts.add_parser(name, help=words)
        add_config(act)
        act.add_argument(
            "what", nargs="+", metavar="WHICH", help="numbers of `list`, or keys: device/epoch/record/metric"
        )
        if name == "assign":
            act.add_argument("--person", required=True, metavar="ID", help="whose they are")
        act.set_defaults(run=lambda arguments, name=name: asyncio.run(_act(arguments, name)))
    done = acts.add_parser("corrected", help="say that something was put right in the health space")
    add_config(done)
    done.add_argument("row", type=int, metavar="ROW", help="`outbox` of `list --corrections`")
    done.set_defaults(run=lambda arguments: asyncio.run(_corrected(arguments)))


async def _list(arguments: argparse.Namespace) -> int:
    device_id = DeviceId(arguments.device) if arguments.device else None
    async with opened(settings_of(arguments)) as store:
        if arguments.corrections:
            for row in await store.registry.corrections():
                draft = row.draft
                line: dict[str, Any] = {
                    "outbox": row.outbox_id,
                    "do": row.correction,
                    "person": draft.person_id,
                    "kind": draft.kind,
                    "destination": draft.destination_id,
                    "effective_at": draft.effective_at.isoformat(),
                    "remote_id": row.remote_id,
                }
                write_line(dump({name: value for name, value in line.items() if value is not None}))
            return 0
        if arguments.decided:
            found = await store.attributions.decided(limit=arguments.limit)
            found = [each for each in found if device_id is None or each.device_id == device_id]
        else:
            found = await store.attributions.waiting(limit=arguments.limit, device_id=device_id)
        for weigh_in in found:
            write_line(dump(_line(weigh_in)))
    return 0


def _line(weigh_in: StoredWeighIn) -> dict[str, Any]:
    readings = [stored.reading for stored in weigh_in.readings]
    shown = max(readings, key=lambda each: (each.metric is Metric.BODY_MASS, each.value is not None, each.effective_at))
    decision = weigh_in.decision
    line = {
        "number": weigh_in.number,
        "state": weigh_in.state.value,
        "person": weigh_in.person_id,
        "device": weigh_in.device_id,
        "effective_at": shown.effective_at.isoformat(),
        "metric": shown.metric.value,
        "value": shown.value,
        "unit": shown.metric.info.unit.value,
        "by": decision.by.value if decision is not None else None,
        "decided_at": decision.at.isoformat() if decision is not None else None,
        **(dict(decision.evidence) if decision is not None else {}),
    }
    return {name: value for name, value in line.items() if value is not None}


async def _act(arguments: argparse.Namespace, act: str) -> int:
    settings = settings_of(arguments)
    async with opened(settings) as store:
        inbox = _inbox(store)
        numbers = [await _number(store, inbox, word) for word in arguments.what]
        if act == "assign":
            people = [person.id for person in settings.people]
            if arguments.person not in people:
                raise ConfigurationError(
                    [("people", f"nobody called {arguments.person!r}; known: {', '.join(people)}")]
                )
            changed = await inbox.assign(numbers, PersonId(arguments.person), _BY)
            write_line(f"{changed} filed to {arguments.person}.")
        elif act == "not-us":
            write_line(f"{await inbox.set_aside(numbers, _BY)} set aside. They are kept, and count for nobody.")
        else:
            for number in numbers:
                weigh_in = await inbox.undo(number, _BY)
                where = f"filed to {weigh_in.person_id}" if weigh_in.person_id else weigh_in.state.value
                write_line(f"Taken back: {number} is {where.replace('_', ' ')} again.")
        await attribute_stored(settings, store)
        await _figures(settings, store)
    return 0


async def _corrected(arguments: argparse.Namespace) -> int:
    async with opened(settings_of(arguments)) as store:
        is_changed = await store.registry.corrected(OutboxId(arguments.row), utc_now())
        write_line("Noted." if is_changed else "There was nothing to put right about it.")
    return 0


def _inbox(store: OpenedStore) -> Inbox:
    from gateway.clock import SystemClock
    from gateway.departures.planner import planned_identities
    from gateway.inbox import Inbox

    return Inbox(store.attributions, SystemClock(), planned_identities)


async def _number(store: OpenedStore, inbox: Inbox, word: str) -> WeighInNumber:
    """A number of `list`, or the weigh-in of the reading with that key. Raises PermanentError."""
    if word.isascii() and word.isdigit():
        return WeighInNumber(int(word))
    device_id, metric = DeviceId(word.partition("/")[0]), word.rpartition("/")[2]
    if metric in set(Metric):
        for stored in await store.readings.readings(device_id=device_id, metrics=[Metric(metric)]):
            if stored.reading.key == word:
                return (await inbox.of_row(stored.row_id)).number
    raise PermanentError(f"no reading is called {word!r}; write device/epoch/record/metric")


def attributor_of(settings: Settings, store: OpenedStore) -> Attributor:
    """What decides about weigh-ins in a running gateway of this configuration."""
    from gateway.attributor import Attributor
    from gateway.clock import SystemClock

    people = [PersonId(person.id) for person in settings.people]
    users = {DeviceId(device.id): device.slots_and_names() for device in settings.devices}
    return Attributor(store.attributions, store.registry, store.enrolments, SystemClock(), people, users)


async def attribute_stored(settings: Settings, store: OpenedStore) -> None:
    """Decide what the evidence decides, as a running gateway does at once."""
    await attributor_of(settings, store).look()


async def attribute_imported(settings: Settings, store: OpenedStore) -> None:
    """Decide what the evidence decides, after an import.

    Of a file for a scale with one owner, of whom nothing is known, the first weigh-in is the owner's: whoever imports
    it says so. The others are then judged by it, so that a guest among them still waits.
    """
    await attribute_stored(settings, store)
    inbox = _inbox(store)
    for device in await store.registry.devices():
        if len(device.candidates) != 1 or await store.attributions.past(device.candidates[0], limit=1):
            continue
        waiting = await store.attributions.waiting(limit=_MOST, device_id=device.device_id)
        files = [each for each in waiting if each.readings[0].reading.provenance.source is SourceKind.FILE]
        first = next((each for each in reversed(files) if _has_mass(each)), None)
        if first is not None:
            await inbox.assign([first.number], device.candidates[0], _BY)
    await attribute_stored(settings, store)


def _has_mass(weigh_in: StoredWeighIn) -> bool:
    readings = (stored.reading for stored in weigh_in.readings)
    return any(each.metric is Metric.BODY_MASS and each.value is not None for each in readings)


async def _figures(settings: Settings, store: OpenedStore) -> None:
    """Bring the figures of the days concerned up to date."""
    from gateway.clock import SystemClock
    from gateway.summaries import Summaries

    everybody = {person.person_id: person for person in (*await store.registry.people(), *settings.household()[0])}
    await Summaries(store.readings, SystemClock(), everybody).refresh()
