"""What a meter or a sensor would send: the reverse of the decoders, written apart from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from gateway.devices.cgm import CGM_STATUS, CgmRecord
from gateway.devices.glucose import (
    GLUCOSE_STATUS,
    SAMPLE_LOCATIONS,
    SAMPLE_TYPES,
    GlucoseContext,
    GlucoseMeasurement,
)
from gateway.devices.ieee11073 import SfloatSpecial

__all__ = ["encode_cgm_record", "encode_context", "encode_measurement", "encode_sfloat", "reference_crc"]

_CARBOHYDRATES = ("", "breakfast", "lunch", "dinner", "snack", "drink", "supper", "brunch")
_MEALS = ("", "preprandial", "postprandial", "fasting", "casual", "bedtime", "ketone")
_TESTERS = ("", "self", "health_care_professional", "laboratory")
_HEALTH = ("", "minor_health_issues", "major_health_issues", "during_menses", "under_stress", "no_health_issues")
_MEDICATIONS = (
    "",
    "rapid_acting_insulin",
    "short_acting_insulin",
    "intermediate_acting_insulin",
    "long_acting_insulin",
    "premixed_insulin",
)


def encode_sfloat(value: Decimal | SfloatSpecial) -> bytes:
    """Two octets, with the digits and the exponent that `value` is written with."""
    if isinstance(value, SfloatSpecial):
        return value.value.to_bytes(2, "little")
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    mantissa = int("".join(map(str, digits))) * (-1 if sign else 1)
    assert -2048 <= mantissa <= 2047
    assert -8 <= exponent <= 7
    return ((mantissa & 0xFFF) | (exponent & 0xF) << 12).to_bytes(2, "little")


def encode_measurement(record: GlucoseMeasurement, flags: int) -> bytes:
    """2A18 with the fields that `flags` name; the others are left out, whatever `record` holds."""
    frame = bytes((flags,)) + record.sequence.to_bytes(2, "little")
    base = record.base_time
    if base is None:
        frame += bytes(7)
    else:
        frame += base.year.to_bytes(2, "little")
        frame += bytes((base.month, base.day, base.hour, base.minute, base.second))
    if flags & 0x01:
        frame += (record.time_offset_min or 0).to_bytes(2, "little", signed=True)
    if flags & 0x02:
        assert record.concentration is not None
        frame += encode_sfloat(record.concentration)
        frame += bytes(
            (_code(SAMPLE_TYPES, record.sample_type) | _code(SAMPLE_LOCATIONS, record.sample_location) << 4,)
        )
    if flags & 0x08:
        frame += _bits(GLUCOSE_STATUS, record.status).to_bytes(2, "little")
    return frame


def encode_context(context: GlucoseContext, flags: int) -> bytes:
    """2A34 with the fields that `flags` name; the others are left out, whatever `context` holds."""
    frame = bytes((flags,)) + context.sequence.to_bytes(2, "little")
    if flags & 0x80:
        frame += bytes((context.extended_flags or 0,))
    if flags & 0x01:
        assert context.carbohydrate_kg is not None
        frame += bytes((_CARBOHYDRATES.index(context.carbohydrate_kind or ""),)) + encode_sfloat(
            context.carbohydrate_kg
        )
    if flags & 0x02:
        frame += bytes((_MEALS.index(context.meal or ""),))
    if flags & 0x04:
        frame += bytes((_TESTERS.index(context.tester or "") | _HEALTH.index(context.health or "") << 4,))
    if flags & 0x08:
        frame += (context.exercise_duration_s or 0).to_bytes(2, "little")
        frame += bytes((context.exercise_intensity_percent or 0,))
    if flags & 0x10:
        assert context.medication_amount is not None
        frame += bytes((_MEDICATIONS.index(context.medication_kind or ""),)) + encode_sfloat(context.medication_amount)
    if flags & 0x40:
        assert context.hba1c_percent is not None
        frame += encode_sfloat(context.hba1c_percent)
    return frame


def encode_cgm_record(record: CgmRecord, flags: int, *, has_crc: bool) -> bytes:
    """One record of 2AA7 with the fields that `flags` name, and its CRC."""
    bits = _bits(CGM_STATUS, record.status)
    tail = b""
    for flag, octet in ((0x80, bits), (0x40, bits >> 8), (0x20, bits >> 16)):
        tail += bytes((octet & 0xFF,)) if flags & flag else b""
    for flag, number in ((0x01, record.trend_mg_dl_min), (0x02, record.quality_percent)):
        if flags & flag:
            assert number is not None
            tail += encode_sfloat(number)
    size = 6 + len(tail) + (2 if has_crc else 0)
    frame = bytes((size, flags)) + encode_sfloat(record.glucose_mg_dl) + record.time_offset_min.to_bytes(2, "little")
    frame += tail
    return frame + reference_crc(frame) if has_crc else frame


def reference_crc(data: bytes) -> bytes:
    """The E2E-CRC by long division over mirrored octets, little-endian."""
    crc = 0xFFFF
    for octet in data:
        crc ^= int(f"{octet:08b}"[::-1], 2) << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return int(f"{crc:016b}"[::-1], 2).to_bytes(2, "little")


def _code(table: Mapping[int, str], word: str | None) -> int:
    return next(code for code, name in table.items() if name == word)


def _bits(names: Sequence[str | None], status: Sequence[str]) -> int:
    return sum(1 << names.index(name) for name in status)
