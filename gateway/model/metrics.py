"""The catalogue of what can be measured: canonical unit, codes of the standards, plausible range.

Sources: LOINC; IEEE 11073-10101 nomenclature (`MDC_*`, code = partition x 65536 + term); UCUM through `Unit.ucum`.
`loinc` or `mdc` is None where no code was verified: such a metric stays at home.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal

from gateway.model.units import Unit

__all__ = ["CATALOGUE", "DataType", "Metric", "MetricInfo"]


class DataType(enum.StrEnum):
    """What a consent speaks of: the families that a person can tell apart."""

    GLUCOSE = "glucose"
    WEIGHT = "weight"
    BODY_COMPOSITION = "body_composition"
    VITAL_SIGNS = "vital_signs"


class Metric(enum.StrEnum):
    """What a reading measures."""

    GLUCOSE_CAPILLARY = "glucose_capillary"
    GLUCOSE_INTERSTITIAL = "glucose_interstitial"
    BODY_MASS = "body_mass"
    BODY_MASS_INDEX = "body_mass_index"
    BODY_HEIGHT = "body_height"
    BODY_FAT_PERCENTAGE = "body_fat_percentage"
    BASAL_METABOLISM = "basal_metabolism"
    MUSCLE_PERCENTAGE = "muscle_percentage"
    MUSCLE_MASS = "muscle_mass"
    FAT_FREE_MASS = "fat_free_mass"
    SOFT_LEAN_MASS = "soft_lean_mass"
    BODY_WATER_MASS = "body_water_mass"
    IMPEDANCE = "impedance"
    BLOOD_PRESSURE_SYSTOLIC = "blood_pressure_systolic"
    BLOOD_PRESSURE_DIASTOLIC = "blood_pressure_diastolic"
    BLOOD_PRESSURE_MEAN = "blood_pressure_mean"
    HEART_RATE = "heart_rate"
    OXYGEN_SATURATION = "oxygen_saturation"
    BODY_TEMPERATURE = "body_temperature"
    BODY_WATER_PERCENTAGE = "body_water_percentage"
    BONE_MASS = "bone_mass"
    PROTEIN_PERCENTAGE = "protein_percentage"
    VISCERAL_FAT_RATING = "visceral_fat_rating"
    WAIST_CIRCUMFERENCE = "waist_circumference"
    BODY_FAT_MASS = "body_fat_mass"
    IMPEDANCE_250_KHZ = "impedance_250_khz"

    @property
    def info(self) -> MetricInfo:
        """The catalogue entry."""
        return CATALOGUE[self]


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """One entry of the catalogue.

    Attributes:
        data_type: the family of consent that covers it.
        unit: the canonical unit; every stored value is in it.
        units: every unit that a source may send, the canonical one first.
        loinc: LOINC code of the observation, or None.
        mdc: IEEE 11073-10101 code, or None.
        lowest, highest: inclusive plausible range in the canonical unit; outside it a value is quarantined.
        decimals: decimals to show a person, in the canonical unit.
    """

    data_type: DataType
    unit: Unit
    units: tuple[Unit, ...]
    loinc: str | None
    mdc: int | None
    lowest: Decimal
    highest: Decimal
    decimals: int

    def is_plausible(self, value: Decimal) -> bool:
        """Whether `value`, in the canonical unit, can be a measurement at all."""
        return self.lowest <= value <= self.highest


def _entry(
    data_type: DataType,
    units: tuple[Unit, ...],
    loinc: str | None,
    mdc: int | None,
    lowest: str,
    highest: str,
    decimals: int,
) -> MetricInfo:
    return MetricInfo(data_type, units[0], units, loinc, mdc, Decimal(lowest), Decimal(highest), decimals)


_GLUCOSE = (Unit.MG_DL, Unit.MMOL_L, Unit.G_L)
_MASS = (Unit.KG, Unit.LB, Unit.JIN)
_LENGTH = (Unit.CM, Unit.M, Unit.INCH)
_COMPOSITION = DataType.BODY_COMPOSITION
_VITAL = DataType.VITAL_SIGNS

CATALOGUE: dict[Metric, MetricInfo] = {
    Metric.GLUCOSE_CAPILLARY: _entry(DataType.GLUCOSE, _GLUCOSE, "41653-7", 160184, "10", "1000", 0),
    Metric.GLUCOSE_INTERSTITIAL: _entry(DataType.GLUCOSE, _GLUCOSE, "99504-3", 160212, "10", "1000", 0),
    Metric.BODY_MASS: _entry(DataType.WEIGHT, _MASS, "29463-7", 188736, "2", "500", 2),
    Metric.BODY_MASS_INDEX: _entry(DataType.WEIGHT, (Unit.KG_M2,), "39156-5", 188752, "5", "150", 1),
    Metric.BODY_HEIGHT: _entry(DataType.WEIGHT, _LENGTH, "8302-2", 188740, "30", "272", 1),
    Metric.BODY_FAT_PERCENTAGE: _entry(_COMPOSITION, (Unit.PERCENT,), "41982-0", 188748, "1", "80", 1),
    Metric.BASAL_METABOLISM: _entry(_COMPOSITION, (Unit.KJ, Unit.KCAL), "50042-1", None, "500", "30000", 0),
    Metric.MUSCLE_PERCENTAGE: _entry(_COMPOSITION, (Unit.PERCENT,), None, None, "1", "95", 1),
    Metric.MUSCLE_MASS: _entry(_COMPOSITION, _MASS, "73964-9", None, "1", "300", 2),
    Metric.FAT_FREE_MASS: _entry(_COMPOSITION, _MASS, None, 188756, "1", "400", 2),
    Metric.SOFT_LEAN_MASS: _entry(_COMPOSITION, _MASS, None, 188760, "1", "400", 2),
    Metric.BODY_WATER_MASS: _entry(_COMPOSITION, _MASS, None, 188764, "1", "300", 2),
    Metric.IMPEDANCE: _entry(_COMPOSITION, (Unit.OHM,), None, None, "50", "3000", 1),
    Metric.BLOOD_PRESSURE_SYSTOLIC: _entry(_VITAL, (Unit.MMHG, Unit.KPA), "8480-6", 150021, "30", "300", 0),
    Metric.BLOOD_PRESSURE_DIASTOLIC: _entry(_VITAL, (Unit.MMHG, Unit.KPA), "8462-4", 150022, "10", "250", 0),
    Metric.BLOOD_PRESSURE_MEAN: _entry(_VITAL, (Unit.MMHG, Unit.KPA), "8478-0", 150023, "20", "280", 0),
    Metric.HEART_RATE: _entry(_VITAL, (Unit.PER_MIN,), "8867-4", 149546, "20", "350", 0),
    Metric.OXYGEN_SATURATION: _entry(_VITAL, (Unit.PERCENT,), "59408-5", 150456, "30", "100", 0),
    Metric.BODY_TEMPERATURE: _entry(_VITAL, (Unit.CELSIUS, Unit.FAHRENHEIT), "8310-5", 150364, "25", "45", 1),
    Metric.BODY_WATER_PERCENTAGE: _entry(_COMPOSITION, (Unit.PERCENT,), None, None, "1", "95", 1),
    Metric.BONE_MASS: _entry(_COMPOSITION, _MASS, None, None, "0.2", "20", 2),
    Metric.PROTEIN_PERCENTAGE: _entry(_COMPOSITION, (Unit.PERCENT,), None, None, "1", "60", 1),
    Metric.VISCERAL_FAT_RATING: _entry(_COMPOSITION, (Unit.ONE,), None, None, "0.5", "100", 1),
    Metric.WAIST_CIRCUMFERENCE: _entry(DataType.WEIGHT, _LENGTH, "8280-0", None, "30", "250", 1),
    Metric.BODY_FAT_MASS: _entry(_COMPOSITION, _MASS, None, None, "0.5", "300", 2),
    Metric.IMPEDANCE_250_KHZ: _entry(_COMPOSITION, (Unit.OHM,), None, None, "50", "3000", 1),
}
