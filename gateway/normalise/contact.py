"""What is known at the moment a device speaks, and what normalising its words gives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from gateway.model import DeviceId, Reading, SourceKind

__all__ = ["Contact", "Normalised"]


@dataclass(frozen=True, slots=True)
class Contact:
    """One contact with one device.

    Attributes:
        device_id: which device.
        zone: the owner's time zone.
        received_at: gateway clock, aware, UTC.
        source: the transport.
        epoch: life of the device's record counter.
        clock_offset: our local time minus the device's, measured at this contact; None: not measured.
        is_live: measured during this contact (not read out of a memory).
        clock_is_trusted: False while the gateway's own clock cannot be right: `received_at` then says nothing about
            what lies in the future, nor when a live measurement was made.
    """

    device_id: DeviceId
    zone: tzinfo
    received_at: datetime
    source: SourceKind
    epoch: int = 0
    clock_offset: timedelta | None = None
    is_live: bool = False
    clock_is_trusted: bool = True


@dataclass(frozen=True, slots=True)
class Normalised:
    """The readings of one measurement, and one value-free sentence per field that was implausible."""

    readings: tuple[Reading, ...] = ()
    problems: tuple[str, ...] = ()
