"""The published rules of the API Mesures for a transaction, as a check that needs no server.

Source: API Mesures de santé 1.5.2 (writing a measure, table of OperationOutcome issues), MES profiles, HL7 PHD.
Sentences that the documentation publishes are used word for word; the others are ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.fhir.r4 import (
    Bundle,
    BundleEntry,
    CodeableConcept,
    Device,
    IssueSeverity,
    Observation,
    OperationOutcome,
    OperationOutcomeIssue,
    OtherResource,
    Quantity,
)
from gateway.fhir.terminology import (
    CATEGORY_SYSTEM,
    LOINC,
    MOMENT_URL,
    MOMENTS,
    NUMBER_OF_DAYS,
    NUMBER_OF_DAYS_URL,
    UCUM,
    Concept,
    Measure,
    concepts_of,
    measure_of,
)

__all__ = ["IF_NONE_EXIST", "Issue", "check_transaction", "to_outcome"]

IF_NONE_EXIST = re.compile(r"identifier=urn:oid:([0-9]+[.0-9+]+)\|([A-Za-z0-9]+[-A-Za-z0-9+]+)")
"""The published pattern: an OID, and a device id of at least two letters, digits and hyphens."""

_BUNDLE = "Bundle not valid."
_LINK = "Observation and Device link not valid."
_OBSERVATION = "Observation resource not valid."
_DEVICE = "Device resource not valid."
_NO_VALUE = "Observation value quantity not provided."


@dataclass(frozen=True, slots=True)
class Issue:
    """One fault: an OperationOutcome issue without its wrapping.

    Attributes:
        severity: only `error` and `fatal` refuse the request.
        code: FHIR issue type (`invalid`, `value`, `not-supported`, `incomplete`).
        diagnostics: the published sentence where there is one; never holds a measured value.
        group: the published heading: "Bundle not valid.", "Observation resource not valid."...
    """

    severity: IssueSeverity
    code: str
    diagnostics: str
    group: str


def check_transaction(bundle: Bundle, *, solution_oid: str) -> list[Issue]:
    """Every rule that `bundle` breaks, in a stable order; an empty list means that the space accepts it.

    Args:
        bundle: what is to be POSTed.
        solution_oid: OID of the authenticated solution, dotted; `meta.source` must be it or below it, compared arc by
            arc (2.999.5.10 is not below 2.999.5.1).

    Tokens, identity of the patient and consent are the server's business, not checked here.
    """
    observations = [entry for entry in bundle.entry if isinstance(entry.resource, Observation)]
    devices = [entry for entry in bundle.entry if isinstance(entry.resource, Device)]
    issues = list(_bundle_rules(bundle, observations, devices))
    if len(observations) == 1 and len(devices) <= 1:
        issues += _link_rules(observations[0], devices)
    for entry in observations:
        if isinstance(entry.resource, Observation):
            issues += _observation_rules(entry.resource, solution_oid)
    for entry in devices:
        if isinstance(entry.resource, Device):
            issues += _device_rules(entry.resource)
    return issues


def to_outcome(issues: list[Issue]) -> OperationOutcome:
    """The OperationOutcome that reports `issues`; an informational one when there are none."""
    return OperationOutcome(
        issue=tuple(
            OperationOutcomeIssue(
                severity=issue.severity,
                code=issue.code,
                details=CodeableConcept(text=issue.group),
                diagnostics=issue.diagnostics,
            )
            for issue in issues
        )
        or (OperationOutcomeIssue(severity="information", code="informational"),)
    )


def _error(group: str, code: str, diagnostics: str) -> Issue:
    return Issue("error", code, diagnostics, group)


def _bundle_rules(bundle: Bundle, observations: list[BundleEntry], devices: list[BundleEntry]) -> Iterator[Issue]:
    if bundle.type != "transaction":
        yield _error(_BUNDLE, "invalid", "Bundle.type must be transaction.")
    for entry in bundle.entry:
        yield from _entry_rules(entry)
    if len(observations) != 1:
        yield _error(_BUNDLE, "invalid", "Bundle must contains one observation creation (POST)")
    if len(devices) > 1:
        yield _error(_BUNDLE, "invalid", "Bundle must contain at most one device.")


def _entry_rules(entry: BundleEntry) -> Iterator[Issue]:
    resource, request = entry.resource, entry.request
    kind = resource.resourceType if resource is not None else ""
    method = request.method if request is not None else ""
    if not isinstance(resource, Observation | Device) or request is None or method != "POST" or request.url != kind:
        name = "" if isinstance(resource, OtherResource) and not kind.isalpha() else kind[:64]
        text = f"Resource of type {name} is not acceptable with method {method}."
        yield _error(_BUNDLE, "not-supported", text)
        return
    if isinstance(resource, Observation):
        if entry.fullUrl is None:
            yield _error(_BUNDLE, "invalid", "The Observation entry must have a fullUrl.")
    elif IF_NONE_EXIST.fullmatch(request.ifNoneExist or "") is None:
        text = "Device request must have a valid IfNoneExist attribute : identifier=urn:oid:<OID>|<DEVICE ID>"
        yield _error(_BUNDLE, "invalid", text)


def _link_rules(entry: BundleEntry, devices: list[BundleEntry]) -> Iterator[Issue]:
    observation = entry.resource
    if not isinstance(observation, Observation):
        return
    reference = observation.device.reference if observation.device is not None else None
    ids = {f"Device/{device.resource.id}" for device in devices if device.resource is not None and device.resource.id}
    if devices and reference is None:
        yield _error(_LINK, "invalid", "Observation.device.reference is mandatory.")
    elif reference is not None and reference not in ids:
        text = "Observation and device not linked by id (Observation.device.reference <-> Device.id)"
        yield _error(_LINK, "invalid", text)


def _device_rules(device: Device) -> Iterator[Issue]:
    if device.meta is None or not device.meta.profile:
        yield _error(_DEVICE, "invalid", "Device must provide meta.profile value.")


def _observation_rules(observation: Observation, solution_oid: str) -> Iterator[Issue]:
    meta = observation.meta
    if meta is None or not meta.profile:
        yield _error(_OBSERVATION, "invalid", "Observation must provide meta.profile value.")
    if meta is not None and meta.source is not None and not _is_under(meta.source, solution_oid):
        text = f"Solution oid contains in Observation.meta.source don't belong to root editor oid ({solution_oid})."
        yield _error(_OBSERVATION, "value", text)
    identifier = observation.subject.identifier if observation.subject is not None else None
    if identifier is None or not identifier.system or not identifier.value:
        yield _error(_OBSERVATION, "invalid", "Observation.subject.identifier is mandatory.")
    vital_signs = Concept(CATEGORY_SYSTEM, "vital-signs")
    if sum(vital_signs in concepts_of(category) for category in observation.category) != 1:
        yield _error(_OBSERVATION, "invalid", "Observation.category must hold vital-signs exactly once.")
    measure = measure_of(observation.code)
    if measure is None:
        yield _error(_OBSERVATION, "not-supported", "Observation.code is not a measure of this interface.")
    elif not measure.creatable:
        yield _error(_OBSERVATION, "not-supported", "Bmi observation cannot be created.")
    else:
        yield from _effective_rules(observation, measure)
        yield from _value_rules(observation, measure)
        yield from _extension_rules(observation, measure)


def _is_under(source: str, root: str) -> bool:
    oid = source.removeprefix("urn:oid:")
    return source.startswith("urn:oid:") and (oid == root or oid.startswith(f"{root}."))


def _effective_rules(observation: Observation, measure: Measure) -> Iterator[Issue]:
    moment, period = observation.effectiveDateTime, observation.effectivePeriod
    if observation.effectiveInstant is not None or (period is not None and not measure.allows_period):
        yield _error(_OBSERVATION, "invalid", "Observation.effectiveDateTime is the only time this measure accepts.")
    elif (moment is None) == (period is None):
        yield _error(_OBSERVATION, "invalid", "Observation.effectiveDateTime is mandatory.")
    elif moment is not None and len(moment) < len("2026-03-02"):
        yield _error(_OBSERVATION, "invalid", "Observation.effectiveDateTime must be precise to the day.")


def _value_rules(observation: Observation, measure: Measure) -> Iterator[Issue]:
    if measure.ucum is not None:
        yield from _quantity_rules(observation.valueQuantity, measure.ucum, measure.unit_text)
        return
    values = (
        observation.valueQuantity,
        observation.valueCodeableConcept,
        observation.valueString,
        observation.valueBoolean,
        observation.valueInteger,
    )
    if any(value is not None for value in values):
        yield _error(_OBSERVATION, "invalid", "Blood pressure has no value of its own, only components.")
    for code in measure.components:
        found = [part for part in observation.component if Concept(LOINC, code) in concepts_of(part.code)]
        if len(found) != 1:
            yield _error(_OBSERVATION, "value", _NO_VALUE)
        else:
            yield from _quantity_rules(found[0].valueQuantity, "mm[Hg]", measure.unit_text)


def _quantity_rules(quantity: Quantity | None, ucum: str, unit_text: str | None) -> Iterator[Issue]:
    if quantity is None or quantity.value is None:
        yield _error(_OBSERVATION, "value", _NO_VALUE)
        return
    if (quantity.system, quantity.code) != (UCUM, ucum):
        yield _error(_OBSERVATION, "value", f"Observation value must be in the UCUM unit {ucum}.")
    if unit_text is not None and (quantity.unit is None or (unit_text and quantity.unit != unit_text)):
        yield _error(_OBSERVATION, "value", "Observation value must carry the text of its unit.")


def _extension_rules(observation: Observation, measure: Measure) -> Iterator[Issue]:
    checks = (
        ("moment", MOMENT_URL, measure.moment, MOMENTS),
        ("numberOfDays", NUMBER_OF_DAYS_URL, measure.number_of_days, NUMBER_OF_DAYS),
    )
    for name, url, rule, allowed in checks:
        found = [extension for extension in observation.extension if extension.url == url]
        if not found and rule is True:
            yield _error(_OBSERVATION, "incomplete", f"Observation.extension.{name} is mandatory.")
        elif found and rule is False:
            yield _error(_OBSERVATION, "invalid", f"Observation.extension.{name} cannot be added.")
        elif found and rule is True:
            concepts = concepts_of(found[0].valueCodeableConcept)
            if len(found) > 1 or len(concepts) != 1 or not concepts <= allowed:
                yield _error(_OBSERVATION, "value", f"Observation.extension.{name} is not in its value set.")
