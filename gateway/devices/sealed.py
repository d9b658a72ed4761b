"""Advertisements that are encrypted: the key of one device, and how a payload is opened with it.

MiBeacon and BTHome seal in the same way: AES-128 in CCM mode with a tag of four octets. The cipher itself is that$
of the package `cryptography` (the extra `adverts`), which is loaded when the first payload is opened and not before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

__all__ = ["KEY_OCTETS", "TAG_OCTETS", "Lock", "opened"]

KEY_OCTETS: Final = 16
TAG_OCTETS: Final = 4


@dataclass(frozen=True, slots=True)
class Lock:
    """What it takes to open the advertisements of one device.

    Attributes:
        address: its Bluetooth address `AA:BB:CC:DD:EE:FF`, upper case.
        key: its bind key, 16 octets; not shown.
    """

    address: str
    key: bytes = field(repr=False)

    @property
    def octets(self) -> bytes:
        """The address, first octet first."""
        return bytes.fromhex(self.address.replace(":", ""))

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that tell one key from another and nothing about either."""
        return hashlib.sha256(b"bind key of " + self.octets + self.key).hexdigest()[:8]


def opened(lock: Lock, nonce: bytes, sealed: bytes, associated: bytes = b"") -> bytes | None:
    """The payload that was sealed, or None where it was not sealed with this key, or was changed on the way.

    Args:
        lock: of the device.
        nonce: 7..13 octets.
        sealed: the encrypted octets and the tag after them; of any length.
        associated: what is authenticated beside them.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESCCM

    if len(sealed) <= TAG_OCTETS:
        return None
    try:
        return AESCCM(lock.key, tag_length=TAG_OCTETS).decrypt(nonce, sealed, associated)
    except InvalidTag:
        return None
