"""What a device says about itself: Device Information 180A, its clock, Battery 180F.

The clock is read last, so that whoever runs the procedure can compare it with ours the moment it ends.

Source: Bluetooth Device Information Service 1.2, Current Time Service 1.1, Battery Service 1.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from gateway.devices.battery import parse_battery_level
from gateway.devices.current_time import parse_current_time
from gateway.devices.date_time import parse_date_time
from gateway.devices.device_information import parse_system_id, parse_text
from gateway.devices.procedures.requests import Close, Outcome, Patience, Read, Request
from gateway.errors import MalformedFrame

__all__ = ["DeviceFacts", "Facts"]

_IDENTITY: Final = ("2a29", "2a24", "2a25", "2a26", "2a23")
_BATTERY: Final = "2a19"
_CURRENT_TIME: Final = "2a2b"
_DATE_TIME: Final = "2a08"
"""Some meters keep their clock inside the glucose service instead of offering Current Time."""


@dataclass(frozen=True, slots=True)
class Facts:
    """None: the device did not say.

    Attributes:
        manufacturer, model, serial, firmware: at most 64 characters; the serial is personal data.
        system_id: EUI-64, 16 upper-case hex digits.
        battery_percent: 0..100.
        device_time: the device's own wall clock when it was read, naive.
    """

    manufacturer: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None
    system_id: str | None = None
    battery_percent: int | None = None
    device_time: datetime | None = None

    def clock_offset(self, local_now: datetime) -> timedelta | None:
        """Our local time minus the device's in whole seconds, None when it has no readable clock.

        `local_now`: naive, the owner's. Device clocks tell whole seconds, so more digits would be noise.
        """
        return (
            None
            if self.device_time is None
            else timedelta(seconds=round((local_now - self.device_time).total_seconds()))
        )


class DeviceFacts:
    """Reads one characteristic after the other; what is missing or unreadable is passed over.

    Args:
        with_identity: also read who made the device and which one it is, which does not change.

    Attributes:
        with_identity: as given.
        facts: what has been learned so far.
    """

    def __init__(self, *, with_identity: bool = True) -> None:
        self.with_identity = with_identity
        self._chars = [*(_IDENTITY if with_identity else ()), _BATTERY, _CURRENT_TIME]
        self.facts = Facts()

    @property
    def is_done(self) -> bool:
        """Whether everything was asked."""
        return not self._chars

    @property
    def patience(self) -> Patience:
        """Reads are answered or refused."""
        return Patience.ANSWER

    def start(self) -> list[Request]:
        """The first characteristic."""
        return [Read(self._chars[0])]

    def on_read(self, char: str, data: bytes) -> list[Request]:
        """One fact, then the next question."""
        try:
            self._learn(char, data)
        except MalformedFrame:
            return self._next(char)
        return self._next(char)

    def on_notify(self, char: str, data: bytes) -> list[Request]:
        """Nothing is subscribed to."""
        del char, data
        return []

    def on_kept(self) -> list[Request]:
        """Nothing is kept."""
        return []

    def on_refused(self, char: str, att_code: int) -> list[Request]:
        """Pass it over; without Current Time, look for the older Date Time."""
        del att_code
        return self._next(char)

    def on_silence(self) -> list[Request]:
        """Nothing is waited for."""
        self._chars = []
        return [Close(Outcome.SILENT, "no answer")]

    def on_link_lost(self) -> list[Request]:
        """What was learned stays in `facts`."""
        self._chars = []
        return []

    def _next(self, char: str) -> list[Request]:
        if not self._chars or char != self._chars[0]:
            return []
        self._chars.pop(0)
        if char == _CURRENT_TIME and self.facts.device_time is None:
            self._chars.append(_DATE_TIME)
        return [Read(self._chars[0])] if self._chars else []

    def _learn(self, char: str, data: bytes) -> None:
        facts = self.facts
        match char:
            case "2a29":
                self.facts = replace(facts, manufacturer=parse_text(data) or None)
            case "2a24":
                self.facts = replace(facts, model=parse_text(data) or None)
            case "2a25":
                self.facts = replace(facts, serial=parse_text(data) or None)
            case "2a26":
                self.facts = replace(facts, firmware=parse_text(data) or None)
            case "2a23":
                self.facts = replace(facts, system_id=parse_system_id(data))
            case "2a19":
                self.facts = replace(facts, battery_percent=parse_battery_level(data))
            case "2a2b":
                self.facts = replace(facts, device_time=parse_current_time(data).local)
            case "2a08":
                self.facts = replace(facts, device_time=parse_date_time(data))
            case _:
                pass
