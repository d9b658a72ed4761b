"""Systems, codes and the table of measures that Mon espace santé accepts.

Sources: ANS "Mesures de santé" profiles (`ans.fhir.fr.mesures` 3.0.1 to 3.2.0), API Mesures 1.5.2, value sets JDV_J154
(kind of glucose measure), J157 (moment), J163 (units), J164 (number of days), IEEE 11073-10101, LOINC, UCUM.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.fhir.r4 import CodeableConcept, Coding
from gateway.model import DeviceKind, Meal

__all__ = [
    "ANS_TERMS",
    "ANS_TERMS_NOS",
    "BTMAC_SYSTEM",
    "CATEGORY_SYSTEM",
    "CONTINUA_IDENTIFIERS",
    "EUI64_OID",
    "LOINC",
    "LOINC_NOS",
    "MDC",
    "MDC_FIRMWARE",
    "MDC_PHD_TYPE",
    "MEASURES",
    "MES_PROFILE_BASE",
    "MOMENTS",
    "MOMENT_AFTER_EXERCISE",
    "MOMENT_OF_MEAL",
    "MOMENT_OTHER",
    "MOMENT_URL",
    "NATIONAL_PROFILE_BASE",
    "NUMBER_OF_DAYS",
    "NUMBER_OF_DAYS_OTHER",
    "NUMBER_OF_DAYS_URL",
    "PHD_DEVICE_PROFILE",
    "REASON_URL",
    "SEARCH_CODES",
    "SPECIALISATION",
    "UCUM",
    "Concept",
    "Measure",
    "concept_of",
    "concepts_of",
    "measure_of",
    "measure_searched",
    "number_of_days_code",
]

LOINC = "http://loinc.org"
LOINC_NOS = "https://mos.esante.gouv.fr/NOS/TRE_A04-Loinc/FHIR/TRE-A04-Loinc"
ANS_TERMS = "https://smt.esante.gouv.fr/fhir/CodeSystem/terminologie-cisis"
ANS_TERMS_NOS = "https://mos.esante.gouv.fr/NOS/TRE_R308-TAASIP/FHIR/TRE-R308-TAASIP"
UCUM = "http://unitsofmeasure.org"
MDC = "urn:iso:std:iso:11073:10101"
CATEGORY_SYSTEM = "http://terminology.hl7.org/CodeSystem/observation-category"
CONTINUA_IDENTIFIERS = "http://hl7.org/fhir/uv/phd/CodeSystem/ContinuaDeviceIdentifiers"
BTMAC_SYSTEM = "http://hl7.org/fhir/sid/eui-48/bluetooth"
EUI64_OID = "1.2.840.10004.1.1.1.0.0.1.0.0.1.2680"

PHD_DEVICE_PROFILE = "http://hl7.org/fhir/uv/phd/StructureDefinition/PhdDevice"
MES_PROFILE_BASE = "https://fhir.monespacesante.fr/ref/mesure/StructureDefinition/"
NATIONAL_PROFILE_BASE = "https://interop.esante.gouv.fr/ig/fhir/mesures/StructureDefinition/"
REASON_URL = f"{NATIONAL_PROFILE_BASE}mesures-reason-for-measurement"
MOMENT_URL = f"{NATIONAL_PROFILE_BASE}mesures-moment-of-measurement"
NUMBER_OF_DAYS_URL = f"{NATIONAL_PROFILE_BASE}mesures-number-of-days"

MDC_PHD_TYPE = "65573"
"""MDC_MOC_VMS_MDS_SIMP: the `type` of every personal health device."""
MDC_FIRMWARE = "531976"

SPECIALISATION: dict[DeviceKind, str] = {
    DeviceKind.GLUCOSE_METER: "528401",
    DeviceKind.CGM: "528409",
    DeviceKind.SCALE: "528399",
    DeviceKind.BODY_COMPOSITION_ANALYSER: "528404",
    DeviceKind.BLOOD_PRESSURE_MONITOR: "528391",
    DeviceKind.THERMOMETER: "528392",
    DeviceKind.PULSE_OXIMETER: "528388",
    DeviceKind.HEART_RATE_MONITOR: "528525",
    DeviceKind.UNKNOWN: "528457",
}
"""IEEE 11073-104xx specialisation: 8 x 65536 + term code; 528457 is the generic one. A heart rate monitor is the heart
rate profile (4237) of the basic ECG, IEEE 11073-10406."""


@dataclass(frozen=True, slots=True)
class Concept:
    """A code in its system, the system always in its present spelling (`LOINC`, `ANS_TERMS`)."""

    system: str
    code: str


_PRESENT = {LOINC_NOS: LOINC, ANS_TERMS_NOS: ANS_TERMS}


def concept_of(coding: Coding) -> Concept:
    """The concept of a coding of either generation; missing parts become empty text."""
    system = coding.system or ""
    return Concept(_PRESENT.get(system, system), coding.code or "")


def concepts_of(concept: CodeableConcept | None) -> frozenset[Concept]:
    """The concepts of every coding."""
    return frozenset(concept_of(coding) for coding in concept.coding) if concept is not None else frozenset()


MOMENT_FASTING = Concept(LOINC, "53049-3")
MOMENT_BEFORE_MEAL = Concept(LOINC, "88365-2")
MOMENT_AFTER_MEAL = Concept(LOINC, "16915-1")
MOMENT_AFTER_EXERCISE = Concept(LOINC, "LA11865-5")
MOMENT_OTHER = Concept(LOINC, "LA46-8")
MOMENT_FAINTNESS = Concept(ANS_TERMS, "MED-1278")
MOMENTS = frozenset(
    {MOMENT_FASTING, MOMENT_BEFORE_MEAL, MOMENT_AFTER_MEAL, MOMENT_AFTER_EXERCISE, MOMENT_OTHER, MOMENT_FAINTNESS}
)
"""JDV_J157."""

MOMENT_OF_MEAL: dict[Meal, Concept] = {
    Meal.PREPRANDIAL: MOMENT_BEFORE_MEAL,
    Meal.POSTPRANDIAL: MOMENT_AFTER_MEAL,
    Meal.FASTING: MOMENT_FASTING,
    Meal.CASUAL: MOMENT_OTHER,
    Meal.BEDTIME: MOMENT_OTHER,
}

NUMBER_OF_DAYS_OTHER = Concept(ANS_TERMS, "GEN-092.08.05")
_DAYS = {
    7: Concept(ANS_TERMS, "GEN-275"),
    14: Concept(ANS_TERMS, "GEN-276"),
    30: Concept(ANS_TERMS, "GEN-277"),
    90: Concept(ANS_TERMS, "GEN-278"),
}
NUMBER_OF_DAYS = frozenset({*_DAYS.values(), NUMBER_OF_DAYS_OTHER})
"""JDV_J164."""


def number_of_days_code(days: int) -> Concept:
    """The JDV_J164 code of a period; "other" outside 7, 14, 30 and 90 days."""
    return _DAYS.get(days, NUMBER_OF_DAYS_OTHER)


@dataclass(frozen=True, slots=True)
class Measure:
    """One kind of measure of the health space and the rules that its Observation obeys.

    Attributes:
        name: our word for it.
        profile: last part of the health space's own profile URL.
        codes: any of these names it; the first is the one to search with.
        ucum: the only unit accepted; None when the value is in components.
        unit_text: None: `unit` may be absent; "" : any text must be there; other: exactly this text.
        allows_period: `effectivePeriod` is accepted beside `effectiveDateTime`.
        moment, number_of_days: the extension is required (True), forbidden (False) or free (None).
        creatable: False for what the space computes itself.
        components: LOINC codes of compulsory components.
    """

    name: str
    profile: str
    codes: tuple[Concept, ...]
    ucum: str | None
    unit_text: str | None = None
    allows_period: bool = True
    moment: bool | None = None
    number_of_days: bool | None = None
    creatable: bool = True
    components: tuple[str, ...] = ()


def _loinc(*codes: str) -> tuple[Concept, ...]:
    return tuple(Concept(LOINC, code) for code in codes)


def _glucose(name: str, codes: tuple[Concept, ...], ucum: str, *, moment: bool, number_of_days: bool) -> Measure:
    return Measure(
        name,
        "mes-observation-glucose",
        codes,
        ucum,
        allows_period=False,
        moment=moment,
        number_of_days=number_of_days,
    )


MEASURES: tuple[Measure, ...] = (
    Measure("body_mass", "mes-observation-bodyweight", _loinc("29463-7"), "kg", ""),
    Measure("body_height", "mes-observation-bodyheight", _loinc("8302-2"), "cm", ""),
    Measure("body_mass_index", "mes-observation-bmi", _loinc("39156-5"), "kg/m2", "", creatable=False),
    Measure(
        "blood_pressure",
        "mes-observation-bp",
        _loinc("85354-9"),
        None,
        "",
        allows_period=False,
        components=("8480-6", "8462-4"),
    ),
    Measure("body_temperature", "mes-observation-bodytemperature", _loinc("8310-5"), "Cel", ""),
    _glucose("glucose_capillary", _loinc("2345-7"), "mg/dL", moment=True, number_of_days=False),
    _glucose("hba1c", _loinc("4548-4"), "%", moment=False, number_of_days=False),
    _glucose(
        "glucose_mean",
        (Concept(ANS_TERMS, "MED-969"), Concept(LOINC, "99504-3")),
        "mg/dL",
        moment=False,
        number_of_days=True,
    ),
    _glucose("gmi", (Concept(ANS_TERMS, "MED-972"),), "%", moment=False, number_of_days=True),
    Measure("pain_severity", "mes-observation-painseverity", _loinc("72514-3"), "1", "Level", allows_period=False),
    Measure("steps_by_day", "mes-observation-stepsbyday", _loinc("41950-7"), "1/(24.h)", "steps/day"),
    Measure("waist_circumference", "mes-observation-waistcircumference", _loinc("8280-0"), "cm"),
    Measure("head_circumference", "mes-observation-headcircumference", _loinc("8287-5", "9843-4"), "cm", "cm"),
    Measure("heart_rate", "mes-observation-heartrate", _loinc("8867-4"), "/min", ""),
)
"""Every measure of the health space, in the order of its documentation."""

_BY_CONCEPT = {concept: measure for measure in MEASURES for concept in measure.codes}
_BY_CODE = {concept.code: measure for measure in MEASURES for concept in measure.codes}
SEARCH_CODES = frozenset(_BY_CODE)
"""What the `code` search parameter accepts; the two codes of the mean interstitial glucose mean the same."""


def measure_of(code: CodeableConcept | None) -> Measure | None:
    """The measure that an Observation's code names; None when it names none, or two different ones."""
    return _only(_BY_CONCEPT[concept] for concept in concepts_of(code) if concept in _BY_CONCEPT)


def measure_searched(code: str) -> Measure | None:
    """The measure of a `code` search parameter: a bare code, or `system|code` in either generation."""
    system, bar, bare = code.rpartition("|")
    if bar and system:
        return _BY_CONCEPT.get(Concept(_PRESENT.get(system, system), bare))
    return _BY_CODE.get(bare)


def _only(measures: Iterable[Measure]) -> Measure | None:
    found = set(measures)
    return found.pop() if len(found) == 1 else None
