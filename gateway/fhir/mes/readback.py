"""Looking in the space for something that may have been sent already.

The space does not recognise a repeated Observation, so that a lost answer is settled by reading back: search around the
instant in mode "all", then compare.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from gateway.fhir.r4 import Bundle, FhirError, Observation, from_json_as, parse_datetime
from gateway.fhir.terminology import (
    MOMENT_URL,
    NUMBER_OF_DAYS_URL,
    Concept,
    concepts_of,
    measure_of,
)
from gateway.model import DepartureDraft

__all__ = ["SEARCH_MARGIN", "matches", "observation_of", "search_parameters"]

SEARCH_MARGIN = timedelta(seconds=60)
_PAGE = "100"


def observation_of(draft: DepartureDraft) -> Observation:
    """The Observation that `draft` would create. Raises FhirError when its resource is not one of our transactions."""
    bundle = from_json_as(Bundle, draft.resource)
    for entry in bundle.entry:
        if isinstance(entry.resource, Observation):
            return entry.resource
    raise FhirError([("entry", "no Observation")])


def search_parameters(draft: DepartureDraft) -> list[tuple[str, str]]:
    """Query of `GET [base]/fhir/Observation` that finds what `draft` states if it is there.

    Pairs, not a mapping: `date` appears twice. Values are not percent-encoded. Page through with `_offset` 1, 2...

    Raises:
        FhirError: the draft is not one of our transactions.
    """
    observation = observation_of(draft)
    identifier = observation.subject.identifier if observation.subject is not None else None
    if identifier is None:
        raise FhirError([("subject", "no identifier")])
    measure = measure_of(observation.code)
    if measure is None:
        raise FhirError([("code", "not a measure of the health space")])
    codes = {concept.code for concept in concepts_of(observation.code)}
    code = next(concept.code for concept in measure.codes if concept.code in codes)
    return [
        ("subject.identifier", f"{identifier.system}|{identifier.value}"),
        ("code", code),
        ("date", f"ge{_utc(draft.effective_at - SEARCH_MARGIN)}"),
        ("date", f"le{_utc(draft.effective_at + SEARCH_MARGIN)}"),
        ("_count", _PAGE),
    ]


def matches(observation: Observation, draft: DepartureDraft) -> bool:
    """Whether `observation`, read from the space, is what `draft` states.

    Same measure (either code of the mean interstitial glucose), instant, number and unit, `meta.source`, moment and
    number of days. An entry that was entered in error does not count.
    """
    ours = observation_of(draft)
    if observation.status in {"entered-in-error", "cancelled"}:
        return False
    measure = measure_of(observation.code)
    return (
        measure is not None
        and measure == measure_of(ours.code)
        and _same_value(observation, ours)
        and _instant(observation) == _instant(ours) is not None
        and _source(observation) == _source(ours)
        and _extension(observation, NUMBER_OF_DAYS_URL) == _extension(ours, NUMBER_OF_DAYS_URL)
        and _extension(observation, MOMENT_URL) == _extension(ours, MOMENT_URL)
    )


def _utc(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def _instant(observation: Observation) -> datetime | None:
    return parse_datetime(observation.effectiveDateTime or "")


def _source(observation: Observation) -> str | None:
    """`meta.source` without the fragment that a server may append."""
    source = observation.meta.source if observation.meta is not None else None
    return source.partition("#")[0] if source is not None else None


def _same_value(one: Observation, other: Observation) -> bool:
    left, right = one.valueQuantity, other.valueQuantity
    return left is not None and right is not None and (left.value, left.code) == (right.value, right.code)


def _extension(observation: Observation, url: str) -> frozenset[Concept]:
    return frozenset(
        concept
        for extension in observation.extension
        if extension.url == url
        for concept in concepts_of(extension.valueCodeableConcept)
    )
