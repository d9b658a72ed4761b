"""Bond Management Service (181E): asking a device to forget us.

The service can also forget every other telephone and hub. That is not ours to ask: those requests are named here, so
that a capture can be read, and have no builder.

Source: Bluetooth Bond Management Service 1.0, Bond Management Control Point (2AA4), Bond Management Feature (2AA5).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from gateway.devices._reader import FrameReader
from gateway.devices.glucose import set_bits

__all__ = [
    "ATT_BOND_OPERATION_FAILED",
    "ATT_BOND_OP_NOT_SUPPORTED",
    "BOND_FEATURES",
    "BondFeature",
    "BondOp",
    "BondRequest",
    "delete_own_bond",
    "parse_bond_control_point",
    "parse_bond_feature",
]

ATT_BOND_OP_NOT_SUPPORTED: Final = 0x80
ATT_BOND_OPERATION_FAILED: Final = 0x81
"""Also the answer to a request whose authorization code is missing or wrong."""

BOND_FEATURES: Final = (
    "delete_own_bond_br_edr_le",
    "delete_own_bond_br_edr_le_with_code",
    "delete_own_bond_br_edr",
    "delete_own_bond_br_edr_with_code",
    "delete_own_bond_le",
    "delete_own_bond_le_with_code",
    "delete_all_bonds_br_edr_le",
    "delete_all_bonds_br_edr_le_with_code",
    "delete_all_bonds_br_edr",
    "delete_all_bonds_br_edr_with_code",
    "delete_all_bonds_le",
    "delete_all_bonds_le_with_code",
    "delete_other_bonds_br_edr_le",
    "delete_other_bonds_br_edr_le_with_code",
    "delete_other_bonds_br_edr",
    "delete_other_bonds_br_edr_with_code",
    "delete_other_bonds_le",
    "delete_other_bonds_le_with_code",
    "identify_yourself",
)
"""Feature bits, bit 0 first; "own" is the bond with whoever asks."""

_EXTENSION_BIT: Final = 0x80
_LONGEST_FEATURE: Final = 64


class BondOp(enum.IntEnum):
    """Op codes of 2AA4; only `DELETE_OWN_BOND_LE` is ever sent by the gateway."""

    DELETE_OWN_BOND_BR_EDR_LE = 0x01
    DELETE_OWN_BOND_BR_EDR = 0x02
    DELETE_OWN_BOND_LE = 0x03
    DELETE_ALL_BONDS_BR_EDR_LE = 0x04
    DELETE_ALL_BONDS_BR_EDR = 0x05
    DELETE_ALL_BONDS_LE = 0x06
    DELETE_OTHER_BONDS_BR_EDR_LE = 0x07
    DELETE_OTHER_BONDS_BR_EDR = 0x08
    DELETE_OTHER_BONDS_LE = 0x09


@dataclass(frozen=True, slots=True)
class BondFeature:
    """What a device can forget (2AA5): names from `BOND_FEATURES` of the bits that are set, sorted."""

    features: tuple[str, ...]

    @property
    def can_forget_us(self) -> bool:
        """Whether the bond of the asking device can be deleted over LE, with or without a code."""
        return "delete_own_bond_le" in self.features

    @property
    def wants_code(self) -> bool:
        """Whether that takes an authorization code, which only the maker gives out."""
        return "delete_own_bond_le_with_code" in self.features


@dataclass(frozen=True, slots=True)
class BondRequest:
    """A write to 2AA4: op code, of `BondOp` in general, and whether an authorization code came with it."""

    op_code: int
    has_code: bool


def parse_bond_feature(frame: bytes) -> BondFeature:
    """Decode 2AA5: 3 octets, and one more for each octet from the third on whose bit 7 announces another.

    Raises:
        MalformedFrame: another length.
    """
    reader = FrameReader(frame, "2AA5")
    octets = [reader.u8() for _ in range(3)]
    while octets[-1] & _EXTENSION_BIT and len(octets) < _LONGEST_FEATURE:
        octets.append(reader.u8())
    reader.finish()
    bits = int.from_bytes(bytes((*octets[:2], octets[2] & ~_EXTENSION_BIT & 0xFF)), "little")
    return BondFeature(set_bits(bits, BOND_FEATURES))


def parse_bond_control_point(frame: bytes) -> BondRequest:
    """Decode a write to 2AA4: an op code, and an authorization code of any length, which is not repeated.

    Raises:
        MalformedFrame: no octet at all.
    """
    reader = FrameReader(frame, "2AA4")
    op_code = reader.u8()
    return BondRequest(op_code, has_code=bool(reader.rest()))


def delete_own_bond() -> bytes:
    """Ask the device to forget the bond with us, over LE (1 octet); a refusal is an ATT error."""
    return bytes((BondOp.DELETE_OWN_BOND_LE,))
