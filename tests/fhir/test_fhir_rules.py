"""The published rules of the health space, case by case (numbers: the conformance list of the sandbox)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from fhir_samples import SOLUTION, device_of, gmi_of, observation_in, sample

from gateway.fhir.r4 import (
    Bundle,
    BundleEntry,
    BundleRequest,
    CodeableConcept,
    Coding,
    Extension,
    Identifier,
    Meta,
    ObservationComponent,
    OtherResource,
    Patient,
    Period,
    Quantity,
    Reference,
)
from gateway.fhir.rules import IF_NONE_EXIST, check_transaction, to_outcome
from gateway.fhir.terminology import (
    ANS_TERMS,
    ANS_TERMS_NOS,
    LOINC,
    LOINC_NOS,
    MEASURES,
    MES_PROFILE_BASE,
    MOMENT_URL,
    NUMBER_OF_DAYS_URL,
    SEARCH_CODES,
    UCUM,
    measure_of,
    measure_searched,
)

NO_VALUE = ("value", "Observation value quantity not provided.")
NOT_LINKED = ("invalid", "Observation and device not linked by id (Observation.device.reference <-> Device.id)")
ONE_OBSERVATION = ("invalid", "Bundle must contains one observation creation (POST)")
WEIGHT = sample("body_mass")


def problems(bundle: Bundle, solution: str = SOLUTION) -> list[tuple[str, str]]:
    return [(issue.code, issue.diagnostics) for issue in check_transaction(bundle, solution_oid=solution)]


def with_observation(bundle: Bundle, **changes: object) -> Bundle:
    first, *others = bundle.entry
    changed = first.model_copy(update={"resource": observation_in(bundle).model_copy(update=changes)})
    return bundle.model_copy(update={"entry": (changed, *others)})


def with_device(bundle: Bundle, **changes: object) -> Bundle:
    first, second = bundle.entry
    changed = second.model_copy(update={"resource": device_of(bundle).model_copy(update=changes)})
    return bundle.model_copy(update={"entry": (first, changed)})


def with_request(bundle: Bundle, index: int, **changes: object) -> Bundle:
    entries = list(bundle.entry)
    request = entries[index].request
    assert request is not None
    entries[index] = entries[index].model_copy(update={"request": request.model_copy(update=changes)})
    return bundle.model_copy(update={"entry": tuple(entries)})


def quantity(value: str | None, code: str, unit: str | None = None, system: str = UCUM) -> Quantity:
    return Quantity(value=Decimal(value) if value is not None else None, unit=unit, system=system, code=code)


def coded(url: str, system: str, code: str) -> Extension:
    return Extension(url=url, valueCodeableConcept=CodeableConcept(coding=(Coding(system=system, code=code),)))


MOMENT = coded(MOMENT_URL, LOINC, "LA46-8")
DAYS = coded(NUMBER_OF_DAYS_URL, ANS_TERMS, "GEN-276")


@pytest.mark.parametrize("name", ["body_mass", "glucose_capillary", "glucose_mean", "gmi"])
def test_valid_measures_are_accepted(name: str) -> None:
    """Cases 1 and 2: what we send is accepted, in either order of entries, with or without its device."""
    bundle = sample(name)
    alone = Bundle(type="transaction", entry=with_observation(bundle, device=None).entry[:1])
    assert problems(bundle) == []
    assert problems(bundle.model_copy(update={"entry": bundle.entry[::-1]})) == []
    assert problems(alone) == []


def test_only_transactions_are_accepted() -> None:
    """Case 9: a batch is not a transaction."""
    assert problems(WEIGHT.model_copy(update={"type": "batch"})) == [("invalid", "Bundle.type must be transaction.")]


def test_exactly_one_observation_is_accepted() -> None:
    """Case 10: none, two, or two devices are refused."""
    observation, device = WEIGHT.entry
    assert ONE_OBSERVATION in problems(Bundle(type="transaction"))
    assert problems(Bundle(type="transaction", entry=(device,))) == [ONE_OBSERVATION]
    assert problems(Bundle(type="transaction", entry=(observation, observation, device))) == [ONE_OBSERVATION]
    assert problems(Bundle(type="transaction", entry=(observation, device, device))) == [
        ("invalid", "Bundle must contain at most one device.")
    ]


@pytest.mark.parametrize(
    ("resource", "kind"),
    [
        (Patient(), "Patient"),
        (OtherResource(resourceType="MedicationRequest"), "MedicationRequest"),
        (OtherResource(resourceType="<script>"), ""),
        (None, ""),
    ],
)
def test_other_resources_are_not_acceptable(resource: Patient | OtherResource | None, kind: str) -> None:
    """Case 10: anything but Observation and Device is refused by name."""
    entry = BundleEntry(resource=resource, request=BundleRequest(method="POST", url="Patient"))
    bundle = WEIGHT.model_copy(update={"entry": (*WEIGHT.entry, entry)})
    assert problems(bundle) == [("not-supported", f"Resource of type {kind} is not acceptable with method POST.")]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "GET"])
def test_only_creation_is_acceptable(method: str) -> None:
    """Case 11: measures are created, never changed or deleted."""
    for index, kind in enumerate(("Observation", "Device")):
        text = f"Resource of type {kind} is not acceptable with method {method}."
        assert problems(with_request(WEIGHT, index, method=method)) == [("not-supported", text)]


def test_an_entry_says_where_it_goes() -> None:
    """Case 11: a request is compulsory and its URL is the resource type."""
    text = "Resource of type Observation is not acceptable with method POST."
    assert problems(with_request(WEIGHT, 0, url="Patient")) == [("not-supported", text)]
    first, second = WEIGHT.entry
    silent = WEIGHT.model_copy(update={"entry": (first.model_copy(update={"request": None}), second)})
    assert [code for code, _ in problems(silent)] == ["not-supported"]
    nameless = WEIGHT.model_copy(update={"entry": (first.model_copy(update={"fullUrl": None}), second)})
    assert problems(nameless) == [("invalid", "The Observation entry must have a fullUrl.")]


@pytest.mark.parametrize(
    "condition",
    [
        None,
        "",
        "identifier=1.2.3|AB",
        "identifier=urn:oid:1.2.3",
        "identifier=urn:oid:1.2.3|A",
        "identifier=urn:oid:1.2.3|AB:CD",
        "identifier=urn:oid:1.2.3|meter_1",
        "identifier=urn:oid:x|AB",
        "identifier=urn:oid:1.2.3|AB&x=1",
    ],
)
def test_a_device_needs_its_condition(condition: str | None) -> None:
    """Case 12: without a well-formed ifNoneExist a device could be created twice."""
    text = "Device request must have a valid IfNoneExist attribute : identifier=urn:oid:<OID>|<DEVICE ID>"
    assert problems(with_request(WEIGHT, 1, ifNoneExist=condition)) == [("invalid", text)]


def test_published_device_conditions_are_accepted() -> None:
    """Case 12: letters, digits and hyphens after an OID."""
    for text in ("1.2.840.10004.1.1.1.0.0.1.0.0.1.2680|FE-ED-AB-EE-DE-AD-77-C3", "2.999|ab", "1.2|A-1"):
        assert IF_NONE_EXIST.fullmatch(f"identifier=urn:oid:{text}")


def test_observation_and_device_are_linked_by_id() -> None:
    """Case 13: the reference is there and points to the device of the same bundle."""
    mandatory = ("invalid", "Observation.device.reference is mandatory.")
    assert problems(with_observation(WEIGHT, device=None)) == [mandatory]
    assert problems(with_observation(WEIGHT, device=Reference(display="scale"))) == [mandatory]
    assert problems(with_observation(WEIGHT, device=Reference(reference="Device/other"))) == [NOT_LINKED]
    assert problems(with_device(WEIGHT, id=None)) == [NOT_LINKED]
    assert problems(WEIGHT.model_copy(update={"entry": WEIGHT.entry[:1]})) == [NOT_LINKED]


@pytest.mark.parametrize("meta", [None, Meta()])
def test_profiles_are_compulsory(meta: Meta | None) -> None:
    """Case 14: both resources name their profile."""
    text = "must provide meta.profile value."
    assert problems(with_observation(WEIGHT, meta=meta)) == [("invalid", f"Observation {text}")]
    assert problems(with_device(WEIGHT, meta=meta)) == [("invalid", f"Device {text}")]


@pytest.mark.parametrize(
    ("source", "accepted"),
    [
        (None, True),
        ("urn:oid:2.999.5.1", True),
        ("urn:oid:2.999.5.1.20", True),
        ("urn:oid:2.999.5.10", False),
        ("urn:oid:2.999.5", False),
        ("2.999.5.1", False),
        ("urn:uuid:2.999.5.1", False),
    ],
)
def test_the_source_lies_under_the_solution(source: str | None, accepted: bool) -> None:
    """Case 15: OIDs are compared arc by arc, not letter by letter."""
    bundle = with_observation(WEIGHT, meta=Meta(source=source, profile=("urn:x",)))
    text = "Solution oid contains in Observation.meta.source don't belong to root editor oid (2.999.5.1)."
    assert problems(bundle) == ([] if accepted else [("value", text)])


def test_a_value_is_compulsory() -> None:
    """Case 16: a reason for its absence does not replace a value."""
    reason = CodeableConcept(coding=(Coding(system="urn:x", code="unknown"),))
    assert problems(with_observation(WEIGHT, valueQuantity=None)) == [NO_VALUE]
    assert problems(with_observation(WEIGHT, valueQuantity=None, dataAbsentReason=reason)) == [NO_VALUE]
    assert problems(with_observation(WEIGHT, valueQuantity=quantity(None, "kg", "kg"))) == [NO_VALUE]


def test_a_bmi_cannot_be_created() -> None:
    """Case 17: the space computes it."""
    code = CodeableConcept(coding=(Coding(system=LOINC, code="39156-5"),))
    bmi = with_observation(WEIGHT, code=code, valueQuantity=quantity("23.6", "kg/m2", "kg/m2"))
    assert problems(bmi) == [("not-supported", "Bmi observation cannot be created.")]


MATRIX = {
    "2345-7": (LOINC, "mg/dL", True, False),
    "4548-4": (LOINC, "%", False, False),
    "MED-969": (ANS_TERMS, "mg/dL", False, True),
    "99504-3": (LOINC_NOS, "mg/dL", False, True),
    "MED-972": (ANS_TERMS_NOS, "%", False, True),
}


@pytest.mark.parametrize("code", MATRIX)
@pytest.mark.parametrize("moment", [True, False])
@pytest.mark.parametrize("days", [True, False])
def test_the_glucose_matrix(code: str, moment: bool, days: bool) -> None:
    """Case 18: each indicator has its own rule for moment and number of days, in either code-system generation."""
    system, unit, wants_moment, wants_days = MATRIX[code]
    bundle = with_observation(
        sample("glucose_capillary"),
        code=CodeableConcept(coding=(Coding(system=system, code=code),)),
        valueQuantity=quantity("7", unit),
        extension=(*((MOMENT,) if moment else ()), *((DAYS,) if days else ())),
    )
    expected = []
    for name, wanted, given in (("moment", wants_moment, moment), ("numberOfDays", wants_days, days)):
        if wanted and not given:
            expected.append(("incomplete", f"Observation.extension.{name} is mandatory."))
        if given and not wanted:
            expected.append(("invalid", f"Observation.extension.{name} cannot be added."))
    assert problems(bundle) == expected


@pytest.mark.parametrize(
    "extensions",
    [
        (coded(MOMENT_URL, LOINC, "GEN-276"),),
        (coded(MOMENT_URL, ANS_TERMS, "LA46-8"),),
        (Extension(url=MOMENT_URL),),
        (MOMENT, coded(MOMENT_URL, LOINC, "53049-3")),
    ],
)
def test_a_moment_is_one_of_its_value_set(extensions: tuple[Extension, ...]) -> None:
    """Case 18: the binding of the moment is required and there is one moment."""
    bundle = with_observation(sample("glucose_capillary"), extension=extensions)
    assert problems(bundle) == [("value", "Observation.extension.moment is not in its value set.")]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("glucose_capillary", quantity("6.1", "mmol/L", "mmol/L")),
        ("glucose_capillary", quantity("6.1", "%", "%")),
        ("glucose_capillary", quantity("112", "mg/dL", "mg/dL", system="urn:x")),
        ("glucose_mean", quantity("8.1", "mmol/L")),
        ("gmi", quantity("146", "mg/dL", "mg/dL")),
        ("body_mass", quantity("157", "[lb_av]", "lb")),
        ("body_mass", quantity("71000", "g", "g")),
    ],
)
def test_each_measure_has_one_unit(name: str, wrong: Quantity) -> None:
    """Cases 19 and 20: the unit is a closed choice."""
    found = problems(with_observation(sample(name), valueQuantity=wrong))
    assert [text.startswith("Observation value must be in the UCUM unit") for _, text in found] == [True]


def test_weight_carries_the_text_of_its_unit() -> None:
    """Case 20: vital signs need `unit`; glucose does not."""
    text = ("value", "Observation value must carry the text of its unit.")
    assert problems(with_observation(WEIGHT, valueQuantity=quantity("71", "kg"))) == [text]
    assert problems(with_observation(sample("glucose_capillary"), valueQuantity=quantity("112", "mg/dL"))) == []


def test_the_time_of_a_measure() -> None:
    """Case 21: glucose takes a dateTime only, weight a period as well, and days are the least precision."""
    period = Period(start="2026-03-01", end="2026-03-14")
    only = ("invalid", "Observation.effectiveDateTime is the only time this measure accepts.")
    missing = ("invalid", "Observation.effectiveDateTime is mandatory.")
    vague = ("invalid", "Observation.effectiveDateTime must be precise to the day.")
    assert problems(with_observation(gmi_of(), effectiveDateTime=None, effectivePeriod=period)) == [only]
    assert problems(with_observation(WEIGHT, effectiveDateTime=None, effectivePeriod=period)) == []
    assert problems(with_observation(WEIGHT, effectiveDateTime=None)) == [missing]
    assert problems(with_observation(WEIGHT, effectivePeriod=period)) == [missing]
    assert problems(with_observation(WEIGHT, effectiveInstant="2026-03-02T06:12:05Z")) == [only]
    assert problems(with_observation(WEIGHT, effectiveDateTime="2026-03")) == [vague]


def pressure(*parts: tuple[str, Quantity | None], **changes: object) -> Bundle:
    components = tuple(
        ObservationComponent(code=CodeableConcept(coding=(Coding(system=LOINC, code=code),)), valueQuantity=value)
        for code, value in parts
    )
    values = {
        "code": CodeableConcept(coding=(Coding(system=LOINC, code="85354-9"),)),
        "valueQuantity": None,
        "component": components,
        **changes,
    }
    return with_observation(WEIGHT, **values)


def test_blood_pressure_is_two_components() -> None:
    """Case 22: both components with mm[Hg], no value of its own."""
    high, low = quantity("120", "mm[Hg]", "mmHg"), quantity("80", "mm[Hg]", "mmHg")
    own = ("invalid", "Blood pressure has no value of its own, only components.")
    unit = ("value", "Observation value must be in the UCUM unit mm[Hg].")
    kpa = quantity("16", "kPa", "kPa")
    assert problems(pressure(("8480-6", high), ("8462-4", low))) == []
    assert problems(pressure(("8480-6", high), ("8462-4", low), ("8478-0", None))) == []
    assert problems(pressure(("8480-6", high))) == [NO_VALUE]
    assert problems(pressure(("8480-6", high), ("8462-4", None))) == [NO_VALUE]
    assert problems(pressure(("8480-6", kpa), ("8462-4", low))) == [unit]
    assert problems(pressure(("8480-6", high), ("8462-4", low), valueQuantity=high)) == [own]


def test_the_patient_is_named_by_identifier() -> None:
    """A subject without a complete identifier is refused."""
    text = ("invalid", "Observation.subject.identifier is mandatory.")
    partial = Reference(identifier=Identifier(value="idpe-7f3a"))
    for subject in (None, Reference(reference="Patient/1"), partial):
        assert problems(with_observation(WEIGHT, subject=subject)) == [text]


def test_the_category_is_vital_signs_once() -> None:
    """The category slice is 1..1."""
    once = observation_in(WEIGHT).category
    text = ("invalid", "Observation.category must hold vital-signs exactly once.")
    assert problems(with_observation(WEIGHT, category=())) == [text]
    assert problems(with_observation(WEIGHT, category=once * 2)) == [text]
    assert problems(with_observation(WEIGHT, category=(*once, CodeableConcept(text="home")))) == []


def test_a_code_names_one_known_measure() -> None:
    """Unknown codes, and two measures in one code, are refused."""
    text = ("not-supported", "Observation.code is not a measure of this interface.")
    for codes in (("718-7",), ("29463-7", "8302-2")):
        code = CodeableConcept(coding=tuple(Coding(system=LOINC, code=one) for one in codes))
        assert problems(with_observation(WEIGHT, code=code)) == [text]


def test_every_fault_is_reported_at_once() -> None:
    """The answer lists all faults, in a stable order."""
    bundle = with_device(with_observation(WEIGHT, meta=None, subject=None, valueQuantity=None, device=None), meta=None)
    assert [text for _, text in problems(bundle)] == [
        "Observation.device.reference is mandatory.",
        "Observation must provide meta.profile value.",
        "Observation.subject.identifier is mandatory.",
        "Observation value quantity not provided.",
        "Device must provide meta.profile value.",
    ]


def test_issues_become_an_operation_outcome() -> None:
    """Severity, code, group and sentence survive; no issue is still a valid outcome."""
    outcome = to_outcome(check_transaction(with_device(WEIGHT, meta=None), solution_oid=SOLUTION))
    (issue,) = outcome.issue
    assert issue.details is not None
    assert (issue.severity, issue.code) == ("error", "invalid")
    assert issue.details.text == "Device resource not valid."
    assert issue.diagnostics == "Device must provide meta.profile value."
    assert [issue.severity for issue in to_outcome([]).issue] == ["information"]


def test_the_table_of_measures_is_complete_and_unambiguous() -> None:
    """Every published search code names one measure, and every measure has a profile of the space."""
    published = (
        "29463-7 8302-2 8280-0 8310-5 2345-7 MED-969 4548-4 MED-972 85354-9 39156-5 72514-3 8867-4 41950-7 8287-5"
    )
    assert set(published.split()) <= SEARCH_CODES
    assert len({concept for measure in MEASURES for concept in measure.codes}) == sum(len(m.codes) for m in MEASURES)
    assert {measure.name for measure in MEASURES} == {
        found.name for code in SEARCH_CODES if (found := measure_searched(code)) is not None
    }
    assert all(measure.profile.startswith("mes-observation-") for measure in MEASURES)
    assert MES_PROFILE_BASE.endswith("/")


def test_a_search_code_may_carry_its_system() -> None:
    """`code` and `system|code` name the same measure, in either generation; a wrong system names none."""
    mean = measure_searched("MED-969")
    assert mean is not None
    assert mean.name == "glucose_mean"
    for text in ("99504-3", f"{LOINC}|99504-3", f"{LOINC_NOS}|99504-3", f"{ANS_TERMS_NOS}|MED-969", "|MED-969"):
        assert measure_searched(text) == mean
    assert measure_searched(f"{LOINC}|MED-969") is None
    assert measure_searched("718-7") is None
    assert measure_of(None) is None
