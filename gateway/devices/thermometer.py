"""Health Thermometer Service (1809): body temperatures.

Source: Bluetooth Health Thermometer Service 1.0; GATT Specification Supplement, Temperature Measurement (2A1C),
Temperature Type (2A1D), Intermediate Temperature (2A1E), Measurement Interval (2A21).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from gateway.devices._reader import FrameReader
from gateway.devices.date_time import DATE_TIME_OCTETS, parse_date_time
from gateway.devices.ieee11073 import FloatSpecial, parse_float32
from gateway.errors import MalformedFrame
from gateway.model import Unit

__all__ = [
    "TEMPERATURE_SITES",
    "TemperatureMeasurement",
    "parse_intermediate_temperature",
    "parse_measurement_interval",
    "parse_temperature_measurement",
    "parse_temperature_type",
]

_FAHRENHEIT: Final = 1 << 0
_TIME_STAMP: Final = 1 << 1
_TYPE: Final = 1 << 2
_RESERVED: Final = 0xF8

TEMPERATURE_SITES: Final = {
    1: "armpit",
    2: "body",
    3: "ear",
    4: "finger",
    5: "gastro_intestinal_tract",
    6: "mouth",
    7: "rectum",
    8: "toe",
    9: "tympanum",
}
"""Code of a temperature type -> where it was measured."""


@dataclass(frozen=True, slots=True)
class TemperatureMeasurement:
    """One indication of 2A1C, or one notification of 2A1E.

    Attributes:
        temperature: in `unit`, exact; a special where the thermometer sent no number.
        unit: Celsius or Fahrenheit, as sent.
        raw: the word on the wire, 0..0xFFFFFFFF.
        time_stamp: the thermometer's own local clock, naive; None when not sent, unknown or impossible.
        is_time_sent: whether a time stamp was sent, readable or not.
        site: word of `TEMPERATURE_SITES`; None when not sent or reserved.
        reserved_flags: flag bits 3-7, ignored but kept.
    """

    temperature: Decimal | FloatSpecial
    unit: Unit
    raw: int
    time_stamp: datetime | None = None
    is_time_sent: bool = False
    site: str | None = None
    reserved_flags: int = 0


def parse_temperature_measurement(frame: bytes) -> TemperatureMeasurement:
    """Decode Temperature Measurement (2A1C).

    Args:
        frame: flags u8, temperature FLOAT, then as flagged: time stamp (7), type u8. Exactly as long as the flags say:
            5 to 13 octets, little-endian.

    Raises:
        MalformedFrame: any other length.
    """
    return _parse(frame, "Temperature Measurement")


def parse_intermediate_temperature(frame: bytes) -> TemperatureMeasurement:
    """Decode Intermediate Temperature (2A1E), laid out as 2A1C: what the sensor feels while it settles, not a result.

    Raises:
        MalformedFrame: not as long as its flags say.
    """
    return _parse(frame, "Intermediate Temperature")


def parse_temperature_type(frame: bytes) -> str | None:
    """Decode Temperature Type (2A1D), for thermometers that measure at one place only; None for a reserved code.

    Raises:
        MalformedFrame: not 1 octet.
    """
    if len(frame) != 1:
        raise MalformedFrame(f"Temperature Type has 1 octet, got {len(frame)}")
    return TEMPERATURE_SITES.get(frame[0])


def parse_measurement_interval(frame: bytes) -> int:
    """Decode Measurement Interval (2A21): seconds between measurements, 0 when they are not periodic.

    Raises:
        MalformedFrame: not 2 octets.
    """
    reader = FrameReader(frame, "Measurement Interval")
    seconds = reader.u16()
    reader.finish()
    return seconds


def _parse(frame: bytes, what: str) -> TemperatureMeasurement:
    reader = FrameReader(frame, what)
    flags = reader.u8()
    raw = reader.u32()
    time_stamp = parse_date_time(reader.bytes(DATE_TIME_OCTETS)) if flags & _TIME_STAMP else None
    site = TEMPERATURE_SITES.get(reader.u8()) if flags & _TYPE else None
    reader.finish()
    return TemperatureMeasurement(
        temperature=parse_float32(raw),
        unit=Unit.FAHRENHEIT if flags & _FAHRENHEIT else Unit.CELSIUS,
        raw=raw,
        time_stamp=time_stamp,
        is_time_sent=bool(flags & _TIME_STAMP),
        site=site,
        reserved_flags=flags & _RESERVED,
    )
