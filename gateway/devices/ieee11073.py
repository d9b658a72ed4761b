"""The two decimal floating-point formats of personal health devices, decoded exactly.

Source: IEEE 11073-20601, SFLOAT-Type and FLOAT-Type; Bluetooth GATT Specification Supplement, medfloat16, medfloat32.
"""

from __future__ import annotations

import enum
from decimal import Decimal

from gateway.errors import MalformedFrame

__all__ = ["FloatSpecial", "SfloatSpecial", "parse_float32", "parse_sfloat", "shifted"]


class SfloatSpecial(enum.Enum):
    """What a 16-bit SFLOAT says instead of a number; the value of a member is its code on the wire."""

    POS_INF = 0x07FE
    NAN = 0x07FF
    NRES = 0x0800
    RESERVED = 0x0801
    NEG_INF = 0x0802


class FloatSpecial(enum.Enum):
    """What a 32-bit FLOAT says instead of a number; the value of a member is its code on the wire."""

    POS_INF = 0x007FFFFE
    NAN = 0x007FFFFF
    NRES = 0x00800000
    RESERVED = 0x00800001
    NEG_INF = 0x00800002


_SFLOAT_SPECIALS = {special.value: special for special in SfloatSpecial}
_FLOAT_SPECIALS = {special.value: special for special in FloatSpecial}


def parse_sfloat(raw: int) -> Decimal | SfloatSpecial:
    """The number or the special that a 16-bit SFLOAT stands for.

    Args:
        raw: the word as an unsigned integer, 0..0xFFFF: 4-bit exponent above a 12-bit mantissa, both two's complement.

    Returns:
        mantissa x 10^exponent, exact. The specials exist with exponent 0 only; they are data and do not raise.

    Raises:
        MalformedFrame: `raw` is not a 16-bit word.
    """
    if not 0 <= raw <= 0xFFFF:
        raise MalformedFrame("SFLOAT is a word of 16 bits")
    special = _SFLOAT_SPECIALS.get(raw)
    return special if special is not None else _scaled(raw, mantissa_bits=12, exponent_bits=4)


def parse_float32(raw: int) -> Decimal | FloatSpecial:
    """The number or the special that a 32-bit FLOAT stands for.

    Args:
        raw: the word as an unsigned integer, 0..0xFFFFFFFF: 8-bit exponent above a 24-bit mantissa, both two's
            complement.

    Returns:
        mantissa x 10^exponent, exact. The specials exist with exponent 0 only; they are data and do not raise.

    Raises:
        MalformedFrame: `raw` is not a 32-bit word.
    """
    if not 0 <= raw <= 0xFFFFFFFF:
        raise MalformedFrame("FLOAT is a word of 32 bits")
    special = _FLOAT_SPECIALS.get(raw)
    return special if special is not None else _scaled(raw, mantissa_bits=24, exponent_bits=8)


def shifted(value: Decimal, places: int = 0) -> Decimal:
    """`value` x 10^places, exact, and written without an exponent: 1.2E+2 becomes 120.

    Meant for the magnitudes of an SFLOAT: a number that needs more than 28 digits keeps its exponent.
    """
    moved = value.scaleb(places)
    exponent = moved.as_tuple().exponent
    is_short = isinstance(exponent, int) and exponent > 0 and moved.adjusted() < 28
    return moved.quantize(Decimal(1)) if is_short else moved


def _scaled(raw: int, *, mantissa_bits: int, exponent_bits: int) -> Decimal:
    mantissa = _signed(raw & ((1 << mantissa_bits) - 1), mantissa_bits)
    exponent = _signed(raw >> mantissa_bits, exponent_bits)
    return Decimal(mantissa).scaleb(exponent)


def _signed(unsigned: int, bits: int) -> int:
    return unsigned - (1 << bits) if unsigned >> (bits - 1) else unsigned
