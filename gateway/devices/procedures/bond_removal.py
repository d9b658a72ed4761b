"""Asking a device to forget its bond with us, when a person unpairs it: Bond Management Service 181E.

Only the bond of whoever asks is deleted, over LE. A device without the service is no failure of unpairing: its own bond
is then deleted on the device itself.

Source: Bluetooth Bond Management Service 1.0.
"""

from __future__ import annotations

from typing import Final

from gateway.devices.bond_management import delete_own_bond, parse_bond_feature
from gateway.devices.procedures.requests import Close, Outcome, Patience, Read, Request, Write
from gateway.errors import MalformedFrame

__all__ = ["BondRemoval"]

_CONTROL_POINT: Final = "2aa4"
_FEATURE: Final = "2aa5"


class BondRemoval:
    """One attempt on one link, over a bond.

    Attributes:
        is_forgotten: the device has accepted the request; it may hang up over it.
    """

    def __init__(self) -> None:
        self._is_asked = False
        self._is_done = False
        self.is_forgotten = False

    @property
    def is_done(self) -> bool:
        """Whether it was tried."""
        return self._is_done

    @property
    def patience(self) -> Patience:
        """Whatever happens after the request was accepted happens at once."""
        return Patience.QUIET

    def start(self) -> list[Request]:
        """What can it forget?"""
        return [Read(_FEATURE)]

    def on_read(self, char: str, data: bytes) -> list[Request]:
        """Ask only for what the device says it can do."""
        if self._is_done or self._is_asked or char != _FEATURE:
            return []
        try:
            feature = parse_bond_feature(data)
        except MalformedFrame:
            return self._close(Outcome.REFUSED, f"unreadable {_FEATURE}")
        if not feature.can_forget_us:
            needs = "it wants its maker's code to forget a bond" if feature.wants_code else "it cannot forget one bond"
            return self._close(Outcome.REFUSED, needs)
        self._is_asked = True
        return [Write(_CONTROL_POINT, delete_own_bond())]

    def on_refused(self, char: str, att_code: int) -> list[Request]:
        """No such service, or the bond stays."""
        return [] if self._is_done else self._close(Outcome.REFUSED, f"attribute error {att_code:#04x} on {char}")

    def on_notify(self, char: str, data: bytes) -> list[Request]:
        """Nothing is subscribed to."""
        del char, data
        return []

    def on_kept(self) -> list[Request]:
        """Nothing is kept."""
        return []

    def on_silence(self) -> list[Request]:
        """No refusal came: the bond is gone."""
        return self._over(Outcome.SILENT, "no answer")

    def on_link_lost(self) -> list[Request]:
        """A device may end the link together with the bond."""
        return self._over(Outcome.LINK_LOST, "before it was asked")

    def _over(self, outcome: Outcome, detail: str) -> list[Request]:
        if self._is_done:
            return []
        self.is_forgotten = self._is_asked
        return self._close(Outcome.COMPLETE, None) if self._is_asked else self._close(outcome, detail)

    def _close(self, outcome: Outcome, detail: str | None) -> list[Request]:
        self._is_done = True
        return [Close(outcome, detail)]
