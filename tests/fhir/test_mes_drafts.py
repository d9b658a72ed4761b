"""Drafts for the outbox, and finding again what may have been sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from fhir_samples import (
    ACCOUNT,
    CGM,
    METER,
    PERIOD,
    PERIOD_END,
    PERSON,
    SCALE,
    glucose,
    observation_in,
    sample,
    weight,
)

from gateway.fhir.mes import drafts_for, identities_of, matches, observation_of, search_parameters, summary_drafts
from gateway.fhir.r4 import (
    Bundle,
    CodeableConcept,
    Coding,
    FhirError,
    Meta,
    Observation,
    Quantity,
    from_json_as,
    to_json,
)
from gateway.fhir.terminology import ANS_TERMS, ANS_TERMS_NOS, LOINC, LOINC_NOS
from gateway.model import (
    Context,
    DataType,
    DepartureDraft,
    DestinationId,
    Device,
    GlucosePeriod,
    Meal,
    Metric,
    PersonId,
    Reading,
    StoredReading,
)

SPACE = DestinationId("mes")


def drafts(reading: Reading, device: Device = SCALE, person: PersonId | None = PERSON) -> list[DepartureDraft]:
    return drafts_for(StoredReading(reading, person, row_id=1, raw_id=None), device, ACCOUNT, SPACE)


def summaries(period: GlucosePeriod = PERIOD) -> list[DepartureDraft]:
    return summary_drafts(period, CGM, ACCOUNT, SPACE, PERIOD_END)


def test_a_weigh_in_becomes_one_draft() -> None:
    """A draft says whose, what, whither and when, and carries the exact JSON."""
    (draft,) = drafts(weight())
    assert (
        DepartureDraft(
            identity="body_mass|alix|scale-bathroom/0/17/body_mass",
            person_id=PERSON,
            data_type=DataType.WEIGHT,
            destination_id=SPACE,
            kind="body_mass",
            effective_at=datetime(2026, 3, 2, 6, 12, 5, tzinfo=UTC),
            resource=to_json(sample("body_mass")),
        )
        == draft
    )


def test_a_capillary_test_becomes_one_draft() -> None:
    """Same for the meter."""
    (draft,) = drafts(glucose(), METER)
    assert (draft.kind, draft.data_type) == ("glucose_capillary", DataType.GLUCOSE)
    assert draft.identity == "glucose_capillary|alix|meter_1/0/17/glucose_capillary"
    assert sample("glucose_capillary") == from_json_as(Bundle, draft.resource)


def test_a_reading_of_nobody_or_that_stays_gives_no_draft() -> None:
    """Without an owner, or as a control solution, nothing leaves."""
    assert drafts(weight(), person=None) == []
    assert drafts(glucose(context=Context(is_control_solution=True)), METER) == []


def test_identities_name_every_draft_that_a_reading_can_give() -> None:
    """Whether or not it leaves as it is now, a reading's identity is known; what never leaves has none."""

    def identities(reading: Reading, person: PersonId | None = PERSON) -> tuple[str, ...]:
        return identities_of(StoredReading(reading, person, row_id=1, raw_id=None))

    for reading, device in ((weight(), SCALE), (glucose(), METER)):
        assert identities(reading) == tuple(draft.identity for draft in drafts(reading, device))
    control = glucose(context=Context(is_control_solution=True))
    assert identities(control) == identities(glucose())
    assert identities(weight(), person=None) == ()
    assert identities(replace(weight(), metric=Metric.BODY_MASS_INDEX)) == ()


def test_the_identity_ignores_corrections_and_fractions() -> None:
    """The same reading with a corrected value is the same fact; the stated instant is whole seconds."""
    (first,), (second,) = drafts(weight()), drafts(weight("80.0"))
    assert first.identity == second.identity
    (third,) = drafts(replace(weight(), effective_at=datetime(2026, 3, 2, 6, 12, 5, 999, tzinfo=UTC)))
    assert first.effective_at == third.effective_at
    (other,) = drafts(weight(), person=PersonId("camille"))
    assert first.identity != other.identity


def test_a_closed_period_becomes_mean_and_gmi() -> None:
    """Fourteen sufficient days give two drafts, stated at the end of the period."""
    mean, gmi = summaries()
    assert (mean.kind, gmi.kind) == ("glucose_mean_14d", "gmi_14d")
    assert mean.identity == "glucose_mean_14d|alix|2026-03-01|2026-03-14"
    assert gmi.identity == "gmi_14d|alix|2026-03-01|2026-03-14"
    assert {PERIOD_END.astimezone(UTC)} == {mean.effective_at, gmi.effective_at}
    assert {UTC} == {mean.effective_at.tzinfo, gmi.effective_at.tzinfo}


@pytest.mark.parametrize(
    ("period", "kinds"),
    [
        (replace(PERIOD, is_sufficient=False, gmi_percent=None), ["glucose_mean_14d"]),
        (replace(PERIOD, last_day=date(2026, 3, 7)), ["glucose_mean_7d"]),
        (replace(PERIOD, first_day=date(2026, 2, 13)), ["glucose_mean_30d", "gmi_30d"]),
        (replace(PERIOD, count=0, mean_mg_dl=None, gmi_percent=None, is_sufficient=False), []),
    ],
)
def test_only_what_the_data_allow_leaves(period: GlucosePeriod, kinds: list[str]) -> None:
    """The GMI needs fourteen sufficient days, the mean needs data."""
    assert kinds == [draft.kind for draft in summaries(period)]


def test_the_search_is_a_paged_one_around_the_instant() -> None:
    """Mode "all": patient, code, two date bounds in UTC, no sort."""
    (draft,) = drafts(weight())
    assert search_parameters(draft) == [
        ("subject.identifier", "urn:oid:2.999.5.1.1|idpe-7f3a"),
        ("code", "29463-7"),
        ("date", "ge2026-03-02T06:11:05Z"),
        ("date", "le2026-03-02T06:13:05Z"),
        ("_count", "100"),
    ]


@pytest.mark.parametrize(("terminology", "code"), [("2024", "MED-969"), ("2025", "99504-3"), ("both", "MED-969")])
def test_the_mean_is_searched_by_a_code_that_was_sent(terminology: str, code: str) -> None:
    """The published search code is preferred when it was sent."""
    account = replace(ACCOUNT, terminology=terminology)  # type: ignore[arg-type]  # one of the three, as parametrised
    mean, gmi = summary_drafts(PERIOD, CGM, account, SPACE, PERIOD_END)
    assert code == dict(search_parameters(mean))["code"]
    assert dict(search_parameters(gmi))["code"] == "MED-972"


ALL = [*drafts(weight()), *drafts(glucose("112"), METER), *summaries()]


@pytest.mark.parametrize("draft", ALL, ids=lambda draft: draft.kind)
def test_a_draft_matches_its_own_observation_and_no_other(draft: DepartureDraft) -> None:
    """What was stored is recognised; the others are not."""
    stored = observation_of(draft)
    assert [draft] == [other for other in ALL if matches(stored, other)]


def weight_read_back(**changes: object) -> Observation:
    return observation_in(sample("body_mass")).model_copy(update=changes)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (weight_read_back(id="abc", issued="2026-03-02T06:20:00Z"), True),
        (weight_read_back(effectiveDateTime="2026-03-02T06:12:05.000Z"), True),
        (weight_read_back(meta=Meta(source="urn:oid:2.999.5.1#req-1", versionId="1")), True),
        (weight_read_back(valueQuantity=Quantity(value=Decimal("71.350"), unit="Kg", code="kg")), True),
        (weight_read_back(valueQuantity=Quantity(value=Decimal("71.36"), unit="kg", code="kg")), False),
        (weight_read_back(valueQuantity=None), False),
        (weight_read_back(effectiveDateTime="2026-03-02T06:12:06Z"), False),
        (weight_read_back(effectiveDateTime="2026-03-02"), False),
        (weight_read_back(effectiveDateTime=None), False),
        (weight_read_back(meta=Meta(source="urn:oid:2.999.7")), False),
        (weight_read_back(meta=None), False),
        (weight_read_back(status="entered-in-error"), False),
        (weight_read_back(code=CodeableConcept(coding=(Coding(system=LOINC, code="8302-2"),))), False),
        (weight_read_back(code=CodeableConcept(text="?")), False),
    ],
)
def test_reading_back_compares_what_matters(found: Observation, expected: bool) -> None:
    """Number, unit, instant, code and source decide; what a server adds does not."""
    (draft,) = drafts(weight())
    assert expected is matches(found, draft)


@pytest.mark.parametrize(
    "codings",
    [
        (Coding(system=ANS_TERMS, code="MED-969"),),
        (Coding(system=ANS_TERMS_NOS, code="MED-969"),),
        (Coding(system=LOINC, code="99504-3"),),
        (Coding(system=LOINC_NOS, code="99504-3", display="Glucose interstitiel"),),
    ],
)
def test_either_code_of_the_mean_matches(codings: tuple[Coding, ...]) -> None:
    """The space may keep one of the two codings that we sent."""
    mean, _ = summaries()
    stored = observation_of(mean).model_copy(update={"code": CodeableConcept(coding=codings)})
    assert matches(stored, mean)


def test_another_number_of_days_or_moment_is_another_measure() -> None:
    """A 7-day and a 14-day mean with the same end differ, and so do two moments."""
    (fortnight, _), (week,) = summaries(), summaries(replace(PERIOD, first_day=date(2026, 3, 8), is_sufficient=False))
    assert not matches(observation_of(week), fortnight)
    (fasting,) = drafts(glucose(context=Context(meal=Meal.FASTING)), METER)
    (other,) = drafts(glucose(), METER)
    assert not matches(observation_of(fasting), other)


@pytest.mark.parametrize(
    "resource", ["{}", '{"resourceType":"Patient"}', '{"resourceType":"Bundle","type":"transaction"}']
)
def test_a_draft_that_is_not_ours_is_a_fhir_error(resource: str) -> None:
    """Reading back never guesses."""
    (draft,) = drafts(weight())
    with pytest.raises(FhirError):
        search_parameters(replace(draft, resource=resource, effective_at=draft.effective_at + timedelta(0)))
