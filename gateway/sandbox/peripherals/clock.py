"""The wall clock of a virtual device."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from bumble.att import ATT_Error

__all__ = ["DeviceClock"]

_INVALID_LENGTH = 0x0D
_DATA_FIELD_IGNORED = 0x80


class DeviceClock:
    """A device's wall clock, which a client may set by Current Time 2A2B.

    Attributes:
        shift: how far what was written has moved it from its source.
        is_stubborn: it takes any time and keeps its own.
    """

    def __init__(self, source: Callable[[], datetime]) -> None:
        self._source = source
        self._lost = timedelta(0)
        self.shift = timedelta(0)
        self.is_stubborn = False

    @property
    def base_time(self) -> datetime:
        """The internal clock that nobody can set, naive."""
        return self._source() - self._lost

    def reset(self, says: datetime) -> None:
        """Begin again at `says`, naive, as after a battery change; what was set is forgotten."""
        self._lost = self._source() - says
        self.shift = timedelta(0)

    def now(self) -> datetime:
        """What the display shows, naive."""
        return self.base_time + self.shift

    def set_by(self, value: bytes) -> None:
        """Obey a written 2A2B.

        Raises:
            ATT_Error: not 10 octets, or not a date.
        """
        if len(value) != 10:
            raise ATT_Error(_INVALID_LENGTH)
        self.set_by_date_time(value[:7])

    def set_by_date_time(self, value: bytes) -> None:
        """Obey a written 2A08.

        Raises:
            ATT_Error: not 7 octets, or not a date.
        """
        if self.is_stubborn:
            return
        if len(value) != 7:
            raise ATT_Error(_INVALID_LENGTH)
        year = int.from_bytes(value[:2], "little")
        month, day, hour, minute, second = value[2:7]
        try:
            wall = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 a device's clock has no zone
        except ValueError:
            raise ATT_Error(_DATA_FIELD_IGNORED) from None
        self.shift = wall - self.base_time
