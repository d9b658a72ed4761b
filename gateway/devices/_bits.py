"""Words for the bits of a field."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["names_of"]


def names_of(word: int, names: Mapping[int, str]) -> tuple[str, ...]:
    """Names of the set bits in the order of `names` (bit number -> name); bits without a name are left out."""
    return tuple(name for bit, name in names.items() if word >> bit & 1)
