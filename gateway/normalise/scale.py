"""Scale measurements -> readings.

One weigh-in may arrive twice: as a weight (2A9D) and inside a body composition (2A9C). Both give the body mass the same
record key, built from the scale's time stamp, the user and the weight as sent, and the same content, so that the pair
is one reading and neither looks like a correction of the other. Where the two do not say the same of time and user,
whoever hears both gives them one `weigh_in` name. Which characteristic spoke is kept with the raw frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from gateway.devices.body_composition import BodyCompositionMeasurement
from gateway.devices.weight_scale import WeightMeasurement
from gateway.errors import Implausible
from gateway.model import Absent, Context, Metric, Provenance, Reading, Unit
from gateway.normalise.contact import Contact, Normalised
from gateway.normalise.quantity import to_canonical
from gateway.normalise.times import Placed, place_device_time

__all__ = ["body_composition_readings", "weigh_in_name", "weight_readings"]

_DECODER = "gatt.scale"


def weigh_in_name(time_stamp: datetime | None, user_index: int | None, received_at: datetime) -> str:
    """What the readings of a weigh-in share, from the scale's own words, or from the reception without a time stamp."""
    stamp = f"rx-{received_at.isoformat()}" if time_stamp is None else time_stamp.isoformat()
    return f"{stamp}#{'-' if user_index is None else user_index}"


def weight_readings(
    measurement: WeightMeasurement, contact: Contact, *, weigh_in: str | None = None, frame: int | None = None
) -> Normalised:
    """Body mass, and body mass index and height where sent.

    A failed measurement gives one body mass that is absent (`unsuccessful`). A field outside its plausible range
    becomes a problem and the others are kept.

    Args:
        weigh_in: name of the weigh-in where it is not `weigh_in_name` of this measurement.
        frame: index of the raw payload in the batch.
    """
    collected = _WeighIn.of(measurement.time_stamp, measurement.user_index, contact, weigh_in, frame)
    collected.add_mass(measurement.weight, measurement.weight_unit, measurement.raw_weight)
    if measurement.weight is not None:
        collected.add(Metric.BODY_MASS_INDEX, measurement.bmi_kg_m2, Unit.KG_M2, is_device_derived=True)
        collected.add(Metric.BODY_HEIGHT, measurement.height, measurement.height_unit)
    return collected.normalised()


def body_composition_readings(
    measurement: BodyCompositionMeasurement, contact: Contact, *, weigh_in: str | None = None, frame: int | None = None
) -> Normalised:
    """Everything that one body composition measurement holds; joined packets come here as one measurement.

    What the maker's formula computes (fat, muscle, lean and water masses, basal metabolism) is marked device-derived;
    weight, height and impedance are not. A failed body-fat measurement gives an absent reading (`unsuccessful`). A
    field outside its plausible range becomes a problem and the others are kept.

    Args:
        weigh_in: name of the weigh-in where it is not `weigh_in_name` of this measurement.
        frame: index of the raw payload in the batch.
    """
    mass_unit = measurement.mass_unit
    collected = _WeighIn.of(measurement.time_stamp, measurement.user_index, contact, weigh_in, frame)
    if measurement.raw_weight is not None:
        collected.add_mass(measurement.weight, mass_unit, measurement.raw_weight)
    if measurement.body_fat_percent is None:
        collected.add_unsuccessful(Metric.BODY_FAT_PERCENTAGE, collected.key)
    for metric, value, unit in (
        (Metric.BODY_FAT_PERCENTAGE, measurement.body_fat_percent, Unit.PERCENT),
        (Metric.BASAL_METABOLISM, measurement.basal_metabolism_kj, Unit.KJ),
        (Metric.MUSCLE_PERCENTAGE, measurement.muscle_percent, Unit.PERCENT),
        (Metric.MUSCLE_MASS, measurement.muscle_mass, mass_unit),
        (Metric.FAT_FREE_MASS, measurement.fat_free_mass, mass_unit),
        (Metric.SOFT_LEAN_MASS, measurement.soft_lean_mass, mass_unit),
        (Metric.BODY_WATER_MASS, measurement.body_water_mass, mass_unit),
    ):
        collected.add(metric, value, unit, is_device_derived=True)
    collected.add(Metric.IMPEDANCE, measurement.impedance_ohm, Unit.OHM)
    collected.add(Metric.BODY_HEIGHT, measurement.height, measurement.height_unit)
    return collected.normalised()


@dataclass(slots=True)
class _WeighIn:
    """Collects the readings of one weigh-in; `key` is what they share."""

    key: str
    contact: Contact
    user_index: int | None
    device_time: datetime | None
    placed: Placed
    provenance: Provenance
    frame: int | None
    readings: list[Reading] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        time_stamp: datetime | None,
        user_index: int | None,
        contact: Contact,
        name: str | None,
        frame: int | None,
    ) -> _WeighIn:
        """Key and instant from the scale's own words, or from the reception where it gave no time."""
        placed = place_device_time(
            time_stamp,
            contact.received_at,
            contact.zone,
            clock_offset=contact.clock_offset,
            is_live=contact.is_live,
            clock_is_trusted=contact.clock_is_trusted,
        )
        return cls(
            key=name if name is not None else weigh_in_name(time_stamp, user_index, contact.received_at),
            contact=contact,
            user_index=user_index,
            device_time=time_stamp,
            placed=placed,
            provenance=Provenance(contact.source, _DECODER),
            frame=frame,
        )

    def add_mass(self, weight: Decimal | None, unit: Unit, raw_weight: int) -> None:
        record_key = f"{self.key}#{raw_weight}"
        if weight is None:
            self.add_unsuccessful(Metric.BODY_MASS, record_key)
        else:
            self.add(Metric.BODY_MASS, weight, unit, record_key=record_key)

    def add_unsuccessful(self, metric: Metric, record_key: str) -> None:
        is_derived = metric is not Metric.BODY_MASS
        self._append(metric, record_key, is_derived, absent=Absent.UNSUCCESSFUL)

    def add(
        self,
        metric: Metric,
        value: Decimal | None,
        unit: Unit,
        *,
        record_key: str | None = None,
        is_device_derived: bool = False,
    ) -> None:
        if value is None:
            return
        try:
            canonical = to_canonical(metric, value, unit)
        except Implausible as error:
            self.problems.append(str(error))
        else:
            self._append(metric, record_key or self.key, is_device_derived, value=canonical, sent=(value, unit))

    def normalised(self) -> Normalised:
        return Normalised(tuple(self.readings), tuple(self.problems))

    def _append(
        self,
        metric: Metric,
        record_key: str,
        is_device_derived: bool,
        *,
        value: Decimal | None = None,
        sent: tuple[Decimal, Unit] | tuple[None, None] = (None, None),
        absent: Absent | None = None,
    ) -> None:
        self.readings.append(
            Reading(
                device_id=self.contact.device_id,
                epoch=self.contact.epoch,
                record_key=record_key,
                metric=metric,
                effective_at=self.placed.effective_at,
                utc_offset_min=self.placed.utc_offset_min,
                time_quality=self.placed.quality,
                time_method=self.placed.method,
                received_at=self.contact.received_at,
                provenance=self.provenance,
                value=value,
                absent=absent,
                original_value=sent[0],
                original_unit=sent[1],
                context=Context(user_index=self.user_index, weigh_in=self.key, is_device_derived=is_device_derived),
                device_time=self.device_time,
                frame=self.frame,
            )
        )
