"""Glucose Service (1808): measurement 2A18, measurement context 2A34, feature 2A51.

Sources: Bluetooth Glucose Service 1.0; GATT Specification Supplement, Glucose Measurement, Glucose Measurement Context,
Glucose Feature. The tables of sample type and location also serve the continuous glucose monitoring service.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from gateway.devices._reader import FrameReader
from gateway.devices.date_time import DATE_TIME_OCTETS, parse_date_time
from gateway.devices.ieee11073 import SfloatSpecial, parse_sfloat, shifted
from gateway.model import Unit

__all__ = [
    "GLUCOSE_STATUS",
    "KETONE_MEAL",
    "SAMPLE_LOCATIONS",
    "SAMPLE_TYPES",
    "ConcentrationUnit",
    "GlucoseContext",
    "GlucoseFeature",
    "GlucoseMeasurement",
    "MedicationUnit",
    "parse_glucose_feature",
    "parse_glucose_measurement",
    "parse_glucose_measurement_context",
    "sample_words",
    "set_bits",
]

SAMPLE_TYPES: Final[Mapping[int, str]] = {
    1: "capillary_whole_blood",
    2: "capillary_plasma",
    3: "venous_whole_blood",
    4: "venous_plasma",
    5: "arterial_whole_blood",
    6: "arterial_plasma",
    7: "undetermined_whole_blood",
    8: "undetermined_plasma",
    9: "interstitial_fluid",
    10: "control_solution",
}

SAMPLE_LOCATIONS: Final[Mapping[int, str]] = {
    1: "finger",
    2: "alternate_site",
    3: "earlobe",
    4: "control_solution",
    5: "subcutaneous_tissue",
    15: "not_available",
}

GLUCOSE_STATUS: Final[Sequence[str]] = (
    "battery_low",
    "sensor_malfunction",
    "sample_too_small",
    "strip_insertion_error",
    "strip_type_incorrect",
    "result_above_device_range",
    "result_below_device_range",
    "sensor_temperature_too_high",
    "sensor_temperature_too_low",
    "read_interrupted",
    "general_fault",
    "time_fault",
)
"""Sensor status annunciation, bit 0 first; bits 12 to 15 are reserved."""

_FEATURES: Final[Sequence[tuple[str, tuple[str, ...]]]] = (
    ("low_battery_detection", ("battery_low",)),
    ("sensor_malfunction_detection", ("sensor_malfunction",)),
    ("sample_size_detection", ("sample_too_small",)),
    ("strip_insertion_error_detection", ("strip_insertion_error",)),
    ("strip_type_error_detection", ("strip_type_incorrect",)),
    ("result_high_low_detection", ("result_above_device_range", "result_below_device_range")),
    ("temperature_high_low_detection", ("sensor_temperature_too_high", "sensor_temperature_too_low")),
    ("read_interrupt_detection", ("read_interrupted",)),
    ("general_fault_detection", ("general_fault",)),
    ("time_fault_detection", ("time_fault",)),
    ("multiple_bonds", ()),
)

KETONE_MEAL: Final = "ketone"
"""Word for meal 6, which is outside the standard: dual meters mark with it a record that is not glucose."""

_MEALS: Final[Mapping[int, str]] = {
    1: "preprandial",
    2: "postprandial",
    3: "fasting",
    4: "casual",
    5: "bedtime",
    6: KETONE_MEAL,
}
_CARBOHYDRATES: Final[Mapping[int, str]] = {
    1: "breakfast",
    2: "lunch",
    3: "dinner",
    4: "snack",
    5: "drink",
    6: "supper",
    7: "brunch",
}
_TESTERS: Final[Mapping[int, str]] = {1: "self", 2: "health_care_professional", 3: "laboratory", 15: "not_available"}
_HEALTH: Final[Mapping[int, str]] = {
    1: "minor_health_issues",
    2: "major_health_issues",
    3: "during_menses",
    4: "under_stress",
    5: "no_health_issues",
    15: "not_available",
}
_MEDICATIONS: Final[Mapping[int, str]] = {
    1: "rapid_acting_insulin",
    2: "short_acting_insulin",
    3: "intermediate_acting_insulin",
    4: "long_acting_insulin",
    5: "premixed_insulin",
}
_OFFSET_UNKNOWN: Final = frozenset({0x7FFF, -0x8000})
_DURATION_OVERRUN: Final = 0xFFFF


class ConcentrationUnit(enum.Enum):
    """What the number of a glucose measurement counts."""

    KG_L = "kg/L"
    MOL_L = "mol/L"


class MedicationUnit(enum.Enum):
    """What the amount of a medication counts."""

    KG = "kg"
    LITRE = "L"


@dataclass(frozen=True, slots=True)
class GlucoseMeasurement:
    """One record of a glucose meter (2A18).

    Attributes:
        sequence: 0..65535, the meter's record counter.
        base_time: naive, the meter's internal clock; None when unknown or impossible. With `sequence` it names the
            record.
        time_offset_min: what the user-facing clock differs from the internal one; 0 when not sent, None when the meter
            says that it does not know (0x7FFF overrun, 0x8000 underrun).
        has_context: a context (2A34) with the same sequence number exists.
        concentration, unit: as sent; both None when the record carries no concentration.
        sample_type, sample_location: words of `SAMPLE_TYPES`, `SAMPLE_LOCATIONS`, `reserved_<code>` for other codes;
            None together with `concentration`.
        status: names from `GLUCOSE_STATUS` of the bits that are set, sorted; reserved bits are left out.
    """

    sequence: int
    base_time: datetime | None
    time_offset_min: int | None = 0
    has_context: bool = False
    concentration: Decimal | SfloatSpecial | None = None
    unit: ConcentrationUnit | None = None
    sample_type: str | None = None
    sample_location: str | None = None
    status: tuple[str, ...] = ()

    @property
    def user_time(self) -> datetime | None:
        """The wall clock that the user saw: base time plus offset, naive; None when either is unknown."""
        if self.base_time is None or self.time_offset_min is None:
            return None
        try:
            return self.base_time + timedelta(minutes=self.time_offset_min)
        except OverflowError:
            return None

    @property
    def is_control_solution(self) -> bool:
        """Whether the meter tested its control solution and not a person."""
        return "control_solution" in (self.sample_type, self.sample_location)

    @property
    def everyday_concentration(self) -> tuple[Decimal, Unit] | None:
        """The number in the unit that people use, exact: kg/L as mg/dL, mol/L as mmol/L; None without a number."""
        if not isinstance(self.concentration, Decimal) or self.unit is None:
            return None
        if self.unit is ConcentrationUnit.KG_L:
            return shifted(self.concentration, 5), Unit.MG_DL
        return shifted(self.concentration, 3), Unit.MMOL_L


@dataclass(frozen=True, slots=True)
class GlucoseContext:
    """What a meter knows around one of its records (2A34). None: that field was not sent.

    Words are those of the standard in snake_case, `reserved_<code>` for codes without a meaning.

    Attributes:
        sequence: of the measurement that it belongs to.
        extended_flags: the reserved octet, if sent.
        carbohydrate_kind, carbohydrate_kg: meal by name, and mass of carbohydrate.
        meal: `preprandial`, `postprandial`, `fasting`, `casual`, `bedtime`, or `KETONE_MEAL`.
        tester, health: who tested, state of health.
        exercise_duration_s, exercise_intensity_percent: the duration is None on overrun too.
        is_exercise_overrun: the duration was longer than the field can say.
        medication_kind, medication_amount, medication_unit: kind of insulin, and amount as sent.
        hba1c_percent: as sent.
    """

    sequence: int
    extended_flags: int | None = None
    carbohydrate_kind: str | None = None
    carbohydrate_kg: Decimal | SfloatSpecial | None = None
    meal: str | None = None
    tester: str | None = None
    health: str | None = None
    exercise_duration_s: int | None = None
    exercise_intensity_percent: int | None = None
    is_exercise_overrun: bool = False
    medication_kind: str | None = None
    medication_amount: Decimal | SfloatSpecial | None = None
    medication_unit: MedicationUnit | None = None
    hba1c_percent: Decimal | SfloatSpecial | None = None

    @property
    def is_ketone(self) -> bool:
        """Whether a dual meter marks the record as ketone: then its number is no glucose."""
        return self.meal == KETONE_MEAL


@dataclass(frozen=True, slots=True)
class GlucoseFeature:
    """What a meter can detect (2A51).

    Attributes:
        features: names of the feature bits that are set, sorted.
        detectable_status: names from `GLUCOSE_STATUS` that this meter can ever set, sorted; a clear bit of any other
            name means "not known", not "all is well".
    """

    features: tuple[str, ...]
    detectable_status: tuple[str, ...]


def parse_glucose_measurement(frame: bytes) -> GlucoseMeasurement:
    """Decode 2A18: 10 to 17 octets, exactly as many as the flags announce.

    Raises:
        MalformedFrame: fewer or more octets than that.
    """
    reader = FrameReader(frame, "2A18")
    flags = reader.u8()
    sequence = reader.u16()
    base_time = parse_date_time(reader.bytes(DATE_TIME_OCTETS))
    time_offset_min = reader.s16() if flags & 0x01 else 0
    concentration: Decimal | SfloatSpecial | None = None
    unit: ConcentrationUnit | None = None
    sample_type = sample_location = None
    if flags & 0x02:
        concentration = parse_sfloat(reader.u16())
        unit = ConcentrationUnit.MOL_L if flags & 0x04 else ConcentrationUnit.KG_L
        sample_type, sample_location = sample_words(reader.u8())
    status = set_bits(reader.u16(), GLUCOSE_STATUS) if flags & 0x08 else ()
    reader.finish()
    return GlucoseMeasurement(
        sequence=sequence,
        base_time=base_time,
        time_offset_min=None if time_offset_min in _OFFSET_UNKNOWN else time_offset_min,
        has_context=bool(flags & 0x10),
        concentration=concentration,
        unit=unit,
        sample_type=sample_type,
        sample_location=sample_location,
        status=status,
    )


def parse_glucose_measurement_context(frame: bytes) -> GlucoseContext:
    """Decode 2A34: 3 to 17 octets, exactly as many as the flags announce.

    Raises:
        MalformedFrame: fewer or more octets than that.
    """
    reader = FrameReader(frame, "2A34")
    flags = reader.u8()
    sequence = reader.u16()
    extended_flags = reader.u8() if flags & 0x80 else None
    carbohydrate_kind = carbohydrate_kg = meal = tester = health = None
    if flags & 0x01:
        carbohydrate_kind = _word(_CARBOHYDRATES, reader.u8())
        carbohydrate_kg = parse_sfloat(reader.u16())
    if flags & 0x02:
        meal = _word(_MEALS, reader.u8())
    if flags & 0x04:
        both = reader.u8()
        tester, health = _word(_TESTERS, both & 0x0F), _word(_HEALTH, both >> 4)
    duration_s = intensity_percent = None
    if flags & 0x08:
        duration_s, intensity_percent = reader.u16(), reader.u8()
    medication_kind = medication_amount = medication_unit = None
    if flags & 0x10:
        medication_kind = _word(_MEDICATIONS, reader.u8())
        medication_amount = parse_sfloat(reader.u16())
        medication_unit = MedicationUnit.LITRE if flags & 0x20 else MedicationUnit.KG
    hba1c_percent = parse_sfloat(reader.u16()) if flags & 0x40 else None
    reader.finish()
    return GlucoseContext(
        sequence=sequence,
        extended_flags=extended_flags,
        carbohydrate_kind=carbohydrate_kind,
        carbohydrate_kg=carbohydrate_kg,
        meal=meal,
        tester=tester,
        health=health,
        exercise_duration_s=None if duration_s == _DURATION_OVERRUN else duration_s,
        exercise_intensity_percent=intensity_percent,
        is_exercise_overrun=duration_s == _DURATION_OVERRUN,
        medication_kind=medication_kind,
        medication_amount=medication_amount,
        medication_unit=medication_unit,
        hba1c_percent=hba1c_percent,
    )


def parse_glucose_feature(frame: bytes) -> GlucoseFeature:
    """Decode 2A51: exactly 2 octets; reserved bits are left out.

    Raises:
        MalformedFrame: another length.
    """
    reader = FrameReader(frame, "2A51")
    bits = reader.u16()
    reader.finish()
    supported = [entry for position, entry in enumerate(_FEATURES) if bits >> position & 1]
    return GlucoseFeature(
        features=tuple(sorted(name for name, _ in supported)),
        detectable_status=tuple(sorted(status for _, statuses in supported for status in statuses)),
    )


def sample_words(octet: int) -> tuple[str, str]:
    """Sample type (low nibble) and sample location (high nibble) as words, `reserved_<code>` for codes without one."""
    return _word(SAMPLE_TYPES, octet & 0x0F), _word(SAMPLE_LOCATIONS, octet >> 4 & 0x0F)


def set_bits(bits: int, names: Sequence[str | None]) -> tuple[str, ...]:
    """Names of the bits that are set, sorted; `names` begins with bit 0, and None or a missing name is reserved."""
    return tuple(sorted(name for position, name in enumerate(names) if name is not None and bits >> position & 1))


def _word(table: Mapping[int, str], code: int) -> str:
    return table.get(code, f"reserved_{code}")
