"""Encoders for every frame that a virtual device sends: the opposite of the decoders, written independently of them.

All frames are little-endian. A value that a field cannot hold exactly raises ValueError, except masses, which a scale
rounds to its resolution (0.005 kg or 0.01 lb). Source: GATT Specification Supplement; IEEE 11073-20601 for SFLOAT.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from gateway.model import Unit
from gateway.sandbox.records import CgmSample, MeterContext, MeterRecord, SfloatSpecial, WeighIn

__all__ = [
    "SfloatSpecial",
    "append_crc",
    "encode_body_composition",
    "encode_cgm_feature",
    "encode_cgm_measurement",
    "encode_cgm_status",
    "encode_current_time",
    "encode_date_time",
    "encode_glucose_context",
    "encode_glucose_measurement",
    "encode_local_time",
    "encode_session_run_time",
    "encode_session_start",
    "encode_sfloat",
    "encode_system_id",
    "encode_weight_measurement",
    "mcrf4xx",
]

_SPECIAL_WORDS = frozenset(int(special) for special in SfloatSpecial)
_KG_PER_LB = Decimal("0.45359237")
_DST_CODES = {timedelta(0): 0, timedelta(minutes=30): 2, timedelta(hours=1): 4, timedelta(hours=2): 8}
_FAILED = b"\xff\xff"


def mcrf4xx(data: bytes) -> int:
    """CRC-16/MCRF4XX, the E2E-CRC of the CGM service; 0x6F91 over ASCII `123456789`."""
    crc = 0xFFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8408 if crc & 1 else crc >> 1
    return crc


def append_crc(frame: bytes) -> bytes:
    """`frame` with its E2E-CRC."""
    return frame + mcrf4xx(frame).to_bytes(2, "little")


def _whole(value: Decimal, scale: Decimal | str, *, low: int = 0, high: int = 0xFFFE) -> int:
    units = value / Decimal(scale)
    if units != units.to_integral_value() or not low <= units <= high:
        raise ValueError(f"the field cannot hold this value: resolution {scale}, {low}..{high}")
    return int(units)


def _word(value: Decimal, scale: Decimal | str) -> bytes:
    return _whole(value, scale).to_bytes(2, "little")


def encode_sfloat(value: Decimal | SfloatSpecial, exponent: int | None = None) -> bytes:
    """One SFLOAT, 2 octets.

    Args:
        value: exact; specials go out as their word.
        exponent: use this one (-8..7), as devices with a fixed resolution do; None: the shortest mantissa that fits.

    Raises:
        ValueError: the value has no exact SFLOAT (with that exponent).
    """
    if isinstance(value, SfloatSpecial):
        return int(value).to_bytes(2, "little")
    _, _, own = value.as_tuple()
    if not isinstance(own, int):
        raise ValueError("NaN and infinities are SfloatSpecial members")  # noqa: TRY004
    power = own if exponent is None else exponent
    scaled = value.scaleb(-power)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"no exact SFLOAT with exponent {power}")
    mantissa = int(scaled)
    while exponent is None and (power < -8 or abs(mantissa) > 2045) and mantissa and mantissa % 10 == 0:
        mantissa, power = mantissa // 10, power + 1
    while exponent is None and power > 7 and abs(mantissa) <= 204:
        mantissa, power = mantissa * 10, power - 1
    if mantissa == 0 and exponent is None:
        power = 0
    word = (power & 0x0F) << 12 | mantissa & 0x0FFF
    if not -8 <= power <= 7 or not -2048 <= mantissa <= 2047 or word in _SPECIAL_WORDS:
        raise ValueError("no exact SFLOAT for this value")
    return word.to_bytes(2, "little")


def encode_date_time(wall: datetime | None) -> bytes:
    """Date Time, 7 octets; None (never set) is all zero."""
    if wall is None:
        return bytes(7)
    return wall.year.to_bytes(2, "little") + bytes((wall.month, wall.day, wall.hour, wall.minute, wall.second))


def encode_current_time(wall: datetime, adjust_reason: int = 0) -> bytes:
    """Current Time 2A2B, 10 octets, from a naive local time."""
    fraction = wall.microsecond * 256 // 1_000_000
    return encode_date_time(wall) + bytes((wall.isoweekday(), fraction, adjust_reason))


def encode_local_time(at: datetime) -> bytes:
    """Zone in quarter hours (signed) and DST code of an aware instant, 2 octets, as in 2A0F and 2AAA."""
    dst = at.dst() or timedelta(0)
    standard = (at.utcoffset() or timedelta(0)) - dst
    quarters = standard // timedelta(minutes=15)
    return quarters.to_bytes(1, "little", signed=True) + bytes((_DST_CODES.get(dst, 255),))


def encode_system_id(address: str) -> bytes:
    """System ID 2A23, 8 octets: the EUI-64 made from a Bluetooth address `AA:BB:CC:DD:EE:FF`."""
    octets = bytes.fromhex(address.replace(":", ""))
    return (octets[:3] + b"\xff\xfe" + octets[3:])[::-1]


def encode_glucose_measurement(record: MeterRecord) -> bytes:
    """Glucose Measurement 2A18."""
    flags, tail = 0, b""
    if record.time_offset_min is not None:
        flags |= 0x01
        tail += record.time_offset_min.to_bytes(2, "little", signed=True)
    if record.glucose is not None:
        in_mol = record.unit is Unit.MMOL_L
        flags |= 0x02 | (0x04 if in_mol else 0)
        concentration = record.glucose
        if not isinstance(concentration, SfloatSpecial):
            concentration = concentration.scaleb(-3 if in_mol else -5)
        tail += encode_sfloat(concentration) + bytes((record.sample_location << 4 | record.sample_type,))
    if record.status is not None:
        flags |= 0x08
        tail += record.status.to_bytes(2, "little")
    if record.context is not None:
        flags |= 0x10
    return bytes((flags,)) + record.sequence.to_bytes(2, "little") + encode_date_time(record.base_time) + tail


def encode_glucose_context(sequence: int, context: MeterContext) -> bytes:
    """Glucose Measurement Context 2A34 of record `sequence`."""
    flags, tail = 0, b""
    if context.carbohydrate_g is not None:
        flags |= 0x01
        tail += bytes((context.carbohydrate_kind,)) + encode_sfloat(context.carbohydrate_g.scaleb(-3))
    if context.meal is not None:
        flags |= 0x02
        tail += bytes((context.meal,))
    if context.health is not None:
        flags |= 0x04
        tail += bytes((context.health << 4 | context.tester,))
    if context.exercise_duration_s is not None:
        flags |= 0x08
        tail += context.exercise_duration_s.to_bytes(2, "little") + bytes((context.exercise_intensity_percent,))
    if context.medication_ml is not None:
        flags |= 0x10 | 0x20
        tail += bytes((context.medication_kind,)) + encode_sfloat(context.medication_ml.scaleb(-3))
    elif context.medication_mg is not None:
        flags |= 0x10
        tail += bytes((context.medication_kind,)) + encode_sfloat(context.medication_mg.scaleb(-6))
    if context.hba1c_percent is not None:
        flags |= 0x40
        tail += encode_sfloat(context.hba1c_percent)
    return bytes((flags,)) + sequence.to_bytes(2, "little") + tail


def encode_cgm_measurement(sample: CgmSample, *, crc: bool) -> bytes:
    """One record of a CGM Measurement 2AA7; a notification carries one or more of them end to end."""
    glucose = SfloatSpecial.NAN if sample.glucose_mg_dl is None else sample.glucose_mg_dl
    flags, tail = 0, b""
    for bit, octet in ((0x80, sample.status), (0x40, sample.calibration_temperature), (0x20, sample.warning)):
        if octet is not None:
            flags |= bit
            tail += bytes((octet,))
    for bit, number in ((0x01, sample.trend_mg_dl_min), (0x02, sample.quality_percent)):
        if number is not None:
            flags |= bit
            tail += encode_sfloat(number)
    size = 6 + len(tail) + (2 if crc else 0)
    frame = bytes((size, flags)) + encode_sfloat(glucose) + sample.offset_min.to_bytes(2, "little") + tail
    return append_crc(frame) if crc else frame


def encode_cgm_feature(features: int, *, sample_type: int = 9, sample_location: int = 5) -> bytes:
    """CGM Feature 2AA8, 6 octets; ends in 0xFFFF where feature bit 12 (E2E-CRC) is clear."""
    frame = features.to_bytes(3, "little") + bytes((sample_location << 4 | sample_type,))
    return append_crc(frame) if features & 0x1000 else frame + b"\xff\xff"


def encode_cgm_status(
    offset_min: int, status: int = 0, calibration_temperature: int = 0, warning: int = 0, *, crc: bool
) -> bytes:
    """CGM Status 2AA9: where "now" is in the session, and the three annunciation octets."""
    frame = offset_min.to_bytes(2, "little") + bytes((status, calibration_temperature, warning))
    return append_crc(frame) if crc else frame


def encode_session_start(start: datetime | None, *, crc: bool) -> bytes:
    """CGM Session Start Time 2AAA from an aware local time (its zone gives zone and DST); None is all zero."""
    frame = bytes(9) if start is None else encode_date_time(start) + encode_local_time(start)
    return append_crc(frame) if crc else frame


def encode_session_run_time(run_time_h: int, *, crc: bool) -> bytes:
    """CGM Session Run Time 2AAB."""
    frame = run_time_h.to_bytes(2, "little")
    return append_crc(frame) if crc else frame


def _mass(mass_kg: Decimal | None, *, imperial: bool) -> bytes:
    if mass_kg is None:
        return _FAILED
    units = mass_kg / _KG_PER_LB / Decimal("0.01") if imperial else mass_kg / Decimal("0.005")
    return int(units.to_integral_value(ROUND_HALF_EVEN)).to_bytes(2, "little")


def _height(height_m: Decimal, *, imperial: bool) -> bytes:
    units = height_m / Decimal("0.0254") / Decimal("0.1") if imperial else height_m / Decimal("0.001")
    return int(units.to_integral_value(ROUND_HALF_EVEN)).to_bytes(2, "little")


def encode_weight_measurement(weigh_in: WeighIn, *, imperial: bool = False) -> bytes:
    """Weight Measurement 2A9D."""
    flags, tail = 1 if imperial else 0, b""
    if weigh_in.time_stamp is not None:
        flags |= 0x02
        tail += encode_date_time(weigh_in.time_stamp)
    if weigh_in.user is not None:
        flags |= 0x04
        tail += bytes((weigh_in.user,))
    if weigh_in.bmi is not None and weigh_in.height_m is not None and weigh_in.mass_kg is not None:
        flags |= 0x08
        tail += _word(weigh_in.bmi, "0.1") + _height(weigh_in.height_m, imperial=imperial)
    return bytes((flags,)) + _mass(weigh_in.mass_kg, imperial=imperial) + tail


def _composition_fields(weigh_in: WeighIn, *, imperial: bool) -> Iterable[tuple[int, bytes]]:
    """The optional fields after time and user, in the order of the specification: (flag bit, octets)."""
    if weigh_in.basal_metabolism_kj is not None:
        yield 0x0008, weigh_in.basal_metabolism_kj.to_bytes(2, "little")
    if weigh_in.muscle_percent is not None:
        yield 0x0010, _word(weigh_in.muscle_percent, "0.1")
    for bit, mass_kg in (
        (0x0020, weigh_in.muscle_mass_kg),
        (0x0040, weigh_in.fat_free_mass_kg),
        (0x0080, weigh_in.soft_lean_mass_kg),
        (0x0100, weigh_in.body_water_mass_kg),
    ):
        if mass_kg is not None:
            yield bit, _mass(mass_kg, imperial=imperial)
    if weigh_in.impedance_ohm is not None:
        yield 0x0200, _word(weigh_in.impedance_ohm, "0.1")
    if weigh_in.mass_kg is not None:
        yield 0x0400, _mass(weigh_in.mass_kg, imperial=imperial)
    if weigh_in.height_m is not None:
        yield 0x0800, _height(weigh_in.height_m, imperial=imperial)


def encode_body_composition(weigh_in: WeighIn, *, imperial: bool = False, max_octets: int = 512) -> list[bytes]:
    """Body Composition Measurement 2A9C: one frame, or several with flag bit 12 when `max_octets` is too small.

    A continuation carries 0xFFFF in the body fat field and neither time nor user.
    """
    unit_bit = 1 if imperial else 0
    fat = _FAILED if weigh_in.fat_percent is None else _word(weigh_in.fat_percent, "0.1")
    flags, head = unit_bit, fat
    if weigh_in.time_stamp is not None:
        flags |= 0x02
        head += encode_date_time(weigh_in.time_stamp)
    if weigh_in.user is not None:
        flags |= 0x04
        head += bytes((weigh_in.user,))
    packets: list[tuple[int, bytes]] = []
    for bit, octets in _composition_fields(weigh_in, imperial=imperial):
        if 2 + len(head) + len(octets) > max_octets:
            packets.append((flags, head))
            flags, head = unit_bit, _FAILED
        flags, head = flags | bit, head + octets
    packets.append((flags, head))
    several = 0x1000 if len(packets) > 1 else 0
    return [(flags | several).to_bytes(2, "little") + body for flags, body in packets]
