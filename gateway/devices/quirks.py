"""What a family of devices does in its own way, as data.

A quirk is a fact about devices; what follows from it is decided by the code that meets it: the radio manager (whom to
serve first), the session (when to bond), the procedures (which record number is an identity).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Bonding", "ClockAccess", "LinkEnd", "Quirks", "RecordNumbering"]


class Bonding(enum.StrEnum):
    """The link that a family makes."""

    WHEN_REFUSED = "when_refused"
    """Not known beforehand: bond when the device refuses without."""
    NONE = "none"
    """It never bonds."""
    JUST_WORKS = "just_works"
    """Encrypted, without proof of who is at the other end: it has neither display nor keys."""
    PASSKEY = "passkey"
    """Six digits on its display or label are typed on our side."""
    NUMERIC_COMPARISON = "numeric_comparison"
    """Both sides show six digits, a person compares them."""


class LinkEnd(enum.StrEnum):
    """Who ends a contact that went well."""

    GATEWAY = "gateway"
    DEVICE_AFTER_TRANSFER = "device_after_transfer"
    DEVICE_WHEN_IDLE = "device_when_idle"


class ClockAccess(enum.StrEnum):
    """How the device's clock is read and set."""

    CURRENT_TIME = "current_time"
    """Current Time 2A2B of service 1805."""
    DATE_TIME = "date_time"
    """Date Time 2A08 inside the measuring service."""
    VENDOR = "vendor"
    """A command of its maker."""
    NONE = "none"
    """Only on the device itself."""


class RecordNumbering(enum.StrEnum):
    """What the sequence number of a stored record means."""

    ASCENDING = "ascending"
    """One more for each record: with the epoch and the base time, its identity."""
    BACKWARDS = "backwards"
    """0 is the newest, so every number moves at each test: no identity; base time and value are."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """How a family behaves; the defaults are those of the standard.

    Attributes:
        bonding: the kind of link.
        hangs_up_unbonded: a link that ends before the device said anything means that it wants a bond.
        keeps_one_bond: a bond with a telephone ends the one with us, and the other way round.
        wake_s: how long it can be reached after a measurement or a press of its button; None: long, or not known.
        link_end: who hangs up.
        clock: how its clock is reached.
        numbering: what its record numbers mean.
        sends_whole_memory: it answers a request for "all" with everything, every time.
        is_dual: it may mark a record as ketone in the record's context: a number must wait for it.
        first_user_slot: number of the first person's slot on a scale.
        is_low_trust: it only broadcasts in the clear, so that anybody nearby could imitate it.
    """

    bonding: Bonding = Bonding.WHEN_REFUSED
    hangs_up_unbonded: bool = False
    keeps_one_bond: bool = False
    wake_s: float | None = None
    link_end: LinkEnd = LinkEnd.GATEWAY
    clock: ClockAccess = ClockAccess.CURRENT_TIME
    numbering: RecordNumbering = RecordNumbering.ASCENDING
    sends_whole_memory: bool = False
    is_dual: bool = False
    first_user_slot: int = 0
    is_low_trust: bool = False

    @property
    def pairs_first(self) -> bool:
        """Whether a bond is made before anything is asked."""
        return self.bonding in {Bonding.JUST_WORKS, Bonding.PASSKEY, Bonding.NUMERIC_COMPARISON}
