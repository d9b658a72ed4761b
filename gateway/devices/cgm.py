"""Continuous Glucose Monitoring Service (181F): 2AA7 measurement, 2AA8 feature, 2AA9 status, 2AAA start, 2AAB run time.

Whether a sensor protects its frames with an E2E-CRC is said once, in the feature characteristic; every other parser is
told so by `has_crc`, and then verifies it.

Sources: Bluetooth Continuous Glucose Monitoring Service 1.0; GATT Specification Supplement, CGM characteristics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final

from gateway.devices._reader import FrameReader
from gateway.devices.crc import append_crc, strip_crc
from gateway.devices.date_time import DATE_TIME_OCTETS, parse_date_time, write_date_time
from gateway.devices.glucose import sample_words, set_bits
from gateway.devices.ieee11073 import SfloatSpecial, parse_sfloat
from gateway.errors import MalformedFrame

__all__ = [
    "CGM_FEATURES",
    "CGM_STATUS",
    "CgmFeature",
    "CgmRecord",
    "CgmStatus",
    "SessionStart",
    "parse_cgm_feature",
    "parse_cgm_measurement",
    "parse_cgm_status",
    "parse_session_run_time",
    "parse_session_start_time",
    "write_session_start_time",
]

CGM_STATUS: Final[Sequence[str | None]] = (
    "session_stopped",
    "battery_low",
    "sensor_type_incorrect",
    "sensor_malfunction",
    "device_specific_alert",
    "general_fault",
    None,
    None,
    "time_synchronisation_required",
    "calibration_not_allowed",
    "calibration_recommended",
    "calibration_required",
    "sensor_temperature_too_high",
    "sensor_temperature_too_low",
    "calibration_pending",
    None,
    "below_patient_low",
    "above_patient_high",
    "below_hypo",
    "above_hyper",
    "rate_of_decrease_exceeded",
    "rate_of_increase_exceeded",
    "result_below_device_range",
    "result_above_device_range",
)
"""Sensor status annunciation, bit 0 first: the status, calibration/temperature and warning octets; None is reserved."""

CGM_FEATURES: Final[Sequence[str]] = (
    "calibration",
    "patient_high_low_alerts",
    "hypo_alerts",
    "hyper_alerts",
    "rate_of_change_alerts",
    "device_specific_alert",
    "sensor_malfunction_detection",
    "temperature_high_low_detection",
    "result_high_low_detection",
    "low_battery_detection",
    "sensor_type_error_detection",
    "general_fault_detection",
    "e2e_crc",
    "multiple_bonds",
    "multiple_sessions",
    "trend_information",
    "quality",
)
"""CGM feature bits, bit 0 first; bits 17 to 23 are reserved."""

_CRC_ABSENT: Final = 0xFFFF
_SMALLEST_RECORD: Final = 6
_ZONE_UNKNOWN: Final = -128
_DST_UNKNOWN: Final = 0xFF
_DST_MINUTES: Final[Mapping[int, int]] = {0: 0, 2: 30, 4: 60, 8: 120}
_DST_CODES: Final[Mapping[int, int]] = {minutes: code for code, minutes in _DST_MINUTES.items()}


@dataclass(frozen=True, slots=True)
class CgmRecord:
    """One result of a sensor (2AA7).

    Attributes:
        time_offset_min: minutes since the session start, 0..65535.
        glucose_mg_dl: as sent.
        trend_mg_dl_min: the sensor's own rate of change; None when not sent.
        quality_percent: the sensor's own figure; None when not sent.
        status: names from `CGM_STATUS` of the bits that are set, sorted.
    """

    time_offset_min: int
    glucose_mg_dl: Decimal | SfloatSpecial
    trend_mg_dl_min: Decimal | SfloatSpecial | None = None
    quality_percent: Decimal | SfloatSpecial | None = None
    status: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CgmFeature:
    """What a sensor can do (2AA8).

    Attributes:
        features: names from `CGM_FEATURES` of the bits that are set, sorted.
        sample_type, sample_location: words as for glucose meters.
    """

    features: tuple[str, ...]
    sample_type: str
    sample_location: str

    @property
    def has_crc(self) -> bool:
        """Whether every other frame of this sensor, in both directions, ends in an E2E-CRC."""
        return "e2e_crc" in self.features


@dataclass(frozen=True, slots=True)
class CgmStatus:
    """Where the session is now (2AA9): minutes since its start, and the status names that are set, sorted."""

    time_offset_min: int
    status: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SessionStart:
    """When the session began, as the sensor says (2AAA).

    Attributes:
        is_set: False while nobody has told the sensor the time (the date is all zero).
        local_time: naive, in the zone that the two other attributes tell; None when not set or impossible.
        zone_offset_min: standard offset from UTC, minutes east; None when unknown.
        dst_offset_min: what daylight saving adds; None when unknown.
    """

    is_set: bool
    local_time: datetime | None
    zone_offset_min: int | None
    dst_offset_min: int | None

    @property
    def start(self) -> datetime | None:
        """The instant, aware, UTC; None when it was never set, is impossible, or its zone is unknown."""
        if self.local_time is None or self.zone_offset_min is None or self.dst_offset_min is None:
            return None
        try:
            shifted = self.local_time - timedelta(minutes=self.zone_offset_min + self.dst_offset_min)
        except OverflowError:
            return None
        return shifted.replace(tzinfo=UTC)

    def start_in(self, zone: tzinfo) -> datetime | None:
        """`start`, taking `zone` (the owner's) where the sensor does not know its own; None when never set."""
        if self.start is not None or self.local_time is None:
            return self.start
        try:
            return self.local_time.replace(tzinfo=zone).astimezone(UTC)
        except OverflowError:
            return None


def parse_cgm_measurement(frame: bytes, *, has_crc: bool) -> tuple[CgmRecord, ...]:
    """Decode 2AA7: one or more records, each 6 to 15 octets plus a CRC of its own when `has_crc`.

    Raises:
        MalformedFrame: no record at all, a size that its flags do not explain, or a CRC that does not fit. One bad
            record condemns the whole notification, since nothing tells where the next one begins.
    """
    reader = FrameReader(frame, "2AA7")
    if not reader.remaining:
        raise MalformedFrame("2AA7: holds no record")
    records = []
    while reader.remaining:
        size = reader.u8()
        if size < _SMALLEST_RECORD:
            raise MalformedFrame(f"2AA7: a record of {size} octets")
        records.append(_record(bytes((size,)) + reader.bytes(size - 1), has_crc=has_crc))
    return tuple(records)


def _record(octets: bytes, *, has_crc: bool) -> CgmRecord:
    reader = FrameReader(strip_crc(octets, "2AA7") if has_crc else octets, "2AA7")
    reader.u8()
    flags = reader.u8()
    glucose_mg_dl = parse_sfloat(reader.u16())
    time_offset_min = reader.u16()
    bits = reader.u8() if flags & 0x80 else 0
    bits |= reader.u8() << 8 if flags & 0x40 else 0
    bits |= reader.u8() << 16 if flags & 0x20 else 0
    trend_mg_dl_min = parse_sfloat(reader.u16()) if flags & 0x01 else None
    quality_percent = parse_sfloat(reader.u16()) if flags & 0x02 else None
    reader.finish()
    return CgmRecord(time_offset_min, glucose_mg_dl, trend_mg_dl_min, quality_percent, set_bits(bits, CGM_STATUS))


def parse_cgm_feature(frame: bytes) -> CgmFeature:
    """Decode 2AA8: exactly 6 octets; the CRC field is 0xFFFF on a sensor without CRC, and is verified on another.

    Raises:
        MalformedFrame: another length, or the wrong CRC field.
    """
    reader = FrameReader(frame, "2AA8")
    bits = reader.u24()
    sample_type, sample_location = sample_words(reader.u8())
    crc = reader.u16()
    reader.finish()
    feature = CgmFeature(set_bits(bits, CGM_FEATURES), sample_type, sample_location)
    if feature.has_crc:
        strip_crc(frame, "2AA8")
    elif crc != _CRC_ABSENT:
        raise MalformedFrame("2AA8: a CRC on a sensor that announces none")
    return feature


def parse_cgm_status(frame: bytes, *, has_crc: bool) -> CgmStatus:
    """Decode 2AA9: exactly 5 octets, 7 with CRC.

    Raises:
        MalformedFrame: another length, or a CRC that does not fit.
    """
    reader = _protected(frame, "2AA9", has_crc=has_crc)
    status = CgmStatus(reader.u16(), set_bits(reader.u24(), CGM_STATUS))
    reader.finish()
    return status


def parse_session_start_time(frame: bytes, *, has_crc: bool) -> SessionStart:
    """Decode 2AAA: exactly 9 octets, 11 with CRC.

    A zone outside -12 h .. +14 h and a daylight-saving code outside the table count as unknown.

    Raises:
        MalformedFrame: another length, or a CRC that does not fit.
    """
    reader = _protected(frame, "2AAA", has_crc=has_crc)
    date_time = reader.bytes(DATE_TIME_OCTETS)
    quarter_hours, dst_code = reader.s8(), reader.u8()
    reader.finish()
    return SessionStart(
        is_set=any(date_time),
        local_time=parse_date_time(date_time),
        zone_offset_min=quarter_hours * 15 if -48 <= quarter_hours <= 56 else None,
        dst_offset_min=_DST_MINUTES.get(dst_code),
    )


def parse_session_run_time(frame: bytes, *, has_crc: bool) -> int:
    """Decode 2AAB: the sensor's expected life in hours from the session start, 0..65535. 2 octets, 4 with CRC.

    Raises:
        MalformedFrame: another length, or a CRC that does not fit.
    """
    reader = _protected(frame, "2AAB", has_crc=has_crc)
    hours = reader.u16()
    reader.finish()
    return hours


def write_session_start_time(wall: datetime, *, has_crc: bool) -> bytes:
    """What the client writes to 2AAA once after a session began: the current time, from which the sensor computes.

    Writing it again may move the time line of the session: only when the sensor reports
    `time_synchronisation_required` or `SessionStart.is_set` is False.

    Args:
        wall: aware, now, in the owner's zone; years 1582 to 9999. An offset that is no whole number of quarter hours
            is sent as unknown.
        has_crc: append the E2E-CRC.

    Raises:
        ValueError: `wall` is naive.
    """
    offset = wall.utcoffset()
    if offset is None:
        raise ValueError("the session start needs a time with its zone")
    dst_min, dst_rest = divmod(wall.dst() or timedelta(), timedelta(minutes=1))
    dst_code = _DST_CODES.get(dst_min) if not dst_rest else None
    if dst_code is None:
        dst_min, dst_code = 0, 0
    quarters, rest = divmod(offset - timedelta(minutes=dst_min), timedelta(minutes=15))
    if rest or not -48 <= quarters <= 56:
        quarters, dst_code = _ZONE_UNKNOWN, _DST_UNKNOWN
    frame = write_date_time(wall) + quarters.to_bytes(1, "little", signed=True) + bytes((dst_code,))
    return append_crc(frame) if has_crc else frame


def _protected(frame: bytes, what: str, *, has_crc: bool) -> FrameReader:
    return FrameReader(strip_crc(frame, what) if has_crc else frame, what)
