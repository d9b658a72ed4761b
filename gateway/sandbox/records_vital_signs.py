"""What a virtual cuff, belt, thermometer or oximeter can be fed with: plain values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gateway.model import Unit
from gateway.sandbox.records import SfloatSpecial

__all__ = ["CuffReading", "HeartBeat", "OximetrySample", "SpotCheck", "Temperature"]


@dataclass(frozen=True, slots=True)
class CuffReading:
    """One blood pressure. None: the field is not sent; of a pressure: NaN, as a failed measurement has it.

    Attributes:
        systolic, diastolic, mean: in `unit`.
        unit: MMHG or KPA.
        time_stamp: the cuff's local clock, naive.
        pulse_per_min: beats a minute.
        user: 0..254 a slot of the cuff, 255 unknown.
        status: bits of 2A35.
    """

    systolic: Decimal | SfloatSpecial | None
    diastolic: Decimal | SfloatSpecial | None
    mean: Decimal | SfloatSpecial | None = None
    unit: Unit = Unit.MMHG
    time_stamp: datetime | None = None
    pulse_per_min: Decimal | SfloatSpecial | None = None
    user: int | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class HeartBeat:
    """One notification of a belt.

    Attributes:
        rate_per_min: above 255 it goes out with 16 bits.
        has_contact: None: the belt cannot tell.
        energy_kj: None: not sent.
        rr_intervals_1024: in 1/1024 second, oldest first.
    """

    rate_per_min: int
    has_contact: bool | None = None
    energy_kj: int | None = None
    rr_intervals_1024: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Temperature:
    """One body temperature.

    Attributes:
        temperature: in `unit`; None goes out as NaN.
        unit: CELSIUS or FAHRENHEIT.
        time_stamp: the thermometer's local clock, naive; None: not sent.
        site: code of a temperature type; None: not sent.
    """

    temperature: Decimal | SfloatSpecial | None
    unit: Unit = Unit.CELSIUS
    time_stamp: datetime | None = None
    site: int | None = None


@dataclass(frozen=True, slots=True)
class SpotCheck:
    """One spot check of an oximeter. None of a value goes out as NaN, of any other field: not sent.

    Attributes:
        saturation_percent, pulse_per_min: the result.
        time_stamp: the oximeter's local clock, naive.
        measurement_status, device_status: bits.
        amplitude_percent: pulse amplitude index.
        is_clock_unset: flag bit 4.
    """

    saturation_percent: Decimal | SfloatSpecial | None
    pulse_per_min: Decimal | SfloatSpecial | None
    time_stamp: datetime | None = None
    measurement_status: int | None = None
    device_status: int | None = None
    amplitude_percent: Decimal | None = None
    is_clock_unset: bool = False


@dataclass(frozen=True, slots=True)
class OximetrySample:
    """One sample of an oximeter's stream; fields as in `SpotCheck`, pairs as (saturation, pulse)."""

    saturation_percent: Decimal | SfloatSpecial | None
    pulse_per_min: Decimal | SfloatSpecial | None
    fast: tuple[Decimal, Decimal] | None = None
    slow: tuple[Decimal, Decimal] | None = None
    measurement_status: int | None = None
    device_status: int | None = None
    amplitude_percent: Decimal | None = None
