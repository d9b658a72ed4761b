"""Scales that somebody's radio hears and that nobody enrolled, such as the neighbour's: shown, not recorded."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from gateway.ports import Stranger

__all__ = ["Strangers"]

_MOST: Final = 200


class Strangers:
    """The addresses heard last. Of more than two hundred, those heard longest ago are forgotten."""

    def __init__(self) -> None:
        self._heard: dict[str, Stranger] = {}

    def note(self, address: str, dialect: str, heard_at: datetime) -> None:
        """A message about `address` came."""
        known = self._heard.pop(address, None)
        stranger = Stranger(address, dialect, 1, heard_at)
        if known is not None:
            stranger = replace(stranger, messages=known.messages + 1)
        elif len(self._heard) >= _MOST:
            del self._heard[next(iter(self._heard))]
        self._heard[address] = stranger

    def forget(self, address: str) -> None:
        """Somebody enrolled it."""
        self._heard.pop(address, None)

    def all(self) -> tuple[Stranger, ...]:
        """Heard last first."""
        return tuple(reversed(self._heard.values()))
