"""What the gateway's clock knew in one boot of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

__all__ = ["ClockSession", "RepairedHistory", "UntrustedSpell"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class UntrustedSpell:
    """A stretch of one boot in which nobody knew the time. Everything in microseconds.

    Attributes:
        base_us: what the gateway then told as the time, less the machine's uptime.
        began_us, ended_us: uptime of the machine; not ended: None.
        step_us: how much later it really was; None until it is known.
        is_repaired: what was received meanwhile has its right instant.
    """

    base_us: int
    began_us: int
    ended_us: int | None = None
    step_us: int | None = None
    is_repaired: bool = False

    @property
    def first(self) -> datetime:
        """The first instant that it told."""
        return _EPOCH + timedelta(microseconds=self.base_us + self.began_us)

    @property
    def last(self) -> datetime:
        """The last one; an open spell: the end of time."""
        if self.ended_us is None:
            return datetime.max.replace(tzinfo=UTC)
        return _EPOCH + timedelta(microseconds=self.base_us + self.ended_us)

    def is_same(self, other: UntrustedSpell) -> bool:
        """Whether both are one stretch, whatever is known of its end."""
        return (self.base_us, self.began_us) == (other.base_us, other.began_us)

    @property
    def waits(self) -> bool:
        """Its error is known, and history is not repaired yet."""
        return self.step_us is not None and not self.is_repaired


@dataclass(frozen=True, slots=True)
class ClockSession:
    """One boot.

    Attributes:
        boot_id: the machine's name for it.
        was_synchronised: something has kept the clock right at some time in this boot.
        spell: the latest stretch without knowing the time; None: there was none.
    """

    boot_id: str
    was_synchronised: bool = False
    spell: UntrustedSpell | None = None


@dataclass(frozen=True, slots=True)
class RepairedHistory:
    """What a repair of the clock changed.

    Attributes:
        readings: those received during the spell.
        placed: of these, how many have got their instant by it.
        payloads: raw and quarantined.
    """

    readings: int = 0
    placed: int = 0
    payloads: int = 0
