"""What the page of weigh-ins shows, and what is done when somebody taps. Knows no HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from gateway.errors import PermanentError
from gateway.inbox import Inbox
from gateway.model import (
    Correction,
    DecisionSource,
    Departure,
    Device,
    DeviceId,
    DeviceKind,
    Metric,
    OutboxId,
    Person,
    PersonId,
    Reading,
    StoredReading,
    StoredWeighIn,
    WeighInNumber,
    WeighInState,
)
from gateway.ports import Clock, ReadingStore, Registry

__all__ = ["Bundle", "Card", "CorrectionRow", "RecordRow", "WeighInDesk", "WeighInPage", "bundles_of"]

_SHOWN: Final = 200
_DECISIONS: Final = 20
_RECORDS: Final = 30
_MOST_AT_ONCE: Final = 1000
_FEWEST_TOGETHER: Final = 3
_APART_KG: Final = Decimal(3)
_UNKNOWN_YET: Final = frozenset({"memory_before_enrolment", "no_history", "time_unknown"})
_HIGHEST_NUMBER: Final = 2**62


@dataclass(frozen=True, slots=True)
class Card:
    """One weigh-in, or one record of another device.

    Attributes:
        local_time: on the wall clock of where it was measured.
        value, unit, metric: what to recognise it by; value None: it has none.
        choices: (person, name), the likeliest first.
        reason: why the gateway hesitates, a word; None: it did not, or a person decided.
        whose: name of whom it is; None: nobody's.
        number: 0 for a record about which nobody has said anything; `row_id` names it.
        decision: number of the last decision, which "undo" takes back; None: there is none.
    """

    number: int
    row_id: int
    device: str
    local_time: datetime
    age: timedelta
    value: Decimal | None
    unit: str
    metric: Metric
    impedance_ohm: Decimal | None
    slot: str | None
    choices: tuple[tuple[PersonId, str], ...]
    reason: str | None
    state: WeighInState
    whose: str | None
    by: DecisionSource | None
    decision: int | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """Old weigh-ins of one scale that look like one person's: to be filed in one go."""

    cards: tuple[Card, ...]

    @property
    def numbers(self) -> str:
        """For the form."""
        return " ".join(str(card.number) for card in self.cards)


@dataclass(frozen=True, slots=True)
class CorrectionRow:
    """Something sent that is to be put right by hand."""

    departure: Departure
    person: str
    destination: str
    local_time: datetime
    value: Decimal | None
    unit: str

    @property
    def is_removal(self) -> bool:
        """Whether it is to be deleted there; else it is to be entered again."""
        return self.departure.correction is Correction.REMOVE


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A device with an owner, and whether its readings are shown."""

    device_id: DeviceId
    name: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class WeighInPage:
    """The page. `older` is the number to ask for older decisions with; None: there are none."""

    bundles: tuple[Bundle, ...]
    cards: tuple[Card, ...]
    has_more: bool
    decided: tuple[Card, ...]
    older: int | None
    is_newest: bool
    corrections: tuple[CorrectionRow, ...]
    devices: tuple[RecordRow, ...]
    records: tuple[Card, ...]
    chosen: DeviceId | None


def bundles_of(cards: Sequence[Card]) -> tuple[tuple[Bundle, ...], tuple[Card, ...]]:
    """What nobody's history speaks about, by scale, slot, reason and neighbouring masses; and the cards left over.

    Masses are neighbours when no gap of more than 3 kg lies between them. Fewer than three are no bundle.
    """
    old = [card for card in cards if card.reason in _UNKNOWN_YET and card.value is not None]
    bundles: list[Bundle] = []
    for key in sorted({_kind_of(card) for card in old}):
        mine = sorted((card for card in old if _kind_of(card) == key), key=lambda card: card.value or Decimal(0))
        run: list[Card] = []
        for card in [*mine, None]:
            if run and (card is None or (card.value or 0) - (run[-1].value or 0) > _APART_KG):
                if len(run) >= _FEWEST_TOGETHER:
                    bundles.append(Bundle(tuple(sorted(run, key=lambda each: each.local_time, reverse=True))))
                run = []
            if card is not None:
                run.append(card)
    together = {card.number for bundle in bundles for card in bundle.cards}
    return tuple(bundles), tuple(card for card in cards if card.number not in together)


def _kind_of(card: Card) -> tuple[str, str, str]:
    return card.device, card.slot or "", card.reason or ""


class WeighInDesk:
    """Gathers the page and carries out what somebody chose on it.

    Args:
        people: who can be chosen.
        destinations: names of the health spaces by id.
    """

    def __init__(
        self,
        inbox: Inbox,
        store: ReadingStore,
        registry: Registry,
        people: Mapping[PersonId, Person],
        clock: Clock,
        destinations: Mapping[str, str],
    ) -> None:
        self._inbox = inbox
        self._store = store
        self._registry = registry
        self._people = people
        self._clock = clock
        self._destinations = destinations

    async def page(self, *, before: int | None = None, device_id: DeviceId | None = None) -> WeighInPage:
        """The state of everything, now; `before`: decisions older than that one, `device_id`: whose records to show."""
        devices = {device.device_id: device for device in await self._registry.devices()}
        attributions = self._inbox.attributions
        waiting = await attributions.waiting(limit=_SHOWN + 1)
        bundles, cards = bundles_of([self._card(each, devices) for each in waiting[:_SHOWN]])
        decided = await attributions.decided(limit=_DECISIONS + 1, before=before)
        last = decided[_DECISIONS - 1].decision if len(decided) > _DECISIONS else None
        others = [d for d in devices.values() if not d.is_by_evidence and d.kind is not DeviceKind.CGM]
        chosen = device_id if device_id in {device.device_id for device in others} else None
        return WeighInPage(
            bundles=bundles,
            cards=cards,
            has_more=len(waiting) > _SHOWN,
            decided=tuple(self._card(each, devices) for each in decided[:_DECISIONS]),
            older=None if last is None else last.number,
            is_newest=before is None,
            corrections=tuple(self._correction(row) for row in await self._registry.corrections()),
            devices=tuple(RecordRow(d.device_id, d.display_name, d.device_id == chosen) for d in others),
            records=() if chosen is None else await self._records(devices[chosen]),
            chosen=chosen,
        )

    async def act(self, action: str, fields: Mapping[str, str]) -> str | None:
        """Do what somebody chose; a word for what stood in the way, or None.

        Args:
            action: `assign`: numbers or row, person; `aside`: numbers or row; `undo`: numbers, decision; `corrected`:
                outbox.
            fields: numbers are separated by spaces.
        """
        try:
            match action:
                case "assign" if fields.get("person") in self._people:
                    await self._inbox.assign(
                        await self._numbers(fields), PersonId(fields["person"]), DecisionSource.PAGE
                    )
                case "aside":
                    await self._inbox.set_aside(await self._numbers(fields), DecisionSource.PAGE)
                case "undo":
                    last = _number(fields.get("decision", ""))
                    for number in await self._numbers(fields):
                        await self._inbox.undo(number, DecisionSource.PAGE, decision=last)
                case "corrected":
                    await self._registry.corrected(OutboxId(_number(fields.get("outbox", ""))), self._clock.now())
                case _:
                    return "fields"
        except PermanentError:
            return "undo" if action == "undo" else "fields"
        except ValueError:
            return "fields"
        return None

    async def _numbers(self, fields: Mapping[str, str]) -> list[WeighInNumber]:
        if row := fields.get("row"):
            return [(await self._inbox.of_row(_number(row))).number]
        numbers = [WeighInNumber(_number(word)) for word in fields.get("numbers", "").split()]
        if not 1 <= len(numbers) <= _MOST_AT_ONCE:
            raise ValueError("no number, or too many")
        return numbers

    def _card(self, weigh_in: StoredWeighIn, devices: Mapping[DeviceId, Device]) -> Card:
        device = devices[weigh_in.device_id]
        decision = weigh_in.decision
        evidence = decision.evidence if decision is not None else {}
        readings = [stored.reading for stored in weigh_in.readings]
        shown = _most_telling(readings)
        index = next((r.context.user_index for r in readings if r.context.user_index is not None), None)
        name = next((r.context.user_name for r in readings if r.context.user_name is not None), None)
        reasons = evidence.get("reasons")
        reason = str(reasons[0]) if isinstance(reasons, list) and reasons else None
        if weigh_in.state is WeighInState.WAITING and "undoes" in evidence:
            reason = "taken_back"
        return Card(
            number=weigh_in.number,
            row_id=0,
            device=device.display_name,
            local_time=shown.local_time,
            age=self._clock.now() - shown.effective_at,
            value=shown.value,
            unit=shown.metric.info.unit.value,
            metric=shown.metric,
            impedance_ohm=next((r.value for r in readings if r.metric is Metric.IMPEDANCE), None),
            slot=name if index is None else str(index),
            choices=self._choices(device, evidence.get("probabilities")),
            reason=reason,
            state=weigh_in.state,
            whose=self._name(weigh_in.person_id),
            by=decision.by if decision is not None else None,
            decision=decision.number if decision is not None else None,
        )

    async def _records(self, device: Device) -> tuple[Card, ...]:
        newest = await self._store.readings(device_id=device.device_id, newest_first=True, limit=_RECORDS)
        return tuple(self._record(device, stored) for stored in newest)

    def _record(self, device: Device, stored: StoredReading) -> Card:
        reading = stored.reading
        return Card(
            number=0,
            row_id=stored.row_id,
            device=device.display_name,
            local_time=reading.local_time,
            age=self._clock.now() - reading.effective_at,
            value=reading.value,
            unit=reading.metric.info.unit.value,
            metric=reading.metric,
            impedance_ohm=None,
            slot=None,
            choices=tuple(
                (p.person_id, p.display_name) for p in self._people.values() if p.person_id != stored.person_id
            ),
            reason=None,
            state=WeighInState.SET_ASIDE if stored.person_id is None else WeighInState.FILED,
            whose=self._name(stored.person_id),
            by=None,
            decision=None,
        )

    def _choices(self, device: Device, probabilities: object) -> tuple[tuple[PersonId, str], ...]:
        """Candidates of a scale, everybody for other devices; somebody who left the configuration is none."""
        people = [each for each in device.candidates or self._people if each in self._people] or list(self._people)
        if not device.is_by_evidence:
            people = list(self._people)
        likely = probabilities if isinstance(probabilities, dict) else {}
        people.sort(key=lambda each: -likely.get(each, 0.0))
        return tuple((each, self._people[each].display_name) for each in people)

    def _name(self, person_id: PersonId | None) -> str | None:
        if person_id is None:
            return None
        person = self._people.get(person_id)
        return person.display_name if person is not None else person_id

    def _correction(self, departure: Departure) -> CorrectionRow:
        draft = departure.draft
        person = self._people.get(draft.person_id)
        value, unit = _stated(json.loads(draft.resource, parse_float=Decimal))
        return CorrectionRow(
            departure,
            self._name(draft.person_id) or "",
            self._destinations.get(draft.destination_id, draft.destination_id),
            draft.effective_at.astimezone(person.time_zone if person is not None else None).replace(tzinfo=None),
            value,
            unit,
        )


def _most_telling(readings: Sequence[Reading]) -> Reading:
    """The body mass, else anything with a value, else anything."""
    return max(readings, key=lambda r: (r.metric is Metric.BODY_MASS, r.value is not None, r.effective_at))


def _stated(resource: dict[str, Any]) -> tuple[Decimal | None, str]:
    """The quantity that a transaction bundle states, and its unit text."""
    for entry in resource.get("entry", ()):
        quantity = entry.get("resource", {}).get("valueQuantity")
        if quantity:
            return Decimal(quantity["value"]), str(quantity.get("unit", ""))
    return None, ""


def _number(text: str) -> int:
    """A number of ours. Raises ValueError."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= _HIGHEST_NUMBER):
        raise ValueError("not a number of ours")
    return int(text)
