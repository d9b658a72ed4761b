"""Readings and period figures -> one transaction bundle per measure. One Observation, and the device it came from.

Values keep what the device said:

* weight: exactly the device's kilograms; from pounds or jin the exact product, at most 3 decimals, half to even;
* capillary glucose: exactly the device's mg/dL; from mmol/L or g/L whole mg/dL, half up;
* a number with more than 6 decimals is no device's resolution and is rounded like a converted one;
* period mean: whole mg/dL, half up; GMI: one decimal, half up.

Source: API Mesures 1.5.2, chapters on writing a measure and on glucose; JDV_J154, J157, J164.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

from gateway.errors import PermanentError
from gateway.fhir.mes.context import MesContext
from gateway.fhir.mes.device import NAMESPACE, device_entry, phd_device, system_identifier
from gateway.fhir.r4 import (
    Bundle,
    BundleEntry,
    BundleRequest,
    CodeableConcept,
    Coding,
    Extension,
    Identifier,
    Meta,
    Observation,
    Quantity,
    Reference,
    format_datetime,
)
from gateway.fhir.terminology import (
    ANS_TERMS,
    CATEGORY_SYSTEM,
    LOINC,
    MOMENT_AFTER_EXERCISE,
    MOMENT_OF_MEAL,
    MOMENT_OTHER,
    MOMENT_URL,
    NUMBER_OF_DAYS_OTHER,
    NUMBER_OF_DAYS_URL,
    REASON_URL,
    UCUM,
    Concept,
    number_of_days_code,
)
from gateway.model import Device, GlucosePeriod, Metric, Reading, TimeConfidence, TimeQuality, Unit

__all__ = [
    "MIN_GMI_DAYS",
    "NotForSpace",
    "capillary_glucose_bundle",
    "gmi_bundle",
    "interstitial_mean_bundle",
    "leaves",
    "moment_of",
    "weight_bundle",
    "why_not",
]

MIN_GMI_DAYS = 14
_MAX_SENT_DECIMALS = 6
_HARMLESS_STATUS = frozenset({"battery_low"})
_BODY_MASS = Concept(LOINC, "29463-7")
_GLUCOSE = Concept(LOINC, "2345-7")
_MEAN_2024 = Concept(ANS_TERMS, "MED-969")
_MEAN_2025 = Concept(LOINC, "99504-3")
_GMI = Concept(ANS_TERMS, "MED-972")
_MEAN = {"2024": (_MEAN_2024,), "2025": (_MEAN_2025,), "both": (_MEAN_2025, _MEAN_2024)}
_UNCERTAIN = frozenset({TimeConfidence.LOW, TimeConfidence.NONE})
_LEAVING = frozenset({Metric.BODY_MASS, Metric.GLUCOSE_CAPILLARY})


class NotForSpace(PermanentError):
    """A reading or figure that must not leave was asked to be mapped; `reason` is the word of `why_not`."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"not for the health space: {reason}")
        self.reason = reason


def why_not(reading: Reading) -> str | None:
    """Why `reading` stays at home, as one word; None when it may leave.

    `metric`: the space has no place for it (BMI, which it computes itself, body composition, single sensor readings);
    `absent`, `bound`: no number; `control_solution`; `status`: the meter flagged its own test; `time_unknown`;
    `time_estimated`: only its neighbours say when; `implausible`.
    """
    if reading.metric not in _LEAVING:
        return "metric"
    if reading.bound is not None:
        return "bound"
    if reading.value is None:
        return "absent"
    context = reading.context
    if context.is_control_solution or any(
        "control" in (text or "") for text in (context.sample_type, context.sample_location)
    ):
        return "control_solution"
    if reading.metric is Metric.GLUCOSE_CAPILLARY and not _HARMLESS_STATUS.issuperset(context.status):
        return "status"
    if reading.time_quality is TimeQuality.UNKNOWN:
        return "time_unknown"
    if reading.time_method is not None and reading.time_method.confidence in _UNCERTAIN:
        return "time_estimated"
    return None if reading.metric.info.is_plausible(reading.value) else "implausible"


def leaves(reading: Reading) -> bool:
    """Whether `reading` may leave for the space at all; consent is another question."""
    return why_not(reading) is None


def moment_of(reading: Reading) -> Concept:
    """The JDV_J157 moment of a capillary test: by its meal, else after exercise when one was recorded, else "other"."""
    context = reading.context
    if context.meal is not None:
        return MOMENT_OF_MEAL[context.meal]
    exercised = (context.exercise_duration_s or 0) > 0 or (context.exercise_intensity_percent or 0) > 0
    return MOMENT_AFTER_EXERCISE if exercised else MOMENT_OTHER


def weight_bundle(reading: Reading, device: Device, context: MesContext) -> Bundle:
    """Body mass. Raises NotForSpace."""
    value = _value(reading, Metric.BODY_MASS)
    most = _MAX_SENT_DECIMALS if reading.original_unit is Unit.KG else 3
    mass_kg = value if _decimals(value) <= most else value.quantize(Decimal("0.001"), ROUND_HALF_EVEN)
    observation = _observation(
        context,
        profile=context.profiles.body_mass,
        codes=(_BODY_MASS,),
        effective=format_datetime(reading.effective_at, reading.utc_offset_min),
        quantity=_quantity(mass_kg, "kg"),
    )
    return _transaction(f"reading|{reading.key}", observation, device, context)


def capillary_glucose_bundle(reading: Reading, device: Device, context: MesContext) -> Bundle:
    """A finger-prick test with its moment. Raises NotForSpace."""
    value = _value(reading, Metric.GLUCOSE_CAPILLARY)
    as_sent = reading.original_unit is Unit.MG_DL and _decimals(value) <= _MAX_SENT_DECIMALS
    glucose_mg_dl = value if as_sent else value.quantize(Decimal(1), ROUND_HALF_UP)
    observation = _observation(
        context,
        profile=context.profiles.glucose,
        codes=(_GLUCOSE,),
        effective=format_datetime(reading.effective_at, reading.utc_offset_min),
        quantity=_quantity(glucose_mg_dl, "mg/dL"),
        extensions=(_coded(MOMENT_URL, context.coding(moment_of(reading))),),
    )
    return _transaction(f"reading|{reading.key}", observation, device, context)


def interstitial_mean_bundle(
    period: GlucosePeriod, device: Device | None, context: MesContext, *, effective_at: datetime
) -> Bundle:
    """Mean interstitial glucose of a closed period.

    Args:
        period: with data.
        device: the sensor; None when it is not known any more.
        context: whose account.
        effective_at: the end of the period, aware; written with its own UTC offset, so pass it in the person's zone.

    Raises:
        NotForSpace: the period holds no data.
    """
    if period.mean_mg_dl is None or period.count == 0:
        raise NotForSpace("absent")
    quantity = _quantity(period.mean_mg_dl.quantize(Decimal(1), ROUND_HALF_UP), "mg/dL")
    return _indicator("glucose_mean", _MEAN[context.terminology], quantity, period, device, context, effective_at)


def gmi_bundle(period: GlucosePeriod, device: Device | None, context: MesContext, *, effective_at: datetime) -> Bundle:
    """Glucose Management Indicator of a closed period; arguments as `interstitial_mean_bundle`.

    Raises:
        NotForSpace: fewer than 14 days, or not enough data for the indicator.
    """
    if period.gmi_percent is None or not period.is_sufficient or period.days < MIN_GMI_DAYS:
        raise NotForSpace("insufficient")
    quantity = _quantity(period.gmi_percent.quantize(Decimal("0.1"), ROUND_HALF_UP), "%")
    return _indicator("gmi", (_GMI,), quantity, period, device, context, effective_at)


def _value(reading: Reading, metric: Metric) -> Decimal:
    reason = why_not(reading) if reading.metric is metric else "metric"
    if reason is not None or reading.value is None:
        raise NotForSpace(reason or "absent")
    return reading.value


def _decimals(value: Decimal) -> int:
    return max(0, -int(value.as_tuple().exponent))


def _quantity(value: Decimal, ucum: str) -> Quantity:
    return Quantity(value=value, unit=ucum, system=UCUM, code=ucum)


def _coded(url: str, coding: Coding) -> Extension:
    return Extension(url=url, valueCodeableConcept=CodeableConcept(coding=(coding,)))


def _indicator(
    name: str,
    codes: tuple[Concept, ...],
    quantity: Quantity,
    period: GlucosePeriod,
    device: Device | None,
    context: MesContext,
    effective_at: datetime,
) -> Bundle:
    offset = effective_at.utcoffset()
    if offset is None:
        raise ValueError("effective_at must be aware")
    days = number_of_days_code(period.days)
    extensions = [_coded(NUMBER_OF_DAYS_URL, context.coding(days))]
    if days == NUMBER_OF_DAYS_OTHER:
        extensions.insert(0, Extension(url=REASON_URL, valueString=f"{period.days} jours"))
    observation = _observation(
        context,
        profile=context.profiles.glucose,
        codes=codes,
        effective=format_datetime(effective_at, round(offset.total_seconds() / 60)),
        quantity=quantity,
        extensions=tuple(extensions),
    )
    fact = f"{name}|{period.person_id}|{period.first_day}|{period.last_day}"
    return _transaction(fact, observation, device, context)


def _observation(
    context: MesContext,
    *,
    profile: str,
    codes: tuple[Concept, ...],
    effective: str,
    quantity: Quantity,
    extensions: tuple[Extension, ...] = (),
) -> Observation:
    return Observation(
        meta=Meta(source=context.source, profile=(profile,)),
        extension=extensions,
        status="final",
        category=(CodeableConcept(coding=(Coding(system=CATEGORY_SYSTEM, code="vital-signs"),)),),
        code=CodeableConcept(coding=tuple(context.coding(code) for code in codes)),
        subject=Reference(identifier=Identifier(system=context.patient_system, value=context.patient_id)),
        effectiveDateTime=effective,
        valueQuantity=quantity,
    )


def _transaction(fact: str, observation: Observation, device: Device | None, context: MesContext) -> Bundle:
    """The bundle; its UUIDs depend on the fact, the account and the device only: mapping again changes nothing."""
    entries: list[BundleEntry] = []
    if device is not None:
        resource = phd_device(device, context)
        observation = observation.model_copy(update={"device": Reference(reference=f"Device/{resource.id}")})
        entries.append(device_entry(resource, system_identifier(device, context)))
    name = f"observation|{context.patient_authority_oid}|{context.patient_id}|{fact}"
    entries.insert(
        0,
        BundleEntry(
            fullUrl=f"urn:uuid:{uuid.uuid5(NAMESPACE, name)}",
            resource=observation,
            request=BundleRequest(method="POST", url="Observation"),
        ),
    )
    return Bundle(type="transaction", entry=tuple(entries))
