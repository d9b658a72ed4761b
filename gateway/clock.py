"""The one place that reads the machine's clocks; everything else is given a `Clock`."""

from __future__ import annotations

import ctypes
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

__all__ = ["EARLIEST_NOW", "LinuxMachine", "Machine", "SystemClock"]

EARLIEST_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""No machine that runs this program can honestly be earlier: a board without a battery starts in 1970 or at its image's
date, until the network has told it the time."""

_TIMEX_BYTES: Final = 1024
_STATUS_AFTER_LONGS: Final = 5
_STA_UNSYNC: Final = 0x0040
_TIME_ERROR: Final = 5


class SystemClock:
    """The machine's wall clock and its monotonic clock."""

    def now(self) -> datetime:
        """Current instant, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary start."""
        return time.monotonic()

    @property
    def is_trusted(self) -> bool:
        """False while the wall clock says a time before `EARLIEST_NOW`."""
        return self.now() >= EARLIEST_NOW


class Machine(Protocol):
    """What a hub's clock is made of; injected, so that a test can boot without a network."""

    def wall_us(self) -> int:
        """Microseconds since 1970 UTC, as the machine believes."""
        ...

    def boot_us(self) -> int:
        """Microseconds since the machine was started, sleep included; never set, never goes back."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def boot_id(self) -> str:
        """Names this start of the machine."""
        ...

    def is_synchronised(self) -> bool:
        """Whether the kernel says that something keeps its clock right."""
        ...

    def battery_clock(self) -> datetime | None:
        """What a clock that runs while the machine is off says, UTC; None: there is none."""
        ...


@dataclass(frozen=True, slots=True)
class LinuxMachine:
    """This machine. `root` is where `/sys` and `/proc` are looked for."""

    root: Path = Path("/")

    def wall_us(self) -> int:
        """CLOCK_REALTIME."""
        return time.time_ns() // 1000

    def boot_us(self) -> int:
        """CLOCK_BOOTTIME; the monotonic clock where there is none."""
        clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime_ns(clock) // 1000

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC."""
        return time.monotonic()

    def boot_id(self) -> str:
        """The kernel's own name for this boot; where it has none, one for this process."""
        try:
            return (self.root / "proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return str(uuid.uuid4())

    def is_synchronised(self) -> bool:
        """Asks adjtimex(2) with mode 0, which changes nothing and needs no right."""
        try:
            adjtimex = ctypes.CDLL(None).adjtimex
        except (OSError, AttributeError):
            return False
        answer = ctypes.create_string_buffer(_TIMEX_BYTES)
        state = adjtimex(answer)
        status = ctypes.c_int.from_buffer(answer, _STATUS_AFTER_LONGS * ctypes.sizeof(ctypes.c_long)).value
        return state not in {-1, _TIME_ERROR} and not status & _STA_UNSYNC

    def battery_clock(self) -> datetime | None:
        """The latest of the real-time clocks that the kernel knows."""
        found: list[int] = []
        for clock in (self.root / "sys/class/rtc").glob("rtc*"):
            try:
                found.append(int((clock / "since_epoch").read_text(encoding="ascii")))
            except (OSError, ValueError):
                continue
        try:
            return datetime.fromtimestamp(max(found), UTC) if found else None
        except (OSError, OverflowError, ValueError):
            return None
