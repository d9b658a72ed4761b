"""Blood pressures, temperatures, saturations and heart rates -> readings.

The readings of one measurement (both pressures, their mean and the pulse; a saturation and its pulse) share their
record key, which is what the device said: its time stamp, the user and the values on the wire. Without a time stamp the
measurement was made just now, and its reception names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from gateway.devices.blood_pressure import BloodPressureMeasurement
from gateway.devices.heart_rate import HeartRateMeasurement
from gateway.devices.ieee11073 import FloatSpecial, SfloatSpecial, shifted
from gateway.devices.pulse_oximeter import OximetryPair, PlxContinuousMeasurement, PlxFeatures, PlxSpotCheck
from gateway.devices.thermometer import TemperatureMeasurement
from gateway.errors import Implausible
from gateway.model import Absent, Bound, BoundKind, Context, Metric, Provenance, Reading, Unit
from gateway.normalise.contact import Contact, Normalised
from gateway.normalise.quantity import to_canonical
from gateway.normalise.times import Placed, place_device_time, place_reception

__all__ = [
    "blood_pressure_readings",
    "continuous_oximetry_readings",
    "heart_rate_readings",
    "live_value",
    "spot_check_readings",
    "temperature_readings",
]

_Sent = Decimal | SfloatSpecial | FloatSpecial
_ABSENT: Final = {
    "NAN": Absent.NOT_A_NUMBER,
    "NRES": Absent.NOT_AT_THIS_RESOLUTION,
    "RESERVED": Absent.RESERVED,
}
_BOUNDS: Final = {"POS_INF": BoundKind.ABOVE, "NEG_INF": BoundKind.BELOW}
_VALID: Final = frozenset({"validated_data", "fully_qualified_data"})
_INVALID: Final = frozenset(
    {
        "early_estimated_data",
        "demonstration_data",
        "testing_data",
        "calibration_ongoing",
        "measurement_unavailable",
        "questionable_measurement",
        "invalid_measurement",
    }
)
_FAULTS: Final = frozenset(
    {
        "equipment_malfunction",
        "inadequate_signal",
        "nonpulsatile_signal",
        "questionable_pulse",
        "sensor_unconnected_to_user",
        "sensor_displaced",
        "sensor_malfunction",
        "sensor_disconnected",
    }
)


def blood_pressure_readings(
    measurement: BloodPressureMeasurement, contact: Contact, *, frame: int | None = None
) -> Normalised:
    """Both pressures, and mean and pulse where they are numbers above 0.

    A failed measurement gives both pressures as absent (`unsuccessful`) and nothing else. A status (movement, loose
    cuff, irregular pulse...) does not touch the values: the cuff gave them as its result; its words are kept with them.
    A field outside its plausible range becomes a problem and the others are kept, but a diastolic pressure that is not
    below the systolic one spoils both.

    Args:
        measurement: what was sent.
        contact: when and how it was received.
        frame: index of the raw payload in the batch.
    """
    words = "".join(f"{word:04x}" for word in measurement.raw)
    collected = _Record.of(
        "gatt.2a35",
        measurement.time_stamp,
        contact,
        is_time_sent=measurement.is_time_sent,
        named=f"{'-' if measurement.user_index is None else measurement.user_index}#{words}",
        context=Context(user_index=measurement.user_index, status=measurement.status),
        frame=frame,
    )
    if measurement.is_unsuccessful:
        for metric in (Metric.BLOOD_PRESSURE_SYSTOLIC, Metric.BLOOD_PRESSURE_DIASTOLIC):
            collected.put(metric, absent=Absent.UNSUCCESSFUL)
        return collected.normalised()
    systolic, diastolic = measurement.systolic, measurement.diastolic
    if isinstance(systolic, Decimal) and isinstance(diastolic, Decimal) and diastolic >= systolic:
        return Normalised(problems=("diastolic pressure is not below systolic",))
    collected.add(Metric.BLOOD_PRESSURE_SYSTOLIC, systolic, measurement.unit)
    collected.add(Metric.BLOOD_PRESSURE_DIASTOLIC, diastolic, measurement.unit)
    collected.add_if_number(Metric.BLOOD_PRESSURE_MEAN, measurement.mean, measurement.unit)
    collected.add_if_number(Metric.HEART_RATE, measurement.pulse_per_min, Unit.PER_MIN)
    return collected.normalised()


def temperature_readings(
    measurement: TemperatureMeasurement, contact: Contact, *, site: str | None = None, frame: int | None = None
) -> Normalised:
    """One body temperature. `site`: where the thermometer always measures, used where the measurement does not say."""
    collected = _Record.of(
        "gatt.2a1c",
        measurement.time_stamp,
        contact,
        is_time_sent=measurement.is_time_sent,
        named=f"{measurement.raw:08x}",
        context=Context(sample_location=measurement.site or site),
        frame=frame,
    )
    collected.add(Metric.BODY_TEMPERATURE, measurement.temperature, measurement.unit)
    return collected.normalised()


def heart_rate_readings(
    measurement: HeartRateMeasurement, contact: Contact, *, site: str | None = None, frame: int | None = None
) -> Normalised:
    """One heart rate, made at reception; none for a sensor that has found no pulse or is not worn."""
    if not measurement.is_usable:
        return Normalised()
    collected = _Record.of(
        "gatt.2a37",
        None,
        contact,
        is_time_sent=False,
        named=str(measurement.heart_rate_per_min),
        context=Context(sample_location=site),
        frame=frame,
    )
    collected.add(Metric.HEART_RATE, Decimal(measurement.heart_rate_per_min), Unit.PER_MIN)
    return collected.normalised()


def spot_check_readings(
    check: PlxSpotCheck, contact: Contact, *, features: PlxFeatures | None = None, frame: int | None = None
) -> Normalised:
    """Saturation, and the pulse where it is a number above 0. A result that the oximeter doubts is untrustworthy.

    A time stamp of a clock that nobody has set counts only with the offset measured at contact.

    Args:
        check: what was sent.
        contact: when and how it was received.
        features: what the oximeter can say about its results; None when not known.
        frame: index of the raw payload in the batch.
    """
    collected = _Record.of(
        "gatt.2a5e",
        check.time_stamp,
        contact,
        is_time_sent=check.is_time_sent,
        is_clock_unset=check.is_clock_unset,
        named=_pair_name(check.values),
        context=_oximetry_context(check),
        frame=frame,
    )
    collected.add_pair(check.values, is_trusted=_is_trusted(check, features))
    return collected.normalised()


def continuous_oximetry_readings(
    measurement: PlxContinuousMeasurement,
    contact: Contact,
    *,
    features: PlxFeatures | None = None,
    frame: int | None = None,
) -> Normalised:
    """Saturation and pulse of one sample of a stream, made at reception; none where `live_value` is None."""
    if live_value(measurement, features) is None:
        return Normalised()
    collected = _Record.of(
        "gatt.2a5f",
        None,
        contact,
        is_time_sent=False,
        named=_pair_name(measurement.values),
        context=_oximetry_context(measurement),
        frame=frame,
    )
    collected.add_pair(measurement.values, is_trusted=True)
    return collected.normalised()


def live_value(
    measurement: HeartRateMeasurement | PlxContinuousMeasurement, features: PlxFeatures | None = None
) -> Decimal | None:
    """The number by which samples of a stream are compared: heart rate or saturation; None for one without a result."""
    if isinstance(measurement, HeartRateMeasurement):
        return Decimal(measurement.heart_rate_per_min) if measurement.is_usable else None
    saturation = measurement.values.saturation_percent
    is_result = isinstance(saturation, Decimal) and saturation > 0 and _is_trusted(measurement, features)
    return saturation if is_result and isinstance(saturation, Decimal) else None


def _is_trusted(measurement: PlxSpotCheck | PlxContinuousMeasurement, features: PlxFeatures | None) -> bool:
    """Whether the oximeter stands behind its numbers: validated, fully qualified, or without a word for either."""
    if not _FAULTS.isdisjoint(measurement.device_status or ()):
        return False
    status = measurement.measurement_status
    if status is None:
        return True
    if not _INVALID.isdisjoint(status):
        return False
    supported = None if features is None else features.measurement_status
    can_vouch = supported is None or not _VALID.isdisjoint(supported)
    return not can_vouch or not _VALID.isdisjoint(status)


def _oximetry_context(measurement: PlxSpotCheck | PlxContinuousMeasurement) -> Context:
    words = {*(measurement.measurement_status or ()), *(measurement.device_status or ())}
    return Context(status=tuple(sorted(words - {"data_from_storage", "measurement_ongoing"})))


def _pair_name(pair: OximetryPair) -> str:
    return "".join(f"{word:04x}" for word in pair.raw)


@dataclass(slots=True)
class _Record:
    """Collects the readings of one measurement."""

    key: str
    contact: Contact
    device_time: datetime | None
    placed: Placed
    decoder: str
    context: Context
    frame: int | None
    readings: list[Reading] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        decoder: str,
        time_stamp: datetime | None,
        contact: Contact,
        *,
        is_time_sent: bool,
        named: str,
        context: Context,
        frame: int | None,
        is_clock_unset: bool = False,
    ) -> _Record:
        """Key and instant. A time that was sent and cannot be read makes neither a live measurement nor a name."""
        if time_stamp is not None:
            stamp = time_stamp.isoformat()
        else:
            stamp = "no-time" if is_time_sent else f"rx-{contact.received_at.isoformat()}"
            contact = contact if is_time_sent else replace(contact, is_live=True)
        if is_clock_unset and contact.clock_offset is None:
            placed = place_reception(
                contact.received_at, contact.zone, is_live=contact.is_live, clock_is_trusted=contact.clock_is_trusted
            )
        else:
            placed = place_device_time(
                time_stamp,
                contact.received_at,
                contact.zone,
                clock_offset=contact.clock_offset,
                is_live=contact.is_live,
                clock_is_trusted=contact.clock_is_trusted,
            )
        return cls(f"{stamp}#{named}", contact, time_stamp, placed, decoder, context, frame)

    def add_pair(self, pair: OximetryPair, *, is_trusted: bool) -> None:
        if not is_trusted:
            self.put(Metric.OXYGEN_SATURATION, absent=Absent.UNTRUSTWORTHY)
            return
        self.add(Metric.OXYGEN_SATURATION, pair.saturation_percent, Unit.PERCENT)
        self.add_if_number(Metric.HEART_RATE, pair.pulse_per_min, Unit.PER_MIN)

    def add_if_number(self, metric: Metric, sent: _Sent | None, unit: Unit) -> None:
        """For a field that devices fill with NaN or 0 when they have nothing to say."""
        if isinstance(sent, Decimal) and sent != 0:
            self.add(metric, sent, unit)

    def add(self, metric: Metric, sent: _Sent, unit: Unit) -> None:
        if not isinstance(sent, Decimal):
            kind = _BOUNDS.get(sent.name)
            self.put(metric, bound=None if kind is None else Bound(kind), absent=_ABSENT.get(sent.name))
            return
        try:
            value = to_canonical(metric, sent, unit)
        except Implausible as error:
            self.problems.append(str(error))
        else:
            self.put(metric, value=value, sent=shifted(sent), unit=unit)

    def put(
        self,
        metric: Metric,
        *,
        value: Decimal | None = None,
        bound: Bound | None = None,
        absent: Absent | None = None,
        sent: Decimal | None = None,
        unit: Unit | None = None,
    ) -> None:
        self.readings.append(
            Reading(
                device_id=self.contact.device_id,
                epoch=self.contact.epoch,
                record_key=self.key,
                metric=metric,
                effective_at=self.placed.effective_at,
                utc_offset_min=self.placed.utc_offset_min,
                time_quality=self.placed.quality,
                time_method=self.placed.method,
                received_at=self.contact.received_at,
                provenance=Provenance(self.contact.source, self.decoder),
                value=value,
                bound=bound,
                absent=absent,
                original_value=sent,
                original_unit=unit,
                context=self.context,
                device_time=self.device_time,
                frame=self.frame,
            )
        )

    def normalised(self) -> Normalised:
        return Normalised(tuple(self.readings), tuple(self.problems))
