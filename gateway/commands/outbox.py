"""`gateway outbox`, `gateway audit` and `gateway consent`: what left, what did not, and what people agreed to."""

from __future__ import annotations

import argparse
import asyncio
from datetime import UTC, datetime, time

from gateway.clock import EARLIEST_NOW
from gateway.commands.common import Commands, add_config, dump, local_day, opened, settings_of, utc_now, write_line
from gateway.errors import ConfigurationError
from gateway.model import Consent, DataType, DepartureState, DestinationId, PersonId
from gateway.settings import Settings

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the commands."""
    outbox = commands.add_parser("outbox", help="what was sent, waits or was refused, newest first")
    add_config(outbox)
    outbox.add_argument("--person", metavar="ID", help="only this person's")
    outbox.add_argument("--state", choices=[state.value for state in DepartureState], help="only in this state")
    outbox.add_argument("--limit", type=int, default=50, help="rows at most (default: 50)")
    outbox.add_argument("--content", action="store_true", help="with the exact FHIR resource")
    outbox.set_defaults(run=lambda arguments: asyncio.run(_outbox(arguments)))

    audit = commands.add_parser(
        "audit", help="every departure, refusal, change of consent and of whose a reading is, newest first"
    )
    add_config(audit)
    audit.add_argument("--person", metavar="ID", help="only this person's")
    audit.add_argument("--limit", type=int, default=50, help="events at most (default: 50)")
    audit.add_argument("--verify", action="store_true", help="only check that nobody changed the trail")
    audit.set_defaults(run=lambda arguments: asyncio.run(_audit(arguments)))

    consent = commands.add_parser("consent", help="list, grant or withdraw what may leave")
    acts = consent.add_subparsers(title="what", required=True, metavar="WHAT")
    listed = acts.add_parser("list", help="every consent")
    add_config(listed)
    listed.set_defaults(run=lambda arguments: asyncio.run(_list(arguments)))
    for name, words in (("grant", "let one kind of data go to one destination"), ("withdraw", "stop it, at once")):
        act = acts.add_parser(name, help=words)
        add_config(act)
        act.add_argument("--person", required=True, metavar="ID")
        act.add_argument("--data", required=True, choices=[kind.value for kind in DataType])
        act.add_argument("--to", required=True, metavar="DESTINATION")
        if name == "grant":
            act.add_argument("--until", type=local_day, metavar="DAY", help="end of the consent (default: withdrawn)")
            act.add_argument(
                "--since", type=local_day, metavar="DAY", help="measured from this day on (default: from now on)"
            )
        act.set_defaults(run=lambda arguments, name=name: asyncio.run(_change(arguments, name)))


async def _outbox(arguments: argparse.Namespace) -> int:
    person_id = PersonId(arguments.person) if arguments.person else None
    state = DepartureState(arguments.state) if arguments.state else None
    async with opened(settings_of(arguments)) as store:
        for row in await store.registry.departures(person_id=person_id, state=state, limit=arguments.limit):
            draft = row.draft
            line = {
                "id": row.outbox_id,
                "state": row.state.value,
                "kind": draft.kind,
                "person": draft.person_id,
                "data": draft.data_type.value,
                "destination": draft.destination_id,
                "effective_at": draft.effective_at.isoformat(),
                "created_at": row.created_at.isoformat(),
                "attempts": row.attempts,
                "not_before": row.not_before.isoformat() if row.state is DepartureState.PENDING else None,
                "decided_at": row.decided_at.isoformat() if row.decided_at else None,
                "remote_id": row.remote_id,
                "reason": row.reason,
                "correction": row.correction,
                "resource": draft.resource if arguments.content else None,
            }
            write_line(dump({name: value for name, value in line.items() if value is not None}))
    return 0


async def _audit(arguments: argparse.Namespace) -> int:
    async with opened(settings_of(arguments)) as store:
        if arguments.verify:
            broken = await store.registry.verify_audit()
            write_line("The audit trail is whole." if broken is None else f"Changed by hand at event {broken}.")
            return 0 if broken is None else 1
        person_id = PersonId(arguments.person) if arguments.person else None
        for event in await store.registry.audit(person_id=person_id, limit=arguments.limit):
            line = {
                "at": event.at.isoformat(),
                "kind": event.kind.value,
                "person": event.person_id or None,
                "data": event.data_type.value,
                "destination": event.destination_id or None,
                "outbox_id": event.outbox_id,
                "detail": event.detail,
            }
            write_line(dump({name: value for name, value in line.items() if value is not None}))
    return 0


async def _list(arguments: argparse.Namespace) -> int:
    now = utc_now()
    async with opened(settings_of(arguments)) as store:
        for consent in await store.registry.consents():
            line = {
                "person": consent.person_id,
                "data": consent.data_type.value,
                "destination": consent.destination_id,
                "state": consent.state_at(now).value,
                "granted_at": consent.granted_at.isoformat(),
                "covers_from": consent.covers_from.isoformat(),
                "expires_at": consent.expires_at.isoformat() if consent.expires_at else None,
                "withdrawn_at": consent.withdrawn_at.isoformat() if consent.withdrawn_at else None,
            }
            write_line(dump({name: value for name, value in line.items() if value is not None}))
    return 0


async def _change(arguments: argparse.Namespace, act: str) -> int:
    settings = settings_of(arguments)
    person_id, destination_id = PersonId(arguments.person), DestinationId(arguments.to)
    data_type, now = DataType(arguments.data), utc_now()
    async with opened(settings, must_exist=False) as store:
        people, devices = settings.household()
        await store.registry.declare(people, devices)
        if act == "withdraw":
            given = [(c.data_type, c.destination_id) for c in await store.registry.consents(person_id)]
            if (data_type, destination_id) not in given:
                named = ", ".join(f"{kind.value} to {whither}" for kind, whither in given) or "none at all"
                raise ConfigurationError([("", f"there is no such consent of {person_id!r}; recorded: {named}")])
            cancelled = await store.registry.withdraw(person_id, data_type, destination_id, now)
            write_line(f"Withdrawn. {cancelled} waiting items were cancelled; what was sent before stays there.")
            return 0
        _must_know(settings, arguments)
        if now < EARLIEST_NOW:  # it would cover everything that was ever measured
            raise ConfigurationError([("", "this machine's clock cannot be right; set it, then grant")])
        zone = next(person.time_zone for person in people if person.person_id == person_id)
        since = datetime.combine(arguments.since, time(), zone).astimezone(UTC) if arguments.since else now
        until = datetime.combine(arguments.until, time(), zone).astimezone(UTC) if arguments.until else None
        await store.registry.grant(
            Consent(person_id, data_type, destination_id, granted_at=now, covers_from=since, expires_at=until)
        )
        write_line("Granted. Withdraw at any time with: gateway consent withdraw")
    return 0


def _must_know(settings: Settings, arguments: argparse.Namespace) -> None:
    people = [person.id for person in settings.people]
    if arguments.person not in people:
        raise ConfigurationError([("people", f"nobody called {arguments.person!r}; known: {', '.join(people)}")])
    destinations = [destination.id for destination in settings.destinations]
    if arguments.to not in destinations:
        raise ConfigurationError([("destinations", f"no {arguments.to!r}; known: {', '.join(destinations)}")])
