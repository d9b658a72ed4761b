"""Which faults a device can have: each word needs a part of the device, and not every device has it."""

from __future__ import annotations

import enum
from collections.abc import Set as AbstractSet
from dataclasses import fields
from typing import Final

from gateway.sandbox.peripherals.faults import Faults, FaultsError
from gateway.sandbox.records import SfloatSpecial

__all__ = ["FAULT_NEEDS", "Part", "refuse", "words_of"]


class Part(enum.StrEnum):
    """What a device may have, in words that follow "needs"."""

    LINK = "a link"
    BOND = "a bond"
    DELIVERY = "measurements that are told until they are confirmed"
    CONTROL_POINT = "a record access control point"
    CONTEXT = "a context beside each value"
    CLOCK = "a clock"
    MEMORY = "a memory"
    NUMBERS = "record numbers that can begin anywhere"
    SPECIAL_VALUES = "values that can be no number"


FAULT_NEEDS: Final[dict[str, Part | None]] = {
    "drop": Part.LINK,
    "silent": None,
    "corrupt": None,
    "duplicate": None,
    "unconfirmed": Part.DELIVERY,
    "slow": None,
    "order": Part.CONTROL_POINT,
    "context": Part.CONTEXT,
    "answer": Part.CONTROL_POINT,
    "busy": Part.CONTROL_POINT,
    "mtu": Part.LINK,
    "wrong-passkey": Part.BOND,
    "forget-bond": Part.BOND,
    "reset-counter": Part.MEMORY,
    "clock": Part.CLOCK,
    "memory": Part.MEMORY,
    "counter": Part.NUMBERS,
    "nan": Part.SPECIAL_VALUES,
    "nres": Part.SPECIAL_VALUES,
    "hi": Part.SPECIAL_VALUES,
    "lo": Part.SPECIAL_VALUES,
    "contacts": Part.LINK,
    "seed": None,
}
"""What each fault needs, by the first word of `FAULT_WORDS`; None: nothing that a device could lack."""

_WORDS: Final = {
    "silent_after": "silent",
    "gap_s": "slow",
    "wrong_passkey": "wrong-passkey",
    "forget_bond_after": "forget-bond",
    "reset_counter_after": "reset-counter",
}
"""Where a field has another name than its word."""
_SPECIALS: Final = {
    SfloatSpecial.NAN: "nan",
    SfloatSpecial.NRES: "nres",
    SfloatSpecial.POS_INF: "hi",
    SfloatSpecial.NEG_INF: "lo",
}
_NONE: Final = Faults()


def words_of(faults: Faults) -> frozenset[str]:
    """The words that were used, without what was said of each."""
    changed = {each.name for each in fields(faults) if getattr(faults, each.name) != getattr(_NONE, each.name)}
    words = {_WORDS.get(name, name) for name in changed - {"values"}}
    return frozenset(words | {_SPECIALS[special] for special in faults.values})


def refuse(faults: Faults, parts: AbstractSet[Part]) -> None:
    """Raises FaultsError, which says why, when `faults` has one that a device with only these `parts` cannot have."""
    possible = [word for word, part in FAULT_NEEDS.items() if part is None or part in parts]
    for word in FAULT_NEEDS:  # in the order of the page
        part = FAULT_NEEDS[word]
        if word in words_of(faults) and part is not None and part not in parts:
            raise FaultsError(
                f"{word!r} needs {part.value}, which this device has not; it can have: {', '.join(possible)}"
            )
