"""Heart Rate Service (180D): beats a minute as a belt or a wrist device streams them.

The control point (2A39), which sets the energy counter back, has no place here: a gateway only reads.

Source: Bluetooth Heart Rate Service 1.0; GATT Specification Supplement, Heart Rate Measurement (2A37), Body Sensor
Location (2A38).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gateway.devices._reader import FrameReader
from gateway.errors import MalformedFrame

__all__ = [
    "RR_TICK_S",
    "HeartRateMeasurement",
    "SensorContact",
    "parse_body_sensor_location",
    "parse_heart_rate_measurement",
]

RR_TICK_S: Final = Decimal("0.0009765625")
"""1/1024 second, exact."""

_WIDE: Final = 1 << 0
_ENERGY: Final = 1 << 3
_RR: Final = 1 << 4
_RESERVED: Final = 0xE0
_LOCATIONS: Final = ("other", "chest", "wrist", "finger", "hand", "ear_lobe", "foot")


class SensorContact(enum.Enum):
    """Whether the sensor touches the skin; the value is flag bits 1 and 2."""

    NOT_SUPPORTED = 0
    """Also 1, which says the same."""
    NOT_DETECTED = 2
    DETECTED = 3


@dataclass(frozen=True, slots=True)
class HeartRateMeasurement:
    """One notification of 2A37.

    Attributes:
        heart_rate_per_min: 0..65535; 0 is what sensors send while they find no pulse.
        contact: see `SensorContact`.
        energy_kj: spent since the counter was set back, 0..65535; None when not sent.
        rr_intervals_1024: times between beats, oldest first, in 1/1024 second; empty when none were sent.
        reserved_flags: flag bits 5-7, ignored but kept.
    """

    heart_rate_per_min: int
    contact: SensorContact
    energy_kj: int | None = None
    rr_intervals_1024: tuple[int, ...] = ()
    reserved_flags: int = 0

    @property
    def is_usable(self) -> bool:
        """Whether the number can be somebody's: a pulse was found, and no lack of contact is reported."""
        return self.heart_rate_per_min > 0 and self.contact is not SensorContact.NOT_DETECTED


def parse_heart_rate_measurement(frame: bytes) -> HeartRateMeasurement:
    """Decode Heart Rate Measurement (2A37).

    Args:
        frame: flags u8, rate u8 or u16, then as flagged: energy u16, RR intervals u16 to the end of the frame.

    Raises:
        MalformedFrame: octets are missing, half an interval is left, or octets follow that no flag explains.
    """
    reader = FrameReader(frame, "Heart Rate Measurement")
    flags = reader.u8()
    rate = reader.u16() if flags & _WIDE else reader.u8()
    energy = reader.u16() if flags & _ENERGY else None
    intervals: list[int] = []
    while flags & _RR and reader.remaining:
        intervals.append(reader.u16())
    reader.finish()
    return HeartRateMeasurement(
        heart_rate_per_min=rate,
        contact=SensorContact(flags >> 1 & 3 if flags & 4 else 0),
        energy_kj=energy,
        rr_intervals_1024=tuple(intervals),
        reserved_flags=flags & _RESERVED,
    )


def parse_body_sensor_location(frame: bytes) -> str | None:
    """Decode Body Sensor Location (2A38): `chest`, `wrist`, `finger`..., None for a code without a meaning.

    Raises:
        MalformedFrame: not 1 octet.
    """
    if len(frame) != 1:
        raise MalformedFrame(f"Body Sensor Location has 1 octet, got {len(frame)}")
    return _LOCATIONS[frame[0]] if frame[0] < len(_LOCATIONS) else None
