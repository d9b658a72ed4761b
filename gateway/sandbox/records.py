"""What a virtual device can be fed with: plain values, no behaviour."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gateway.model import Unit

__all__ = ["CgmSample", "MeterContext", "MeterRecord", "SfloatSpecial", "WeighIn"]


class SfloatSpecial(enum.IntEnum):
    """The five SFLOAT words that are not numbers (IEEE 11073-20601)."""

    NAN = 0x07FF
    NRES = 0x0800
    POS_INF = 0x07FE
    NEG_INF = 0x0802
    RESERVED = 0x0801


@dataclass(frozen=True, slots=True)
class MeterContext:
    """Glucose Measurement Context (2A34). None: the field is not sent; codes are those of the specification."""

    meal: int | None = None
    carbohydrate_kind: int = 1
    carbohydrate_g: Decimal | None = None
    tester: int = 1
    health: int | None = None
    exercise_duration_s: int | None = None
    exercise_intensity_percent: int = 50
    medication_kind: int = 1
    medication_mg: Decimal | None = None
    medication_ml: Decimal | None = None
    hba1c_percent: Decimal | None = None


@dataclass(frozen=True, slots=True)
class MeterRecord:
    """One test in a meter's memory.

    Attributes:
        sequence: 0..65535.
        base_time: the meter's internal clock, naive; None: never set (sent as zeros).
        glucose: in `unit`; None: a record with a status only.
        unit: MG_DL (goes out as kg/L) or MMOL_L (goes out as mol/L).
        time_offset_min: displayed clock minus base time, minutes; None: not sent.
        sample_type, sample_location: codes of 2A18 (1 capillary whole blood, 1 finger; 10 and 4 control solution).
        status: annunciation bits; None: not sent.
        context: sent after the measurement.
    """

    sequence: int
    base_time: datetime | None
    glucose: Decimal | SfloatSpecial | None
    unit: Unit = Unit.MG_DL
    time_offset_min: int | None = None
    sample_type: int = 1
    sample_location: int = 1
    status: int | None = None
    context: MeterContext | None = None


@dataclass(frozen=True, slots=True)
class CgmSample:
    """One record of a sensor.

    Attributes:
        offset_min: minutes since the session start, 0..65535.
        glucose_mg_dl: None goes out as NaN.
        trend_mg_dl_min, quality_percent: None: not sent.
        status, calibration_temperature, warning: annunciation octets (bits 0-7, 8-15, 16-23); None: not sent.
    """

    offset_min: int
    glucose_mg_dl: Decimal | SfloatSpecial | None
    trend_mg_dl_min: Decimal | None = None
    quality_percent: Decimal | None = None
    status: int | None = None
    calibration_temperature: int | None = None
    warning: int | None = None


@dataclass(frozen=True, slots=True)
class WeighIn:
    """Somebody stood on the scale. None: the field is not sent.

    Attributes:
        mass_kg: None: the weighing failed (0xFFFF).
        user: 0..254 a slot of the scale, 255 unknown.
        time_stamp: the scale's local clock, naive.
        bmi, height_m: sent by 2A9D only when both are there.
        fat_percent ...: when any of these is there, a Body Composition Measurement goes with the weight (fat None is
            then sent as 0xFFFF).
    """

    mass_kg: Decimal | None
    user: int | None = None
    time_stamp: datetime | None = None
    bmi: Decimal | None = None
    height_m: Decimal | None = None
    fat_percent: Decimal | None = None
    basal_metabolism_kj: int | None = None
    muscle_percent: Decimal | None = None
    muscle_mass_kg: Decimal | None = None
    fat_free_mass_kg: Decimal | None = None
    soft_lean_mass_kg: Decimal | None = None
    body_water_mass_kg: Decimal | None = None
    impedance_ohm: Decimal | None = None

    @property
    def has_composition(self) -> bool:
        """Whether anything of body composition was measured."""
        return any(
            value is not None
            for value in (
                self.fat_percent,
                self.basal_metabolism_kj,
                self.muscle_percent,
                self.muscle_mass_kg,
                self.fat_free_mass_kg,
                self.soft_lean_mass_kg,
                self.body_water_mass_kg,
                self.impedance_ohm,
            )
        )
