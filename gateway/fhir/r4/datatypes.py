"""The FHIR R4 datatypes that the subset uses. Source: FHIR R4 4.0.1, Data Types."""

# ruff: noqa: N815  (attribute names are exactly those of the standard)

from __future__ import annotations

from typing import Literal

from gateway.fhir.r4.base import (
    Code,
    FhirBoolean,
    FhirDateTime,
    FhirDecimal,
    FhirInstant,
    FhirInteger,
    FhirModel,
    FhirString,
    FhirUri,
)

__all__ = [
    "Annotation",
    "CodeableConcept",
    "Coding",
    "Extension",
    "Identifier",
    "Meta",
    "Narrative",
    "Period",
    "Quantity",
    "Range",
    "Reference",
]


class Element(FhirModel):
    """Base of the datatypes."""

    id: FhirString | None = None
    extension: tuple[Extension, ...] = ()


class Period(Element):
    """A span of time, both ends inclusive."""

    start: FhirDateTime | None = None
    end: FhirDateTime | None = None


class Coding(Element):
    """One code of one code system."""

    system: FhirUri | None = None
    version: FhirString | None = None
    code: Code | None = None
    display: FhirString | None = None
    userSelected: FhirBoolean | None = None


class CodeableConcept(Element):
    """A concept: codings that mean the same, and text."""

    coding: tuple[Coding, ...] = ()
    text: FhirString | None = None


class Quantity(Element):
    """A measured amount; `code` is UCUM when `system` says so."""

    value: FhirDecimal | None = None
    comparator: Literal["<", "<=", ">=", ">"] | None = None
    unit: FhirString | None = None
    system: FhirUri | None = None
    code: Code | None = None


class Range(Element):
    """Low and high ends of a range."""

    low: Quantity | None = None
    high: Quantity | None = None


class Identifier(Element):
    """A business identifier: a value unique in its system."""

    use: Literal["usual", "official", "temp", "secondary", "old"] | None = None
    type: CodeableConcept | None = None
    system: FhirUri | None = None
    value: FhirString | None = None
    period: Period | None = None
    assigner: Reference | None = None


class Reference(Element):
    """A pointer to another resource, literal (`reference`) or logical (`identifier`)."""

    reference: FhirString | None = None
    type: FhirUri | None = None
    identifier: Identifier | None = None
    display: FhirString | None = None


class Extension(FhirModel):
    """An extension with one of the value types that measures use, or nested extensions."""

    id: FhirString | None = None
    extension: tuple[Extension, ...] = ()
    url: FhirUri
    valueString: FhirString | None = None
    valueBoolean: FhirBoolean | None = None
    valueInteger: FhirInteger | None = None
    valueDecimal: FhirDecimal | None = None
    valueCode: Code | None = None
    valueUri: FhirUri | None = None
    valueDateTime: FhirDateTime | None = None
    valueCoding: Coding | None = None
    valueCodeableConcept: CodeableConcept | None = None
    valueQuantity: Quantity | None = None
    valueIdentifier: Identifier | None = None
    valueReference: Reference | None = None
    valuePeriod: Period | None = None


class Meta(Element):
    """What a server or sender says about a resource."""

    versionId: FhirString | None = None
    lastUpdated: FhirInstant | None = None
    source: FhirUri | None = None
    profile: tuple[FhirUri, ...] = ()
    security: tuple[Coding, ...] = ()
    tag: tuple[Coding, ...] = ()


class Narrative(Element):
    """Text for people."""

    status: Literal["generated", "extensions", "additional", "empty"]
    div: FhirString


class Annotation(Element):
    """A comment."""

    authorString: FhirString | None = None
    authorReference: Reference | None = None
    time: FhirDateTime | None = None
    text: FhirString


_MODELS: tuple[type[FhirModel], ...] = (
    Element,
    Period,
    Coding,
    CodeableConcept,
    Quantity,
    Range,
    Identifier,
    Reference,
    Extension,
    Meta,
    Narrative,
    Annotation,
)
for _model in _MODELS:
    _model.model_rebuild()
