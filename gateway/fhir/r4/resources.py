"""The FHIR R4 resources of the subset. Source: FHIR R4 4.0.1; elements a measure never uses are left out."""

# ruff: noqa: N815  (attribute names are exactly those of the standard)

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Tag

from gateway.fhir.r4.base import (
    Code,
    FhirBoolean,
    FhirDateTime,
    FhirDecimal,
    FhirId,
    FhirInstant,
    FhirInteger,
    FhirModel,
    FhirString,
    FhirUri,
    UnsignedInt,
)
from gateway.fhir.r4.datatypes import (
    Annotation,
    CodeableConcept,
    Extension,
    Identifier,
    Meta,
    Narrative,
    Period,
    Quantity,
    Range,
    Reference,
)

__all__ = [
    "AnyResource",
    "Bundle",
    "BundleEntry",
    "BundleLink",
    "BundleRequest",
    "BundleResponse",
    "BundleSearch",
    "BundleType",
    "Device",
    "DeviceName",
    "DeviceProperty",
    "DeviceSpecialization",
    "DeviceVersion",
    "HttpVerb",
    "IssueSeverity",
    "Observation",
    "ObservationComponent",
    "ObservationReferenceRange",
    "ObservationStatus",
    "OperationOutcome",
    "OperationOutcomeIssue",
    "OtherResource",
    "Patient",
    "Resource",
]

ObservationStatus = Literal[
    "registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown"
]
HttpVerb = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]
BundleType = Literal[
    "document",
    "message",
    "transaction",
    "transaction-response",
    "batch",
    "batch-response",
    "history",
    "searchset",
    "collection",
]
IssueSeverity = Literal["fatal", "error", "warning", "information"]


class Backbone(FhirModel):
    """Base of the inner elements of a resource."""

    id: FhirString | None = None
    extension: tuple[Extension, ...] = ()
    modifierExtension: tuple[Extension, ...] = ()


class Resource(FhirModel):
    """What every resource has."""

    resourceType: str
    id: FhirId | None = None
    meta: Meta | None = None
    implicitRules: FhirUri | None = None
    language: Code | None = None


class DomainResource(Resource):
    """A resource with text and extensions."""

    text: Narrative | None = None
    extension: tuple[Extension, ...] = ()
    modifierExtension: tuple[Extension, ...] = ()


class OtherResource(Resource):
    """A resource type outside the subset: its name is known, its elements are kept as they came."""

    model_config = ConfigDict(extra="allow", frozen=True)


class ObservationReferenceRange(Backbone):
    """Guide on reading the value."""

    low: Quantity | None = None
    high: Quantity | None = None
    type: CodeableConcept | None = None
    appliesTo: tuple[CodeableConcept, ...] = ()
    age: Range | None = None
    text: FhirString | None = None


class ObservationComponent(Backbone):
    """One part of a measure that has several values, such as blood pressure."""

    code: CodeableConcept
    valueQuantity: Quantity | None = None
    valueCodeableConcept: CodeableConcept | None = None
    valueString: FhirString | None = None
    dataAbsentReason: CodeableConcept | None = None
    interpretation: tuple[CodeableConcept, ...] = ()
    referenceRange: tuple[ObservationReferenceRange, ...] = ()


class Observation(DomainResource):
    """One measurement."""

    resourceType: Literal["Observation"] = "Observation"
    identifier: tuple[Identifier, ...] = ()
    basedOn: tuple[Reference, ...] = ()
    partOf: tuple[Reference, ...] = ()
    status: ObservationStatus
    category: tuple[CodeableConcept, ...] = ()
    code: CodeableConcept
    subject: Reference | None = None
    focus: tuple[Reference, ...] = ()
    encounter: Reference | None = None
    effectiveDateTime: FhirDateTime | None = None
    effectivePeriod: Period | None = None
    effectiveInstant: FhirInstant | None = None
    issued: FhirInstant | None = None
    performer: tuple[Reference, ...] = ()
    valueQuantity: Quantity | None = None
    valueCodeableConcept: CodeableConcept | None = None
    valueString: FhirString | None = None
    valueBoolean: FhirBoolean | None = None
    valueInteger: FhirInteger | None = None
    dataAbsentReason: CodeableConcept | None = None
    interpretation: tuple[CodeableConcept, ...] = ()
    note: tuple[Annotation, ...] = ()
    bodySite: CodeableConcept | None = None
    method: CodeableConcept | None = None
    specimen: Reference | None = None
    device: Reference | None = None
    referenceRange: tuple[ObservationReferenceRange, ...] = ()
    hasMember: tuple[Reference, ...] = ()
    derivedFrom: tuple[Reference, ...] = ()
    component: tuple[ObservationComponent, ...] = ()


class DeviceName(Backbone):
    """A name of the device and who gave it."""

    name: FhirString
    type: Literal[
        "udi-label-name", "user-friendly-name", "patient-reported-name", "manufacturer-name", "model-name", "other"
    ]


class DeviceSpecialization(Backbone):
    """An IEEE 11073-104xx specialisation that the device follows."""

    systemType: CodeableConcept
    version: FhirString | None = None


class DeviceVersion(Backbone):
    """A hardware, software or firmware version."""

    type: CodeableConcept | None = None
    component: Identifier | None = None
    value: FhirString


class DeviceProperty(Backbone):
    """A configuration value of the device."""

    type: CodeableConcept
    valueQuantity: tuple[Quantity, ...] = ()
    valueCode: tuple[CodeableConcept, ...] = ()


class Device(DomainResource):
    """The device that measured."""

    resourceType: Literal["Device"] = "Device"
    identifier: tuple[Identifier, ...] = ()
    definition: Reference | None = None
    status: Literal["active", "inactive", "entered-in-error", "unknown"] | None = None
    statusReason: tuple[CodeableConcept, ...] = ()
    distinctIdentifier: FhirString | None = None
    manufacturer: FhirString | None = None
    manufactureDate: FhirDateTime | None = None
    expirationDate: FhirDateTime | None = None
    lotNumber: FhirString | None = None
    serialNumber: FhirString | None = None
    deviceName: tuple[DeviceName, ...] = ()
    modelNumber: FhirString | None = None
    partNumber: FhirString | None = None
    type: CodeableConcept | None = None
    specialization: tuple[DeviceSpecialization, ...] = ()
    version: tuple[DeviceVersion, ...] = ()
    property: tuple[DeviceProperty, ...] = ()
    patient: Reference | None = None
    owner: Reference | None = None
    location: Reference | None = None
    url: FhirUri | None = None
    note: tuple[Annotation, ...] = ()
    parent: Reference | None = None


class Patient(DomainResource):
    """A patient by identifier only: the gateway sends no civil identity."""

    resourceType: Literal["Patient"] = "Patient"
    identifier: tuple[Identifier, ...] = ()
    active: FhirBoolean | None = None


class OperationOutcomeIssue(Backbone):
    """One finding."""

    severity: IssueSeverity
    code: Code
    details: CodeableConcept | None = None
    diagnostics: FhirString | None = None
    location: tuple[FhirString, ...] = ()
    expression: tuple[FhirString, ...] = ()


class OperationOutcome(DomainResource):
    """What a server found wrong, or right."""

    resourceType: Literal["OperationOutcome"] = "OperationOutcome"
    issue: tuple[OperationOutcomeIssue, ...] = ()


class BundleLink(Backbone):
    """`self`, `next`, `previous`."""

    relation: FhirString
    url: FhirUri


class BundleRequest(Backbone):
    """What to do with an entry of a transaction."""

    method: HttpVerb
    url: FhirUri
    ifNoneMatch: FhirString | None = None
    ifModifiedSince: FhirInstant | None = None
    ifMatch: FhirString | None = None
    ifNoneExist: FhirString | None = None


class BundleSearch(Backbone):
    """Why an entry is in a searchset."""

    mode: Literal["match", "include", "outcome"] | None = None
    score: FhirDecimal | None = None


class BundleResponse(Backbone):
    """What the server did with the entry in the same place of the request."""

    status: FhirString
    location: FhirUri | None = None
    etag: FhirString | None = None
    lastModified: FhirInstant | None = None
    outcome: AnyResource | None = None


class BundleEntry(Backbone):
    """One resource in a bundle, with its request, response or search information."""

    link: tuple[BundleLink, ...] = ()
    fullUrl: FhirUri | None = None
    resource: AnyResource | None = None
    search: BundleSearch | None = None
    request: BundleRequest | None = None
    response: BundleResponse | None = None


class Bundle(Resource):
    """A set of resources: transaction, answer, search result."""

    resourceType: Literal["Bundle"] = "Bundle"
    identifier: Identifier | None = None
    type: BundleType
    timestamp: FhirInstant | None = None
    total: UnsignedInt | None = None
    link: tuple[BundleLink, ...] = ()
    entry: tuple[BundleEntry, ...] = ()


_KNOWN = frozenset({"Observation", "Device", "Patient", "OperationOutcome", "Bundle"})


def _tag(value: Any) -> str:
    name = value.get("resourceType") if isinstance(value, dict) else getattr(value, "resourceType", None)
    return name if isinstance(name, str) and name in _KNOWN else "OtherResource"


AnyResource = Annotated[
    Annotated[Observation, Tag("Observation")]
    | Annotated[Device, Tag("Device")]
    | Annotated[Patient, Tag("Patient")]
    | Annotated[OperationOutcome, Tag("OperationOutcome")]
    | Annotated[Bundle, Tag("Bundle")]
    | Annotated[OtherResource, Tag("OtherResource")],
    Discriminator(_tag),
]
"""Any resource: one of the subset by its `resourceType`, else an `OtherResource`."""

for _model in (BundleResponse, BundleEntry, Bundle):
    _model.model_rebuild()
