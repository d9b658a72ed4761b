"""What can go wrong with a virtual device, as one value: `drop@12,silent@3,clock=1970-01-01,memory=10,mtu=23`.

A device that is given `Faults` obeys them by itself; the same faults with the same seed on the same device give the
same story. `FAULT_WORDS` explains every word.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from gateway.sandbox.records import SfloatSpecial

__all__ = ["FAULT_WORDS", "NEVER", "Faults", "FaultsError", "Trigger", "parse_faults"]

_T = TypeVar("_T")


class FaultsError(ValueError):
    """A text that names no faults; the message says what would."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """When something happens to an item, items being counted from 1.

    Attributes:
        at: at these.
        share: and at this share of all the others, 0..1; which ones follows from the seed.
    """

    at: frozenset[int] = frozenset()
    share: float = 0.0

    def fires(self, number: int, what: str, seed: int) -> bool:
        """Whether it happens to item `number`; `what` keeps the chances of different faults apart."""
        if number in self.at:
            return True
        return self.share > 0 and random.Random(f"{seed}/{what}/{number}").random() < self.share


NEVER: Final = Trigger()

_SPECIALS: Final = {
    "nan": SfloatSpecial.NAN,
    "nres": SfloatSpecial.NRES,
    "hi": SfloatSpecial.POS_INF,
    "lo": SfloatSpecial.NEG_INF,
}


@dataclass(frozen=True, slots=True)
class Faults:
    """Everything that goes wrong with one device. The default: nothing.

    "Frame" counts the measurement frames that went out, from 1, over all links of the device's life; "record" is the
    record's own number (sequence number of a meter, minute of a sensor).

    Attributes:
        seed: of the shares and of the shuffled order.
        contacts: the faults of a conversation hold during so many links only, the first ones; None: for ever. Those of
            the device itself (clock, memory, mtu, passkey, values) always hold.
        drop: the link is dropped after these frames.
        silent_after: after so many frames on a link nothing more is said on it; 0: not a word.
        corrupt: these frames are damaged.
        duplicate: these frames are sent twice.
        unconfirmed: the device does not notice that an indicated measurement was confirmed.
        gap_s: pause before each measurement frame.
        order: of a report: None oldest first, `newest` first, `shuffled`.
        context: None: with its measurement; `late`: after the answer; `never`.
        answer: to a report request: None: right; `never`; `early`: before the last record; or that response code
            instead of the right one.
        busy: so many requests for records are refused as "procedure already in progress".
        mtu: the largest ATT MTU that the device agrees to.
        wrong_passkey: it shows other digits than those on its label.
        forget_bond_after: after so many links its keys are gone.
        reset_counter_after: after so many links its memory is empty and numbers begin again.
        clock: what its clock says when it is switched on.
        memory: so many records fit, the oldest is lost.
        counter: number of its first record.
        values: records that hold no number, by what they hold instead.
    """

    seed: int = 1
    contacts: int | None = None
    drop: Trigger = NEVER
    silent_after: int | None = None
    corrupt: Trigger = NEVER
    duplicate: Trigger = NEVER
    unconfirmed: Trigger = NEVER
    gap_s: float = 0.0
    order: str | None = None
    context: str | None = None
    answer: str | int | None = None
    busy: int = 0
    mtu: int | None = None
    wrong_passkey: bool = False
    forget_bond_after: int | None = None
    reset_counter_after: int | None = None
    clock: datetime | None = None
    memory: int | None = None
    counter: int = 1
    values: Mapping[SfloatSpecial, Trigger] = field(default_factory=dict)

    def ordered(self, records: Sequence[_T]) -> list[_T]:
        """`records`, given oldest first, in the order in which they are reported."""
        found = list(records)
        if self.order == "newest":
            found.reverse()
        elif self.order == "shuffled":
            random.Random(f"{self.seed}/order").shuffle(found)
        return found

    def remembered(self, records: Sequence[_T]) -> Sequence[_T]:
        """What of `records`, given oldest first, is still in the memory."""
        return records if self.memory is None else records[-self.memory :]

    def special(self, number: int) -> SfloatSpecial | None:
        """What record `number` holds instead of its value; None: its value."""
        for special, trigger in self.values.items():
            if trigger.fires(number, special.name, self.seed):
                return special
        return None


FAULT_WORDS: Final[dict[str, str]] = {
    "drop@K": "the link is dropped after measurement K (drop=0.05: after five in a hundred)",
    "silent@K": "after K measurements on a link, not a word more; silent: not a word at all",
    "corrupt@K": "measurement K is damaged (corrupt=0.05)",
    "duplicate@K": "measurement K is sent twice (duplicate: each; duplicate=0.05)",
    "unconfirmed@K": "it is not noticed that indication K was confirmed: it comes again in the next contact",
    "slow=S": "S seconds between measurements",
    "order=newest|shuffled": "records are reported newest first, or in any order",
    "context=late|never": "what was eaten or felt comes after the answer, or not at all although it was promised",
    "answer=never|early|CODE": "a report request is not answered, answered before the last record, or with that code",
    "busy=N": "the first N requests for records are refused as already in progress",
    "mtu=N": "no packet larger than N octets, 23 to 517",
    "wrong-passkey": "the display shows other digits than the label",
    "forget-bond@N": "after N contacts the device has lost its keys",
    "reset-counter@N": "after N contacts its memory is empty and numbers begin again",
    "clock=DATE": "its clock says DATE when it is switched on, as 1970-01-01 or 2000-01-01T00:00",
    "memory=N": "N records fit, the oldest is lost",
    "counter=N": "its first record has number N, 0 to 65535; after 65535 comes 0",
    "nan@K": "record K holds 'not a number' (nan=0.05); so nres@K, hi@K (above the range), lo@K (below)",
    "contacts=N": "faults of the conversation hold during the first N contacts only",
    "seed=N": "of what is chosen by chance",
}
"""The words that `parse_faults` knows, and what they do."""

_WORD: Final = re.compile(r"([a-z-]+)(?:([@=])(.+))?")
_TRIGGERS: Final = frozenset({"drop", "corrupt", "duplicate", "unconfirmed", *_SPECIALS})
_CHOICES: Final = {"order": ("newest", "shuffled"), "context": ("late", "never")}
_COUNTS: Final[dict[str, tuple[str, str, int, int]]] = {
    "silent@": ("silent_after", "measurements", 0, 65535),
    "busy=": ("busy", "requests", 1, 65535),
    "mtu=": ("mtu", "octets", 23, 517),
    "forget-bond@": ("forget_bond_after", "contacts", 1, 65535),
    "reset-counter@": ("reset_counter_after", "contacts", 1, 65535),
    "memory=": ("memory", "records", 1, 65535),
    "counter=": ("counter", "a record number", 0, 65535),
    "contacts=": ("contacts", "contacts", 1, 65535),
    "seed=": ("seed", "a seed", 0, 2**63),
}


def parse_faults(text: str) -> Faults:
    """The faults of a text of words between commas; an empty text gives none.

    Raises:
        FaultsError: a word that is not known, or a value that it cannot have.
    """
    faults = Faults()
    for word in filter(None, (piece.strip().lower() for piece in text.split(","))):
        faults = _with(faults, word)
    return faults


def _with(faults: Faults, word: str) -> Faults:
    match = _WORD.fullmatch(word)
    if match is None:
        raise _unknown(word)
    name, sign, value = match[1], match[2] or "", match[3] or ""
    if name in _TRIGGERS:
        return _with_trigger(faults, name, sign, value)
    if (limits := _COUNTS.get(f"{name}{sign}")) is not None:
        attribute, what, lowest, highest = limits
        return _changed(faults, attribute, _whole(word, value, what, lowest, highest))
    if name in _CHOICES and sign == "=" and value in _CHOICES[name]:
        return _changed(faults, name, value)
    special: Callable[[Faults, str, str], Faults] | None = _OTHERS.get(f"{name}{sign}")
    if special is None:
        raise _unknown(word)
    return special(faults, word, value)


def _with_trigger(faults: Faults, name: str, sign: str, value: str) -> Faults:
    special = _SPECIALS.get(name)
    before = getattr(faults, name) if special is None else faults.values.get(special, NEVER)
    if sign == "@":
        after = replace(before, at=before.at | {_whole(f"{name}@{value}", value, "an item, from 0", 0, 65535)})
    else:
        after = replace(before, share=_fraction(f"{name}={value}", value) if sign else 1.0)
    if special is None:
        return _changed(faults, name, after)
    return replace(faults, values={**faults.values, special: after})


def _changed(faults: Faults, attribute: str, value: Any) -> Faults:
    return replace(faults, **{attribute: value})


def _unknown(word: str) -> FaultsError:
    return FaultsError(f"{word!r} is no fault; known: {', '.join(FAULT_WORDS)}")


def _whole(word: str, value: str, what: str, lowest: int, highest: int) -> int:
    if not value.isascii() or not value.isdecimal() or not lowest <= int(value) <= highest:
        raise FaultsError(f"{word!r}: give {what} as a whole number, {lowest} to {highest}")
    return int(value)


def _fraction(word: str, value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise FaultsError(f"{word!r}: give a share above 0 and up to 1")
    return share


def _with_gap(faults: Faults, word: str, value: str) -> Faults:
    try:
        gap_s = float(value)
    except ValueError:
        gap_s = -1.0
    if not 0 <= gap_s <= 60:
        raise FaultsError(f"{word!r}: give seconds, 0 to 60")
    return replace(faults, gap_s=gap_s)


def _with_clock(faults: Faults, word: str, value: str) -> Faults:
    try:
        clock = datetime.fromisoformat(value)
    except ValueError:
        raise FaultsError(f"{word!r}: give a date such as 1970-01-01 or 2000-01-01T00:00") from None
    return replace(faults, clock=clock.replace(tzinfo=None))


def _with_answer(faults: Faults, word: str, value: str) -> Faults:
    if value in {"never", "early"}:
        return replace(faults, answer=value)
    return replace(faults, answer=_whole(word, value, "never, early or a response code", 0, 255))


_OTHERS: Final[dict[str, Callable[[Faults, str, str], Faults]]] = {
    "silent": lambda faults, _word, _value: replace(faults, silent_after=0),
    "wrong-passkey": lambda faults, _word, _value: replace(faults, wrong_passkey=True),
    "slow=": _with_gap,
    "clock=": _with_clock,
    "answer=": _with_answer,
}
