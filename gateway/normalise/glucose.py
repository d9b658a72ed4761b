"""Records of glucose meters (2A18 with 2A34) -> `Reading`s."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from decimal import Decimal

from gateway.devices.glucose import KETONE_MEAL, GlucoseContext, GlucoseMeasurement, MedicationUnit
from gateway.devices.ieee11073 import SfloatSpecial, shifted
from gateway.errors import Implausible
from gateway.model import (
    Absent,
    Bound,
    BoundKind,
    Context,
    Meal,
    Metric,
    Provenance,
    Reading,
    TimeMethod,
    TimeQuality,
)
from gateway.normalise.contact import Contact, Normalised
from gateway.normalise.quantity import to_canonical
from gateway.normalise.times import Placed, place_corrected, place_device_time, place_reception

__all__ = ["CONTEXT_MISSING", "absent_of", "bound_kinds", "glucose_readings"]

_DECODER = "gatt.2a18"
_UNTRUSTWORTHY = frozenset(
    {
        "sensor_malfunction",
        "sample_too_small",
        "strip_insertion_error",
        "strip_type_incorrect",
        "sensor_temperature_too_high",
        "sensor_temperature_too_low",
        "read_interrupted",
        "general_fault",
    }
)
_SPECIALS = {
    SfloatSpecial.NAN: Absent.NOT_A_NUMBER,
    SfloatSpecial.NRES: Absent.NOT_AT_THIS_RESOLUTION,
    SfloatSpecial.RESERVED: Absent.RESERVED,
}
_MEALS = {meal.value: meal for meal in Meal}
_NOT_SAID = "not_available"
CONTEXT_MISSING = "context_missing"
"""Status of a number that was not told because only a context that did not come could say what it is."""


def glucose_readings(
    measurement: GlucoseMeasurement,
    context: GlucoseContext | None,
    contact: Contact,
    *,
    current_offset_min: int | None = None,
    occurrence: int | None = None,
    is_undecided: bool = False,
    decoder: str = _DECODER,
    frame: int | None = None,
) -> Normalised:
    """One reading for one record of a meter, or none and the reason.

    A number is used only when no status bit speaks against it: an error bit makes it untrustworthy, a bit "result
    above / below what the device can process" or an infinity makes it a bound without a limit, and both directions at
    once are untrustworthy. The number as sent is kept as `original_value` wherever it is one. No reading at all comes
    of a negative number and of an implausible one: the caller quarantines the bytes.

    A ketone record is a problem too, and yet gives a reading: an untrustworthy one with the status `ketone` and without
    its number, so that it takes the place of a glucose that may have been stored before the context was known.

    Where the user has set the meter's clock since the record (its time offset differs from the one in force) and the
    clock was measured, the record is placed by the internal clock, which ran on: base time plus the offset in force.
    Without a measurement the time that the user saw stands.

    Where the meter would have said only in a context that is missing whether it is glucose at all (`is_undecided`), the
    reading is untrustworthy, without its number, and has the status `context_missing`; it is corrected once the context
    has come.

    A time fault leaves `device_time` as it is and the instant unknown, or at reception for a live record.

    Args:
        measurement: the record.
        context: its context, if any came, with the same sequence number; ValueError otherwise.
        contact: when and how it was received.
        current_offset_min: time offset of the meter's newest record, minutes; None when not known.
        occurrence: for a meter whose numbers name nothing: base time, number as sent and this name the record.
        is_undecided: see above.
        decoder: what has made sense of the payload.
        frame: index of the raw payload in the batch.
    """
    if context is not None and context.sequence != measurement.sequence:
        raise ValueError("the context belongs to another record")
    interstitial = measurement.sample_type == "interstitial_fluid"
    metric = Metric.GLUCOSE_INTERSTITIAL if interstitial else Metric.GLUCOSE_CAPILLARY
    is_ketone = context is not None and context.is_ketone
    is_number_withheld = is_ketone or is_undecided
    value, bound, absent = None, None, Absent.UNTRUSTWORTHY if is_number_withheld else _refusal(measurement)
    if absent is None:
        bound = _bound(measurement)
    sent = None if is_number_withheld else measurement.everyday_concentration
    if absent is None and bound is None:
        if sent is None:
            absent = absent_of(measurement.concentration)
        elif sent[0] < 0:
            return Normalised(problems=(f"{metric.value} is negative",))
        else:
            try:
                value = to_canonical(metric, *sent)
            except Implausible as error:
                return Normalised(problems=(str(error),))
    original_value, original_unit = sent if sent is not None and sent[0] >= 0 else (None, None)
    placed = _placed(measurement, contact, current_offset_min)
    described, problems = _context(measurement, context)
    if is_undecided:
        described = replace(described, status=tuple(sorted({*described.status, CONTEXT_MISSING})))
    reading = Reading(
        device_id=contact.device_id,
        epoch=contact.epoch,
        record_key=_record_key(measurement, occurrence),
        metric=metric,
        effective_at=placed.effective_at,
        utc_offset_min=placed.utc_offset_min,
        time_quality=placed.quality,
        time_method=placed.method,
        received_at=contact.received_at,
        provenance=Provenance(contact.source, decoder),
        value=value,
        bound=bound,
        absent=absent,
        original_value=original_value,
        original_unit=original_unit,
        context=described,
        device_time=measurement.user_time,
        frame=frame,
    )
    return Normalised((reading,), problems)


def _record_key(measurement: GlucoseMeasurement, occurrence: int | None) -> str:
    base_time = measurement.base_time
    when = base_time.isoformat() if base_time is not None else "unknown"
    if occurrence is None:
        return f"{measurement.sequence}@{when}"
    sent = measurement.concentration
    number = "none" if sent is None else sent.name.lower() if isinstance(sent, SfloatSpecial) else str(sent)
    return f"{when}#{number}" + (f"#{occurrence + 1}" if occurrence else "")


def bound_kinds(status: Collection[str], sent: Decimal | SfloatSpecial | None) -> frozenset[BoundKind]:
    """On which sides of the measuring range the status names and an infinity place the result; none, one, or both."""
    kinds = set()
    if "result_below_device_range" in status or sent is SfloatSpecial.NEG_INF:
        kinds.add(BoundKind.BELOW)
    if "result_above_device_range" in status or sent is SfloatSpecial.POS_INF:
        kinds.add(BoundKind.ABOVE)
    return frozenset(kinds)


def absent_of(sent: Decimal | SfloatSpecial | None) -> Absent | None:
    """Why there is no number: None for a number, and for an infinity, which is a bound."""
    if sent is None:
        return Absent.NOT_INCLUDED
    return _SPECIALS.get(sent) if isinstance(sent, SfloatSpecial) else None


def _refusal(measurement: GlucoseMeasurement) -> Absent | None:
    kinds = bound_kinds(measurement.status, measurement.concentration)
    if measurement.concentration is None and not kinds:
        return Absent.NOT_INCLUDED
    if len(kinds) > 1 or not _UNTRUSTWORTHY.isdisjoint(measurement.status):
        return Absent.UNTRUSTWORTHY
    return None


def _bound(measurement: GlucoseMeasurement) -> Bound | None:
    for kind in bound_kinds(measurement.status, measurement.concentration):
        return Bound(kind)
    return None


def _placed(measurement: GlucoseMeasurement, contact: Contact, current_offset_min: int | None) -> Placed:
    received_at, zone, is_live = contact.received_at, contact.zone, contact.is_live
    if "time_fault" in measurement.status:
        return place_reception(received_at, zone, is_live=is_live, clock_is_trusted=contact.clock_is_trusted)
    was_set_since = current_offset_min is not None and current_offset_min != measurement.time_offset_min
    if was_set_since and contact.clock_offset is not None:
        by_clock_now = replace(measurement, time_offset_min=current_offset_min).user_time
        if by_clock_now is not None:
            placed = place_corrected(by_clock_now, received_at, zone, contact.clock_offset, is_live=is_live)
            is_placed = placed.quality is TimeQuality.CORRECTED
            return placed._replace(method=TimeMethod.SEGMENT) if is_placed else placed
    return place_device_time(
        measurement.user_time,
        received_at,
        zone,
        clock_offset=contact.clock_offset,
        is_live=is_live,
        clock_is_trusted=contact.clock_is_trusted,
    )


def _context(measurement: GlucoseMeasurement, context: GlucoseContext | None) -> tuple[Context, tuple[str, ...]]:
    sample_type, sample_location = measurement.sample_type, _said(measurement.sample_location)
    if context is None:
        alone = Context(
            sample_type=sample_type,
            sample_location=sample_location,
            is_control_solution=measurement.is_control_solution,
            status=measurement.status,
        )
        return alone, ()
    problems = ["record is marked as ketone, not glucose"] if context.is_ketone else []
    status = (*measurement.status, KETONE_MEAL) if context.is_ketone else measurement.status
    is_volume = context.medication_unit is MedicationUnit.LITRE
    amount = _amount(context.medication_amount, 3 if is_volume else 6, "medication amount", problems)
    intensity_percent = context.exercise_intensity_percent
    if intensity_percent is not None and intensity_percent > 100:
        problems.append("exercise intensity is above 100 %")
        intensity_percent = None
    described = Context(
        meal=_MEALS.get(context.meal) if context.meal is not None else None,
        carbohydrate_g=_amount(context.carbohydrate_kg, 3, "carbohydrate mass", problems),
        carbohydrate_kind=context.carbohydrate_kind,
        exercise_duration_s=context.exercise_duration_s,
        exercise_intensity_percent=intensity_percent,
        medication_kind=context.medication_kind,
        medication_mg=None if is_volume else amount,
        medication_ml=amount if is_volume else None,
        hba1c_percent=_amount(context.hba1c_percent, 0, "HbA1c", problems),
        tester=_said(context.tester),
        health=_said(context.health),
        sample_type=sample_type,
        sample_location=sample_location,
        is_control_solution=measurement.is_control_solution,
        status=tuple(sorted(status)),
    )
    return described, tuple(problems)


def _amount(sent: Decimal | SfloatSpecial | None, places: int, what: str, problems: list[str]) -> Decimal | None:
    """`sent` x 10^places; None where there is no number, with a problem where it is negative."""
    if not isinstance(sent, Decimal):
        return None
    if sent < 0:
        problems.append(f"{what} is negative")
        return None
    return shifted(sent, places)


def _said(word: str | None) -> str | None:
    return None if word == _NOT_SAID else word
